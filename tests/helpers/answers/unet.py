"""Answers to chapter 7's exercises."""
import torch
import torch.nn.functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# unet.merge


@right("unet.merge")
def by_interpolation(fine, coarse):
    if not len(fine):
        return torch.cat([fine, coarse.new_zeros(0, coarse.shape[1], *fine.shape[2:])], dim=1)
    doubled = F.interpolate(coarse, scale_factor=2, mode="nearest")
    return torch.cat([fine, doubled[(..., *map(slice, fine.shape[2:]))]], dim=1)


@right("unet.merge")
def by_index(fine, coarse):
    for axis in range(2, fine.ndim):
        coarse = coarse.index_select(axis, torch.arange(fine.shape[axis], device=coarse.device) // 2)
    return torch.cat((fine, coarse), 1)


@right("unet.merge")
def stretched(fine, coarse):
    if not len(fine):
        return by_interpolation(fine, coarse)
    return torch.cat([fine, F.interpolate(coarse, size=fine.shape[2:], mode="nearest")], dim=1)


@wrong("unet.merge", at="one channel each")
def coarse_first(fine, coarse):
    return by_index(fine, coarse).roll(coarse.shape[1], dims=1)


@wrong("unet.merge", at="one channel each")
def added(fine, coarse):
    return fine + by_index(fine, coarse)[:, fine.shape[1]:]


@wrong("unet.merge", at="one channel each")
def tiled(fine, coarse):
    return torch.cat([fine, coarse.repeat(1, 1, *[2] * (fine.ndim - 2))], dim=1)


@wrong("unet.merge", at="one channel each")
def smoothly(fine, coarse):
    mode = "bilinear" if fine.ndim == 4 else "trilinear"
    return torch.cat([fine, F.interpolate(coarse, size=fine.shape[2:], mode=mode)], dim=1)


@wrong("unet.merge", at="several images and channels")
def first_channel_only(fine, coarse):
    return by_index(fine, coarse[:, :1])


@wrong("unet.merge", at="odd sizes")
def the_first_is_cut(fine, coarse):
    for axis in range(2, fine.ndim):
        n = fine.shape[axis]
        coarse = coarse.repeat_interleave(2, dim=axis)
        coarse = coarse.narrow(axis, coarse.shape[axis] - n, n)
    return torch.cat([fine, coarse], dim=1)


@wrong("unet.merge", at="odd along one axis")
def cut_by_the_first_axis(fine, coarse):
    odd = fine.shape[2] % 2
    for axis in range(2, fine.ndim):
        coarse = coarse.repeat_interleave(2, dim=axis)
        coarse = coarse.narrow(axis, 0, coarse.shape[axis] - odd)
    return torch.cat([fine, coarse], dim=1)


@wrong("unet.merge", at="a volume")
def two_axes_only(fine, coarse):
    for axis in (2, 3):
        coarse = coarse.repeat_interleave(2, dim=axis).narrow(axis, 0, fine.shape[axis])
    return torch.cat([fine, coarse], dim=1)


@wrong("unet.merge", at="no image")
def without_looking(fine, coarse):
    doubled = torch.stack([F.interpolate(one[None], scale_factor=2)[0] for one in coarse])
    return torch.cat([fine, doubled[(..., *map(slice, fine.shape[2:]))]], dim=1)


@wrong("unet.merge", at="the gradient")
def only_one_path_learns(fine, coarse):
    return by_index(fine, coarse.detach())


# ---------------------------------------------------------------------------------------------------------------------
# unet.output_size


def _walk(size, levels, rim=4, up_rim=4):
    for _ in range(levels):
        if (size - rim) % 2 or size - rim < 2:
            return None
        size = (size - rim) // 2
    size -= rim
    for _ in range(levels):
        size = 2 * size - up_rim
    return size


@right("unet.output_size")
def by_recursion(size, levels):
    def level(n, below):
        n -= 4
        if below == 0 or n is None:
            return n
        if n < 2 or n % 2:
            return None
        n = level(n // 2, below - 1)
        return None if n is None else 2 * n - 4
    out = level(size, levels)
    return out if out is not None and out > 0 else None


@right("unet.output_size")
def by_formula(size, levels):
    # the bottom gets m places of (size - rim) / 2^levels, and loses as much again on the way up
    rim = 4 * (2**levels - 1)
    m, rest = divmod(size - rim, 2**levels)
    out = 2**levels * (m - 4) - rim
    return out if rest == 0 and m > 0 and out > 0 else None


@right("unet.output_size")
def by_cutting_a_row(size, levels):
    row = torch.zeros(size)
    for _ in range(levels):
        row = row[2:-2]
        if len(row) < 2 or len(row) % 2:
            return None
        row = row.view(-1, 2).amax(1)
    row = row[2:-2]
    for _ in range(levels):
        row = row.repeat_interleave(2)[2:-2]
    return len(row) or None


@wrong("unet.output_size", at="the paper's network")
def one_convolution_a_level(size, levels):
    out = _walk(size, levels, 2, 2)
    return out if out and out > 0 else None


@wrong("unet.output_size", at="the paper's network")
def the_way_up_is_free(size, levels):
    out = _walk(size, levels, 4, 0)
    return out if out and out > 0 else None


@wrong("unet.output_size", at="the paper's network")
def padded(size, levels):
    return size if size % 2**levels == 0 else None


@wrong("unet.output_size", at="no pooling at all")
def without_a_bottom_there_is_nothing(size, levels):
    return output(size, levels) if levels else size


@wrong("unet.output_size", at="one pooling")
def only_the_paper(size, levels):
    return output(size, levels) if levels in (0, 4) else size - 46 * levels


@wrong("unet.output_size", at="an odd number before a pooling")
def rounded_down(size, levels):
    for _ in range(levels):
        size = (size - 4) // 2
    size -= 4
    for _ in range(levels):
        size = 2 * size - 4
    return size if size > 0 else None


@wrong("unet.output_size", at="an odd number further down")
def only_the_first_pooling_counts(size, levels):
    return rounded_down(size, levels) if size % 2 == 0 or not levels else None


@wrong("unet.output_size", at="the smallest that fits")
def wants_a_little_more(size, levels):
    out = output(size, levels)
    return out if out and out > 4 else None


@wrong("unet.output_size", at="nothing is left")
def less_than_nothing(size, levels):
    return _walk(size, levels)


@wrong("unet.output_size", at="smaller than its rim")
def never_looked_whether_it_is_there(size, levels):
    if size < 4:
        return 0
    return output(size, levels)


output = by_recursion
