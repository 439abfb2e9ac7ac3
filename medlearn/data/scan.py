r"""A batch of scans with everything that is known about them, and the grid they lie on."""
from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

FIELD_OF_VIEW_MM = 208.0            # holds every head of the cohort with a margin
CENTRE_MM = (0.0, -17.0, 5.0)       # middle of the brain in MNI space
SLICE_THICKNESS_MM = 1.0            # a slice is read from a 1 mm template
SMALLEST_SIZE = 32                  # 6.5 mm a voxel; with larger ones the cortex is gone


@dataclass(frozen=True, eq=False)
class Scan:
    r"""A batch of images with their labels and their geometry.

    Shapes: `image (B, 1, *S)`; `tissue`, `lesion`, `instance (B, *S)`; `affine (B, 4, 4)`; array axes run to the
    patient's right, front and top: `(x, y)` in 2D, `(x, y, z)` in 3D.
    Units: image 0 or more, white matter about 1; the affine takes voxel indices to mm (RAS). A 2D slice's third
    column is its normal with the slice's thickness, so that voxels have a volume there too.
    `tissue` is 0 background, 1 CSF, 2 grey, 3 white matter (the tissue a lesion sits in, where there is one);
    `lesion` 0 none, 1 plaque, 2 mass; `instance` 0 or 1..n without gaps in each image.
    `len(scan)` is B, `scan[2:5]` or `scan[[0, 3]]` is a smaller batch, and so is `scan[2]` (of one).
    Errors: ValueError when the shapes do not belong together. Chapter 1.
    """

    image: Float[Tensor, "b 1 *s"]
    tissue: Int64[Tensor, "b *s"]
    lesion: Int64[Tensor, "b *s"]
    instance: Int64[Tensor, "b *s"]
    affine: Float[Tensor, "b 4 4"]

    def __post_init__(self):
        batch, space = self.image.shape[0], tuple(self.image.shape[2:])
        expected = {"image": (batch, 1, *space), "affine": (batch, 4, 4)}
        for field in fields(self):
            want, got = expected.get(field.name, (batch, *space)), tuple(getattr(self, field.name).shape)
            if got != want:
                raise ValueError(f"{field.name}: expected shape {want} to go with the image, got {got}")

    @property
    def diagnosis(self) -> Int64[Tensor, "b"]:
        """What a report would say of each image: 0 no lesion, 1 plaques only, 2 a mass is present."""
        return self.lesion.flatten(1).amax(dim=1) if len(self) else self.lesion.new_zeros(0)

    def to(self, device: torch.device | str) -> Scan:
        # Apple's GPU knows no double precision, which the affine has elsewhere
        affine = self.affine.float() if torch.device(device).type == "mps" else self.affine
        return Scan(*(part.to(device) for part in (self.image, self.tissue, self.lesion, self.instance, affine)))

    def __len__(self) -> int:
        return self.image.shape[0]

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> Scan:
        index = index if isinstance(index, (slice, list, tuple, Tensor, range)) else [operator.index(index)]
        index = list(index) if isinstance(index, (tuple, range)) else index
        return Scan(*(getattr(self, field.name)[index] for field in fields(self)))


def standardise(image: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
    r"""A network's input: $(x - \mathrm{mean}(x)) / \mathrm{std}(x)$, each channel of each image by itself.

    Shapes: as the input. Units: none left, which is why physical noise has to be added before.
    A constant image becomes zeros. Errors: ValueError for anything but a float image with two or three axes of space.
    Chapter 1.
    """
    if image.ndim not in (4, 5) or not image.is_floating_point():
        raise ValueError(f"image: expected a float (B, C, *S) with 2 or 3 axes of space, "
                         f"got {tuple(image.shape)} {image.dtype}")
    space = tuple(range(2, image.ndim))
    x = image.float() if image.dtype in (torch.float16, torch.bfloat16) else image
    centred = x - x.mean(dim=space, keepdim=True)
    deviation = centred.square().mean(dim=space, keepdim=True).sqrt()
    return (centred / deviation.clamp_min(torch.finfo(x.dtype).tiny)).to(image.dtype)


def grid_axes(size: int, dim: int, z_mm: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxel centres along x, y and z in mm: a square field of view, or a cube; a slice has one z."""
    spacing = FIELD_OF_VIEW_MM / size
    steps = (np.arange(size) + 0.5) * spacing - FIELD_OF_VIEW_MM / 2
    x, y, z = (centre + steps for centre in CENTRE_MM)
    return (x, y, z) if dim == 3 else (x, y, np.array([float(z_mm)]))


def grid_affine(size: int, dim: int, z_mm: float | None = None) -> np.ndarray:
    """The affine of `grid_axes`: voxel indices to mm, RAS."""
    axes = grid_axes(size, dim, z_mm)
    spacing = FIELD_OF_VIEW_MM / size
    affine = np.diag([spacing, spacing, spacing if dim == 3 else SLICE_THICKNESS_MM, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return affine


def check_grid(size: int, dim: int) -> None:
    if isinstance(dim, bool) or dim not in (2, 3):
        raise ValueError(f"dim: expected 2 or 3, got {dim!r}")
    if isinstance(size, bool) or not isinstance(size, int) or size < SMALLEST_SIZE:
        raise ValueError(f"size: expected a whole number of voxels, at least {SMALLEST_SIZE}, got {size!r}")
