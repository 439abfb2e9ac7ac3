r"""Rice's distribution, a noisy complex signal's magnitude: likelihood, moments, and their inverse (chapter 12)."""
from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.precision import at_least_float32
from medlearn.base.validation import check_holds, check_same, check_tensor, check_whole, is_unusual, kind_of
from medlearn.physics._parameters import Numbers, PerImage, check_image, numbers, over_image, per_image

HIGH_SNR = 15.0     # from here on the correction factor's series is more exact than its formula
MAGNITUDE = "finite values of 0 or more (a standardised, z-scored image is not a magnitude)"
EXPECTED = {"m": MAGNITUDE, "magnitude": MAGNITUDE, "snr": "0 or more", "mean": "finite values of 0 or more",
            "nu": "finite values of 0 or more (end a network with softplus)", "sigma": "positive, finite values",
            "std": "positive, finite values"}


def rice_logpdf(m: Numbers, nu: Numbers, sigma: Numbers) -> Float[Tensor, "..."]:
    r"""$\log p(m \mid \nu, \sigma) = \log (m / \sigma^2) - (m^2 + \nu^2) / 2\sigma^2 + \log I_0(m \nu / \sigma^2)$.

    Shapes: numbers or tensors that broadcast together. Units: the magnitude `m`, the signal `nu` and the noise `sigma`
    in the image's. float32 or better.
    It holds from $\nu = 0$ (Rayleigh) to any SNR and has gradients to all three, at $\nu = 0$ too. At m = 0 the density
    is 0 and its logarithm $-\infty$; `rician_nll` stays finite there. Empty gives empty.
    Errors: ValueError for a negative m or nu, a sigma that is not positive, NaN.
    Source: Gudbjartsson and Patz 1995, eq. 1, doi:10.1002/mrm.1910340618. Chapter 12.

    >>> rice_logpdf(1.0, torch.tensor([0.0, 1.0, 4.0]), 1.0)        # how likely each signal makes a magnitude of 1
    tensor([-0.5000, -0.7641, -6.0750])
    """
    m, nu, sigma = _checked(m=m, nu=nu, sigma=sigma)
    return m.log() - 2 * sigma.log() - (m - nu).square() / (2 * sigma.square()) + _log_i0e(m / sigma * (nu / sigma))


def rician_nll(nu: Float[Tensor, "b *s"], magnitude: Float[Tensor, "b *s"], *,
               sigma: PerImage | Float[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    r"""A loss for each voxel, $2 \log \sigma + (m - \nu)^2 / 2\sigma^2 - \log[e^{-x} I_0(x)]$, $x = m\nu / \sigma^2$.

    It is minus `rice_logpdf` without $\log m$, which depends on no parameter; so a measured 0 costs a finite amount.
    Shapes: `nu`, what the network says, `magnitude`, what was measured, and the loss are alike; `sigma` is one number,
    or one for each image or each voxel. Units: all three in the image's; nats. float32 or better.
    At $\nu = 0$ the gradient to $\nu$ is 0; at high SNR it is that of the squared error. Empty gives empty.
    Errors: ValueError for shapes that differ, a negative nu (end the network with `softplus`) or magnitude, a sigma
    that is not positive, NaN.
    Source: Sijbers et al. 1998, doi:10.1109/42.712125. Chapter 12.

    >>> rician_nll(torch.tensor([0.0, 2.8, 3.0]), torch.full((3,), 3.0), sigma=1.0)     # least a little below 3
    tensor([4.5000, 1.9871, 2.0028])
    """
    for name, image in {"nu": nu, "magnitude": magnitude}.items():
        check_tensor(name, image, dtype="float")
        if image.ndim == 0:
            raise ValueError(f"{name}: expected a batch axis, got a single number")
    check_same("nu", nu, like=magnitude, whose="magnitude")
    if not isinstance(sigma, Tensor) or sigma.shape != magnitude.shape:
        sigma = over_image(per_image("sigma", sigma, len(magnitude), above=0), magnitude)
    m, nu, sigma = _checked(magnitude=magnitude, nu=nu, sigma=sigma)
    return 2 * sigma.log() + (m - nu).square() / (2 * sigma.square()) - _log_i0e(m / sigma * (nu / sigma))


def rice_mean(nu: Numbers, sigma: Numbers) -> Float[Tensor, "..."]:
    r"""$E[m] = \sigma \sqrt{\pi/2} \, L_{1/2}(-\nu^2 / 2\sigma^2)$, always above $\nu$: the bias of the magnitude.

    Shapes: numbers or tensors that broadcast together. Units: the signal `nu`, the noise `sigma` and the mean in the
    image's. 1.25 sigma at nu = 0; about $\nu + \sigma^2 / 2\nu$ from an SNR of 3. Empty gives empty.
    Errors: ValueError for a negative nu, a sigma that is not positive, NaN.
    Source: Koay and Basser 2006, doi:10.1016/j.jmr.2006.01.016. Chapter 12.

    >>> rice_mean(torch.tensor([0.0, 3.0]), 1.0)
    tensor([1.2533, 3.1726])
    """
    nu, sigma = _checked(nu=nu, sigma=sigma)
    return sigma * _mean_at(nu / sigma)


def rice_variance(nu: Numbers, sigma: Numbers) -> Float[Tensor, "..."]:
    r"""$\mathrm{Var}[m] = \xi(\nu/\sigma)\,\sigma^2$: $(2 - \pi/2)\,\sigma^2$ without signal, $\sigma^2$ with much.

    Shapes, empty case, errors, source: as `rice_mean`. Units: `nu` and `sigma` in the image's, the answer in its
    squared. Chapter 12.

    >>> rice_variance(torch.tensor([0.0, 3.0]), 1.0)
    tensor([0.4292, 0.9348])
    """
    nu, sigma = _checked(nu=nu, sigma=sigma)
    return sigma.square() * _xi(nu / sigma)


def koay_factor(snr: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    r"""$\xi(\theta) = \mathrm{Var}[m] / \sigma^2 = 2 + \theta^2 - (\pi/2) L_{1/2}^2(-\theta^2/2)$ at SNR $\theta$.

    Shapes: as `snr`, which is $\theta = \nu / \sigma$. Units: none, from 0.429 at 0 up to 1. Empty gives empty.
    Errors: ValueError for a negative SNR or NaN.
    Source: Koay and Basser 2006, doi:10.1016/j.jmr.2006.01.016. Chapter 12.

    >>> koay_factor(torch.tensor([0.0, 3.0, 100.0]))
    tensor([0.4292, 0.9348, 0.9999])
    """
    snr, = _checked(snr=snr)
    return _xi(snr)


def koay_basser(mean: Float[Tensor, "..."],
                std: Float[Tensor, "..."]) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    r"""The $(\nu, \sigma)$ whose magnitude has this mean and this standard deviation: the bias undone, exactly.

    $\sigma = \mathrm{std} / \sqrt{\xi(\theta)}$ and $\nu = \theta\,\sigma$, where at an SNR of $\theta$ the ratio
    $E[m] / \sqrt{\mathrm{Var}[m]}$ is mean / std.
    Shapes: `mean` and `std` alike, or broadcast. Units: the image's. The root is found by bisection to the last bit,
    without a gradient. A ratio below 1.913, that of noise alone, comes from no signal: nu is 0 there.
    Empty gives empty.
    Errors: ValueError for a negative mean, a std that is not positive, NaN.
    Source: Koay and Basser 2006, doi:10.1016/j.jmr.2006.01.016. Chapter 12.

    >>> nu, sigma = koay_basser(rice_mean(2.0, 1.0), rice_variance(2.0, 1.0).sqrt())
    >>> round(nu.item(), 3), round(sigma.item(), 3)
    (2.0, 1.0)
    """
    mean, std = (value.detach() for value in _checked(mean=mean, std=std))
    ratio = mean / std
    low, high = torch.zeros_like(ratio), ratio                      # E[m]/sd is never below theta
    for _ in range(torch.finfo(ratio.dtype).bits):
        theta = (low + high) / 2
        too_low = _mean_at(theta) < ratio * _xi(theta).sqrt()
        low, high = torch.where(too_low, theta, low), torch.where(too_low, high, theta)
    sigma = std / _xi(low).sqrt()
    return low * sigma, sigma


def background_sigma(magnitude: Float[Tensor, "b 1 *s"], air: Bool[Tensor, "b *s"], *,
                     coils: int | np.integer = 1) -> Float[Tensor, "b"]:
    r"""The noise, where there is no signal: $\hat\sigma = \sqrt{\langle m^2 \rangle_{\mathrm{air}} / 2C}$ of C `coils`.

    Shapes: `magnitude (B, 1, *S)`, and `air (B, *S)`, a mask of its voxels of air; one number for each image. Units:
    the image's. It is the maximum of Rayleigh's likelihood (a sum of squares' for more coils), and differentiable. No
    image gives none. Errors: ValueError for a magnitude that is negative, an image without air, or whose air is
    exactly 0 (it was masked, and its noise with it).
    Source: Henkelman 1985, doi:10.1118/1.595711; Constantinides et al. 1997, doi:10.1002/mrm.1910380524.
    Chapter 12.

    >>> magnitude = torch.tensor([1.0, 7.0, 60.0, 60.0]).reshape(1, 1, 2, 2)
    >>> background_sigma(magnitude, air=magnitude[:, 0] < 10)           # sqrt((1 + 49) / 4)
    tensor([3.5355])
    """
    coils = check_whole("coils", coils, least=1)
    power = _mean_square(magnitude, "air", air)
    check_holds("air", power, power > 0, expected="noise in the air of every image (a masked image has lost it)")
    return (power / (2 * coils)).sqrt()


def background_snr(magnitude: Float[Tensor, "b 1 *s"], *, tissue: Bool[Tensor, "b *s"], air: Bool[Tensor, "b *s"],
                   coils: int | np.integer = 1) -> Float[Tensor, "b"]:
    r"""$\hat\nu / \hat\sigma$ with $\hat\nu^2 = \langle m^2 \rangle_{\mathrm{tissue}} - 2C\hat\sigma^2$, and C coils.

    `background_sigma` of the air is $\hat\sigma$.
    Shapes: `magnitude (B, 1, *S)`, and two masks `(B, *S)`, of its `tissue` and of its `air`; one number for each
    image. Units: none. Tissue that is no brighter than the noise has an SNR of 0. `coils`, no image and errors: as
    `background_sigma`.
    Source: $E[m^2] = \nu^2 + 2C\sigma^2$, Gudbjartsson and Patz 1995, doi:10.1002/mrm.1910340618. Chapter 12.

    >>> magnitude = torch.tensor([1.0, 7.0, 60.0, 60.0]).reshape(1, 1, 2, 2)
    >>> background_snr(magnitude, tissue=magnitude[:, 0] > 10, air=magnitude[:, 0] < 10)
    tensor([16.9115])
    """
    sigma = background_sigma(magnitude, air, coils=coils)
    return (_mean_square(magnitude, "tissue", tissue) / sigma.square() - 2 * coils).clamp_min(0).sqrt()


def _log_i0e(x: Tensor) -> Tensor:
    """log of exp(-x) I0(x) for x >= 0. PyTorch takes its slope at 0 for 0; from the right, where x lies, it is -1."""
    return torch.special.i0e(x + torch.finfo(x.dtype).tiny).log()


def _mean_at(theta: Tensor) -> Tensor:
    """E[m] / sigma; L_1/2(-2y) = exp(-y) [(1 + 2y) I0(y) + 2y I1(y)]."""
    y = theta.square() / 4
    return math.sqrt(math.pi / 2) * ((1 + 2 * y) * torch.special.i0e(y) + 2 * y * torch.special.i1e(y))


def _xi(theta: Tensor) -> Tensor:
    """The factor of `koay_factor`; its formula is a small difference of large numbers where the SNR is high."""
    near = theta.clamp_max(HIGH_SNR)
    inverse = theta.clamp_min(HIGH_SNR).square().reciprocal()
    series = 1 - inverse * (1 / 2 + inverse * (1 / 2 + inverse * (11 / 8 + inverse * 51 / 8)))
    return torch.where(theta < HIGH_SNR, 2 + near.square() - _mean_at(near).square(), series)


def _checked(**values: Numbers) -> list[Tensor]:
    """Tensors of float32 or better, of which std and sigma are positive and the others 0 or more."""
    tensors = numbers(**values)
    for name, value in tensors.items():
        good = value > 0 if name in ("sigma", "std") else value >= 0
        check_holds(name, value, good & value.isfinite(), expected=EXPECTED[name])
    return list(tensors.values())


def _mean_square(magnitude: Tensor, name: str, mask: Tensor) -> Tensor:
    """The mean of the squared magnitude over each image's mask."""
    check_image("magnitude", magnitude, least=0, hint="A standardised (z-scored) image is not a magnitude")
    m = at_least_float32(magnitude)
    expected = (len(magnitude), *magnitude.shape[2:])
    if (not isinstance(mask, Tensor) or is_unusual(mask) or mask.dtype != torch.bool or mask.shape != expected
            or magnitude.shape[1] != 1):
        raise ValueError(f"{name}: expected a bool mask {expected} for an image {(len(magnitude), 1, *expected[1:])}, "
                         f"got {kind_of(mask)} for an image {tuple(magnitude.shape)}")
    voxels = mask.flatten(1).sum(1)
    check_holds(name, voxels, voxels > 0, expected="at least one voxel in each image")
    return torch.where(mask, m[:, 0].square(), 0).flatten(1).sum(1) / voxels
