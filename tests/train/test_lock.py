"""One training in a folder: another is kept out while it lives, and what the dead left behind is taken over."""
import json
import os
import socket
import subprocess
import sys

import pytest

from medlearn.train.lock import NAME, FolderLock


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
