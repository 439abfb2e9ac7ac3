r"""One training at a time: in a process, whose generators and precision it sets, and in a folder of checkpoints."""
from __future__ import annotations

import json
import os
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "training.lock"
_training = threading.Lock()


@contextmanager
def only_training_here() -> Iterator[None]:
    """Refuses a second training in this process, from a thread or from within the first."""
    if not _training.acquire(blocking=False):
        raise RuntimeError("fit: expected one training at a time in a process, got a second while the first runs. "
                           "Give each a process of its own")
    try:
        yield
    finally:
        _training.release()


class FolderLock:
    r"""A file with this process' number and host, which keeps other trainings out of a folder.

    What a killed process left behind is taken over. Whether a process on another host still lives cannot be seen: it
    loses the folder, with a warning, and notices before it writes again (`check`).
    Errors: ValueError for anything but a folder that can be written; RuntimeError where another training is at work.
    """

    def __init__(self, folder: Path):
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"checkpoint: expected a folder, got the file {folder}")
        self.path = folder / NAME
        self.own = {"pid": os.getpid(), "host": socket.gethostname()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            while not self._created():
                self._take_over()
        except OSError as error:
            raise ValueError(f"checkpoint: expected a folder that can be written, got {folder}: {error}") from error

    def check(self) -> None:
        """Refuses to go on where the folder was taken over."""
        if (now := self._read()) != self.own:
            raise RuntimeError(f"checkpoint: expected {self.path.parent} to stay this training's own, got {_who(now)} "
                               f"in {NAME}; nothing more is written")

    def release(self) -> None:
        if self._read() == self.own:
            os.remove(self.path)

    def _created(self) -> bool:
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            json.dump(self.own, file)
        return True

    def _take_over(self) -> None:
        other = self._read()
        if other is not None and other["host"] != self.own["host"]:
            warnings.warn(f"{self.path.parent} was last used by {_who(other)}, which will write to it no more: it is "
                          "taken over. Two trainings need two folders", stacklevel=4)
        elif other is not None and other["pid"] != self.own["pid"] and _is_alive(other["pid"]):
            raise RuntimeError(f"checkpoint: expected a folder that no other training uses, got {self.path.parent}, "
                               f"where {_who(other)} is at work. If it is no training, delete {self.path}")
        try:
            os.remove(self.path)
        except FileNotFoundError:
            pass

    def _read(self) -> dict | None:
        """Who holds the folder; None where nobody can be made out."""
        try:
            told = json.loads(self.path.read_text())
            return {"pid": int(told["pid"]), "host": str(told["host"])}
        except (FileNotFoundError, ValueError, KeyError, TypeError):    # none, or cut short by a kill
            return None


def _who(holder: dict | None) -> str:
    return "nobody" if holder is None else f"process {holder['pid']} on {holder['host']}"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:                                         # it is somebody else's
        pass
    return True
