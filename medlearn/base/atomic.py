r"""A file is written whole or not at all: until it is complete, and on the disk, it has another name."""
from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A name beside `path` to write under; the file takes its own name at the end, and none where anything fails."""
    # another process, or another thread, may be writing the same file
    aside = path.with_name(f".{os.getpid()}.{threading.get_ident()}.partial.{path.name}")
    try:
        yield aside
        with open(aside, "rb+") as file:
            os.fsync(file.fileno())         # or the new name could outlive a power cut, and the contents not
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """The names in a folder are on the disk as well."""
    if os.name == "posix":                                  # only there can a folder be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
