"""Answers to chapter 16's exercises."""
from itertools import permutations

import nibabel as nib
import numpy as np
import torch

from helpers.answers import right, wrong

LETTERS = np.array([["L", "R"], ["P", "A"], ["I", "S"]])

# ---------------------------------------------------------------------------------------------------------------------
# scanner.orientation


@right("scanner.orientation")
def by_nibabel(affine):
    return "".join(nib.aff2axcodes(affine.cpu().numpy()))


@right("scanner.orientation")
def by_the_best_matching(affine):
    columns = affine[:3, :3].cpu() / affine[:3, :3].cpu().norm(dim=0)
    rows = columns.abs().argmax(dim=0)
    return "".join(LETTERS[int(r)][int(columns[r, c] > 0)] for c, r in enumerate(rows))


@right("scanner.orientation")
def the_best_of_six(affine):
    """Of all ways to give each column an axis of its own, the one whose columns point along theirs most."""
    columns = (affine[:3, :3] / affine[:3, :3].norm(dim=0)).tolist()
    best = max(permutations(range(3)), key=lambda axes: sum(abs(columns[a][c]) for c, a in enumerate(axes)))
    return "".join(LETTERS[a][int(columns[a][c] > 0)] for c, a in enumerate(best))


@wrong("scanner.orientation", at="axes along those of space")
def as_dicom_counts(affine):
    return by_nibabel(torch.diag(affine.new_tensor([-1, -1, 1, 1])) @ affine)


@wrong("scanner.orientation", at="axes along those of space")
def where_axes_begin(affine):
    return by_nibabel(affine @ torch.diag(affine.new_tensor([-1, -1, -1, 1])))


@wrong("scanner.orientation", at="axes along those of space")
def as_a_list(affine):
    return list(by_nibabel(affine))


@wrong("scanner.orientation", at="axes that run the other way")
def always_ras(affine):
    return "RAS"


@wrong("scanner.orientation", at="a sagittal scan")
def the_diagonal_alone(affine):
    return "".join(LETTERS[axis][int(affine[axis, axis] > 0)] for axis in range(3))


@wrong("scanner.orientation", at="a sagittal scan")
def row_by_row(affine):
    turned = torch.eye(4, dtype=affine.dtype)
    turned[:3, :3] = affine[:3, :3].T
    return by_nibabel(turned)


@wrong("scanner.orientation", at="oblique axes")
def the_first_that_is_not_zero(affine):
    letters = ""
    for column in affine[:3, :3].T.tolist():
        axis = next(a for a in range(3) if column[a])
        letters += LETTERS[axis][int(column[axis] > 0)]
    return letters


@wrong("scanner.orientation", at="oblique axes")
def the_sign_of_the_sum(affine):
    letters = ""
    for column in affine[:3, :3].T.tolist():
        axis = max(range(3), key=lambda a: abs(column[a]))
        letters += LETTERS[axis][int(sum(column) > 0)]
    return letters


@wrong("scanner.orientation", at="oblique axes")
def the_longest_step_of_each_row(affine):
    columns = affine[:3, :3].abs().argmax(dim=1)
    letters = [""] * 3
    for axis, column in enumerate(columns.tolist()):
        letters[column] = LETTERS[axis][int(affine[axis, column] > 0)]
    return "".join(letters)


@wrong("scanner.orientation", at="an origin far away")
def with_the_origin(affine):
    columns = affine[:3, :3] + torch.diag(affine[:3, 3] * (affine[:3, 3] > 100))
    return by_nibabel(torch.cat([torch.cat([columns, affine[:3, 3:]], 1), affine[3:]]))


# ---------------------------------------------------------------------------------------------------------------------
# scanner.affine_of_part


@right("scanner.affine_of_part")
def column_by_column(affine, start, step):
    part = affine.clone()
    for axis in range(3):
        part[:3, axis] = affine[:3, axis] * step[axis]
        part[:3, 3] = part[:3, 3] + affine[:3, axis] * start[axis]
    return part


@right("scanner.affine_of_part")
def from_four_voxels(affine, start, step):
    corner = [start[0], start[1], start[2]]
    ends = [corner, *([s + (step[a] if a == axis else 0) for a, s in enumerate(corner)] for axis in range(3))]
    first, *others = ((affine @ affine.new_tensor([*end, 1]))[:3] for end in ends)
    part = torch.eye(4, dtype=affine.dtype, device=affine.device)
    part[:3] = torch.stack([*(other - first for other in others), first], dim=1)
    return part


@right("scanner.affine_of_part")
def stretched_then_moved(affine, start, step):
    part = affine * affine.new_tensor([*step, 1])
    part[:, 3] += affine[:, :3] @ affine.new_tensor(start)
    return part


def _part(affine, start, step):
    return column_by_column(affine, start, step)


@wrong("scanner.affine_of_part", at="a crop")
def forgets_the_origin(affine, start, step):
    return _part(affine, [0, 0, 0], step)


@wrong("scanner.affine_of_part", at="a crop")
def moves_the_wrong_way(affine, start, step):
    return _part(affine, [-s for s in start], step)


@wrong("scanner.affine_of_part", at="a crop")
def changes_its_input(affine, start, step):
    affine.copy_(_part(affine, start, step))
    return affine


@wrong("scanner.affine_of_part", at="a crop of larger voxels")
def voxels_taken_for_millimetres(affine, start, step):
    part = _part(affine, [0, 0, 0], step)
    part[:3, 3] += part.new_tensor(start)
    return part


@wrong("scanner.affine_of_part", at="every second voxel")
def forgets_the_step(affine, start, step):
    return _part(affine, start, [1, 1, 1])


@wrong("scanner.affine_of_part", at="every second voxel")
def edges_aligned(affine, start, step):
    return _part(affine, [s + (t - 1) / 2 if t > 1 else s for s, t in zip(start, step)], step)


@wrong("scanner.affine_of_part", at="a flip")
def steps_without_a_sign(affine, start, step):
    return _part(affine, start, [abs(t) for t in step])


@wrong("scanner.affine_of_part", at="a flip")
def flips_about_the_origin(affine, start, step):
    return _part(affine, [0 if t < 0 else s for s, t in zip(start, step)], step)


@wrong("scanner.affine_of_part", at="a start and a step")
def starts_in_new_voxels(affine, start, step):
    return _part(affine, [s * abs(t) for s, t in zip(start, step)], step)


@wrong("scanner.affine_of_part", at="a margin around")
def never_before_the_first(affine, start, step):
    return _part(affine, [max(0, s) for s in start], step)


@wrong("scanner.affine_of_part", at="axes that are exchanged")
def rows_for_columns(affine, start, step):
    part = _part(affine, start, [1, 1, 1])
    part[:3, :3] *= part.new_tensor(step)[:, None]
    return part


@wrong("scanner.affine_of_part", at="all of it, oblique")
def the_largest_of_each_column(affine, start, step):
    columns = affine[:3, :3]
    clear = torch.where(columns.abs() == columns.abs().amax(dim=0), columns, 0)
    return _part(torch.cat([torch.cat([clear, affine[:3, 3:]], 1), affine[3:]]), start, step)


@wrong("scanner.affine_of_part", at="a part in single precision")
def always_double(affine, start, step):
    return _part(affine.double(), start, step)


# ---------------------------------------------------------------------------------------------------------------------
# scanner.slice_gaps


def _normal(directions):
    (a, b, c), (d, e, f) = directions[:3], directions[3:]
    return b * f - c * e, c * d - a * f, a * e - b * d


def _heights(positions, directions):
    return [sum(n * p for n, p in zip(_normal(directions), place)) for place in positions]


@right("scanner.slice_gaps")
def by_numpy(positions, directions):
    return np.diff(np.sort(_heights(positions, directions))).tolist()


@right("scanner.slice_gaps")
def from_neighbour_to_neighbour(positions, directions):
    normal = np.array(_normal(directions))
    order = sorted(positions, key=lambda place: normal @ place)
    return [float(normal @ np.subtract(b, a)) for a, b in zip(order, order[1:])]


@right("scanner.slice_gaps")
def by_coordinates_of_the_slice(positions, directions):
    """Along the rows, along the columns and out of the plane: of three coordinates the last is the height."""
    axes = np.stack([directions[:3], directions[3:], _normal(directions)], axis=1)
    height = np.linalg.solve(axes, np.transpose(positions))[2]
    return np.diff(np.sort(height)).tolist()


@wrong("scanner.slice_gaps", at="even axial slices")
def heights_for_gaps(positions, directions):
    return sorted(_heights(positions, directions))


@wrong("scanner.slice_gaps", at="even axial slices")
def one_gap_too_many(positions, directions):
    return [0.0, *by_numpy(positions, directions)]


@wrong("scanner.slice_gaps", at="a slice is missing")
def the_mean_for_all(positions, directions):
    gaps = by_numpy(positions, directions)
    return [sum(gaps) / len(gaps)] * len(gaps) if gaps else []


@wrong("scanner.slice_gaps", at="a slice is missing")
def each_gap_once(positions, directions):
    gaps = by_numpy(positions, directions)
    return gaps if len(set(gaps)) == 1 else sorted(set(gaps))


@wrong("scanner.slice_gaps", at="in any order")
def in_the_order_given(positions, directions):
    heights = _heights(positions, directions)
    return [abs(b - a) for a, b in zip(heights, heights[1:])]


@wrong("scanner.slice_gaps", at="sagittal slices")
def along_z(positions, directions):
    return np.diff(sorted(place[2] for place in positions)).tolist()


@wrong("scanner.slice_gaps", at="sagittal slices")
def from_the_highest(positions, directions):
    return by_numpy(positions, [*directions[3:], *directions[:3]]) if directions[0] == 0 else \
        by_numpy(positions, directions)


@wrong("scanner.slice_gaps", at="oblique slices")
def along_the_clearest_axis(positions, directions):
    axis = int(np.argmax(np.abs(_normal(directions))))
    return [float(n) for n in np.diff(sorted(np.sign(_normal(directions)[axis]) * place[axis] for place in positions))]


@wrong("scanner.slice_gaps", at="a tilted gantry")
def from_corner_to_corner(positions, directions):
    order = sorted(positions, key=lambda place: np.dot(_normal(directions), place))
    return [float(np.linalg.norm(np.subtract(b, a))) for a, b in zip(order, order[1:])]


@wrong("scanner.slice_gaps", at="two slices at one place")
def each_place_once(positions, directions):
    return np.diff(sorted(set(_heights(positions, directions)))).tolist()


@wrong("scanner.slice_gaps", at="one slice")
def nothing_for_one(positions, directions):
    return by_numpy(positions, directions) if len(positions) > 1 else None
