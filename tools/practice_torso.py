"""Cut the slices of a real torso CT that the practice chapters use, into medlearn/practice/torso.npz.

    python tools/practice_torso.py FOLDER

FOLDER holds example_ct.nii.gz and example_seg_fast_force_split.nii.gz: TotalSegmentator's test files
(github.com/wasserth/TotalSegmentator, tests/reference_files; Apache-2.0). What was changed stands in the NOTICE beside
the file that is written.
"""
from __future__ import annotations

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

from live_data import AIR_HU, TORSO_MM
from medlearn.practice.torso import KEPT, ORGANS

HEIGHTS = range(84, 108)        # of the scan's 112 slices: those through kidneys and adrenal glands
STEP_HU = 4                     # finer than the noise by far, and a smaller file
PARTS = {"left kidney": [3], "right kidney": [2], "adrenal glands": [8, 9], "liver": [5], "spleen": [1],
         "spine": [*range(25, 51)]}     # TotalSegmentator's numbers


def main(folder: Path) -> None:
    scan, labelled = (nib.load(folder / f"example_{name}.nii.gz") for name in ("ct", "seg_fast_force_split"))
    if nib.aff2axcodes(scan.affine) != ("R", "A", "S") or not np.allclose(np.diag(scan.affine)[:3], TORSO_MM):
        raise SystemExit(f"{folder}: expected a scan of {TORSO_MM:g} mm in RAS order, got\n{scan.affine}")
    hu, parts = (np.asanyarray(one.dataobj)[..., HEIGHTS.start:HEIGHTS.stop] for one in (scan, labelled))
    organs = np.zeros(parts.shape, np.uint8)
    for name, numbers in PARTS.items():
        organs[np.isin(parts, numbers)] = ORGANS.index(name)
    hu = np.where(hu < AIR_HU, -1000, np.clip(hu, -1000, 2000))
    affine = scan.affine.copy()
    affine[2, 3] += TORSO_MM * HEIGHTS.start
    np.savez_compressed(KEPT, hu=(np.rint(hu / STEP_HU) * STEP_HU).astype(np.int16), organs=organs, affine=affine)
    print(f"{hu.shape}: {KEPT.stat().st_size // 1000} kB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
