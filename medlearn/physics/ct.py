r"""Computed tomography: Hounsfield units, the photons that are counted, and the noise of a lower dose (chapter 11)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor
from torch.nn import functional as F

from medlearn.base.grid import Grid
from medlearn.base.precision import at_least_float32
from medlearn.base.random import normal
from medlearn.base.validation import (Number, check_choice, check_finite, check_float, check_holds, check_number,
                                      check_same, check_tensor, kind_of)
from medlearn.physics._parameters import PerImage, over_image, per_image
from medlearn.physics.projection import PIXEL_RANGE_MM, WINDOWS, ParallelBeam, pixel_width

MU_WATER_PER_MM = 0.0193        # at 70 keV, about the mean of a beam of 120 kV
HU_RANGE = (-1500.0, 40000.0)   # air with its noise, and metal on an extended scale
LARGEST_MU_PER_MM = 5.0         # lead has about 4
LARGEST_LINE_INTEGRAL = 50.0    # 2.6 m of water: no dose sends a photon through that
MOST_PHOTONS = 1e12             # in a ray; a scanner has about a million
MANY = 10                       # counts from which on Stirling's series for N! is right to 1e-10
VIEWS = 180                     # of the scan that `low_dose` imagines
SLAB = 16                       # slices of a volume that `low_dose` has in hand at a time


class LogCounts(NamedTuple):
    r"""What `log_transform` answers: the measured `line_integrals` and the `variance` of each.

    Shapes: both as the counts. Units: none. The variance is infinite where no photon arrived. Chapter 11.

    >>> log_transform(torch.tensor([[1000.0, 0.0]]), 1000.0).variance
    tensor([[0.0010,    inf]])
    """

    line_integrals: Float[Tensor, "b *s"]
    variance: Float[Tensor, "b *s"]


# Hounsfield units ----------------------------------------------------------------------------------------------------

def hu_to_attenuation(image_hu: Float[Tensor, "..."],
                      mu_water_per_mm: Number = MU_WATER_PER_MM) -> Float[Tensor, "..."]:
    r"""Attenuation from Hounsfield units, $\mu = \mu_w (1 + \mathrm{HU} / 1000)$: water is 0 HU, air -1000 HU.

    Shapes: any. Units: `image_hu` in HU, `mu_water_per_mm` and the answer in 1/mm. Below -1000 HU, where
    only noise leads, attenuation is negative. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for NaN, values outside -1500..40000 HU (such as the
    padding beyond the field of view), and for an image that varies by less than 20 HU about 0, which is one in other
    units.
    Source: Hounsfield 1973, doi:10.1259/0007-1285-46-552-1016; 0.0193/mm, Hubbell and Seltzer 1995, NISTIR 5632.
    Chapter 11.

    >>> hu_to_attenuation(torch.tensor([-1000.0, 0.0, 1000.0]))
    tensor([0.0000, 0.0193, 0.0386])
    """
    _check_hu(image_hu)
    mu_water_per_mm = check_number("mu_water_per_mm", mu_water_per_mm, least=0.001, most=1, unit="per mm")
    return mu_water_per_mm * (1 + at_least_float32(image_hu) / 1000)


def attenuation_to_hu(mu_per_mm: Float[Tensor, "..."],
                      mu_water_per_mm: Number = MU_WATER_PER_MM) -> Float[Tensor, "..."]:
    r"""$\mathrm{HU} = 1000 \, (\mu - \mu_w) / \mu_w$, back from attenuation to Hounsfield units.

    Shapes: any. Units: `mu_per_mm` and `mu_water_per_mm` in 1/mm, the answer in HU. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for NaN, values beyond 5/mm either way (no body has
    that), water outside 0.001..1 per mm.
    Source: as `hu_to_attenuation`. Chapter 11.

    >>> attenuation_to_hu(torch.tensor([0.0, 0.0193, 0.0386])).round()
    tensor([-1000.,     0.,  1000.])
    """
    check_float("mu_per_mm", mu_per_mm, most=LARGEST_MU_PER_MM, least=-LARGEST_MU_PER_MM,
                 hint="Attenuation is in 1/mm; an image in HU goes through hu_to_attenuation first")
    mu_water_per_mm = check_number("mu_water_per_mm", mu_water_per_mm, least=0.001, most=1, unit="per mm")
    return 1000 * (at_least_float32(mu_per_mm) - mu_water_per_mm) / mu_water_per_mm


# Photons -------------------------------------------------------------------------------------------------------------

def expected_counts(line_integrals: Float[Tensor, "b *s"], i0: PerImage) -> Float[Tensor, "b *s"]:
    r"""Beer-Lambert: of $I_0$ photons, $\bar N = I_0 e^{-p}$ come through on average.

    Shapes: the first axis of `line_integrals` is the batch; `i0` is one number or one for each image.
    Units: photons in each ray; line integrals have none. An empty batch gives an empty answer.
    Errors: TypeError for anything but a float tensor; ValueError for NaN, line integrals beyond 50 either way (an image
    in HU was projected, or one in 1/cm with a pixel in mm), an `i0` that is not above 0 and at most 1e12.
    Source: Beer 1852, doi:10.1002/andp.18521620505. Chapter 11.

    >>> expected_counts(torch.tensor([[0.0, 1.0]]), 1000.0)
    tensor([[1000.0000,  367.8795]])
    """
    check_float("line_integrals", line_integrals, most=LARGEST_LINE_INTEGRAL, least=-LARGEST_LINE_INTEGRAL,
                 hint="An image in HU goes through hu_to_attenuation before it is projected")
    line_integrals = at_least_float32(line_integrals)
    return over_image(_photons(i0, line_integrals), line_integrals) * torch.exp(-line_integrals)


def photon_counts(line_integrals: Float[Tensor, "b *s"], i0: PerImage, *, electronic_sd: PerImage = 0.0,
                  generator: Generator | Sequence[Generator]) -> Float[Tensor, "b *s"]:
    r"""What the detector reads: $N = \mathrm{Poisson}(I_0 e^{-p}) + \mathcal{N}(0, \sigma_e^2)$.

    Shapes: the first axis of `line_integrals` is the batch; `i0` and `electronic_sd` are one number or one for each
    image.
    Units: photons; `electronic_sd` too, for the noise of the electronics. Without it the counts are whole numbers.
    A dense path starves: a ray may bring no photon at all, and with electronic noise its reading may be below 0.
    Nothing is cut off here; `log_transform` says what becomes of it. An empty batch gives an empty answer.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours. Counts are
    drawn on the generator's device, so a CPU generator gives the same counts to a sinogram on a GPU.
    Errors: as `expected_counts`; ValueError for an `electronic_sd` that is negative or above 1e12.
    Source: Poisson and Gaussian parts, Whiting et al. 2006, doi:10.1118/1.2230762. Chapter 11.

    >>> counts = photon_counts(torch.zeros(1, 100000), 50.0, generator=torch.Generator().manual_seed(0))
    >>> round((counts.var() / counts.mean()).item(), 1)      # Poisson's law: the variance is the mean
    1.0
    """
    mean = expected_counts(line_integrals, i0).detach()
    sigma = over_image(_electronic_sd(electronic_sd, mean), mean)
    electronic = sigma * normal(mean.shape, generator).to(mean)
    return _poisson(mean, generator) + electronic


def log_transform(counts: Float[Tensor, "b *s"], i0: PerImage, *, electronic_sd: PerImage = 0.0) -> LogCounts:
    r"""Measured line integrals $\hat p = \ln(I_0 / N)$ and their variance $(N + \sigma_e^2) / N^2$.

    Shapes: the first axis of `counts` is the batch; `i0` and `electronic_sd` are one number or one for each image.
    Units: photons in, none out. Without electronic noise the variance is $1 / N$. It is of first order, with the count
    in the place of its mean: good to a few percent from 20 photons on.
    A starved ray, with less than one photon, has no logarithm. It is read as if half a photon had come, and its
    variance is infinite: `weighted_least_squares` then gives it no weight, while `fbp` makes a streak of it.
    An empty batch gives empty answers.
    Errors: TypeError for anything but a float tensor; ValueError for NaN, an `i0` or an `electronic_sd` that
    `photon_counts` refuses, counts below 0 that no electronic noise explains (ten standard deviations of it).
    Source: Macovski 1983, Medical Imaging Systems, ch. 3; Thibault et al. 2006, doi:10.1117/12.660281. Chapter 11.

    >>> log_transform(torch.tensor([[1000.0, 0.0]]), 1000.0).line_integrals
    tensor([[0.0000, 7.6009]])
    """
    check_float("counts", counts)
    counts = at_least_float32(counts)
    i0, sigma = (over_image(value, counts) for value in (_photons(i0, counts), _electronic_sd(electronic_sd, counts)))
    check_holds("counts", counts, counts >= -10 * sigma, expected="0 or more, but for electronic noise (electronic_sd)")
    starved = counts < 1
    photons = torch.where(starved, 0.5, counts)
    variance = torch.where(starved, torch.inf, (photons + sigma.square()) / photons.square())
    return LogCounts(torch.log(i0 / photons), variance)


# Likelihoods ---------------------------------------------------------------------------------------------------------

def poisson_nll(expected: Float[Tensor, "*s"], counts: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""$-\ln P(N \mid \bar N) = \bar N - N \ln \bar N + \ln N!$ of each ray; its `.mean()` is a loss.

    Shapes: `expected` and `counts` alike, any. Units: nats. The gradient is $1 - N / \bar N$, and 1 where no photon was
    counted, also at $\bar N = 0$, where the value is 0. Computed in float32 or better, from 10 counts on as
    $N (\delta - \ln(1 + \delta))$ with $\delta = \bar N / N - 1$, and $\ln N! - N \ln N + N$ by Stirling's series: in
    float32 the terms above, millions each, would leave no decimal place. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for shapes that differ, NaN, negative counts or means,
    and a mean of 0 where photons were counted, which cannot be.
    Source: Lange and Carson 1984, J Comput Assist Tomogr 8:306-316. Chapter 11.

    >>> poisson_nll(torch.tensor([0.5, 1.0, 2.0]), torch.ones(3))       # least where the mean is the count
    tensor([1.1931, 1.0000, 1.3069])
    """
    check_float("expected", expected, least=0)
    check_float("counts", counts, least=0, hint="Readings with electronic noise go to weighted_least_squares")
    check_same("counts", counts, like=expected, whose="expected")
    check_holds("expected", expected, (expected > 0) | (counts == 0),
                expected="a mean above 0 where photons were counted")
    expected, counts = at_least_float32(expected), at_least_float32(counts)
    # where nothing was counted there is no logarithm to take, and no 0 * inf in the gradient
    log_mean = torch.where(counts > 0, expected, 1).log()
    few = expected - counts * log_mean + torch.lgamma(counts + 1)
    are_many = counts >= MANY
    n, mean = (torch.where(are_many, value, MANY) for value in (counts, expected))
    excess = (mean - n) / n
    log_ratio = torch.where(excess.abs() < 0.5, excess.clamp_min(-0.5).log1p(), (mean / n).log())
    stirling = (2 * math.pi * n).log() / 2 + (1 - (1 - 2 / 7 / n.square()) / 30 / n.square()) / (12 * n)
    return torch.where(are_many, n * (excess - log_ratio) + stirling, few)


def weighted_least_squares(line_integrals: Float[Tensor, "*s"], measured: Float[Tensor, "*s"], *,
                           variance: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""$(p - \hat p)^2 / (2 \, \mathrm{Var}\,\hat p)$ of each ray: the likelihood to second order.

    Shapes: `line_integrals`, `measured` and `variance` alike, any. The last two are those of `log_transform`; a ray of
    infinite variance counts for nothing, and has no gradient. Units: none; the `.mean()` is a loss. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for shapes that differ, NaN, a variance that is not
    positive.
    Source: Sauer and Bouman 1993, doi:10.1109/78.193196. Chapter 11.

    >>> weighted_least_squares(torch.ones(2), torch.tensor([1.5, 9.0]), variance=torch.tensor([0.125, torch.inf]))
    tensor([1., 0.])
    """
    check_float("line_integrals", line_integrals)
    check_float("measured", measured)
    check_tensor("variance", variance, dtype="float")
    for name, value in {"measured": measured, "variance": variance}.items():
        check_same(name, value, like=line_integrals, whose="line_integrals")
    check_holds("variance", variance, variance > 0, expected="a positive number, or infinity")
    return (at_least_float32(line_integrals) - measured).square() / (2 * variance)


# Augmentation --------------------------------------------------------------------------------------------------------

def low_dose(image_hu: Float[Tensor, "b c *s"], dose_fraction: PerImage, *,
             pixel_mm: PerImage | Grid | Sequence[Grid], i0: PerImage = 1e6, electronic_sd: PerImage = 0.0,
             window: str = "hann", generator: Generator | Sequence[Generator]) -> Float[Tensor, "b c *s"]:
    r"""An image at a fraction $\alpha$ of its dose: $x + \mathrm{FBP}(n)$, n being the noise that is missing.

    $\mathrm{Var}\, n = (1 - \alpha) / \alpha \bar N$, where $\bar N$ photons come through at full dose.
    Shapes: `image_hu (B, C, *S)` with array axes (x, y), or (x, y, z): the *last* axis runs along the patient, and each
    slice across it is a scan. The parameters are one number or one for each image; `dose_fraction` is $\alpha$.
    Units: HU, and mm for `pixel_mm`, the width of a pixel, square in x and y; or the images' `Grid`, or a list of one
    for each, as `Scan.grids`: then it is checked, too, that the last axis is the patient's. Without a grid only the
    shape can show it: a stack of square slices along the first axis is refused, unless a grid says that it is right.
    `i0` is the photons in a ray at full dose, in a scan of 180 views; `electronic_sd` the electronics' noise in
    photons, which adds $\frac{\sigma_e^2}{\bar N^2}(\alpha^{-2} - 1)$; `window` is the reconstruction's, in `WINDOWS`.
    Only the missing noise is added, so the image's own is not counted twice; it is coloured and streaked as in a
    scan, and stronger behind dense paths. A ray with less than one photon left gets the noise of one, since
    fewer have no logarithm. The gradient takes the noise for a constant: that of the answer is that of the image.
    Fraction 1 gives the image itself, an empty batch an empty one; half precision is computed in float32.
    The imagined scanner's matrix is kept for the next image of this size, 110 MB for 256 x 256 pixels and 430 MB for
    512 x 512 on each device: one size at a time, and until `forget_scanner()`.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours.
    Errors: as `hu_to_attenuation`; ValueError for other axes, a fraction outside 1e-6..1, a pixel outside
    0.001..100 mm, a grid of another shape, of pixels that are not square or of slices along another axis, an `i0` or
    an `electronic_sd` that `photon_counts` refuses, a window that is not there.
    Source: Yu et al. 2012, doi:10.1097/RCT.0b013e318258e891; Zabic et al. 2013, doi:10.1118/1.4789628. Chapter 11.

    >>> water = torch.zeros(1, 1, 32, 32)
    >>> half, fifth = (low_dose(water, dose, pixel_mm=8.0, generator=torch.Generator().manual_seed(0))
    ...                for dose in (0.5, 0.2))
    >>> round((fifth.std() / half.std()).item(), 3)         # sqrt((1 - dose) / dose) is 2 and 1
    2.0
    """
    check_tensor("image_hu", image_hu, dtype="float", shape="(B, C, *S)")
    _check_hu(image_hu)
    check_choice("window", window, list(WINDOWS))
    volume = image_hu.ndim == 5
    slices = image_hu.movedim(-1, 2).flatten(1, 2) if volume else image_hu
    values = at_least_float32(slices.detach())
    alpha, pixel, photons, sigma = (over_image(value.to(values), values) for value in (
        per_image("dose_fraction", dose_fraction, len(values), least=1e-6, most=1), _slice_pixels(pixel_mm, image_hu),
        _photons(i0, values), _electronic_sd(electronic_sd, values)))
    if image_hu.numel() == 0:
        return image_hu

    def missing_noise(part: Tensor) -> Tensor:
        x, y = part.shape[2:]
        scanner = _scanner(max(x, y))
        square = F.pad(1 + part / 1000, (0, max(x - y, 0), 0, max(y - x, 0)))       # with air; in units of water's mu
        line_integrals = scanner.project(square) * MU_WATER_PER_MM * pixel
        mean = torch.maximum(photons * torch.exp(-line_integrals), 1 / alpha)
        variance = (1 / alpha - 1) / mean + (alpha ** -2 - 1) * (sigma / mean).square()
        noise = variance.sqrt() * normal(mean.shape, generator).to(mean)
        return scanner.fbp(noise, window)[..., :x, :y] * (1000 / MU_WATER_PER_MM) / pixel

    noisy = slices + torch.cat([missing_noise(part) for part in values.split(SLAB, dim=1)], dim=1).to(slices.dtype)
    return noisy.unflatten(1, (image_hu.shape[1], -1)).movedim(2, -1) if volume else noisy


def forget_scanner() -> None:
    r"""Gives back the memory of the scanner that `low_dose` keeps; the next `low_dose` builds it again. Chapter 11.

    >>> forget_scanner()
    """
    _scanner.cache_clear()


@lru_cache(maxsize=1)
def _scanner(size: int) -> ParallelBeam:
    return ParallelBeam(size, torch.arange(VIEWS) * 180 / VIEWS)


def _poisson(mean: Tensor, generator: Generator | Sequence[Generator]) -> Tensor:
    """Counts from the batch's generator, or from each image's own."""
    if isinstance(generator, Generator):
        return torch.poisson(mean.to(generator.device), generator).to(mean)
    return torch.stack([_poisson(m, g) for m, g in zip(mean, generator)]) if len(mean) else mean


# What is refused -----------------------------------------------------------------------------------------------------

def _check_hu(image_hu: Tensor) -> None:
    check_tensor("image_hu", image_hu, dtype="float")
    if image_hu.numel() == 0:
        return
    extremes = torch.stack(image_hu.detach().aminmax())
    check_finite("image_hu", extremes, least=HU_RANGE[0], most=HU_RANGE[1],
                 hint="What a scanner writes outside its field of view is not measured: put -1000 HU (air) there")
    low, high = extremes.tolist()
    if low < high and max(-low, high) < 20:
        raise ValueError(f"image_hu: expected Hounsfield units (water 0, air -1000), got {low:.4g}..{high:.4g}, as of "
                         f"attenuation in 1/mm or of a standardised image: standardise after this")


def _photons(i0: PerImage, rays: Tensor) -> Tensor:
    return per_image("i0", i0, len(rays), above=0, most=MOST_PHOTONS).to(rays)


def _electronic_sd(electronic_sd: PerImage, rays: Tensor) -> Tensor:
    return per_image("electronic_sd", electronic_sd, len(rays), least=0, most=MOST_PHOTONS).to(rays)


def _slice_pixels(pixel_mm: PerImage | Grid | Sequence[Grid], image: Tensor) -> Tensor:
    """The width of the pixels across the patient, of each image."""
    space = tuple(image.shape[2:])
    if isinstance(pixel_mm, Sequence) and not isinstance(pixel_mm, str):
        if len(pixel_mm) != len(image) or not all(isinstance(grid, Grid) for grid in pixel_mm):
            raise ValueError(f"pixel_mm: expected a number of mm, or a Grid for each of {len(image)} images, "
                             f"got {len(pixel_mm)} of {', '.join(dict.fromkeys(map(kind_of, pixel_mm))) or 'nothing'}")
        return torch.tensor([_slice_pixel(grid, space) for grid in pixel_mm])
    if isinstance(pixel_mm, Grid):
        return torch.tensor(_slice_pixel(pixel_mm, space)).expand(len(image))
    if len(space) == 3 and space[0] != space[1] == space[2]:
        raise ValueError(f"image_hu: expected (B, C, x, y, z), slices along the last axis, got {space}, as of slices "
                         "along the first: move that axis to the end, or give the volume's Grid as pixel_mm")
    low, high = PIXEL_RANGE_MM
    return per_image("pixel_mm", pixel_mm, len(image), least=low, most=high, unit="mm")


def _slice_pixel(grid: Grid, space: tuple[int, ...]) -> float:
    if set(grid.orientation[:2]) & set("IS"):
        raise ValueError(f"pixel_mm: expected a Grid whose first two axes lie across the patient, got orientation "
                         f"{grid.orientation}: move the axis along the patient to the end, or this is no axial slice")
    return pixel_width(grid, space)
