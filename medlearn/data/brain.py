r"""The MNI152 average brain that ships with the package: a real MRI, its tissue maps and its geometry."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import as_file, files

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.grid import as_affine, in_a_line
from medlearn.base.validation import Number
from medlearn.data.scan import Scan, check_grid, grid_affine, grid_axes

TISSUES = ("background", "CSF", "grey matter", "white matter")


@dataclass(frozen=True, eq=False)
class Brain:
    r"""A T1-weighted scan with the probability of each tissue in each voxel; their sum is at most 1.

    Shapes: `t1` and `labels` are `(X, Y, Z)`, axes to the right, front and top; `probabilities (3, X, Y, Z)` holds
    `csf`, `grey` and `white`; `affine (4, 4)` takes voxel indices to mm.
    Units: 1 mm voxels; `t1` as stored, 0..255; probabilities 0..1.
    `labels` is the most probable of `TISSUES`: 0 background, 1 CSF, 2 grey matter, 3 white matter. Chapter 1.

    >>> scan = load_mni152().on_grid(64, z_mm=[0.0, 20.0])
    >>> scan.image.shape, scan.lesion.any().item()
    (torch.Size([2, 1, 64, 64]), False)
    """

    t1: Float[Tensor, "x y z"]
    probabilities: Float[Tensor, "3 x y z"]
    labels: Int64[Tensor, "x y z"]
    affine: np.ndarray

    @property
    def csf(self) -> Float[Tensor, "x y z"]:
        """The probability of cerebrospinal fluid."""
        return self.probabilities[0]

    @property
    def grey(self) -> Float[Tensor, "x y z"]:
        """The probability of grey matter."""
        return self.probabilities[1]

    @property
    def white(self) -> Float[Tensor, "x y z"]:
        """The probability of white matter."""
        return self.probabilities[2]

    @cached_property
    def white_level(self) -> float:
        """The scan's mean intensity in pure white matter (probability above 0.95): what is called 1 on a grid."""
        return self.t1[self.white > 0.95].mean().item()

    def on_grid(self, size: int | np.integer, *, dim: int | np.integer = 2,
                z_mm: Number | Sequence[float] | np.ndarray | None = None) -> Scan:
        r"""The real, undeformed brain on the grid of `BrainCohort`: what a network is tested on and never trained on.

        Shapes: `size` voxels along each of `dim` axes, 2 or 3; one image for each `z_mm` (2D), or one volume (3D).
        Units: `z_mm` in mm of MNI space, 10 mm when left out. Intensities and probabilities are interpolated
        linearly; labels are then the most probable tissue, as in the cohort. There is no lesion.
        No `z_mm` at all (`[]`) gives an empty scan.
        Errors: ValueError for another `dim`, a `size` below 32, a `z_mm` in 3D, or one that is not finite. Chapter 1.
        """
        size, dim = check_grid(size, dim)
        if dim == 3 and z_mm is not None:
            raise ValueError(f"z_mm: expected none in 3D, where the volume holds every slice, got {z_mm!r}")
        levels = np.atleast_1d(np.asarray(10.0 if z_mm is None else z_mm))
        if levels.ndim != 1 or levels.dtype.kind not in "iuf" or not np.isfinite(levels).all():
            raise ValueError(f"z_mm: expected a height in mm, or several, got {z_mm!r}")
        heights: list[float | None] = [None] if dim == 3 else levels.tolist()
        points = torch.empty(len(heights), 3, *[size] * dim)
        for point, z in zip(points, heights):
            grid = np.stack(np.meshgrid(*grid_axes(size, dim, z), indexing="ij"))
            point.copy_(torch.from_numpy(grid.reshape(point.shape)))
        affine = torch.from_numpy(np.array([grid_affine(size, dim, z) for z in heights]).reshape(-1, 4, 4))
        t1 = sample((self.t1 / self.white_level)[None], self.affine, points)
        probability = sample(self.probabilities, self.affine, points)
        nothing = torch.zeros(len(heights), *[size] * dim, dtype=torch.int64)
        return Scan(t1, most_probable(probability), nothing, nothing.clone(), affine)


@lru_cache(maxsize=1)
def load_mni152() -> Brain:
    r"""The MNI ICBM152 2009a symmetric brain, the average of 152 adults' scans, with its tissue maps.

    Shapes: 197 x 233 x 189, RAS. Units: 1 mm voxels, millimetres of MNI space.
    The package ships the T1-weighted scan without its skull and the probability maps of grey and white matter (stored
    as probability x 255). CSF is derived: inside the brain, which is where T1 > 0,
    $p_\mathrm{CSF} = 1 - p_\mathrm{grey} - p_\mathrm{white}$. Outside, this share is background.
    As most probable tissue the labels hold 160 ml of CSF, 1091 ml of grey and 636 ml of white matter, 1887 ml in all:
    a large brain, which MNI space is known for. It is an average, not one person: the cortex is smooth.
    The result is read once and shared; do not write into it.
    Errors: ValueError if the files are not a 1 mm RAS grid. Source: Fonov et al., NeuroImage 54 (2011) 313,
    doi:10.1016/j.neuroimage.2010.07.033. Chapter 1.

    >>> brain = load_mni152()
    >>> brain.t1.shape, [round((brain.labels == k).sum().item() / 1000) for k in (1, 2, 3)]
    (torch.Size([197, 233, 189]), [160, 1091, 636])
    """
    import nibabel as nib

    folder = files("medlearn.data") / "mni152"
    volumes = []
    for name in ("t1", "gm", "wm"):
        with as_file(folder / f"{name}.nii.gz") as path:
            image = nib.Nifti1Image.from_filename(path)
            volumes.append(torch.from_numpy(np.asanyarray(image.dataobj)))
    affine = as_affine(image.affine)
    if not np.array_equal(affine[:3, :3], np.eye(3)):
        raise ValueError(f"affine: expected 1 mm voxels in RAS order, got {in_a_line(affine)}")

    t1 = volumes[0].float()
    probability = torch.empty(3, *t1.shape)             # written in place: fresh memory takes longer than the sums
    csf, grey, white = probability
    torch.div(volumes[1], 255, out=grey)
    torch.div(volumes[2], 255, out=white)
    torch.sub(1, grey, out=csf).sub_(white).masked_fill_(t1 <= 0, 0.0).clamp_min_(0)    # rounding may leave -6e-8
    labels = most_probable(probability[None])[0]
    return Brain(t1, probability, labels, affine)


def most_probable(probability: Float[Tensor, "b 3 *s"]) -> Int64[Tensor, "b *s"]:
    """The most probable of `TISSUES`, from the probabilities of CSF, grey and white matter; the rest is background."""
    # a running maximum: several times faster than argmax over so few channels
    highest = 1 - probability.sum(dim=1)
    label = torch.zeros_like(highest, dtype=torch.int64)
    for k, p in enumerate(probability.unbind(dim=1), start=1):
        label.masked_fill_(p > highest, k)
        torch.maximum(p, highest, out=highest)
    return label


def sample(volume: Float[Tensor, "c x y z"], affine: np.ndarray,
           points_mm: Float[Tensor, "b 3 *s"]) -> Float[Tensor, "b c *s"]:
    """The volume's values at the given points, interpolated linearly; zero outside. The affine has 1 mm RAS voxels."""
    batch, channels, space = points_mm.shape[0], volume.shape[0], points_mm.shape[2:]
    if points_mm.numel() == 0:
        return volume.new_zeros(batch, channels, *space)
    offset = torch.as_tensor(affine[:3, 3], dtype=points_mm.dtype, device=points_mm.device)
    last = torch.tensor([n - 1.0 for n in volume.shape[1:]], device=points_mm.device)
    unit = (points_mm.movedim(1, -1) - offset) * (2 / last) - 1
    # every image reads the one volume, which is expanded and not copied; grid_sample wants (z, y, x)
    grid = unit.flip(-1).reshape(batch, 1, 1, -1, 3)
    values = F.grid_sample(volume.expand(batch, *volume.shape), grid, mode="bilinear", align_corners=True)
    return values.reshape(batch, channels, *space)
