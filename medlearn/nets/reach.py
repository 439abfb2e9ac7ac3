r"""What a network sees: which voxels of the input can move one voxel of the output (chapter 6)."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from medlearn.base.validation import kind_of
from medlearn.nets.blocks import check_counts


@dataclass(frozen=True)
class ReceptiveField:
    r"""What output voxel $o$ sees along each axis: `size` voxels around $\mathrm{offset} + \mathrm{jump} \cdot o$.

    Shapes: each a number for each axis of space. Units: voxels of the input. `jump` is the step of the window from one
    output voxel to the next. It is 0 where the window does not move because every output sees the whole image. Behind
    an upsampling neighbours may share a window before it moves on: `size` is then the largest window, and `jump` and
    `offset` are means. Chapter 6.

    >>> seen = analytic_receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)))
    >>> seen
    ReceptiveField(size=(4, 4), jump=(2, 2), offset=(1.5, 1.5))
    >>> seen.offset[0] + seen.jump[0] * 10                              # the middle of what output voxel 10 sees
    21.5
    """

    size: tuple[int, ...]
    jump: tuple[int | float, ...]
    offset: tuple[float, ...]


def effective_kernel(kernel: int, rate: int) -> int:
    r"""The width of a dilated kernel, $k_\mathrm{eff} = k + (k - 1)(r - 1)$: k taps, r voxels from one to the next.

    Units: voxels. Errors: TypeError or ValueError for a `kernel` or a `rate` that is not a whole number of 1 or more.
    Source: Yu and Koltun 2016, sec. 2, arXiv:1511.07122. Chapter 6.

    >>> effective_kernel(3, rate=4)
    9
    """
    kernel, rate = check_counts(kernel=kernel, rate=rate)
    return kernel + (kernel - 1) * (rate - 1)


def coverage(module: nn.Module, input_shape: Sequence[int], *, at: Sequence[int] | None = None,
             output: Callable[[Any], Tensor] | None = None) -> Bool[Tensor, "*s"]:
    r"""Which input voxels $x$ can move the output voxel $y$ at a place, with $\partial y / \partial x \ne 0$.

    Shapes: `module` takes images `(1, C, *S)`; `input_shape (C, *S)` of one image; `at` indexes the output's axes of
    space, its middle when left out; the mask is `(*S)`, true where any channel is seen. `output` picks one tensor
    `(1, K, *O)` from what the module gives.
    What counts is the wiring, not what was learnt: each layer is asked by its gradient, with equal positive weights in
    the place of its own (a weight of zero would hide a path), an average for each maximum (whose gradient reaches one
    voxel only) and for a softmax over the channels, and without activations, dropout and norms. Norms that average
    over the image (group, instance and layer norm over space; batch norm while it trains) make every voxel reach every
    other, and a network can learn to use it: what is said here of such a network is its wiring, and no bound on what it
    knows. The module itself stays as it is; what it computes from the *values* of the image, as an index or a mask, is
    seen for an image of ones. Nothing seen gives a mask of false.
    Errors: TypeError for anything but a module; ValueError for a shape that is none, an output that is no `(1, K, *O)`
    with the input's number of axes, a place outside of it, a dilated max pooling. Chapter 6.

    >>> coverage(nn.Conv2d(1, 1, 3, dilation=2, padding=2), (1, 5, 5)).int()
    tensor([[1, 0, 1, 0, 1],
            [0, 0, 0, 0, 0],
            [1, 0, 1, 0, 1],
            [0, 0, 0, 0, 0],
            [1, 0, 1, 0, 1]], dtype=torch.int32)
    """
    probe = _Probe(module, input_shape, output)
    place = [n // 2 for n in probe.grid] if at is None else at
    fits = _whole_numbers(place) and len(place) == len(probe.grid)
    if not fits or not all(0 <= i < n for i, n in zip(place, probe.grid)):
        raise ValueError(f"at: expected a voxel of the output's grid {probe.grid}, got {place!r}")
    return probe.seen_from(list(place))


def receptive_field(module: nn.Module, input_shape: Sequence[int], *,
                    output: Callable[[Any], Tensor] | None = None) -> ReceptiveField:
    r"""Size, jump and offset of any module's receptive field, measured by `coverage` around the output's middle.

    `module`, `input_shape`, `output` and what counts: as in `coverage`. The extent is measured, holes
    included, from voxel to voxel until its steps repeat: three voxels for a stack of layers, two periods where an
    upsampling makes the steps uneven.
    Where every output sees the whole image, by attention, by a global pooling or because the image is small, the size
    is the image's own and the jump 0. Norms that average over the whole image reach everywhere and are not counted.
    Errors: as `coverage`; ValueError for an image so small that its border cuts the window before the steps repeat.
    Source: Araujo et al. 2019, doi:10.23915/distill.00021. Chapter 6.

    >>> receptive_field(nn.Sequential(nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.Conv2d(8, 1, 3)), (1, 32, 32))
    ReceptiveField(size=(8, 8), jump=(2, 2), offset=(3.5, 3.5))
    """
    probe = _Probe(module, input_shape, output)
    whole = probe.whole_axes()
    found: dict[int, tuple[int, int | float, float]] = {
        axis: (n, 0, (n - 1) / 2) for axis, n in enumerate(probe.space) if axis in whole}
    runs = probe.neighbours()
    while len(found) < len(probe.grid):
        first, run = next(runs)
        for axis in set(range(len(probe.grid))) - set(found):
            spans = [along[axis] for along in run]
            probe.check_uncut(axis, first, spans)
            if rhythm := _rhythm(spans):
                found[axis] = _field(probe.grid[axis] // 2 + first, spans, *rhythm)
    return ReceptiveField(*zip(*(found[axis] for axis in sorted(found))))


def analytic_receptive_field(stack: nn.Sequential) -> ReceptiveField:
    r"""The same by the rule, for layers in a row: $\mathrm{size} = 1 + \sum_i (k_i - 1) \, r_i \prod_{j<i} s_j$.

    The jump is $\prod_i s_i$. With the padding $p_i$ before the first voxel the offset is
    $\sum_i \big( \tfrac12 (k_i - 1) r_i - p_i \big) \prod_{j<i} s_j$.
    `stack` may hold convolutions and poolings of one number of axes, activations, norms, dropout, and further stacks.
    Errors: TypeError for anything else in it; ValueError for none that has a kernel, or different numbers of axes.
    Source: Araujo et al. 2019, eq. 2 to 6, doi:10.23915/distill.00021. Chapter 6.

    >>> analytic_receptive_field(nn.Sequential(*(nn.Conv3d(1, 1, 3, dilation=rate) for rate in (1, 2, 4)))).size
    (15, 15, 15)
    """
    windows = list(_windows(stack))
    dims = {len(window[0]) for window in windows}
    if len(dims) != 1:
        raise ValueError(f"stack: expected convolutions or poolings with one number of axes, "
                         f"got {sorted(dims) or 'none'}")
    dim = dims.pop()
    size, jump, offset = [1] * dim, [1] * dim, [0.0] * dim
    for window in windows:
        for axis, (kernel, rate, stride, padding) in enumerate(zip(*window)):
            reach = effective_kernel(kernel, rate) - 1
            size[axis] += reach * jump[axis]
            offset[axis] += (reach / 2 - padding) * jump[axis]
            jump[axis] *= stride
    return ReceptiveField(tuple(size), tuple(jump), tuple(offset))


# ---------------------------------------------------------------------------------------------------------------------
# Measuring

class _Wiring(TorchFunctionMode):
    """Runs a network as its wiring alone: all layers positive and linear, and every gradient 0 or 1."""

    def __init__(self, image: Sequence[int]):
        super().__init__()
        self.image = image                                      # its shape, with that of the batch

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "").strip("_")         # relu_ works in place, _threshold is torch's
        if name in _POINTWISE:
            return args[0] if args else kwargs["input"]
        if name in _WEIGHTED:                                   # here, so that weights made on the fly are met as well
            result = _equal_weights(func, *args, **kwargs)
        elif name in _SOFTMAXES:
            result = _softmax(func, len(self.image), *args, **kwargs)
        else:
            result = _MAXIMA.get(name, func)(*args, **kwargs)
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, Tensor) and tensor.requires_grad:
                tensor.register_hook(_touched_if_used)
        return result


class _Probe:
    """One forward pass of a network's wiring, to be asked from any voxel of its output."""

    def __init__(self, module: nn.Module, input_shape: Sequence[int], output: Callable[[Any], Tensor] | None):
        if not isinstance(module, nn.Module):
            raise TypeError(f"module: expected an nn.Module, got {kind_of(module)}")
        if output is not None and not callable(output):
            raise TypeError(f"output: expected a function, got {output!r}")
        if not _whole_numbers(input_shape) or len(input_shape) < 2 or min(input_shape) < 1:
            raise ValueError(f"input_shape: expected (C, *S) of one image, all 1 or more, got {input_shape!r}")
        shape = [int(n) for n in input_shape]
        wiring = deepcopy(module).float().eval().requires_grad_(False)
        device = next((p.device for p in wiring.parameters()), torch.device("cpu"))
        for p in wiring.parameters():                           # a gate that starts at zero is open
            p.fill_(1 / p[0].numel() if p.ndim > 1 else 1)
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
            self._image = torch.ones(1, *shape, device=device, requires_grad=True)
            with _Wiring(self._image.shape):
                answer = wiring(self._image)
                answer = answer if output is None else output(answer)
        if not isinstance(answer, Tensor) or answer.ndim != len(shape) + 1 or answer.numel() == 0:
            raise ValueError(f"output: expected one tensor (1, K, *O) with {len(shape) - 1} axes of space, "
                             f"got {kind_of(answer)}; `output=` picks one of several, or gives tokens their grid back")
        if not answer.requires_grad:
            raise ValueError("output: expected one that depends on the input, got one that does not")
        self._answer, self.space, self.grid = answer, tuple(shape[1:]), tuple(answer.shape[2:])

    def seen_from(self, place: Sequence[int]) -> Bool[Tensor, "*s"]:
        start = torch.zeros_like(self._answer)
        start.movedim((0, 1), (-2, -1))[tuple(place)] = 1
        gradient, = torch.autograd.grad(self._answer, self._image, start, retain_graph=True)
        return _touched(gradient)[0].any(dim=0)

    def spans(self, place: Sequence[int]) -> list[tuple[int, int]]:
        """First and last voxel that are seen along each axis."""
        seen = self.seen_from(place).nonzero()
        if len(seen) == 0:
            raise ValueError(f"output: expected a voxel that depends on the input, got none at {tuple(place)}")
        return list(zip(seen.amin(0).tolist(), seen.amax(0).tolist()))

    def whole_axes(self) -> set[int]:
        """The axes along which the middle and both corners of the output see all of the image."""
        axes = set(range(len(self.grid)))
        for place in ([n // 2 for n in self.grid], [0] * len(axes), [n - 1 for n in self.grid]):
            if axes:
                axes &= {axis for axis, span in enumerate(self.spans(place)) if span == (0, self.space[axis] - 1)}
        return axes

    def neighbours(self) -> Iterator[tuple[int, list[list[tuple[int, int]]]]]:
        """The spans of a growing run of outputs, and the first one's place before the middle.

        It goes along the diagonal: one measurement serves every axis.
        """
        first, run = 0, [self.spans([n // 2 for n in self.grid])]
        while True:
            yield first, run
            after = len(run) % 2 == 1
            step = first + len(run) if after else first - 1
            spans = self.spans([min(max(0, n // 2 + step), n - 1) for n in self.grid])
            first, run = (first, [*run, spans]) if after else (step, [spans, *run])

    def check_uncut(self, axis: int, first: int, spans: list[tuple[int, int]]) -> None:
        middle, end = self.grid[axis] // 2, self.space[axis] - 1
        inside = middle + first >= 0 and middle + first + len(spans) <= self.grid[axis]
        if not inside or any(low == 0 or high == end for low, high in spans):
            raise ValueError(f"input_shape: expected an image so large that its border does not cut what the output's "
                             f"middle sees, got {end + 1} voxels along axis {axis}")


def _touched(gradient: Tensor) -> Tensor:
    """1 where the gradient is more than rounding, else 0: so nothing under- or overflows in the deepest network."""
    size = gradient.abs()
    return (size > 1e-6 * size.max()).to(gradient.dtype)


def _touched_if_used(gradient: Tensor | None) -> Tensor | None:
    """None comes back to a part of a tensor that was cut into several and not used."""
    return None if gradient is None else _touched(gradient)


def _rhythm(spans: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The shortest period of a run of spans, and how far it advances; None where two periods are not seen yet."""
    for period in range(1, (len(spans) - 1) // 2 + 1):
        steps = {(low_later - low, high_later - high)
                 for (low, high), (low_later, high_later) in zip(spans, spans[period:])}
        advance, other = next(iter(steps))
        if len(steps) == 1 and advance == other > 0:
            return period, advance
    return None


def _field(first: int, spans: list[tuple[int, int]], period: int, advance: int) -> tuple[int, int | float, float]:
    """Size, jump and offset of a run of spans that repeats; `first` counts from output 0."""
    jump = advance // period if advance % period == 0 else advance / period
    centres = [(low + high) / 2 - jump * (first + i) for i, (low, high) in enumerate(spans[:period])]
    return max(high - low + 1 for low, high in spans[:period]), jump, sum(centres) / period


def _equal_weights(layer: Callable[..., Tensor], input: Tensor, weight: Tensor, bias: Tensor | None = None,
                   *geometry: Any, **options: Any) -> Tensor:
    return layer(input, torch.full_like(weight, 1 / weight[0].numel()), None, *geometry, **options)


def _softmax(func: Callable[..., Tensor], axes: int, x: Tensor, dim: int | None = None, *more: Any,
             **options: Any) -> Tensor:
    """Over the channels of a map all classes sum to 1, and so their gradients to 0: the mean has the same wiring."""
    if dim is None or x.ndim != axes or dim % x.ndim != 1:      # one over tokens may be masked, and is left as it is
        return func(x, dim, *more, **options)
    return x.mean(1, keepdim=True).expand_as(x)


def _gated(x: Tensor, dim: int = -1) -> Tensor:
    half, gate = x.chunk(2, dim)
    return (half + gate) / 2


def _whole_numbers(values: Any) -> bool:
    return isinstance(values, Sequence) and all(isinstance(n, Integral) and not isinstance(n, bool) for n in values)


def _average(dim: int) -> Callable[..., Any]:
    """An average pooling in the place of a maximum, called as it is."""
    average, indices = getattr(F, f"avg_pool{dim}d"), getattr(F, f"max_pool{dim}d_with_indices")

    def pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        if set(_each(dilation, dim)) != {1}:
            raise ValueError(f"module: expected max pooling without dilation, got {dilation}")
        pooled = average(x, kernel_size, stride or kernel_size, padding, ceil_mode)
        return (pooled, indices(x, kernel_size, stride, padding, 1, ceil_mode)[1]) if return_indices else pooled

    return pool


def _adaptive_average(dim: int) -> Callable[..., Any]:
    average = getattr(F, f"adaptive_avg_pool{dim}d")
    return lambda x, output_size, return_indices=False: average(x, output_size)


_DIMS = (1, 2, 3)
_WEIGHTED = {"linear", *(f"{name}{d}d" for name in ("conv", "conv_transpose") for d in _DIMS)}
_SOFTMAXES = {"softmax", "log_softmax", "softmin"}
_MAXIMA = {"amax": torch.mean, "glu": _gated,
           **{f"max_pool{d}d{with_}": _average(d) for d in _DIMS for with_ in ("", "_with_indices")},
           **{f"adaptive_max_pool{d}d": _adaptive_average(d) for d in _DIMS}}
_POINTWISE = {
    "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "softplus",
    "softsign", "sigmoid", "logsigmoid", "log_sigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "clamp",
    "clamp_min", "clamp_max", "hardshrink", "softshrink", "tanhshrink", "threshold", "sign", "round", "floor", "ceil",
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    "batch_norm", "instance_norm", "group_norm", "layer_norm", "rms_norm", "local_response_norm",
    "normalize",
}


# ---------------------------------------------------------------------------------------------------------------------
# The rule

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLINGS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_SEES_ONE_VOXEL = (
    nn.Identity, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU,
    nn.Mish, nn.Softplus, nn.Softsign, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid,
    nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Threshold, nn.Softmax2d,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.SyncBatchNorm,
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)


def _windows(stack: nn.Module) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Kernel, rate, stride and padding, each for every axis, of the layers that have a kernel."""
    if isinstance(stack, nn.Sequential) and type(stack).forward is nn.Sequential.forward:
        for layer in stack:
            yield from _windows(layer)
    elif isinstance(stack, _CONVOLUTIONS + _POOLINGS):
        dim = int(type(stack).__name__[-2])
        kernel, rate, stride = (_each(getattr(stack, name, 1), dim) for name in ("kernel_size", "dilation", "stride"))
        padding = stack.padding
        if isinstance(padding, str):
            padding = tuple((k - 1) * r // 2 if padding == "same" else 0 for k, r in zip(kernel, rate))
        yield kernel, rate, stride, _each(padding, dim)
    elif not isinstance(stack, _SEES_ONE_VOXEL) and not _is_over_channels(stack):
        raise TypeError(f"stack: expected layers in a row (convolutions, poolings, activations, norms), "
                        f"got {type(stack).__name__}")


def _is_over_channels(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Softmax, nn.LogSoftmax, nn.Softmin)) and layer.dim == 1


def _each(value: int | Sequence[int], dim: int) -> tuple[int, ...]:
    return (value,) * dim if isinstance(value, int) else tuple(value) * (dim if len(value) == 1 else 1)
