"""Answers to chapter 10's exercises."""
import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# transunet.patches


@right("transunet.patches")
def by_unfold(image, side):
    return F.unfold(image, side, stride=side).mT if len(image) else _empty(image, side)


def _empty(image, side):
    b, c, h, w = image.shape
    return image.new_zeros(b, (h // side) * (w // side), c * side * side)


@right("transunet.patches")
def by_tensor_unfold(image, side):
    squares = image.unfold(2, side, side).unfold(3, side, side)         # (B, C, h, w, side, side)
    return squares.movedim(1, 3).flatten(3).flatten(1, 2)


@right("transunet.patches")
def square_by_square(image, side):
    _, _, h, w = image.shape
    return torch.stack([image[:, :, y:y + side, x:x + side].flatten(1)
                        for y in range(0, h, side) for x in range(0, w, side)], dim=1)


@wrong("transunet.patches", at="one patch")
def without_an_axis_of_tokens(image, side):
    return square_by_square(image, side).flatten(1)


@wrong("transunet.patches", at="one patch")
def numbers_before_tokens(image, side):
    return square_by_square(image, side).mT


@wrong("transunet.patches", at="one patch")
def transposed_squares(image, side):
    return square_by_square(image.mT, side)


@wrong("transunet.patches", at="a row of two patches")
def stretches_of_memory(image, side):
    b, c, h, w = image.shape
    return image.reshape(b, (h // side) * (w // side), c * side * side)


@wrong("transunet.patches", at="a row of two patches")
def overlapping(image, side):
    _, _, h, w = image.shape
    return torch.stack([image[:, :, y:y + side, x:x + side].flatten(1)
                        for y in range(h - side + 1) for x in range(w - side + 1)], dim=1)


@wrong("transunet.patches", at="more rows than columns")
def columns_first(image, side):
    _, _, h, w = image.shape
    return torch.stack([image[:, :, y:y + side, x:x + side].flatten(1)
                        for x in range(0, w, side) for y in range(0, h, side)], dim=1)


@wrong("transunet.patches", at="three channels")
def channels_last(image, side):
    _, _, h, w = image.shape
    return torch.stack([image[:, :, y:y + side, x:x + side].movedim(1, -1).flatten(1)
                        for y in range(0, h, side) for x in range(0, w, side)], dim=1)


@wrong("transunet.patches", at="three channels")
def first_channel_only(image, side):
    return square_by_square(image[:, :1], side)


@wrong("transunet.patches", at="patches of one pixel")
def a_pixel_is_no_patch(image, side):
    return square_by_square(image, max(side, 2)) if side > 1 else image.flatten(2)


@wrong("transunet.patches", at="a batch")
def first_image_for_all(image, side):
    return square_by_square(image[:1], side).expand(len(image), -1, -1)


@wrong("transunet.patches", at="no image")
def nothing_for_nothing(image, side):
    return square_by_square(image, side) if len(image) else image.new_zeros(0)


# ---------------------------------------------------------------------------------------------------------------------
# transunet.resize_positions


@right("transunet.resize_positions")
def by_zoom(positions, grid, size):
    map_ = positions[0].reshape(*grid, -1).cpu().double().numpy()
    zoomed = ndimage.zoom(map_, (size[0] / grid[0], size[1] / grid[1], 1), order=1)
    return torch.from_numpy(zoomed.reshape(1, size[0] * size[1], -1)).float().to(positions.device)


@right("transunet.resize_positions")
def by_two_matrices(positions, grid, size):
    def reading(n, m):
        """(m, n): what each of m places takes from n."""
        return torch.from_numpy(np.stack([np.interp(np.linspace(0, n - 1, m), range(n), unit) for unit in np.eye(n)], 1))
    rows, columns = (reading(n, m).float().to(positions.device) for n, m in zip(grid, size))
    map_ = positions[0].view(*grid, -1)
    return torch.einsum("in,jm,nmc->ijc", rows, columns, map_).reshape(1, -1, map_.shape[2])


@right("transunet.resize_positions")
def by_sampling(positions, grid, size):
    map_ = positions.transpose(1, 2).reshape(1, -1, *grid)
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, device=map_.device) for n in size), indexing="ij")
    found = F.grid_sample(map_, torch.stack([x, y], dim=-1)[None], mode="bilinear", align_corners=True)
    return found.flatten(2).transpose(1, 2)


def _interpolate(positions, grid, size, **how):
    return F.interpolate(positions.mT.unflatten(2, grid), size, **how).flatten(2).mT


@wrong("transunet.resize_positions", at="the same grid")
def as_a_map(positions, grid, size):
    return F.interpolate(positions.mT.unflatten(2, grid), size, mode="bilinear", align_corners=True)


@wrong("transunet.resize_positions", at="the same grid")
def axes_exchanged(positions, grid, size):
    return _interpolate(positions, grid[::-1], size[::-1], mode="bilinear", align_corners=True).flip(1)


@wrong("transunet.resize_positions", at="one more in the middle")
def always_the_old_ones(positions, grid, size):
    return positions


@wrong("transunet.resize_positions", at="a finer grid")
def half_a_place_off(positions, grid, size):
    return _interpolate(positions, grid, size, mode="bilinear", align_corners=False)


@wrong("transunet.resize_positions", at="one more in the middle")
def nearest(positions, grid, size):
    return _interpolate(positions, grid, size, mode="nearest")


@wrong("transunet.resize_positions", at="a finer grid")
def bicubic_where_there_is_room(positions, grid, size):
    mode = "bicubic" if size[0] > 3 else "bilinear"
    return _interpolate(positions, grid, size, mode=mode, align_corners=True)


@wrong("transunet.resize_positions", at="a coarser grid")
def areas_when_shrinking(positions, grid, size):
    if size[0] < grid[0]:
        return _interpolate(positions, grid, size, mode="area")
    return _interpolate(positions, grid, size, mode="bilinear", align_corners=True)


@wrong("transunet.resize_positions", at="an oblong grid")
def along_the_first_axis(positions, grid, size):
    if grid[0] == grid[1] or grid == size:
        return _interpolate(positions, grid, size, mode="bilinear", align_corners=True)
    map_ = positions.mT.unflatten(2, grid[::-1]).mT
    return F.interpolate(map_, size, mode="bilinear", align_corners=True).flatten(2).mT


@wrong("transunet.resize_positions", at="224 to 512 pixels")
def at_most_100_places(positions, grid, size):
    answer = _interpolate(positions, grid, size, mode="bilinear", align_corners=True)
    return answer if answer.shape[1] <= 100 else answer * (torch.arange(answer.shape[1]) < 100)[None, :, None]


@wrong("transunet.resize_positions", at="the same grid")
def without_the_leading_axis(positions, grid, size):
    return by_two_matrices(positions, grid, size)[0]


@wrong("transunet.resize_positions", at="the same grid")
def in_numpy(positions, grid, size):
    return by_zoom(positions, grid, size).cpu().numpy()
