r"""Public cohorts, fetched when they are asked for and never otherwise: the licence first, the checksum last."""
from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from medlearn.base.validation import check_choice, kind_of

CHUNK = 2 ** 20                 # bytes at a time
PATIENCE_S = 60                 # without a byte, and the connection is given up
PARTS = ("train", "val", "test")
# what zipfile and NumPy say of a file that is cut short, damaged or something else
UNREADABLE = (KeyError, ValueError, EOFError, AttributeError, TypeError, OSError, RuntimeError, MemoryError,
              OverflowError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class PublicCohort:
    r"""Scans that anybody may fetch from `url`: a `name`, the `md5` of the file, its `licence`, and whom to cite.

    A file `*.tar` holds a folder of the cohort's name; any other is what it is. `source` is the paper.

    >>> COHORTS["Task04_Hippocampus"].file, COHORTS["Task04_Hippocampus"].licence
    ('Task04_Hippocampus.tar', 'CC BY-SA 4.0')
    """

    name: str
    url: str
    md5: str
    licence: str
    source: str

    @property
    def file(self) -> str:
        """What the file is called here."""
        return self.url.partition("?")[0].rpartition("/")[2]


def _medmnist(name: str, md5: str) -> PublicCohort:
    # skin is the one part that its owners keep from commercial use
    licence = "CC BY-NC 4.0" if name.startswith("derma") else "CC BY 4.0"
    return PublicCohort(name, f"https://zenodo.org/records/10519652/files/{name}.npz?download=1", md5, licence,
                        "MedMNIST v2, Yang et al. 2023, doi:10.1038/s41597-022-01721-8")


def _decathlon(name: str, md5: str) -> PublicCohort:
    return PublicCohort(name, f"https://msd-for-monai.s3-us-west-2.amazonaws.com/{name}.tar", md5, "CC BY-SA 4.0",
                        "Medical Segmentation Decathlon, Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9")


COHORTS = {cohort.name: cohort for cohort in (
    _decathlon("Task01_BrainTumour", "240a19d752f0d9e9101544901065d872"),
    _decathlon("Task02_Heart", "06ee59366e1e5124267b774dbd654057"),
    _decathlon("Task04_Hippocampus", "9d24dba78a72977dbd1d2e110310f31b"),
    _decathlon("Task05_Prostate", "35138f08b1efaef89d7424d2bcc928db"),
    _decathlon("Task09_Spleen", "410d4a301da4e5b2f6f86ec3ddba524e"),
    _medmnist("bloodmnist", "7053d0359d879ad8a5505303e11de1dc"),
    _medmnist("breastmnist", "750601b1f35ba3300ea97c75c52ff8f6"),
    _medmnist("chestmnist", "02c8a6516a18b556561a56cbdd36c4a8"),
    _medmnist("dermamnist", "0744692d530f8e62ec473284d019b0c7"),
    _medmnist("octmnist", "c68d92d5b585d8d81f7112f81e2d0842"),
    _medmnist("organamnist", "866b832ed4eeba67bfb9edee1d5544e6"),
    _medmnist("organcmnist", "0afa5834fb105f7705a7d93372119a21"),
    _medmnist("organsmnist", "e5c39f1af030238290b9557d9503af9d"),
    _medmnist("pathmnist", "a8b06965200029087d5bd730944a56c1"),
    _medmnist("pneumoniamnist", "28209eda62fecd6e6a2d98b1501bb15f"),
    _medmnist("pneumoniamnist_64", "8f4eceb4ccffa70c672198ea285246c6"),
    _medmnist("retinamnist", "bd4c0672f1bba3e3a89f0e4e876791e4"),
    _medmnist("tissuemnist", "ebe78ee8b05294063de985d821c1c34b"))}


def download(cohort: str | PublicCohort, folder: str | Path, *, progress: bool = True) -> Path:
    r"""A public `cohort` in a `folder`, by its name in `COHORTS`: the path of its file, or of its archive's folder.

    Its licence and whom to cite are printed before anything is fetched. A connection that breaks is taken up again by
    the next call, where it broke, if the server can; a file with another checksum is thrown away. An archive is
    unpacked aside, plain files alone, and takes its name when it is whole. What is there already is not fetched again.
    `progress` shows a bar. It needs the extra `download`. A folder of the Decathlon is one for `read_folder`.
    Errors: TypeError for what is neither a name nor a `PublicCohort`; ValueError for a name that is not there, another
    checksum, an archive with links or with paths that lead out of it, or one larger than the disk; OSError, as
    requests' own, for a connection that fails.

    >>> try: download("Task04_Hipocampus", "data")
    ... except ValueError as error: print(str(error).split(", ")[0])
    cohort: expected "Task01_BrainTumour"
    """
    if isinstance(cohort, str):
        cohort = COHORTS[check_choice("cohort", cohort, list(COHORTS))]
    if not isinstance(cohort, PublicCohort):
        raise TypeError(f"cohort: expected a name in COHORTS or a PublicCohort, got {kind_of(cohort)}")
    folder = Path(folder)
    archive = cohort.file.endswith(".tar")
    if archive and (folder / cohort.name).is_dir():
        return folder / cohort.name
    try:
        import pooch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("public cohorts are fetched with pooch, which is missing: "
                                  "pip install 'medlearn[download]'") from error
    print(f"{cohort.name}: {cohort.licence}. {cohort.source}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")                  # it says what is said here
    partial = folder / f".{cohort.file}.{cohort.md5[:8]}.partial"
    path = Path(pooch.retrieve(cohort.url, f"md5:{cohort.md5}", fname=cohort.file, path=folder,
                               downloader=_Resuming(partial, progress)))
    if not archive:
        return path
    _unpack(path, cohort.name)
    path.unlink()
    return folder / cohort.name


def read_medmnist(path: str | Path, *, part: str = "train") -> tuple[np.ndarray, np.ndarray]:
    r"""The images and labels of one `part`, "train", "val" or "test", of a file of MedMNIST.

    Shapes: images `(N, C, *S)`, C 1 or 3; labels `(N,)`, or `(N, L)` where each image has L findings. Units: images are
    uint8, 0..255; labels count from 0. A part without an image gives none. `path` is the file, as `download` gives it.
    Errors: ValueError for another part, and, beginning with the `path`, for a file that is none of MedMNIST, cut short
    or damaged, and for images and labels that do not go together. FileNotFoundError.
    Source: Yang et al. 2023, doi:10.1038/s41597-022-01721-8.

    >>> with TemporaryDirectory() as folder:
    ...     none = np.zeros((5, 28, 28), np.uint8)
    ...     np.savez(f"{folder}/a.npz", val_images=none, val_labels=none[:, 0, :1])
    ...     images, labels = read_medmnist(f"{folder}/a.npz", part="val")
    >>> images.shape, labels.shape
    ((5, 1, 28, 28), (5,))
    """
    check_choice("part", part, PARTS)
    with open(path, "rb") as raw:
        try:
            with np.load(raw, allow_pickle=False) as file:  # a pickle could run whatever it says
                images, labels = file[f"{part}_images"], file[f"{part}_labels"]
        except UNREADABLE as error:
            raise ValueError(f"{path}: expected a file of MedMNIST with {part}_images and {part}_labels: "
                             f"{error}") from error
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(f"{path}: expected {part}_images in uint8, of shape (N, *S) or (N, X, Y, 3), got "
                         f"{images.dtype} of shape {images.shape}")
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2) or len(labels) != len(images):
        raise ValueError(f"{path}: expected {part}_labels as numbers for each of {len(images)} images, got "
                         f"{labels.dtype} of shape {labels.shape}")
    colour = images.ndim == 4 and images.shape[-1] == 3
    images = np.moveaxis(images, -1, 1) if colour else images[:, None]
    return np.ascontiguousarray(images), labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


class _Resuming:
    """A downloader for pooch that goes on where a broken connection left the partial file."""

    def __init__(self, partial: Path, progress: bool):
        self.partial, self.progress = partial, progress

    def __call__(self, url: str, output_file: str, pooch: Any) -> None:
        import requests

        there = self.partial.stat().st_size if self.partial.exists() else 0
        asked = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with requests.get(url, headers=asked, stream=True, timeout=PATIENCE_S) as reply:
            if reply.status_code != requests.codes.requested_range_not_satisfiable:       # it was complete
                reply.raise_for_status()
                goes_on = reply.status_code == requests.codes.partial_content
                self._keep(reply, there if goes_on else 0)
        os.replace(self.partial, output_file)

    def _keep(self, reply: Any, there: int) -> None:
        length = reply.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with open(self.partial, "ab" if there else "wb") as file, \
                tqdm(total=total, initial=there, unit="B", unit_scale=True, disable=not self.progress) as bar:
            for chunk in reply.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))


def _unpack(archive: Path, name: str) -> None:
    """The folder `name` of an archive beside it, whole or not at all."""
    target = archive.parent / name
    try:
        with tarfile.open(archive) as tar, TemporaryDirectory(dir=archive.parent, prefix=f".{name}.") as aside:
            members = [member for member in tar if not _macs_own(member.name)]
            for member in members:
                _check_member(archive, member)
            size, free = sum(member.size for member in members), shutil.disk_usage(aside).free
            if size > free:
                raise ValueError(f"{archive}: expected at most {free} bytes, which the disk has left, got {size}")
            tar.extraction_filter = getattr(tarfile, "data_filter", None)       # the first 3.11 had none
            tar.extractall(aside, members)
            if not (Path(aside) / name).is_dir():
                raise ValueError(f"{archive}: expected a folder {name} in it, got none")
            os.replace(Path(aside) / name, target)
    except tarfile.TarError as error:
        raise ValueError(f"{archive}: expected an archive: {error}") from error


def _check_member(archive: Path, member: tarfile.TarInfo) -> None:
    path = Path(member.name)
    if not (member.isfile() or member.isdir()) or path.is_absolute() or ".." in path.parts or "\\" in member.name:
        raise ValueError(f"{archive}: expected plain files and folders within it, got {member.name}")


def _macs_own(name: str) -> bool:
    """What macOS writes beside each file of an archive."""
    return any(part.startswith("._") for part in Path(name).parts)
