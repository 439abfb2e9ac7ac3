r"""Magnetic resonance imaging: the signal, the bias field and the noise of a magnitude image."""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Generator, Tensor


def spoiled_gradient_echo(proton_density: float | Float[Tensor, "..."], t1_ms: float | Float[Tensor, "..."],
                          t2star_ms: float | Float[Tensor, "..."], *, tr_ms: float | Float[Tensor, "..."],
                          te_ms: float | Float[Tensor, "..."],
                          flip_deg: float | Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""The steady-state signal $\rho \sin\alpha \, \frac{1 - E_1}{1 - E_1 \cos\alpha} \, e^{-TE/T_2^*}$, with $E_1 = e^{-TR/T_1}$.

    Shapes: numbers or tensors that broadcast together, so that a subject or a voxel may have its own parameters.
    Units: times in ms, the flip angle in degrees, the signal in units of the proton density.
    Empty tensors give an empty tensor.
    Errors: ValueError for a negative proton density, times that are not positive, an echo after the repetition,
    a flip angle outside 0..180, or NaN.
    Source: Ernst and Anderson 1966, doi:10.1063/1.1719961; Haase et al. 1986, doi:10.1016/0022-2364(86)90433-6.
    Chapter 10.
    """
    values = dict(proton_density=proton_density, t1_ms=t1_ms, t2star_ms=t2star_ms, tr_ms=tr_ms, te_ms=te_ms,
                  flip_deg=flip_deg)
    like = next((v for v in values.values() if isinstance(v, Tensor)), torch.empty(()))
    values = {name: torch.as_tensor(v, dtype=like.dtype, device=like.device) for name, v in values.items()}
    for name in ("proton_density", "te_ms"):
        _check(name, values[name], values[name] >= 0, "0 or more")
    for name in ("t1_ms", "t2star_ms", "tr_ms"):
        _check(name, values[name], values[name] > 0, "positive")
    _check("flip_deg", values["flip_deg"], (values["flip_deg"] >= 0) & (values["flip_deg"] <= 180), "0..180 degrees")
    _check("te_ms", values["te_ms"], values["te_ms"] < values["tr_ms"], "an echo before the next repetition (te < tr)")

    pd, t1, t2star, tr, te, flip = values.values()
    flip = torch.deg2rad(flip)
    recovered = -torch.expm1(-tr / t1)                                   # 1 - E1, exact also where TR << T1
    steady = flip.sin() * recovered / (1 - flip.cos() * (1 - recovered))
    return pd * steady * torch.exp(-te / t2star)


def bias_field(shape: Sequence[int], strength: float | Float[Tensor, "b"], *, order: int = 2,
               generator: Generator | Sequence[Generator], device: torch.device | str | None = None,
               ) -> Float[Tensor, "b 1 *s"]:
    r"""A smooth multiplicative field $\exp \sum_k a_k \prod_d \cos(\pi k_d (i_d + 1/2) / N_d)$: the coil's uneven sensitivity.

    Shapes: `shape` is `(B, *S)`, the field `(B, 1, *S)`; `strength` is one number or one for each image.
    Units: `strength` is the standard deviation of the field's logarithm over the image, met exactly (the cosines are
    orthogonal on the grid); its geometric mean is 1. `order` is the highest number of half waves across the image.
    An empty batch gives an empty field; strength 0 gives ones.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours.
    Errors: ValueError for a shape without 2 or 3 axes of space, an axis not longer than `order`, `order` below 1, a
    negative or NaN strength, a wrong number of generators.
    Source: multiplicative model, Sled et al. 1998, doi:10.1109/42.668698. Chapter 10.
    """
    batch, *space = shape
    if len(space) not in (2, 3) or order < 1 or min(space) <= order:
        raise ValueError(f"shape: expected (B, *S) with 2 or 3 axes longer than order = {order} >= 1, got {tuple(shape)}")
    strength = _per_image("strength", strength, batch).to(device)
    waves = [k for k in product(range(order + 1), repeat=len(space)) if any(k)]
    # sum over the grid of a product of cosines squared is 1/2 for each axis that has a wave
    energy = torch.tensor([0.5 ** sum(n > 0 for n in k) for k in waves])
    amplitude = _normal((batch, len(waves)), generator).cpu()
    amplitude = amplitude / (amplitude.square() * energy).sum(1, keepdim=True).sqrt()
    amplitude = (amplitude.to(device) * strength[:, None]).reshape(batch, len(waves), *[1] * len(space))

    cosines = [[torch.cos(math.pi * k * (torch.arange(n, device=device) + 0.5) / n).reshape(
        [-1 if d == axis else 1 for d in range(len(space))]) for k in range(order + 1)] for axis, n in enumerate(space)]
    log_field = torch.zeros(batch, *space, device=device)
    for i, k in enumerate(waves):
        log_field += amplitude[:, i] * math.prod(cosines[axis][n] for axis, n in enumerate(k))
    return log_field.exp()[:, None]


def rician_noise(magnitude: Float[Tensor, "b *s"], sigma: float | Float[Tensor, "b"], *,
                 generator: Generator | Sequence[Generator]) -> Float[Tensor, "b *s"]:
    r"""The magnitude after noise in both channels: $\sqrt{(A + n_1)^2 + n_2^2}$, with $n_1, n_2 \sim N(0, \sigma^2)$.

    Shapes: the image's first axis is the batch; `sigma` is one number or one for each image.
    Units: `sigma` is in the image's units; with white matter at 1 it is the noise as a fraction of its signal.
    An empty image gives an empty image; sigma 0 gives the image itself.
    `generator`: one for the batch, or one for each image, which then does not depend on its neighbours. The noise is
    drawn on the generator's device, so a CPU generator gives the same noise to an image on a GPU.
    Errors: ValueError for a magnitude below 0 (a standardised image: add noise before standardising it) or not
    finite, a sigma that is negative or NaN, a wrong number of generators.
    Source: Gudbjartsson and Patz 1995, eq. 1, doi:10.1002/mrm.1910340618. Chapter 10.
    """
    if magnitude.ndim == 0 or not magnitude.is_floating_point():
        raise ValueError(f"magnitude: expected a float image with a batch axis, "
                         f"got {tuple(magnitude.shape)} {magnitude.dtype}")
    sigma = _per_image("sigma", sigma, len(magnitude))
    if magnitude.numel() == 0:
        return magnitude
    low, high = (v.item() for v in magnitude.aminmax())
    if low < 0:
        raise ValueError(f"magnitude: expected values of 0 or more, got a minimum of {low:.4g}. A standardised "
                         f"(z-scored) image is no magnitude: add the noise first, standardise after")
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"magnitude: expected finite values, got a range of {low} to {high}")
    noise = _normal((len(magnitude), 2, *magnitude.shape[1:]), generator).to(magnitude)
    noise = noise * sigma.to(magnitude).reshape(-1, *[1] * magnitude.ndim)
    return torch.sqrt((magnitude + noise[:, 0]).square() + noise[:, 1].square())


def _normal(shape: Sequence[int], generator: Generator | Sequence[Generator]) -> Tensor:
    """Standard normal numbers from the batch's generator, or from each image's own."""
    if isinstance(generator, Generator):
        return torch.randn(*shape, generator=generator, device=generator.device)
    if not isinstance(generator, Sequence) or not all(isinstance(g, Generator) for g in generator):
        raise TypeError(f"generator: expected a torch.Generator or one for each image, got {type(generator).__name__}")
    if len(generator) != shape[0]:
        raise ValueError(f"generator: expected one, or one for each of {shape[0]} images, got {len(generator)}")
    draws = [torch.randn(*shape[1:], generator=g, device=g.device) for g in generator]
    return torch.stack(draws) if draws else torch.empty(*shape)


def _per_image(name: str, value: float | Tensor, batch: int) -> Tensor:
    """One non-negative number for each image."""
    value = torch.as_tensor(value, dtype=None if isinstance(value, Tensor) else torch.float32)
    if tuple(value.shape) not in ((), (batch,)):
        raise ValueError(f"{name}: expected one number, or one for each of {batch} images, got {tuple(value.shape)}")
    _check(name, value, (value >= 0) & value.isfinite(), "0 or more, and finite")
    return value.expand(batch)


def _check(name: str, value: Tensor, holds: Tensor, expected: str) -> None:
    if not holds.all():
        wrong = value.broadcast_to(holds.shape)[~holds].flatten()[0].item()
        raise ValueError(f"{name}: expected {expected}, got {wrong:.4g}")
