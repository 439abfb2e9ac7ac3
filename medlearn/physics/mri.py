r"""Magnetic resonance imaging: signal, coil, k-space, and the noise that is added before the magnitude (chapter 12)."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Generator, Tensor

from medlearn.base.precision import at_least_float32
from medlearn.base.random import normal
from medlearn.base.validation import (Number, check_finite, check_holds, check_number, check_tensor, check_whole,
                                      is_unusual, kind_of)
from medlearn.physics._parameters import Numbers, PerImage, common_dtype, numbers, over_image, per_image

LARGEST_BIAS = 2.0      # standard deviation of the field's logarithm: about a factor of a thousand within the image


def spoiled_gradient_echo(proton_density: Numbers, *, t1_ms: Numbers, t2star_ms: Numbers, tr_ms: Numbers,
                          te_ms: Numbers, flip_deg: Numbers) -> Float[Tensor, "..."]:
    r"""The steady-state signal $\rho \sin\alpha \, (1 - E_1) / (1 - E_1 \cos\alpha) \, e^{-TE/T_2^*}$.

    $\rho$ is the proton density, $\alpha$ the flip angle, $E_1 = e^{-TR/T_1}$ what has not recovered at the next pulse.
    Shapes: numbers or tensors that broadcast together, so that a subject or a voxel may have its own parameters.
    Units: the times `t1_ms`, `t2star_ms`, `tr_ms` (repetition) and `te_ms` (echo) in ms, `flip_deg` in degrees, the
    signal in those of `proton_density`. Half precision is computed in float32 and given back as half.
    Empty tensors give an empty tensor.
    Errors: TypeError for anything but a number or float tensor; ValueError for a negative proton density, times that
    are not positive, a T1 below 5 ms (it may be in seconds), an echo after the repetition, a flip angle outside
    0..180, or what is not finite.
    Source: Ernst and Anderson 1966, doi:10.1063/1.1719961; Haase et al. 1986, doi:10.1016/0022-2364(86)90433-6.
    Chapter 12.

    >>> spoiled_gradient_echo(1.0, t1_ms=800.0, t2star_ms=50.0, tr_ms=20.0, te_ms=4.0, flip_deg=25.0)
    tensor(0.0830)
    """
    values = numbers(proton_density=proton_density, t1_ms=t1_ms, t2star_ms=t2star_ms, tr_ms=tr_ms, te_ms=te_ms,
                     flip_deg=flip_deg)
    _check_times(values, "t2star_ms")
    flip = values["flip_deg"]
    check_holds("flip_deg", flip, (flip >= 0) & (flip <= 180), expected="0..180 degrees")

    pd, t1, t2star, tr, te, flip = values.values()
    flip = torch.deg2rad(flip)
    recovered = -torch.expm1(-tr / t1)                                   # 1 - E1, exact also where TR << T1
    steady = flip.sin() * recovered / (1 - flip.cos() * (1 - recovered))
    signal = pd * steady * torch.exp(-te / t2star)
    return signal.to(common_dtype(proton_density, t1_ms, t2star_ms, tr_ms, te_ms, flip_deg))


def spin_echo(proton_density: Numbers, *, t1_ms: Numbers, t2_ms: Numbers, tr_ms: Numbers,
              te_ms: Numbers) -> Float[Tensor, "..."]:
    r"""The echo of a 90 and a 180 degree pulse, $\rho \, (1 - 2 e^{-(TR - TE/2)/T_1} + e^{-TR/T_1}) \, e^{-TE/T_2}$.

    Shapes: as `spoiled_gradient_echo`. For TE << TR it is $\rho\,(1 - e^{-TR/T_1})\,e^{-TE/T_2}$.
    Units: the times `t1_ms`, `t2_ms`, `tr_ms` (repetition) and `te_ms` (echo) in ms, the signal in those of
    `proton_density`. Empty tensors give an empty tensor.
    Errors: as `spoiled_gradient_echo`.
    Source: Hahn 1950, doi:10.1103/PhysRev.80.580; the 180 degree pulse at TE/2 turns over what had recovered by then.
    Chapter 12.

    >>> spin_echo(1.0, t1_ms=1000.0, t2_ms=torch.tensor([80.0, 2000.0]), tr_ms=5000.0, te_ms=80.0)
    tensor([0.3652, 0.9538])
    """
    values = numbers(proton_density=proton_density, t1_ms=t1_ms, t2_ms=t2_ms, tr_ms=tr_ms, te_ms=te_ms)
    _check_times(values, "t2_ms")
    pd, t1, t2, tr, te = values.values()
    # 1 - 2a + b, exact also where TR << T1
    recovered = torch.expm1(-tr / t1) - 2 * torch.expm1(-(tr - te / 2) / t1)
    return (pd * recovered * torch.exp(-te / t2)).to(common_dtype(proton_density, t1_ms, t2_ms, tr_ms, te_ms))


def inversion_recovery(proton_density: Numbers, *, t1_ms: Numbers, t2_ms: Numbers, tr_ms: Numbers, te_ms: Numbers,
                       ti_ms: Numbers) -> Float[Tensor, "..."]:
    r"""$\rho \, (1 - 2 e^{-TI/T_1} + 2 e^{-(TR - TE/2)/T_1} - e^{-TR/T_1}) \, e^{-TE/T_2}$: an inverted spin echo.

    A 180 degree pulse turns the magnetisation over, and the spin echo reads what has come back after the time TI. A
    tissue passes through 0 at $TI = T_1 \ln 2$ where TR and TE leave it time; FLAIR puts TI where fluid does.
    Shapes: as `spoiled_gradient_echo`. The signal has a sign, and a scanner stores its magnitude.
    Units: the times `t1_ms`, `t2_ms`, `tr_ms` (repetition), `te_ms` (echo) and `ti_ms` (inversion) in ms, the signal in
    those of `proton_density`. Empty tensors give an empty tensor.
    Errors: as `spoiled_gradient_echo`; ValueError where inversion and echo do not fit into the repetition.
    Source: Hajnal et al. 1992, doi:10.1097/00004728-199211000-00001; the spin echo as in `spin_echo`. Chapter 1.

    >>> fluid_and_plaque = torch.tensor([4300.0, 1600.0])
    >>> flair = dict(t2_ms=200.0, tr_ms=9000.0, te_ms=100.0, ti_ms=2500.0)
    >>> inversion_recovery(1.0, t1_ms=fluid_and_plaque, **flair).abs().round(decimals=1)      # fluid is gone
    tensor([0.0000, 0.4000])
    """
    values = numbers(proton_density=proton_density, t1_ms=t1_ms, t2_ms=t2_ms, tr_ms=tr_ms, te_ms=te_ms, ti_ms=ti_ms)
    _check_times(values, "t2_ms")
    pd, t1, t2, tr, te, ti = values.values()
    check_holds("ti_ms", ti, (ti >= 0) & (ti + te < tr), expected="0 or more, and inversion and echo before the next "
                "repetition (ti + te < tr)")
    # 1 - 2a + 2b - c, exact also where all times are << T1
    recovered = torch.expm1(-(tr - te / 2) / t1) * 2 - 2 * torch.expm1(-ti / t1) - torch.expm1(-tr / t1)
    return (pd * recovered * torch.exp(-te / t2)).to(common_dtype(proton_density, t1_ms, t2_ms, tr_ms, te_ms, ti_ms))


def bias_field(shape: Sequence[int | np.integer], strength: PerImage, *, order: int | np.integer = 2,
               generator: Generator | Sequence[Generator], device: torch.device | str | None = None,
               ) -> Float[Tensor, "b 1 *s"]:
    r"""The coil's uneven sensitivity, a smooth factor $\exp \sum_k a_k \prod_d \cos(\pi k_d (i_d + 1/2) / N_d)$.

    Shapes: `shape` is `(B, *S)`, the field `(B, 1, *S)`; `strength` is one number or one for each image.
    Units: `strength` is the standard deviation of the field's logarithm over the image, met exactly (the cosines are
    orthogonal on the grid); its geometric mean is 1. `order` is the highest number of half waves across the image.
    An empty batch gives an empty field; strength 0 gives ones. `device`: where the field is to be,
    or else where `strength` is.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours.
    Errors: ValueError for a shape without 2 or 3 axes of space, an axis not longer than `order`, `order` below 1, a
    strength outside 0..2 or NaN, a wrong number of generators.
    Source: multiplicative model, Sled et al. 1998, doi:10.1109/42.668698. Chapter 12.

    >>> bias_field((4, 64, 64), 0.1, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1, 64, 64])
    """
    order = check_whole("order", order, least=1)
    batch, *space = _batch_and_space(shape, least=order + 1, because=f", longer than order = {order}")
    strength = per_image("strength", strength, batch, least=0, most=LARGEST_BIAS).to(device)
    device = strength.device
    waves = [k for k in product(range(order + 1), repeat=len(space)) if any(k)]
    # sum over the grid of a product of cosines squared is 1/2 for each axis that has a wave
    energy = torch.tensor([0.5 ** sum(n > 0 for n in k) for k in waves])
    amplitude = normal((batch, len(waves)), generator).cpu()
    amplitude = amplitude / (amplitude.square() * energy).sum(1, keepdim=True).sqrt()
    amplitude = (amplitude.to(device) * strength[:, None]).reshape(batch, len(waves), *[1] * len(space))

    cosines = [[torch.cos(math.pi * k * (torch.arange(n, device=device) + 0.5) / n).reshape(
        [-1 if d == axis else 1 for d in range(len(space))]) for k in range(order + 1)] for axis, n in enumerate(space)]
    log_field = torch.zeros(batch, *space, device=device)
    for i, k in enumerate(waves):
        log_field += amplitude[:, i] * math.prod(cosines[axis][n] for axis, n in enumerate(k))
    return log_field.exp()[:, None]


def to_kspace(image: Float[Tensor, "b c *s"] | Complex[Tensor, "b c *s"]) -> Complex[Tensor, "b c *s"]:
    r"""What the scanner measures, $K_k = N^{-1/2} \sum_n S_n e^{-2\pi i\, k \cdot n / N}$, with k = 0 at N // 2.

    Shapes: `image (B, C, *S)` with two or three axes of space. Units: the image's; the transform is unitary, so noise
    has the same standard deviation on both sides. float64 gives complex128, all else complex64. No image gives none.
    Errors: TypeError for anything but a float or complex tensor, ValueError for other axes, NaN or infinity.
    Source: Brown et al. 2014, ch. 9, doi:10.1002/9781118633953. Chapter 12.

    >>> to_kspace(torch.ones(1, 1, 2, 2)).abs()         # a constant has one frequency, 0, at N // 2
    tensor([[[[0., 0.],
              [0., 2.]]]])
    """
    return _centred(torch.fft.fftn, image, _space("image", image))


def from_kspace(kspace: Complex[Tensor, "b c *s"]) -> Complex[Tensor, "b c *s"]:
    r"""The image, $S_n = N^{-1/2} \sum_k K_k e^{2\pi i\, k \cdot n / N}$: the inverse of `to_kspace`, and its adjoint.

    Shapes: `kspace (B, C, *S)`. Units, empty case, errors, source: as `to_kspace`. Chapter 12.

    >>> image = torch.arange(6.0).reshape(1, 1, 2, 3)
    >>> torch.allclose(from_kspace(to_kspace(image)).real, image, atol=1e-5)
    True
    """
    return _centred(torch.fft.ifftn, kspace, _space("kspace", kspace))


def cartesian_mask(shape: Sequence[int | np.integer], fraction: PerImage, *, centre: Number = 0.08,
                   generator: Generator | Sequence[Generator]) -> Bool[Tensor, "b 1 *s"]:
    r"""Which lines of k-space were measured: those of the centre, and others at random, `fraction` of all.

    Shapes: `shape` is `(B, *S)`, the mask `(B, 1, *S)`, on the generator's device; lines are counted along the last
    axis and are whole. `fraction` is one number or one for each image.
    Units: `fraction` and `centre` are shares of the lines, to the nearest line, at least one.
    `mask * to_kspace(image)` is the partial measurement; read back with zeros for the rest, its noise is
    $\sigma \sqrt{\mathrm{fraction}}$.
    An empty batch gives an empty mask; fraction 1 measures all.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours.
    Errors: ValueError for other axes, `centre` outside 0..1, a fraction below `centre` or above 1.
    Source: Lustig et al. 2007, doi:10.1002/mrm.21391. Chapter 12.

    >>> mask = cartesian_mask((1, 2, 64), 0.25, generator=torch.Generator().manual_seed(0))
    >>> mask.shape, mask.sum(-1).tolist()
    (torch.Size([1, 1, 2, 64]), [[[16, 16]]])
    """
    batch, *space = _batch_and_space(shape)
    centre = check_number("centre", centre, least=0, most=1)
    fraction = per_image("fraction", fraction, batch, most=1)
    check_holds("fraction", fraction, fraction >= fraction.new_tensor(centre), expected=f"{centre:g} (the centre) to 1")

    lines = space[-1]
    kept = max(1, round(centre * lines))
    first = lines // 2 - kept // 2
    lot = normal((batch, lines), generator)
    lot[:, first:first + kept] = -math.inf                      # the centre always comes first
    wanted = (fraction.to(lot) * lines).round().clamp_min(kept)
    measured = lot.argsort(1).argsort(1) < wanted[:, None]
    return measured.reshape(batch, 1, *[1] * (len(space) - 1), lines).expand(batch, 1, *space)


def complex_noise(signal: Float[Tensor, "b *s"] | Complex[Tensor, "b *s"], sigma: PerImage, *,
                  generator: Generator | Sequence[Generator]) -> Complex[Tensor, "b *s"]:
    r"""$S + n_1 + i\,n_2$, with $n_1, n_2 \sim N(0, \sigma^2)$: the receiver's noise, in k-space or in the image.

    Shapes: the first axis of `signal` is the batch; a second may hold coils, each with noise of its own. `sigma` is
    one number or one for each image.
    Units: `sigma` is in the signal's, and the same in k-space and in the image (`to_kspace`).
    An empty signal gives an empty signal; sigma 0 gives the signal. `generator`: as `rician_noise`; the magnitude of an
    image's complex noise is its `rician_noise`. float64 gives complex128, all else complex64.
    Errors: TypeError for anything but a float or complex tensor; ValueError for NaN, a sigma that is negative or not
    finite, a wrong number of generators.
    Source: Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618. Chapter 12.

    >>> noisy = complex_noise(torch.zeros(1, 256, 256), 2.0, generator=torch.Generator().manual_seed(0))
    >>> round(noisy.real.std().item(), 1), round(noisy.imag.std().item(), 1)
    (2.0, 2.0)
    """
    _check_signal("signal", signal, "(B, *S)")
    if signal.ndim == 0:
        raise ValueError("signal: expected a batch axis, got a single number")
    sigma = per_image("sigma", sigma, len(signal), least=0)
    signal = at_least_float32(signal)
    noise = normal((len(signal), 2, *signal.shape[1:]), generator).to(signal.device, signal.real.dtype)
    return signal + torch.complex(noise[:, 0], noise[:, 1]) * over_image(sigma, signal).to(signal.real.dtype)


def magnitude(signal: Complex[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    r"""$|S| = \sqrt{\mathrm{Re}(S)^2 + \mathrm{Im}(S)^2}$: what most scanners store; the phase is lost.

    Shapes: as the `signal`. Units: the signal's. The gradient at 0 is 0. No signal gives none.
    Errors: TypeError for what is not complex. Chapter 12.

    >>> magnitude(torch.tensor([3 + 4j]))
    tensor([5.])
    """
    if not isinstance(signal, Tensor) or not signal.is_complex():
        raise TypeError(f"signal: expected a complex tensor, got {kind_of(signal)}")
    return signal.abs()


def sum_of_squares(coils: Float[Tensor, "b c *s"] | Complex[Tensor, "b c *s"]) -> Float[Tensor, "b 1 *s"]:
    r"""One image of several coils, $M = \sqrt{\sum_{c=1}^{C} |S_c|^2}$. Of complex noise it is non-central chi.

    Shapes: `coils (B, C, *S)`, image `(B, 1, *S)`. Units: the signal's.
    With noise of $\sigma$ in each coil, $M^2/\sigma^2$ is non-central $\chi^2$ with 2C degrees of freedom and
    $\sum_c |S_c|^2/\sigma^2$; one coil gives Rice. The gradient at 0 is 0. No image gives none.
    Errors: TypeError for anything but a float or complex tensor; ValueError for other axes, no coil, NaN or infinity.
    Source: Roemer et al. 1990, doi:10.1002/mrm.1910160203; Constantinides et al. 1997,
    doi:10.1002/mrm.1910380524. Chapter 12.

    >>> sum_of_squares(torch.tensor([3.0, 4.0]).reshape(1, 2, 1, 1))
    tensor([[[[5.]]]])
    """
    _space("coils", coils)
    if coils.shape[1] == 0:
        raise ValueError(f"coils: expected at least one, got shape {tuple(coils.shape)}")
    return torch.linalg.vector_norm(at_least_float32(coils), dim=1, keepdim=True)


def rician_noise(magnitude: Float[Tensor, "b *s"], sigma: PerImage, *,
                 generator: Generator | Sequence[Generator]) -> Float[Tensor, "b *s"]:
    r"""The magnitude after noise in both channels: $\sqrt{(A + n_1)^2 + n_2^2}$, with $n_1, n_2 \sim N(0, \sigma^2)$.

    Shapes: the first axis of `magnitude`, an image, is the batch; `sigma` is one number or one for each image.
    Units: `sigma` is in the image's units; with white matter at 1 it is the noise as a fraction of its signal.
    An empty image gives an empty image; sigma 0 gives the image itself.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours. The noise is
    drawn on the generator's device, so a CPU generator gives the same noise to an image on a GPU. Half precision is
    computed in float32, where the squares have room.
    Errors: TypeError for anything but a float tensor; ValueError for a magnitude below 0 (a standardised image: add
    noise before standardising it) or not finite, a sigma that is negative or not finite, a wrong number of generators.
    Source: Gudbjartsson and Patz 1995, eq. 1, doi:10.1002/mrm.1910340618. Chapter 12.

    >>> air = rician_noise(torch.zeros(1, 256, 256), 4.0, generator=torch.Generator().manual_seed(0))
    >>> round(air.mean().item(), 1)         # not 0 but sigma sqrt(pi / 2), since no magnitude is negative
    5.0
    """
    check_tensor("magnitude", magnitude, dtype="float")
    if magnitude.ndim == 0:
        raise ValueError("magnitude: expected a batch axis, got a single number")
    sigma = per_image("sigma", sigma, len(magnitude), least=0)
    check_finite("magnitude", magnitude, least=0, hint="A standardised (z-scored) image is not a magnitude: add the "
                 "noise first, standardise after")
    if magnitude.numel() == 0:
        return magnitude
    clean = at_least_float32(magnitude)
    noise = normal((len(clean), 2, *clean.shape[1:]), generator).to(clean)
    noise = noise * over_image(sigma.to(clean), noise)
    return torch.sqrt((clean + noise[:, 0]).square() + noise[:, 1].square()).to(magnitude.dtype)


def _check_times(values: dict[str, Tensor], decay: str) -> None:
    for name, value in values.items():
        check_holds(name, value, value.isfinite(), expected="a finite number")
    for name in ("proton_density", "te_ms"):
        check_holds(name, values[name], values[name] >= 0, expected="0 or more")
    for name in (decay, "tr_ms"):
        check_holds(name, values[name], values[name] > 0, expected="a time above 0")
    t1 = values["t1_ms"]
    check_holds("t1_ms", t1, t1 >= 5, expected="5 ms or more (a smaller one may be in seconds)")
    check_holds("te_ms", values["te_ms"], values["te_ms"] < values["tr_ms"],
                expected="an echo before the next repetition (te < tr)")


def _batch_and_space(shape: Sequence[int | np.integer], least: int = 1, because: str = "") -> list[int]:
    if isinstance(shape, str) or not hasattr(shape, "__len__") or len(shape) not in (3, 4):
        raise ValueError(f"shape: expected (B, *S) with 2 or 3 axes of space{because}, got {shape!r}")
    batch, *space = (check_whole(f"shape[{i}]", n) for i, n in enumerate(shape))
    if min(space) < least:
        raise ValueError(f"shape: expected (B, *S) with 2 or 3 axes of space{because}, got {tuple(shape)}")
    return [batch, *space]


def _centred(transform: Callable[..., Tensor], signal: Tensor, space: tuple[int, ...]) -> Tensor:
    """The unitary transform with the origin in the middle of both sides."""
    signal = at_least_float32(signal)
    if signal.numel() == 0:                             # MKL refuses an empty transform
        return signal.to(torch.promote_types(signal.dtype, torch.complex64))
    return torch.fft.fftshift(transform(torch.fft.ifftshift(signal, space), dim=space, norm="ortho"), space)


def _space(name: str, signal: Tensor) -> tuple[int, ...]:
    """The axes of space of `(B, C, *S)`."""
    _check_signal(name, signal, "(B, C, *S)")
    if signal.ndim not in (4, 5):
        raise ValueError(f"{name}: expected (B, C, *S) with 2 or 3 axes of space, got shape {tuple(signal.shape)}")
    return tuple(range(2, signal.ndim))


def _check_signal(name: str, signal: Tensor, shape: str) -> None:
    if not isinstance(signal, Tensor) or is_unusual(signal) or not (signal.is_floating_point() or signal.is_complex()):
        raise TypeError(f"{name}: expected a float or complex tensor {shape}, got {kind_of(signal)}")
    check_finite(name, torch.view_as_real(signal.resolve_conj()) if signal.is_complex() else signal)
