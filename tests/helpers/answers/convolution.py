"""Answers to chapter 5's exercises."""
from itertools import product

import torch
from torch.nn import functional as F

from helpers.answers import right, wrong

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

# ---------------------------------------------------------------------------------------------------------------------
# convolution.convolve


@right("convolution.convolve")
def by_torch(x, weight, stride, padding):
    return CONV[x.ndim - 2](x, weight, stride=stride, padding=padding)


@right("convolution.convolve")
def tap_by_tap(x, weight, stride, padding):
    kernel = weight.shape[2:]
    x = F.pad(x, [padding] * 2 * len(kernel))
    size = [(n - k) // stride + 1 for n, k in zip(x.shape[2:], kernel)]
    total = 0
    for tap in product(*map(range, kernel)):
        shifted = x[(..., *(slice(t, t + stride * n, stride) for t, n in zip(tap, size)))]
        total = total + torch.einsum("bc...,oc->bo...", shifted, weight[(..., *tap)])
    return total


@right("convolution.convolve")
def by_fourier(x, weight, stride, padding):
    """A product of spectra, the kernel's conjugated: all places at once, of which every one without a seam is kept."""
    axes = tuple(range(2, x.ndim))
    if not len(x):
        return by_torch(x, weight, stride, padding)
    x = F.pad(x, [padding] * 2 * len(axes))
    size = x.shape[2:]
    spectrum = torch.einsum("bc...,oc...->bo...", torch.fft.fftn(x, dim=axes),
                            torch.fft.fftn(weight, s=size, dim=axes).conj())
    y = torch.fft.ifftn(spectrum, dim=axes).real
    return y[(..., *(slice(0, n - k + 1, stride) for n, k in zip(size, weight.shape[2:])))]


@wrong("convolution.convolve", at="four voxels in a row")
def turned(x, weight, stride, padding):
    return by_torch(x, weight.flip(list(range(2, weight.ndim))), stride, padding)


@wrong("convolution.convolve", at="four voxels in a row")
def always_as_large(x, weight, stride, padding):
    return CONV[x.ndim - 2](x, weight, stride=stride, padding=[k // 2 for k in weight.shape[2:]])


@wrong("convolution.convolve", at="four voxels in a row")
def cut_from_the_graph(x, weight, stride, padding):
    return by_torch(x, weight.detach(), stride, padding)


@wrong("convolution.convolve", at="an image and two kernels")
def square_kernels_alone(x, weight, stride, padding):
    k = weight.shape[-1]
    return by_torch(x, weight[(..., *[slice(k)] * (weight.ndim - 2))], stride, padding)


@wrong("convolution.convolve", at="an image and two kernels")
def one_kernel_alone(x, weight, stride, padding):
    return by_torch(x, weight[:1], stride, padding)


@wrong("convolution.convolve", at="three channels")
def the_mean_over_channels(x, weight, stride, padding):
    return by_torch(x, weight, stride, padding) / x.shape[1]


@wrong("convolution.convolve", at="three channels")
def the_first_channel_alone(x, weight, stride, padding):
    return by_torch(x[:, :1], weight[:, :1], stride, padding)


@wrong("convolution.convolve", at="a stride of two")
def without_the_stride(x, weight, stride, padding):
    return by_torch(x, weight, 1, padding)


@wrong("convolution.convolve", at="a stride of two")
def from_the_second_place(x, weight, stride, padding):
    return by_torch(x, weight, 1, padding)[(..., *[slice(stride - 1, None, stride)] * (x.ndim - 2))]


@wrong("convolution.convolve", at="zeros around")
def the_rim_repeated(x, weight, stride, padding):
    mode = "replicate" if padding else "constant"
    return by_torch(F.pad(x, [padding] * 2 * (x.ndim - 2), mode=mode), weight, stride, 0)


@wrong("convolution.convolve", at="zeros around")
def zeros_on_one_side(x, weight, stride, padding):
    return by_torch(F.pad(x, [2 * padding, 0] * (x.ndim - 2)), weight, stride, 0)


@wrong("convolution.convolve", at="all of it, in a volume")
def slices_at_most(x, weight, stride, padding):
    x, weight = (x[:, :, 0], weight[:, :, 0]) if x.ndim == 5 else (x, weight)
    return by_torch(x, weight, stride, padding)


@wrong("convolution.convolve", at="no image")
def one_map_of_nothing(x, weight, stride, padding):
    return torch.cat([by_torch(one[None], weight, stride, padding) for one in x])


# ---------------------------------------------------------------------------------------------------------------------
# convolution.size_after


@right("convolution.size_after")
def by_counting(size, layers):
    for kernel, stride, padding in layers:
        size = len(range(0, size + 2 * padding - kernel + 1, stride)) if size else 0
    return size


@right("convolution.size_after")
def by_trying(size, layers):
    for kernel, stride, padding in layers:
        if not size or size + 2 * padding < kernel:
            return 0
        size = F.max_pool1d(F.pad(torch.zeros(1, 1, size), [padding, padding]), kernel, stride).shape[-1]
    return size


@right("convolution.size_after")
def as_many_as_fit(size, layers):
    """The other way round: n places need stride * (n - 1) + kernel voxels."""
    for kernel, stride, padding in layers:
        room = size + 2 * padding if size else 0
        size = max(n for n in range(room + 1) if n == 0 or stride * (n - 1) + kernel <= room)
    return size


def _floor(size, layers, left=lambda n, k, s, p: (n + 2 * p - k) // s + 1):
    for kernel, stride, padding in layers:
        size = max(0, left(size, kernel, stride, padding)) if size else 0
    return size


@wrong("convolution.size_after", at="one layer without padding")
def forgets_the_one(size, layers):
    return _floor(size, layers, lambda n, k, s, p: (n + 2 * p - k) // s)


@wrong("convolution.size_after", at="one layer without padding")
def as_if_padded(size, layers):
    return _floor(size, layers, lambda n, k, s, p: -(-n // s))


@wrong("convolution.size_after", at="padding on both sides")
def padding_on_one_side(size, layers):
    return _floor(size, layers, lambda n, k, s, p: (n + p - k) // s + 1)


@wrong("convolution.size_after", at="a stride that leaves a rest")
def rounds_up(size, layers):
    return _floor(size, layers, lambda n, k, s, p: -(-(n + 2 * p - k) // s) + 1)


@wrong("convolution.size_after", at="a stride that leaves a rest")
def a_fraction(size, layers):
    left = _floor(size, layers, lambda n, k, s, p: (n + 2 * p - k) / s + 1)
    return int(left) if left == int(left) else left


@wrong("convolution.size_after", at="a stride, an odd number of places")
def drops_the_last(size, layers):
    return _floor(size, layers, lambda n, k, s, p: (n + 2 * p - k + 1) // s)


@wrong("convolution.size_after", at="three layers")
def the_last_layer_alone(size, layers):
    return _floor(size, layers[-1:])


@wrong("convolution.size_after", at="a kernel too large")
def rounds_towards_zero(size, layers):
    return _floor(size, layers, lambda n, k, s, p: int((n + 2 * p - k) / s) + 1)


@wrong("convolution.size_after", at="too large by more")
def goes_on_with_nothing(size, layers):
    for kernel, stride, padding in layers:
        size = max(0, (size + 2 * padding - kernel) // stride + 1)
    return size


@wrong("convolution.size_after", at="no layer")
def at_least_one_layer(size, layers):
    return _floor(size, layers or [(1, 2, 0)])


# ---------------------------------------------------------------------------------------------------------------------
# convolution.transpose


@right("convolution.transpose")
def by_torchs_transpose(y, weight, stride, padding):
    return TRANSPOSED[y.ndim - 2](y, weight, stride=stride, padding=padding)


@right("convolution.transpose")
def zeros_between_then_turned(y, weight, stride, padding):
    kernel = weight.shape[2:]
    apart = y.new_zeros(*y.shape[:2], *(stride * (n - 1) + 1 for n in y.shape[2:]))
    apart[(..., *[slice(None, None, stride)] * len(kernel))] = y
    apart = F.pad(apart, [side for k in reversed(kernel) for side in (k - 1, k - 1)])
    x = by_torch(apart, weight.transpose(0, 1).flip(list(range(2, weight.ndim))), 1, 0)
    return x[(..., *(slice(padding, n - padding) for n in x.shape[2:]))]


@right("convolution.transpose")
def the_way_back_of_a_convolution(y, weight, stride, padding):
    if not len(y):
        return by_torchs_transpose(y, weight, stride, padding)
    size = [stride * (n - 1) + k - 2 * padding for n, k in zip(y.shape[2:], weight.shape[2:])]
    x = y.new_zeros(len(y), weight.shape[1], *size).requires_grad_()
    return torch.autograd.grad(by_torch(x, weight, stride, padding), x, y, create_graph=True)[0]


@wrong("convolution.transpose", at="one voxel")
def kernel_turned(y, weight, stride, padding):
    return by_torchs_transpose(y, weight.flip(list(range(2, weight.ndim))), stride, padding)


@wrong("convolution.transpose", at="one voxel")
def gathers(y, weight, stride, padding):
    return by_torch(y, weight, stride, max(weight.shape[2:]) // 2)


@wrong("convolution.transpose", at="stamps that overlap")
def the_last_stamp_wins(y, weight, stride, padding):
    kernel, places = weight.shape[2:], y.shape[2:]
    x = y.new_zeros(len(y), weight.shape[1], *(stride * (n - 1) + k for n, k in zip(places, kernel)))
    for at in product(*map(range, places)):
        stamped = torch.einsum("bo,oc...->bc...", y[(..., *at)], weight)
        x[(..., *(slice(stride * a, stride * a + k) for a, k in zip(at, kernel)))] = stamped
    return x[(..., *(slice(padding, n - padding) for n in x.shape[2:]))]


@wrong("convolution.transpose", at="stamps that overlap")
def repeats_first(y, weight, stride, padding):
    for axis in range(2, y.ndim):
        y = y.repeat_interleave(stride, axis)
    return by_torchs_transpose(y, weight, 1, padding)


@wrong("convolution.transpose", at="stamps that overlap")
def the_mean_of_the_stamps(y, weight, stride, padding):
    times = by_torchs_transpose(torch.ones_like(y), torch.ones_like(weight), stride, padding)
    return by_torchs_transpose(y, weight, stride, padding) * y.shape[1] / times.clamp_min(1)


@wrong("convolution.transpose", at="two channels from three")
def channels_the_other_way(y, weight, stride, padding):
    return by_torchs_transpose(y[:, :1], weight[:1], stride, padding)


@wrong("convolution.transpose", at="a rim cut off")
def keeps_the_rim(y, weight, stride, padding):
    return by_torchs_transpose(y, weight, stride, 0)


@wrong("convolution.transpose", at="stride and rim")
def rim_times_stride(y, weight, stride, padding):
    return by_torchs_transpose(y, weight, stride, 0)[
        (..., *(slice(stride * padding, -stride * padding or None) for _ in range(y.ndim - 2)))]


@wrong("convolution.transpose", at="in a volume")
def no_zeros_between(y, weight, stride, padding):
    return by_torchs_transpose(y, weight, min(stride, 2), padding)


@wrong("convolution.transpose", at="no map")
def an_image_of_nothing(y, weight, stride, padding):
    return torch.cat([by_torchs_transpose(one[None], weight, stride, padding) for one in y])
