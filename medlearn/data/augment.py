r"""Augmentation: random changes of an image, and of its labels with it, on the device where they are.

Each transform is called with a batch and a generator, and gives a batch back. Transforms that imitate a scanner (noise,
the coil, dose) come first, on images in physical units; `Standardise` comes last.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from medlearn.base.random import check_generator, normal
from medlearn.base.validation import check_number, check_shape, check_tensor, check_whole
from medlearn.data._ranges import check_range
from medlearn.data.scan import standardise
from medlearn.physics.ct import low_dose
from medlearn.physics.mri import bias_field, rician_noise
from medlearn.physics.ultrasound import speckle_noise
from medlearn.train.samples import Samples

Range = tuple[float, float]
Batch = tuple[Tensor, Tensor]
Transform = Callable[..., Batch]            # of a batch of images, their labels, and `generator=`


def augment_batch(image: Float[Tensor, "b c *s"], labels: Int64[Tensor, "b *s"], *, transforms: Sequence[Transform],
                  generator: Generator) -> tuple[Float[Tensor, "b c *s"], Int64[Tensor, "b *s"]]:
    r"""A batch after the `transforms`, one after the other; each image of it is changed in its own way.

    Shapes: `image (B, C, *S)`, `labels (B, *S)`, 2D or 3D, and so the answer. Units: what each transform wants.
    Everything is computed where the image is; what is random comes from the `generator`, on its device: the same seed
    gives the same answer, and a generator of the CPU the same changes on every device. No image gives none.
    Errors: TypeError and ValueError for tensors that are no such batch, and those of the transforms.

    >>> image, labels = torch.rand(2, 1, 8, 8), torch.zeros(2, 8, 8).long()
    >>> image, labels = augment_batch(image, labels, transforms=[Flip((0,)), Intensity(), Standardise()],
    ...                               generator=torch.Generator().manual_seed(0))
    >>> image.shape, round(image.mean().abs().item(), 3)
    (torch.Size([2, 1, 8, 8]), 0.0)
    """
    check_tensor("image", image, dtype="float", shape="(B, C, *S)")
    check_tensor("labels", labels, dtype="int64")
    check_shape("labels", labels, (len(image), *image.shape[2:]), because="to go with the image")
    check_generator(generator)
    for transform in transforms:
        image, labels = transform(image, labels, generator=generator) if len(image) else (image, labels)
    return image, labels


class Augmented(Dataset):
    r"""`samples` whose pairs (image, labels) go through the `transforms` each time they are asked for.

    Shapes: as of the samples, `(C, *S)` and `(*S)`. It draws from torch's own generator, which `fit` seeds by (seed,
    number of the sample): an epoch never sees the same again, and a resumed training sees what it would have seen.
    No sample gives none. Errors: as `augment_batch`.

    >>> data = Augmented([(torch.rand(1, 8, 8), torch.zeros(8, 8).long())], [Flip((0, 1))])
    >>> len(data), data[0][0].shape
    (1, torch.Size([1, 8, 8]))
    """

    def __init__(self, samples: Samples, transforms: Sequence[Transform]) -> None:
        self.samples, self.transforms = samples, list(transforms)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[Float[Tensor, "c *s"], Int64[Tensor, "*s"]]:
        image, labels = self.samples[i]
        return augmented(image, labels, self.transforms)


def augmented(image: Tensor, labels: Tensor, transforms: Sequence[Transform]) -> tuple[Tensor, Tensor]:
    """One pair after the transforms, whose generator is seeded by torch's own."""
    generator = Generator().manual_seed(int(torch.randint(2 ** 62, ()).item()))
    images, maps = augment_batch(image[None], labels[None], transforms=transforms, generator=generator)
    return images[0], maps[0]


# Where things are ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Flip:
    r"""Turns each image round along each of these `axes` of space, with a `chance` of one half each.

    Of organs that have a side, as liver and heart, left and right must not be exchanged: in RAS that is axis 0.

    >>> image = torch.tensor([[[[1.0, 2.0]]]])
    >>> Flip((1,), chance=1.0)(image, image[:, 0].long(), generator=torch.Generator())[1].tolist()
    [[[2, 1]]]
    """

    axes: tuple[int, ...]
    chance: float = 0.5

    def __post_init__(self):
        for axis in self.axes:
            check_whole("axes", axis, most=2)
        check_number("chance", self.chance, least=0, most=1)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        for axis in self.axes:
            turned = _uniform(len(image), (0, 1), generator, image) < self.chance
            image = torch.where(_over(turned, image), image.flip(axis + 2), image)
            labels = torch.where(_over(turned, labels), labels.flip(axis + 1), labels)
        return image, labels


@dataclass(frozen=True)
class Warp:
    r"""Another pose and another shape: the new image at x is the old one at $c + s^{-1} R\,(x - c) + u(x)$, in mm.

    R turns by angles of a standard deviation of `rotate_deg` (about each axis in 3D), `scale` is the range of s, and u
    a smooth field of a standard deviation of `elastic_mm` at its nodes, one every quarter of the image. Images are
    interpolated linearly, labels by the nearest voxel; beyond the border its value is repeated, in both.
    Units: degrees, and mm where `spacing_mm` gives the distance between voxels, else voxels.

    >>> image = torch.rand(1, 1, 8, 8)
    >>> still, _ = Warp(0.0, (1.0, 1.0), 0.0)(image, image[:, 0].long(), generator=torch.Generator())
    >>> torch.allclose(still, image, atol=1e-5)
    True
    """

    rotate_deg: float = 10.0
    scale: Range = (0.85, 1.2)
    elastic_mm: float = 1.0
    spacing_mm: tuple[float, ...] | None = None

    def __post_init__(self):
        check_number("rotate_deg", self.rotate_deg, least=0, most=180)
        check_range("scale", self.scale, above=0)
        check_number("elastic_mm", self.elastic_mm, least=0)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        batch, space = len(image), image.shape[2:]
        dim = len(space)
        spacing = (1.0,) * dim if self.spacing_mm is None else self.spacing_mm
        if len(spacing) != dim:
            raise ValueError(f"spacing_mm: expected {dim} numbers for images {tuple(image.shape)}, got {spacing}")
        half = torch.tensor([n * s / 2 for n, s in zip(space, spacing)], device=image.device)      # of the box, in mm
        angles = normal((batch, 3 if dim == 3 else 1), generator).to(image.device) * math.radians(self.rotate_deg)
        inverse = _rotation(angles) / _uniform(batch, self.scale, generator, image)[:, None, None]
        nodes = normal((batch, dim, *[5] * dim), generator).to(image.device) * self.elastic_mm
        places = [(torch.arange(n, device=image.device) + 0.5) * (2 / n) - 1 for n in space]        # edge to edge
        unit = torch.stack(torch.meshgrid(*places, indexing="ij"), dim=-1)
        moved = torch.einsum("bij,...j->b...i", inverse, unit * half)
        if self.elastic_mm:
            field = F.interpolate(nodes, size=space, mode="bilinear" if dim == 2 else "trilinear", align_corners=True)
            moved = moved + field.movedim(1, -1)
        grid = (moved / half).flip(-1)
        at = grid.to(image.dtype)
        image = F.grid_sample(image, at, mode="bilinear", padding_mode="border", align_corners=False)
        # float32 holds every label below 2^24
        nearest = F.grid_sample(labels[:, None].float(), grid, mode="nearest", padding_mode="border",
                                align_corners=False)
        return image, nearest[:, 0].to(labels.dtype)


# What is measured ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Intensity:
    r"""Another contrast and brightness: $g\,x^\gamma + o$, with x between the lowest and highest value of its channel.

    `gain`, `offset` (a share of the range) and `gamma` are ranges to draw from; images of any unit.

    >>> image = torch.rand(1, 1, 4, 4)
    >>> same, _ = Intensity((1.0, 1.0), (0.0, 0.0), (1.0, 1.0))(image, image[:, 0].long(), generator=torch.Generator())
    >>> torch.allclose(same, image, atol=1e-6)
    True
    """

    gain: Range = (0.9, 1.1)
    offset: Range = (-0.1, 0.1)
    gamma: Range = (0.8, 1.25)

    def __post_init__(self):
        check_range("gain", self.gain)
        check_range("gamma", self.gamma, above=0)
        low, high = (check_number("offset", end) for end in self.offset)
        if low > high:
            raise ValueError(f"offset: expected (lowest, highest) with lowest <= highest, got {self.offset!r}")

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        gain, offset, gamma = (_over(_uniform(len(image), one, generator, image), image)
                               for one in (self.gain, self.offset, self.gamma))
        axes = tuple(range(2, image.ndim))
        low, high = image.amin(axes, keepdim=True), image.amax(axes, keepdim=True)
        width = torch.where(high > low, high - low, 1)
        return (gain * ((image - low) / width) ** gamma + offset) * width + low, labels


@dataclass(frozen=True)
class RicianNoise:
    r"""MR noise, before the magnitude is taken: `share` is the range of its standard deviation over the image's level.

    The level is the mean of what is brighter than the mean: tissue, not air. Images are magnitudes, 0 or more.

    >>> image = torch.ones(1, 1, 64, 64)
    >>> noisy, _ = RicianNoise((0.1, 0.1))(image, image[:, 0].long(), generator=torch.Generator().manual_seed(0))
    >>> round(noisy.std().item(), 1)
    0.1
    """

    share: Range = (0.0, 0.05)

    def __post_init__(self):
        check_range("share", self.share)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        flat = image.flatten(1)
        bright = flat >= flat.mean(1, keepdim=True)
        level = (flat * bright).sum(1) / bright.sum(1)
        sigma = _uniform(len(image), self.share, generator, image) * level
        return rician_noise(image, sigma, generator=generator), labels


@dataclass(frozen=True)
class BiasField:
    r"""The coil's uneven sensitivity, a smooth factor; `strength` is the range of the deviation of its logarithm.

    >>> image = torch.ones(1, 1, 16, 16)
    >>> biased, _ = BiasField((0.2, 0.2))(image, image[:, 0].long(), generator=torch.Generator().manual_seed(0))
    >>> round(biased.log().std(correction=0).item(), 3)
    0.2
    """

    strength: Range = (0.0, 0.2)

    def __post_init__(self):
        check_range("strength", self.strength)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        strength = _uniform(len(image), self.strength, generator, image)
        shape = (len(image), *image.shape[2:])
        return image * bias_field(shape, strength, generator=generator, device=image.device), labels


@dataclass(frozen=True)
class Speckle:
    r"""Ultrasound's speckle, which multiplies: `strength` is its range, 0 for none and 1 for Rayleigh's.

    Images are amplitudes, 0 or more; `width_voxels` is the resolution cell.

    >>> image = torch.ones(1, 1, 64, 64)
    >>> rough, _ = Speckle((1.0, 1.0))(image, image[:, 0].long(), generator=torch.Generator().manual_seed(0))
    >>> round(rough.square().mean().item(), 1)
    1.0
    """

    strength: Range = (0.0, 0.5)
    width_voxels: float = 1.0

    def __post_init__(self):
        check_range("strength", self.strength, most=1)
        check_number("width_voxels", self.width_voxels, least=0, most=50)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        strength = _uniform(len(image), self.strength, generator, image)
        return speckle_noise(image, strength, width_voxels=self.width_voxels, generator=generator), labels


@dataclass(frozen=True)
class LowDose:
    r"""CT at a fraction of its dose: `fraction` is the range of what is left of it, up to 1. Images are in HU.

    Axes are (x, y), or (x, y, z) with z along the patient; `pixel_mm` is the width of a pixel. Each slice is taken for
    a whole one: of a patch, the noise of what lies around it is missing.

    >>> water = torch.zeros(1, 1, 32, 32)
    >>> fifth = LowDose((0.2, 0.2), pixel_mm=8.0)
    >>> noisy, _ = fifth(water, water[:, 0].long(), generator=torch.Generator().manual_seed(0))
    >>> noisy.std().item() > 0
    True
    """

    fraction: Range = (0.25, 1.0)
    pixel_mm: float = 1.0

    def __post_init__(self):
        check_range("fraction", self.fraction, most=1, above=0)
        check_number("pixel_mm", self.pixel_mm, above=0)

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        fraction = _uniform(len(image), self.fraction, generator, image)
        return low_dose(image, fraction, pixel_mm=self.pixel_mm, generator=generator), labels


@dataclass(frozen=True)
class Standardise:
    r"""`medlearn.data.standardise` as the last of the transforms: after it no physical unit is left.

    >>> image = torch.rand(1, 1, 4, 4) * 5
    >>> round(Standardise()(image, image[:, 0].long(), generator=torch.Generator())[0].std(correction=0).item(), 3)
    1.0
    """

    def __call__(self, image: Tensor, labels: Tensor, *, generator: Generator) -> Batch:
        return standardise(image), labels


def _uniform(batch: int, between: Range, generator: Generator, image: Tensor) -> Tensor:
    low, high = between
    return (low + (high - low) * torch.rand(batch, generator=generator, device=generator.device)).to(image.device)


def _over(values: Tensor, image: Tensor) -> Tensor:
    return values.reshape(-1, *[1] * (image.ndim - 1))


def _rotation(angles: Tensor) -> Tensor:
    """Turns by one angle in the plane, or by three, about each axis of space: `(B, 1)` or `(B, 3)` to `(B, d, d)`."""
    dim = 3 if angles.shape[1] == 3 else 2
    turn = torch.eye(dim, device=angles.device).expand(len(angles), dim, dim)
    for n, (i, j) in enumerate([(0, 1), (1, 2), (0, 2)][:angles.shape[1]]):
        one = torch.eye(dim, device=angles.device).repeat(len(angles), 1, 1)
        one[:, i, i] = one[:, j, j] = angles[:, n].cos()
        one[:, i, j], one[:, j, i] = -angles[:, n].sin(), angles[:, n].sin()
        turn = turn @ one
    return turn
