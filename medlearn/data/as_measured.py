r"""Small pieces of real scans that ship with the package, as their scanners stored them: what noise looks like there."""
from __future__ import annotations

from importlib.resources import as_file, files

from medlearn.data.files import read_volume
from medlearn.data.volumes import Volume

MEASURED = ("ct_abdomen", "mr_head_1", "mr_head_2")


def load_measured(name: str) -> Volume:
    r"""A few slices of one person's scan, with its noise: "ct_abdomen", "mr_head_1" or "mr_head_2".

    Shapes: a `Volume` in RAS, `(488, 256, 4)` of the CT and `(256, 256, 1)` of each MR. Units: Hounsfield units of the
    CT, whatever the scanner stored of the MR; the grid in mm. What each is, its licence and what was changed stands in
    data/measured/NOTICE.txt.
    Errors: ValueError for another name.
    Source: test files of TotalSegmentator (the CT) and of pyradiomics (the MR). Chapters 11, 12.

    >>> scan = load_measured("ct_abdomen")
    >>> scan.array.shape, scan.grid.orientation
    ((488, 256, 4), 'RAS')
    """
    if name not in MEASURED:
        raise ValueError(f"name: expected one of {', '.join(MEASURED)}, got {name!r}")
    with as_file(files("medlearn.data") / "measured" / f"{name}.nii.gz") as path:
        return read_volume(path)
