r"""How noise is spread over frequencies and directions: its power spectrum, its grain and its streaks (chapter 9)."""
from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.physics._inputs import at_least_float32, check_image, check_number
from medlearn.physics.projection import PIXEL_RANGE_MM


class Profile(NamedTuple):
    """Mean power in each bin, and the bins' middles: frequencies in 1/mm, or directions in degrees. Chapter 9."""

    at: Float[Tensor, "bins"]
    power: Float[Tensor, "bins"]


def noise_power_spectrum(noise: Float[Tensor, "b c *s"], pixel_mm: float) -> Float[Tensor, "*s"]:
    r"""$\mathrm{NPS}(f) = \frac{\Delta^d}{N} \langle |\mathrm{DFT}(n - \bar n)|^2 \rangle$, the mean over images of N pixels.

    Shapes: noise `(B, C, *S)` with two or three axes of space; the spectrum `(*S)` in the order of
    `torch.fft.fftfreq`.
    Units: the image's squared times mm^d, so HU^2 mm^2 in a slice. Its integral over all frequencies is the
    variance; white noise is flat, at its variance times the pixel's area.
    `noise` is what is left after the signal is taken away, as the difference of two scans divided by $\sqrt 2$.
    Errors: TypeError for what is no float tensor; ValueError for other axes, NaN, no image, a pixel outside
    0.001..100 mm.
    Source: Siewerdsen et al. 2002, doi:10.1118/1.1513158. Chapter 9.
    """
    check_image("noise", noise)
    if noise.numel() == 0:
        raise ValueError(f"noise: expected at least one image to take the mean of, got shape {tuple(noise.shape)}")
    check_number("pixel_mm", pixel_mm, *PIXEL_RANGE_MM, "mm")
    noise = at_least_float32(noise)
    space = tuple(range(2, noise.ndim))
    power = torch.fft.fftn(noise - noise.mean(space, keepdim=True), dim=space).abs().square().mean((0, 1))
    return power * (pixel_mm ** len(space) / power.numel())


def radial_profile(spectrum: Float[Tensor, "*s"], pixel_mm: float, *, bins: int = 32) -> Profile:
    r"""The spectrum's mean over directions, by frequency from 0 to $1 / 2\Delta$: in CT a ramp that the window ends.

    Shapes: a spectrum `(*S)` of `noise_power_spectrum`. Units: 1/mm, and the spectrum's.
    A bin without a frequency in it has NaN. Errors: ValueError for fewer than 1 bin, a pixel outside 0.001..100 mm.
    Source: as `noise_power_spectrum`. Chapter 9.
    """
    check_number("pixel_mm", pixel_mm, *PIXEL_RANGE_MM, "mm")
    frequency = sum(f.square() for f in _frequencies(spectrum)).sqrt()
    at, power = _binned(spectrum, frequency, frequency > 0, 0.5, bins)
    return Profile(at / pixel_mm, power)


def angular_profile(spectrum: Float[Tensor, "nx ny"], bins: int = 36) -> Profile:
    r"""The spectrum's mean over frequencies, by the direction $\arctan(f_y / f_x)$ along which the noise varies.

    Shapes: a spectrum `(Nx, Ny)` of `noise_power_spectrum`. Units: degrees of 0..180, and the spectrum's.
    Round noise is flat. Streaks along one direction are a peak at right angles to it, since across them the noise
    varies. A bin without a frequency in it has NaN. Errors: ValueError for no 2D spectrum, fewer than 1 bin.
    Source: anisotropic noise behind dense paths, Kachelriess et al. 2001, doi:10.1118/1.1358303. Chapter 9.
    """
    if spectrum.ndim != 2:
        raise ValueError(f"spectrum: expected that of a slice, (Nx, Ny), got shape {tuple(spectrum.shape)}")
    fx, fy = _frequencies(spectrum)
    radius = (fx.square() + fy.square()).sqrt()
    direction = torch.rad2deg(torch.atan2(fy, fx)) + 90 / bins          # a bin's middle, not its edge, is at 0
    at, power = _binned(spectrum, direction % 180, (radius > 0) & (radius <= 0.5), 180.0, bins)
    return Profile(at - 90 / bins, power)


def _frequencies(spectrum: Tensor) -> list[Tensor]:
    """Cycles in a pixel along each axis."""
    axes = [torch.fft.fftfreq(n, device=spectrum.device) for n in spectrum.shape]
    return list(torch.meshgrid(*axes, indexing="ij"))


def _binned(spectrum: Tensor, place: Tensor, within: Tensor, end: float, bins: int) -> tuple[Tensor, Tensor]:
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins: expected a positive whole number, got {bins!r}")
    index = (place * (bins / end)).long()
    within = within & (index < bins)
    index, values = index[within], spectrum[within]
    total = values.new_zeros(bins).index_add(0, index, values)
    middles = (torch.arange(bins, device=spectrum.device) + 0.5) * (end / bins)
    return middles, total / torch.bincount(index, minlength=bins)
