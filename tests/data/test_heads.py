"""The slices of real heads that ship with the package."""
from importlib.resources import files

import numpy as np
import pytest

from medlearn.data import HEADS, load_head


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_five_slices_in_ras(name):
    head = load_head(name)
    assert head.grid.shape[2] == 5 and head.array.min() >= 0
    assert (np.diag(head.grid.affine)[:3] > 0).all()


def test_the_tumour_is_where_the_scan_is_and_brighter_than_what_is_around_it():
    head, label = load_head("tumour"), load_head("tumour_label").array > 0
    assert label.any(axis=(0, 1)).all()
    assert head.array[label].mean() > 1.1 * head.array[head.array > 100].mean()


def test_colin_lies_in_mni_space():
    head = load_head("colin27")
    assert head.grid.affine[2].tolist() == [0, 0, 10, 0]
    middle = np.average(np.arange(181), weights=head.array.sum(axis=(1, 2)))
    assert abs(head.grid.affine[0, 0] * middle + head.grid.affine[0, 3]) < 3           # mm from the mid-plane


def test_the_notices_come_with_them():
    notice = (files("medlearn.data") / "people" / "NOTICE.txt").read_text()
    assert all(word in notice for word in ("Louis Collins", "Harvard Medical School", "IN NO EVENT"))


def test_another_name_is_refused(refused):
    with refused("name: expected .* got 'someone'"):
        load_head("someone")
