r"""A ward of patients with plaques: their scans as files, each on a grid of its own, and what is known of some."""
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from medlearn.base.grid import Grid
from medlearn.base.validation import check_choice, check_whole
from medlearn.data import BrainCohort, Folder, LesionSpec, Volume, reorient, write_folder

SIZE = 40                       # voxels a side, of 5.2 mm
LESIONS = LesionSpec(diagnosis=(0.15, 0.85, 0), plaques=(1, 6), plaque_mm=(12, 28), touching=0)
PARTS = {"learn": 611, "calibrate": 612, "test": 613}           # the seed of each cohort
PATIENTS = 24                                                   # in each part
ORIENTATIONS = ("RAS", "LAS", "LPS", "PSR", "ASL")              # of the axes in the files, one patient after the other
GAINS = (400, 650, 1000, 1500)                                  # what a scanner writes for white matter


@dataclass(frozen=True, eq=False)
class Patient:
    r"""A patient of the ward, by `name`: the `scan`, the expert's mask of the `lesion`, and where the `brain` is.

    Shapes: all on the grid of the scan's file, `(X, Y, Z)`. Units: the scan in its scanner's own.
    Chapter "From a scan to a decision".

    >>> one = patients("learn")[1]
    >>> one.name, one.scan.grid.orientation, one.scan.array.shape == one.brain.shape
    ('learn-02', 'LAS', True)
    """

    name: str
    scan: Volume
    lesion: Volume
    brain: Bool[np.ndarray, "x y z"]


def ward(root: str | Path) -> Folder:
    r"""Writes the ward's scans into the folder `root`, in nnU-Net's layout, and reads what they are.

    There are 48 cases with an expert's labels, `learn-01` to `learn-24` and `calibrate-01` to `calibrate-24`, and 24
    without, under `test`. Units: scans as a scanner writes them; grids in mm. Errors: OSError. Chapter "From a scan to
    a decision".

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     folder = ward(root)
    >>> len(folder.cases), len(folder.test), folder.labels
    (48, 24, ('background', 'plaque'))
    """
    cases = [(one.name, one.scan, None if part == "test" else one.lesion) for part in PARTS for one in patients(part)]
    return write_folder(root, cases, channels=["T1"], labels=["background", "plaque"])


@lru_cache(maxsize=len(PARTS))
def patients(part: str, count: int = PATIENTS) -> tuple[Patient, ...]:
    r"""Who lies in a `part` of the ward, "learn", "calibrate" or "test", the first `count` of them, with the truth.

    It is what the rubric judges by; `ward` hands out no truth of the test. Errors: ValueError for another part, a
    count below 1. Chapter "From a scan to a decision".

    >>> len(patients("test", 2)), patients("test", 2)[0].lesion.grid.spacing_mm
    (2, (5.2, 5.2, 5.2))
    """
    seed = PARTS[check_choice("part", part, list(PARTS))]
    scans = BrainCohort(seed=seed, size=SIZE, dim=3, lesions=LESIONS).batch(range(check_whole("count", count, least=1)))
    made = []
    for i in range(len(scans)):
        grid, axes = Grid((SIZE,) * 3, scans.affine[i].numpy()), ORIENTATIONS[i % len(ORIENTATIONS)]
        measured = (GAINS[i % len(GAINS)] * scans.image[i, 0]).round().short()
        scan, lesion, brain = (reorient(Volume(values.numpy(), grid), axes)
                               for values in (measured, (scans.lesion[i] > 0).byte(), scans.tissue[i] > 0))
        made.append(Patient(f"{part}-{i + 1:02}", scan, lesion, brain.array))
    return tuple(made)
