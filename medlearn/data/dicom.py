r"""A DICOM series as a volume: slices in the order of their positions, and the gaps measured from them."""
from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medlearn.data.volumes import Volume, named, volume_of_file

UNEVEN = 0.05                   # of a gap, by which a slice may miss its place on the grid
SAME_GAP_MM = 0.01
SAME_DIRECTION = 1e-3
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])       # DICOM's x and y run to the patient's left and back


def read_dicom(folder: str | Path) -> Volume:
    """The one series of a folder, as `read_volume` gives it; files that are no DICOM are left aside."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of DICOM files")
    slices = _slices(folder)
    with named(folder):
        normal = _check_one_stack(slices, folder)
        slices.sort(key=lambda one: normal @ _numbers(one, "ImagePositionPatient", 3))
        positions = np.array([_numbers(one, "ImagePositionPatient", 3) for one in slices])
        step = _step(slices, positions, normal, folder)
        # DICOM's first number is the distance between rows, the array's second axis
        between_rows, between_columns = _numbers(slices[0], "PixelSpacing", 2)
        along_row, along_column = _orientation(slices[0])
        affine = np.eye(4)
        affine[:3, :3] = np.stack([along_row * between_columns, along_column * between_rows, step], axis=1)
        affine[:3, 3] = positions[0]
        array, slope, intercept = _voxels(slices)
        return volume_of_file(array, LPS @ affine, path=folder, nan=None, slope=slope, intercept=intercept)


def _slices(folder: Path) -> list[Any]:
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{folder}: DICOM files are read with pydicom, which is missing: "
                                  "pip install 'medlearn[dicom]'") from error
    slices = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with open(path, "rb") as file:
            if file.read(132)[128:] != b"DICM":
                continue
        with named(path):
            one = pydicom.dcmread(path)
            if "PixelData" not in one:                      # a directory, a report
                continue
            _check_slice(one, path)
            slices.append(one)
    if not slices:
        raise ValueError(f"{folder}: expected DICOM files with images, got none")
    blank = [one for one in slices if not one.get("SOPClassUID")]
    if blank:
        warnings.warn(f"{folder}: the SOP class of {len(blank)} of {len(slices)} slices is blank: nobody can say what "
                      "kind of image they are", stacklevel=4)
    return slices


def _check_slice(one: Any, path: Path) -> None:
    if int(one.get("NumberOfFrames") or 1) > 1:
        raise ValueError(f"{path}: expected one slice a file, got {one.NumberOfFrames} frames. dcm2niix converts them")
    if int(one.get("SamplesPerPixel", 1)) != 1:
        raise ValueError(f"{path}: expected one number a pixel, got a colour image")
    for tag in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        if not one.get(tag):
            raise ValueError(f"{path}: expected a slice with a place in space, got no {tag}")


def _check_one_stack(slices: Sequence[Any], folder: Path) -> np.ndarray:
    """The stack's normal; refuses slices of several series, shapes or directions."""
    series = sorted({str(one.get("SeriesInstanceUID", "")) for one in slices})
    if len(series) > 1:
        raise ValueError(f"{folder}: expected one series, got {len(series)}: {', '.join(series[:3])}. Give each a "
                         "folder")
    if len(slices) < 2:
        raise ValueError(f"{folder}: expected at least two slices, got one, which says nothing of the gap")
    first = slices[0]
    for one in slices:
        if (one.Rows, one.Columns) != (first.Rows, first.Columns):
            raise ValueError(f"{one.filename}: expected {first.Rows} x {first.Columns} pixels as in {first.filename}, "
                             f"got {one.Rows} x {one.Columns}")
        same = (np.allclose(_orientation(one), _orientation(first), atol=SAME_DIRECTION)
                and np.allclose(_numbers(one, "PixelSpacing", 2), _numbers(first, "PixelSpacing", 2), rtol=1e-3))
        if not same:
            raise ValueError(f"{one.filename}: expected the direction and the pixels of {first.filename}, got others: "
                             "a localiser, perhaps. Take it out of the folder")
    return np.cross(*_orientation(first))


def _step(slices: Sequence[Any], positions: np.ndarray, normal: np.ndarray, folder: Path) -> np.ndarray:
    """From one slice to the next in mm; refuses slices that lie on no even grid, and says where."""
    heights = positions @ normal
    gaps = np.diff(heights)
    if (twice := np.flatnonzero(gaps < SAME_GAP_MM)).size:
        a, b = slices[twice[0]], slices[twice[0] + 1]
        raise ValueError(f"{folder}: expected one slice at each place, got two at {heights[twice[0]]:.2f} mm: "
                         f"{Path(a.filename).name} and {Path(b.filename).name}")
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    even = positions[0] + np.arange(len(positions))[:, None] * step
    gap = float(np.median(gaps))
    if (off := np.linalg.norm(positions - even, axis=1)).max() > UNEVEN * gap:
        n = int(np.argmax(abs(gaps - gap)))
        raise ValueError(f"{folder}: expected even gaps, got {gaps.min():.4g} to {gaps.max():.4g} mm; the worst is "
                         f"{gaps[n]:.4g} mm, between {Path(slices[n].filename).name} and "
                         f"{Path(slices[n + 1].filename).name} (a slice is missing, or lies {off.max():.3g} mm off)")
    tag = slices[0].get("SpacingBetweenSlices") or slices[0].get("SliceThickness")
    if tag and abs(float(tag) - gap) > SAME_GAP_MM:
        warnings.warn(f"{folder}: its tags say slices {float(tag):.4g} mm apart and its positions {gap:.4g} mm: the "
                      "positions are used", stacklevel=5)
    return step


def _voxels(slices: Sequence[Any]) -> tuple[np.ndarray, float, float]:
    """The numbers `(x, y, z)` with their slope and intercept; where slices have their own, the values themselves."""
    planes, scales = [], []
    for one in slices:
        with named(Path(one.filename)):
            planes.append(one.pixel_array)
            scales.append((float(one.get("RescaleSlope") or 1), float(one.get("RescaleIntercept") or 0)))
    if len(set(scales)) == 1:
        return np.stack(planes, axis=-1).swapaxes(0, 1), *scales[0]
    values = [(plane * slope + intercept).astype(np.float32) for plane, (slope, intercept) in zip(planes, scales)]
    return np.stack(values, axis=-1).swapaxes(0, 1), 1.0, 0.0


def _orientation(one: Any) -> np.ndarray:
    return _numbers(one, "ImageOrientationPatient", 6).reshape(2, 3)


def _numbers(one: Any, tag: str, count: int) -> np.ndarray:
    values = np.array([float(x) for x in one.get(tag)])
    if values.shape != (count,) or not np.isfinite(values).all():
        raise ValueError(f"{one.filename}: expected {count} numbers in {tag}, got {list(values)}")
    return values
