r"""Ultrasound: from scatterers to a B-mode image, and the statistics of its speckle (chapter 13)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.grid import Grid, Spacing, as_spacing
from medlearn.base.precision import at_least_float32
from medlearn.base.random import normal
from medlearn.base.validation import Number, check_holds, check_number, kind_of
from medlearn.physics._parameters import Numbers, PerImage, check_image, numbers, over_image, per_image
from medlearn.physics.despeckle import blur, check_amplitude, gaussian_kernel

SPEED_MM_PER_US = 1.54                              # of sound in soft tissue
RAYLEIGH_SNR = math.sqrt(math.pi / (4 - math.pi))   # mean over standard deviation of an amplitude: 1.913
FWHM = math.sqrt(8 * math.log(2))                   # full width at half maximum of a Gaussian of sd 1
REACH = 4.0                                         # the pulse ends this many sd from its centre
BAND = 3.0                                          # and its spectrum this many sd from the carrier
NODES = 128                                         # of the integral for the Bessel function K


@dataclass(frozen=True, kw_only=True)
class Pulse:
    r"""A scatterer's echo, the point spread $h = e^{-z^2/2s_z^2 - x^2/2s_x^2 - y^2/2s_y^2} \cos(4\pi f z / c)$.

    Units: `frequency_mhz`, the carrier; the others are full widths at half maximum in mm, along the beam (`axial_mm`),
    across it in the image (`lateral_mm`) and through the slice (`elevation_mm`, in 3D only); c is 1540 m/s.
    Errors: ValueError for a frequency outside 0.5..100 MHz (not Hz), a width outside 0.01..20 mm.
    Source: Bamber and Dickinson 1980, doi:10.1088/0031-9155/25/3/006. Chapter 13.

    >>> [round(step, 3) for step in Pulse(frequency_mhz=5.0).coarsest_mm(2)]
    [0.049, 0.267]
    >>> Pulse().on_grid((0.04, 0.2)).shape
    torch.Size([27, 13])
    """

    frequency_mhz: Number = 5.0
    axial_mm: Number = 0.3
    lateral_mm: Number = 0.6
    elevation_mm: Number = 1.0

    def __post_init__(self):
        check_number("frequency_mhz", self.frequency_mhz, least=0.5, most=100, unit="MHz")
        for field in fields(self)[1:]:
            check_number(field.name, getattr(self, field.name), least=0.01, most=20, unit="mm")

    @property
    def wavenumber(self) -> float:
        """The carrier's cycles for each mm of depth, which sound passes twice: there and back."""
        return 2 * self.frequency_mhz / SPEED_MM_PER_US

    def coarsest_mm(self, dim: int, angle_deg: float = 0.0) -> list[float]:
        """The coarsest grid that still samples the pulse, by Nyquist's theorem, when it is turned by `angle_deg`.

        Shapes: a step for each of `dim` axes: depth, lateral and, with three, elevation. Units: mm.
        """
        s_z, s_x, s_y = (FWHM / (2 * math.pi * w) for w in (self.axial_mm, self.lateral_mm, self.elevation_mm))
        c, s = math.cos(math.radians(angle_deg)), abs(math.sin(math.radians(angle_deg)))
        edges = [self.wavenumber * c + BAND * math.hypot(s_z * c, s_x * s),
                 self.wavenumber * s + BAND * math.hypot(s_z * s, s_x * c), BAND * s_y]
        return [1 / (2 * edge) for edge in edges[:dim]]

    def on_grid(self, spacing_mm: Spacing | Grid, angle_deg: float = 0.0) -> Float[Tensor, "*k"]:
        r"""The pulse as a kernel of unit energy, $\sum h^2 = 1$, its centre in the middle; turned by `angle_deg`.

        Shapes: an odd number of voxels along each axis of `spacing_mm`: depth, lateral and, in 3D, elevation.
        Units: mm; `angle_deg` in degrees, within the image's plane.
        """
        steps = as_spacing(spacing_mm, (2, 3)).tolist()
        sd = [w / FWHM for w in (self.axial_mm, self.lateral_mm, self.elevation_mm)][:len(steps)]
        turn = math.radians(angle_deg)
        c, s = math.cos(turn), math.sin(turn)
        reach = [REACH * math.hypot(sd[0] * c, sd[1] * s), REACH * math.hypot(sd[1] * c, sd[0] * s)]
        reach += [REACH * width for width in sd[2:]]
        half = [math.ceil(r / step) for r, step in zip(reach, steps)]
        z, x, *y = torch.meshgrid(*(step * torch.arange(-n, n + 1, dtype=torch.float64)
                                    for n, step in zip(half, steps)), indexing="ij")
        z, x = c * z + s * x, c * x - s * z
        exponent = reduce(torch.add, ((axis / width) ** 2 for axis, width in zip((z, x, *y), sd)))
        pulse = torch.exp(-exponent / 2) * torch.cos(2 * math.pi * self.wavenumber * z)
        return pulse / pulse.square().sum().sqrt()


def radio_frequency(scatterers: Float[Tensor, "b 1 *s"], pulse: Pulse, *,
                    spacing_mm: Number | Spacing | Grid,
                    angles_deg: Sequence[Number] | np.ndarray | Tensor = (0.0,)) -> Float[Tensor, "b n *s"]:
    r"""The echo $r = s * h$: every scatterer sends its pulse, and the pulses add with their signs (coherently).

    Shapes: `scatterers (B, 1, *S)` on a grid, depth first; an echo of the `pulse` for each of n `angles_deg`,
    `(B, n, *S)`. Outside the grid there are none. Units: `spacing_mm` is one number, or one for each axis of space, or
    the scatterers' `Grid`; the echo is in those of the scatterers, which have both signs. As
    $\sum h^2 = 1$, scatterers of sd $\sigma$ give an echo of sd $\sigma$.
    An angle steers the pulse within the image's plane, which makes new speckle of the same tissue (`compound`).
    No image gives no echo. Errors: ValueError for other shapes, NaN, no angle or one beyond 45 degrees, a grid of
    another shape or too coarse for the pulse's wave.
    Source: Bamber and Dickinson 1980, doi:10.1088/0031-9155/25/3/006. Chapter 13.

    >>> point = torch.zeros(1, 1, 64, 32)
    >>> point[..., 32, 16] = 1
    >>> rf = radio_frequency(point, Pulse(), spacing_mm=(0.04, 0.15), angles_deg=(-10, 0, 10))
    >>> rf.shape, rf.square().sum((2, 3)).round(decimals=3)
    (torch.Size([1, 3, 64, 32]), tensor([[1., 1., 1.]]))
    """
    check_image("scatterers", scatterers)
    if scatterers.shape[1] != 1:
        raise ValueError(f"scatterers: expected (B, 1, *S), got shape {tuple(scatterers.shape)}")
    space = scatterers.shape[2:]
    if not isinstance(pulse, Pulse):
        raise TypeError(f"pulse: expected a Pulse, got {kind_of(pulse)}")
    spacing, angles_deg = _spacing(spacing_mm, space), _angles(angles_deg)
    for angle in angles_deg:
        for step, coarsest in zip(spacing, pulse.coarsest_mm(len(space), angle)):
            if step > coarsest:
                raise ValueError(f"spacing_mm: expected at most {coarsest:.3g} mm, or the pulse is not sampled along "
                                 f"this axis, got {step:g}")
    x = at_least_float32(scatterers)
    if x.numel() == 0:
        return x.expand(-1, len(angles_deg), *space)
    return torch.cat([_convolve(x, pulse.on_grid(spacing, angle).to(x)) for angle in angles_deg], dim=1)


def envelope(rf: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
    r"""$a = |r + i\,\mathcal{H} r|$: the echo without its carrier, by Hilbert's transform along depth.

    Shapes: as the echo `rf (B, C, *S)`, depth first. Units: the echo's. Of independent scatterers of sd $\sigma$ it is
    Rayleigh with $\sigma$. The gradient at 0 is 0. No image gives none.
    Errors: TypeError for anything but a float tensor, ValueError for other axes, NaN or infinity.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404. Chapter 13.

    >>> carrier = torch.cos(2 * math.pi * torch.arange(16.0) / 4)[None, None, :, None]
    >>> envelope(3 * carrier).round(decimals=3).unique()
    tensor([3.])
    """
    check_image("rf", rf)
    rf, depth = at_least_float32(rf), rf.shape[2]
    if rf.numel() == 0:
        return rf
    weight = rf.new_zeros(depth)                        # negative frequencies 0, positive ones twice
    weight[0], weight[1:(depth + 1) // 2] = 1, 2
    if depth % 2 == 0:
        weight[depth // 2] = 1
    spectrum = torch.fft.fft(rf, dim=2) * weight.reshape(-1, *[1] * (rf.ndim - 3))
    return torch.fft.ifft(spectrum, dim=2).abs()


def log_compress(amplitude: Float[Tensor, "b c *s"], dynamic_range_db: Number = 60.0) -> Float[Tensor, "b c *s"]:
    r"""B-mode: $20 \log_{10}(a / \max a)$ dB, and black for what lies further below the maximum than the dynamic range.

    Shapes: as the `amplitude`; the maximum is each image's. Units: dB, from -`dynamic_range_db` to 0.
    An image of zeros is black; no image gives none.
    Errors: ValueError for a negative amplitude (it has been compressed already), NaN, a range outside 1..200 dB.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404. Chapter 13.

    >>> log_compress(torch.tensor([[[[10.0, 1.0, 0.0]]]]), 60).round()
    tensor([[[[  0., -20., -60.]]]])
    """
    check_amplitude(amplitude)
    dynamic_range_db = check_number("dynamic_range_db", dynamic_range_db, least=1, most=200, unit="dB")
    if amplitude.numel() == 0:
        return amplitude
    a = at_least_float32(amplitude)
    peak = a.flatten(1).amax(1).clamp_min(torch.finfo(a.dtype).tiny)
    share = (a / over_image(peak, a)).clamp_min(10 ** (-dynamic_range_db / 20))
    return (20 * share.log10()).clamp_min(-dynamic_range_db)


def compound(frames: Float[Tensor, "b n *s"]) -> Float[Tensor, "b 1 *s"]:
    r"""$\bar a = \frac{1}{n} \sum_k a_k$: envelopes of the same tissue from n angles (or frequencies), averaged.

    Shapes: `frames (B, n, *S)`, image `(B, 1, *S)`. Units: the frames'. n independent frames raise the point SNR by
    $\sqrt{n}$; frames whose pulses overlap, by less. No image gives none.
    Errors: ValueError for no frame, a negative amplitude (average before the logarithm), NaN.
    Source: Trahey et al. 1986, doi:10.1109/T-UFFC.1986.26827. Chapter 13.

    >>> compound(torch.tensor([1.0, 3.0]).reshape(1, 2, 1, 1))
    tensor([[[[2.]]]])
    """
    check_amplitude(frames)
    if frames.shape[1] == 0:
        raise ValueError(f"frames: expected at least one, got shape {tuple(frames.shape)}")
    return at_least_float32(frames).mean(1, keepdim=True)


def speckle_noise(amplitude: Float[Tensor, "b c *s"], strength: PerImage, *,
                  width_voxels: Number = 0.0, generator: Generator | Sequence[Generator]) -> Float[Tensor, "b c *s"]:
    r"""$a \, |\sqrt{1 - \kappa^2} + \kappa\,g|$, with g complex Gaussian of unit power: speckle, which multiplies.

    Shapes: as the `amplitude`; `strength` $\kappa$ is one number or one for each image: 0 leaves the image, 1 is
    Rayleigh's speckle, between lies Rice's. The mean power stays. Units: `width_voxels` is the sd in voxels of the
    Gaussian that blurs g, the resolution cell; with 0 every voxel is independent. No image gives none.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours; the noise is
    drawn on the generator's device.
    Errors: ValueError for a negative amplitude (a B-mode image in dB, or a standardised one), NaN, a strength outside
    0..1, a width outside 0..50, a wrong number of generators.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404. Chapter 13.

    >>> speckle = speckle_noise(torch.ones(1, 1, 256, 256), 1.0, generator=torch.Generator().manual_seed(0))
    >>> round(speckle.square().mean().item(), 1), round(point_snr(speckle).item(), 1)
    (1.0, 1.9)
    """
    check_amplitude(amplitude)
    width_voxels = check_number("width_voxels", width_voxels, least=0, most=50, unit="voxels")
    strength = per_image("strength", strength, len(amplitude), least=0, most=1)
    if amplitude.numel() == 0:
        return amplitude
    a = at_least_float32(amplitude)
    kernel = gaussian_kernel(width_voxels)
    margin, space = len(kernel) - 1, a.shape[2:]
    g = normal((len(a), 2, a.shape[1], *(n + margin for n in space)), generator).to(a)
    power = 2 * math.fsum(w * w for w in kernel) ** len(space)
    g = blur(g.flatten(0, 1), kernel, pad=False).unflatten(0, (len(a), 2)) / math.sqrt(power)
    kappa = over_image(strength, a).to(a.dtype)
    phasor = torch.complex((1 - kappa.square()).sqrt() + kappa * g[:, 0], kappa * g[:, 1])
    return (a * phasor.abs()).to(amplitude.dtype)


# Statistics ----------------------------------------------------------------------------------------------------------

def point_snr(amplitude: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c"]:
    r"""$\langle a \rangle / \sqrt{\langle a^2 \rangle - \langle a \rangle^2}$: 1.913 for speckle of any mean.

    Shapes: of the `amplitude (B, C, *S)` over space, one number for each channel of each image. Units: none;
    `RAYLEIGH_SNR` is 1.913. A constant image gives inf; no image gives none.
    Errors: ValueError for a negative amplitude, NaN, fewer than two voxels.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404. Chapter 13.

    >>> point_snr(torch.tensor([[[[1.0, 3.0]]]]))
    tensor([[2.]])
    """
    check_amplitude(amplitude)
    if math.prod(amplitude.shape[2:]) < 2:
        raise ValueError(f"amplitude: expected at least two voxels, got shape {tuple(amplitude.shape)}")
    a = at_least_float32(amplitude).flatten(2)
    return a.mean(2) / a.std(2, unbiased=False) if a.numel() else a.sum(2)


def rayleigh_logpdf(a: Numbers, sigma: Numbers) -> Float[Tensor, "..."]:
    r"""$\log p(a) = \log (a / \sigma^2) - a^2 / 2\sigma^2$: the amplitude of many scatterers in every resolution cell.

    Shapes: numbers or tensors that broadcast together. Units: the amplitude `a` and `sigma` in the image's. The
    density at a = 0 is 0, and its logarithm $-\infty$. Empty gives empty.
    Errors: ValueError for a negative a, a sigma that is not positive, NaN.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404. Chapter 13.

    >>> rayleigh_logpdf(torch.tensor([0.0, 1.0, 2.0]), 1.0)         # most likely at sigma
    tensor([   -inf, -0.5000, -1.3069])
    """
    a, sigma = numbers(a=a, sigma=sigma).values()
    check_holds("a", a, (a >= 0) & a.isfinite(), expected="finite values of 0 or more")
    check_holds("sigma", sigma, (sigma > 0) & sigma.isfinite(), expected="positive, finite values")
    return a.log() - 2 * sigma.log() - (a / sigma).square() / 2


def k_logpdf(a: Numbers, alpha: Numbers, sigma: Numbers) -> Float[Tensor, "..."]:
    r"""$\log p(a) = \log (2b / \Gamma(\alpha)) + \alpha \log (ba/2) + \log K_{\alpha-1}(ba)$, $b^2 = 2\alpha/\sigma^2$.

    Few scatterers: it is Rayleigh with a power $\sigma^2$ that itself varies by a Gamma distribution of shape
    $\alpha$ (the scatterers in a resolution cell, in effect) and mean $\sigma^2$; Rayleigh again for large $\alpha$.
    Shapes: numbers or tensors that broadcast together. Units: the amplitude `a` and `sigma` in the image's;
    `alpha` has none.
    Differentiable in all three; it takes some 130 numbers of memory for each of a. Empty gives empty.
    Errors: ValueError for an a that is not positive (at 0 the density of $\alpha < 1/2$ is infinite), a sigma that is
    not positive, an alpha outside 0.05..100 (beyond that it is Rayleigh), NaN.
    Source: Jakeman and Pusey 1978, doi:10.1103/PhysRevLett.40.546. Chapter 13.

    >>> k_logpdf(4.0, torch.tensor([1.0, 100.0]), 1.0)              # few scatterers have the longer tail
    tensor([-4.2385, -6.4571])
    """
    a, alpha, sigma = numbers(a=a, alpha=alpha, sigma=sigma).values()
    for name, value in {"a": a, "sigma": sigma}.items():
        check_holds(name, value, (value > 0) & value.isfinite(), expected="positive, finite values")
    _check_alpha(alpha)
    b = (2 * alpha).sqrt() / sigma
    return (2 * b).log() - alpha.lgamma() + alpha * (b * a / 2).log() + _log_bessel_k(alpha - 1, b * a)


def k_point_snr(alpha: Numbers) -> Float[Tensor, "..."]:
    r"""$[4\alpha\,\Gamma(\alpha)^2 / \pi\,\Gamma(\alpha + 1/2)^2 - 1]^{-1/2}$: the K distribution's mean over its sd.

    Shapes: as `alpha`. Units: none; below Rayleigh's 1.913, and near it for large alpha. Empty gives empty.
    Errors: ValueError for an alpha outside 0.05..100, or NaN.
    Source: as `k_logpdf`. Chapter 13.

    >>> k_point_snr(torch.tensor([1.0, 10.0, 100.0]))
    tensor([1.2688, 1.8094, 1.9020])
    """
    alpha = numbers(alpha=alpha)["alpha"]
    _check_alpha(alpha)
    return (4 * alpha / math.pi * (2 * (alpha.lgamma() - (alpha + 0.5).lgamma())).exp() - 1).rsqrt()


def _log_bessel_k(nu: Tensor, x: Tensor) -> Tensor:
    r"""$\log \int_0^\infty e^{-x \cosh t} \cosh(\nu t)\,dt$ for x > 0, by the trapezoidal rule.

    The integrand is even, analytic and falls off doubly exponentially, so the rule converges geometrically.
    """
    with torch.no_grad():                               # the nodes reach 40 e-folds past the integrand's peak
        reach = torch.asinh(nu.abs() / x) + torch.acosh(1 + 40 / torch.hypot(nu, x))
        step = reach[..., None] / NODES
        t = step * torch.arange(NODES + 1, device=x.device)
        half = torch.zeros(NODES + 1, dtype=x.dtype, device=x.device)
        half[0] = -math.log(2)
    nu, x = nu[..., None], x[..., None]
    log_cosh = torch.logaddexp(nu * t, -nu * t) - math.log(2)
    # cosh t - 1 = 2 sinh^2(t/2), so that nothing cancels where x is large
    return torch.logsumexp(log_cosh - 2 * x * torch.sinh(t / 2).square() + half + step.log(), dim=-1) - x[..., 0]


def _check_alpha(alpha: Tensor) -> None:
    check_holds("alpha", alpha, (alpha >= 0.05) & (alpha <= 100), expected="0.05..100")


def _spacing(spacing_mm: Number | Spacing | Grid, space: torch.Size) -> list[float]:
    if isinstance(spacing_mm, Grid) and spacing_mm.shape != tuple(space):
        raise ValueError(f"spacing_mm: expected a Grid of shape {tuple(space)}, got one of {spacing_mm.shape}")
    if isinstance(spacing_mm, (int, float, np.number)):
        return [check_number("spacing_mm", spacing_mm, above=0, unit="mm")] * len(space)
    return as_spacing(spacing_mm, len(space)).tolist()


def _angles(angles_deg: Sequence[Number] | np.ndarray | Tensor) -> list[float]:
    if isinstance(angles_deg, str) or not hasattr(angles_deg, "__len__"):
        raise TypeError(f"angles_deg: expected numbers in a row, got {kind_of(angles_deg)}")
    angles = angles_deg.tolist() if isinstance(angles_deg, (np.ndarray, Tensor)) else list(angles_deg)
    if not angles:
        raise ValueError("angles_deg: expected at least one, got none")
    return [check_number("angles_deg", angle, least=-45, most=45, unit="degrees") for angle in angles]


def _convolve(image: Tensor, kernel: Tensor) -> Tensor:
    """The linear convolution, with zeros outside, of the image's own size; the kernel's middle is its centre."""
    space = tuple(range(2, image.ndim))
    size = [n + k - 1 for n, k in zip(image.shape[2:], kernel.shape)]
    spectrum = torch.fft.rfftn(image, size, space) * torch.fft.rfftn(kernel, size)
    whole = torch.fft.irfftn(spectrum, size, space)
    for axis, k in zip(space, kernel.shape):
        whole = whole.narrow(axis, k // 2, image.shape[axis])
    return whole
