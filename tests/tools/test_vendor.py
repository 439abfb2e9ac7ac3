"""MathJax and reveal.js come from npm, byte for byte the pinned ones, or the tool says what is missing."""
import base64
import hashlib
import io
import tarfile
from dataclasses import replace

import pytest
import vendor as vendoring
from vendor import MATHJAX, PACKAGES, VendorError, main, unpack, vendor, verify


def archive(*names: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return data.getvalue()


GOOD = archive("package/es5/tex-mml-chtml.js", "package/es5/input/tex/extensions/ams.js",
               "package/es5/output/chtml/fonts/woff-v2/a.woff",
               "package/es5/sre/speech.js", "package/README.md", "../../outside.js")


@pytest.fixture
def npm(monkeypatch):
    """An npm that hands out GOOD, which is pinned; how often it was asked."""
    asked = []
    monkeypatch.setattr(vendoring.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(vendoring, "download", lambda package, folder: asked.append(folder) or GOOD)
    return asked


PINNED = replace(MATHJAX, sha512=base64.b64encode(hashlib.sha512(GOOD).digest()).decode())


def test_the_wanted_files_are_put_into_place_once(tmp_path, npm):
    for _ in range(2):
        target = vendor(PINNED, tmp_path)
    assert len(npm) == 1
    assert sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()) == [
        "VERSION", "input/tex/extensions/ams.js", "output/chtml/fonts/woff-v2/a.woff", "tex-mml-chtml.js"]
    assert not (tmp_path / "outside.js").exists() and not list(tmp_path.rglob("*.part"))


def test_another_version_is_fetched_again(tmp_path, npm):
    (vendor(PINNED, tmp_path) / "VERSION").write_text("mathjax@2.0.0")
    vendor(PINNED, tmp_path)
    assert len(npm) == 2


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path, npm, monkeypatch):
    with pytest.raises(VendorError, match="expected sha512 .* got"):
        verify(b"other", PINNED)
    monkeypatch.setattr(vendoring, "download", lambda package, folder: b"other")
    with pytest.raises(VendorError, match="expected sha512"):
        vendor(PINNED, tmp_path)
    assert not (tmp_path / "book/_static/vendor/mathjax").exists()


def test_an_archive_without_what_is_wanted_changes_nothing(tmp_path):
    (tmp_path / "mathjax").mkdir()
    (tmp_path / "mathjax/kept").touch()
    with pytest.raises(VendorError, match="lacks"):
        unpack(archive("package/es5/tex-mml-chtml.js"), MATHJAX, tmp_path / "mathjax")
    assert (tmp_path / "mathjax/kept").exists()


def test_without_npm_the_build_goes_on_and_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(vendoring.shutil, "which", lambda name: None)
    assert main(tmp_path) == 0
    said = capsys.readouterr().err
    assert "npm is not installed (Debian: sudo apt install npm" in said
    assert "from its CDN" in said and "no slides" in said


def test_what_npm_says_is_passed_on(monkeypatch, tmp_path):
    fake = tmp_path / "npm"
    fake.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(VendorError, match="npm could not fetch mathjax@.*: no network"):
        vendoring.download(MATHJAX, tmp_path)


def test_what_the_pages_load_is_among_the_wanted():
    from chapters import ROOT
    assert f"vendor/mathjax/{MATHJAX.wanted[0]}" in (ROOT / "book/_ext/medlearn_book.py").read_text()


def test_every_package_is_pinned_and_has_a_place_that_git_ignores():
    for package in PACKAGES:
        assert len(base64.b64decode(package.sha512)) == 64 and package.spec.count("@") == 1
        assert package.target.startswith(("_build/", "book/_static/vendor/"))
