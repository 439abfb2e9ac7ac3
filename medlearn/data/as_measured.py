r"""Small pieces of real scans that ship with the package, as scanners stored them: what noise looks like there."""
from __future__ import annotations

from importlib.resources import as_file, files

from medlearn.base.validation import check_choice
from medlearn.data.files import read_volume
from medlearn.data.volumes import Volume

MEASURED = ("ct_abdomen", "ct_organs", "mr_head_1", "mr_head_2", "mr_colin27", "mr_tumour", "mr_tumour_label")


def load_measured(name: str) -> Volume:
    r"""A few slices of one person's scan, skull, skin and noise with it, by `name`. No network here learnt on it.

    "ct_abdomen" is a CT; "ct_organs" are labels that a network gave six organs on another: 1 bladder, 2 right kidney,
    3 duodenum, 4 gallbladder, 5 pancreas, 6 right adrenal gland. "mr_head_1" and "mr_head_2" are a slice each of two
    patients; "mr_tumour" is five slices of the first of them, after contrast medium, and "mr_tumour_label" the mask of
    the tumour; "mr_colin27" is one man's head in MNI space, the average of 27 scans of him. Licences and what was
    changed stand in data/measured/NOTICE.txt.
    Shapes: a `Volume` in RAS: `(488, 256, 4)` of the CT, `(73, 51, 107)` of the organs, `(256, 256, 1)` and
    `(256, 256, 5)` of the patients' MR, `(181, 217, 5)` of Colin27. Units: Hounsfield units of the CT, what was stored
    of the MR; the grid in mm.
    Errors: ValueError for another name.
    Source: test files of TotalSegmentator (CT, organs) and of pyradiomics (MR); Holmes et al., J Comput Assist Tomogr
    22 (1998) 324 (Colin27). Chapters 11, 12, 17, 18.

    >>> scan = load_measured("ct_abdomen")
    >>> scan.array.shape, scan.grid.orientation
    ((488, 256, 4), 'RAS')
    """
    check_choice("name", name, MEASURED)
    with as_file(files("medlearn.data") / "measured" / f"{name}.nii.gz") as path:
        return read_volume(path)
