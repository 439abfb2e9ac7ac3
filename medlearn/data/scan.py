r"""A batch of scans with everything that is known about them, and the grid they lie on."""
from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import TensorDataset

from medlearn.base.grid import Grid, as_affine
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import check_choice, check_finite, check_holds, check_shape, check_tensor, check_whole

FIELD_OF_VIEW_MM = 208.0            # holds every head of the cohort with a margin
CENTRE_MM = (0.0, -17.0, 5.0)       # middle of the brain in MNI space
SLICE_THICKNESS_MM = 1.0            # a slice is read from a 1 mm template
SMALLEST_SIZE = 32                  # 6.5 mm a voxel; with larger ones the cortex is gone
SPREAD = (1e-15, 1e15)              # of an image's values: the squares of others have no place in float32


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
    Errors: TypeError for another dtype, ValueError when the shapes do not belong together. Chapter 1.

    >>> nothing = torch.zeros(2, 8, 8, dtype=torch.int64)
    >>> scan = Scan(torch.rand(2, 1, 8, 8), nothing, nothing, nothing, torch.eye(4).expand(2, 4, 4))
    >>> len(scan[:1]), scan.diagnosis, scan.grids[0].spacing_mm
    (1, tensor([0, 0]), (1.0, 1.0))
    """

    image: Float[Tensor, "b 1 *s"]
    tissue: Int64[Tensor, "b *s"]
    lesion: Int64[Tensor, "b *s"]
    instance: Int64[Tensor, "b *s"]
    affine: Float[Tensor, "b 4 4"]

    def __post_init__(self):
        check_tensor("image", self.image, dtype="float", shape="(B, 1, *S)")
        batch, _, *space = self.image.shape
        expected = {"image": (batch, 1, *space), "affine": (batch, 4, 4)}
        for field in fields(self):
            part = check_tensor(field.name, getattr(self, field.name),
                                dtype="float" if field.name in expected else "int64")
            check_shape(field.name, part, expected.get(field.name, (batch, *space)), because="to go with the image")

    @property
    def diagnosis(self) -> Int64[Tensor, "b"]:
        """What a report would say of each image: 0 no lesion, 1 plaques only, 2 a mass is present."""
        return self.lesion.flatten(1).amax(dim=1) if len(self) else self.lesion.new_zeros(0)

    @property
    def grids(self) -> list[Grid]:
        """The grid of each image: its spacing in mm, the volume of a voxel, which way round it is."""
        return [Grid(tuple(self.image.shape[2:]), as_affine(affine)) for affine in self.affine]

    def samples(self, target: Literal["tissue", "lesion", "instance", "diagnosis"] = "tissue") -> TensorDataset:
        r"""What `medlearn.train.fit` trains on: for each image the pair (standardised image, labels).

        Shapes: `samples[i]` is an image `(C, *S)` and its labels `(*S)`; where the `target` is the diagnosis, a single
        number. `samples[2:5]` are three of each. Units: none, as of `standardise`.
        No image gives no sample, which `fit` refuses. Errors: ValueError for another target, and as `standardise`.
        Chapter 7.

        >>> from medlearn.data import BrainCohort
        >>> samples = BrainCohort(size=32).batch(range(4)).samples("lesion")
        >>> image, labels = samples[0]
        >>> len(samples), image.shape, labels.shape
        (4, torch.Size([1, 32, 32]), torch.Size([32, 32]))
        """
        check_choice("target", target, ["tissue", "lesion", "instance", "diagnosis"])
        return TensorDataset(standardise(self.image), getattr(self, target))

    def to(self, device: torch.device | str) -> Scan:
        """The same scan on another `device`."""
        # Apple's GPU has no double precision, which the affine has elsewhere
        affine = self.affine.float() if torch.device(device).type == "mps" else self.affine
        return Scan(*(part.to(device) for part in (self.image, self.tissue, self.lesion, self.instance, affine)))

    def __len__(self) -> int:
        return self.image.shape[0]

    def __getitem__(self, index: int | np.integer | slice | Sequence[int] | np.ndarray | Tensor) -> Scan:
        if isinstance(index, np.ndarray):
            index = torch.from_numpy(np.ascontiguousarray(index))
        if isinstance(index, Sequence) and not isinstance(index, str):
            index = list(index)
        elif not isinstance(index, slice) and not (isinstance(index, Tensor) and index.ndim == 1):
            index = [operator.index(index)]
        return Scan(*(getattr(self, field.name)[index] for field in fields(self)))


def standardise(image: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
    r"""A network's input: $(x - \mathrm{mean}(x)) / \mathrm{std}(x)$, each channel of each image by itself.

    Shapes: as the `image`. Units: none left, which is why physical noise has to be added before.
    A constant channel becomes zeros, whatever the constant; no image gives none.
    Errors: TypeError for anything but a float tensor; ValueError for other axes than two or three of space, NaN, and
    for values further apart than 1e15 (some files fill gaps with such a number: put the background's there).
    Chapter 1.

    >>> standardise(torch.tensor([[[[1.0, 3.0]], [[7.0, 7.0]]]])).flatten()
    tensor([-1.,  1.,  0.,  0.])
    """
    check_tensor("image", image, dtype="float", shape="(B, C, *S)")
    if image.numel() == 0:
        return image
    space = tuple(range(2, image.ndim))
    x = at_least_float32(image)
    low, high = x.detach().amin(space, keepdim=True), x.detach().amax(space, keepdim=True)
    check_finite("image", torch.stack([low, high]))
    spread = high - low
    constant = spread == 0
    check_holds("image", spread, constant | (spread >= SPREAD[0]) & (spread <= SPREAD[1]),
                expected=f"a constant, or values that are {SPREAD[0]:g}..{SPREAD[1]:g} apart")
    # the mean of equal numbers is not always that number
    centred = x - torch.where(constant, low, x.mean(dim=space, keepdim=True))
    variance = centred.square().mean(dim=space, keepdim=True)
    return (centred / torch.where(constant, 1, variance).sqrt()).to(image.dtype)


def grid_axes(size: int, dim: int, z_mm: float | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Voxel centres along x, y and z in mm: a square field of view, or a cube; a slice has one z."""
    spacing = FIELD_OF_VIEW_MM / size
    steps = (np.arange(size) + 0.5) * spacing - FIELD_OF_VIEW_MM / 2
    x, y, z = (centre + steps for centre in CENTRE_MM)
    if dim == 3:
        return x, y, z
    if z_mm is None:
        raise ValueError("z_mm: expected the height of the slice in mm, got None")
    return x, y, np.array([float(z_mm)])


def grid_affine(size: int, dim: int, z_mm: float | None = None) -> np.ndarray:
    """The affine of `grid_axes`: voxel indices to mm, RAS."""
    axes = grid_axes(size, dim, z_mm)
    spacing = FIELD_OF_VIEW_MM / size
    affine = np.diag([spacing, spacing, spacing if dim == 3 else SLICE_THICKNESS_MM, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return affine


def check_grid(size: int | np.integer, dim: int | np.integer) -> tuple[int, int]:
    """Refuses a grid of fewer than 32 voxels along an axis, or of other than two or three axes."""
    return check_whole("size", size, least=SMALLEST_SIZE), check_whole("dim", dim, least=2, most=3)
