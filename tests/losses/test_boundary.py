"""Boundary loss against distance transforms, a half plane in closed form, and what it is for."""
import numpy as np
import pytest
import torch
from helpers.loss_examples import gradient, one_hot, same
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.func import grad, vmap

from medlearn.base.grid import Grid
from medlearn.losses import boundary_loss, dice_loss, signed_distance_mm

quick = settings(max_examples=20, deadline=None)
seeds = st.integers(0, 2**32 - 1)
KINDS = pytest.mark.parametrize("kind", ["classes", "regions"])
DIMS = pytest.mark.parametrize("dim", [2, 3])


def example(seed, kind, dim=2):
    g = torch.Generator().manual_seed(seed)
    shape = (2, 3, 5, 4, 6)[:dim + 2]
    logits = torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_()
    regions = torch.rand(shape, generator=g) < 0.4
    labels = torch.randint(0, 3, (2, *shape[2:]), generator=g) if kind == "classes" else regions
    spacing = (0.5, 2.0, 1.25)[:dim]
    distance = signed_distance_mm(labels, spacing_mm=spacing, classes=3 if kind == "classes" else None)
    return logits, labels, distance


def by_brute_force(inside, spacing):
    """Every voxel against every voxel of the other side."""
    place = np.stack(np.meshgrid(*map(np.arange, inside.shape), indexing="ij"), -1).reshape(-1, inside.ndim) * spacing
    flat = inside.reshape(-1)
    apart = np.linalg.norm(place[:, None] - place, axis=-1)
    nearest = np.where(flat[:, None] != flat, apart, np.inf).min(axis=1)
    return np.where(flat, -nearest, nearest).reshape(inside.shape)


@quick
@given(seeds, st.sampled_from([2, 3]), st.sampled_from(["classes", "regions"]))
def test_the_map_is_that_of_brute_force_and_of_scipys_transforms(seed, dim, kind):
    _, labels, distance = example(seed, kind, dim)
    spacing = np.array((0.5, 2.0, 1.25)[:dim])
    masks = one_hot(labels, 3).bool() if kind == "classes" else labels
    for mask, phi in zip(masks.flatten(0, 1).numpy(), distance.flatten(0, 1).numpy()):
        np.testing.assert_allclose(phi, by_brute_force(mask, spacing), rtol=1e-6)
        out, into = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (~mask, mask))
        np.testing.assert_allclose(phi, out - into, rtol=1e-6)


@DIMS
def test_beside_a_half_space_the_distance_is_a_number_of_layers(dim):
    labels = torch.zeros(1, 8, *[5] * (dim - 1), dtype=torch.int64)
    labels[:, 3:] = 1
    layers = torch.tensor([3.0, 2, 1, -1, -2, -3, -4, -5]).view(-1, *[1] * (dim - 1)).expand(labels.shape[1:])
    distance = signed_distance_mm(labels, spacing_mm=(0.7, 0.1, 0.1)[:dim], classes=2)
    torch.testing.assert_close(distance[0, 1], 0.7 * layers)
    torch.testing.assert_close(distance[0, 0], -0.7 * layers)


def test_the_loss_of_a_sure_answer_beside_a_half_plane_is_a_sum_of_layers():
    """True from layer 3 on, said from layer m on: (sum of the layers from m on) * 0.7 mm / 8."""
    labels = (torch.arange(8) >= 3).long().view(1, 8, 1).expand(1, 8, 4)
    distance, layers = signed_distance_mm(labels, spacing_mm=(0.7, 0.1), classes=2), [3, 2, 1, -1, -2, -3, -4, -5]
    losses = []
    for first in range(8):
        z = torch.where(torch.arange(8) >= first, 500.0, -500.0).view(1, 1, 8, 1).expand(1, 1, 8, 4)
        loss = boundary_loss(torch.cat([-z, z], 1), labels, distance_mm=distance, include_background=False)
        assert loss.item() == pytest.approx(0.7 * sum(layers[first:]) / 8, rel=1e-6)
        losses.append(loss.item())
    assert min(losses) == losses[3]                         # least where the truth is


@KINDS
@DIMS
def test_the_loss_is_the_mean_of_probability_times_distance(kind, dim):
    logits, labels, distance = example(1, kind, dim)
    p = logits.softmax(1) if kind == "classes" else logits.sigmoid()
    same(boundary_loss(logits, labels, distance_mm=distance), (p * distance).mean(), logits)
    if kind == "classes":
        ours = boundary_loss(logits, labels, distance_mm=distance, include_background=False)
        same(ours, (logits.softmax(1) * distance)[:, 1:].mean(), logits)


def test_what_does_not_count_is_as_if_it_were_not_there():
    logits, labels, distance = example(2, "classes")
    gone = torch.arange(5) % 2 == 0
    ignored = labels.clone()
    ignored[:, gone] = 255
    wild = logits.detach().clone()
    wild[:, :, gone] = torch.nan
    wild.requires_grad_()
    ours = boundary_loss(wild, ignored, distance_mm=distance, ignore_index=255)
    theirs = boundary_loss(logits[:, :, ~gone], labels[:, ~gone], distance_mm=distance[:, :, ~gone])
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, wild), gradient(theirs, logits))
    logits, regions, distance = example(2, "regions")
    where = ~gone.view(1, 1, 5, 1).expand_as(regions)
    same(boundary_loss(logits, regions, distance_mm=distance, where=where),
         boundary_loss(logits[:, :, ~gone], regions[:, :, ~gone], distance_mm=distance[:, :, ~gone]), logits)


def test_a_distant_false_alarm_costs_more_where_dice_sees_no_difference():
    regions = torch.zeros(1, 1, 24, 24, dtype=torch.bool)
    regions[..., 4:9, 4:9] = True
    distance = signed_distance_mm(regions, spacing_mm=(1, 1))
    near, far = (torch.where(regions, 20.0, -20.0) for _ in range(2))
    near[..., 4:9, 10], far[..., 4:9, 22] = 20, 20
    assert dice_loss(near, regions).item() == pytest.approx(dice_loss(far, regions).item())
    a, b = (boundary_loss(z, regions, distance_mm=distance).item() for z in (near, far))
    assert b - a == pytest.approx(5 * 12 / 576, rel=1e-5)


def test_where_there_is_no_border_there_is_no_distance_and_no_gradient():
    for value in (False, True):
        regions = torch.full((1, 2, 4, 4), value)
        distance = signed_distance_mm(regions, spacing_mm=(1, 1))
        logits = torch.randn(1, 2, 4, 4, requires_grad=True)
        loss = boundary_loss(logits, regions, distance_mm=distance)
        assert not distance.any() and loss == 0 and not gradient(loss, logits).any()
    for shape in ((0, 2, 4, 4), (1, 2, 0, 4)):
        nothing = torch.zeros(shape, dtype=torch.bool)
        distance = signed_distance_mm(nothing, spacing_mm=(1, 1))
        assert distance.shape == shape and distance.dtype == torch.float32
        assert boundary_loss(torch.zeros(shape), nothing, distance_mm=distance) == 0
    logits, regions, distance = example(3, "regions")
    assert boundary_loss(logits, regions, distance_mm=distance, where=torch.zeros_like(regions)) == 0


@KINDS
def test_it_may_be_differentiated_twice_and_by_functional_transforms(kind):
    logits, labels, distance = example(4, kind)
    assert torch.autograd.gradcheck(lambda z: boundary_loss(z, labels, distance_mm=distance), logits)
    assert torch.autograd.gradgradcheck(lambda z: boundary_loss(z, labels, distance_mm=distance), logits)

    def loss(z, y, phi):
        return boundary_loss(z[None], y[None], distance_mm=phi[None])

    each = vmap(grad(loss))(logits.detach(), labels, distance)
    torch.testing.assert_close(each / 2, gradient(boundary_loss(logits, labels, distance_mm=distance), logits))


@KINDS
def test_autocast_changes_nothing_and_half_precision_is_summed_in_float32(kind):
    logits, labels, distance = example(5, kind)
    half = logits.detach().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = boundary_loss(half, labels, distance_mm=distance)
    assert inside.dtype == torch.float32 and inside == boundary_loss(half.float(), labels, distance_mm=distance)


def test_a_grid_is_a_spacing():
    _, labels, _ = example(6, "classes")
    grid = Grid.from_spacing(labels.shape[1:], (0.5, 3.0))
    assert torch.equal(signed_distance_mm(labels, spacing_mm=grid, classes=3),
                       signed_distance_mm(labels, spacing_mm=(0.5, 3.0), classes=3))


def test_what_cannot_be_is_refused(refused):
    logits, labels, distance = example(7, "classes")
    regions = one_hot(labels, 3).bool()
    for bad, options, match in [
            (labels.float(), {}, "labels: expected an int64 tensor .*, or a bool tensor .*, got torch.float32"),
            (labels, {}, "classes: expected the number of them for int64 labels, got None"),
            (labels, dict(classes=2), r"labels: expected labels of 0\.\.1 for 2 classes, got 2"),
            (labels, dict(classes=1), "classes: expected a whole number, 2 or more, got 1"),
            (labels[0], dict(classes=3), r"labels: expected \(B, \*S\) with 2 or 3 axes of space"),
            (regions, dict(classes=3), "classes: expected None for bool labels, .*, got 3"),
            (regions[0], {}, r"labels: expected \(B, K, \*S\) with 2 or 3 axes of space"),
            (regions, dict(spacing_mm=(1, 1, 1)), "spacing_mm: expected 2 numbers"),
            (regions, dict(spacing_mm=(1, 0)), "spacing_mm: expected finite numbers above 0")]:
        with refused(match):
            signed_distance_mm(bad, **{"spacing_mm": (1, 1), **options})
    for bad, options, match in [
            (distance[:, :2], {}, r"distance_mm: expected shape \(2, 3, 5, 4\) .*, got \(2, 2, 5, 4\)"),
            (regions, {}, "distance_mm: expected a float tensor, got torch.bool"),
            (distance / 0, {}, "distance_mm: expected finite numbers")]:
        with refused(match):
            boundary_loss(logits, labels, distance_mm=bad, **options)
    with refused("include_background: expected True for bool labels"):
        boundary_loss(logits, regions, distance_mm=distance, include_background=False)
    with refused("logits: expected finite numbers .*, got nan"):
        boundary_loss(logits * torch.nan, labels, distance_mm=distance)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    logits, labels, distance = example(8, "classes")
    there = signed_distance_mm(labels.cuda(), spacing_mm=(0.5, 2.0), classes=3)
    assert there.is_cuda and torch.equal(there.cpu(), distance)
    loss = boundary_loss(logits.cuda(), labels.cuda(), distance_mm=there)
    torch.testing.assert_close(loss.cpu(), boundary_loss(logits, labels, distance_mm=distance))
