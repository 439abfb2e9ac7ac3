r"""Filters for speckle, on the amplitude before the logarithm: linear, homomorphic, Lee's, the median (chapter 13)."""
from __future__ import annotations

import math
from functools import reduce

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.precision import at_least_float32
from medlearn.base.validation import Number, check_number, check_whole
from medlearn.physics._parameters import check_image, over_image

NO_AMPLITUDE = ("An image in dB or a standardised (z-scored) one is not an amplitude: take the envelope before "
                "the logarithm, 10 ** (db / 20)")


def gaussian_filter(image: Float[Tensor, "b c *s"], width_voxels: Number) -> Float[Tensor, "b c *s"]:
    r"""The linear filter $G_w * x$: a Gaussian of sd w, cut off at 4 w, the border repeated outside.

    Shapes: as the `image`. Units: `width_voxels`, w, in voxels; 0 leaves the image. No image gives none.
    Errors: ValueError for anything but a finite float image with 2 or 3 axes of space, a width outside 0..50.
    As in `scipy.ndimage`, with `mode="nearest"`. Chapter 13.

    >>> gaussian_filter(torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]]), 0.5)
    tensor([[[[2.6387e-04, 1.0645e-01, 7.8657e-01, 1.0645e-01, 2.6387e-04]]]])
    """
    check_image("image", image)
    width_voxels = check_number("width_voxels", width_voxels, least=0, most=50, unit="voxels")
    return blur(at_least_float32(image), gaussian_kernel(width_voxels)).to(image.dtype)


def homomorphic_filter(amplitude: Float[Tensor, "b c *s"], width_voxels: Number, *,
                       floor_db: Number = -100.0) -> Float[Tensor, "b c *s"]:
    r"""$\exp(G_w * \log a)$: the logarithm makes speckle additive, a linear filter removes it, the exponential returns.

    Shapes: as the `amplitude`. Units: the amplitude's; `width_voxels` as in `gaussian_filter`.
    It is a geometric mean: in fully developed speckle it lies at $e^{(\ln 2 - \gamma)/2} \sqrt{2/\pi}$ = 0.845 of the
    mean amplitude everywhere, a constant 1.46 dB. Zeros have no logarithm and count as `floor_db` below the image's
    maximum. An image of zeros stays one; no image gives none.
    Errors: ValueError for a negative amplitude (an image in dB is already a logarithm: filter that linearly), NaN, a
    width outside 0..50, a floor outside -300..-20 dB.
    Source: Oppenheim et al. 1968, doi:10.1109/PROC.1968.6570. Chapter 13.

    >>> stripes = torch.tensor([1.0, 100.0]).repeat(8)[None, None, None]
    >>> homomorphic_filter(stripes, 2.0)[..., 8].round(decimals=1)      # the geometric mean of 1 and 100
    tensor([[[10.]]])
    """
    check_amplitude(amplitude)
    width_voxels = check_number("width_voxels", width_voxels, least=0, most=50, unit="voxels")
    floor_db = check_number("floor_db", floor_db, least=-300, most=-20, unit="dB")
    if amplitude.numel() == 0:
        return amplitude
    a = at_least_float32(amplitude)
    peak = over_image(a.flatten(1).amax(1), a)
    floor = (peak * 10 ** (floor_db / 20)).clamp_min(torch.finfo(a.dtype).tiny)
    smooth = blur(a.maximum(floor).log(), gaussian_kernel(width_voxels)).exp()
    return torch.where(peak > 0, smooth, 0).to(amplitude.dtype)


def lee_filter(amplitude: Float[Tensor, "b c *s"], window: int | np.integer = 7, *,
               variation: Number = 0.5227) -> Float[Tensor, "b c *s"]:
    r"""$\bar z + k (z - \bar z)$, $k = v_x / (v_x + \bar z^2 u^2)$, $v_x = (v_z + \bar z^2) / (1 + u^2) - \bar z^2$.

    $\bar z$ and $v_z$ are the mean and the variance in the window about the voxel; u is the speckle's own `variation`,
    standard deviation over mean: 0.5227 for Rayleigh's, less by $\sqrt{n}$ for n compounded frames. Where there is no
    other variance k is 0, and the window's mean is given; at an edge the voxel keeps more of itself.
    Shapes: as the `amplitude`. Units: the amplitude's; `window` in voxels, odd. The border is repeated outside.
    Where the window is constant the filter leaves it. No image gives none.
    Errors: ValueError for a negative amplitude, NaN, a window that is even or outside 1..99, a variation outside 0..2.
    Source: Lee 1980, doi:10.1109/TPAMI.1980.4766994. Chapter 13.

    >>> edge = torch.tensor([1.0, 1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 9.0])[None, None, None]
    >>> lee_filter(edge, 3)[0, 0, 0, 2:6]           # a plain mean would be 1, 3.67, 6.33, 9
    tensor([1.0000, 1.8191, 6.8388, 9.0000])
    """
    check_amplitude(amplitude)
    window = _odd_window(window)
    variation = check_number("variation", variation, least=0, most=2)
    z = at_least_float32(amplitude)
    box = [1 / window] * window
    mean = blur(z, box)
    variance = (blur(z.square(), box) - mean.square()).clamp_min(0)
    speckle = mean.square() * variation ** 2
    tissue = ((variance + mean.square()) / (1 + variation ** 2) - mean.square()).clamp_min(0)
    gain = tissue / (tissue + speckle).clamp_min(torch.finfo(z.dtype).tiny)
    return (mean + gain * (z - mean)).to(amplitude.dtype)


def median_filter(image: Float[Tensor, "b c *s"], window: int | np.integer = 5) -> Float[Tensor, "b c *s"]:
    r"""$\mathrm{med}_{v \in W} x_v$, the middle value of the window, the same before the logarithm as after.

    Shapes: as the `image`. Units: the image's; `window` in voxels, odd. The border is repeated outside.
    No image gives none. Errors: ValueError for anything but a finite float image with 2 or 3 axes of space, a window
    that is even or outside 1..99. As in `scipy.ndimage`, with `mode="nearest"`.
    Source: Tukey 1977, Exploratory Data Analysis, ch. 7. Chapter 13.

    >>> median_filter(torch.tensor([[[[1.0, 9.0, 1.0, 5.0, 5.0]]]]), 3)
    tensor([[[[1., 1., 5., 5., 5.]]]])
    """
    check_image("image", image)
    window = _odd_window(window)
    if image.numel() == 0:
        return image
    filtered = []
    for one in image:                                   # a voxel's whole window is in memory: one image at a time
        windows = _pad(one[None], window // 2)
        for axis in range(2, image.ndim):
            windows = windows.unfold(axis, window, 1)
        filtered.append(windows.flatten(image.ndim).median(-1).values)
    return torch.cat(filtered)


def gaussian_kernel(width: float) -> list[float]:
    r"""The weights $e^{-n^2 / 2w^2}$ of a Gaussian of sd w, out to 4 w, scaled so that their sum is 1.

    Units: `width`, w, in voxels; 0 gives the single weight 1. Chapter 13.

    >>> [round(weight, 3) for weight in gaussian_kernel(0.5)]
    [0.0, 0.106, 0.787, 0.106, 0.0]
    """
    reach = int(4 * width + 0.5)
    weights = [math.exp(-0.5 * (n / width) ** 2) if n else 1.0 for n in range(-reach, reach + 1)]
    total = math.fsum(weights)
    return [w / total for w in weights]


def blur(image: Tensor, kernel: list[float], *, pad: bool = True) -> Tensor:
    r"""The image convolved with a symmetric `kernel` along every axis of space.

    Shapes: `image (B, C, *S)`; with `pad` the border is repeated outside and the shape stays, without it the image
    gets smaller by the kernel's reach on each side. No image gives none.
    It is a sum of shifted images: a convolution would be rounded to half precision under autocast. Chapter 13.

    >>> blur(torch.tensor([[[[0.0, 4.0, 0.0]]]]), [0.25, 0.5, 0.25])
    tensor([[[[1., 2., 1.]]]])
    """
    if image.numel() == 0:
        return image
    image = _pad(image, len(kernel) // 2) if pad else image
    for axis in range(2, image.ndim):
        size = image.shape[axis] - len(kernel) + 1
        image = reduce(torch.add, (weight * image.narrow(axis, n, size) for n, weight in enumerate(kernel)))
    return image


def check_amplitude(amplitude: Tensor) -> None:
    r"""Refuses anything but an `amplitude` `(B, C, *S)` of finite numbers of 0 or more. Chapter 13.

    >>> check_amplitude(torch.full((1, 1, 8, 8), -20.0))        # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: amplitude: expected 0 or more, got -20. An image in dB ...
    """
    check_image("amplitude", amplitude, least=0, hint=NO_AMPLITUDE)


def _pad(image: Tensor, width: int) -> Tensor:
    return F.pad(image, [width] * 2 * (image.ndim - 2), mode="replicate")


def _odd_window(window: int | np.integer) -> int:
    if check_whole("window", window, least=1, most=99) % 2 == 0:
        raise ValueError(f"window: expected an odd number of voxels, got {window}")
    return int(window)
