"""Things from maps: peaks, and the voxels that point to them."""
import math

import numpy as np
import pytest
import torch
from helpers.touching import balls, perfect_answers, renumbered, two_touching
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medlearn.nets import answers_to_instances, group_instances, instance_targets
from medlearn.nets import grouping as rooms
from medlearn.tasks import InstanceSet


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]))
def test_perfect_maps_give_back_the_things_also_where_they_touch(seed, dim):
    rng = np.random.default_rng(seed)
    shape, radius = ((24, 28), 4.2) if dim == 2 else ((12, 13, 14), 3.2)
    images = []
    for _ in range(2):
        centres = []
        for candidate in rng.uniform(3, np.array(shape) - 4, (8, dim)):
            if all(np.abs(candidate - c).max() >= 5 for c in centres):
                centres.append(candidate)
        images.append(balls(shape, centres, radius))
    instance = torch.stack(images)
    targets = instance_targets(instance)
    found = group_instances(targets.inside, centre=targets.centre, offset=targets.offset)
    for truth, answer in zip(instance, found):
        assert torch.equal(renumbered(truth), renumbered(answer))
        assert answer.unique().tolist() == list(range(int(answer.max()) + 1))


@pytest.mark.parametrize("dim", [2, 3])
def test_touching_things_are_told_apart_where_components_see_one(dim):
    instance = two_touching(dim)
    targets = instance_targets(instance)
    assert len(InstanceSet.from_semantic((instance[0] > 0).long())) == 1
    assert torch.equal(group_instances(targets.inside, centre=targets.centre, offset=targets.offset), instance)


def test_a_voxel_joins_the_nearest_peak_as_a_plain_loop_finds_it(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    foreground = torch.rand(3, 9, 11, generator=generator) < 0.5
    centre, offset = torch.rand(3, 1, 9, 11, generator=generator), torch.randn(3, 2, 9, 11, generator=generator) * 2
    expected = torch.zeros(3, 9, 11, dtype=torch.int64)
    for b in range(3):
        highest = ndimage.maximum_filter(centre[b, 0].numpy(), 3, mode="constant", cval=-1)
        peaks = np.argwhere((centre[b, 0].numpy() == highest) & (centre[b, 0].numpy() > 0.5))
        for i, j in foreground[b].nonzero().tolist():
            distance = np.linalg.norm(peaks - (np.array([i, j]) + offset[b, :, i, j].numpy()), axis=1)
            expected[b, i, j] = distance.argmin() + 1 if distance.min() <= 1.5 else 0
        used = expected[b].unique(sorted=True)
        used = used[used > 0]
        expected[b] = torch.where(expected[b] > 0, torch.searchsorted(used, expected[b]) + 1, 0)
    assert torch.equal(group_instances(foreground, centre=centre, offset=offset, threshold=0.5, reach=1.5), expected)
    monkeypatch.setattr(rooms, "CHUNK", 40)                                     # a few voxels at a time
    assert torch.equal(group_instances(foreground, centre=centre, offset=offset, threshold=0.5, reach=1.5), expected)


def test_of_equal_neighbours_one_is_the_peak():
    centre = torch.zeros(1, 1, 5, 9)
    centre[0, 0, 2, 2:6] = 1                                    # four voxels as high as each other: one thing
    foreground = centre[:, 0] > 0
    found = group_instances(foreground, centre=centre, offset=torch.zeros(1, 2, 5, 9), reach=math.inf)
    assert found.max() == 1 and torch.equal(found > 0, foreground)


def test_foreground_without_a_peak_is_no_thing():
    instance = two_touching()
    targets = instance_targets(instance)
    assert group_instances(targets.inside, centre=targets.centre * 0.2, offset=targets.offset).eq(0).all()


def test_an_image_without_a_peak_has_no_thing_beside_one_that_has_however_far_arrows_may_reach():
    foreground, centre = torch.ones(2, 4, 5, dtype=torch.bool), torch.zeros(2, 1, 4, 5)
    centre[0, 0, 1, 1] = 1
    for reach in (math.inf, 1e200, 10):
        found = group_instances(foreground, centre=centre, offset=torch.zeros(2, 2, 4, 5), reach=reach)
        assert found[0].eq(1).all() and found[1].eq(0).all()


def test_a_window_wider_than_the_image_is_the_image():
    generator = torch.Generator().manual_seed(0)
    maps = dict(centre=torch.rand(2, 1, 4, 5, generator=generator), offset=torch.zeros(2, 2, 4, 5), reach=math.inf)
    found = group_instances(torch.ones(2, 4, 5, dtype=torch.bool), kernel=2**62 + 1, **maps)
    assert torch.equal(found, group_instances(torch.ones(2, 4, 5, dtype=torch.bool), kernel=9, **maps))
    assert found.eq(1).all()


def test_an_arrow_to_a_centre_that_was_not_found_joins_no_other_thing():
    instance = two_touching()
    targets = instance_targets(instance)
    centre = targets.centre.clone()
    centre[..., 8:] = 0                                         # the centre of the thing on the right is missed
    assert torch.equal(group_instances(targets.inside, centre=centre, offset=targets.offset), (instance == 1).long())
    joined = group_instances(targets.inside, centre=centre, offset=targets.offset, reach=math.inf)
    assert torch.equal(joined, targets.inside.long())


def test_a_peak_to_which_no_arrow_points_leaves_no_gap_in_the_ids():
    instance = two_touching()
    targets = instance_targets(instance)
    centre = targets.centre.clone()
    centre[0, 0, 0, 0] = 1
    assert torch.equal(group_instances(targets.inside, centre=centre, offset=targets.offset), instance)


def test_nothing_groups_to_nothing():
    for shape in ((0, 4, 5), (2, 4, 5), (1, 0, 5), (2, 3, 4, 5)):
        batch, *space = shape
        found = group_instances(torch.zeros(shape, dtype=torch.bool), centre=torch.zeros(batch, 1, *space),
                                offset=torch.zeros(batch, len(space), *space))
        assert tuple(found.shape) == shape and found.dtype == torch.int64 and found.eq(0).all()
    peak = torch.zeros(1, 1, 4, 5)
    peak[0, 0, 2, 2] = 1
    nowhere = torch.zeros(1, 4, 5, dtype=torch.bool)
    assert group_instances(nowhere, centre=peak, offset=torch.zeros(1, 2, 4, 5)).eq(0).all()


# sets of things

@pytest.mark.parametrize("dim", [2, 3])
def test_perfect_answers_become_the_true_sets(dim):
    instance = two_touching(dim)
    classes = torch.where(instance == 1, 5, torch.where(instance == 2, 4, 0))
    answers = perfect_answers(torch.cat([instance, torch.zeros_like(instance)]),
                              torch.cat([classes, torch.zeros_like(classes)]))
    found, nothing = answers_to_instances(answers)
    assert InstanceSet(found.masks, found.classes) == InstanceSet.from_map(instance[0], (classes[0] - 3).clamp_min(0))
    assert found.classes.tolist() == [2, 1]
    assert len(nothing) == 0 and nothing.masks.shape == (0, *instance.shape[1:])


def test_the_class_of_a_thing_is_that_of_most_of_its_voxels_and_the_lower_of_equals():
    instance = torch.zeros(1, 7, 20, dtype=torch.int64)
    instance[0, 2:4, 2:7], instance[0, 2:4, 12:16] = 1, 2
    classes = torch.where(instance > 0, 5, 0)
    classes[0, 2:4, 2:4], classes[0, 2:4, 12:14] = 4, 4         # four of ten, and four of eight
    found = answers_to_instances(perfect_answers(instance, classes))[0]
    assert found.classes.tolist() == [2, 1]
    assert [mask.sum().item() for mask in found.masks] == [10, 8]


def test_the_score_of_a_thing_is_the_height_of_its_peak():
    instance = two_touching()
    low, high = (answers_to_instances(perfect_answers(instance, height=h))[0] for h in (0.5, 3.0))
    assert low.scores.tolist() == pytest.approx((instance_targets(instance).centre.amax() * 0.5).expand(2).tolist())
    assert high.scores.tolist() == [1, 1]


def test_a_peak_to_which_no_arrow_points_takes_no_score_from_the_others():
    answers = perfect_answers(two_touching())
    answers.centre[0, 0, 0, 0] = 0.4
    answers.centre[0, 0, :, :8] *= 0.9
    left, right = answers.centre[..., :8].amax().item(), answers.centre[..., 8:].amax().item()
    assert answers_to_instances(answers)[0].scores.tolist() == pytest.approx([left, right])


# what is refused

def test_maps_that_cannot_be_grouped_are_refused(refused):
    good = dict(foreground=torch.ones(1, 4, 5, dtype=torch.bool), centre=torch.zeros(1, 1, 4, 5),
                offset=torch.zeros(1, 2, 4, 5))
    for change, message in [
        ({"foreground": torch.ones(1, 4, 5)}, "foreground: expected a bool tensor .*got .*float32"),
        ({"foreground": torch.ones(4, 5, dtype=torch.bool)}, "foreground: expected .*2 or 3 axes"),
        ({"centre": torch.zeros(1, 4, 5)}, r"centre: expected shape \(1, 1, 4, 5\) .*got \(1, 4, 5\)"),
        ({"offset": torch.zeros(1, 3, 4, 5)}, r"offset: expected shape \(1, 2, 4, 5\)"),
        ({"offset": torch.full((1, 2, 4, 5), math.nan)}, "offset: expected finite"),
        ({"centre": torch.full((1, 1, 4, 5), math.inf)}, "centre: expected finite"),
        ({"centre": torch.zeros(1, 1, 4, 5, dtype=torch.int64)}, "centre: expected a float tensor"),
        ({"threshold": -0.1}, "threshold: expected"), ({"threshold": math.nan}, "threshold: expected"),
        ({"kernel": 4}, "kernel: expected an odd"), ({"kernel": 1}, "kernel: expected"),
        ({"kernel": 3.0}, "kernel: expected"), ({"reach": 0}, "reach: expected"),
        ({"reach": math.nan}, "reach: expected"),
    ]:
        with refused(message):
            group_instances(**{**good, **change})


def test_classes_that_the_network_does_not_have_are_refused(refused):
    answers = perfect_answers(two_touching())
    for classes in ((4, 6), (-1,), (4, 4), ()):
        with refused("lesion_classes: expected different classes of 0..5"):
            answers_to_instances(answers, classes)
    with refused("answers.semantic: expected finite"):
        answers_to_instances(answers._replace(semantic=answers.semantic * math.nan))
    with refused(r"answers.semantic: expected \(B, K, \*S\)"):
        answers_to_instances(answers._replace(semantic=answers.diagnosis))
