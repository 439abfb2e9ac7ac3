r"""Parallel-beam tomography: the projection, its exact adjoint, and filtered back-projection (chapter 11)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.grid import Grid
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import (Number, check_choice, check_finite, check_number, check_shape, check_tensor,
                                      check_whole)

PIXEL_RANGE_MM = (1e-3, 100.0)        # from a microscope's to larger than any scanner's

# what multiplies the ramp, of the frequency as a share of the highest one
WINDOWS = {
    "ramp": torch.ones_like,
    "shepp-logan": lambda f: torch.sinc(f / 2),
    "cosine": lambda f: torch.cos(torch.pi * f / 2),
    "hamming": lambda f: 0.54 + 0.46 * torch.cos(torch.pi * f),
    "hann": lambda f: 0.5 + 0.5 * torch.cos(torch.pi * f),
}


def pixel_width(pixel_mm: Number | Grid, shape: Sequence[int] = ()) -> float:
    r"""The width in mm of pixels that are as wide as high: `pixel_mm` itself, or that of a grid of this `shape`.

    Of a volume it is that of the first two axes; without a `shape` a grid may have any.
    Errors: TypeError for anything but a number or a grid; ValueError for a number outside 0.001..100 mm, a grid of
    another shape, or whose pixels are not square. Chapter 11.

    >>> pixel_width(Grid.from_spacing((64, 64), (0.5, 0.5)), (64, 64))
    0.5
    """
    if isinstance(pixel_mm, Grid):
        if shape and pixel_mm.shape != tuple(shape):
            raise ValueError(f"pixel_mm: expected a Grid of shape {tuple(shape)}, got one of {pixel_mm.shape}")
        wide, high = pixel_mm.spacing_mm[:2]
        if not math.isclose(wide, high, rel_tol=1e-3):
            raise ValueError(f"pixel_mm: expected square pixels, got a Grid of {wide:.4g} x {high:.4g} mm")
        pixel_mm = wide
    low, high = PIXEL_RANGE_MM
    return check_number("pixel_mm", pixel_mm, least=low, most=high, unit="mm")


@dataclass(frozen=True, init=False, repr=False)
class ParallelBeam:
    r"""Parallel rays: $p(\theta, s)$ is the integral of $\mu$ over the line $x\cos\theta + y\sin\theta = s$.

    Shapes: images `(B, C, N, N)` with array axes (x, y), N = `size`; sinograms `(B, C, V, D)`: V views in the order of
    `angles_deg`, D detectors as wide as a pixel, enough for the square's diagonal, so that no part of the image is
    ever missed.
    Units: angles in degrees, any that are finite; `pixel_mm` is the width of a pixel, or the images' `Grid`;
    attenuation in 1/mm makes line integrals without a unit. x, y and s are 0 in the middle of the image.
    A pixel is a square and a ray is a strip as wide as a detector, so the image's mass is kept exactly, view by view.
    The matrix is built at the first use, for angles of 0..45 degrees only: the others see the image transposed or
    mirrored. It is kept with the object, 36 bytes for each pixel and each such angle (110 MB for 256 x 256 and 180
    views). Everything is linear and differentiable, and computed and returned in float32, or in float64 where the
    input is; every device has its own matrix. `forget()` gives their memory back. They are not pickled: each worker of
    a DataLoader builds its own. An empty batch gives an empty answer.
    Errors: ValueError for no angle or one that is not finite, a size below 1, a pixel outside 0.001..100 mm, a grid of
    another size, an image or a sinogram of another shape, NaN. TypeError for one that is no float tensor.
    Source: Kak and Slaney 1988, ch. 3, doi:10.1137/1.9780898719277; strips, Long et al. 2010,
    doi:10.1109/TMI.2010.2050898. Chapter 11.

    >>> beam = ParallelBeam(8, [0.0, 90.0], pixel_mm=2.0)
    >>> sinogram = beam.project(torch.ones(1, 1, 8, 8))
    >>> sinogram.shape, sinogram.sum(-1).round()        # in every view the whole mass: 64 pixels of 2 mm
    (torch.Size([1, 1, 2, 12]), tensor([[[128., 128.]]]))
    """

    size: int
    angles_deg: tuple[float, ...]
    pixel_mm: float
    _views: _Views = field(init=False, compare=False)
    _built: dict[tuple[torch.device, torch.dtype], list[_Sparse]] = field(init=False, compare=False)

    def __init__(self, size: int | np.integer, angles_deg: Sequence[float] | np.ndarray | Tensor, *,
                 pixel_mm: Number | Grid = 1.0) -> None:
        size = check_whole("size", size, least=1)
        angles = np.asarray(angles_deg.detach().cpu() if isinstance(angles_deg, Tensor) else angles_deg)
        if angles.ndim != 1 or angles.size == 0 or angles.dtype.kind not in "iuf" or not np.isfinite(angles).all():
            raise ValueError(f"angles_deg: expected at least one finite angle in a row, got {angles_deg!r}")
        views = tuple(angles.astype(float).tolist())
        for name, value in {"size": size, "angles_deg": views, "pixel_mm": pixel_width(pixel_mm, (size, size)),
                            "_views": _fold(views), "_built": {}}.items():
            object.__setattr__(self, name, value)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_built": {}}

    def __repr__(self) -> str:
        return (f"ParallelBeam(size={self.size}, {len(self.angles_deg)} views of {min(self.angles_deg):g}.."
                f"{max(self.angles_deg):g} degrees, pixel_mm={self.pixel_mm:g})")

    @property
    def detectors(self) -> int:
        """D: the least number that covers the diagonal and has a detector in the middle where the image has a pixel."""
        least = math.ceil(self.size * math.sqrt(2))
        return least + (least - self.size) % 2

    @property
    def detector_mm(self) -> Float[Tensor, "d"]:
        """The position s of each detector's middle."""
        return (torch.arange(self.detectors, dtype=torch.float64) - (self.detectors - 1) / 2) * self.pixel_mm

    def forget(self) -> None:
        """Gives back the memory of the matrices, which the next use builds again."""
        self._built.clear()

    def project(self, image: Float[Tensor, "b c n n"]) -> Float[Tensor, "b c v d"]:
        r"""The sinogram $p = A \mu$.

        Shapes, units, empty case, errors, source: as `ParallelBeam`. Chapter 11.
        """
        batch = _checked("image", image, (self.size, self.size))
        turns = [_TURNS[turn] for turn in self._views.turns]
        seen = torch.stack([turn(batch).permute(1, 2, 0) for turn, _ in turns], 2)                      # n n o m
        rays = self._times(seen.flatten(2).flatten(0, 1), transposed=False)                             # (k d) (o m)
        rays = rays.reshape(self._views.angles, self.detectors, len(turns), len(batch))                 # k d o m
        views = self._views.mirror(rays.permute(3, 0, 2, 1).flatten(1, 2)[:, self._views.place])        # m v d
        return views.reshape(*image.shape[:2], *views.shape[1:]) * self.pixel_mm

    def adjoint(self, sinogram: Float[Tensor, "b c v d"]) -> Float[Tensor, "b c n n"]:
        r"""The back-projection $A^T p$, each pixel the sum of its rays.

        It is the adjoint of `project`: $\langle A \mu, p \rangle = \langle \mu, A^T p \rangle$.
        Shapes, empty case, errors, source: as `ParallelBeam`. Units: the sinogram's times mm. Chapter 11.
        """
        batch = _checked("sinogram", sinogram, (len(self.angles_deg), self.detectors))
        turns = [_TURNS[turn] for turn in self._views.turns]
        rays = batch.new_zeros(len(batch), self._views.angles * len(turns), self.detectors)
        rays = rays.index_add(1, torch.tensor(self._views.place, device=rays.device), self._views.mirror(batch))
        rays = rays.unflatten(1, (-1, len(turns))).permute(1, 3, 2, 0).flatten(2).flatten(0, 1)         # (k d) (o m)
        seen = self._times(rays, transposed=True).reshape(self.size, self.size, len(turns), len(batch)) # n n o m
        first, *rest = (turn_back(part) for (_, turn_back), part in zip(turns, seen.permute(2, 3, 0, 1)))
        image = sum(rest, start=first)                                                                  # m n n
        return (image * self.pixel_mm).reshape(*sinogram.shape[:2], self.size, self.size).contiguous()

    def fbp(self, sinogram: Float[Tensor, "b c v d"], window: str = "ramp") -> Float[Tensor, "b c n n"]:
        r"""Filtered back-projection, $\mu(x, y) = \pi / V \sum_\theta (p_\theta * h)(x \cos\theta + y \sin\theta)$.

        Shapes, empty case, errors: as `ParallelBeam`; ValueError for a window not in `WINDOWS`.
        Units: 1/mm. The scale is right for views spread evenly over 180 degrees or 360; of any others it is the sum
        with equal weights, and what was not measured is missing from the image.
        `window` multiplies the ramp: "hann" has least noise and least detail, "ramp" most.
        Source: Kak and Slaney 1988, eqs. 3.61 and 3.68, doi:10.1137/1.9780898719277. Chapter 11.
        """
        d_theta = math.pi / len(self.angles_deg)
        # the filter counts in detectors, 1 / pixel_mm, and the adjoint weighs a ray with the pixel's width
        return self.adjoint(ramp_filter(sinogram, window)) * (d_theta / self.pixel_mm ** 2)

    def _times(self, dense: Tensor, transposed: bool) -> Tensor:
        if (key := (dense.device, dense.dtype)) not in self._built:
            built = _matrices(self.size, self.detectors, self._views.folded, dense.dtype)
            self._built[key] = [_Sparse(*(part.to(dense.device) for part in matrix)) for matrix in built]
        matrix, transpose = reversed(self._built[key]) if transposed else self._built[key]
        return _Product.apply(dense, matrix, transpose)


def ramp_filter(sinogram: Float[Tensor, "b c v d"], window: str = "ramp") -> Float[Tensor, "b c v d"]:
    r"""Views convolved with $h_0 = 1/4$, $h_n = -1 / (\pi n)^2$ for odd n, else 0: $|f|$ up to the highest frequency.

    Shapes: as the `sinogram`. Units: the sinogram's, in steps of a detector. `window` multiplies the ramp, as in `fbp`.
    Built from h and not from $|f|$, whose zero at f = 0 would darken the whole image; zeros are added so that the ends
    do not meet. No sinogram gives none.
    Errors: TypeError for anything but a float tensor, ValueError for other axes and a window not in `WINDOWS`.
    Source: Kak and Slaney 1988, eq. 3.61, doi:10.1137/1.9780898719277. Chapter 11.

    >>> ramp_filter(torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]]))[..., 1:4]
    tensor([[[[-0.1013,  0.2500, -0.1013]]]])
    """
    check_tensor("sinogram", sinogram, dtype="float", shape="(B, C, V, D)")
    check_choice("window", window, list(WINDOWS))
    sinogram = at_least_float32(sinogram)
    if sinogram.numel() == 0:
        return sinogram
    detectors = sinogram.shape[-1]
    # at least twice the view, and of a length that is quick to transform: 2^k or 3 * 2^k
    length = min(m * 2 ** math.ceil(math.log2(2 * detectors / m)) for m in (1, 3))
    n = torch.arange(length, device=sinogram.device)
    n = torch.minimum(n, length - n).to(sinogram)
    h = torch.where(n % 2 == 1, -1 / (math.pi * n).square(), 0)
    h[0] = 1 / 4
    response = torch.fft.rfft(h).real
    response = response * WINDOWS[window](torch.linspace(0, 1, len(response)).to(response))
    return torch.fft.irfft(torch.fft.rfft(sinogram, length) * response, length)[..., :detectors]


# Views folded into 0..45 degrees -------------------------------------------------------------------------------------

# how the image lies for each eighth of a half turn, and back
_TURNS = (
    (lambda f: f, lambda g: g),
    (lambda f: f.mT, lambda g: g.mT),
    (lambda f: f.mT.flip(-1), lambda g: g.flip(-1).mT),
    (lambda f: f.flip(-2), lambda g: g.flip(-2)),
)


@dataclass(frozen=True)
class _Views:
    """`folded`: the angles to build; `turns`: how the image has to lie for them, in `_TURNS`; of each view its
    `place` among the pairs of both, and whether its detectors run `backwards`."""

    folded: tuple[float, ...]
    turns: tuple[int, ...]
    place: list[int]
    backwards: list[bool]

    @property
    def angles(self) -> int:
        return len(self.folded)

    def mirror(self, rays: Tensor) -> Tensor:
        if not any(self.backwards):
            return rays
        return torch.where(torch.tensor(self.backwards, device=rays.device)[:, None], rays.flip(-1), rays)


def _fold(angles_deg: Sequence[float]) -> _Views:
    views = []
    for angle in angles_deg:
        half_turns, rest = divmod(round(angle, 9), 180)
        turn = min(int(rest // 45), 3)
        folded = (rest, 90 - rest, rest - 90, 180 - rest)[turn]
        views.append((round(folded, 9), turn, half_turns % 2 == 1))
    angles, turns = sorted({view[0] for view in views}), sorted({view[1] for view in views})
    place = [angles.index(angle) * len(turns) + turns.index(turn) for angle, turn, _ in views]
    return _Views(tuple(angles), tuple(turns), place, [view[2] for view in views])


# The matrix ----------------------------------------------------------------------------------------------------------

class _Sparse(NamedTuple):
    """Row i holds `values[j]` at the columns `columns[j]` for j from `starts[i]` on, up to the next row's."""

    columns: Int32[Tensor, "nonzero"]
    starts: Int32[Tensor, "rows+1"]
    values: Float[Tensor, "nonzero"]


def _matrices(size: int, detectors: int, folded_deg: Sequence[float], dtype: torch.dtype) -> tuple[_Sparse, _Sparse]:
    """A (rays x pixels) and its transpose: the area of each pixel within each strip."""
    from scipy.sparse import csr_matrix

    pixels, angles = size ** 2, len(folded_deg)
    if 3 * pixels * angles >= 2 ** 31:
        raise ValueError(f"angles_deg: expected fewer than {2 ** 31 // (3 * pixels)} after folding to 0..45 degrees, "
                         f"for {size} x {size} pixels, got {angles}")
    area: np.ndarray = np.empty((pixels, angles, 3), np.float64 if dtype == torch.float64 else np.float32)
    detector = np.empty((pixels, angles, 3), np.int32)
    middle = np.arange(size) - (size - 1) / 2
    for k, angle in enumerate(np.deg2rad(folded_deg)):
        # the shadow of a unit square is a trapezoid: boxes of these two widths, one smeared with the other
        a, b = math.cos(angle), max(math.sin(angle), 1e-6)
        shadow = np.add.outer(a * middle, b * middle).ravel() + detectors / 2
        first = np.floor(shadow - (a + b) / 2)
        up_to = [_shadow_below(first + edge - shadow, a, b) for edge in (1, 2)]
        area[:, k] = np.stack([up_to[0], up_to[1] - up_to[0], 1 - up_to[1]], axis=-1)
        detector[:, k] = np.stack([first, first + 1, first + 2], axis=-1) + k * detectors
    area[area < 1e-6] = 0
    rows = np.arange(0, 3 * pixels * angles + 1, 3 * angles, dtype=np.int32)
    transpose = csr_matrix((area.ravel(), detector.ravel(), rows), shape=(pixels, angles * detectors))
    transpose.eliminate_zeros()
    return _to_torch(transpose.T.tocsr()), _to_torch(transpose)


def _shadow_below(t: np.ndarray, a: float, b: float) -> np.ndarray:
    """The share of a unit square's shadow that lies below t, measured from its middle."""
    corners = ((a + b) / 2, 1), ((a - b) / 2, -1), ((b - a) / 2, -1), (-(a + b) / 2, 1)
    return reduce(np.add, (sign * np.square(np.maximum(t + corner, 0)) for corner, sign in corners)) / (2 * a * b)


def _to_torch(matrix) -> _Sparse:
    return _Sparse(*(torch.from_numpy(part) for part in (matrix.indices, matrix.indptr, matrix.data)))


class _Product(torch.autograd.Function):
    """The product with a constant sparse matrix, whose transpose is at hand for the gradient."""

    @staticmethod
    def forward(ctx, dense: Tensor, matrix: _Sparse, transpose: _Sparse) -> Tensor:
        ctx.matrices = matrix, transpose
        if dense.shape[1] == 0:
            return dense.new_zeros(len(matrix.starts) - 1, 0)
        # weighted sums of rows, which embedding_bag does twice as fast as torch.sparse, and without its warnings
        with torch.autocast(dense.device.type, enabled=False):
            return F.embedding_bag(matrix.columns, dense.contiguous(), matrix.starts, mode="sum",
                                   per_sample_weights=matrix.values, include_last_offset=True)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        matrix, transpose = ctx.matrices
        return _Product.apply(gradient, transpose, matrix), None, None


def _checked(name: str, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """The batch as `(B C, ., .)`, in float32 or better."""
    check_tensor(name, value, dtype="float", shape="(B, C, *S)", space=(2,))
    check_shape(name, value, (*value.shape[:2], *shape))
    check_finite(name, value)
    return at_least_float32(value).flatten(0, 1)
