"""Bring what the pages need beside Sphinx, so that a built book asks nothing of the network: MathJax, from npm.

    python tools/vendor.py      once; without npm it says so, and that build's pages load MathJax from its usual CDN
"""
from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "mathjax@3.2.2"
SHA512 = "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
# the component that Sphinx asks for, the TeX extensions it loads when a formula needs one, and its fonts
WANTED = ("tex-mml-chtml.js", "input/tex/extensions/", "output/chtml/fonts/woff-v2/")


class VendorError(RuntimeError):
    """The files could not be had, or are not those that were pinned."""


def verify(archive: bytes) -> None:
    """Refuse an archive that is not byte for byte the pinned one."""
    got = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if got != SHA512:
        raise VendorError(f"{PACKAGE}: expected sha512 {SHA512}, got {got}")


def download(folder: Path) -> bytes:
    """The package's archive, through npm."""
    done = subprocess.run(["npm", "pack", PACKAGE, "--silent", "--ignore-scripts"], cwd=folder, capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise VendorError(f"npm could not fetch {PACKAGE}: {done.stderr.strip() or done.stdout.strip()}")
    return archives[0].read_bytes()


def unpack(archive: bytes, into: Path) -> None:
    """The wanted files of `package/es5`, moved into place only when all are there."""
    fresh = into.with_name(into.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix("package/es5/")
            if member.isfile() and name != member.name and name.startswith(WANTED):
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).write_bytes(tar.extractfile(member).read())
    missing = [want for want in WANTED if not (fresh / want).exists()]
    if missing:
        raise VendorError(f"{PACKAGE} lacks {', '.join(missing)}")
    shutil.rmtree(into, ignore_errors=True)
    fresh.rename(into)


def vendor(root: Path = ROOT) -> Path:
    """Put MathJax into book/_static/vendor of the book at `root`, unless that version is there already."""
    target = root / "book/_static/vendor/mathjax"
    stamp = target / "VERSION"
    if stamp.exists() and stamp.read_text() == PACKAGE:
        return target
    if shutil.which("npm") is None:
        raise VendorError("npm is not installed (Debian: sudo apt install npm; conda: conda install nodejs)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = download(Path(folder))
    verify(archive)
    unpack(archive, target)
    stamp.write_text(PACKAGE)
    return target


def main() -> int:
    try:
        vendor()
    except VendorError as error:
        print(f"  formulas: {error}.\n  This build's pages will load MathJax from its CDN: they need the network to show formulas.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
