"""The fingerprint of data: the same data has it again, on another processor too; other data has another."""
import json

import numpy as np
import pytest
import torch
from helpers import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from medlearn.train import Recipe, fit
from medlearn.train.fingerprint import difference, fingerprint

IMAGE = torch.randn(1, 8, 9, generator=torch.Generator().manual_seed(0))
LABEL = (IMAGE[0] > 0).long()
SHORT = Recipe(steps=2, batch_size=2, precision="fp32")


def of(image=IMAGE, target=LABEL):
    return fingerprint([(image, target)], seed=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2 ** 31), st.sampled_from([(1, 3), (1, 16, 16), (2, 5, 6, 7)]), st.sampled_from([1e-6, 1.0, 1e4]))
def test_rounding_is_no_difference_and_other_noise_is(seed, shape, size):
    draw = torch.Generator().manual_seed(seed)
    image, other = (size * torch.randn(shape, generator=draw) for _ in range(2))
    rounded = image * (1 + 1e-6 * torch.randn(shape, generator=draw))
    assert difference(of(image), of(rounded)) is None
    assert difference(of(image), of(other)) is not None


def test_it_is_the_same_after_json():
    assert json.loads(json.dumps(of())) == of()


@pytest.mark.parametrize("image, target, words", [
    (IMAGE.flip(-2), LABEL, "a mean of"),
    (IMAGE, LABEL.flip(0), "in part 1 of 16 of torch.int64 of shape (8, 9)"),
    (IMAGE + 0.1, LABEL, "a mean of"),
    (IMAGE[..., 1:], LABEL, "torch.float32 of shape (1, 8, 9), torch.int64"),
    (IMAGE.double(), LABEL, "torch.float32"),
    (IMAGE, {"label": LABEL, "ill": 1.0}, "torch.float32"),
    (IMAGE, LABEL.int(), "torch.int64"),
], ids=["mirrored", "other labels", "brighter", "smaller", "double", "more", "other integers"])
def test_other_data_is_told_and_how(image, target, words):
    assert words in difference(of(), of(image, target))[0]


def test_numbers_words_nothing_and_nan_have_one_too():
    assert difference(of(target={"ill": 1.0, "name": "a"}), of(target={"ill": 0.0, "name": "a"}))
    assert difference(of(target="a"), of(target="b")) is None           # words are not looked at
    empty = torch.zeros(1, 0, 4)
    assert difference(of(empty), of(empty)) is None
    holed = IMAGE.masked_fill(IMAGE > 1, float("nan"))
    assert difference(of(holed), of(holed)) is None and difference(of(holed), of(-holed))


def test_augmentation_counts_by_its_seed():
    data = tiny.Pictures(augment=True)
    assert fingerprint(data, 0) == fingerprint(data, 0)
    assert difference(fingerprint(data, 0), fingerprint(data, 1)) and difference(
        fingerprint(data, 0), fingerprint(tiny.Pictures(), 0))


class Restless(tiny.Pictures):
    """Draws from a generator of its own, which nobody can seed."""

    draw = np.random.default_rng()

    def __getitem__(self, i):
        image, label = super().__getitem__(i)
        return image + self.draw.random(), label


def test_data_that_nobody_can_seed_has_none_and_is_never_refused(tmp_path):
    assert fingerprint(Restless(), 0) is None and difference(None, of()) is None and difference(of(), None) is None
    for steps in (2, 3):
        fit(tiny.tiny_net(), Restless(), loss=F.cross_entropy, checkpoint=tmp_path,
            recipe=Recipe(steps=steps, batch_size=2, precision="fp32"))


def test_a_training_does_not_go_on_with_other_data(tmp_path, refused):
    def train(data):
        return fit(tiny.tiny_net(), data, loss=F.cross_entropy, recipe=SHORT, checkpoint=tmp_path)
    data, other = tiny.Pictures(), tiny.Pictures()
    other.images = other.images.flip(-1)
    train(data)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with refused(r"data: expected the data of the checkpoint in .*, whose first sample has a mean of .*, got one "
                 "with .*Give another folder to begin a new training"):
        train(other)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    train(data)
