"""Panoptic quality and lesion-wise detection, against hand counts, brute force over all assignments and invariances."""
import math
from functools import partial

import numpy as np
import pytest
import torch
from helpers.thing_examples import as_set, best_by_hand, random_maps, random_sets, same
from hypothesis import example, given, settings
from hypothesis import strategies as st

from medlearn.metrics import (
    Detection,
    PanopticQuality,
    detection_f1,
    panoptic_quality,
    panoptic_quality_per_class,
)
from medlearn.tasks import InstanceSet

quick = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)
thresholds = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.9])


def ious_by_hand(truth, answer):
    """IoU of every pair of things, 0 where their classes say that they are no partners."""
    a, b = (things if isinstance(things, InstanceSet) else as_set(things) for things in (truth, answer))
    iou = np.array([[(s & t).sum() / (s | t).sum() for t in b.masks.numpy()] for s in a.masks.numpy()])
    iou = iou.reshape(len(a), len(b))
    both_sets = isinstance(truth, InstanceSet) and isinstance(answer, InstanceSet)
    return iou * (a.classes[:, None] == b.classes).numpy() if both_sets else iou


def check_against_brute_force(truth, answer, threshold):
    iou = ious_by_hand(truth, answer)
    allowed = iou * (iou > threshold)
    half = sum(iou.shape) / 2
    pq, f1 = panoptic_quality(answer, truth, iou=threshold), detection_f1(answer, truth, iou=threshold)
    assert pq.tp + pq.fn == f1.tp + f1.fn == iou.shape[0] and pq.tp + pq.fp == f1.tp + f1.fp == iou.shape[1]
    if half:
        assert pq.pq == pytest.approx(best_by_hand(allowed) / half, abs=1e-12)
        assert pq.pq == pytest.approx(pq.sq * pq.rq, abs=1e-12)
        assert pq.tp == round(best_by_hand(allowed + 1e-9 * (allowed > 0)) / 1e-9 - best_by_hand(allowed) / 1e-9)
        assert f1.f1 == pytest.approx(best_by_hand((allowed > 0).astype(float)) / half, abs=1e-12)
    else:
        assert math.isnan(pq.pq) and math.isnan(f1.f1)


@quick
@given(seeds, thresholds)
def test_maps_agree_with_trying_every_assignment(seed, threshold):
    check_against_brute_force(*random_maps(seed), threshold)


@quick
@given(seeds, thresholds)
def test_sets_with_overlaps_and_classes_agree_with_trying_every_assignment(seed, threshold):
    check_against_brute_force(*random_sets(seed), threshold)


@quick
@given(seeds, thresholds)
def test_a_map_beside_a_set_agrees_with_trying_every_assignment(seed, threshold):
    ids = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, size=(3, 4)))
    things, _ = random_sets(seed)
    check_against_brute_force(ids, things, threshold)
    check_against_brute_force(things, ids, threshold)


@quick
@given(seeds, thresholds)
@example(328, 0.0)                                              # 0.4 alone, or 0.2 and 0.2: a tie
def test_names_and_order_mean_nothing(seed, threshold):
    truth, answer = random_maps(seed)
    random = torch.Generator().manual_seed(seed)
    names = torch.cat([torch.zeros(1, dtype=torch.int64), torch.randperm(12, generator=random) + 1])
    expected = panoptic_quality(answer, truth, iou=threshold)
    same(panoptic_quality(names[answer], truth, iou=threshold), expected)
    same(panoptic_quality(answer, names[truth], iou=threshold), expected)
    same(panoptic_quality(as_set(answer), as_set(truth), iou=threshold), expected)
    a, b = random_sets(seed)
    order = torch.randperm(len(b), generator=random)
    same(panoptic_quality(b[order], a, iou=threshold), panoptic_quality(b, a, iou=threshold))
    turned = PanopticQuality(expected.tp, expected.fn, expected.fp, expected.iou_sum)
    same(panoptic_quality(truth, answer, iou=threshold), turned)


# ---------------------------------------------------------------------------------------------------------------------
# By hand

def test_a_worked_example():
    truth = torch.tensor([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    answer = torch.tensor([[5, 5, 5, 0, 0, 4, 4, 4, 0]])
    score = panoptic_quality(answer, truth)                     # 3/4 and 2/3 are found, 3 is missed
    assert (score.tp, score.fp, score.fn) == (2, 0, 1)
    assert score.sq == pytest.approx((3 / 4 + 2 / 3) / 2) and score.rq == pytest.approx(2 / 2.5)
    assert score.pq == pytest.approx((3 / 4 + 2 / 3) / 2.5)
    assert repr(score) == "PQ 0.567 = SQ 0.708 x RQ 0.800 (2 found, 0 false, 1 missed)"
    found = detection_f1(answer, truth, iou=0.5)
    assert repr(found) == "F1 0.800, precision 1.000, recall 0.667 (2 found, 0 false, 1 missed)"


def test_one_merged_answer_to_two_things_is_no_hit():
    truth, merged = torch.tensor([[1, 1, 2, 2]]), torch.tensor([[1, 1, 1, 1]])
    assert panoptic_quality(merged, truth) == PanopticQuality(0, 1, 2, 0.0)
    assert panoptic_quality(merged, truth, iou=0.4) == PanopticQuality(1, 0, 1, 0.5)        # one-to-one all the same


def test_exactly_the_threshold_is_not_above_it():
    truth, answer = torch.tensor([[1, 1, 0]]), torch.tensor([[1, 0, 0]])
    assert panoptic_quality(answer, truth).tp == 0
    assert panoptic_quality(answer, truth, iou=0.49).tp == 1


def test_the_best_pairs_are_not_the_greedy_ones():
    # the greedy choice takes the best single pair, and leaves nothing for the second thing
    truth = torch.tensor([[1] * 10 + [2] * 4])
    answer = torch.tensor([[1] * 4 + [2] * 9 + [0]])
    score = panoptic_quality(answer, truth, iou=0.1)
    assert (score.tp, score.iou_sum) == (2, pytest.approx(4 / 10 + 3 / 10))


def test_detection_takes_the_most_pairs_and_quality_the_best():
    truth = torch.tensor([[1] * 20 + [2] * 3])
    answer = torch.tensor([[1] * 3 + [2] * 19 + [0]])
    assert detection_f1(answer, truth, iou=0.05) == Detection(2, 0, 0)                     # 3/20 and 2/20
    assert panoptic_quality(answer, truth, iou=0.05) == PanopticQuality(1, 1, 1, 17 / 22)


def test_only_equal_classes_pair_and_each_class_has_its_score():
    masks = torch.zeros(3, 2, 6, dtype=torch.bool)
    for i in range(3):
        masks[i, :, 2 * i:2 * i + 2] = True
    truth, answer = InstanceSet(masks, torch.tensor([1, 1, 2])), InstanceSet(masks, torch.tensor([1, 2, 3]))
    assert panoptic_quality(answer, truth) == PanopticQuality(1, 2, 2, 1.0)
    scores = panoptic_quality_per_class(answer, truth)
    assert scores == {1: PanopticQuality(1, 0, 1, 1.0), 2: PanopticQuality(0, 1, 1), 3: PanopticQuality(0, 1, 0)}
    assert sum(scores.values()) == panoptic_quality(answer, truth)
    assert panoptic_quality(answer, truth.to_map()).tp == 3                                 # a map has no classes
    assert detection_f1(answer, truth, distance_mm=0.5, affine=np.eye(4)) == Detection(1, 2, 2)


def test_two_answers_for_one_lesion_are_one_hit_and_one_false_alarm():
    mask = torch.ones(1, 2, 2, dtype=torch.bool)
    truth = InstanceSet(mask, torch.tensor([1]))
    assert panoptic_quality(truth[[0, 0]], truth) == PanopticQuality(1, 1, 0, 1.0)


def test_distance_is_measured_in_millimetres_and_counts_as_many_pairs_as_can_be():
    truth, answer = torch.zeros(20, 3, dtype=torch.int64), torch.zeros(20, 3, dtype=torch.int64)
    truth[4, 1], truth[8, 1] = 1, 2
    answer[6, 1], answer[10, 1] = 1, 2
    affine = np.diag([2.0, 1.0, 1.0, 1.0])                      # two voxels are 4 mm
    assert detection_f1(answer, truth, distance_mm=4.0, affine=affine) == Detection(2, 0, 0)
    assert detection_f1(answer, truth, distance_mm=3.9, affine=affine) == Detection(0, 2, 2)
    assert detection_f1(answer, as_set(truth), distance_mm=4.0, affine=torch.from_numpy(affine)) == Detection(2, 0, 0)
    volume = truth[..., None].expand(-1, -1, 2).contiguous()
    assert detection_f1(volume, volume, distance_mm=0, affine=affine) == Detection(2, 0, 0)


def test_any_shared_voxel_is_a_hit_at_threshold_zero():
    truth, answer = torch.tensor([[1] * 100]), torch.tensor([[0] * 99 + [1]])
    assert detection_f1(answer, truth, iou=0) == Detection(1, 0, 0)
    assert detection_f1(answer, truth, iou=0.5) == Detection(0, 1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Nothing, and pools

NOTHING, THING = torch.zeros(3, 3, dtype=torch.int64), torch.ones(3, 3, dtype=torch.int64)


@pytest.mark.parametrize("kind", ["map", "set"])
def test_empty_cases_are_decided(kind):
    nothing, thing = (NOTHING, THING) if kind == "map" else (as_set(NOTHING), as_set(THING))
    neither = panoptic_quality(nothing, nothing)
    assert all(math.isnan(value) for value in (neither.pq, neither.sq, neither.rq))
    assert repr(neither) == "PQ nan = SQ nan x RQ nan (nothing to find, nothing found)"
    for missed in (panoptic_quality(nothing, thing), panoptic_quality(thing, nothing)):
        assert missed.pq == missed.sq == missed.rq == 0
    for criterion in (dict(iou=0.1), dict(distance_mm=5.0, affine=np.eye(4))):
        only_true = detection_f1(nothing, thing, **criterion)
        only_found = detection_f1(thing, nothing, **criterion)
        assert only_true == Detection(0, 0, 1) and only_true.f1 == only_true.recall == 0
        assert only_found == Detection(0, 1, 0) and only_found.f1 == only_found.precision == 0
        assert math.isnan(only_true.precision) and math.isnan(only_found.recall)
        assert math.isnan(detection_f1(nothing, nothing, **criterion).f1)
    assert panoptic_quality(NOTHING[:0], NOTHING[:0]) == PanopticQuality()
    assert panoptic_quality_per_class(as_set(NOTHING), as_set(NOTHING)) == {}


def test_a_cohort_is_pooled_and_images_with_nothing_add_nothing():
    cohort = [PanopticQuality(2, 0, 1, 1.5), PanopticQuality(0, 0, 4, 0.0), PanopticQuality()]
    pooled = sum(cohort)
    assert pooled == PanopticQuality(2, 0, 5, 1.5) and pooled.pq == 1.5 / 4.5
    assert pooled == sum(cohort[:2]) and pooled.pq != np.nanmean([score.pq for score in cohort])
    assert sum([Detection(1, 2, 3), Detection(1, 0, 0)]) == Detection(2, 2, 3)
    with pytest.raises(TypeError):
        PanopticQuality() + Detection()
    with pytest.raises(TypeError):
        1 + Detection()


@quick
@given(seeds)
def test_the_pool_is_the_score_of_the_images_side_by_side(seed):
    truth, answer = random_maps(seed)
    twice = [torch.cat([ids, ids + 100 * (ids > 0)]) for ids in (answer, truth)]
    beside = panoptic_quality(*twice)
    same(sum([panoptic_quality(answer, truth)] * 2), beside)


# ---------------------------------------------------------------------------------------------------------------------
# Paths and machines

@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64], ids=str)
def test_every_integer_type_and_any_mixture_and_layout_give_the_same(dtype):
    truth, answer = random_maps(7)
    expected = panoptic_quality(answer, truth)
    same(panoptic_quality(answer, truth.to(dtype)), expected)
    same(panoptic_quality(answer.transpose(0, 1), truth.to(dtype).transpose(0, 1)), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, ">i2"], ids=str)
def test_maps_of_files_give_the_same(dtype):
    truth, answer = random_maps(7)
    near = partial(detection_f1, distance_mm=2.0, affine=np.eye(4))
    from_file = answer.numpy().astype(dtype)
    for there in (truth.numpy().astype(dtype), truth):
        same(panoptic_quality(from_file, there), panoptic_quality(answer, truth))
        assert near(from_file, there) == near(answer, truth)
    wide = torch.from_numpy(truth.numpy().astype(np.uint16))               # torch holds it, and computes with none
    same(panoptic_quality(answer, wide), panoptic_quality(answer, truth))


def test_a_distance_through_a_headers_float32_is_within_what_it_equals():
    truth = torch.zeros(9, 9).long()
    truth[1, 1] = 1
    for step in (0.8, float(np.float32(0.8))):
        affine = np.diag([step, step, 1, 1])
        assert detection_f1(truth.roll(3, 0), truth, distance_mm=2.4, affine=affine).tp == 1
        assert detection_f1(truth.roll(3, 0), truth, distance_mm=2.399, affine=affine).tp == 0


@pytest.mark.gpu
@pytest.mark.parametrize("low", [0, 10**4, 2**61], ids=["small", "sorted", "huge"])
def test_the_gpu_gives_the_same(low):
    truth, answer = (ids + low * (ids > 0) for ids in random_maps(3))
    expected = panoptic_quality(answer, truth)
    same(panoptic_quality(answer.cuda(), truth.cuda()), expected)
    same(panoptic_quality(answer.cuda(), as_set(truth).to("cuda")), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

@pytest.mark.parametrize("answer, says", [
    (THING.float(), "prediction: expected an integer tensor .* got torch.float32"),
    (THING.bool(), "prediction: expected an integer tensor .* got torch.bool"),
    (-THING, "prediction: expected labels of 0 or more, got -1"),
    (THING[:2], r"prediction: expected the target's grid \(3, 3\) .* got \(2, 3\)"),
    (THING[None], r"got \(1, 3, 3\)"),
    (THING[None, None], r"prediction: expected \(\*S\) with 2 or 3 axes of space"),
    (THING.numpy() * 1.0, "got ndarray"),
    (as_set(THING[:2]), r"expected the target's grid \(3, 3\)"),
], ids=range(8))
@pytest.mark.parametrize("score", [
    panoptic_quality, partial(detection_f1, iou=0.1), partial(detection_f1, distance_mm=1.0, affine=np.eye(4)),
], ids=["pq", "iou", "mm"])
def test_what_is_no_set_and_no_map_is_refused(answer, says, score, refused):
    with refused(says):
        score(answer, THING)
    with refused("target: expected|prediction: expected the target's grid"):
        score(THING, answer)


@pytest.mark.parametrize("iou", [-0.1, 1.0, math.nan], ids=str)
def test_a_threshold_outside_its_range_is_refused(iou, refused):
    for score in (panoptic_quality, detection_f1):
        with refused("iou: expected 0 or more and below 1, got"):
            score(THING, THING, iou=iou)


def test_one_criterion_has_to_be_chosen(refused):
    with refused("one of the two, got iou=None, distance_mm=None"):
        detection_f1(THING, THING)
    with refused("one of the two, got iou=0.5, distance_mm=3"):
        detection_f1(THING, THING, iou=0.5, distance_mm=3.0, affine=np.eye(4))
    with refused("affine: expected one with distance_mm"):
        detection_f1(THING, THING, distance_mm=3.0)
    with refused("affine: .* none with iou"):
        detection_f1(THING, THING, iou=0.5, affine=np.eye(4))
    with refused("distance_mm: expected 0 or more, got -1"):
        detection_f1(THING, THING, distance_mm=-1.0, affine=np.eye(4))
    for wrong in ("far", None, True):
        with refused("iou: expected a number|one of the two"):
            panoptic_quality(THING, THING, iou=wrong)
    with refused("target: expected an InstanceSet"):
        panoptic_quality_per_class(as_set(THING), THING)


def ignoring_by_hand(truth, answer, ignored, threshold):
    """Maps without the ignored voxels, and without the found things that nothing but the unknown has a claim on."""
    left_true, left_found = (np.where(ignored, 0, map_) for map_ in (truth, answer))
    pq = panoptic_quality(left_found, left_true, iou=threshold)
    unknown = [i for i in np.unique(left_found[left_found > 0]) if 2 * (left_found == i).sum() < (answer == i).sum()]
    best = [max(((left_found == i) & (left_true == j)).sum() / ((left_found == i) | (left_true == j)).sum()
                for j in np.unique(left_true)[1:]) if left_true.any() else 0 for i in unknown]
    return pq, int(sum(iou <= threshold for iou in best))


@quick
@given(seeds)
def test_what_is_ignored_is_no_thing_and_no_false_alarm(seed):
    truth, answer = (map_.numpy() for map_ in random_maps(seed))
    ignored = np.random.default_rng(seed).random(truth.shape) < 0.5
    pq, forgiven = ignoring_by_hand(truth, answer, ignored, 0.5)
    expected = PanopticQuality(pq.tp, pq.fp - forgiven, pq.fn, pq.iou_sum)
    f1 = Detection(pq.tp, pq.fp - forgiven, pq.fn)
    for found, true in ((answer, truth), (as_set(torch.from_numpy(answer)), torch.from_numpy(truth))):
        mask = ignored if isinstance(found, np.ndarray) else torch.from_numpy(ignored)
        said = panoptic_quality(found, true, ignored=mask)
        assert (said.tp, said.fp, said.fn) == (expected.tp, expected.fp, expected.fn)
        assert said.iou_sum == pytest.approx(expected.iou_sum)
        assert detection_f1(found, true, iou=0.5, ignored=mask) == f1


def test_ignoring_all_leaves_nothing_to_find_and_nothing_found(refused):
    truth = torch.tensor([[1, 1, 0, 2]])
    things = InstanceSet.from_semantic(truth)
    for both in ((truth, truth), (things, things)):
        assert math.isnan(panoptic_quality(*both, ignored=torch.ones(1, 4, dtype=torch.bool)).pq)
    assert panoptic_quality_per_class(things, things, ignored=truth == 1)[2].pq == 1
    with refused("ignored: expected shape"):
        panoptic_quality(truth, truth, ignored=torch.ones(1, 3, dtype=torch.bool))
    with refused("ignored: expected a bool mask"):
        panoptic_quality(things, things, ignored=truth)
