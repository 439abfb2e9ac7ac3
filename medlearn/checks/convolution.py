r"""Chapter 5, what a convolution does: a convolution with everything, its size, its transpose."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.checks.engine import Case, Check

_ALL = slice(None)


def convolve(x: Float[Tensor, "b c *s"], weight: Float[Tensor, "o c *k"], stride: int,
             padding: int) -> Float[Tensor, "b o *t"]:
    r"""$y_{o,p} = \sum_{c,i} w_{o,c,i}\,x_{c,sp+i}$, zeros around $x$; no image gives an empty tensor. Chapter 5."""
    dim = weight.ndim - 2
    windows = F.pad(x, [padding] * 2 * dim)
    for axis, k in enumerate(weight.shape[2:], start=2):
        windows = windows.unfold(axis, k, stride)
    summed = [1, *range(dim + 2, 2 * dim + 2)], list(range(1, dim + 2))
    return torch.tensordot(windows, weight, dims=summed).movedim(-1, 1)


def size_after(size: int, layers: Sequence[tuple[int, int, int]]) -> int:
    r"""$\lfloor (n + 2p - k) / s \rfloor + 1$, layer by layer (k, s, p); 0 where a kernel cannot stand. Chapter 5."""
    for kernel, stride, padding in layers:
        places = size + 2 * padding - kernel + 1
        if size == 0 or places <= 0:
            return 0
        size = (places - 1) // stride + 1
    return size


def transpose(y: Float[Tensor, "b o *t"], weight: Float[Tensor, "o c *k"], stride: int,
              padding: int) -> Float[Tensor, "b c *s"]:
    r"""$x_{c,q} = \sum_{o} \sum_{sp+i=q} w_{o,c,i}\,y_{o,p}$, its rim cut off; no map, an empty tensor. Chapter 5."""
    kernel, places = weight.shape[2:], y.shape[2:]
    size = [stride * (n - 1) + k for n, k in zip(places, kernel)]
    x = y.new_zeros(len(y), weight.shape[1], *size)
    for tap, w in zip(product(*map(range, kernel)), weight.flatten(2).unbind(-1)):
        at = [slice(t, t + stride * n, stride) for t, n in zip(tap, places)]
        x[(_ALL, _ALL, *at)] += torch.tensordot(y, w, dims=([1], [0])).movedim(-1, 1)
    return x[(_ALL, _ALL, *(slice(padding, n - padding) for n in size))]


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


_ROW = torch.tensor([[[1.0, 2.0, 4.0, 8.0]]], dtype=torch.float64)
_STEP = torch.tensor([[[-1.0, 0.0, 2.0]]], dtype=torch.float64)

# ---------------------------------------------------------------------------------------------------------------------
# Cases


def _down(name: str, x: Tensor, weight: Tensor, stride: int, padding: int, hint: str) -> Case:
    return Case(name, dict(x=x, weight=weight, stride=stride, padding=padding), hint, gradient=("x", "weight"))


def _up(name: str, y: Tensor, weight: Tensor, stride: int, padding: int, hint: str) -> Case:
    return Case(name, dict(y=y, weight=weight, stride=stride, padding=padding), hint, gradient=("y", "weight"))


_CONVOLVE = (
    _down("four voxels in a row", _ROW, _STEP, 1, 0,
          "Two places: -1 + 2 * 4 = 7 and -2 + 2 * 8 = 14. The kernel is not turned, and no voxel is made up."),
    _down("an image and two kernels", _draw(1, 1, 5, 6, seed=0), _draw(2, 1, 3, 2, seed=1), 1, 0,
          "Each kernel gives a channel. A kernel need not be square: 5 x 6 voxels under 3 x 2 give 3 x 5."),
    _down("three channels", _draw(2, 3, 5, 5, seed=2), _draw(2, 3, 3, 3, seed=3), 1, 0,
          "A kernel has weights for each channel of the image, and the sum is over all of them."),
    _down("a stride of two", _draw(1, 1, 7, 8, seed=4), _draw(1, 1, 3, 3, seed=5), 2, 0,
          "Every second place, the first included: of 5 x 6 places 3 x 3."),
    _down("zeros around", _draw(1, 1, 4, 4, seed=6), _draw(1, 1, 3, 3, seed=7), 1, 1,
          "One zero on each side of each axis: the map is as large as the image."),
    _down("all of it, in a volume", _draw(2, 2, 4, 5, 6, seed=8), _draw(3, 2, 2, 3, 3, seed=9), 2, 1,
          "The same lines should serve one, two and three axes of space."),
    _down("no image", torch.zeros(0, 2, 5, 5, dtype=torch.float64), _draw(3, 2, 3, 3, seed=10), 1, 0,
          "An empty batch has a map of shape (0, 3, 3, 3)."),
)


def _sizes(name: str, size: int, layers: list[tuple[int, int, int]], hint: str) -> Case:
    return Case(name, dict(size=size, layers=layers), hint)


_SIZES = (
    _sizes("one layer without padding", 10, [(3, 1, 0)], "A kernel of 3 can stand in 8 places of 10."),
    _sizes("padding on both sides", 10, [(5, 1, 2)], "The rim is put on both sides: 10 + 4 voxels, 10 places."),
    _sizes("a stride that leaves a rest", 10, [(3, 2, 0)], "Of 8 places every second is taken: 4 of them."),
    _sizes("a stride, an odd number of places", 9, [(3, 2, 0)], "Of 7 places the first, third, fifth and seventh."),
    _sizes("three layers", 64, [(3, 1, 1), (3, 2, 1), (2, 2, 0)], "What one layer leaves is what the next one gets."),
    _sizes("a kernel too large", 4, [(7, 2, 1)], "Seven do not fit into 4 + 2 voxels: nothing is left."),
    _sizes("too large by more", 2, [(7, 2, 0), (1, 1, 2)],
           "Once nothing is left, no padding brings a map back. Nor is a size ever negative."),
    _sizes("no layer", 12, [], "Nothing was done: all voxels are left."),
)

_TRANSPOSE = (
    _up("one voxel", torch.tensor([[[3.0]]], dtype=torch.float64), _STEP, 1, 0,
        "A single voxel stamps the kernel, times its value: -3, 0, 6."),
    _up("stamps that overlap", _ROW, _STEP, 2, 0,
        "Four stamps, two voxels apart: 9 voxels. Where two overlap they add up."),
    _up("two channels from three", _draw(2, 3, 3, 4, seed=11), _draw(3, 2, 3, 3, seed=12), 1, 0,
        "The weights are those of `convolve`, (O, C, *k): here O comes in and C goes out."),
    _up("a rim cut off", _draw(1, 1, 4, 4, seed=13), _draw(1, 1, 3, 3, seed=14), 1, 1,
        "What was put around on the way down is cut off on each side: 4 x 4 again."),
    _up("stride and rim", _draw(1, 2, 3, 5, seed=15), _draw(2, 1, 4, 3, seed=16), 2, 1,
        "The size is stride * (n - 1) + k - 2 * padding along each axis: 6 x 9."),
    _up("in a volume", _draw(1, 2, 2, 3, 2, seed=17), _draw(2, 2, 2, 3, 2, seed=18), 3, 0,
        "The same lines should serve three axes of space. A stride above the kernel leaves zeros between the stamps."),
    _up("no map", torch.zeros(0, 3, 2, 2, dtype=torch.float64), _draw(3, 2, 3, 3, seed=19), 2, 0,
        "An empty batch has an image of shape (0, 2, 5, 5)."),
)

CHECKS = (
    Check("convolution.convolve", convolve, _CONVOLVE),
    Check("convolution.size_after", size_after, _SIZES),
    Check("convolution.transpose", transpose, _TRANSPOSE),
)
