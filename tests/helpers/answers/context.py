"""Answers to chapter 6's exercises."""
from functools import reduce
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# context.dilate


@right("context.dilate")
def by_a_transposed_convolution(weight, rate):
    dim = weight.ndim - 2
    spread = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[dim]
    return spread(weight.flatten(0, 1)[:, None], weight.new_ones(1, 1, *[1] * dim), stride=rate).view(
        *weight.shape[:2], *(rate * (k - 1) + 1 for k in weight.shape[2:]))


@right("context.dilate")
def axis_by_axis(weight, rate):
    for axis in range(2, weight.ndim):
        taps = weight.unbind(axis)
        gap = [torch.zeros_like(taps[0])] * (rate - 1)
        row = [taps[0]] + [slab for tap in taps[1:] for slab in [*gap, tap]]
        weight = torch.stack(row, dim=axis)
    return weight


@right("context.dilate")
def by_products_of_eyes(weight, rate):
    for axis in range(2, weight.ndim):
        k = weight.shape[axis]
        spread = torch.eye(rate * (k - 1) + 1, dtype=weight.dtype, device=weight.device)[::rate]
        weight = (weight.movedim(axis, -1) @ spread).movedim(-1, axis)
    return weight


def _spread(weight, rate, width):
    """The taps `rate` apart, in kernels of the given width along each axis."""
    wide = weight.new_zeros(*weight.shape[:2], *(width(k) for k in weight.shape[2:]))
    wide[(..., *(slice(0, rate * (k - 1) + 1, rate) for k in weight.shape[2:]))] = weight
    return wide


@wrong("context.dilate", at="three taps at rate 2")
def a_zero_after_every_tap(weight, rate):
    return _spread(weight, rate, lambda k: rate * k)


@wrong("context.dilate", at="three taps at rate 2")
def r_zeros_between(weight, rate):
    return axis_by_axis(weight, rate + 1)


@wrong("context.dilate", at="three taps at rate 2")
def repeated_taps(weight, rate):
    return _spread(weight, rate, lambda k: rate * (k - 1) + 1).cumsum(-1)


@wrong("context.dilate", at="three taps at rate 2")
def stretched(weight, rate):
    return weight.repeat_interleave(rate, dim=-1)[..., :rate * (weight.shape[-1] - 1) + 1]


@wrong("context.dilate", at="a kernel of two axes at rate 3")
def along_the_last_axis_only(weight, rate):
    k = weight.shape[-1]
    wide = weight.new_zeros(*weight.shape[:-1], rate * (k - 1) + 1)
    wide[..., ::rate] = weight
    return wide


@wrong("context.dilate", at="a kernel of two axes at rate 3")
def rate_two_for_all(weight, rate):
    return axis_by_axis(weight, min(rate, 2))


@wrong("context.dilate", at="rate 1")
def at_least_rate_two(weight, rate):
    return axis_by_axis(weight, max(rate, 2))


@wrong("context.dilate", at="many channels")
def first_channels_only(weight, rate):
    return axis_by_axis(weight[:1, :1], rate)


@wrong("context.dilate", at="many channels")
def channels_exchanged(weight, rate):
    return axis_by_axis(weight.transpose(0, 1), rate)


@wrong("context.dilate", at="five taps by two")
def as_wide_as_the_last_axis(weight, rate):
    return _spread(weight, rate, lambda k: rate * (weight.shape[-1] - 1) + 1)


@wrong("context.dilate", at="a volume")
def at_most_two_axes(weight, rate):
    return axis_by_axis(weight, rate) if weight.ndim < 5 else torch.stack(
        [axis_by_axis(plane, rate) for plane in weight.unbind(2)], dim=2)


@wrong("context.dilate", at="a kernel of zeros")
def nothing_to_do_without_weights(weight, rate):
    return axis_by_axis(weight, rate) if weight.any() else weight.clone()


@wrong("context.dilate", at="double precision")
def always_single(weight, rate):
    return axis_by_axis(weight, rate).float()


@wrong("context.dilate", at="the gradient")
def cut(weight, rate):
    return axis_by_axis(weight.detach(), rate)


# ---------------------------------------------------------------------------------------------------------------------
# context.reach


@right("context.reach")
def from_the_output_back(layers):
    """How many voxels of the layer below are needed for one of the output."""
    size = 1
    for kernel, rate, stride in reversed(layers):
        size = (size - 1) * stride + rate * (kernel - 1) + 1
    return size, reduce(lambda jump, layer: jump * layer[2], layers, 1)


@right("context.reach")
def by_intervals(layers):
    """First and last voxel seen by output 0 and by output 1."""
    def interval(first, last):
        for kernel, rate, stride in layers[::-1]:
            first, last = first * stride, last * stride + rate * (kernel - 1)
        return first, last
    (a, b), (c, _) = interval(0, 0), interval(1, 1)
    return [b - a + 1, c - a]


@right("context.reach")
def as_it_grows(layers):
    size, jump = 1, 1
    for kernel, rate, stride in layers:
        size += (kernel - 1) * rate * jump
        jump *= stride
    return size, jump


@wrong("context.reach", at="one layer")
def the_reach_to_one_side(layers):
    size, jump = as_it_grows(layers)
    return size // 2, jump


@wrong("context.reach", at="one layer")
def the_size_alone(layers):
    return as_it_grows(layers)[0]


@wrong("context.reach", at="one dilated layer")
def rates_forgotten(layers):
    return as_it_grows([(kernel, 1, stride) for kernel, _, stride in layers])


@wrong("context.reach", at="one dilated layer")
def kernel_times_rate(layers):
    return as_it_grows([(kernel * rate if rate > 1 else kernel, 1, stride) for kernel, rate, stride in layers])


@wrong("context.reach", at="layer upon layer")
def widths_added(layers):
    size, jump = 0, 1
    for kernel, rate, stride in layers:
        size += ((kernel - 1) * rate + 1) * jump
        jump *= stride
    return max(size, 1), jump


@wrong("context.reach", at="layer upon layer")
def the_widest_layer(layers):
    return max([as_it_grows([layer])[0] for layer in layers], default=1), as_it_grows(layers)[1]


@wrong("context.reach", at="a stride")
def strides_only_in_the_jump(layers):
    return 1 + sum((kernel - 1) * rate for kernel, rate, _ in layers), as_it_grows(layers)[1]


@wrong("context.reach", at="a stride")
def own_stride_too(layers):
    size, jump = 1, 1
    for kernel, rate, stride in layers:
        jump *= stride
        size += (kernel - 1) * rate * jump
    return size, jump


@wrong("context.reach", at="the stride of the last layer")
def the_last_layer_never_moves(layers):
    return as_it_grows([*layers[:-1], (*layers[-1][:2], 1)]) if len(layers) == 2 else as_it_grows(layers)


@wrong("context.reach", at="the encoder of U-Net")
def jumps_added(layers):
    size, jump = 1, 1
    for kernel, rate, stride in layers:
        size += (kernel - 1) * rate * jump
        jump += stride - 1
    return size, jump


@wrong("context.reach", at="one by one")
def a_rate_even_of_one(layers):
    size, jump = 1, 1
    for kernel, rate, stride in layers:
        size += ((kernel - 1) * rate if kernel > 1 else rate - 1) * jump
        jump *= stride
    return size, jump


@wrong("context.reach", at="no layers")
def nothing_sees_nothing(layers):
    return as_it_grows(layers) if layers else (0, 1)


# ---------------------------------------------------------------------------------------------------------------------
# context.seen


def _mask(offsets, length):
    mask = torch.zeros(length, dtype=torch.bool)
    mask[list(offsets)] = True
    return mask


@right("context.seen")
def by_all_paths(rates, kernel):
    paths = {sum(path) for path in product(*[[rate * t for t in range(kernel)] for rate in rates])}
    return _mask(paths, max(paths) + 1)


@right("context.seen")
def by_convolving_kernels(rates, kernel):
    paths = np.ones(1)
    for rate in rates:
        taps = np.zeros(rate * (kernel - 1) + 1)
        taps[::rate] = 1
        paths = np.convolve(paths, taps)
    return torch.from_numpy(paths > 0.5)


@right("context.seen")
def by_the_gradient(rates, kernel):
    image = torch.zeros(1, 1, 1 + (kernel - 1) * sum(rates), requires_grad=True)
    z = image
    for rate in rates:
        z = F.conv1d(z, torch.ones(1, 1, kernel), dilation=rate)
    gradient, = torch.autograd.grad((z * 1).sum(), image)
    return gradient[0, 0] > 0


@wrong("context.seen", at="one layer")
def as_numbers(rates, kernel):
    return by_all_paths(rates, kernel).long()


@wrong("context.seen", at="one layer")
def one_side_only(rates, kernel):
    mask = by_all_paths(rates, kernel)
    return mask[len(mask) // 2:]


@wrong("context.seen", at="one dilated layer")
def all_within_the_extent(rates, kernel):
    return torch.ones(1 + (kernel - 1) * sum(rates), dtype=torch.bool)


@wrong("context.seen", at="equal rates")
def one_layer_after_the_other(rates, kernel):
    """The taps of every layer, instead of sums of taps."""
    length = 1 + (kernel - 1) * sum(rates)
    middle, half = length // 2, kernel // 2
    return _mask({middle + rate * t for rate in rates for t in range(-half, half + 1)} | {middle}, length)


@wrong("context.seen", at="mixed rates")
def a_lattice_of_the_largest(rates, kernel):
    length = 1 + (kernel - 1) * sum(rates)
    return _mask(range(0, length, max(rates, default=1)), length)


@wrong("context.seen", at="holes further out")
def a_lattice_of_the_common_factor(rates, kernel):
    length = 1 + (kernel - 1) * sum(rates)
    return _mask(range(0, length, int(np.gcd.reduce(rates)) or 1), length)


@wrong("context.seen", at="equal rates")
def the_extent_of_the_first(rates, kernel):
    return by_all_paths(rates[:1], kernel)


@wrong("context.seen", at="no small rate")
def full_without_a_common_factor(rates, kernel):
    if rates and min(rates) > 1 and np.gcd.reduce(rates) == 1:
        return all_within_the_extent(rates, kernel)
    return by_all_paths(rates, kernel)


@wrong("context.seen", at="larger kernels")
def always_three_taps(rates, kernel):
    return by_all_paths(rates, 3)


@wrong("context.seen", at="no layers")
def nothing_without_layers(rates, kernel):
    return by_all_paths(rates, kernel) if rates else torch.zeros(0, dtype=torch.bool)


@wrong("context.seen", at="the context module")
def three_layers_at_most(rates, kernel):
    return by_all_paths(rates[:3], kernel)
