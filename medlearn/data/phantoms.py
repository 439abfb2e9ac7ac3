r"""Things whose measurement is known beforehand: ellipses with line integrals, and scatterers (chapters 11, 13)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.grid import Grid
from medlearn.base.random import check_generator
from medlearn.base.validation import (Number, check_finite, check_float, check_holds, check_number, check_shape,
                                      check_tensor, check_whole, kind_of)
from medlearn.physics.projection import ParallelBeam, pixel_width

WIDTH_MM = 200.0                # of the square in which a phantom lies
LOUDEST_DB = 200.0              # of an echo above the tissue's

# value, half axes along x and y, centre, turn: of the square's half width, and in degrees
_SHEPP_LOGAN = (
    (2.00, 0.6900, 0.9200, 0.00, 0.0000, 0),
    (-0.98, 0.6624, 0.8740, 0.00, -0.0184, 0),
    (-0.02, 0.1100, 0.3100, 0.22, 0.0000, -18),
    (-0.02, 0.1600, 0.4100, -0.22, 0.0000, 18),
    (0.01, 0.2100, 0.2500, 0.00, 0.3500, 0),
    (0.01, 0.0460, 0.0460, 0.00, 0.1000, 0),
    (0.01, 0.0460, 0.0460, 0.00, -0.1000, 0),
    (0.01, 0.0460, 0.0230, -0.08, -0.6050, 0),
    (0.01, 0.0230, 0.0230, 0.00, -0.6060, 0),
    (0.01, 0.0230, 0.0460, 0.06, -0.6050, 0),
)
_VISIBLE = (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)


@dataclass(frozen=True, eq=False)
class Ellipses:
    r"""Phantoms as sums of ellipses: $\sum_i v_i$ over those with $|R_i^T (r - c_i) / a_i| \le 1$.

    Shapes: of B phantoms with n ellipses each, `value (B, n)`, `half_axes_mm (B, n, 2)`, `centre_mm (B, n, 2)`,
    `angle_deg (B, n)`. Ellipses may overlap, and their values add.
    Units: mm from the middle of the image, x and y along its array axes; degrees from x towards y; values as wished:
    in `shepp_logan` they are attenuation in units of water's, so `MU_WATER_PER_MM` times an image is in 1/mm.
    No ellipse is a phantom of zeros, no phantom an empty batch.
    Errors: TypeError for anything but a float tensor, ValueError for shapes that do not belong together, an axis that
    is not positive, NaN. Chapter 11.

    >>> ellipse = Ellipses(torch.ones(1, 1), torch.tensor([[[30.0, 20.0]]]), torch.zeros(1, 1, 2), torch.zeros(1, 1))
    >>> round(ellipse.image(64, 1.0).sum().item() / (math.pi * 30 * 20), 2)             # its area, pi a b
    1.0
    >>> ellipse.line_integrals(ParallelBeam(64, [0.0, 90.0])).amax(-1).round()          # its widths, 2 b and 2 a
    tensor([[[40., 60.]]])
    """

    value: Float[Tensor, "b n"]
    half_axes_mm: Float[Tensor, "b n 2"]
    centre_mm: Float[Tensor, "b n 2"]
    angle_deg: Float[Tensor, "b n"]

    def __post_init__(self):
        check_tensor("value", self.value, dtype="float", shape="(B, n)")
        shape = tuple(self.value.shape)
        expected = {"value": shape, "half_axes_mm": (*shape, 2), "centre_mm": (*shape, 2), "angle_deg": shape}
        for name, want in expected.items():
            part = check_tensor(name, getattr(self, name), dtype="float")
            check_finite(name, check_shape(name, part, want, because="to go with the values"))
        check_holds("half_axes_mm", self.half_axes_mm, self.half_axes_mm > 0, expected="lengths above 0")

    def image(self, size: int | np.integer, pixel_mm: Number | Grid, *,
              samples: int | np.integer = 4) -> Float[Tensor, "b 1 n n"]:
        r"""The phantoms on a grid of `size` x `size` pixels, each the mean over `samples` x `samples` points within it.

        Shapes: `(B, 1, N, N)`. Units: the values'; `pixel_mm` is the width of a pixel, or the image's `Grid`.
        Errors: ValueError for sizes or samples below 1, a pixel outside 0.001..100 mm, a grid of another size.
        Chapter 11.
        """
        size, samples = check_whole("size", size, least=1), check_whole("samples", samples, least=1)
        pixel_mm = pixel_width(pixel_mm, (size, size))
        fine = size * samples
        at = (torch.arange(fine).to(self.value) - (fine - 1) / 2) * (pixel_mm / samples)
        image = self.value.new_zeros(len(self.value), fine, fine)
        for value, (a, b), (x, y), angle in self._each():
            u, v = at[:, None] - x, at - y
            cos, sin = torch.cos(angle), torch.sin(angle)
            image += value * (((cos * u + sin * v) / a).square() + ((cos * v - sin * u) / b).square() <= 1)
        return image.unflatten(1, (size, samples)).unflatten(3, (size, samples)).mean((2, 4))[:, None]

    def line_integrals(self, beam: ParallelBeam) -> Float[Tensor, "b 1 v d"]:
        r"""Along each ray, $p(\theta, s) = \sum_i \frac{2 v_i a_i b_i}{r_i^2} \sqrt{r_i^2 - t_i^2}$, exactly.

        $t = s - c \cdot (\cos\theta, \sin\theta)$ is the ray's distance from the ellipse's centre, and r half the
        width of its shadow, $r^2 = a^2 \cos^2(\theta - \phi) + b^2 \sin^2(\theta - \phi)$.
        Shapes: as the beam's sinograms. Units: the values' times mm. Of the thin line through each detector's
        middle.
        Source: Kak and Slaney 1988, eqs. 3.5 and 3.6, doi:10.1137/1.9780898719277. Chapter 11.
        """
        s = beam.detector_mm.to(self.value)
        theta = torch.deg2rad(torch.tensor(beam.angles_deg, dtype=torch.float64)).to(self.value)[:, None]
        sinogram = self.value.new_zeros(len(self.value), len(theta), len(s))
        for value, (a, b), (x, y), angle in self._each():
            r2 = (a * torch.cos(theta - angle)).square() + (b * torch.sin(theta - angle)).square()
            t = s - (x * torch.cos(theta) + y * torch.sin(theta))
            sinogram += 2 * value * a * b / r2 * (r2 - t.square()).clamp_min(0).sqrt()
        return sinogram[:, None]

    def to(self, device: torch.device | str) -> Ellipses:
        """The same phantoms on another `device`."""
        return Ellipses(*(part.to(device) for part in (self.value, self.half_axes_mm, self.centre_mm, self.angle_deg)))

    def __len__(self) -> int:
        return len(self.value)

    def _each(self):
        """Ellipse by ellipse, of all phantoms at once, shaped to meet a grid."""
        at_grid = lambda part: part[:, None, None]
        for i in range(self.value.shape[1]):
            yield (at_grid(self.value[:, i]), [at_grid(axis) for axis in self.half_axes_mm[:, i].T],
                   [at_grid(place) for place in self.centre_mm[:, i].T], at_grid(torch.deg2rad(self.angle_deg[:, i])))


def shepp_logan(width_mm: Number = WIDTH_MM, visible: bool = False) -> Ellipses:
    r"""The head of Shepp and Logan in a square of this width: skull, brain, ventricles and lesions.

    Shapes: one phantom of ten ellipses; x runs to its right, y to its front.
    Units: `width_mm` in mm; attenuation relative to water, so a value v is $1000 (v - 1)$ HU: skull 1000, brain 20,
    ventricles 0, lesions 30 to 40. `visible` gives Toft's values instead, 0..1 and of no physical meaning, in which all
    of it can be seen.
    Errors: ValueError for a width outside 1..10000 mm.
    Source: Shepp and Logan 1974, table 1, doi:10.1109/TNS.1974.6499235; Toft 1996, table B.3. Chapter 11.

    >>> head = shepp_logan().image(64, 200 / 64)
    >>> head.shape, head.max().item(), round(head[0, 0, 32, 32].item(), 2)          # skull, brain
    (torch.Size([1, 1, 64, 64]), 2.0, 1.02)
    """
    width_mm = check_number("width_mm", width_mm, least=1, most=10000, unit="mm")
    value, a, b, x, y, angle = torch.tensor(_SHEPP_LOGAN).T
    half = width_mm / 2
    return Ellipses((torch.tensor(_VISIBLE) if visible else value)[None], torch.stack([a, b], -1)[None] * half,
                    torch.stack([x, y], -1)[None] * half, angle[None])


def random_ellipses(batch: int | np.integer, inserts: int | np.integer = 8, *, width_mm: Number = WIDTH_MM,
                    generator: Generator) -> Ellipses:
    r"""Bodies of water with inserts: what a network may learn from, while `shepp_logan` tests it.

    Shapes: `batch` phantoms of a body and `inserts` ellipses within it, which may overlap.
    Units: `width_mm` in mm, of the square in which they lie; attenuation relative to water: the body is 1, inserts add
    -0.1..0.1, or, one in four, a bone's 0.3..0.8. Drawn from the `generator`, on its device.
    No batch gives none, no insert a body alone.
    Errors: ValueError for negative numbers, a width outside 1..10000 mm; TypeError without a generator. Chapter 11.

    >>> random_ellipses(4, 8, generator=torch.Generator().manual_seed(0)).image(64, 200 / 64).shape
    torch.Size([4, 1, 64, 64])
    """
    batch, inserts = check_whole("batch", batch), check_whole("inserts", inserts)
    width_mm = check_number("width_mm", width_mm, least=1, most=10000, unit="mm")
    half = width_mm / 2

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * _random(torch.rand, shape, generator)

    body = uniform(0.6, 0.9, batch, 1, 2)
    soft, bone = uniform(-0.1, 0.1, batch, inserts), uniform(0.3, 0.8, batch, inserts)
    value = torch.where(uniform(0, 1, batch, inserts) < 0.25, bone, soft)
    axes = uniform(0.03, 0.2, batch, inserts, 2)
    # in the direction and at the distance that keep the insert within the body, however it is turned
    direction = uniform(0, 2 * math.pi, batch, inserts)
    room = body - axes.amax(-1, keepdim=True)
    centre = room * uniform(0, 1, batch, inserts, 1).sqrt() * torch.stack([direction.cos(), direction.sin()], -1)
    turn = torch.cat([torch.zeros(batch, 1, device=centre.device), uniform(0, 180, batch, inserts)], 1)
    return Ellipses(torch.cat([torch.ones_like(turn[:, :1]), value], 1), torch.cat([body, axes], 1) * half,
                    torch.cat([torch.zeros_like(body), centre], 1) * half, turn)


def cysts(size: int | np.integer, pixel_mm: Number | Grid, *,
          levels_db: Sequence[float] | np.ndarray | Tensor = (-math.inf, -12, -6, 6, 12)) -> Float[Tensor, "1 1 n n"]:
    r"""A block of tissue with a column of discs, $10^{L / 20}$ as strong an echo as the tissue: for ultrasound.

    Shapes: `(1, 1, N, N)`, N = `size`. The discs stand along the first axis in the order of `levels_db`, and share its
    length equally; a disc's radius is a third of its share.
    Units: echo amplitude, 1 in the tissue; `pixel_mm` is the width of a pixel in mm, or the image's `Grid`; `levels_db`
    in dB, -inf is a cyst, without any echo. No level gives tissue alone.
    Errors: ValueError for a size below 1, a pixel outside 0.001..100 mm, a grid of another size, a level of NaN or
    above 200 dB. Chapter 13.

    >>> cysts(40, 1.0, levels_db=[-math.inf, 20.0])[0, 0, [10, 30], 20]             # the middles of both discs
    tensor([ 0., 10.])
    """
    size = check_whole("size", size, least=1)
    pixel_mm = pixel_width(pixel_mm, (size, size))
    if isinstance(levels_db, str) or not hasattr(levels_db, "__len__"):
        raise TypeError(f"levels_db: expected levels in dB in a row, got {kind_of(levels_db)}")
    levels = levels_db.tolist() if isinstance(levels_db, (np.ndarray, Tensor)) else list(levels_db)
    for level in levels:
        if level != -math.inf:                              # which is a cyst
            check_number("levels_db", level, most=LOUDEST_DB, unit="dB")
    levels = torch.tensor(levels, dtype=torch.float32)
    step = size * pixel_mm / max(len(levels), 1)
    along = (torch.arange(len(levels)) - (len(levels) - 1) / 2) * step
    discs = Ellipses((10 ** (levels / 20) - 1)[None], torch.full((1, len(levels), 2), step / 3),
                     torch.stack([along, torch.zeros_like(along)], -1)[None], torch.zeros(1, len(levels)))
    return (1 + discs.image(size, pixel_mm)).clamp_min(0)


def scatterers(echo: Float[Tensor, "b c *s"], per_voxel: Number, *,
               generator: Generator) -> Float[Tensor, "b c *s"]:
    r"""The scatterers in a voxel, $\sum_{j=1}^N a_j$, with $N \sim \mathrm{Poisson}(\rho)$ and $a_j$ Gaussian.

    $a_j$ has mean 0 and variance $\mathrm{echo}^2 / \rho$, so `echo` is the root mean square of the sum.
    Shapes: `(B, C, *S)` with two or three axes of space, as `echo`. Units: echo amplitude; `per_voxel` is $\rho$.
    With ten or more in a cell of the scanner's resolution speckle is fully developed; with few it is K-distributed.
    Where the echo is 0 there is none. An empty batch gives an empty answer.
    Drawn from the `generator` on its device, so a CPU generator gives the same scatterers to an image on a GPU.
    Errors: TypeError for anything but a float tensor, or without a generator; ValueError for other axes, an echo below
    0 or not finite, a density outside 1e-6..1e6.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404; few scatterers, Jakeman and Pusey 1976,
    doi:10.1109/TAP.1976.1141451. Chapter 13.

    >>> tissue = scatterers(torch.full((1, 1, 256, 256), 2.0), 20.0, generator=torch.Generator().manual_seed(0))
    >>> round(tissue.square().mean().sqrt().item(), 1)
    2.0
    """
    check_float("echo", echo, shape="(B, C, *S)", least=0,
                hint="A standardised (z-scored) image is not an echo amplitude")
    per_voxel = check_number("per_voxel", per_voxel, least=1e-6, most=1e6)
    sum_of_one = _random(torch.randn, echo.shape, generator)
    number = torch.poisson(torch.full_like(sum_of_one, per_voxel), generator)
    # the sum of N Gaussian amplitudes is Gaussian, sqrt(N) as wide
    return echo * (sum_of_one * (number / per_voxel).sqrt()).to(echo)


def _random(draw, shape: Sequence[int], generator: Generator) -> Tensor:
    check_generator(generator)
    return draw(*shape, generator=generator, device=generator.device)
