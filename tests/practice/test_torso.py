"""The torso that ships: what was measured, where it lies, and that the notice of its licence goes with it."""
from pathlib import Path

import torch

from medlearn.practice.torso import KEPT, MM, ORGANS, torso


def test_organs_are_as_dense_as_they_have_to_be_and_on_their_own_side():
    hu, organs, affine = torso()
    assert hu.shape == organs.shape and hu.dtype == torch.float32 and affine[0, 0] == affine[2, 2] == MM
    expected = {"left kidney": (0, 60), "right kidney": (0, 60), "liver": (30, 70), "spine": (100, 500)}
    for name, (low, high) in expected.items():
        assert low < hu[organs == ORGANS.index(name)].mean() < high
    x = {name: (organs == ORGANS.index(name)).nonzero()[:, 1].double().mean() for name in ORGANS[1:]}
    assert x["left kidney"] < x["spine"] < x["right kidney"] and x["spleen"] < x["liver"]    # x runs to the right


def test_the_notice_goes_with_it_and_the_file_is_small():
    notice = KEPT.with_name("NOTICE.txt").read_text()
    assert "TotalSegmentator" in notice and "Apache License 2.0" in notice
    assert (Path(KEPT).parent / "../data/measured/LICENSE-ct.txt").resolve().exists()
    assert KEPT.stat().st_size < 300_000
