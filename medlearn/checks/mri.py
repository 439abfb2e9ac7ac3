r"""Chapter 12, MRI: how many coils made a scan, and its SNR, both from its air."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def coils(magnitude: Float[Tensor, "b 1 *s"], air: Bool[Tensor, "b *s"]) -> Float[Tensor, "b"]:
    r"""$E[m^2]^2 / \mathrm{Var}[m^2]$ over the air: $C$ of a sum of squares of $2C$ Gaussian numbers. Chapter 12."""
    power, air = magnitude[:, 0].square().flatten(1), air.flatten(1)
    mean = (power * air).sum(1) / air.sum(1)
    return mean.square() / (((power - mean[:, None]).square() * air).sum(1) / air.sum(1))


def snr(magnitude: Float[Tensor, "b 1 *s"], tissue: Bool[Tensor, "b *s"],
        air: Bool[Tensor, "b *s"]) -> Float[Tensor, "b"]:
    r"""$\sqrt{P_t / \sigma^2 - 2}$ with the tissue's mean square, $2\sigma^2$ the air's; 0 or more. Chapter 12."""
    power = magnitude[:, 0].square()
    in_tissue, in_air = ((power * mask).flatten(1).sum(1) / mask.flatten(1).sum(1) for mask in (tissue, air))
    return (2 * in_tissue / in_air - 2).clamp_min(0).sqrt()


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

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


def _air(coils: int, *shape: int, seed: int = 0, sigma: float = 1.0) -> dict[str, Tensor]:
    """Air alone `(B, 1, *S)`, joined from so many coils; a bright rim is left out of the mask."""
    numbers = sigma * torch.randn(2 * coils, *shape, generator=torch.Generator().manual_seed(seed))
    magnitude = numbers.square().sum(0).sqrt()
    air = torch.ones(shape[0], *shape[2:], dtype=torch.bool)
    air[..., :1], magnitude[..., :1] = False, 100 * sigma
    return dict(magnitude=magnitude, air=air)


def _uneven_air(scan: dict[str, Tensor]) -> dict[str, Tensor]:
    """The second image has less air than the first, and is ten times as bright."""
    scan["air"][1, :10] = False
    scan["magnitude"][1] *= 10
    return scan


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_COILS = (
    Case("four voxels", dict(magnitude=torch.tensor([1.0, 2.0, 3.0, 9.0]).reshape(1, 1, 2, 2),
                             air=torch.tensor([[[True, True], [True, False]]])),
         "By hand: the squares of the air are 1, 4 and 9, their mean 14 / 3 and their variance 98 / 9, so C = 2. The "
         "fourth voxel is no air."),
    Case("one coil", _air(1, 1, 1, 40, 40),
         "Of 2C squared Gaussian numbers the mean is 2C sigma², the variance 4C sigma⁴."),
    Case("eight coils in another unit", _air(8, 1, 1, 40, 40, seed=1, sigma=50.0),
         "Sigma must cancel: it stands squared in the mean, and to the fourth in the variance."),
    Case("two images", _uneven_air(_air(3, 2, 1, 20, 20, seed=2)),
         "Each image has its own air, with its own number of voxels: the result has shape (B,)."),
    Case("a volume", _air(2, 2, 1, 6, 7, 8, seed=3), "Any number of axes of space."),
    Case("air without spread", dict(magnitude=torch.full((1, 1, 2, 3), 2.0), air=torch.ones(1, 2, 3, dtype=torch.bool)),
         "A variance of 0 means infinitely many coils."),
    Case("one voxel of air", dict(magnitude=torch.tensor([[[2.0, 3.0]]]).unsqueeze(0),
                                  air=torch.tensor([[[True, False]]])),
         "A single voxel has no spread: divide by the number of voxels, not by one less."),
    Case("no image", _air(1, 0, 1, 4, 4), "An empty batch has an empty result, of shape (0,)."),
    Case("the gradient", {name: value.double() if name == "magnitude" else value
                          for name, value in _air(2, 2, 1, 5, 6, seed=4).items()},
         "All of it can be differentiated by the image.", gradient=("magnitude",)),
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
    Check("mri.coils", coils, _COILS),
    Check("mri.snr", snr, _SNR),
)
