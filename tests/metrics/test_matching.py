"""Overlaps of things against a count voxel by voxel, and one-to-one pairs against every assignment."""
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers.thing_examples import as_set, best_by_hand, random_maps, random_sets, same
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.metrics import matching, panoptic_quality
from medlearn.metrics.matching import as_things, match, overlaps
from medlearn.tasks import InstanceSet

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


@quick
@given(seeds)
def test_overlaps_count_every_voxel(seed):
    truth, answer = random_maps(seed)
    found = overlaps(answer, truth)
    ids = [[i for i in things.unique().tolist() if i] for things in (truth, answer)]
    assert found.target_voxels.tolist() == [(truth == i).sum() for i in ids[0]]
    assert found.prediction_voxels.tolist() == [(answer == i).sum() for i in ids[1]]
    table = np.zeros((len(ids[0]), len(ids[1])), dtype=int)
    table[found.target_index, found.prediction_index] = found.shared
    assert table.tolist() == [[((truth == i) & (answer == j)).sum() for j in ids[1]] for i in ids[0]]
    assert (found.shared > 0).all()


@pytest.mark.parametrize("low", [0, 10**4, 2**40, 2**61], ids=["small", "sorted", "compacted", "huge"])
@pytest.mark.parametrize("filled", [False, True])
def test_ids_may_be_as_large_as_they_like(low, filled):
    truth, answer = random_maps(11)
    truth, answer = (truth + 1, answer + 1) if filled else (truth, answer)
    far = lambda ids: ids + low * (ids > 0)
    same(panoptic_quality(far(answer), far(truth), iou=0.2), panoptic_quality(answer, truth, iou=0.2))
    same(panoptic_quality(answer, far(truth), iou=0.2), panoptic_quality(answer, truth, iou=0.2))


@pytest.mark.parametrize("top", [5, 3000])
def test_volumes_of_many_blocks_are_counted_whole(monkeypatch, top):
    random = torch.Generator().manual_seed(0)
    truth, answer = (torch.randint(0, top, (7, 11, 13), generator=random) for _ in range(2))
    expected = overlaps(answer, truth)
    for name, value in {"_BLOCK": 10, "_VOXELS": 25, "_TABLE": 25, "_MASK_VALUES": 30}.items():
        monkeypatch.setattr(matching, name, value)
    found = overlaps(answer, truth)
    for field in ("target_voxels", "prediction_voxels", "target_index", "prediction_index", "shared"):
        assert getattr(found, field).tolist() == getattr(expected, field).tolist()
    if top == 5:
        same(panoptic_quality(answer, as_set(truth), iou=0.01), panoptic_quality(answer, truth, iou=0.01))


def test_masks_are_counted_exactly_under_autocast():
    mask = torch.ones(1, 40, 40, dtype=torch.bool)
    mask[0, 0, :3] = False                                      # 1597 is no bfloat16 number
    with torch.autocast("cpu", torch.bfloat16):
        found = overlaps(torch.ones(40, 40, dtype=torch.int64), InstanceSet(mask, torch.tensor([1])))
    assert found.shared.tolist() == [1597]


@quick
@given(seeds)
def test_iou_of_sets_is_that_of_their_masks(seed):
    truth, answer = random_sets(seed)
    found = overlaps(answer, truth)
    for i, j, iou in zip(found.prediction_index, found.target_index, found.iou):
        a, b = answer.masks[i], truth.masks[j]
        assert answer.classes[i] == truth.classes[j] and iou == ((a & b).sum() / (a | b).sum().double()).item()


@pytest.mark.parametrize("empty", [torch.zeros(3, 3).long(), as_set(torch.zeros(3, 3).long())], ids=["map", "set"])
def test_where_a_side_has_no_thing_there_is_no_pair(empty):
    for found in (overlaps(empty, torch.ones(3, 3).long()), overlaps(torch.ones(3, 3).long(), empty)):
        assert sorted(map(len, (found.prediction_voxels, found.target_voxels))) == [0, 1]
        assert len(found.shared) == len(found.iou) == 0


# ---------------------------------------------------------------------------------------------------------------------
# One-to-one

@quick
@given(seeds)
def test_the_pairs_that_are_kept_are_one_to_one_and_the_best(seed):
    random = np.random.default_rng(seed)
    gain = random.random((4, 5)) * (random.random((4, 5)) < random.random())
    row, column = gain.nonzero()
    kept = match((row, column), gain[row, column])
    assert len(set(row[kept])) == len(set(column[kept])) == len(kept)
    assert gain[row, column][kept].sum() == pytest.approx(best_by_hand(gain))


def test_match_keeps_lone_pairs_and_the_best_of_rivals():
    candidates = np.array([0, 1, 1, 2, 9]), np.array([0, 1, 2, 1, 7])
    assert match(candidates, np.array([0.1, 0.5, 0.4, 0.3, 0.2])).tolist() == [0, 2, 3, 4]
    assert match(candidates, np.array([0.1, 0.9, 0.4, 0.3, 0.2])).tolist() == [0, 1, 4]
    assert match((np.array([], dtype=int),) * 2, np.array([])).tolist() == []


def test_of_equal_sums_the_most_pairs_count():
    # 0.4 alone, or 0.2 and 0.2
    gains = np.array([0.4, 0.2, 0.2])
    for names in permutations(range(2)):
        row, column = (np.array(names)[index] for index in ([0, 0, 1], [0, 1, 0]))
        assert match((row, column), gains).tolist() == [1, 2]
    truth, answer = random_maps(328)                            # the same with a third and a fourth pair beside it
    for name in permutations(range(1, 5)):
        score = panoptic_quality(answer, torch.tensor([0, *name])[truth], iou=0.0)
        assert (score.tp, score.fp, score.fn) == (4, 0, 0)
        assert score.iou_sum == pytest.approx(1 / 3 + 1 / 5 + 3 / 7 + 1 / 5)


def test_things_on_two_grids_have_no_overlap(refused):
    with refused(r"prediction: expected the target's grid \(3, 3\) on cpu, got \(2, 3\) on cpu"):
        as_things(torch.ones(2, 3).long(), as_set(torch.ones(3, 3).long()))
