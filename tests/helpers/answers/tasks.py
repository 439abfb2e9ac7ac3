"""Answers to chapter 1's exercises."""
import numpy as np
import torch
from scipy import ndimage

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# tasks.volume


@right("tasks.volume")
def by_the_triple_product(mask, affine):
    a, b, c = affine[:3, :3].unbind(1)
    return torch.abs(torch.dot(a, torch.linalg.cross(b, c))) * mask.float().sum() / 1e3


@right("tasks.volume")
def by_adding_voxels(mask, affine):
    voxel_mm3 = abs(np.linalg.det(affine.cpu().numpy()))       # the last row is 0 0 0 1, so all of it does as well
    return len(mask.nonzero()) * voxel_mm3 * 1e-3


@right("tasks.volume")
def by_singular_values(mask, affine):
    return mask.sum().item() * torch.linalg.svdvals(affine[:3, :3]).prod().item() / 1000


@wrong("tasks.volume", at="one voxel of 1 mm")
def cubic_millimetres(mask, affine):
    return mask.sum() * torch.linalg.det(affine[:3, :3]).abs()


@wrong("tasks.volume", at="voxels of 0.5 x 0.5 x 2 mm")
def counts_voxels(mask, affine):
    return mask.sum().item() / 1000


@wrong("tasks.volume", at="voxels of 0.5 x 0.5 x 2 mm")
def a_cube_of_the_first_spacing(mask, affine):
    return mask.sum().item() * affine[:3, 0].norm().item() ** 3 / 1000


@wrong("tasks.volume", at="many voxels")
def one_voxel_only(mask, affine):
    return mask.any().item() * torch.linalg.det(affine[:3, :3]).abs().item() / 1000


@wrong("tasks.volume", at="many voxels")
def counts_up_to_100(mask, affine):
    return mask.sum().clamp(max=100) * torch.linalg.det(affine[:3, :3]).abs() / 1000


@wrong("tasks.volume", at="a mirrored grid")
def without_the_sign(mask, affine):
    return mask.sum() * torch.linalg.det(affine[:3, :3]) / 1000


@wrong("tasks.volume", at="a turned grid")
def the_diagonal(mask, affine):
    return mask.sum() * affine.diagonal()[:3].prod().abs() / 1000


@wrong("tasks.volume", at="a turned grid")
def every_entry_without_sign(mask, affine):
    return mask.sum() * torch.linalg.det(affine[:3, :3].abs()).abs() / 1000


@wrong("tasks.volume", at="a sheared grid")
def lengths_of_the_columns(mask, affine):
    return mask.sum() * affine[:3, :3].norm(dim=0).prod() / 1000


@wrong("tasks.volume", at="an empty mask")
def nothing_over_nothing(mask, affine):
    fraction = mask.sum() / mask.sum()
    return fraction * mask.sum() * torch.linalg.det(affine[:3, :3]).abs() / 1000


# ---------------------------------------------------------------------------------------------------------------------
# tasks.iou_matrix


@right("tasks.iou_matrix")
def by_products_of_masks(truth, answer):
    def masks(things):
        ids = torch.arange(1, int(things.max()) + 1, device=things.device)
        return (things.flatten() == ids[:, None]).double()
    t, a = masks(truth), masks(answer)
    shared = t @ a.T
    return shared / (t.sum(1)[:, None] + a.sum(1) - shared)


@right("tasks.iou_matrix")
def pair_by_pair(truth, answer):
    n, m = truth.max().item(), answer.max().item()
    table = torch.zeros(n, m, device=truth.device)
    for i in range(n):
        for j in range(m):
            t, a = truth == i + 1, answer == j + 1
            table[i, j] = (t & a).sum() / (t | a).sum()
    return table


@right("tasks.iou_matrix")
def by_a_histogram_in_two_axes(truth, answer):
    n, m = int(truth.max()), int(answer.max())
    joint, _, _ = np.histogram2d(truth.cpu().numpy().ravel(), answer.cpu().numpy().ravel(),
                                 bins=(np.arange(n + 2) - 0.5, np.arange(m + 2) - 0.5))
    joint = torch.from_numpy(joint).to(truth.device)
    sizes_t, sizes_a = joint.sum(1), joint.sum(0)
    return (joint / (sizes_t[:, None] + sizes_a[None] - joint))[1:, 1:].float()


def _joint(truth, answer):
    n, m = int(truth.max()) + 1, int(answer.max()) + 1
    return torch.bincount((truth * m + answer).flatten(), minlength=n * m).view(n, m).float()


@wrong("tasks.iou_matrix", at="one thing, partly found")
def shared_voxels_counted_twice(truth, answer):
    joint = _joint(truth, answer)
    return (joint / (joint.sum(1, keepdim=True) + joint.sum(0)))[1:, 1:]


@wrong("tasks.iou_matrix", at="one thing, partly found")
def dice_for_iou(truth, answer):
    joint = _joint(truth, answer)
    return (2 * joint / (joint.sum(1, keepdim=True) + joint.sum(0)))[1:, 1:]


@wrong("tasks.iou_matrix", at="one thing, partly found")
def with_the_background(truth, answer):
    return by_products_of_masks(truth + 1, answer + 1)


@wrong("tasks.iou_matrix", at="one thing, partly found")
def without_the_background_in_the_union(truth, answer):
    joint = _joint(truth, answer)[1:, 1:]
    return joint / (joint.sum(1, keepdim=True) + joint.sum(0) - joint)


@wrong("tasks.iou_matrix", at="two found things, three true")
def rows_and_columns_exchanged(truth, answer):
    return by_products_of_masks(answer, truth)


@wrong("tasks.iou_matrix", at="two found things, three true")
def a_column_too_few(truth, answer):
    return by_products_of_masks(truth, answer)[:, :int(truth.max())]


@wrong("tasks.iou_matrix", at="two found things, three true")
def only_the_best_for_each(truth, answer):
    table = by_products_of_masks(truth, answer)
    return table * (table == table.amax(dim=1, keepdim=True)) if table.numel() else table


@wrong("tasks.iou_matrix", at="a false alarm")
def only_those_that_meet(truth, answer):
    table = by_products_of_masks(truth, answer)
    return table[table.sum(1) > 0] if table.numel() else table


@wrong("tasks.iou_matrix", at="a false alarm")
def never_quite_one(truth, answer):
    return by_products_of_masks(truth, answer).clamp(max=0.75)


@wrong("tasks.iou_matrix", at="nothing to find")
def one_row_for_no_thing(truth, answer):
    return by_products_of_masks(truth, answer) if answer.any() else torch.zeros(1, 0, device=truth.device)


@wrong("tasks.iou_matrix", at="nothing found")
def no_table_without_truth(truth, answer):
    return by_products_of_masks(truth, answer) if truth.any() else torch.zeros(0, 0, device=truth.device)


@wrong("tasks.iou_matrix", at="nothing on either side")
def agreement_on_nothing(truth, answer):
    both_empty = not truth.any() and not answer.any()
    return torch.ones(1, 1, device=truth.device) if both_empty else by_products_of_masks(truth, answer)


@wrong("tasks.iou_matrix", at="many things in 3D")
def pairs_that_share_a_number(truth, answer):
    n, m = int(truth.max()) + 1, int(answer.max()) + 1
    base = min(m, 8)                                            # enough for few things, too small for many
    joint = torch.bincount((truth * base + answer).flatten(), minlength=n * m).view(n, m).float()
    return (joint / (_sizes(truth)[:, None] + _sizes(answer) - joint))[1:, 1:]


def _sizes(things):
    return torch.bincount(things.flatten()).float()


@wrong("tasks.iou_matrix", at="many things in 3D")
def flat_maps_only(truth, answer):
    height, width = truth.shape
    return by_products_of_masks(truth.view(height, width), answer)


# ---------------------------------------------------------------------------------------------------------------------
# tasks.offsets


@right("tasks.offsets")
def thing_by_thing(things):
    result = torch.zeros(things.ndim, *things.shape, device=things.device)
    for i in range(1, int(things.max()) + 1):
        places = (things == i).nonzero().T.float()
        result[:, things == i] = places.mean(dim=1, keepdim=True) - places
    return result


@right("tasks.offsets")
def by_scipy(things):
    array = things.cpu().numpy()
    centres = np.zeros((array.max() + 1, array.ndim))
    if array.max():
        centres[1:] = ndimage.center_of_mass(array > 0, array, range(1, array.max() + 1))
    arrows = np.moveaxis(centres[array], -1, 0) - np.indices(array.shape)
    return torch.from_numpy(np.where(array > 0, arrows, 0)).float().to(things.device)


@right("tasks.offsets")
def by_one_hot_means(things):
    grid = torch.stack(torch.meshgrid(*map(torch.arange, things.shape), indexing="ij")).flatten(1).to(things.device)
    belongs = torch.nn.functional.one_hot(things.flatten()).double()[:, 1:]
    centres = grid.double() @ belongs / belongs.sum(0)
    return (centres @ belongs.T - grid * belongs.sum(1)).view(-1, *things.shape).float()


@wrong("tasks.offsets", at="one square")
def away_from_the_centre(things):
    return -thing_by_thing(things)


@wrong("tasks.offsets", at="one square")
def arrows_outside_too(things):
    grid = torch.stack(torch.meshgrid(*map(torch.arange, things.shape), indexing="ij")).float().to(things.device)
    return thing_by_thing(things) - grid * (things == 0)


@wrong("tasks.offsets", at="one square")
def columns_first(things):
    return thing_by_thing(things).flip(0)


@wrong("tasks.offsets", at="one square")
def parts_last(things):
    return thing_by_thing(things).movedim(0, -1)


@wrong("tasks.offsets", at="one square")
def in_double(things):
    return thing_by_thing(things).double()


@wrong("tasks.offsets", at="one square")
def unit_arrows(things):
    arrows = thing_by_thing(things)
    return arrows / arrows.norm(dim=0).clamp_min(1e-6)


@wrong("tasks.offsets", at="a crooked thing")
def middle_of_the_box(things):
    result = thing_by_thing(things)
    for i in range(1, int(things.max()) + 1):
        places = (things == i).nonzero().T.float()
        middle = (places.amin(dim=1, keepdim=True) + places.amax(dim=1, keepdim=True)) / 2
        result[:, things == i] = middle - places
    return result


@wrong("tasks.offsets", at="a crooked thing")
def centres_on_voxels(things):
    return thing_by_thing(things).round()


@wrong("tasks.offsets", at="two things that touch")
def one_centre_for_all(things):
    return thing_by_thing((things > 0).long())


@wrong("tasks.offsets", at="three things in 3D")
def two_axes_only(things):
    result = torch.zeros(2, *things.shape, device=things.device)
    result[:] = thing_by_thing(things)[:2]
    return result


@wrong("tasks.offsets", at="a thing of one voxel")
def divides_by_the_extent(things):
    arrows, sizes = thing_by_thing(things), torch.bincount(things.flatten())[things]
    return torch.where(things == 0, 0, arrows * (sizes - 1) / (sizes - 1))


@wrong("tasks.offsets", at="no things")
def no_arrows_without_things(things):
    return thing_by_thing(things) if things.any() else torch.zeros(0, *things.shape, device=things.device)


@wrong("tasks.offsets", at="many things")
def only_ten_arrows(things):
    return thing_by_thing(things * (things <= 10))
