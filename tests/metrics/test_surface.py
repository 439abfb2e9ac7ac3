"""Surface distances against all pairs, MONAI, DeepMind and closed theory, each under its own convention."""
import math
import warnings

import numpy as np
import pytest
import surface_distance as deepmind
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import (
    HausdorffDistanceMetric,
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from skimage.measure import marching_cubes, mesh_surface_area

from medlearn.base.grid import Grid, spacing_from_affine
from medlearn.metrics import surface
from medlearn.metrics._summary import summarise
from medlearn.metrics.overlap import confusion_counts
from medlearn.metrics.surface import (
    SurfaceDistances,
    assd,
    hausdorff,
    hausdorff95,
    nsd,
    surface_distances,
    surface_report,
)

pytestmark = [pytest.mark.filterwarnings(f"ignore::{kind}:{module}") for kind, module in (
    ("FutureWarning", "monai"), ("DeprecationWarning", "surface_distance"))]
quick = settings(max_examples=30, deadline=None)
seeds = st.integers(0, 2**32 - 1)
measures = st.sampled_from(["voxels", "area"])
WAYS = pytest.mark.parametrize("few", [4096, 0], ids=["tree alone", "looking around first"])


@pytest.fixture
def looking(monkeypatch):
    """Has even the smallest mask searched the way that large ones are."""
    return lambda few: monkeypatch.setattr(surface, "_FEW", few)


def example(seed):
    """Two masks that are alike, neither empty, some at the image's border, and a spacing; in 2D or 3D.

    They need not lie in memory in the order of their axes.
    """
    random = np.random.default_rng(seed)
    dim = random.integers(2, 4)
    shape = random.integers(2, 24 if dim == 2 else 12, size=dim)
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    truth, answer = (np.linalg.norm(place - random.uniform(0, shape), axis=-1) < random.uniform(1, shape.max() / 1.5)
                     for _ in range(2))
    answer = np.where(random.random() < 0.3, answer, truth ^ (random.random(shape) < random.choice([0.02, 0.3])))
    for mask in (truth, answer):
        mask[tuple(random.integers(0, shape))] = True
    truth, answer = (torch.from_numpy(np.asarray(mask, order=random.choice(["C", "F"]))) for mask in (truth, answer))
    return truth, answer, random.uniform(0.3, 3, size=dim)


def everything(distances, tolerance_mm=1.0):
    return [hausdorff(distances), hausdorff95(distances), hausdorff95(distances, convention="pooled"),
            assd(distances), nsd(distances, tolerance_mm)]


def ball(radius, size=20, centre=None):
    place = np.indices((size,) * 3).T
    return torch.from_numpy(np.linalg.norm(place - (centre or (size - 1) / 2), axis=-1) < radius)


# Each under its own convention ---------------------------------------------------------------------------------------

@WAYS
@given(seed=seeds)
@settings(quick, suppress_health_check=["function_scoped_fixture"])
def test_voxels_agree_with_all_pairs(seed, few, looking):
    looking(few)
    truth, answer, spacing = example(seed)
    a, b = (np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (truth.numpy(), answer.numpy()))
    pairs = cdist(a, b)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    both = np.concatenate([there, back])
    found = surface_distances(answer, truth, spacing_mm=spacing)
    np.testing.assert_allclose(found.target_to_prediction_mm, there, atol=1e-12)
    np.testing.assert_allclose(found.prediction_to_target_mm, back, atol=1e-12)
    by_hand = [both.max(), max(np.percentile(there, 95), np.percentile(back, 95)), np.percentile(both, 95),
               both.mean(), (both <= 1).mean()]
    np.testing.assert_allclose(everything(found), by_hand, atol=1e-12)


@quick
@given(seeds)
def test_voxels_agree_with_monai(seed):
    truth, answer, spacing = example(seed)
    t, a = (mask[None, None].float() for mask in (truth, answer))
    options = dict(include_background=True, spacing=spacing.tolist())
    theirs = [compute_hausdorff_distance(a, t, **options), compute_hausdorff_distance(a, t, percentile=95, **options),
              compute_average_surface_distance(a, t, symmetric=True, **options),
              compute_surface_dice(a, t, [1.0], **options)]
    found = surface_distances(answer, truth, spacing_mm=spacing)
    ours = [hausdorff(found), hausdorff95(found), assd(found), nsd(found, 1.0)]
    np.testing.assert_allclose(ours, [value.item() for value in theirs], rtol=1e-5, atol=1e-5)     # float32


@WAYS
@given(seed=seeds)
@settings(quick, suppress_health_check=["function_scoped_fixture"])
def test_areas_agree_with_deepmind(seed, few, looking):
    looking(few)
    truth, answer, spacing = example(seed)
    theirs = deepmind.compute_surface_distances(truth.numpy(), answer.numpy(), spacing)
    found = surface_distances(answer, truth, spacing_mm=spacing, measure="area")
    sides = ((found.target_to_prediction_mm, found.target_weights, "gt_to_pred", "gt"),
             (found.prediction_to_target_mm, found.prediction_weights, "pred_to_gt", "pred"))
    for distances, areas, way, side in sides:
        np.testing.assert_allclose(np.sort(distances), theirs[f"distances_{way}"], atol=1e-12)
        np.testing.assert_allclose(areas.sum(), theirs[f"surfel_areas_{side}"].sum())
    averages = [distances @ areas / areas.sum() for distances, areas, *_ in sides]
    np.testing.assert_allclose(averages, deepmind.compute_average_surface_distance(theirs))
    np.testing.assert_allclose(assd(found), np.average(averages, weights=[areas.sum() for _, areas, *_ in sides]))
    assert nsd(found, 1.0) == pytest.approx(deepmind.compute_surface_dice_at_tolerance(theirs, 1.0))
    # its percentile jumps from one distance to the next, and may do so a rounding earlier than ours
    near = [deepmind.compute_robust_hausdorff(theirs, percent) for percent in (95 - 1e-6, 95 + 1e-6)]
    assert near[0] - 1e-12 <= hausdorff95(found) <= near[1] + 1e-12
    assert hausdorff(found) == pytest.approx(deepmind.compute_robust_hausdorff(theirs, 100))


# Closed theory -------------------------------------------------------------------------------------------------------

def area_of(mask, spacing=(1, 1, 1)):
    return surface_distances(mask, mask, spacing_mm=spacing, measure="area").target_weights.sum()


def test_the_surface_of_one_voxel_is_an_octahedron_and_of_one_pixel_a_diamond():
    voxel, pixel = torch.zeros(3, 3, 3).bool(), torch.zeros(3, 3).bool()
    voxel[1, 1, 1] = pixel[1, 1] = True
    assert area_of(voxel) == pytest.approx(math.sqrt(3))
    assert area_of(pixel, (3, 4)) == pytest.approx(4 * 2.5)
    assert len(surface_distances(voxel, voxel, spacing_mm=(1, 1, 1)).target_weights) == 1


def test_the_surface_of_a_ball_is_that_of_marching_cubes():
    mask, spacing = ball(8.3), (0.9, 1.0, 1.2)
    vertices, triangles, *_ = marching_cubes(mask.numpy().astype(float), 0.5, spacing=spacing, method="lorensen")
    assert area_of(mask, spacing) == pytest.approx(mesh_surface_area(vertices, triangles), rel=0.01)


def test_two_plates_are_as_far_apart_as_they_are():
    truth, answer = torch.zeros(20, 5, 5).bool(), torch.zeros(20, 5, 5).bool()
    truth[3], answer[7] = True, True
    found = surface_distances(answer, truth, spacing_mm=(2.5, 0.8, 0.8))
    assert everything(found, 9.9) == [10, 10, 10, 10, 0] and nsd(found, 10) == 1


@pytest.mark.parametrize("measure", ["voxels", "area"])
def test_equal_masks_are_at_distance_0(measure):
    assert everything(surface_distances(ball(6), ball(6), spacing_mm=(1, 2, 3), measure=measure), 0) == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("steps", [1, 3, 7, 11])
def test_a_distance_that_equals_the_tolerance_is_within_it(steps):
    truth, answer = torch.zeros(3, 30).bool(), torch.zeros(3, 30).bool()
    truth[1, 5], answer[1, 5 + steps] = True, True
    assert nsd(surface_distances(answer, truth, spacing_mm=(1, 0.8)), round(0.8 * steps, 1)) == 1
    assert nsd(surface_distances(answer, truth, spacing_mm=(1, 0.8)), 0.8 * steps - 1e-4) == 0


def test_a_far_false_positive_rules_hausdorff_and_not_hausdorff95():
    truth = ball(7)
    answer = truth.clone()
    answer[0, 0, 0] = True
    found = surface_distances(answer, truth, spacing_mm=(1, 1, 1))
    assert hausdorff(found) > 8 and hausdorff95(found) == 0


def test_where_both_sides_are_pooled_the_larger_surface_counts_more():
    found = SurfaceDistances(np.full(10, 5.0), np.zeros(990), np.ones(10), np.ones(990))
    assert (hausdorff95(found), hausdorff95(found, convention="pooled"), assd(found)) == (5, 0, 0.05)


# Invariances ---------------------------------------------------------------------------------------------------------

@quick
@given(seeds, measures)
def test_truth_and_answer_may_be_exchanged(seed, measure):
    truth, answer, spacing = example(seed)
    here, there = (surface_distances(*pair, spacing_mm=spacing, measure=measure)
                   for pair in ((truth, answer), (answer, truth)))
    np.testing.assert_allclose(everything(here), everything(there))


@quick
@given(seeds, measures)
def test_turning_and_moving_the_image_changes_nothing_and_the_unit_scales(seed, measure):
    truth, answer, spacing = example(seed)
    axes = tuple(np.random.default_rng(seed).permutation(truth.ndim))
    turned = [torch.nn.functional.pad(mask.permute(axes).flip(0), (3, 1) * mask.ndim) for mask in (truth, answer)]
    here = everything(surface_distances(answer, truth, spacing_mm=spacing, measure=measure))
    there = everything(surface_distances(*turned, spacing_mm=2 * spacing[list(axes)], measure=measure), 2.0)
    np.testing.assert_allclose(there, np.multiply(here, [2, 2, 2, 2, 1]))


@quick
@given(seeds, measures)
def test_more_tolerance_is_never_worse_and_percentiles_never_above_the_maximum(seed, measure):
    truth, answer, spacing = example(seed)
    found = surface_distances(answer, truth, spacing_mm=spacing, measure=measure)
    scores = [nsd(found, tolerance) for tolerance in (0, 0.5, 1, 2, 1000)]
    assert scores == sorted(scores) and scores[-1] == 1
    assert max(hausdorff95(found), hausdorff95(found, convention="pooled"), assd(found)) <= hausdorff(found)


def test_the_same_masks_give_the_same_numbers_under_autocast_and_as_views():
    truth, answer, spacing = ball(7), ball(6, centre=9.0), (2.5, 0.8, 0.8)
    expected = everything(surface_distances(answer, truth, spacing_mm=spacing))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = surface_distances(answer, truth, spacing_mm=torch.tensor(spacing, dtype=torch.float64))
    assert everything(inside) == expected
    views = [torch.stack([mask, ~mask], dim=-1)[..., 0] for mask in (answer, truth)]
    assert not views[0].is_contiguous() and everything(surface_distances(*views, spacing_mm=spacing)) == expected


def test_large_masks_are_searched_both_ways():
    truth, answer = ball(30, size=70), ball(29, size=70, centre=35.5)
    answer[0, 0, 0] = True                                          # this one is left to the tree
    found = surface_distances(answer, truth, spacing_mm=(2.5, 0.8, 0.8))
    assert len(found.target_weights) > surface._FEW
    points = [np.argwhere(mask & ~binary_erosion(mask)) * (2.5, 0.8, 0.8) for mask in (truth.numpy(), answer.numpy())]
    some = np.r_[0, 1:len(points[1]):97]
    np.testing.assert_allclose(found.prediction_to_target_mm[some], cdist(points[1][some], points[0]).min(axis=1))


@pytest.mark.gpu
def test_masks_on_the_gpu_give_the_same():
    truth, answer = ball(7), ball(6)
    here, there = (surface_distances(*pair, spacing_mm=(1, 1, 1))
                   for pair in ((truth, answer), (truth.cuda(), answer.cuda())))
    assert everything(here) == everything(there)


# Empty cases ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("measure", ["voxels", "area"])
@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 9)], ids=["2D", "3D"])
def test_a_miss_or_a_false_alarm_is_infinitely_far_and_shares_nothing(shape, measure):
    empty = torch.zeros(shape).bool()
    full = ~empty
    for pair in ((full, empty), (empty, full)):
        found = surface_distances(*pair, spacing_mm=(1.5,) * len(shape), measure=measure)
        assert everything(found) == [math.inf] * 4 + [0]
        assert len(found.sides) == 1 and np.isinf(found.sides[0][0]).all()


def test_a_miss_spoils_the_mean_that_it_improves_in_monai():
    found = ball(6)
    truth, answer = torch.stack([found, found]), torch.stack([found, found & False])
    distances = [hausdorff95(surface_distances(a, t, spacing_mm=(1, 1, 1))) for t, a in zip(truth, answer)]
    summary = summarise(torch.tensor(distances))
    assert summary.mean == math.inf and (summary.cases, summary.infinite, summary.finite_mean) == (2, 1, 0)
    theirs = HausdorffDistanceMetric(include_background=True, percentile=95)
    with warnings.catch_warnings(action="ignore"):
        theirs(answer[:, None].float(), truth[:, None].float())
    assert theirs.aggregate() == 0


@pytest.mark.parametrize("measure", ["voxels", "area"])
@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4), (3, 0, 3)], ids=str)
def test_nothing_against_nothing_is_undefined(shape, measure):
    empty = torch.zeros(shape).bool()
    found = surface_distances(empty, empty, spacing_mm=(1.0,) * len(shape), measure=measure)
    assert np.isnan(everything(found)).all() and found.sides == []
    assert "0 of the target" in repr(found)


def test_a_full_image_has_its_border_for_a_surface():
    full = torch.ones(4, 5).bool()
    found = surface_distances(full, full, spacing_mm=(1, 1))
    assert len(found.target_weights) == 2 * 4 + 2 * 5 - 4
    assert area_of(full, (1, 1)) == pytest.approx(2 * 3 + 2 * 4 + 4 * math.sqrt(0.5))


# The report ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("shape", [(2, 12, 12), (2, 8, 8, 8)], ids=["2D", "3D"])
@pytest.mark.parametrize("measure", ["voxels", "area"])
def test_the_report_is_each_metric_of_each_image_and_class(shape, measure):
    g = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, shape, generator=g)
    answer = torch.where(torch.rand(shape, generator=g) < 0.2, 0, truth)
    truth[1][truth[1] == 2] = 0                                     # class 2 of image 1 is a false alarm
    spacing = (1.0, 2.0, 3.0)[:len(shape) - 1]
    report = surface_report(answer, truth, classes=4, spacing_mm=spacing, tolerance_mm=1.0, measure=measure)
    assert report.nsd.shape == confusion_counts(answer, truth, classes=4).foreground().dice.shape == (2, 3)
    for i in range(2):
        for c in range(1, 4):
            found = surface_distances(answer[i] == c, truth[i] == c, spacing_mm=spacing, measure=measure)
            row = [getattr(report, name)[i, c - 1].item() for name in ("hausdorff95_mm", "assd_mm", "nsd")]
            np.testing.assert_array_equal(row, [hausdorff95(found), assd(found), nsd(found, 1.0)])
    assert report.hausdorff95_mm[1, 1] == math.inf and report.nsd[1, 1] == 0 and report.nsd[:, 2].isnan().all()


def test_a_report_of_no_image_has_no_rows():
    none = torch.zeros(0, 4, 4).long()
    assert surface_report(none, none, classes=3, spacing_mm=(1, 1), tolerance_mm=1).nsd.shape == (0, 2)


def test_without_a_tolerance_a_report_has_distances_and_no_surface_dice():
    truth = torch.zeros(1, 6, 6).long()
    truth[0, 1:4, 1:4] = 1
    with_one, without = (surface_report(truth.roll(1, 1), truth, classes=2, spacing_mm=(1, 1), **tolerance)
                         for tolerance in ({"tolerance_mm": 1}, {}))
    assert torch.equal(without.hausdorff95_mm, with_one.hausdorff95_mm)
    assert torch.equal(without.assd_mm, with_one.assd_mm)
    assert with_one.nsd == 1 and without.nsd.isnan().all() and without.nsd.shape == (1, 1)


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 5)], ids=["2D", "3D"])
def test_a_grid_says_the_spacing(shape):
    grid = Grid(shape, np.diag([2.0, -1.5, 5.0, 1.0]))
    truth = torch.zeros(1, *shape).long()
    truth[0, 2:5, 2:5] = 1
    answer = truth.roll((2, 1), (1, 2))
    by_grid, by_numbers = (surface_report(answer, truth, classes=2, spacing_mm=spacing, tolerance_mm=2)
                           for spacing in (grid, (2.0, 1.5, 5.0)[:len(shape)]))
    for name in ("hausdorff95_mm", "assd_mm", "nsd"):
        assert torch.equal(getattr(by_grid, name), getattr(by_numbers, name))
    assert by_grid.hausdorff95_mm > 2


def test_of_a_slice_the_thickness_is_not_needed_and_a_volume_is_no_slice(refused):
    affine = np.diag([0.5, 0.8, 5.0, 1.0])
    truth = torch.zeros(9, 7).bool()
    truth[2:5, 2:5] = True
    thick, flat = (surface_distances(truth.roll(1, 1), truth, spacing_mm=spacing)
                   for spacing in (spacing_from_affine(affine), (0.5, 0.8)))
    assert hausdorff(thick) == hausdorff(flat) == pytest.approx(0.8)
    with refused("spacing_mm: expected 2 numbers"):
        surface_distances(truth, truth, spacing_mm=Grid((9, 7, 3), affine))


def test_masks_of_files_are_taken_as_they_are():
    truth = np.zeros((2, 9, 7), dtype=np.uint8)
    truth[:, 2:5, 2:5] = 1
    answer = np.roll(truth, 1, axis=1)
    as_tensors = (torch.from_numpy(labels).long() for labels in (answer, truth))
    expected = surface_report(*as_tensors, classes=2, spacing_mm=(1, 2))
    answer.flags.writeable = False
    for kind in (bool, np.uint8, np.uint16, np.dtype(">i2"), np.int32):
        found = surface_report(answer.astype(kind), truth, classes=2, spacing_mm=(1, 2))
        assert torch.equal(found.hausdorff95_mm, expected.hausdorff95_mm)
    one = surface_distances(answer[0, ::-1] > 0, torch.from_numpy(truth[0, ::-1].copy()).bool(), spacing_mm=(1, 2))
    assert hausdorff95(one) == expected.hausdorff95_mm[0, 0]


def test_a_distance_of_a_headers_float32_is_within_the_tolerance_that_it_equals():
    truth = torch.zeros(40, 40).bool()
    truth[5:15, 5:15] = True
    for spacing in (0.8, float(np.float32(0.8)), 0.7, float(np.float32(0.7))):
        found = surface_distances(truth.roll(3, 0), truth, spacing_mm=(spacing, spacing))
        assert nsd(found, round(3 * spacing, 3)) == 1 and nsd(found, 3 * spacing - 0.001) < 1


# Refusals ------------------------------------------------------------------------------------------------------------

mask = torch.ones(4, 4).bool()


@pytest.mark.parametrize(("arguments", "options", "message"), [
    ((mask.long(), mask, (1, 1)), {}, "prediction: expected a bool mask .* got torch.int64 .* labels == c"),
    ((mask, mask.numpy() * 1.0, (1, 1)), {}, "target: expected a bool mask .* got an array of float64"),
    ((mask[0], mask[0], (1,)), {}, "prediction: expected one image .* got shape"),
    ((mask[None, None], mask[None, None], (1,) * 4), {},
     "prediction: expected one image .* got shape .* surface_report"),
    ((mask[:3], mask, (1, 1)), {}, r"prediction: expected shape \(4, 4\) .* got \(3, 4\)"),
    ((mask.to("meta"), mask, (1, 1)), {}, "prediction: expected .* on cpu, .* got .* on meta"),
    ((mask, mask, (1, 1, 1, 1)), {}, "spacing_mm: expected 2 or 3 numbers, .* got"),
    ((mask, mask, (1, 0)), {}, "spacing_mm: expected finite numbers above 0, got"),
    ((mask, mask, 1.0), {}, "spacing_mm: expected 2 or 3 numbers in mm, or a Grid, got float"),
    ((mask, mask, np.eye(4)), {}, "spacing_mm: expected 2 or 3 numbers, .* got"),
    ((mask, mask, (1, 1)), {"measure": "surfels"}, 'measure: expected "voxels" or "area", got \'surfels\''),
], ids=["labels", "array", "1D", "4D", "shapes", "devices", "axes", "zero", "one number", "affine", "measure"])
def test_what_cannot_be_measured_is_refused(arguments, options, message, refused):
    *masks, spacing = arguments
    with refused(message):
        surface_distances(*masks, spacing_mm=spacing, **options)


@pytest.mark.parametrize("tolerance_mm", [-1, math.nan, math.inf, "2 mm", None, True])
def test_what_is_no_tolerance_is_refused(tolerance_mm, refused):
    with refused("tolerance_mm: expected (0 or more|a number), got"):
        nsd(surface_distances(mask, mask, spacing_mm=(1, 1)), tolerance_mm)


def test_a_convention_has_to_be_known(refused):
    with refused('convention: expected "directed" or "pooled", got \'medpy\''):
        hausdorff95(surface_distances(mask, mask, spacing_mm=(1, 1)), convention="medpy")


def test_a_report_refuses_what_are_no_label_maps(refused):
    with refused("prediction: expected labels of 0..1 .* got 2"):
        surface_report(mask.long()[None] * 2, mask.long()[None], classes=2, spacing_mm=(1, 1), tolerance_mm=1)


@pytest.mark.parametrize("measure", ["voxels", "area"])
@pytest.mark.parametrize("shape", [(14, 12), (14, 12, 6)], ids=["2D", "3D"])
def test_a_border_with_what_is_ignored_is_no_surface(shape, measure):
    """Of a slab that runs into the unknown, only the face on the known side is measured."""
    truth, answer, ignored = (torch.zeros(shape, dtype=torch.bool) for _ in range(3))
    truth[3:8], answer[2:8], ignored[8:] = True, True, True
    answer[8:12] = True                                             # what is said of the unknown
    distances = surface_distances(answer, truth, spacing_mm=(2.0,) + (50.0,) * (len(shape) - 1), measure=measure,
                                  ignored=ignored)
    for side, _ in distances.sides:                                 # the ends of the image are surface, too
        assert set(side.tolist()) <= {0.0, 2.0}
    assert hausdorff(distances) == 2.0
    spacing_mm = (2.0,) + (50.0,) * (len(shape) - 1)
    assert hausdorff(surface_distances(answer, truth, spacing_mm=spacing_mm, measure=measure)) == 8.0
    cut = surface_distances(answer & ~ignored, truth, spacing_mm=spacing_mm, measure=measure)
    lost = cut.prediction_weights.sum() - distances.prediction_weights.sum()
    face = {"voxels": math.prod(n - 2 for n in shape[1:]), "area": math.prod(50.0 * n for n in shape[1:])}
    assert lost == pytest.approx(face[measure], rel=0.1)            # a face of the cut, without what its rim has anyway


@pytest.mark.parametrize("measure", ["voxels", "area"])
def test_ignoring_nothing_changes_nothing_and_ignoring_far_away_neither(measure):
    truth = torch.zeros(9, 9, 9, dtype=torch.bool)
    truth[2:5, 2:5, 2:5] = True
    ignored = torch.zeros_like(truth)
    plain = surface_distances(truth.roll(1, 0), truth, spacing_mm=(1, 1, 1), measure=measure)
    ignored[7:] = True
    for mask in (torch.zeros_like(truth), ignored, ignored.numpy()):
        found = surface_distances(truth.roll(1, 0), truth, spacing_mm=(1, 1, 1), measure=measure, ignored=mask)
        assert all(np.array_equal(a, b) for a, b in zip(found.pooled, plain.pooled))


def test_the_report_ignores_what_the_truth_ignores(refused):
    truth, answer = torch.zeros(2, 8, 8, dtype=torch.int64), torch.zeros(2, 8, 8, dtype=torch.int64)
    truth[:, 2:5, 2:5], answer[:, 2:5, 2:5] = 1, 1
    answer[0, 7, 7], truth[0, 6:, 6:] = 1, 255
    report = surface_report(answer, truth, classes=2, spacing_mm=(1, 1), tolerance_mm=0, ignore_index=255)
    assert report.hausdorff95_mm.tolist() == [[0.0], [0.0]] and report.nsd.tolist() == [[1.0], [1.0]]
    with refused("ignored: expected a bool mask"):
        surface_distances(truth[0] == 1, truth[0] == 1, spacing_mm=(1, 1), ignored=truth[0])
    with refused("ignored: expected shape"):
        surface_distances(truth[0] == 1, truth[0] == 1, spacing_mm=(1, 1), ignored=truth[0, :4] == 1)
