"""What is installed: the package with its data and without the book's tools, in any of the ways that the book names."""
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}
needs_git = pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(),
                               reason="no git checkout here")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


def pins(name: str) -> dict[str, str]:
    """The versions of a constraints file, by the packages' canonical names."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return {canonical(package): version for package, _, version in (line.partition("==") for line in lines if line)}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# The wheel -----------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """medlearn as `pip install .` would get it, unpacked; built from a copy, so that nothing old or local gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("medlearn", "tests", "tools", "book"):  # all that might slip in
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "vendor", "*.ipynb"))
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_the_wheel_holds_the_package_and_its_data_and_nothing_else(wheel):
    inside = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in inside if ".dist-info/" not in name} == {"medlearn"}
    here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "medlearn").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts and path.name != ".DS_Store"}
    assert here - inside == set()  # no data file is left behind
    assert {f"medlearn/data/mni152/{name}" for name in ("t1.nii.gz", "gm.nii.gz", "wm.nii.gz", "NOTICE.txt")} < inside
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_the_wheel_asks_for_no_tool_of_the_book(wheel):
    found = next(metadata.distributions(path=[str(wheel)]))
    asked = {canonical(Requirement(text).name) for text in found.requires if "extra ==" not in text}
    assert asked == {canonical(one.name) for one in RUNTIME}
    assert not asked & {canonical(one.name) for extra in EXTRAS.values() for one in extra}
    assert set(found.metadata.get_all("Provides-Extra")) == set(EXTRAS)


IN_A_BARE_ENVIRONMENT = """
import importlib, pkgutil, sys
folder, absent = sys.argv[1], set(sys.argv[2].split(","))
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"not in a bare environment: {name}", name=name)
sys.meta_path.insert(0, Bare())
sys.path.insert(0, folder)
import medlearn
assert medlearn.__file__.startswith(folder), medlearn.__file__
for module in pkgutil.walk_packages(medlearn.__path__, "medlearn."):
    if module.name != "medlearn.losses._fused":     # Triton comes with PyTorch where there is a GPU
        importlib.import_module(module.name)
from medlearn.claims import claims
from medlearn.data.brain import load_mni152
print(len(claims()) > 0, tuple(load_mni152().t1.shape))
"""


def test_the_package_and_its_data_work_without_the_books_tools(wheel):
    wanted, known = [one.name for one in RUNTIME], set()
    while wanted:  # the runtime requirements, and theirs
        name = canonical(wanted.pop())
        if name not in known:
            known.add(name)
            try:
                texts = metadata.requires(name) or []
            except metadata.PackageNotFoundError:  # for another platform
                continue
            wanted += [Requirement(text).name for text in texts if "extra ==" not in text]
    absent = {module for module, names in metadata.packages_distributions().items()
              if not {*known, "medlearn"} & set(map(canonical, names))}
    assert {"sphinx", "jupytext", "IPython", "ipywidgets", "nbformat", "pytest", "skimage", "monai"} <= absent
    done = subprocess.run([sys.executable, "-c", IN_A_BARE_ENVIRONMENT, str(wheel), ",".join(absent)],
                          capture_output=True, text=True, cwd=wheel.parent)
    assert done.returncode == 0, done.stderr
    assert re.match(r"True \(\d+, \d+, \d+\)", done.stdout)


# Requirements --------------------------------------------------------------------------------------------------------

def test_conda_installs_what_the_makefile_installs():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    names = [one for one in conda["dependencies"] if isinstance(one, str)]
    pip = next(one["pip"] for one in conda["dependencies"] if isinstance(one, dict))
    assert pip[0] == "-c constraints.txt"
    extras = set(re.fullmatch(r"-e \.\[(.+)\]", pip[1])[1].split(","))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    by_make = set(re.search(r"pip install -c constraints\.txt -e '\.\[(.+)\]'", makefile)[1].split(","))
    assert extras == by_make == set(EXTRAS) - {"ray"}        # large, and does not start on a busy machine
    python = next(one.removeprefix("python").strip() for one in names if one.startswith("python"))
    assert SpecifierSet(python) == SpecifierSet(PROJECT["requires-python"])
    assert {"pip", "make"} <= set(names)


@pytest.mark.parametrize("extra", ["runtime", *EXTRAS])
def test_every_requirement_is_pinned_within_its_bounds(extra):
    pinned = pins("constraints.txt")
    for one in RUNTIME if extra == "runtime" else EXTRAS[extra]:
        if one.name == PROJECT["name"]:                 # an extra that takes in another
            continue
        assert canonical(one.name) in pinned, one.name
        assert one.specifier.contains(pinned[canonical(one.name)]), f"{one}: pinned at {pinned[canonical(one.name)]}"


def test_no_pin_is_that_of_one_machine():
    assert not [version for version in pins("constraints.txt").values() if "+" in version or "/" in version]


# Colab ---------------------------------------------------------------------------------------------------------------

def test_colabs_own_versions_are_within_the_bounds():
    colab = pins("tests/colab-constraints.txt")
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.13.15")
    for one in [*RUNTIME, *(one for one in EXTRAS["book"] if one.name == "ipywidgets")]:
        if (version := colab.get(canonical(one.name))) is not None:
            assert one.specifier.contains(version), f"{one}: Colab has {version}"
    added = {canonical(one.name) for one in RUNTIME} - set(colab)
    assert added == {"connected-components-3d", "jaxtyping"}


def test_what_is_added_in_colab_changes_nothing_there(tmp_path):
    """pip's own word: all requirements fit beside Colab's versions, but for PyTorch, too large a wheel to ask about."""
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--report", str(report), "--quiet",
         "--python-version", "3.13", "--only-binary=:all:", "--target", str(tmp_path / "nowhere"), "--retries", "0",
         "--timeout", "5",
         "-c", str(ROOT / "tests/colab-constraints.txt"), *(str(one) for one in RUNTIME if one.name != "torch")],
        capture_output=True, text=True)
    if done.returncode and "conflict" not in done.stderr.lower():
        pytest.skip("no package index can be reached from here")
    assert done.returncode == 0, done.stderr
    chosen = {canonical(one["metadata"]["name"]): one["metadata"]["version"]
              for one in json.loads(report.read_text())["install"]}
    colab = pins("tests/colab-constraints.txt")
    assert {name: version for name, version in chosen.items() if name in colab and version != colab[name]} == {}


# The clone -----------------------------------------------------------------------------------------------------------

@needs_git
def test_git_ignores_what_is_made_and_nothing_that_is_written():
    made = [".venv/bin/python", "_build/html/index.html", "build/lib/x.py", "dist/x.whl", "medlearn.egg-info/PKG-INFO",
            "book/_static/vendor/mathjax/a.js",
            "tools/__pycache__/a.pyc", "book/.ipynb_checkpoints/a.ipynb", ".pytest_cache/x", ".hypothesis/x"]
    written = ["book/principles/01_tasks.md", "book/principles/01_tasks.ipynb", "book/_static/book.css",
               "medlearn/data/mni152/t1.nii.gz", "tools/build.py",
               "tests/tools/test_build.py", "benchmarks/RESULTS.md", "book/recorded/x.json", "constraints.txt"]
    asked = subprocess.run(["git", "check-ignore", "--no-index", *made, *written], cwd=ROOT, capture_output=True,
                           text=True)
    assert asked.stdout.split() == made
    assert subprocess.run(["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True,
                          text=True).stdout == ""


def make(tmp_path: Path, **programs: str) -> str:
    """What `make vendor` says in a new clone where PATH holds only a shell's own tools and these programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "rm", "touch", "grep", "sed"):
        (folder / name).symlink_to(shutil.which(name))
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run([shutil.which("make"), f"VENV={tmp_path / 'venv'}", "vendor"], cwd=ROOT, capture_output=True,
                          text=True, env={"PATH": str(folder), "HOME": str(tmp_path)})
    assert done.returncode != 0 and not (tmp_path / "venv/.installed").exists()
    return done.stdout


@needs_make
def test_make_names_a_missing_git(tmp_path):
    assert "git is missing. Debian, Ubuntu: sudo apt install git" in make(tmp_path)


@needs_make
def test_make_names_a_missing_python(tmp_path):
    said = make(tmp_path, git="exit 0", python3="echo no such version >&2; exit 127")
    assert "No Python 3.11, 3.12 or 3.13 that runs was found" in said
    assert "sudo apt install python3 python3-venv" in said


@needs_make
def test_make_names_the_package_that_makes_environments(tmp_path):
    python = 'case "$*" in *version_info*print*|*print*version_info*) echo 3.11;; *venv*|*--version*) exit 1;; esac'
    said = make(tmp_path, git="exit 0", **{"python3.11": python})
    assert "cannot make an environment. On Debian and Ubuntu: sudo apt install python3.11-venv" in said


@needs_make
def test_make_help_lists_what_can_be_said():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True,
                          env={"PATH": os.environ["PATH"]}).stdout
    assert re.findall(r"make (\w+)", said) == ["help", "book", "test", "fresh", "notebooks", "questions", "nbgrader",
                                               "study", "live", "lab", "serve", "pdf", "slides", "gpu", "bench", "lint",
                                               "colab", "dist", "clean"]
