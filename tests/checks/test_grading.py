"""Notebooks of many hands: what they print counts for nothing, and one that hangs or dies costs the others nothing."""
import csv
import json
import os
import time
from pathlib import Path

import pytest

from medlearn.checks.grading import asked, code_cells, grade, run
from medlearn.cli import main

RIGHT = ("import torch\nfrom medlearn import check",
         "def volume(mask, affine):\n    return (mask.sum() * torch.linalg.det(affine[:3, :3]).abs() / 1000).item()",
         "check('tasks.volume', volume)")


def notebook(folder, name, *cells):
    path = folder / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "source": [cell]} for cell in cells]}))
    return path


def test_a_folder_is_graded_notebook_by_notebook(tmp_path, capsys):
    notebook(tmp_path, "anna", "%pip install nothing\n", *RIGHT)
    notebook(tmp_path, "group/ben", "from medlearn import check", "def volume(mask, affine):\n    return 0.0",
             "print('tasks.volume: all 8 cases passed.')\ncheck('tasks.volume', volume)")
    notebook(tmp_path, "cleo", "from medlearn import check", "def volume(mask, affine):\n    raise NotImplementedError",
             "1 / 0", "check('tasks.volume', volume)\ncheck('tasks.offsets', later)")
    notebook(tmp_path, "dana", "x = 1")
    notebook(tmp_path, "emil", "import os", "os._exit(7)")
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "grades.csv"), "--minutes", "5"]) == 0
    assert "solved: 1 of 4 exercises" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "grades.csv").open()))
    assert [tuple(row.values())[:6] for row in rows] == [
        ("anna.ipynb", "tasks.volume", "8", "8", "yes", ""),
        ("cleo.ipynb", "tasks.volume", "0", "8", "no", "not attempted"),
        ("cleo.ipynb", "tasks.offsets", "0", rows[2]["cases"], "no", "cell 3: ZeroDivisionError: division by zero"),
        ("dana.ipynb", "", "0", "0", "no", "no check was found in it"),
        ("emil.ipynb", "", "0", "0", "no", "its process ended with 7: nothing said"),
        ("group/ben.ipynb", "tasks.volume", "1", "8", "no", "one voxel of 1 mm")]


def test_a_notebook_that_hangs_is_ended(tmp_path):
    notebook(tmp_path, "hangs", "while True: pass")
    assert [one.remark for one in grade(tmp_path, minutes=0.05)] == ["it had not ended after 0.05 minutes"]


def test_it_runs_in_an_empty_folder_of_its_own_and_keeps_no_progress(tmp_path):
    trace = tmp_path / "trace.txt"
    notebook(tmp_path, "writes", f"import os\nopen({str(trace)!r}, 'w').write(os.getcwd() + ' ' + str(os.listdir()))\n"
             "open('litter', 'w').write('x')")
    before = os.getcwd()
    list(grade(tmp_path))
    folder, _, inside = trace.read_text().rpartition(" ")
    assert inside == "[]" and os.getcwd() == before and not os.path.exists(folder) and str(tmp_path) not in folder


def test_the_last_call_counts_and_a_cell_that_fails_ends_nothing():
    cells = ["def f(): return 1", "check('a.b', f)", "def g(:", "1 / 0", "def f(): return 2", "medlearn.check('a.b', [f][0])"]
    names, error = run(cells, "x")
    assert names["f"]() == 2 and error.startswith("cell 3: SyntaxError")
    found = asked(cells)
    assert list(found) == ["a.b"] and eval(compile(found["a.b"], "<string>", "eval"), names)() == 2


def test_jupyters_commands_are_left_out(tmp_path):
    assert code_cells(notebook(tmp_path, "a", "if True:\n    %pip install x\n!ls")) == ["if True:\n    pass\npass"]


@pytest.mark.parametrize("folder, options, code", [("nowhere", [], 2), (".", ["--minutes", "0"], 2)])
def test_what_cannot_be_graded_is_refused(folder, options, code, tmp_path):
    (tmp_path / "g.csv").write_text("the grades of last week")
    assert main(["grade", str(tmp_path / folder), "--out", str(tmp_path / "g.csv"), *options]) == code
    assert (tmp_path / "g.csv").read_text() == "the grades of last week"


def graded(folder):
    return [(one.notebook, one.exercise, one.passed, one.cases, one.solved, one.remark) for one in grade(folder)]


def test_what_no_file_can_hold_costs_one_remark(tmp_path):
    """Half of a surrogate pair, in an error or in the notebook's source, and bytes of no encoding."""
    notebook(tmp_path, "a", "raise ValueError('\\ud800\\nmore')", "check('tasks.volume', nothing)")
    notebook(tmp_path, "b", "x = '\ud800'", *RIGHT)
    notebook(tmp_path, "c", "import os", "os.write(2, b'\\xff'); os._exit(7)")
    notebook(tmp_path, "d", "class Odd(Exception):\n    def __str__(self): return 1 / 0", "raise Odd", *RIGHT)
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "g.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "g.csv").open(encoding="utf-8")))
    assert [(row["notebook"], row["passed"], row["remark"]) for row in rows] == [
        ("a.ipynb", "0", r"cell 1: ValueError: \ud800"), ("b.ipynb", "8", ""),
        ("c.ipynb", "0", r"its process ended with 7: \xff"), ("d.ipynb", "8", "")]


def test_a_console_that_knows_few_characters_ends_nothing(tmp_path, monkeypatch):
    notebook(tmp_path, "a", "raise ValueError('Größe')", "check('tasks.volume', nothing)")
    with (tmp_path / "said").open("w", encoding="ascii") as console:
        monkeypatch.setattr("sys.stdout", console)
        assert main(["grade", str(tmp_path), "--out", str(tmp_path / "g.csv")]) == 0
    assert "Größe" in (tmp_path / "g.csv").read_text(encoding="utf-8")


def test_no_exercise_is_lost_without_a_word(tmp_path):
    notebook(tmp_path, "a", *RIGHT, "import sys\ncheck('tasks.offsets', sys.exit())",
             "check('tasks.iou_matrix', print)")
    notebook(tmp_path, "b", "import os", "os._exit(0)")
    notebook(tmp_path, "c", *RIGHT, "import os\ncheck('tasks.offsets', os._exit(0))")
    early = "its process ended before all of its checks were asked"
    rows = graded(tmp_path)
    assert [(row[0][0], row[1], row[4]) for row in rows] == [
        ("a", "tasks.volume", True), ("a", "tasks.offsets", False), ("a", "tasks.iou_matrix", False), ("b", "", False),
        ("c", "tasks.volume", True), ("c", "", False)]
    assert rows[1][-1].startswith("SystemExit") and rows[3][-1] == rows[5][-1] == early


@pytest.mark.parametrize("source, left", [
    ("k = (10\n     % 3)", None), ("s = '''\n%d items\n!\n'''", None),
    ("k = (10\n     % 3)\n%pip install x", "k = (10\n     % 3)\npass"),
    ("!git clone x\ns = '''\n%d\n'''", "pass\ns = '''\n%d\n'''"), ("!echo it's\nx = 1", "pass\nx = 1"),
    ("%%time\nx = (", "pass\nx = ("),
])
def test_only_what_is_no_python_is_left_out(tmp_path, source, left):
    assert code_cells(notebook(tmp_path, "a", source)) == [source if left is None else left]


def test_a_misspelt_id_has_a_line_that_says_so(tmp_path):
    notebook(tmp_path, "a", *RIGHT, "check('tasks.volum', volume)\ncheck('of my own', volume)")
    assert graded(tmp_path)[1:] == [("a.ipynb", "tasks.volum", 0, 0, False, "no exercise has this id: tasks.volume?"),
                                    ("a.ipynb", "of my own", 0, 0, False, "no exercise has this id")]


CHILD = """import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({trace!r}, "w").write(str(child.pid))"""


def lives(pid):
    """Whether a process does more than wait to be counted."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="asks Linux who lives")
@pytest.mark.parametrize("then, minutes, remark", [("while True: pass", 0.5, "it had not ended after 0.5 minutes"),
                                                   ("pass", 10, "no check was found in it")])
def test_what_a_notebook_has_begun_ends_with_it(tmp_path, then, minutes, remark):
    trace = tmp_path / "pid"
    notebook(tmp_path, "a", CHILD.format(trace=str(trace)), then)
    assert [one.remark for one in grade(tmp_path, minutes=minutes)] == [remark]
    child, until = int(trace.read_text()), time.monotonic() + 10
    while lives(child) and time.monotonic() < until:                # one that was killed takes a moment to die
        time.sleep(0.01)
    assert not lives(child)
