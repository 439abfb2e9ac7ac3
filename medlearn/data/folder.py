r"""Folders of scans with their labels, in the layouts of nnU-Net and of the Medical Segmentation Decathlon."""
from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medlearn.base.atomic import written_whole
from medlearn.base.files import read_json
from medlearn.base.validation import check_choice, check_whole
from medlearn.data.files import read_channels, write_volume
from medlearn.data.regions import LabelRegion
from medlearn.data.volumes import Volume, check_same_grid


@dataclass(frozen=True)
class Case:
    r"""One scan of a patient: its `name`, the files of its `images`, one a channel or one with all, and of its `label`.

    `patient` says whose it is: the name, where nothing else is known. A case without a label is one.

    >>> Case("p07_followup", (Path("p07_followup_0000.nii.gz"),)).patient
    'p07_followup'
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None = None
    patient: str = ""

    def __post_init__(self):
        if not self.patient:
            object.__setattr__(self, "patient", self.name)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Folder:
    r"""What a `dataset.json` says: `cases` with labels, `test` cases without, the names of `channels` and `labels`.

    `labels[k]` is the name of label k, 0 is the background; `ignore_index` is the label of voxels that nobody judged.
    `regions` are unions of labels, where a network is to be asked for those instead. `root` is the folder.

    >>> Folder(Path("."), (), labels=("background", "tumour")).classes
    2
    """

    root: Path
    cases: tuple[Case, ...]
    test: tuple[Case, ...] = ()
    channels: tuple[str, ...] = ("image",)
    labels: tuple[str, ...] = ("background", "foreground")
    ignore_index: int | None = None
    regions: tuple[LabelRegion, ...] = ()

    @property
    def classes(self) -> int:
        """How many labels its files may hold, the background among them."""
        return len(self.labels)

    @property
    def answers(self) -> int:
        """How many logits a network gives for each voxel: one a region, or one a class."""
        return len(self.regions) or self.classes

    @property
    def judged(self) -> tuple[str, ...]:
        """The names of what is judged: of the regions, or of the classes without the background."""
        return tuple(region.name for region in self.regions) or self.labels[1:]

    def read_image(self, case: Case) -> Volume:
        r"""The scan of a `case`, `(C, *S)`, with the channels that this folder names.

        Errors: as `read_channels`; ValueError for another number of channels.
        """
        image = read_channels(case.images)
        if len(image.array) != len(self.channels):
            raise ValueError(f"{image.name}: expected {len(self.channels)} channels, {', '.join(self.channels)}, "
                             f"got {len(image.array)}")
        return image


def read_folder(root: str | Path, *, patient: Callable[[str], str] | None = None) -> Folder:
    r"""A folder of nnU-Net's or of the Decathlon's layout, told apart by what its `dataset.json` says.

    nnU-Net: `imagesTr/NAME_0000.nii.gz`, one file a channel, and `labelsTr/NAME.nii.gz`. Decathlon: one file, of four
    axes where there are channels, listed in `dataset.json`. `root` is the folder; `patient` gives a patient from the
    name of a case, so that scans of one person stay together in `folds_by_patient`. A folder without a case is one.
    It warns of images without a label, and of another number of cases than the file says. Whether files are good shows
    when they are read. Where a name stands for several labels, as `"whole tumour": [1, 2, 3]`, all names are `regions`;
    then label k has the name of the region that is label k alone, or else none but its number.
    Errors: ValueError for a `dataset.json` that is neither, labels that are not 0, 1, 2, ..., and regions without a
    `regions_class_order`, a number for each; FileNotFoundError where there is none.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; Antonelli et al. 2022, doi:10.1038/s41467-022-30695-9.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as root:
    ...     told = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    ...     _ = (Path(root) / "dataset.json").write_text(json.dumps(told))
    ...     folder = read_folder(root)
    >>> folder.channels, folder.labels, folder.cases
    (('CT',), ('background', 'liver'), ())
    """
    root = Path(root)
    path = root / "dataset.json"
    told = read_json(path)
    if not isinstance(told.get("labels"), dict):
        raise ValueError(f"{path}: expected an object that names its labels")
    if "channel_names" in told:
        folder = _read_nnunet(root, told)
    elif "modality" in told and "training" in told:
        folder = _read_decathlon(root, told)
    else:
        raise ValueError(f"{path}: expected channel_names (nnU-Net) or modality and training (Decathlon), got "
                         f"{', '.join(told)}")
    if "numTraining" in told and told["numTraining"] != len(folder.cases):
        warnings.warn(f"{path}: says {told['numTraining']} cases, and {len(folder.cases)} are there", stacklevel=2)
    if patient is None:
        return folder
    return replace(folder, cases=tuple(replace(case, patient=patient(case.name)) for case in folder.cases))


def write_folder(root: str | Path, cases: Iterable[tuple[str, Volume, Volume | None]], *, channels: Sequence[str],
                 labels: Sequence[str], layout: str = "nnunet") -> Folder:
    r"""Writes scans, one after the other, in the `layout` "nnunet" or "decathlon", and `dataset.json` at the end.

    Shapes: `cases` are (name, image, label): an image `(*S)`, or `(C, *S)` with one name in `channels` each, and its
    label `(*S)` on the same grid, or None for a test case. `labels[k]` names label k. `root` is made if need be.
    Units: as the volumes. No case gives a folder without one. What stands there under the same names is replaced.
    Errors: ValueError for another layout, another number of channels, an image and a label on two grids.

    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np
    >>> from medlearn.base.grid import Grid
    >>> scan = Volume(np.zeros((4, 4, 4), np.int16), Grid((4, 4, 4), np.eye(4)))
    >>> with TemporaryDirectory() as root:
    ...     folder = write_folder(root, [("a", scan, scan)], channels=["CT"], labels=["background", "liver"])
    ...     print(sorted(str(path.relative_to(root)) for path in Path(root).rglob("*.nii.gz")))
    ['imagesTr/a_0000.nii.gz', 'labelsTr/a.nii.gz']
    """
    root = Path(root)
    check_choice("layout", layout, ["nnunet", "decathlon"])
    training, test = [], []
    for name, image, label in cases:
        count = len(image.array) if image.has_channels else 1
        if count != len(channels):
            raise ValueError(f"{name}: expected {len(channels)} channels, {', '.join(channels)}, got {count}")
        part = "Ts" if label is None else "Tr"
        names = [f"{name}_{c:04d}" for c in range(count)] if layout == "nnunet" else [name]
        paths = [root / f"images{part}" / f"{one}.nii.gz" for one in names]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        volumes = _channels(image) if layout == "nnunet" else [image]
        for path, volume in zip(paths, volumes):
            write_volume(path, volume)
        if label is None:
            test.append(f"./imagesTs/{name}.nii.gz")
            continue
        check_same_grid(image, label)
        target = root / "labelsTr" / f"{name}.nii.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        write_volume(target, label)
        training.append({"image": f"./imagesTr/{name}.nii.gz", "label": f"./labelsTr/{name}.nii.gz"})
    told: dict[str, Any] = {"name": root.name, "numTraining": len(training), "numTest": len(test)}
    if layout == "nnunet":
        told |= {"channel_names": {str(c): name for c, name in enumerate(channels)},
                 "labels": {name: k for k, name in enumerate(labels)}, "file_ending": ".nii.gz"}
    else:
        told |= {"modality": {str(c): name for c, name in enumerate(channels)},
                 "tensorImageSize": "4D" if len(channels) > 1 else "3D",
                 "labels": {str(k): name for k, name in enumerate(labels)}, "training": training, "test": test}
    root.mkdir(parents=True, exist_ok=True)
    with written_whole(root / "dataset.json") as aside:
        aside.write_text(json.dumps(told, indent=2), encoding="utf-8")
    return read_folder(root)


def folds_by_patient(cases: Sequence[Case], folds: int = 5, *, seed: int = 0) -> list[tuple[list[Case], list[Case]]]:
    r"""For each fold the `cases` to train on and those to validate on: no patient is in both, each is validated once.

    The order of the patients is that of a hash of (`seed`, patient), the same on every machine; fold i validates every
    `folds`-th of them, so folds differ by one patient at most. No case is refused.
    Errors: ValueError for fewer patients than folds, or fewer than two folds.

    >>> cases = [Case(f"p{n // 2}_{n % 2}", (), patient=f"p{n // 2}") for n in range(8)]
    >>> train, validation = folds_by_patient(cases, 4)[0]
    >>> len(train), [case.patient for case in validation] == [validation[0].patient] * 2
    (6, True)
    """
    check_whole("folds", folds, least=2)
    check_whole("seed", seed)
    patients = sorted({case.patient for case in cases},
                      key=lambda one: hashlib.sha256(f"{seed} {one}".encode()).digest())
    if len(patients) < folds:
        raise ValueError(f"cases: expected at least {folds} patients for as many folds, got {len(patients)}")
    split = []
    for i in range(folds):
        held_out = set(patients[i::folds])
        split.append(([case for case in cases if case.patient not in held_out],
                      [case for case in cases if case.patient in held_out]))
    return split


def _read_nnunet(root: Path, told: Mapping[str, Any]) -> Folder:
    path, ending = root / "dataset.json", told.get("file_ending", ".nii.gz")
    values = {name: _numbers(name, value, path) for name, value in told["labels"].items()}
    ignored = values.pop("ignore", None)
    ignore_index = None if ignored is None else ignored[0]
    regions = _regions(values, told, path)
    alone = {numbers[0]: name for name, numbers in values.items() if len(numbers) == 1}
    known = sorted({number for numbers in values.values() for number in numbers})
    labels = _names({k: alone.get(k, f"label {k}") for k in known}, path)
    channels = _names({int(key): name for key, name in told["channel_names"].items()}, path)

    def images(part: str, name: str) -> tuple[Path, ...]:
        return tuple(root / part / f"{name}_{c:04d}{ending}" for c in range(len(channels)))

    cases = tuple(Case(name, images("imagesTr", name), root / "labelsTr" / f"{name}{ending}")
                  for name in _stems(root / "labelsTr", ending))
    labelled = {case.name for case in cases}
    first = f"_0000{ending}"
    if unlabelled := [name for name in _stems(root / "imagesTr", first) if name not in labelled]:
        warnings.warn(f"{root}: {len(unlabelled)} images have no label and are left out: {', '.join(unlabelled[:5])}",
                      stacklevel=3)
    test = tuple(Case(name, images("imagesTs", name)) for name in _stems(root / "imagesTs", first))
    return Folder(root, cases, test, channels, labels, ignore_index, regions)


def _read_decathlon(root: Path, told: Mapping[str, Any]) -> Folder:
    path = root / "dataset.json"
    labels = _names({int(key): name for key, name in told["labels"].items()}, path)
    channels = _names({int(key): name for key, name in told["modality"].items()}, path)

    def case(image: str, label: str | None = None) -> Case:
        name = Path(image).name.removesuffix(".gz").removesuffix(".nii")
        return Case(name, (root / image,), None if label is None else root / label)

    return Folder(root, tuple(case(one["image"], one["label"]) for one in told["training"]),
                  tuple(case(one["image"] if isinstance(one, dict) else one) for one in told.get("test", [])),
                  channels, labels)


def _numbers(name: str, value: Any, path: Path) -> tuple[int, ...]:
    """The labels that a name stands for."""
    numbers = tuple(value) if isinstance(value, list) else (value,)
    if not numbers or not all(type(number) is int for number in numbers):
        raise ValueError(f"{path}: expected a whole number, or several, for the label {name}, got {value!r}")
    return numbers


def _regions(values: Mapping[str, tuple[int, ...]], told: Mapping[str, Any], path: Path) -> tuple[LabelRegion, ...]:
    if all(len(numbers) == 1 for numbers in values.values()):
        return ()
    asked = {name: numbers for name, numbers in values.items() if set(numbers) != {0}}
    order = told.get("regions_class_order")
    if not (isinstance(order, list) and len(order) == len(asked) and all(type(k) is int and k >= 0 for k in order)):
        raise ValueError(f"{path}: expected a regions_class_order with a whole number for each of {', '.join(asked)}, "
                         f"got {order!r}")
    return tuple(LabelRegion(name, numbers, k) for (name, numbers), k in zip(asked.items(), order))


def _names(by_number: Mapping[int, str], path: Path) -> tuple[str, ...]:
    if sorted(by_number) != list(range(len(by_number))):
        raise ValueError(f"{path}: expected the numbers 0, 1, 2, ..., got {sorted(by_number)}")
    return tuple(by_number[k] for k in range(len(by_number)))


def _stems(folder: Path, ending: str) -> list[str]:
    # a name that begins with a dot is macOS's, or not yet whole
    return sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}") if not path.name.startswith("."))


def _channels(volume: Volume) -> list[Volume]:
    return [replace(volume, array=one) for one in volume.array] if volume.has_channels else [volume]
