"""The student's notebooks in Colab: its Python, its versions, and the wheel of this checkout. `make colab`, weekly.

pytest takes a file of this name only where it is named: it brings about 3 GB, and runs every chapter in another torch.
COLAB_FREEZE is the list that Colab publishes, pip-freeze.txt; without it nobody asks whether Colab has changed.
"""
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from chapters import ROOT, chapters
from nbclient import NotebookClient
from packaging.utils import canonicalize_name

PYTHON = "3.13"
CONSTRAINTS = ROOT / "tests" / "colab-constraints.txt"
PIN = re.compile(r"([\w.-]+)==([\w.]+)|([\w.-]+) @ \S+/[^/]+?-([\d.]+)(?:%2B\w+)?-")    # or: name @ address of a wheel
CELL_TIMEOUT_S = 600


def versions(freeze: str) -> dict[str, str]:
    """What `pip freeze` or a file of pins says, by canonical names."""
    found = (PIN.match(line) for line in freeze.splitlines())
    return {canonicalize_name(pin[1] or pin[3]): pin[2] or pin[4] for pin in found if pin}


def run(*command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def interpreter() -> str | None:
    """A Python of Colab's version that runs: version managers leave names that only complain."""
    says = "import sys; print('%d.%d' % sys.version_info[:2])"
    for name in filter(None, (sys.executable, shutil.which(f"python{PYTHON}"))):
        asked = subprocess.run([name, "-c", says], capture_output=True, text=True)
        if asked.stdout.strip() == PYTHON:
            return name
    return None


@pytest.fixture(scope="module")
def colab() -> Path:
    """The Python of an environment with Colab's versions."""
    if (base := interpreter()) is None:
        pytest.skip(f"no Python {PYTHON} here, which is Colab's")
    folder = ROOT / "_build" / "colab"
    run(base, "-m", "venv", "--clear", folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(python, "-m", "pip", "install", "-r", CONSTRAINTS)
    return python


@pytest.fixture(scope="module")
def before_and_after(colab, tmp_path_factory) -> tuple[dict[str, str], dict[str, str]]:
    """The packages before and after the wheel of this checkout was installed, as a notebook's first cell would."""
    wheel = tmp_path_factory.mktemp("wheel")
    shutil.rmtree(ROOT / "build", ignore_errors=True)       # an earlier build's files would get in
    run(colab, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", wheel, ROOT)
    before = versions(run(colab, "-m", "pip", "freeze"))
    run(colab, "-m", "pip", "install", *wheel.glob("medlearn-*.whl"))
    return before, versions(run(colab, "-m", "pip", "freeze"))


def test_what_is_pinned_here_is_what_colab_brings():
    if not (freeze := os.environ.get("COLAB_FREEZE")):
        pytest.skip("COLAB_FREEZE names no list of Colab's packages")
    pinned, brought = (versions(Path(path).read_text(encoding="utf-8")) for path in (CONSTRAINTS, freeze))
    assert {name: brought.get(name) for name in pinned} == pinned


def test_the_wheel_changes_none_of_colabs_packages(before_and_after):
    before, after = before_and_after
    assert before.items() >= versions(CONSTRAINTS.read_text(encoding="utf-8")).items()
    assert before.items() <= after.items()
    assert after.keys() - before.keys() == {"medlearn", "connected-components-3d", "jaxtyping", "wadler-lindig"}


def test_no_package_misses_another(colab, before_and_after):
    run(colab, "-m", "pip", "check")


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_a_students_notebook_runs(chapter, colab, before_and_after, tmp_path, monkeypatch):
    """Far from the checkout, since Colab has the notebook and the package alone."""
    notebook = nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)
    spec = tmp_path / "kernels" / "colab" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": [str(colab), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                                "display_name": "Colab", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    NotebookClient(notebook, kernel_name="colab", timeout=CELL_TIMEOUT_S,
                   resources={"metadata": {"path": str(tmp_path)}}).execute()
