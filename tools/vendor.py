"""Bring what the pages and the slides need beside Sphinx, so that they ask nothing of the network: from npm, pinned.

    python tools/vendor.py      once; without npm it says what is missing. Pages then load MathJax from its usual CDN
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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Package:
    """A package of npm, byte for byte: its digest, the folder in it that holds what is `wanted`, where that goes."""
    spec: str
    sha512: str
    inside: str
    wanted: tuple[str, ...]
    target: str     # from the book's root
    without: str    # what becomes of it where it cannot be had


MATHJAX = Package(
    "mathjax@3.2.2", "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw==",
    "package/es5/",
    # the component that Sphinx asks for, the TeX extensions it loads when a formula needs one, and its fonts
    ("tex-mml-chtml.js", "input/tex/extensions/", "output/chtml/fonts/woff-v2/"), "book/_static/vendor/mathjax",
    "This build's pages will load MathJax from its CDN: they need the network to show formulas.")
REVEAL = Package(
    "reveal.js@5.2.1", "r7//6mIM5p34hFiDMvYfXgyjXqGRta+/psd9YtytsgRlrpRzFv4RbH76TXd2qD+7ZPZEbpBDhdRhJaFgfQ7zNQ==",
    "package/", ("dist/reveal.js", "dist/reveal.css", "LICENSE"), "_build/vendor/reveal", "There will be no slides.")
PACKAGES = (MATHJAX, REVEAL)


class VendorError(RuntimeError):
    """The files could not be had, or are not those that were pinned."""


def verify(archive: bytes, package: Package) -> None:
    """Refuse an archive that is not byte for byte the pinned one."""
    got = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if got != package.sha512:
        raise VendorError(f"{package.spec}: expected sha512 {package.sha512}, got {got}")


def download(package: Package, folder: Path) -> bytes:
    """The package's archive, through npm."""
    done = subprocess.run(["npm", "pack", package.spec, "--silent", "--ignore-scripts"], cwd=folder,
                          capture_output=True, text=True)
    archives = list(folder.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        raise VendorError(f"npm could not fetch {package.spec}: {done.stderr.strip() or done.stdout.strip()}")
    return archives[0].read_bytes()


def unpack(archive: bytes, package: Package, into: Path) -> None:
    """The wanted files, moved into place only when all are there."""
    fresh = into.with_name(into.name + ".part")
    shutil.rmtree(fresh, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar.getmembers():
            name = member.name.removeprefix(package.inside)
            if member.isfile() and name != member.name and name.startswith(package.wanted):
                (fresh / name).parent.mkdir(parents=True, exist_ok=True)
                (fresh / name).write_bytes(tar.extractfile(member).read())
    missing = [want for want in package.wanted if not (fresh / want).exists()]
    if missing:
        raise VendorError(f"{package.spec} lacks {', '.join(missing)}")
    shutil.rmtree(into, ignore_errors=True)
    fresh.rename(into)


def vendor(package: Package, root: Path = ROOT) -> Path:
    """Put a package's files where the book at `root` expects them, unless that version is there already."""
    target = root / package.target
    stamp = target / "VERSION"
    if stamp.exists() and stamp.read_text() == package.spec:
        return target
    if shutil.which("npm") is None:
        raise VendorError("npm is not installed (Debian: sudo apt install npm; conda: conda install nodejs)")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = download(package, Path(folder))
    verify(archive, package)
    unpack(archive, package, target)
    stamp.write_text(package.spec)
    return target


def main(root: Path = ROOT) -> int:
    for package in PACKAGES:
        try:
            vendor(package, root)
        except VendorError as error:
            print(f"  {package.spec}: {error}.\n  {package.without}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
