"""Augmentation: image and labels move together, noise is that of physics, and the seed decides all."""
import math

import pytest
import torch
from scipy import ndimage

from medlearn.data import (Augmented, BiasField, Flip, Intensity, LowDose, RicianNoise, Speckle, Standardise, Warp,
                           augment_batch, standardise)
from medlearn.physics import low_dose, rician_noise, speckle_noise
from medlearn.train import Recipe, fit

ALL = [RicianNoise(), BiasField(), Speckle(), Flip((0, 1)), Warp(), Intensity(), Standardise()]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(space=(16, 12), count=3, channels=2, seed=0):
    image = torch.rand(count, channels, *space, generator=seeded(seed))
    return image, (image[:, 0] > 0.5).long() * 3


@pytest.mark.parametrize("space", [(16, 12), (10, 12, 8)])
def test_shapes_and_types_stay_and_the_seed_decides(space):
    image, labels = batch(space)
    before = image.clone()
    one, again, other = (augment_batch(image, labels, transforms=ALL, generator=seeded(seed)) for seed in (0, 0, 1))
    assert one[0].shape == image.shape and one[1].shape == labels.shape and one[1].dtype == torch.int64
    assert torch.equal(one[0], again[0]) and torch.equal(one[1], again[1]) and not torch.equal(one[0], other[0])
    assert set(one[1].unique().tolist()) <= {0, 3} and torch.equal(image, before)


@pytest.mark.parametrize("transform", ALL, ids=lambda transform: type(transform).__name__)
def test_each_image_is_changed_in_its_own_way_and_no_image_gives_none(transform):
    image, labels = batch(count=1)
    image, labels = image.repeat(8, 1, 1, 1), labels.repeat(8, 1, 1)
    new, _ = augment_batch(image, labels, transforms=[transform], generator=seeded())
    assert not isinstance(transform, Standardise) == any(not torch.equal(new[0], one) for one in new[1:])
    assert augment_batch(image[:0], labels[:0], transforms=[transform], generator=seeded())[0].shape == image[:0].shape


# Where things are ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), ()])
def test_flips_take_labels_along(axes):
    image, labels = batch()
    new, moved = Flip(axes, chance=1.0)(image, labels, generator=seeded())
    assert torch.equal(new, image.flip([a + 2 for a in axes])) and torch.equal(moved,
                                                                               labels.flip([a + 1 for a in axes]))
    assert torch.equal(Flip(axes, chance=0.0)(image, labels, generator=seeded())[0], image)
    many, _ = Flip((0,))(image[:1].expand(400, -1, -1, -1), labels[:1].expand(400, -1, -1), generator=seeded())
    assert 160 < sum(not torch.equal(one, image[0]) for one in many) < 240


def drawn_matrix(warp, dim, seed):
    """What the warp's images turn by, from points that it moves: an image for each coordinate."""
    space = (41,) * dim
    axes = torch.meshgrid(*[torch.arange(41.0) - 20] * dim, indexing="ij")
    image = torch.stack(axes)[None]
    new, _ = warp(image, torch.zeros(1, *space).long(), generator=seeded(seed))
    centre = (slice(None), *[slice(14, 27)] * dim)
    points = torch.stack(axes)[centre].flatten(1)
    return torch.linalg.lstsq(points.T, new[0][centre].flatten(1).T).solution.T


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_a_warp_without_elastic_is_a_turn_and_a_scale(dim, seed):
    matrix = drawn_matrix(Warp(10.0, (0.9, 1.25), 0.0), dim, seed)
    scale = torch.linalg.det(matrix) ** (-1 / dim)
    assert 0.9 - 1e-4 <= scale <= 1.25 + 1e-4
    torch.testing.assert_close(matrix @ matrix.T * scale ** 2, torch.eye(dim), atol=1e-4, rtol=0)


def test_a_warp_agrees_with_scipy():
    image = torch.rand(1, 1, 31, 31, generator=seeded(1))
    matrix = drawn_matrix(Warp(20.0, (1.0, 1.3), 0.0), 2, 3).double().numpy()
    new, _ = Warp(20.0, (1.0, 1.3), 0.0)(image, image[:, 0].long(), generator=seeded(3))
    expected = ndimage.affine_transform(image[0, 0].double().numpy(), matrix, offset=15 - matrix @ [15, 15], order=1)
    torch.testing.assert_close(new[0, 0, 8:23, 8:23].double(), torch.from_numpy(expected)[8:23, 8:23], atol=1e-3,
                               rtol=0)


def test_angles_scales_and_displacements_are_as_said():
    angles = [math.degrees(math.atan2(m[1, 0], m[0, 0]))
              for m in (drawn_matrix(Warp(10.0, (1, 1), 0.0), 2, s) for s in range(200))]
    assert 8 < torch.tensor(angles).std() < 12 and abs(sum(angles) / 200) < 2
    axes = torch.stack(torch.meshgrid(*[torch.arange(40.0)] * 2, indexing="ij"))
    moved, _ = Warp(0.0, (1.0, 1.0), 2.0)(axes.expand(300, 2, 40, 40), torch.zeros(300, 40, 40).long(),
                                          generator=seeded())
    middle = (moved - axes)[:, :, 20, 20]                   # next to a node
    assert 1.7 < middle.std() < 2.3


def test_a_turn_keeps_lengths_in_mm_where_voxels_are_long():
    axes = torch.meshgrid(torch.arange(61.0) - 30, 3 * (torch.arange(21.0) - 10), indexing="ij")
    new, _ = Warp(15.0, (1.0, 1.0), 0.0, (1.0, 3.0))(torch.stack(axes)[None], torch.zeros(1, 61, 21).long(),
                                                     generator=seeded(2))
    part = (slice(None), slice(24, 37), slice(8, 13))
    points, there = torch.stack(axes)[part].flatten(1), new[0][part].flatten(1)
    torch.testing.assert_close(there.norm(dim=0), points.norm(dim=0), atol=1e-3, rtol=0)
    assert (there - points).abs().max() > 0.5


@pytest.mark.parametrize("space", [(32, 32), (16, 16, 16)])
def test_labels_move_with_their_image(space):
    image = torch.zeros(2, 1, *space)
    image[(slice(None), 0, *[slice(4, 11)] * len(space))] = 1
    new, labels = augment_batch(image, image[:, 0].long(), transforms=[Flip((0,)), Warp(30.0, (0.8, 1.3), 1.0)],
                                generator=seeded())
    most = 1 - 0.5 ** len(space)                            # what a voxel's neighbours can add up to without it
    clear = (new[:, 0] > most) | (new[:, 0] < 1 - most)
    assert torch.equal(labels[clear], (new[:, 0] > 0.5).long()[clear]) and labels.any()


# What is measured ----------------------------------------------------------------------------------------------------

def test_intensities_change_as_said():
    image, labels = batch()
    new, same = Intensity((2.0, 2.0), (0.5, 0.5), (1.0, 1.0))(image, labels, generator=seeded())
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    torch.testing.assert_close(new, low + 2 * (image - low) + 0.5 * (high - low))
    squared, _ = Intensity((1.0, 1.0), (0.0, 0.0), (2.0, 2.0))(image, labels, generator=seeded())
    torch.testing.assert_close(squared, low + ((image - low) / (high - low)) ** 2 * (high - low))
    assert torch.equal(same, labels)
    flat, _ = Intensity()(torch.full((1, 1, 4, 4), 3.0), torch.zeros(1, 4, 4).long(), generator=seeded())
    assert flat.isfinite().all() and flat.std() == 0


def test_noise_is_that_of_physics():
    image, labels = batch((32, 32), count=2, channels=1)
    generator = seeded(5)
    share = torch.rand(2, generator=generator) * 0.1
    bright = image.flatten(1) >= image.flatten(1).mean(1, keepdim=True)
    level = torch.stack([one[0].flatten()[mask].mean() for one, mask in zip(image, bright)])
    expected = rician_noise(image, share * level, generator=generator)
    torch.testing.assert_close(RicianNoise((0.0, 0.1))(image, labels, generator=seeded(5))[0], expected)
    generator = seeded(6)
    strength = torch.rand(2, generator=generator) * 0.5
    assert torch.equal(Speckle()(image, labels, generator=seeded(6))[0],
                       speckle_noise(image, strength, width_voxels=1.0, generator=generator))
    generator = seeded(7)
    dose = 0.25 + 0.75 * torch.rand(2, generator=generator)
    assert torch.equal(LowDose(pixel_mm=4.0)(image * 100, labels, generator=seeded(7))[0],
                       low_dose(image * 100, dose, pixel_mm=4.0, generator=generator))
    assert torch.equal(Standardise()(image, labels, generator=seeded())[0], standardise(image))


def test_noise_on_a_standardised_image_is_refused(refused):
    image, labels = batch()
    with refused("expected 0 or more"):
        augment_batch(image, labels, transforms=[Standardise(), RicianNoise()], generator=seeded())


# Samples -------------------------------------------------------------------------------------------------------------

def test_a_training_is_decided_by_its_seed():
    image, labels = batch(count=6)
    data = Augmented([(one, label.clamp(max=1)) for one, label in zip(image, labels)],
                     [Flip((0, 1)), Warp(), Intensity(), Standardise()])

    def trained(seed):
        torch.manual_seed(0)
        net = torch.nn.Conv2d(2, 2, 3, padding=1)
        fit(net, data, loss=torch.nn.functional.cross_entropy, recipe=Recipe(steps=4, batch_size=2, seed=seed))
        return net.weight
    assert len(data) == 6 and not torch.equal(data[0][0], data[0][0])
    assert torch.equal(trained(1), trained(1)) and not torch.equal(trained(1), trained(2))


@pytest.mark.parametrize("call, says", [
    (lambda i, l: augment_batch(i.long(), l, transforms=[], generator=seeded()), "image: expected a float tensor"),
    (lambda i, l: augment_batch(i, l.float(), transforms=[], generator=seeded()), "labels: expected an int64 tensor"),
    (lambda i, l: augment_batch(i, l[:, 1:], transforms=[], generator=seeded()), "labels: expected shape"),
    (lambda i, l: augment_batch(i, l, transforms=[], generator=None), "generator: expected a torch.Generator"),
    (lambda i, l: Flip((3,)), "axes: expected a whole number, 0..2"),
    (lambda i, l: Flip((0,), 2.0), "chance: expected 0..1"),
    (lambda i, l: Warp(rotate_deg=-1), "rotate_deg: expected 0..180"),
    (lambda i, l: Warp(scale=(0.0, 1.0)), "scale: expected"),
    (lambda i, l: Warp(spacing_mm=(1.0, 1.0, 1.0))(i, l, generator=seeded()), "spacing_mm: expected 2 numbers"),
    (lambda i, l: Intensity(offset=(0.2, 0.1)), "offset: expected .lowest, highest."),
    (lambda i, l: Intensity(gamma=(0.0, 1.0)), "gamma: expected"),
    (lambda i, l: RicianNoise((-0.1, 0.1)), "share: expected"),
    (lambda i, l: Speckle((0.0, 1.5)), "strength: expected"), (lambda i, l: LowDose((0.0, 1.0)), "fraction: expected"),
    (lambda i, l: LowDose(pixel_mm=0.0), "pixel_mm: expected"),
    (lambda i, l: BiasField((0.3, 0.1)), "strength: expected"),
])
def test_what_cannot_be_is_refused(call, says, refused):
    with refused(says):
        call(*batch())
