"""The real downloader on small files served from a local folder: checksums, broken connections, unsafe archives."""
import hashlib
import io
import os
import re
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from helpers.scans import scan

from medlearn.cli import main
from medlearn.data import COHORTS, PublicCohort, download, read_folder, read_medmnist, write_folder

pytest.importorskip("requests")
pytest.importorskip("pooch")

NAME = "Task99_Test"
BYTES = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """A folder over HTTP; it breaks off after `most` bytes, and knows ranges or not."""
    daemon_threads = True

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.most, self.ranges, self.asked = None, True, []


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        if not os.path.exists(self.translate_path(self.path)):
            return self.send_error(404)
        with open(self.translate_path(self.path), "rb") as file:
            body, asked = file.read(), self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked and self.server.ranges else 0
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:][:self.server.most])
        self.close_connection = True

    def log_message(self, *args):
        pass


@pytest.fixture
def served(tmp_path):
    (tmp_path / "served").mkdir()
    server = Server(tmp_path / "served")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def cohort(server, file, body, name=NAME, md5=None):
    """A cohort whose file is served."""
    folder = server.RequestHandlerClass.keywords["directory"]
    with open(os.path.join(folder, file), "wb") as out:
        out.write(body)
    return PublicCohort(name, f"http://127.0.0.1:{server.server_port}/{file}?download=1",
                        md5 or hashlib.md5(body).hexdigest(), "CC0", "nobody 2026")


def packed(tmp_path, *odd):
    """A cohort of the Decathlon as an archive, with what macOS adds, and `odd` members besides."""
    image = scan(np.int16)
    write_folder(tmp_path / NAME, [("a", image, image.with_array((image.array > 0).astype(np.uint8)))], channels=["CT"],
                 labels=["background", "organ"], layout="decathlon")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(tmp_path / NAME, NAME)
        for member in (tarfile.TarInfo(f"._{NAME}"), *odd):
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return out.getvalue()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_with_its_licence(tmp_path, served, capsys):
    one = cohort(served, "a.npz", BYTES)
    path = download(one, tmp_path / "here", progress=False)
    assert path.read_bytes() == BYTES and names(tmp_path / "here") == ["a.npz"]
    assert f"{NAME}: CC0. nobody 2026" in capsys.readouterr().out
    assert download(one, tmp_path / "here", progress=False) == path and len(served.asked) == 1
    path.write_bytes(b"damaged")
    assert download(one, tmp_path / "here", progress=False).read_bytes() == BYTES


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path, served):
    one, served.most = cohort(served, "a.npz", BYTES), 2_500_000
    with pytest.raises(OSError):
        download(one, tmp_path / "here", progress=False)
    partial_file, = (tmp_path / "here").iterdir()
    there = partial_file.stat().st_size
    assert 0 < there <= 2_500_000 and partial_file.name.startswith(".")
    served.most = None
    assert download(one, tmp_path / "here", progress=False).read_bytes() == BYTES
    assert served.asked == [None, f"bytes={there}-"] and names(tmp_path / "here") == ["a.npz"]


def test_a_server_without_ranges_begins_again(tmp_path, served):
    one, served.most, served.ranges = cohort(served, "a.npz", BYTES), 2_500_000, False
    with pytest.raises(OSError):
        download(one, tmp_path / "here", progress=False)
    served.most = None
    assert download(one, tmp_path / "here", progress=False).read_bytes() == BYTES


def test_a_partial_file_that_was_whole_is_taken(tmp_path, served):
    one = cohort(served, "a.npz", BYTES)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f".a.npz.{one.md5[:8]}.partial").write_bytes(BYTES)
    assert download(one, tmp_path / "here", progress=False).read_bytes() == BYTES


def test_another_checksum_is_refused_and_nothing_stays(tmp_path, served):
    with pytest.raises(ValueError, match="does not match the known hash"):
        download(cohort(served, "a.npz", BYTES, md5="0" * 32), tmp_path / "here", progress=False)
    assert names(tmp_path / "here") == []


def test_what_is_not_there_is_an_error_of_the_connection(tmp_path, served):
    one = PublicCohort(NAME, f"http://127.0.0.1:{served.server_port}/none.npz", "0" * 32, "CC0", "nobody")
    with pytest.raises(OSError, match="404"):
        download(one, tmp_path / "here", progress=False)


def test_an_archive_becomes_a_folder_that_is_read(tmp_path, served):
    one = cohort(served, f"{NAME}.tar", packed(tmp_path))
    path = download(one, tmp_path / "here", progress=False)
    folder = read_folder(path)
    assert path.name == NAME and [case.name for case in folder.cases] == ["a"] and names(tmp_path / "here") == [NAME]
    assert not list(path.rglob("._*"))
    assert download(one, tmp_path / "here", progress=False) == path and len(served.asked) == 1


def member(name, **facts):
    made = tarfile.TarInfo(name)
    for key, value in facts.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize("odd", [
    member("../out.txt", size=1), member(f"{NAME}/../../out.txt", size=1), member("/tmp/out.txt", size=1),
    member(f"{NAME}/link", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    member(f"{NAME}/hard", type=tarfile.LNKTYPE, linkname="../out.txt"), member(f"{NAME}/fifo", type=tarfile.FIFOTYPE),
    member("..\\out.txt", size=1),
], ids=lambda odd: odd.name)
def test_an_archive_that_reaches_out_is_refused_whole(tmp_path, served, odd):
    one = cohort(served, f"{NAME}.tar", packed(tmp_path, odd))
    with pytest.raises(ValueError, match=f"{NAME}.tar: expected plain files and folders within it"):
        download(one, tmp_path / "here", progress=False)
    assert names(tmp_path / "here") == [f"{NAME}.tar"] and not (tmp_path / "out.txt").exists()


def test_an_archive_larger_than_the_disk_or_of_something_else_is_refused(tmp_path, served, monkeypatch):
    one = cohort(served, f"{NAME}.tar", packed(tmp_path))
    with monkeypatch.context() as patched:
        patched.setattr("shutil.disk_usage", lambda path: type("Disk", (), {"free": 10}))
        with pytest.raises(ValueError, match="expected at most 10 bytes"):
            download(one, tmp_path / "here", progress=False)
    with pytest.raises(ValueError, match="expected a folder Task00_Other in it"):
        download(cohort(served, "b.tar", packed(tmp_path), name="Task00_Other"), tmp_path / "there", progress=False)
    with pytest.raises(ValueError, match="c.tar: expected an archive"):
        download(cohort(served, "c.tar", BYTES[:5000]), tmp_path / "there", progress=False)


def test_each_cohort_says_where_it_is_and_under_which_licence(capsys):
    assert len(COHORTS) == 18 and all(name == one.name for name, one in COHORTS.items())
    for one in COHORTS.values():
        assert re.fullmatch(r"[0-9a-f]{32}", one.md5) and one.url.startswith("https://") and "doi:10." in one.source
        assert one.file == f"{one.name}.{'tar' if one.name.startswith('Task') else 'npz'}"
    assert len({one.md5 for one in COHORTS.values()}) == 18
    assert main(["download"]) == 0
    assert re.search(r"dermamnist +CC BY-NC 4.0 ", capsys.readouterr().out)


def test_a_name_that_is_not_there_ends_with_2(capsys, tmp_path):
    assert main(["download", "Task04", str(tmp_path)]) == 2
    assert "medlearn download: cohort: expected " in capsys.readouterr().err


def test_the_command_fetches(tmp_path, served, monkeypatch, capsys):
    monkeypatch.setitem(COHORTS, NAME, cohort(served, f"{NAME}.tar", packed(tmp_path)))
    assert main(["download", NAME, str(tmp_path / "here")]) == 0
    assert str(tmp_path / "here" / NAME) in capsys.readouterr().out
    assert main(["info", str(tmp_path / "here" / NAME)]) == 0


@pytest.mark.parametrize("shape, channels", [((4, 28, 28), 1), ((4, 28, 28, 3), 3), ((4, 28, 28, 28), 1)])
def test_images_of_medmnist_are_channel_first(tmp_path, shape, channels):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "a.npz", test_images=images, test_labels=np.arange(4, dtype=np.uint8)[:, None])
    found, labels = read_medmnist(tmp_path / "a.npz", part="test")
    assert found.shape == (4, channels, *shape[1:3], *(shape[3:] if channels == 1 else ()))
    assert labels.tolist() == [0, 1, 2, 3]
    assert np.array_equal(found[2, -1], images[2, ..., 2] if channels == 3 else images[2])


def test_several_findings_stay_and_other_files_are_refused(tmp_path, refused):
    np.savez(tmp_path / "chest.npz", train_images=np.zeros((2, 28, 28), np.uint8), train_labels=np.eye(2, 14))
    assert read_medmnist(tmp_path / "chest.npz")[1].shape == (2, 14)
    with refused("chest.npz: expected a file of MedMNIST with val_images"):
        read_medmnist(tmp_path / "chest.npz", part="val")
    with refused('part: expected "train", "val" or "test"'):
        read_medmnist(tmp_path / "chest.npz", part="all")
    (tmp_path / "b.npz").write_bytes(b"no file")
    with refused("b.npz: expected a file of MedMNIST"):
        read_medmnist(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", train_images=np.array([print], dtype=object), train_labels=np.zeros(1))
    with refused("c.npz: expected a file of MedMNIST"):
        read_medmnist(tmp_path / "c.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_cut_or_damaged_file_is_refused_by_its_path_or_read_as_it_was(tmp_path, save):
    images, labels = np.random.default_rng(0).integers(0, 256, (5, 9, 9), np.uint8), np.arange(5, dtype=np.uint8)
    save(tmp_path / "a.npz", train_images=images, train_labels=labels)
    whole, rng, path = (tmp_path / "a.npz").read_bytes(), np.random.default_rng(1), tmp_path / "b.npz"
    damaged = [whole[:length] for length in range(0, len(whole), 29)] + [b"PK", b"PK\x03\x04" + whole[4:90]]
    for at in rng.integers(0, len(whole), 300):
        damaged.append(whole[:at] + bytes([whole[at] ^ int(rng.integers(1, 256))]) + whole[at + 1:])
    for body in damaged:
        path.write_bytes(body)
        try:
            found = read_medmnist(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: expected a file of MedMNIST")
        else:                                                       # a byte that says nothing, as of the date
            assert np.array_equal(found[0][:, 0], images) and np.array_equal(found[1], labels)
    with pytest.raises(FileNotFoundError):
        read_medmnist(tmp_path / "none.npz")


IMAGES, LABELS = np.zeros((5, 9, 9), np.uint8), np.zeros((5, 1), np.uint8)


@pytest.mark.parametrize("images, labels, which", [
    (IMAGES[0, 0, 0], LABELS, "images"), (IMAGES[:, 0, 0], LABELS, "images"), (IMAGES[:, 0], LABELS, "images"),
    (IMAGES.astype(str), LABELS, "images"), (IMAGES.astype(np.float32), LABELS, "images"),
    (IMAGES, LABELS[:3], "labels"), (IMAGES, LABELS[0, 0], "labels"), (IMAGES, LABELS.astype(str), "labels"),
    (IMAGES, IMAGES, "labels")])
def test_images_and_labels_that_do_not_go_together_are_refused(tmp_path, refused, images, labels, which):
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels)
    with refused(f"a.npz: expected train_{which} .* got .* of shape"):
        read_medmnist(tmp_path / "a.npz")


@pytest.mark.parametrize("cohort", [None, 3, ("Task02_Heart",)])
def test_what_is_no_cohort_is_refused(tmp_path, refused, cohort):
    with refused("cohort: expected a name in COHORTS or a PublicCohort, got"):
        download(cohort, tmp_path / "here")
    assert not (tmp_path / "here").exists()
