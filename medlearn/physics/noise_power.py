r"""How noise is spread over frequencies and directions: its power spectrum, its grain and its streaks (chapter 11)."""
from __future__ import annotations

from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.grid import Grid
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import Number, check_tensor, check_whole
from medlearn.physics._parameters import check_image
from medlearn.physics.projection import pixel_width


class Profile(NamedTuple):
    r"""A spectrum in bins: their middles `at`, in 1/mm or in degrees, and the mean `power` in each.

    Shapes: one number for each bin. Units: as `radial_profile` and `angular_profile`. Chapter 11.

    >>> Profile(at=torch.tensor([0.25]), power=torch.tensor([4.0]))
    Profile(at=tensor([0.2500]), power=tensor([4.]))
    """

    at: Float[Tensor, "bins"]
    power: Float[Tensor, "bins"]


def noise_power_spectrum(noise: Float[Tensor, "b c *s"], pixel_mm: Number | Grid) -> Float[Tensor, "*s"]:
    r"""$\mathrm{NPS}(f) = \Delta^d / N \, \langle |\mathrm{DFT}(n - \bar n)|^2 \rangle$, a mean over images.

    Shapes: `noise (B, C, *S)`, images of N pixels of width $\Delta$ along d = 2 or 3 axes of space; the spectrum `(*S)`
    in the order of `torch.fft.fftfreq`.
    Units: `pixel_mm` is the width of a pixel, the same along every axis, or the images' `Grid`; the spectrum has the
    image's squared times mm^d, so HU^2 mm^2 in a slice. Its integral over all frequencies is the variance; white noise
    is flat, at its variance times the pixel's area.
    `noise` is what is left after the signal is taken away, as the difference of two scans divided by $\sqrt 2$.
    Errors: TypeError for anything but a float tensor; ValueError for other axes, NaN, no image, a pixel outside
    0.001..100 mm, a grid of another shape or with voxels of unequal edges.
    Source: Siewerdsen et al. 2002, doi:10.1118/1.1513158. Chapter 11.

    >>> noise = 10 * torch.randn(100, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> round(noise_power_spectrum(noise, 0.5).mean().item())       # 10 ** 2 * 0.5 ** 2
    25
    """
    check_image("noise", noise)
    if noise.numel() == 0:
        raise ValueError(f"noise: expected at least one image to take the mean of, got shape {tuple(noise.shape)}")
    pixel_mm = _cube_width(pixel_mm, noise.shape[2:])
    noise = at_least_float32(noise)
    space = tuple(range(2, noise.ndim))
    power = torch.fft.fftn(noise - noise.mean(space, keepdim=True), dim=space).abs().square().mean((0, 1))
    return power * (pixel_mm ** len(space) / power.numel())


def radial_profile(spectrum: Float[Tensor, "*s"], pixel_mm: Number | Grid, *,
                   bins: int | np.integer = 32) -> Profile:
    r"""The spectrum's mean over directions, by frequency from 0 to $1 / 2\Delta$: in CT a ramp that the window ends.

    Shapes: a `spectrum (*S)` of `noise_power_spectrum`, in `bins` of one width. Units: 1/mm, and the spectrum's;
    `pixel_mm` as there. A bin without a frequency in it has NaN.
    Errors: ValueError for fewer than 1 bin, a pixel outside 0.001..100 mm.
    Source: as `noise_power_spectrum`. Chapter 11.

    >>> radial_profile(torch.ones(8, 8), 0.5, bins=2)
    Profile(at=tensor([0.2500, 0.7500]), power=tensor([1., 1.]))
    """
    check_tensor("spectrum", spectrum, dtype="float", shape="(*S)")
    pixel_mm = _cube_width(pixel_mm, spectrum.shape)
    frequency = reduce(torch.add, (f.square() for f in _frequencies(spectrum))).sqrt()
    at, power = _binned(spectrum, frequency, frequency > 0, 0.5, bins)
    return Profile(at / pixel_mm, power)


def angular_profile(spectrum: Float[Tensor, "nx ny"], bins: int | np.integer = 36) -> Profile:
    r"""The spectrum's mean over frequencies, by the direction $\arctan(f_y / f_x)$ along which the noise varies.

    Shapes: a `spectrum (Nx, Ny)` of `noise_power_spectrum`, in `bins` of one width.
    Units: degrees of 0..180, and the spectrum's.
    Round noise is flat. Streaks along one direction are a peak at right angles to it, since across them the noise
    varies. A bin without a frequency in it has NaN. Errors: ValueError for no 2D spectrum, fewer than 1 bin.
    Source: anisotropic noise behind dense paths, Kachelriess et al. 2001, doi:10.1118/1.1358303. Chapter 11.

    >>> spectrum = torch.zeros(8, 8)
    >>> spectrum[1:, 0] = 1                 # noise that varies along x alone: streaks along y
    >>> angular_profile(spectrum, bins=2)
    Profile(at=tensor([ 0., 90.]), power=tensor([0.3043, 0.0000]))
    """
    check_tensor("spectrum", spectrum, dtype="float", shape="(Nx, Ny)")
    bins = check_whole("bins", bins, least=1)
    fx, fy = _frequencies(spectrum)
    radius = (fx.square() + fy.square()).sqrt()
    direction = torch.rad2deg(torch.atan2(fy, fx)) + 90 / bins          # a bin's middle, not its edge, is at 0
    at, power = _binned(spectrum, direction % 180, (radius > 0) & (radius <= 0.5), 180.0, bins)
    return Profile(at - 90 / bins, power)


def _cube_width(pixel_mm: Number | Grid, shape: torch.Size) -> float:
    if isinstance(pixel_mm, Grid) and max(pixel_mm.spacing_mm) > 1.001 * min(pixel_mm.spacing_mm):
        raise ValueError(f"pixel_mm: expected the same width along every axis, got a Grid of {pixel_mm.spacing_mm} mm")
    return pixel_width(pixel_mm, shape)


def _frequencies(spectrum: Tensor) -> list[Tensor]:
    """Cycles in a pixel along each axis."""
    axes = [torch.fft.fftfreq(n, device=spectrum.device) for n in spectrum.shape]
    return list(torch.meshgrid(*axes, indexing="ij"))


def _binned(spectrum: Tensor, place: Tensor, within: Tensor, end: float,
            bins: int | np.integer) -> tuple[Tensor, Tensor]:
    bins = check_whole("bins", bins, least=1)
    index = (place * (bins / end)).long()
    within = within & (index < bins)
    index, values = index[within], spectrum[within]
    total = values.new_zeros(bins).index_add(0, index, values)
    middles = (torch.arange(bins, device=spectrum.device) + 0.5) * (end / bins)
    return middles, total / torch.bincount(index, minlength=bins)
