"""One training in a folder: another is kept out while it lives, and what the dead left behind is taken over."""
import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from medlearn.train.lock import NAME, FolderLock, only_training_here


def held_by(folder, **who):
    (folder / NAME).write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), **who}))


def test_it_comes_and_goes(tmp_path):
    lock = FolderLock(tmp_path / "new")
    lock.check()
    assert json.loads((tmp_path / "new" / NAME).read_text()) == {"pid": os.getpid(), "host": socket.gethostname()}
    lock.release()
    assert not (tmp_path / "new" / NAME).exists()


def test_a_living_process_keeps_others_out(tmp_path):
    held_by(tmp_path, pid=os.getppid())
    with pytest.raises(RuntimeError, match=f"process {os.getppid()} on .* is at work. .* delete .*{NAME}"):
        FolderLock(tmp_path)
    assert (tmp_path / NAME).exists()


def test_what_the_dead_left_is_taken_over(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for rubbish in (None, "", "[]", "{}"):
        held_by(tmp_path, pid=dead.pid) if rubbish is None else (tmp_path / NAME).write_text(rubbish)
        lock = FolderLock(tmp_path)
        lock.check()
        lock.release()


def test_another_host_loses_the_folder_and_notices(tmp_path):
    held_by(tmp_path, host="elsewhere")
    with pytest.warns(UserWarning, match="last used by process .* on elsewhere"):
        lock = FolderLock(tmp_path)
    lock.check()
    held_by(tmp_path, host="elsewhere")
    with pytest.raises(RuntimeError, match="stay this training's own, got process .* on elsewhere"):
        lock.check()
    lock.release()
    assert (tmp_path / NAME).exists()


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"),
                                   OSError(errno.EROFS, "Read-only file system"),
                                   OSError(errno.ENOSPC, "No space left on device")],
                         ids=["denied", "read-only", "full"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch, error, refused):
    def refuse(*_):
        raise error
    words = f"checkpoint: expected a folder that can be written, .*{error.strerror}"
    with monkeypatch.context() as patch, refused(words):
        patch.setattr(os, "open", refuse)
        FolderLock(tmp_path)
    FolderLock(tmp_path).release()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_refused(tmp_path, refused):
    tmp_path.chmod(0o500)
    with refused("checkpoint: expected a folder that can be written"):
        FolderLock(tmp_path)


def test_a_second_training_in_the_process_is_refused():
    with only_training_here():
        with pytest.raises(RuntimeError, match="fit: expected one training at a time in a process"):
            with only_training_here():
                raise AssertionError("it came in")
    with only_training_here():
        pass
