"""Answers to the practice chapter "From a scan to a decision". They know the truth, as no student does, and spoil it."""
import csv

import nibabel as nib
import numpy as np
from scipy import ndimage

from helpers.answers import right, wrong
from medlearn.checks.rubric import write_report
from medlearn.data import read_volume, to_ras, write_volume
from medlearn.practice import patients

ID, FILES, WARD = "capstone.answer", "the files of five patients", "the patients of the test"


def truth_of(case):
    return to_ras(next(one for one in patients("test") if one.name == case.name).lesion).array > 0


def hand_in(cases, folder, outline=lambda truth: truth, sure=0.95, width=0.5, placed=lambda scan: scan, report=True):
    """Writes what is asked, with an outline of the truth, a probability in it, and an interval around its volume."""
    lines = {}
    for case in cases:
        scan = read_volume(case.images[0])
        mask = outline(truth_of(case))
        p = np.where(mask, sure, 0.001).astype(np.float32)
        home = placed(to_ras(scan))
        like = scan if home.grid is to_ras(scan).grid or np.array_equal(home.grid.affine, to_ras(scan).grid.affine) else None
        write_volume(folder / f"{case.name}.nii.gz", home.with_array(mask.astype(np.uint8)), like=like)
        write_volume(folder / f"{case.name}.probabilities.nii.gz", home.with_array(np.stack([1 - p, p])), like=like)
        volume = float(mask.sum()) * home.grid.voxel_ml
        lines[case.name] = (max(0.0, volume * (1 - width) - 1), volume * (1 + width) + 1, False)
    if report:
        write_report(folder, lines)


@right(ID)
def outlined_by_hand(cases, folder):
    hand_in(cases, folder)


@right(ID)
def the_last_first(cases, folder):
    hand_in(cases[::-1], folder, sure=0.99, width=0.3)


@right(ID)
def by_nibabel_on_the_axes_of_the_file(cases, folder):
    """The package writes nothing, and no scan is turned."""
    known, rows = {one.name: one.lesion for one in patients("test")}, [("case", "refer", "high_ml", "low_ml")]
    for case in cases:
        mask, affine = known[case.name].array > 0, nib.load(case.images[0]).affine
        p = ndimage.gaussian_filter(mask.astype(float), 0.3)
        nib.save(nib.Nifti1Image(mask.astype(np.uint8), affine), folder / f"{case.name}.nii.gz")
        nib.save(nib.Nifti1Image(np.stack([1 - p, p], axis=3), affine), folder / f"{case.name}.probabilities.nii.gz")
        volume = p.sum() * abs(np.linalg.det(affine)) / 1000
        rows.append((case.name, "no", 1.2 * volume, 0.8 * volume))
    with open(folder / "report.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)


@wrong(ID, at=FILES)
def nothing_written(cases, folder):
    return {case.name: truth_of(case) for case in cases}


@wrong(ID, at=FILES)
def one_patient_forgotten(cases, folder):
    hand_in(cases[1:], folder)


@wrong(ID, at=FILES)
def no_report(cases, folder):
    hand_in(cases, folder, report=False)


@wrong(ID, at=FILES)
def on_a_grid_without_a_place(cases, folder):
    from medlearn.base.grid import Grid
    from medlearn.data import Volume
    hand_in(cases, folder, placed=lambda scan: Volume(scan.array, Grid(scan.array.shape, np.eye(4))))


@wrong(ID, at=FILES)
def not_a_number(cases, folder):
    hand_in(cases, folder, sure=np.nan)


@wrong(ID, at=FILES)
def the_scan_itself(cases, folder):
    hand_in(cases, folder)
    for case in cases:
        write_volume(folder / f"{case.name}.nii.gz", read_volume(case.images[0]))


@wrong(ID, at=FILES)
def written_somewhere_else(cases, folder):
    hand_in(cases, folder.parent)


@wrong(ID, at=WARD)
def nothing_found(cases, folder):
    hand_in(cases, folder, outline=lambda truth: truth & False)


@wrong(ID, at=WARD)
def left_for_right(cases, folder):
    hand_in(cases, folder, outline=lambda truth: truth[::-1])


@wrong(ID, at=WARD)
def far_too_generous(cases, folder):
    hand_in(cases, folder, outline=lambda truth: ndimage.binary_dilation(truth, iterations=2))


@wrong(ID, at=WARD)
def the_large_ones_alone(cases, folder):
    def large(truth):
        things, n = ndimage.label(truth)
        return truth & (np.bincount(things.ravel(), minlength=n + 1)[things] >= 30)
    hand_in(cases, folder, outline=large)
