r"""Arrays that were costly to make, kept as .npy files and read through the system's own cache of pages."""
from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medlearn.base.atomic import written_whole
from medlearn.base.validation import check_number

CHUNK = 2 ** 24                 # bytes summed up at a time
ABANDONED_S = 3600              # a partial file that nobody has touched for so long was left by a killed process


@dataclass(frozen=True, eq=False)
class Entry:
    r"""What is kept under one key: `arrays` by name, mapped from their files, and plain `facts`, as JSON can hold.

    >>> Entry({"image": np.zeros(3)}, {"mean": 0.0}).facts
    {'mean': 0.0}
    """

    arrays: Mapping[str, np.ndarray]
    facts: Mapping[str, Any]


class ArrayCache:
    r"""A folder of arrays by key, for any number of processes at once.

    `folder` is made where it is missing; `max_gb` bounds it: the entries that were used longest ago go first.
    An entry is there as a whole or not at all, whatever is killed. Its checksum is looked at when a process first opens
    it; what is damaged is made again. Two processes may make the same entry at once: the last one stands, equal to the
    first. What a process has opened stays readable to it, also after it went.
    Errors: ValueError for a bound of 0 or less.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     cache = ArrayCache(folder, max_gb=1)
    ...     entry = cache.get("a", lambda: Entry({"image": np.arange(3)}, {"from": "a.nii.gz"}))
    ...     print(entry.arrays["image"].tolist(), "a" in cache, "b" in cache)
    [0, 1, 2] True False
    """

    def __init__(self, folder: str | Path, *, max_gb: float = 100.0) -> None:
        self.folder, self.max_bytes = Path(folder), check_number("max_gb", max_gb, above=0) * 1e9
        self.folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, Entry] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._open or self._facts_path(key).exists()

    def get(self, key: str, make: Callable[[], Entry]) -> Entry:
        """The entry of this `key`; where there is none, or a damaged one, what `make` gives."""
        if key in self._open:
            return self._open[key]
        entry = self._read(key)
        if entry is None:
            self._write(key, make())
            entry = self._read(key)
            if entry is None:
                raise OSError(f"{self.folder}: expected to read what was just written, got a damaged entry {key}")
        self._open[key] = entry
        return entry

    def _read(self, key: str) -> Entry | None:
        try:
            told = json.loads(self._facts_path(key).read_text())
            arrays = {}
            for name, crc in told["crc32"].items():
                arrays[name] = np.load(self._array_path(key, name), mmap_mode="r", allow_pickle=False)
                if _crc32(arrays[name]) != crc:
                    return None
            os.utime(self._facts_path(key))                 # used now
            return Entry(arrays, told["facts"])
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None                                     # none, one that went in between, or a damaged one

    def _write(self, key: str, entry: Entry) -> None:
        crc32 = {}
        for name, array in entry.arrays.items():
            with written_whole(self._array_path(key, name)) as aside, open(aside, "wb") as file:
                np.save(file, np.ascontiguousarray(array), allow_pickle=False)
            crc32[name] = _crc32(array)
        with written_whole(self._facts_path(key)) as aside:         # last: with it the entry is there
            aside.write_text(json.dumps({"crc32": crc32, "facts": dict(entry.facts)}))
        self._make_room(newest=key)

    def _make_room(self, newest: str) -> None:
        sizes: dict[str, int] = {}
        used: dict[str, float] = {}
        for path in self.folder.iterdir():
            try:
                status = path.stat()
            except FileNotFoundError:                       # another process tidies up, too
                continue
            if path.name.startswith("."):
                if time.time() - status.st_mtime > ABANDONED_S:
                    path.unlink(missing_ok=True)
                continue
            key = path.name.split(".")[0]
            sizes[key] = sizes.get(key, 0) + status.st_size
            used[key] = max(used.get(key, 0.0), status.st_mtime if path.suffix == ".json" else 0.0)
        total = sum(sizes.values())
        for key in sorted(set(sizes) - {newest}, key=used.__getitem__):
            if total <= self.max_bytes:
                break
            for path in [self._facts_path(key), *self.folder.glob(f"{key}.*.npy")]:
                try:
                    path.unlink(missing_ok=True)
                except PermissionError:                     # Windows keeps what is open
                    continue
            total -= sizes[key]

    def _facts_path(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _array_path(self, key: str, name: str) -> Path:
        return self.folder / f"{key}.{name}.npy"

    def __getstate__(self) -> dict[str, Any]:               # a mapped array would travel with all its bytes
        return {**vars(self), "_open": {}}


def key_of(files: list[Path], **settings: Any) -> str:
    """A name for what is made of these files, as they are now, with these settings."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([stats, settings], sort_keys=True).encode()).hexdigest()[:32]


def _crc32(array: np.ndarray) -> int:
    flat, crc = np.ascontiguousarray(array).reshape(-1).view(np.uint8), 0
    for start in range(0, len(flat), CHUNK):
        crc = zlib.crc32(flat[start:start + CHUNK].data, crc)
    return crc
