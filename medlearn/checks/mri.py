r"""Chapter 12, MRI: Rice's density at any SNR, and the SNR of a scan from its air."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def rice_logpdf(m: Float[Tensor, "..."], nu: Float[Tensor, "..."], sigma: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""$\log (m / \sigma^2) - (m - \nu)^2 / 2\sigma^2 + \log[e^{-x} I_0(x)]$ with $x = m\nu / \sigma^2$. Chapter 12."""
    x = m * nu / sigma**2 + torch.finfo(m.dtype).tiny           # just above 0, where i0e has its true slope
    return torch.log(m / sigma**2) - (m - nu) ** 2 / (2 * sigma**2) + torch.special.i0e(x).log()


def snr(magnitude: Float[Tensor, "b 1 *s"], tissue: Bool[Tensor, "b *s"],
        air: Bool[Tensor, "b *s"]) -> Float[Tensor, "b"]:
    r"""$\sqrt{P_t / \sigma^2 - 2}$ with the tissue's mean square, $2\sigma^2$ the air's; 0 or more. Chapter 12."""
    power = magnitude[:, 0].square()
    in_tissue, in_air = ((power * mask).flatten(1).sum(1) / mask.flatten(1).sum(1) for mask in (tissue, air))
    return (2 * in_tissue / in_air - 2).clamp_min(0).sqrt()


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _uniform(*shape: int, low: float = 0.1, high: float = 5.0, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _scan(nu: float, *shape: int, seed: int = 0, sigma: float = 1.0) -> dict[str, Tensor]:
    """Magnitudes `(B, 1, *S)` whose first half along the last axis is air; the masks leave a rim out of both."""
    n1, n2 = sigma * torch.randn(2, *shape, generator=torch.Generator().manual_seed(seed))
    half = shape[-1] // 2
    tissue, air = torch.zeros(2, shape[0], *shape[2:], dtype=torch.bool)
    tissue[..., half + 1:], air[..., :half - 1] = True, True
    signal = torch.zeros(shape)
    signal[..., half:] = nu
    return dict(magnitude=torch.hypot(signal + n1, n2), tissue=tissue, air=air)


def _uneven(scan: dict[str, Tensor]) -> dict[str, Tensor]:
    """The second image has less air and less tissue than the first, and is ten times as bright."""
    scan["air"][1, :, :1], scan["tissue"][1, :1] = False, False
    scan["magnitude"][1] *= 10
    return scan


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_RICE = (
    Case("a few voxels", dict(m=torch.tensor([0.5, 1.0, 3.0]), nu=torch.tensor([1.0, 1.0, 2.0]), sigma=torch.ones(3)),
         "The density is (m / sigma²) exp(-(m² + nu²) / 2 sigma²) I0(m nu / sigma²); we want its logarithm."),
    Case("another sigma", dict(m=_uniform(6), nu=_uniform(6, seed=1), sigma=_numbers(0.3, 0.5, 0.7, 1.5, 2.0, 4.0)),
         "Each sigma in the formula is squared, also that in the argument of I0."),
    Case("no signal", dict(m=_numbers(0.2, 1.0, 4.0), nu=_numbers(0.0, 0.0, 0.0), sigma=_numbers(1.0, 2.0, 1.0)),
         "Without signal it is Rayleigh's density, and finite: I0(0) is 1."),
    Case("every magnitude with every signal", dict(m=_uniform(2, 5, 1), nu=_uniform(4, seed=2), sigma=_numbers(0.8)),
         "The inputs broadcast together: (2, 5, 1) and (4,) give (2, 5, 4)."),
    Case("no voxel", dict(m=_numbers(), nu=_numbers(), sigma=_numbers(1.0)),
         "No voxels have no densities: shape (0,)."),
    Case("a high SNR", dict(m=_numbers(1000.5, 999.0), nu=_numbers(1000.0, 1000.0), sigma=_numbers(1.0, 1.0)),
         "I0 of a million is beyond any float. `torch.special.i0e` is exp(-x) I0(x); the exponent joins the others."),
    Case("a measured zero", dict(m=_numbers(0.0, 1.0), nu=_numbers(2.0, 2.0), sigma=_numbers(1.0, 1.0)),
         "The density at m = 0 is 0, so its logarithm is minus infinity. It is not NaN, and not a large number."),
    Case("the gradient", dict(m=_uniform(6, seed=3), nu=_uniform(6, seed=4),
                              sigma=_uniform(6, low=0.5, high=2, seed=5)),
         "Who fits a signal needs the gradient by all three.", gradient=("m", "nu", "sigma")),
    Case("the gradient where there is no signal",
         dict(m=_numbers(0.5, 2.0), nu=_numbers(0.0, 0.0), sigma=_numbers(1.0, 1.0)),
         "The density is even in nu, so its slope at nu = 0 is 0. PyTorch takes the slope of i0e at exactly 0 for 0, "
         "but from the right it is -1. Can you stay away from 0 by an amount that nobody sees?", gradient=("nu",)),
)

_SNR = (
    Case("one image", _scan(4.0, 1, 1, 12, 20), "Half of the air's mean square is sigma². The tissue's mean square is "
         "nu² + 2 sigma²."),
    Case("another unit", _scan(600.0, 1, 1, 12, 20, seed=1, sigma=100.0),
         "An SNR has no unit: the same scan in other units has the same."),
    Case("two images", _uneven(_scan(3.0, 2, 1, 10, 16, seed=2)),
         "Each image has an SNR of its own, with its own numbers of voxels: the result has shape (B,)."),
    Case("a volume", _scan(2.5, 2, 1, 6, 5, 12, seed=3), "Any number of axes of space."),
    Case("tissue darker than the noise", _scan(0.0, 1, 1, 4, 12, seed=7, sigma=0.5) | dict(
        magnitude=torch.tensor([0.4, 0.5, 0.6, 0.5, 0.4, 0.6, 0.3, 0.2, 0.3, 0.2, 0.3, 0.2]).expand(1, 1, 4, 12)),
         "By chance a tissue may have less power than the air. Its SNR is 0 then, not NaN."),
    Case("no image", _scan(2.0, 0, 1, 4, 8), "An empty batch has an empty result, of shape (0,)."),
    Case("the gradient", {name: value.double() if name == "magnitude" else value
                          for name, value in _scan(3.0, 2, 1, 5, 12, seed=6).items()},
         "The air counts, too: sigma is a function of the image.", gradient=("magnitude",)),
)

CHECKS = (
    Check("mri.rice_logpdf", rice_logpdf, _RICE),
    Check("mri.snr", snr, _SNR),
)
