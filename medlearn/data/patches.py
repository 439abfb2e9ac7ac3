r"""Patches of a folder larger than memory: each scan is read once into a cache, and from there in pieces."""
from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.data import Dataset

from medlearn.base.validation import as_tensor, check_number, check_whole
from medlearn.data.augment import Transform, augmented
from medlearn.data.cache import ArrayCache, Entry, key_of
from medlearn.data.files import Report, read_volume
from medlearn.data.folder import Case, Folder
from medlearn.data.resampling import resample, resample_labels, respaced_grid
from medlearn.data.volumes import Volume, check_same_grid, to_ras
from medlearn.data.windows import Window, as_window, hu_window

FORM = 1                        # of an entry in the cache; another number, and all is made again
PLACES = 1000                   # of each class that a scan remembers, to put patches on


class Patches(Dataset):
    r"""What `medlearn.train.fit` trains on: pairs (image, labels), cut out of a folder's scans at random places.

    `folder` says classes and channels, `cases` which of its cases, all when left out. When it is made, each scan that
    the `cache` (an `ArrayCache`, or a folder for one) does not hold is read, turned to RAS, resampled to `spacing_mm`
    where it is given, and kept; `report` says which files were refused, and the others are used.
    Shapes: `patches[i]` is an image `(C, *patch)` in float32 and labels `(*patch)` in int64; a `patch` of two numbers
    is an axial slice of a volume. What lies beyond a scan is its lowest value, and background.
    Units: `patch` in voxels; images are standardised with the mean and the standard deviation of their whole scan, or
    seen through a `window` (HU), or left as they are with `raw`. `noise` are transforms that imitate a scanner, on the patch in the units of
    its file, before it is standardised or windowed: as in `augment_batch`.
    A share `foreground` of the patches lies around a voxel of a class, each class of the scan being as likely as any
    other; the rest lies anywhere. `len(patches)` is the number of scans times `per_case`.
    Places are drawn from torch's own generator, which `fit` seeds by (seed, number of the sample).
    Errors: ValueError where no case can be read, and for numbers that cannot be.

    >>> from tempfile import TemporaryDirectory
    >>> from medlearn.base.grid import Grid
    >>> from medlearn.data.folder import write_folder
    >>> scan = Volume(np.arange(512, dtype=np.int16).reshape(8, 8, 8), Grid((8, 8, 8), np.eye(4)))
    >>> label = scan.with_array((scan.array > 500).astype(np.uint8))
    >>> with TemporaryDirectory() as root:
    ...     folder = write_folder(root, [("a", scan, label)], channels=["CT"], labels=["background", "liver"])
    ...     patches = Patches(folder, patch=(4, 4, 4), cache=f"{root}/cache", foreground=1.0)
    ...     image, target = patches[0]
    >>> image.shape, target.any().item(), str(patches.report)
    (torch.Size([1, 4, 4, 4]), True, '1 read, 0 refused, 0 with a warning')
    """

    def __init__(self, folder: Folder, cases: Sequence[Case] | None = None, *, patch: Sequence[int],
                 cache: ArrayCache | str | Path, spacing_mm: Sequence[float] | None = None,
                 foreground: float = 1 / 3, per_case: int = 1, window: Window | None = None, raw: bool = False,
                 noise: Sequence[Transform] = ()) -> None:
        if len(patch) not in (2, 3):
            raise ValueError(f"patch: expected 2 or 3 numbers of voxels, got {tuple(patch)}")
        self.patch = tuple(check_whole(f"patch[{i}]", n, least=1) for i, n in enumerate(patch))
        self.foreground = check_number("foreground", foreground, least=0, most=1)
        self.per_case = check_whole("per_case", per_case, least=1)
        self.window = None if window is None else as_window(window)
        if raw and window is not None:
            raise ValueError("raw, window: expected one of them, got both")
        self.raw, self.folder, self.noise = raw, folder, tuple(noise)
        self.spacing_mm = None if spacing_mm is None else tuple(float(s) for s in spacing_mm)
        self.cache = cache if isinstance(cache, ArrayCache) else ArrayCache(cache)
        self.report = Report()
        wanted = folder.cases if cases is None else cases
        self.cases = [case for case, _ in self.report.over(wanted, self._prepare)]
        if not self.cases:
            raise ValueError(f"cases: expected at least one that can be read, got none of {len(wanted)}\n{self.report}")

    def __len__(self) -> int:
        return len(self.cases) * self.per_case

    def __getitem__(self, i: int) -> tuple[Float[Tensor, "c *s"], Int64[Tensor, "*s"]]:
        if not 0 <= i < len(self):
            raise IndexError(f"expected 0..{len(self) - 1}, got {i}")
        entry = self._entry(self.cases[i % len(self.cases)])
        image, labels = entry.arrays["image"], entry.arrays["labels"]
        space = labels.shape
        patch = (*self.patch, *[1] * (len(space) - len(self.patch)))
        start = self._start(entry.arrays["places"], space, patch)
        values = as_tensor("image", _cut(image, start, patch, entry.facts["low"])).to(torch.float32)
        target = as_tensor("labels", _cut(labels[None], start, patch, [0])[0]).long()
        values, target = values.reshape(len(image), *self.patch), target.reshape(self.patch)
        if self.noise:
            values, target = augmented(values, target, self.noise)
        return self._shown(values, entry), target

    def _shown(self, values: Tensor, entry: Entry) -> Tensor:
        if self.raw:
            return values
        if self.window is not None:
            return hu_window(values, self.window)
        mean, sd = (torch.tensor(entry.facts[name]).reshape(-1, *[1] * (values.ndim - 1)) for name in ("mean", "sd"))
        return (values - mean) / sd

    def _start(self, places: np.ndarray, space: Sequence[int], patch: Sequence[int]) -> list[int]:
        """Where the patch begins: around a voxel of some class, or anywhere; inside the scan where it has the room."""
        on_foreground = torch.rand(()).item() < self.foreground
        if on_foreground and len(places):
            present = np.unique(places[:, 0])
            rows = np.flatnonzero(places[:, 0] == present[_below(len(present))])
            centre = places[rows[_below(len(rows))], 1:]
            wanted = [int(c) - _below(p) for c, p in zip(centre, patch)]
        else:
            wanted = [_below(max(n - p, 0) + 1) for n, p in zip(space, patch)]
        # of a scan smaller than the patch, the middle
        return [(n - p) // 2 if n < p else min(max(w, 0), n - p) for w, n, p in zip(wanted, space, patch)]

    def _prepare(self, case: Case) -> None:
        if self._key(case) not in self.cache:
            self._entry(case)

    def _entry(self, case: Case) -> Entry:
        return self.cache.get(self._key(case), partial(_read_case, case, self.folder, self.spacing_mm))

    def _key(self, case: Case) -> str:
        if case.label is None:
            raise ValueError(f"{case.name}: expected a label, got none")
        return key_of([*case.images, case.label], form=FORM, spacing=self.spacing_mm, classes=self.folder.classes,
                      ignore=self.folder.ignore_index)


def _read_case(case: Case, folder: Folder, spacing_mm: Sequence[float] | None) -> Entry:
    image = folder.read_image(case)
    assert case.label is not None
    label = read_volume(case.label)
    check_same_grid(image, label)
    label = _whole_labels(label, folder)
    image, label = to_ras(image), to_ras(label)
    if spacing_mm is not None:
        grid = respaced_grid(image.grid, spacing_mm)
        image, label = resample(image, grid), resample_labels(label, grid)
    values = image.array if image.array.dtype != np.float64 else image.array.astype(np.float32)
    flat = values.reshape(len(values), -1)
    sd = flat.std(axis=1, dtype=np.float64)
    facts = {"low": flat.min(axis=1).tolist(), "mean": flat.mean(axis=1, dtype=np.float64).tolist(),
             "sd": np.where(sd > 0, sd, 1.0).tolist(), "affine": image.grid.affine.tolist(), "name": case.name}
    return Entry({"image": values, "labels": label.array, "places": _places(label.array, case, folder)}, facts)


def _whole_labels(label: Volume, folder: Folder) -> Volume:
    """Labels in the smallest type; files often keep them as floats."""
    values = np.rint(label.array)
    if not np.array_equal(values, label.array):
        odd = label.array[values != label.array][0]
        raise ValueError(f"{label.name}: expected whole numbers as labels, got others, as {odd:g}")
    wrong = (values < 0) | (values >= folder.classes)
    if folder.ignore_index is not None:
        wrong &= values != folder.ignore_index
    if wrong.any():
        raise ValueError(f"{label.name}: expected labels of 0..{folder.classes - 1}, got {values[wrong][0]:g}")
    return Volume(values.astype(np.int16 if folder.classes > 255 else np.uint8), label.grid, label.stored)


def _places(labels: np.ndarray, case: Case, folder: Folder) -> np.ndarray:
    """Rows (class, index): voxels of each class but the background, the same ones whoever makes the entry."""
    rng = np.random.default_rng(zlib.crc32(case.name.encode()))
    rows = []
    for k in range(1, folder.classes):
        flat = np.flatnonzero(labels == k)
        chosen = np.sort(rng.choice(flat, PLACES, replace=False)) if len(flat) > PLACES else flat
        index = np.stack(np.unravel_index(chosen, labels.shape), axis=1)
        rows.append(np.concatenate([np.full((len(index), 1), k), index], axis=1))
    return np.concatenate(rows).astype(np.int32) if rows else np.zeros((0, 1 + labels.ndim), np.int32)


def _cut(array: np.ndarray, start: Sequence[int], patch: Sequence[int], outside: Sequence[float]) -> np.ndarray:
    """The box of each channel that begins at `start`; only its pages are read."""
    box = tuple(slice(max(s, 0), min(s + p, n)) for s, p, n in zip(start, patch, array.shape[1:]))
    part = np.array(array[(slice(None), *box)])
    if part.shape[1:] == tuple(patch):
        return part
    whole = np.empty((len(array), *patch), array.dtype)
    for channel, low in zip(whole, outside):
        channel[...] = low
    whole[(slice(None), *(slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(start, part.shape[1:])))] = part
    return whole


def _below(n: int) -> int:
    return int(torch.randint(n, ()).item())
