r"""Scans in files: NIfTI, NRRD and DICOM through one door; a folder is read to its end, the bad ones reported."""
from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from medlearn.base.validation import check_number, kind_of
from medlearn.data.dicom import read_dicom
from medlearn.data.nifti import ENDINGS, read_nifti, write_nifti
from medlearn.data.nrrd import read_nrrd
from medlearn.data.volumes import Stored, Volume, check_same_grid

Item = TypeVar("Item")
Answer = TypeVar("Answer")


def read_volume(path: str | Path, *, channels: bool = False, nan: float | None = None) -> Volume:
    r"""A scan from a NIfTI or an NRRD file, or from a folder with one DICOM series, its axes as they lie there.

    Shapes: the array is `(*S)`, or `(C, *S)` with `channels`: then a fourth axis of NIfTI or NRRD is one of channels.
    Units: the array has the file's values, rescaled as it says (HU for a CT), in its own type where nothing is
    rescaled; the grid is in mm, RAS. `nan` stands for values that are not finite. An empty folder is refused.
    Errors: ValueError, beginning with the `path`, for a file that is cut short or damaged, declares more than it holds,
    has no place in space (both form codes 0), a singular affine, a voxel of 0 mm, NaN or infinities, time; for a DICOM
    series with uneven gaps, slices twice, or several series. FileNotFoundError. It warns of axes that are not
    perpendicular, of two contradictory affines, of a DICOM gap that is not the tag's, and of a blank SOP class.
    Source: NIfTI-1; NRRD, teem.sourceforge.net/nrrd/format.html; DICOM PS3.3 C.7.6.2. Chapter 16.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> import numpy as np
    >>> scan = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), Grid.from_spacing((2, 3, 4), (1.0, 1.0, 5.0)))
    >>> with TemporaryDirectory() as folder:
    ...     write_volume(Path(folder) / "scan.nii.gz", scan)
    ...     again = read_volume(Path(folder) / "scan.nii.gz")
    >>> again.array.dtype, bool((again.array == scan.array).all()), again.grid.spacing_mm
    (dtype('int16'), True, (1.0, 1.0, 5.0))
    """
    path = Path(path)
    if nan is not None:
        check_number("nan", nan)
    if path.is_dir():
        return read_dicom(path)
    if path.name.endswith(ENDINGS):
        return read_nifti(path, channels=channels, nan=nan)
    if path.suffix == ".nrrd":
        return read_nrrd(path, channels=channels, nan=nan)
    raise ValueError(f"{path}: expected .nii, .nii.gz, .nrrd, or a folder of DICOM files")


def read_channels(paths: Sequence[str | Path]) -> Volume:
    r"""One scan `(C, *S)` with all its channels, from the one file that holds them or from one file each, in order.

    Shapes: the files of `paths`, each `(*S)` or with a fourth axis of channels, lie on one grid; the channels of all
    come one after the other. Units: as each file's, in a type that holds them all. A file without a voxel has none.
    `write_volume` keeps the files' type and scaling where they agree in them, else that type, without a scaling.
    Errors: as `read_volume`; TypeError for one path instead of several; ValueError for no file, and for files on
    different grids. Chapter 16.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> with TemporaryDirectory() as folder:
    ...     paths = [Path(folder) / f"scan_{c:04d}.nii.gz" for c in range(2)]
    ...     for path in paths:
    ...         write_volume(path, Volume(np.zeros((4, 3, 2), np.int16), Grid((4, 3, 2), np.eye(4))))
    ...     print(read_channels(paths).array.shape)
    (2, 4, 3, 2)
    """
    if isinstance(paths, (str, bytes, os.PathLike)) or not isinstance(paths, Iterable):
        raise TypeError(f"paths: expected several paths of files, as a list, got {paths!r}")
    paths = list(paths)
    if not paths:
        raise ValueError("paths: expected at least one file, got none")
    first, *others = (read_volume(path, channels=True) for path in paths)
    for other in others:
        check_same_grid(first, other)
    arrays = [one.array if one.has_channels else one.array[None] for one in (first, *others)]
    array = np.concatenate(arrays) if others else arrays[0]
    return Volume(array, first.grid, _stored_together([one.stored for one in (first, *others)], array.dtype))


def write_volume(path: str | Path, volume: Volume, *, like: Volume | None = None) -> None:
    r"""Writes a NIfTI file, whole or not at all. With `like`, on the grid and in the orientation of that scan's file.

    Shapes: as the `volume`; channels become a fourth axis. Units: as read; a volume that comes from a file is written
    in that file's type and scaling (to its nearest step where values were changed), so that what was read comes back
    bit for bit; `volume.with_array(labels)` in its own type, whole numbers of 64 bits in the smallest that holds them.
    So `write_volume(path, to_ras(scan).with_array(labels), like=scan)` lies on the scan, voxel by voxel.
    A volume without a voxel is written, too.
    Errors: TypeError for anything but a `Volume`; ValueError for another ending than .nii or .nii.gz, values that the
    file's type does not hold, and a volume that is not on the grid of `like`. Chapter 16.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> import numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     write_volume(Path(folder) / "a.nii", Volume(np.ones((2, 2, 2), bool), Grid((2, 2, 2), np.eye(4))))
    ...     print(read_volume(Path(folder) / "a.nii").array.dtype)
    uint8
    """
    for name, one in {"volume": volume, "like": volume if like is None else like}.items():
        if not isinstance(one, Volume):
            raise TypeError(f"{name}: expected a Volume, got {kind_of(one)}")
    if not Path(path).name.endswith(ENDINGS):
        raise ValueError(f"{path}: expected a name that ends in .nii or .nii.gz")
    write_nifti(path, volume, like=like)


@dataclass
class Report:
    r"""What became of each file of a folder: `done` how many, `refused` and `warned` the reason of each, by name.

    `print(report)` is a few lines for people. No file gives a report of none.

    >>> report = Report(done=3, refused={"b.nii.gz": "b.nii.gz: it is cut short"})
    >>> print(report)
    3 read, 1 refused, 0 with a warning
      refused: b.nii.gz: it is cut short
    """

    done: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    warned: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.done} read, {len(self.refused)} refused, {len(self.warned)} with a warning"]
        lines += [f"  refused: {why}" for why in self.refused.values()]
        return "\n".join([*lines, *(f"  warning: {why}" for whys in self.warned.values() for why in whys)])

    def over(self, items: Iterable[Item], read: Callable[[Item], Answer]) -> Iterator[tuple[Item, Answer]]:
        """Pairs of each of the `items` and what `read` gives for it; one that it refuses is noted, and left out."""
        for item in items:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    answer = read(item)
                except (ValueError, OSError, MemoryError) as error:
                    self.refused[str(item)] = f"{error}" if str(item) in str(error) else f"{item}: {error}"
                    continue
                finally:
                    if caught:
                        self.warned[str(item)] = [str(warning.message) for warning in caught]
            self.done += 1
            yield item, answer


def _stored_together(files: Sequence[Stored | None], dtype: np.dtype) -> Stored | None:
    """How the first file keeps its numbers, if all keep them so; else as they are, in the `dtype` of all."""
    first = files[0]
    ways = {one and (one.dtype.newbyteorder("="), one.slope, one.intercept) for one in files}
    if first is None or len(ways) == 1:
        return first
    header = first.header
    if header is not None:
        header = header.copy()
        header["scl_slope"], header["scl_inter"] = 1, 0
    return replace(first, dtype=dtype, slope=1.0, intercept=0.0, header=header)
