r"""`medlearn info`: what a file holds and where it lies, or what a folder's files have in common."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from medlearn.base.grid import Grid
from medlearn.cli.predicting import scans_in
from medlearn.data import Case, Folder, Report, Volume, check_same_grid, read_channels, read_folder, read_volume


def info(path: str | Path) -> int:
    r"""Prints the grid, the orientation, the type and the range of a file at `path`, or the report of a folder.

    A folder with a `dataset.json` is one of cases: image and label must lie on one grid. Others are folders of scans,
    or of one DICOM series. Returned is the exit code. Errors: as `read_volume`, and as `scans_in`.
    """
    path = Path(path)
    if not path.is_dir():
        print(described(read_volume(path, channels=True)))
        return 0
    folder = read_folder(path) if (path / "dataset.json").exists() else None
    if folder is None and not _holds_scans(path):
        print(described(read_volume(path)))                 # of one DICOM series
        return 0
    if folder is not None:
        cases: Sequence[Case] = [*folder.cases, *folder.test]
        print(f"{len(folder.cases)} cases with labels, {len(folder.test)} without\nchannels: "
              f"{', '.join(folder.channels)}\nlabels: {', '.join(folder.labels)}")
        if folder.regions:
            print(f"regions: {', '.join(folder.judged)}")
    else:
        cases = scans_in(path)
    report, found = Report(), list[Grid]()
    for case, image in report.over(cases, partial(_looked_at, folder=folder)):
        grid, channels = image.grid, f", {len(image.array)} channels" * (len(image.array) > 1)
        print(f"  {case}: {_sizes(grid.shape)} voxels of {_sizes(grid.spacing_mm)} mm, {grid.orientation}{channels}",
              flush=True)
        found.append(grid)
    print(*_together(found), report, sep="\n")
    return 3 if report.refused else 0


def described(volume: Volume) -> str:
    r"""A few lines about a `volume`: its place, its numbers, and how its file keeps them.

    >>> from medlearn.base.grid import Grid
    >>> print(described(Volume(np.arange(8, dtype=np.int16).reshape(2, 2, 2), Grid((2, 2, 2), np.eye(4)))))
    shape        2 x 2 x 2
    spacing      1 x 1 x 1 mm
    orientation  RAS
    origin       0, 0, 0 mm
    dtype        int16
    values       0 to 7, mean 3.5
    """
    grid, array, stored = volume.grid, volume.array, volume.stored
    rows = {"file": stored and str(stored.path), "shape": _sizes(grid.shape),
            "channels": str(len(array)) if volume.has_channels and len(array) > 1 else None,
            "spacing": f"{_sizes(grid.spacing_mm)} mm", "orientation": grid.orientation,
            "origin": ", ".join(f"{x:.4g}" for x in grid.affine[:3, 3]) + " mm",
            "dtype": str(stored.dtype if stored else array.dtype),
            "scaling": f"{stored.slope:g} x number + {stored.intercept:g}"
                       if stored and (stored.slope, stored.intercept) != (1, 0) else None,
            "values": f"{array.min():g} to {array.max():g}, mean {array.mean(dtype=np.float64):.6g}" if array.size else
                      "none"}
    return "\n".join(f"{name:11}  {value}" for name, value in rows.items() if value)


def _looked_at(case: Case, folder: Folder | None) -> Volume:
    """The scan of a case, when its files are whole, go together and lie on one grid."""
    image = read_channels(case.images) if folder is None else folder.read_image(case)
    if case.label is not None:
        check_same_grid(image, read_volume(case.label))
    return image


def _together(grids: Sequence[Grid]) -> Iterator[str]:
    if not grids:
        return
    dim = min(grid.dim for grid in grids)
    spacing = [median(grid.spacing_mm[axis] for grid in grids) for axis in range(dim)]
    counted = Counter(grid.orientation for grid in grids).most_common()
    yield f"orientations: {', '.join(f'{name} ({count})' for name, count in counted)}"
    yield f"median spacing: {_sizes(spacing)} mm"


def _holds_scans(folder: Path) -> bool:
    try:
        return bool(scans_in(folder))
    except ValueError:                                      # loose files of DICOM
        return False


def _sizes(numbers: Sequence[float]) -> str:
    return " x ".join(f"{n:g}" for n in np.round(np.asarray(numbers, dtype=float), 3))
