"""The network of chapter 1: maps from things, things from maps, and a loss that teaches both."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.nn import functional as F

from medlearn.nets import instances as rooms
from medlearn.nets.blocks import ConvBlock, double, halve
from medlearn.nets.instances import (TaskAnswers, TaskNet, answers_to_instances, group_instances, instance_targets,
                                     semantic_target, tasks_loss)
from medlearn.tasks import InstanceSet

SMALL = (4, 6)


def balls(shape, centres, radius):
    """Each voxel within the radius belongs to the nearest centre: things that touch where they are near."""
    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid[..., None, :] - np.array(centres), axis=-1)
    return torch.from_numpy(np.where(distance.min(-1) <= radius, distance.argmin(-1) + 1, 0))


def renumbered(things):
    """The ids in the order in which they first appear, so that two maps of the same things are equal."""
    flat = things.flatten().tolist()
    order = {0: 0}
    return torch.tensor([order.setdefault(i, len(order)) for i in flat]).view(things.shape)


def two_touching(dim=2):
    shape, centres = ((12, 16), [(6, 5), (6, 10)]) if dim == 2 else ((8, 10, 14), [(4, 5, 4), (4, 5, 9)])
    return balls(shape, centres, 3)[None]


def perfect_answers(instance, classes=None, height=1.0):
    """What a network without a fault would say; `classes` of each voxel, 4 for all things when left out."""
    targets = instance_targets(instance)
    labels = torch.where(instance > 0, 4, 0) if classes is None else classes
    semantic = F.one_hot(labels, 6).movedim(-1, 1).float() * 9
    return TaskAnswers(torch.zeros(len(instance), 3), semantic, targets.centre * height, targets.offset)


def truth_of(instance, diagnosis=1):
    return dict(diagnosis=torch.full((len(instance),), diagnosis), semantic=torch.where(instance > 0, 4, 0),
                instance=instance)


# targets

@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]), st.sampled_from([0.7, 1.0, 2.3]))
def test_targets_are_those_of_a_plain_loop(seed, dim, sigma):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 10, dim))
    instance = rng.integers(0, 4, (2, *shape)) * rng.integers(0, 2, (2, *shape)) * rng.choice([1, 10 ** 12])
    targets = instance_targets(torch.from_numpy(instance), sigma=sigma)

    grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")).astype(float)
    heatmap, offset = np.zeros((2, 1, *shape)), np.zeros((2, dim, *shape))
    for b, map_ in enumerate(instance):
        for i in np.unique(map_[map_ > 0]):
            mean = np.array(ndimage.center_of_mass(map_ == i)).reshape(-1, *[1] * dim)
            heatmap[b, 0] = np.maximum(heatmap[b, 0], np.exp(-((grid - mean) ** 2).sum(0) / (2 * sigma ** 2)))
            offset[b] = np.where(map_ == i, mean - grid, offset[b])
    np.testing.assert_allclose(targets.centre.numpy(), heatmap, atol=4e-4)          # where the bumps are cut
    np.testing.assert_allclose(targets.offset.numpy(), offset, atol=1e-5)
    assert torch.equal(targets.inside, torch.from_numpy(instance > 0))


def test_a_centre_on_a_voxel_is_one_and_one_between_two_voxels_is_shared_by_both():
    instance = torch.zeros(1, 9, 9, dtype=torch.int64)
    instance[0, 1, 1:4] = 1
    instance[0, 6, 4:8] = 2
    targets = instance_targets(instance)
    assert targets.centre[0, 0, 1, 2] == 1
    assert targets.centre[0, 0, 6, 5] == targets.centre[0, 0, 6, 6] == pytest.approx(math.exp(-1 / 8))
    assert targets.offset[0, :, 6, 4].tolist() == [0, 1.5]
    assert targets.offset[0, :, 0, 0].tolist() == [0, 0]


def test_images_of_a_batch_do_not_touch_each_other():
    instance = torch.cat([two_touching(), torch.zeros(1, 12, 16, dtype=torch.int64), two_touching().flip(2)])
    together = instance_targets(instance)
    for b in range(3):
        alone = instance_targets(instance[b:b + 1])
        assert all(torch.equal(many[b], one[0]) for many, one in zip(together, alone))
    assert together.centre[1].eq(0).all() and together.offset[1].eq(0).all()


def test_the_number_of_a_thing_means_nothing():
    instance = two_touching()
    other = torch.where(instance == 1, 7, torch.where(instance == 2, 3, 0))
    assert all(torch.equal(a, b) for a, b in zip(instance_targets(instance), instance_targets(other)))


def test_a_volume_of_one_layer_has_the_targets_of_its_slice():
    flat, deep = instance_targets(two_touching()), instance_targets(two_touching()[:, None])
    assert torch.equal(deep.centre[:, :, 0], flat.centre)
    assert torch.equal(deep.offset[:, 1:, 0], flat.offset) and deep.offset[:, 0].eq(0).all()


def test_no_image_and_no_voxel_have_targets_of_their_shape():
    assert [tuple(t.shape) for t in instance_targets(torch.zeros(0, 4, 5, dtype=torch.int64))] == [
        (0, 1, 4, 5), (0, 2, 4, 5), (0, 4, 5)]
    assert instance_targets(torch.zeros(2, 0, 5, dtype=torch.int64)).offset.shape == (2, 2, 0, 5)


def test_no_pair_of_tissue_and_lesion_shares_a_class():
    tissue, lesion = torch.arange(4).repeat(3)[None, None], torch.arange(3).repeat_interleave(4)[None, None]
    assert semantic_target(tissue, lesion).flatten().tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 5, 5, 5, 5]


# grouping

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
    assert group_instances(torch.zeros(1, 4, 5, dtype=torch.bool), centre=peak, offset=torch.zeros(1, 2, 4, 5)).eq(0).all()


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


# the network

@pytest.mark.parametrize("shape", [(16, 16), (13, 7), (1, 1), (5, 64), (8, 8, 8), (5, 9, 6), (1, 3, 2)], ids=str)
def test_any_size_of_image_gets_answers_of_its_size(shape):
    dim = len(shape)
    net = TaskNet(2, 5, diagnoses=4, dim=dim, widths=(4, 6, 8)).eval()
    answers = net(torch.randn(2, 2, *shape))
    assert [tuple(a.shape) for a in answers] == [(2, 4), (2, 5, *shape), (2, 1, *shape), (2, dim, *shape)]


def test_halving_loses_no_voxel_and_doubling_brings_it_back_to_its_place():
    for n in range(1, 9):
        x = torch.arange(float(n)).view(1, 1, 1, n)
        back = double(halve(x), like=x)
        assert back.shape == x.shape and (back - x).abs().max() <= 1 and halve(x).max() == n - 1
    volume = torch.randn(1, 2, 5, 6, 7)
    assert double(halve(volume), like=volume).shape == volume.shape


def test_an_untrained_network_claims_nothing():
    answers = TaskNet(widths=SMALL).eval()(torch.randn(2, 1, 12, 12))
    assert all(answer.eq(0).all() for answer in answers[1:])
    assert [len(things) for things in answers_to_instances(answers)] == [0, 0]


def test_an_empty_batch_gets_empty_answers():
    answers = TaskNet(widths=SMALL).eval()(torch.zeros(0, 1, 9, 9))
    assert [len(answer) for answer in answers] == [0, 0, 0, 0] and answers_to_instances(answers) == []


def test_the_same_seed_gives_the_same_network_and_the_same_step():
    def step():
        torch.manual_seed(3)
        net, instance = TaskNet(widths=SMALL), two_touching()
        loss = tasks_loss(net(torch.randn(1, 1, 12, 16)), **truth_of(instance)).total
        loss.backward()
        return [p.grad.clone() for p in net.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(step(), step(), strict=True))


@pytest.mark.parametrize("dim", [2, 3])
def test_every_parameter_learns_from_the_loss_once_the_heads_have_left_zero(dim):
    torch.manual_seed(0)
    net, instance = TaskNet(dim=dim, widths=SMALL), two_touching(dim).repeat(2, *[1] * dim)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        tasks_loss(net(torch.randn(2, 1, *instance.shape[1:])), **truth_of(instance)).total.backward()
        optimiser.step()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_every_answer_teaches_the_trunk():
    torch.manual_seed(0)
    net, instance = TaskNet(widths=SMALL), two_touching()
    for head in (net.semantic, net.centre, net.offset):
        torch.nn.init.normal_(head.weight)
    loss = tasks_loss(net(torch.randn(1, 1, 12, 16)), **truth_of(instance))
    for name, part in loss._asdict().items():
        gradient, = torch.autograd.grad(part, net.down[0][0][0].weight, retain_graph=True)
        assert gradient.abs().sum() > 0, name


def test_two_images_can_be_learned_by_heart_and_their_touching_things_counted():
    torch.manual_seed(0)
    instance = torch.stack([balls((20, 20), [(9, 6), (9, 11)], 3.2), torch.zeros(20, 20, dtype=torch.int64)])
    truth = dict(diagnosis=torch.tensor([1, 0]), semantic=torch.where(instance > 0, 4, 0), instance=instance)
    image = (instance > 0).float()[:, None] + 0.1 * torch.randn(2, 1, 20, 20)
    net = TaskNet(widths=(8, 12))
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-2)
    for _ in range(120):
        optimiser.zero_grad()
        tasks_loss(net(image), **truth).total.backward()
        optimiser.step()
    answers = net.eval()(image)
    assert answers.diagnosis.argmax(1).tolist() == [1, 0]
    assert torch.equal(answers.semantic.argmax(1), truth["semantic"])
    assert torch.equal(group_instances(instance > 0, centre=answers.centre, offset=answers.offset), instance)


def test_autocast_changes_the_answers_by_rounding_only_and_the_loss_stays_float32():
    torch.manual_seed(0)
    net, image = TaskNet(widths=SMALL), torch.randn(2, 1, 12, 16)
    for head in (net.semantic, net.centre, net.offset):
        torch.nn.init.normal_(head.weight)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image)
        loss = tasks_loss(rounded, **truth_of(two_touching().repeat(2, 1, 1)))
    outside = tasks_loss(rounded, **truth_of(two_touching().repeat(2, 1, 1)))
    assert rounded.semantic.dtype == torch.bfloat16 and all(part.dtype == torch.float32 for part in loss)
    assert all(torch.equal(a, b) for a, b in zip(loss, outside))
    for a, b in zip(exact, rounded):
        assert torch.allclose(a, b.float(), atol=0.15 * a.abs().max().item())
    assert [s.scores.dtype for s in answers_to_instances(rounded)] == [torch.float32] * 2


def test_a_convolution_block_is_convolution_norm_and_relu():
    torch.manual_seed(0)
    block, x = ConvBlock(2, 3), torch.randn(4, 2, 6, 5)
    z = F.conv2d(x, block[0].weight, padding=1)
    z = (z - z.mean((0, 2, 3), keepdim=True)) / (z.var((0, 2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    assert torch.allclose(block(x), z.clamp_min(0), atol=1e-5)


# the loss

def test_the_loss_is_its_formula():
    torch.manual_seed(0)
    instance = two_touching().repeat(2, 1, 1)
    truth = truth_of(instance)
    answers = TaskAnswers(torch.randn(2, 3), torch.randn(2, 6, 12, 16), torch.randn(2, 1, 12, 16),
                          torch.randn(2, 2, 12, 16))
    loss, targets = tasks_loss(answers, **truth), instance_targets(instance)
    assert loss.diagnosis == pytest.approx(-answers.diagnosis.log_softmax(1)[:, 1].mean().item(), rel=1e-5)
    surprise = -answers.semantic.log_softmax(1).gather(1, truth["semantic"][:, None])[:, 0]
    mean = {k: surprise[truth["semantic"] == k].mean().item() for k in (0, 4)}
    root = {k: (truth["semantic"] == k).sum().item() ** 0.5 for k in (0, 4)}
    assert loss.semantic == pytest.approx(sum(mean[k] * root[k] for k in (0, 4)) / sum(root.values()), rel=1e-5)
    assert loss.centre == pytest.approx(
        ((answers.centre - targets.centre) ** 2).sum().item() / targets.centre.sum().item(), rel=1e-5)
    inside = instance > 0
    distance = (answers.offset - targets.offset).abs().sum(1)[inside].mean()
    assert loss.offset == pytest.approx(distance.item(), rel=1e-5)
    total = 0.2 * loss.diagnosis + loss.semantic + loss.centre + 0.2 * loss.offset
    assert loss.total == pytest.approx(total.item(), rel=1e-6)


def test_perfect_answers_cost_next_to_nothing():
    instance = two_touching()
    answers = perfect_answers(instance)._replace(diagnosis=torch.tensor([[-20.0, 20.0, -20.0]]))
    loss = tasks_loss(answers, **truth_of(instance))
    assert loss.centre == 0 and loss.offset == 0 and loss.total < 1e-2


def test_without_a_thing_the_offset_costs_nothing_and_every_height_does():
    nothing = torch.zeros(1, 6, 6, dtype=torch.int64)
    answers = TaskAnswers(torch.zeros(1, 3), torch.zeros(1, 6, 6, 6), torch.full((1, 1, 6, 6), 0.5),
                          torch.ones(1, 2, 6, 6))
    loss = tasks_loss(answers, **truth_of(nothing, diagnosis=0))
    assert loss.offset == 0 and loss.centre == 9


# what is refused

def test_labels_that_are_none_are_refused(refused):
    good = torch.zeros(1, 4, 4, dtype=torch.int64)
    for bad, message in [(good.int(), "int64 tensor, got .*int32"), (good[0], "2 or 3 axes"),
                         (good - 1, "0 or more, got -1"), (good.float(), "int64 tensor, got .*float32"),
                         (None, "int64 tensor, got NoneType")]:
        with refused(f"instance: expected .*{message}"):
            instance_targets(bad)
    for sigma in (0, -1, math.nan, math.inf):
        with refused("sigma: expected a positive number"):
            instance_targets(good, sigma=sigma)
    with refused("tissue: expected labels of 0..3, got 0..4"):
        semantic_target(torch.tensor([[[0, 4]]]), torch.zeros(1, 1, 2, dtype=torch.int64))
    with refused("lesion: expected labels of 0 or more"):
        semantic_target(good, good - 1)
    with refused("lesion: expected shape"):
        semantic_target(good, good[:, :2])


def test_maps_that_cannot_be_grouped_are_refused(refused):
    good = dict(foreground=torch.ones(1, 4, 5, dtype=torch.bool), centre=torch.zeros(1, 1, 4, 5),
                offset=torch.zeros(1, 2, 4, 5))
    for change, message in [
        ({"foreground": torch.ones(1, 4, 5)}, "foreground: expected a bool tensor, got .*float32"),
        ({"foreground": torch.ones(4, 5, dtype=torch.bool)}, "foreground: expected .*2 or 3 axes"),
        ({"centre": torch.zeros(1, 4, 5)}, r"centre: expected shape \(1, 1, 4, 5\) .*got \(1, 4, 5\)"),
        ({"offset": torch.zeros(1, 3, 4, 5)}, r"offset: expected shape \(1, 2, 4, 5\)"),
        ({"offset": torch.full((1, 2, 4, 5), math.nan)}, "offset: expected finite"),
        ({"centre": torch.full((1, 1, 4, 5), math.inf)}, "centre: expected finite"),
        ({"centre": torch.zeros(1, 1, 4, 5, dtype=torch.int64)}, "centre: expected a float tensor"),
        ({"threshold": -0.1}, "threshold: expected"), ({"threshold": math.nan}, "threshold: expected"),
        ({"kernel": 4}, "kernel: expected an odd number"), ({"kernel": 1}, "kernel: expected"),
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
    with refused("answers.semantic: expected logits"):
        answers_to_instances(answers._replace(semantic=answers.diagnosis))


def test_truth_that_does_not_belong_to_the_answers_is_refused(refused):
    instance = two_touching()
    answers, good = perfect_answers(instance), truth_of(instance)
    for change, message in [
        ({"diagnosis": torch.tensor([3])}, "diagnosis: expected labels of 0..2, got 3..3"),
        ({"diagnosis": torch.tensor([1, 1])}, r"diagnosis: expected shape \(1,\)"),
        ({"diagnosis": torch.tensor([[1]])}, r"diagnosis: expected \(B,\)"),
        ({"diagnosis": torch.tensor([1.0])}, "diagnosis: expected an int64"),
        ({"semantic": good["semantic"] + 2}, "semantic: expected labels of 0..5, got 2..6"),
        ({"semantic": good["semantic"] - 1}, "semantic: expected labels of 0..5, got -1..3"),
        ({"semantic": good["semantic"][:, 1:]}, "semantic: expected shape"),
        ({"instance": good["instance"][..., 1:]}, "instance: expected shape"),
        ({"instance": good["instance"].bool()}, "instance: expected an int64"),
    ]:
        with refused(message):
            tasks_loss(answers, **{**good, **change})
    for name in TaskAnswers._fields:
        with refused(f"answers.{name}: expected finite"):
            tasks_loss(answers._replace(**{name: getattr(answers, name) * math.nan}), **good)
    none = TaskAnswers(*(answer[:0] for answer in answers))
    with refused("expected at least one image"):
        tasks_loss(none, **{name: labels[:0] for name, labels in good.items()})


def test_a_network_that_cannot_be_and_an_image_that_does_not_fit_are_refused(refused):
    for wrong in ({"dim": 1}, {"dim": True}, {"dim": 4}):
        with refused("dim: expected 2 or 3"):
            TaskNet(**wrong)
    for wrong in ({"classes": 0}, {"diagnoses": -1}, {"in_channels": 1.0}, {"classes": True}, {"widths": (8, 0)}):
        with refused("expected a whole number"):
            TaskNet(**wrong)
    with refused("widths: expected at least one"):
        TaskNet(widths=())
    net = TaskNet(widths=SMALL)
    for shape in ((1, 2, 8, 8), (1, 8, 8), (1, 1, 8, 8, 8), (1, 1, 0, 8)):
        with refused(r"image: expected \(B, 1, \*S\) with 2 axes of space, got shape"):
            net(torch.zeros(shape))
    with refused("image: expected a float tensor, got torch.int64"):
        net(torch.zeros(1, 1, 8, 8, dtype=torch.int64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("dim", [2, 3])
def test_a_gpu_gives_the_answers_of_the_cpu(dim):
    instance = two_touching(dim)
    answers = perfect_answers(instance)
    on_gpu = TaskAnswers(*(answer.cuda() for answer in answers))
    assert torch.equal(answers_to_instances(on_gpu)[0].masks.cpu(), answers_to_instances(answers)[0].masks)
    for here, there in zip(instance_targets(instance), instance_targets(instance.cuda())):
        assert torch.allclose(here.float(), there.cpu().float(), atol=1e-6)
    truth = truth_of(instance)
    with torch.autocast("cuda", torch.bfloat16):
        loss = tasks_loss(on_gpu, **{name: labels.cuda() for name, labels in truth.items()})
    assert torch.allclose(loss.total.cpu(), tasks_loss(answers, **truth).total, atol=1e-5)
