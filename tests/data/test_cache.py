"""Cached arrays: mapped, bounded, whole after a kill, the same for several processes at once."""
import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from medlearn.data import ArrayCache, Entry
from medlearn.data.cache import ABANDONED_S, key_of


def entry(seed=0, size=1000):
    rng = np.random.default_rng(seed)
    return Entry({"image": rng.normal(size=(2, size)).astype(np.float32), "none": np.zeros((0, 4), np.int32)},
                 {"seed": seed})


def never():
    raise AssertionError("made again")


def same(a, b):
    return a.facts == b.facts and all(np.array_equal(a.arrays[name], b.arrays[name]) for name in b.arrays)


def test_what_is_made_once_is_mapped_afterwards(tmp_path):
    cache = ArrayCache(tmp_path / "cache")
    first = cache.get("a", entry)
    assert same(first, entry()) and isinstance(first.arrays["image"],
                                               np.memmap) and not first.arrays["image"].flags.writeable
    assert cache.get("a", never) is first
    assert same(ArrayCache(tmp_path / "cache").get("a", never), entry())
    assert "a" in cache and "b" not in cache


@pytest.mark.parametrize("spoil", [
    lambda folder: (folder / "a.image.npy").write_bytes(b""), lambda folder: (folder / "a.image.npy").unlink(),
    lambda folder: (folder / "a.json").write_text("{"), lambda folder: (folder / "a.json").write_text('{"facts": {}}'),
    lambda folder: turn_a_bit(folder / "a.image.npy", -5), lambda folder: turn_a_bit(folder / "a.image.npy", 70),
    lambda folder: os.truncate(folder / "a.image.npy", 500)])
def test_a_damaged_entry_is_made_again(tmp_path, spoil):
    ArrayCache(tmp_path).get("a", entry)
    spoil(tmp_path)
    made = []
    again = ArrayCache(tmp_path).get("a", lambda: made.append(1) or entry())
    assert made == [1] and same(again, entry())


def turn_a_bit(path, place):
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)


def test_it_is_bounded_and_the_longest_unused_goes_first(tmp_path):
    cache = ArrayCache(tmp_path, max_gb=30e-6)              # three entries of 8 kB and a little
    kept = [cache.get(f"k{n}", lambda n=n: entry(n)) for n in range(3)]
    for n in range(3):
        os.utime(tmp_path / f"k{n}.json", (1000 + n, 1000 + n))
    os.utime(tmp_path / "k0.json")                          # used again
    cache.get("k3", lambda: entry(3))
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {"k0", "k2", "k3"}
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 30e3
    assert same(kept[1], entry(1))                          # what was opened stays readable
    tiny = ArrayCache(tmp_path, max_gb=1e-9)
    assert same(tiny.get("k4", lambda: entry(4)), entry(4))


def test_what_a_killed_process_left_behind_goes_when_it_is_old(tmp_path):
    for name, age in ((".1.2.partial.x.npy", ABANDONED_S + 10), (".1.3.partial.y.npy", 0)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    ArrayCache(tmp_path).get("a", entry)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == [".1.3.partial.y.npy"]


WORKER = """
import sys, time
import numpy as np
from medlearn.data import ArrayCache, Entry
cache = ArrayCache(sys.argv[1])
def make(n):
    print("making", flush=True)
    return Entry({"image": np.full((200, 1000), n, np.float32)}, {"n": n})
for n in range(int(sys.argv[2])):
    got = cache.get(f"k{n}", lambda: make(n))
    assert got.facts == {"n": n} and (got.arrays["image"] == n).all()
print("done", flush=True)
"""


def test_several_processes_share_it_and_a_kill_leaves_it_whole(tmp_path):
    start = lambda count: subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), str(count)],
                                           stdout=subprocess.PIPE,
                                           text=True)
    killed, other = start(400), start(20)
    killed.stdout.readline()
    time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert "done" in other.communicate(timeout=120)[0] and other.returncode == 0
    killed.wait()
    killed.stdout.close()
    cache = ArrayCache(tmp_path)
    for n in range(20):
        assert (cache.get(f"k{n}", never).arrays["image"] == n).all()


def test_it_travels_without_its_arrays(tmp_path):
    cache = ArrayCache(tmp_path)
    cache.get("a", lambda: entry(size=100000))
    sent = pickle.dumps(cache)
    assert len(sent) < 1000 and same(pickle.loads(sent).get("a", never), entry(size=100000))


def test_a_key_is_that_of_the_files_as_they_are(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    key = key_of([path], spacing=(1.0, 2.0))
    assert key == key_of([path], spacing=(1.0, 2.0)) != key_of([path], spacing=(1.0, 1.0))
    path.write_text("other")
    assert key_of([path], spacing=(1.0, 2.0)) != key


def test_a_bound_of_nothing_is_refused(tmp_path, refused):
    with refused("max_gb: expected above 0"):
        ArrayCache(tmp_path, max_gb=0)
