"""The three answers: what a simplex is, what a set of things is, and what a region measures in millimetres."""
import math

import numpy as np
import pytest
import scipy.ndimage
import skimage.measure
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.tasks import InstanceSet, Region, check_simplex, connected_components, region_measures

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_labels(seed, classes=3, dim=None):
    random = np.random.default_rng(seed)
    shape = random.integers(1, 9, size=dim or random.integers(2, 4))
    density = random.uniform(0, 0.8)
    return torch.from_numpy(random.integers(1, classes + 1, size=shape) * (random.random(shape) < density))


def random_set(seed, n=None, shape=(5, 6)):
    g = torch.Generator().manual_seed(seed)
    n = torch.randint(0, 6, (), generator=g).item() if n is None else n
    masks = torch.rand(n, *shape, generator=g) < 0.3
    masks[:, 0, 0] = True
    classes = torch.randint(1, 3, (n,), generator=g)
    return InstanceSet(masks, classes, torch.randint(0, 4, (n,), generator=g) / 4)


# ---------------------------------------------------------------------------------------------------------------------
# The simplex

@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("classes", [1, 2, 6, 1000])
@pytest.mark.parametrize("space", [(), (5, 4), (3, 4, 2)], ids=str)
def test_softmax_gives_points_of_the_simplex(dtype, classes, space):
    z = 20 * torch.randn(4, classes, *space, generator=torch.Generator().manual_seed(0))
    assert check_simplex(z.to(dtype).softmax(1)) is None


def test_the_corners_pass_and_so_does_a_batch_of_nothing():
    check_simplex(torch.eye(3))
    check_simplex(torch.empty(0, 3, 8, 8))
    check_simplex(torch.eye(3)[None], dim=-1)


@pytest.mark.parametrize("p, says", [
    (torch.tensor([[1.5, -0.5]]), "p: expected 0 or more, got -0.5"),
    (torch.tensor([[0.5, 0.4]]), "sums of 1 along axis 1, got 0.9"),
    (torch.tensor([[0.5, 0.5], [0.5, 0.50001]]), "got 1.00001"),
    (torch.tensor([[0.5, 0.50001]], dtype=torch.float64), "got 1.00001"),
    (torch.tensor([[0.5, 0.6]], dtype=torch.bfloat16), "sums of 1"),
    (torch.tensor([[0.5, math.nan]]), "p: expected finite numbers, got a range of nan"),
    (torch.tensor([[0.5, math.inf]]), "p: expected finite numbers, got a range of 0.5 to inf"),
    (torch.tensor([[1, 0]]), "p: expected a float tensor, got torch.int64"),
    ([[1.0, 0.0]], "got list"),
    (torch.empty(2, 0), "at least one class"),
    (torch.tensor([1.0]), r"dim: expected a whole number, -1\.\.0, got 1"),
], ids=range(11))
def test_what_is_no_point_of_the_simplex_is_refused_with_what_came(p, says, refused):
    with refused(says):
        check_simplex(p)


def test_logits_are_refused_and_the_axis_matters(refused):
    p = torch.full((2, 4), 0.25)
    with refused("sums of 1 along axis 0"):
        check_simplex(p, dim=0)


# ---------------------------------------------------------------------------------------------------------------------
# Components

@quick
@given(seeds)
def test_components_are_those_of_scikit_image(seed):
    labels = random_labels(seed)
    ours, theirs = connected_components(labels).numpy(), skimage.measure.label(labels.numpy(), connectivity=labels.ndim)
    assert ours.max(initial=0) == theirs.max(initial=0)
    pairs = set(zip(ours.flat, theirs.flat))
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})       # the same up to the ids' names
    assert set(np.unique(ours)) - {0} == set(range(1, ours.max(initial=0) + 1))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64], ids=str)
def test_small_masks_are_labelled_right_too(dtype):
    """Where cc3d 4.1.1 goes wrong with bool and with binary_image=True: it leaks in 2D, and raises on a line."""
    mask = torch.tensor([[0, 1], [0, 0], [0, 0], [0, 0], [1, 0]]).to(dtype)
    assert connected_components(mask).tolist() == [[0, 1], [0, 0], [0, 0], [0, 0], [2, 0]]
    line = torch.tensor([1, 0, 1, 0, 1]).to(dtype).view(1, 5, 1)
    assert connected_components(line).flatten().tolist() == [1, 0, 2, 0, 3]


def test_many_things_get_wider_ids():
    mask = torch.zeros(400, 400, dtype=torch.int64)
    mask[::2, ::2] = 1
    things = connected_components(mask)
    assert things.dtype == torch.int32 and things.max() == 40_000 and (things > 0).equal(mask > 0)


def test_a_corner_is_enough_to_touch():
    diagonal = torch.eye(3, dtype=torch.int64)
    assert connected_components(diagonal).max() == 1
    cube = torch.zeros(2, 2, 2, dtype=torch.int64)
    cube[0, 0, 0] = cube[1, 1, 1] = 1
    assert connected_components(cube).max() == 1
    cube[1, 1, 1] = 2
    assert connected_components(cube).max() == 2                                        # another class is another thing


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
def test_components_take_masks_and_integers_and_any_layout(dtype):
    mask = torch.rand(9, 7, generator=torch.Generator().manual_seed(1)) < 0.3
    things = connected_components(mask.to(dtype).T)
    assert things.dtype == torch.int16 and things.shape == (7, 9)
    assert things.max() == skimage.measure.label(mask.T.numpy(), connectivity=2).max()


def test_no_class_gives_no_thing():
    assert not connected_components(torch.zeros(4, 4, dtype=torch.int64)).any()
    assert connected_components(torch.zeros(0, 4, dtype=torch.int64)).shape == (0, 4)


# ---------------------------------------------------------------------------------------------------------------------
# The set

@quick
@given(seeds)
def test_a_map_survives_the_way_through_the_set(seed):
    labels = random_labels(seed)
    things = InstanceSet.from_semantic(labels)
    assert torch.equal(things.to_semantic(), labels)
    assert len(things) == connected_components(labels).max().item()
    ids = things.to_map()
    assert InstanceSet.from_map(ids, labels) == things
    assert torch.equal(ids > 0, labels > 0)
    assert set(ids.unique().tolist()) - {0} == set(range(1, len(things) + 1))


@quick
@given(seeds)
def test_the_order_means_nothing(seed):
    things = random_set(seed)
    other = things[torch.randperm(len(things), generator=torch.Generator().manual_seed(seed))]
    assert things == other and other == things
    assert torch.equal(things.to_semantic(), other.to_semantic())


def test_equality_counts_how_often_a_thing_is_there_and_sees_every_part():
    things = random_set(3, n=3)
    assert things == random_set(3, n=3)
    assert things != things[:2]
    assert things[[0, 0, 1]] != things[[0, 1, 1]] and things[[0, 0, 1]] == things[[0, 1, 0]]
    flipped = things.masks.clone()
    flipped[2, 4, 5] ^= True
    assert things != InstanceSet(flipped, things.classes, things.scores)
    assert things != InstanceSet(things.masks, 3 - things.classes, things.scores)
    assert things != InstanceSet(things.masks, things.classes, 1 - things.scores)
    assert things != InstanceSet(things.masks.transpose(1, 2), things.classes, things.scores)
    assert things != "things"
    with pytest.raises(TypeError, match="unhashable"):
        hash(things)


@pytest.mark.parametrize("grid", [(4, 5), (4, 5, 6)], ids=str)
def test_the_empty_set_keeps_its_grid(grid):
    empty = InstanceSet.from_semantic(torch.zeros(grid, dtype=torch.int64))
    assert len(empty) == 0 and empty.masks.shape == (0, *grid) and list(empty) == []
    assert torch.equal(empty.to_semantic(), torch.zeros(grid, dtype=torch.int64))
    assert torch.equal(empty.to_map(), torch.zeros(grid, dtype=torch.int64))
    assert empty == InstanceSet(torch.zeros(0, *grid, dtype=torch.bool), torch.zeros(0, dtype=torch.int64))
    assert empty != InstanceSet.from_semantic(torch.zeros(2, 2, dtype=torch.int64))
    assert repr(empty) == f"InstanceSet(no thing, grid {grid})"


def test_indexing_gives_smaller_sets():
    things = random_set(5, n=4)
    assert len(things) == 4 and len(things[1:3]) == 2 and len(things[[]]) == 0 and things[[]].masks.shape == (0, 5, 6)
    assert things[-1] == things[3] and things[torch.tensor(2)] == things[2] == things[[2]]
    assert [one.classes.item() for one in things] == things.classes.tolist()
    assert len(things[things.scores > 0.4]) == (things.scores > 0.4).sum()
    assert things[[True, False, False, True]] == things[[0, 3]]
    assert things[np.array([0, 3])] == things[[0, 3]] == things[np.array([True, False, False, True])]
    assert things[np.int64(2)] == things[2]
    with pytest.raises(IndexError, match="4 things, got 4"):
        things[4]


def test_where_things_overlap_the_higher_score_is_on_top_then_the_smaller_then_the_lower_class():
    masks = torch.tensor([[[1, 1, 1]], [[1, 1, 0]], [[0, 1, 1]]]).bool()
    classes = torch.tensor([1, 2, 3])
    top = InstanceSet(masks, classes, torch.tensor([0.9, 0.5, 0.4]))
    assert top.to_semantic().tolist() == top.to_map().tolist() == [[1, 1, 1]]                # 2 and 3 lie under it
    assert InstanceSet(masks, classes, torch.tensor([0.4, 0.5, 0.9])).to_map().tolist() == [[2, 3, 3]]
    assert InstanceSet(masks, classes).to_semantic().tolist() == [[2, 2, 3]]


def test_touching_things_are_one_in_the_map_of_classes_and_two_in_the_set():
    truth = torch.tensor([[1, 1, 2, 2]])
    semantic = (truth > 0).long()
    merged, told_apart = InstanceSet.from_semantic(semantic), InstanceSet.from_map(truth, semantic)
    assert len(merged) == 1 and len(told_apart) == 2
    assert torch.equal(merged.to_semantic(), told_apart.to_semantic())


def test_ids_may_have_gaps_and_be_huge_and_stuff_is_left_out():
    ids, semantic = torch.tensor([[0, 7, 7, 2**40]]), torch.tensor([[3, 1, 1, 2]])
    things = InstanceSet.from_map(ids, semantic)
    assert things.classes.tolist() == [1, 2] and things.to_semantic().tolist() == [[0, 1, 1, 2]]
    assert things.scores.tolist() == [1, 1]
    assert repr(things) == "InstanceSet(1 of class 1, 1 of class 2, grid (1, 4))"
    assert things.to("cpu") == things


MASKS, CLASSES = torch.ones(2, 3, 3, dtype=torch.bool), torch.tensor([1, 2])


@pytest.mark.parametrize("arguments, says", [
    ((MASKS.float(), CLASSES), "masks: expected a bool tensor .* got torch.float32"),
    ((MASKS.numpy(), CLASSES), "masks: .* got ndarray"),
    ((MASKS[0], CLASSES), r"masks: expected \(n, \*S\) with 2 or 3 axes of space, got shape \(3, 3\)"),
    ((MASKS[None, None], CLASSES), "masks: .* got shape"),
    ((MASKS, CLASSES.int()), "classes: expected an int64 tensor .* got torch.int32"),
    ((MASKS, CLASSES[:1]), r"classes: expected shape \(2,\) .* got \(1,\)"),
    ((MASKS, torch.tensor([1, 0])), "classes: expected 1 or more, got 0. 0 is background"),
    ((MASKS, torch.tensor([1, -1])), "classes: expected 1 or more, got -1"),
    ((MASKS, CLASSES, torch.tensor([1, 0])), "scores: expected a float tensor .* got torch.int64"),
    ((MASKS, CLASSES, torch.tensor([1.0])), "scores: expected shape"),
    ((MASKS, CLASSES, torch.tensor([1.0, 1.5])), r"scores: expected 0\.\.1, got 1\.5"),
    ((MASKS, CLASSES, torch.tensor([-0.1, 1.0])), r"scores: expected 0\.\.1, got -0\.1"),
    ((MASKS, CLASSES, torch.tensor([1.0, math.nan])), "scores: expected finite numbers, got a range of nan"),
    ((torch.stack([MASKS[0], ~MASKS[0]]), CLASSES), "masks: expected at least one voxel in each, got none in mask 1"),
], ids=range(14))
def test_what_is_no_set_of_things_is_refused(arguments, says, refused):
    with refused(says):
        InstanceSet(*arguments)


@pytest.mark.parametrize("ids, semantic, says", [
    ([[1, 1]], [[1, 2]], "one class for each id, got classes 1 and 2 for 1"),
    ([[1, 2]], [[1, 0]], "a class of 1 or more for each id, got 0 for 2"),
    ([[1, 2]], [[1, -1]], "semantic: expected labels of 0 or more, got -1"),
    ([[-1, 2]], [[1, 1]], "instances: expected labels of 0 or more, got -1"),
    ([[1, 2]], [[1], [1]], r"semantic: expected shape \(1, 2\) .* got \(2, 1\)"),
    ([[1.0, 2.0]], [[1, 1]], "instances: expected an integer tensor .* got torch.float32"),
    ([[True, False]], [[1, 1]], "instances: expected an integer tensor .* got torch.bool"),
    ([1, 2], [1, 1], r"2 or 3 axes of space, got shape \(2,\)"),
], ids=range(8))
def test_maps_that_do_not_belong_together_are_refused(ids, semantic, says, refused):
    with refused(says):
        InstanceSet.from_map(torch.tensor(ids), torch.tensor(semantic))


def test_a_map_that_is_no_map_of_classes_is_refused(refused):
    for make in (connected_components, InstanceSet.from_semantic):
        with refused("labels: expected an integer tensor"):
            make(torch.ones(3, 3))
        with refused("labels: expected labels of 0 or more, got -100"):
            make(torch.full((3, 3), -100))
        with refused("labels: .* got shape"):
            make(torch.ones(1, 1, 3, 3, dtype=torch.int64))


@pytest.mark.parametrize("take", [
    connected_components, InstanceSet.from_semantic, lambda x: InstanceSet.from_map(x, x),
    lambda x: region_measures(x, np.eye(4)),
], ids=["components", "semantic", "map", "regions"])
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64], ids=lambda dtype: dtype.__name__)
def test_unsigned_maps_as_other_tools_write_them_are_refused_with_what_to_do(take, dtype, refused):
    labels = torch.from_numpy(np.eye(8, dtype=dtype))
    with refused(rf"expected integers that torch computes with, got torch\.{np.dtype(dtype)} .*; give \w+\.long\(\)"):
        take(labels)
    take(labels.long())


# ---------------------------------------------------------------------------------------------------------------------
# Regions

def turned_affine(spacing_mm):
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -0.3, 0.2], [0.3, 0, -0.1], [-0.2, 0.1, 0]], dtype=torch.float64))
    affine = torch.eye(4, dtype=torch.float64)
    affine[:3, :3] = turn @ torch.diag(torch.tensor(spacing_mm, dtype=torch.float64))
    affine[:3, 3] = torch.tensor([-30.0, 12.5, 4.0])
    return affine


@quick
@given(seeds)
def test_measures_agree_with_scipy_and_scikit_image(seed):
    labels = random_labels(seed)
    affine = turned_affine([0.8, 0.9, 2.0])
    found, array = region_measures(labels, affine), labels.numpy()
    assert list(found) == [label for label in np.unique(array) if label > 0]
    theirs = {region.label: region for region in skimage.measure.regionprops(array)} if labels.any() else {}
    for label, region in found.items():
        index = np.array(scipy.ndimage.center_of_mass(array == label))
        index = np.append(index, [0] * (3 - labels.ndim))
        assert np.allclose(region.centroid_mm, affine[:3, :3].numpy() @ index + affine[:3, 3].numpy(), atol=1e-10)
        assert region.voxels == theirs[label].num_pixels
        assert region.volume_ml == pytest.approx(region.voxels * 0.8 * 0.9 * 2.0 / 1000)
        assert region.box == theirs[label].slice
        lengths = [s.stop - s.start for s in region.box]
        assert region.extent_mm == pytest.approx([n * mm for n, mm in zip(lengths, (0.8, 0.9, 2.0))])
    unit = region_measures(labels, np.eye(4))
    for label in unit:
        assert unit[label].equivalent_diameter_mm == pytest.approx(theirs[label].equivalent_diameter_area)


def test_a_ball_has_the_volume_the_centre_and_the_diameter_of_a_ball():
    affine = turned_affine([0.8, 0.8, 2.0])
    index = torch.stack(torch.meshgrid(*(torch.arange(n) for n in (64, 64, 28)), indexing="ij"), dim=-1).double()
    place_mm = index @ affine[:3, :3].T + affine[:3, 3]
    centre_mm = place_mm[31, 33, 14] + 0.3
    region = region_measures(((place_mm - centre_mm).norm(dim=-1) <= 20).long(), affine)[1]
    assert region.volume_ml == pytest.approx(4 / 3 * math.pi * 20**3 / 1000, rel=0.01)
    assert region.centroid_mm == pytest.approx(centre_mm.tolist(), abs=0.05)
    assert region.equivalent_diameter_mm == pytest.approx(40, rel=0.005)
    assert region.extent_mm == pytest.approx([40, 40, 40], abs=2.1)


def test_a_slice_has_a_volume_through_its_thickness_and_the_diameter_of_a_disc():
    labels = torch.zeros(5, 6, dtype=torch.int64)
    labels[1:3, 2:5] = 4
    affine = np.diag([2.0, 3.0, 5.0, 1.0])
    affine[:3, 3] = [10, 20, 30]
    region = region_measures(labels, affine)[4]
    assert region == Region(6, region.volume_ml, (13.0, 29.0, 30.0), region.equivalent_diameter_mm, (4.0, 9.0),
                            (slice(1, 3), slice(2, 5)))
    assert region.volume_ml == pytest.approx(0.18)
    assert region.equivalent_diameter_mm == pytest.approx(2 * math.sqrt(36 / math.pi))


def test_no_label_gives_nothing_and_labels_may_be_huge():
    assert region_measures(torch.zeros(3, 4, 5, dtype=torch.int64), np.eye(4)) == {}
    assert region_measures(torch.zeros(0, 4, dtype=torch.int64), np.eye(4)) == {}
    labels = torch.tensor([[0, 3, 2**50, 2**50]])
    assert {label: region.voxels for label, region in region_measures(labels, np.eye(4)).items()} == {3: 1, 2**50: 2}


@pytest.mark.parametrize("affine, says", [
    (np.eye(3), r"4 x 4 matrix, got shape \(3, 3\)"),
    (torch.eye(4)[None], "4 x 4 matrix"),
    (np.eye(4, dtype=complex), "real 4 x 4"),
    (np.eye(4) * np.nan, "finite values"),
    (np.diag([1.0, 1.0, 0.0, 1.0]), "an inverse"),
    (np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
], ids=range(6))
def test_an_affine_that_is_none_is_refused(affine, says, refused):
    with refused(says):
        region_measures(torch.ones(2, 2, dtype=torch.int64), affine)


def test_a_map_that_cannot_be_measured_is_refused(refused):
    with refused("labels: expected an integer tensor .* got torch.float32"):
        region_measures(torch.ones(2, 2), np.eye(4))
    with refused("got -1"):
        region_measures(torch.full((2, 2), -1), np.eye(4))
    with refused("2 or 3 axes"):
        region_measures(torch.ones(1, 2, 2, 2, dtype=torch.int64), np.eye(4))


@pytest.mark.gpu
def test_the_gpu_gives_the_same():
    labels = random_labels(1, dim=3)
    things = InstanceSet.from_semantic(labels.cuda())
    assert things.masks.is_cuda and things == InstanceSet.from_semantic(labels)
    assert torch.equal(things.to_map().cpu(), InstanceSet.from_semantic(labels).to_map())
    assert region_measures(labels.cuda(), np.eye(4)) == region_measures(labels, np.eye(4))
