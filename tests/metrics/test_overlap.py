"""Dice and its relatives, against hand counts and MONAI; and volumes."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import compute_dice, compute_iou
from monai.metrics.confusion_matrix import compute_confusion_matrix_metric, get_confusion_matrix
from torch.nn.functional import one_hot

from medlearn.base.grid import Grid, spacing_from_affine
from medlearn.metrics.overlap import ConfusionCounts, confusion_counts, volumes_ml

quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_labels(seed, classes=4):
    """Two label maps that are alike, of two images in 2D or 3D."""
    random = np.random.default_rng(seed)
    shape = (2, *random.integers(1, 7, size=random.integers(2, 4)))
    truth = random.integers(0, classes, size=shape)
    answer = np.where(random.random(shape) < random.random(), random.integers(0, classes, size=shape), truth)
    return torch.from_numpy(truth), torch.from_numpy(answer)


def as_one_hot(labels, classes=4):
    return one_hot(labels, classes).movedim(-1, 1).float()


@quick
@given(seeds)
def test_counts_are_what_a_loop_over_masks_counts(seed):
    truth, answer = random_labels(seed)
    counts = confusion_counts(answer, truth, classes=4)
    for b in range(2):
        for k in range(4):
            true, found = truth[b] == k, answer[b] == k
            by_hand = (true & found).sum(), (~true & found).sum(), (true & ~found).sum(), (~true & ~found).sum()
            assert (counts.tp[b, k], counts.fp[b, k], counts.fn[b, k], counts.tn[b, k]) == by_hand


@quick
@given(seeds)
def test_ratios_are_monais_where_both_are_defined(seed):
    truth, answer = random_labels(seed)
    counts, (t, a) = confusion_counts(answer, truth, classes=4), map(as_one_hot, (truth, answer))
    confusion = get_confusion_matrix(a, t, include_background=True)
    peers = {"dice": compute_dice(a, t, ignore_empty=True), "iou": compute_iou(a, t, ignore_empty=True),
             "sensitivity": compute_confusion_matrix_metric("sensitivity", confusion),
             "specificity": compute_confusion_matrix_metric("specificity", confusion),
             "precision": compute_confusion_matrix_metric("precision", confusion)}
    for name, theirs in peers.items():
        ours = getattr(counts, name)
        assert ours.dtype == torch.float64
        both = theirs.isfinite() & ours.isfinite()
        torch.testing.assert_close(ours[both].float(), theirs[both])
    # MONAI leaves out every image without truth, and with it the false alarms
    has_truth = as_one_hot(truth).flatten(2).any(2)
    assert torch.equal(counts.dice.isfinite(), has_truth | as_one_hot(answer).flatten(2).any(2))
    assert torch.equal(peers["dice"].isfinite(), has_truth)


def test_a_class_that_nobody_has_is_undefined_and_a_miss_or_a_false_alarm_is_the_worst():
    truth = torch.tensor([[[0, 0, 1, 1]]])
    answer = torch.tensor([[[0, 0, 2, 2]]])
    counts = confusion_counts(answer, truth, classes=4)
    assert counts.dice[0].tolist()[:3] == counts.iou[0].tolist()[:3] == [1, 0, 0]
    assert math.isnan(counts.dice[0, 3]) and math.isnan(counts.iou[0, 3])
    assert counts.sensitivity[0, 1] == 0 and counts.sensitivity[0, 2].isnan() and counts.sensitivity[0, 3].isnan()
    assert counts.precision[0, 2] == 0 and counts.precision[0, 1].isnan() and counts.precision[0, 3].isnan()
    assert counts.specificity[0].tolist() == [1, 1, 0.5, 1]
    everywhere = confusion_counts(torch.ones(1, 2, 2).long(), torch.ones(1, 2, 2).long(), classes=2)
    assert everywhere.specificity[0, 1].isnan() and everywhere.sensitivity[0, 1] == 1


@quick
@given(seeds)
def test_iou_is_dice_over_two_minus_dice(seed):
    counts = confusion_counts(*random_labels(seed), classes=4)
    torch.testing.assert_close(counts.iou, counts.dice / (2 - counts.dice), equal_nan=True)


@quick
@given(seeds)
def test_pooled_counts_are_the_counts_of_one_large_image(seed):
    truth, answer = random_labels(seed)
    counts = confusion_counts(answer, truth, classes=4)
    pooled = sum(confusion_counts(a[None], t[None], classes=4) for t, a in zip(truth, answer))
    large = confusion_counts(torch.cat(list(answer))[None], torch.cat(list(truth))[None], classes=4)
    for each in (pooled, counts.over_batch()):
        for name in ("tp", "fp", "fn", "tn"):
            assert torch.equal(getattr(each, name), getattr(large, name))


def test_foreground_leaves_out_class_0():
    counts = confusion_counts(*random_labels(3), classes=4)
    assert counts.foreground().dice.shape == (2, 3)
    torch.testing.assert_close(counts.foreground().iou, counts.iou[:, 1:], equal_nan=True)


def test_counts_of_other_batches_are_not_broadcast():
    one, two = (confusion_counts(torch.zeros(n, 2, 2).long(), torch.zeros(n, 2, 2).long(), classes=2) for n in (1, 2))
    with pytest.raises(ValueError, match="expected counts of the same images .* over_batch"):
        one + two
    with pytest.raises(TypeError):
        one + 1


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 3), (1, 0, 0, 0)])
def test_no_image_or_no_voxel_gives_zeros(shape):
    counts = confusion_counts(torch.zeros(shape).long(), torch.zeros(shape).long(), classes=3)
    assert counts.tp.shape == (shape[0], 3) and not counts.tp.any() and not counts.tn.any()
    assert counts.dice.isnan().all()


def test_counts_are_whole_numbers_under_autocast_too():
    labels = torch.ones(1, 300, 300).long()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        counts = confusion_counts(labels, labels, classes=2)
    assert counts.tp.dtype == torch.int64 and counts.tp[0, 1] == 90_000 and counts.dice[0, 1] == 1


@pytest.mark.gpu
def test_counts_stay_on_the_gpu_and_are_the_same():
    truth, answer = random_labels(7)
    here, there = confusion_counts(answer, truth, classes=4), confusion_counts(answer.cuda(), truth.cuda(), classes=4)
    assert there.tp.is_cuda and torch.equal(there.tp.cpu(), here.tp) and torch.equal(there.fn.cpu(), here.fn)


def test_a_grid_says_how_large_a_voxel_is_and_a_slices_how_thick():
    for shape in ((4, 5), (4, 5, 6)):
        grid, labels = Grid(shape, np.diag([0.5, -0.8, 6.0, 1.0])), torch.zeros(1, *shape).long()
        labels[0, :2, :3] = 1
        counts = confusion_counts(labels, labels, classes=2).tp
        torch.testing.assert_close(volumes_ml(labels, classes=2, spacing_mm=grid), grid.voxel_ml * counts.double())


def test_volumes_are_voxels_times_their_size():
    labels = torch.zeros(2, 10, 10, 10).long()
    labels[0, :2, :5, :10] = 1
    assert volumes_ml(labels, classes=3, spacing_mm=(1, 1, 1)).tolist() == [[0.9, 0.1, 0], [1, 0, 0]]
    assert volumes_ml(labels, classes=2, spacing_mm=(2.5, 0.8, 0.5))[0, 1] == pytest.approx(0.1)
    affine = torch.diag(torch.tensor([2.0, -3.0, 5.0, 1.0]))
    of_a_slice = volumes_ml(labels[:, 0], classes=2, spacing_mm=spacing_from_affine(affine))
    assert of_a_slice[0, 1] == pytest.approx(50 * 30 / 1000)


def test_spacing_is_read_from_a_turned_and_flipped_affine():
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, [2, 0, 1]] @ np.diag([-2.5, 0.8, 0.7])
    affine[:3, 3] = 11, -5, 3
    assert spacing_from_affine(affine) == pytest.approx((2.5, 0.8, 0.7))
    assert spacing_from_affine(torch.from_numpy(affine).float()) == pytest.approx((2.5, 0.8, 0.7), rel=1e-6)


def sheared():
    affine = np.eye(4)
    affine[0, 1] = 0.1
    return affine


@pytest.mark.parametrize(("affine", "message"), [
    (np.eye(3), "affine: expected a real 4 x 4 .* got shape"),
    (np.eye(4, dtype=complex), "affine: expected a real"),
    (np.diag([1, 1, 0, 1]), "affine: expected finite values, an inverse"),
    (np.diag([1, 1, np.nan, 1]), "affine: expected finite"),
    (np.diag([1, np.inf, 1, 1]), "affine: expected finite"),
    (sheared(), "affine: expected perpendicular axes, got a shear"),
], ids=["3x3", "complex", "flat", "nan", "inf", "shear"])
def test_an_affine_without_a_spacing_is_refused(affine, message, refused):
    with refused(message):
        spacing_from_affine(affine)


flat = torch.zeros(1, 2, 2).long()


@pytest.mark.parametrize("spacing_mm", [(1, 1), (1, 1, 0), (1, -1, 1), (1, 1, math.nan), (1, 1, math.inf), 1.0, "abc",
                                        ("1", "1", "1"), np.eye(4)],
                         ids=["two", "zero", "negative", "nan", "inf", "one number", "text", "texts", "affine"])
def test_what_is_no_spacing_is_refused(spacing_mm, refused):
    with refused("spacing_mm: expected .* got"):
        volumes_ml(flat, classes=2, spacing_mm=spacing_mm)


def test_counts_can_be_made_by_hand():
    counts = ConfusionCounts(*(torch.tensor([[n]]) for n in (6, 2, 4, 88)))
    assert counts.dice == 12 / 18 and counts.iou == 0.5
    assert (counts.sensitivity, counts.precision) == (0.6, 0.75) and counts.specificity == 88 / 90


@quick
@given(seeds)
def test_ignored_voxels_are_in_no_count(seed):
    """As nnU-Net counts: where the truth is the ignored label, nothing is true or false of any class."""
    truth, answer = random_labels(seed)
    ignored = torch.from_numpy(np.random.default_rng(seed).random(truth.shape) < 0.3)
    counts = confusion_counts(answer, truth.masked_fill(ignored, 255), classes=4, ignore_index=255)
    for k in range(4):
        true, found = truth == k, answer == k
        for name, mask in {"tp": true & found, "fp": ~true & found, "fn": true & ~found, "tn": ~true & ~found}.items():
            assert torch.equal(getattr(counts, name)[:, k], (mask & ~ignored).flatten(1).sum(1))


def test_what_the_answer_holds_where_the_truth_is_ignored_means_nothing(refused):
    truth, answer = torch.tensor([[[0, -1], [1, -1]]]), torch.tensor([[[0, 7], [1, -1]]])
    counts = confusion_counts(answer, truth, classes=2, ignore_index=-1)
    assert counts.dice.tolist() == [[1.0, 1.0]] and counts.tn.tolist() == [[1, 1]]
    for options, message in ((dict(), "prediction: expected labels of 0..1"),
                             (dict(ignore_index=9), "prediction: expected"),
                             (dict(ignore_index=1.5), "ignore_index: expected a whole number")):
        with refused(message):
            confusion_counts(answer, truth, classes=2, **options)
    with refused("target: expected labels of 0..1 for 2 classes or ignore_index = 9, got -1"):
        confusion_counts(answer.clamp(0, 1), truth, classes=2, ignore_index=9)


def test_ignored_voxels_have_no_volume():
    labels = torch.tensor([[[0, 1, 1, 3]]])
    assert volumes_ml(labels, classes=2, spacing_mm=(10, 10, 10), ignore_index=3).tolist() == [[1.0, 2.0]]
