r"""Slices of real, individual heads that ship with the package: no network of the book is trained on them."""
from __future__ import annotations

from importlib.resources import as_file, files

from medlearn.base.validation import check_choice
from medlearn.data.files import read_volume
from medlearn.data.volumes import Volume

HEADS = ("colin27", "tumour", "tumour_label")


def load_head(name: str) -> Volume:
    r"""Five axial slices of one person's head, its skull and skin with it, by `name`.

    "colin27" is a man's head, the average of 27 scans of him, in MNI space; "tumour" a patient after contrast medium,
    on another scanner, and "tumour_label" the mask of the tumour. Their licences lie beside them, in NOTICE.txt.
    Shapes: 181 x 217 x 5 and 256 x 256 x 5, RAS. Units: 1 x 1 x 10 mm and 0.78 x 0.78 x 6.5 mm; intensities as stored.
    Errors: ValueError for another name.
    Chapter 19.

    >>> load_head("colin27").grid.shape, (load_head("tumour_label").array > 0).any().item()
    ((181, 217, 5), True)
    """
    check_choice("name", name, HEADS)
    with as_file(files("medlearn.data") / "people" / f"{name}.nii.gz") as path:
        return read_volume(path)
