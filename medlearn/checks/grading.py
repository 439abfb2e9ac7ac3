r"""Many students' notebooks: each is run in a process of its own, and every check in it is asked anew.

    python -m medlearn.checks.grading NOTEBOOK RESULT.json      what that process does

What a notebook prints counts for nothing: its cells make functions, and the grader puts them to the checks itself.
That keeps mistakes and tired nights apart from each other. It is no prison: code runs with the rights of whoever
grades, so unknown people's notebooks belong into a container without a network.
"""
from __future__ import annotations

import ast
import json
import linecache
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from medlearn.base.atomic import written_whole
from medlearn.base.validation import check_number

COLUMNS = ("notebook", "exercise", "passed", "cases", "solved", "remark", "seconds")
MAGIC = re.compile(r"(?m)^([ \t]*)[%!].*$")        # Jupyter's own commands, which are left out


class Grade(NamedTuple):
    """A line of the table: of one notebook and exercise, how many cases passed, and the first that did not."""

    notebook: str
    exercise: str
    passed: int
    cases: int
    solved: bool
    remark: str
    seconds: float


def grade(folder: str | Path, *, minutes: float = 10.0) -> Iterator[Grade]:
    r"""The grades of every notebook in a `folder` and below it, one after another, by exercise.

    `minutes`: after which a notebook's process is ended; it then has one line, without an exercise, that says so, and
    so has one whose process ends early or that holds no check. What it has begun ends with it. An id that no exercise
    has is a line too. Characters that no file can hold are written as `\udc80`.
    Units: minutes, seconds. A folder without a notebook gives nothing.
    Errors: FileNotFoundError for no folder, ValueError for minutes that are not above 0. Chapter: all.

    >>> from tempfile import mkdtemp
    >>> list(grade(mkdtemp()))
    []
    """
    check_number("minutes", minutes, above=0)
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: expected a folder of notebooks, found none")
    paths = (path for path in sorted(root.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts)
    return (one for path in paths for one in _graded(path, path.relative_to(root).as_posix(), 60 * minutes))


def _graded(path: Path, name: str, limit_s: float) -> list[Grade]:
    """One notebook, in a process and an empty folder of its own."""
    start, name = time.perf_counter(), writable(name)
    with tempfile.TemporaryDirectory() as place:
        result = Path(place) / "result.json"
        (folder := Path(place) / "work").mkdir()
        environment = {**os.environ, "MPLBACKEND": "agg", "TQDM_DISABLE": "1",
                       "MEDLEARN_PROGRESS": str(folder / "none"), "MEDLEARN_MARK_CLAIMS": "1"}
        command = [sys.executable, "-m", "medlearn.checks.grading", str(path.resolve()), str(result)]
        trouble = _ended(command, limit_s, cwd=folder, env=environment)
        said = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {"exercises": []}
    if not trouble and "whole" not in said:
        trouble = "its process ended before all of its checks were asked"
    seconds = round(time.perf_counter() - start, 1)
    grades = [Grade(name, exercise, passed, cases, solved, writable(remark), seconds)
              for exercise, passed, cases, solved, remark in said["exercises"]]
    if trouble or not grades:
        grades.append(Grade(name, "", 0, 0, False, trouble or "no check was found in it", seconds))
    return grades


def _ended(command: Sequence[str], limit_s: float, **where: Any) -> str:
    """What was wrong with a process, or nothing. Behind this it is over, and so is what it has begun in its group."""
    with tempfile.TemporaryFile() as said:              # a pipe would stay open as long as one of its children lives
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                                   start_new_session=True, **where)
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            return f"it had not ended after {limit_s / 60:g} minutes"
        finally:
            _end(process)
        said.seek(0)
        lines = said.read().decode("utf-8", "backslashreplace").strip().splitlines()
    return "" if code == 0 else f"its process ended with {code}: {(lines or ['nothing said'])[-1]}"


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":                         # which has no groups of processes to end
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):         # nobody is left; a Mac says so otherwise
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def writable(text: str, encoding: str = "utf-8") -> str:
    """The text, with what the encoding does not know written out: half of a surrogate pair is in no file."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


# The process of one notebook -----------------------------------------------------------------------------------------

def judge(notebook: Path) -> Iterator[tuple[str, int, int, bool, str]]:
    """Run the notebook's cells, put to each check what its last call names: (id, passed, cases, solved, remark)."""
    cells = code_cells(notebook)
    names, first_error = run(cells, notebook.stem)
    from medlearn.checks import examine, registered

    known = registered()
    for id, answer in asked(cells).items():
        if id not in known:
            yield id, 0, 0, False, "no exercise has this id" + _near(id, known)
            continue
        try:
            value = eval(compile(answer, "<string>", "eval"), names)
        except (Exception, SystemExit) as error:                # its cell failed, or never gave it a meaning
            yield id, 0, len(known[id].cases), False, first_error or _told(error)
            continue
        report = examine(id, value)
        solved = report.passed == report.total
        remark = "" if solved else report.failure.case if report.failure else "not attempted"
        yield id, report.passed, report.total, solved, remark


def _near(id: str, known: Iterable[str]) -> str:
    near = get_close_matches(id, known, n=1)
    return f": {near[0]}?" if near else ""


def code_cells(notebook: Path) -> list[str]:
    """The sources of a notebook's code cells, as Python alone reads them."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [_python("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def _python(source: str) -> str:
    """Without Jupyter's commands: where Python stumbles over a line that looks like one, that line does nothing."""
    lines = source.split("\n")
    while True:
        try:
            ast.parse("\n".join(lines))
        except SyntaxError as error:
            at = (error.lineno or 0) - 1
            if not (0 <= at < len(lines) and MAGIC.match(lines[at])):
                return MAGIC.sub(r"\1pass", source)
            lines[at] = MAGIC.sub(r"\1pass", lines[at])
        except ValueError:                                      # half of a surrogate pair; `run` says so
            return source
        else:
            return "\n".join(lines)


def run(cells: Sequence[str], name: str) -> tuple[dict[str, Any], str]:
    """What the cells left, each run whatever became of those before, without its checks; and the first error."""
    names: dict[str, Any] = {"__name__": "__main__", "display": print}
    errors = []
    for number, source in enumerate(cells, start=1):
        file = f"<ipython-input-{number}-{name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            tree = ast.parse(source, file)
            tree.body = [node for node in tree.body if not _check(node)]
            exec(compile(tree, file, "exec"), names)
        except (Exception, SystemExit) as error:
            errors.append(f"cell {number}: {_told(error)}")
    return names, errors[0] if errors else ""


def _told(error: BaseException) -> str:
    """An error in one line; one whose own text fails is told by its kind."""
    try:
        return f"{type(error).__name__}: {error}".splitlines()[0]
    except Exception:
        return type(error).__name__


def asked(cells: Sequence[str]) -> dict[str, ast.Expression]:
    """Of each check's id what its last call in the notebook gives as the answer."""
    found: dict[str, ast.Expression] = {}
    for source in cells:
        try:
            body = ast.parse(source).body
        except (SyntaxError, ValueError):
            continue
        for call in filter(None, map(_check, body)):
            match call.args:
                case [ast.Constant(value=str(id)), answer]:
                    found[id] = ast.Expression(answer)
    return found


def _check(node: ast.stmt) -> ast.Call | None:
    """The call, where a line of a cell is `check(id, answer)`."""
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) == "check":
        return call
    return None


def main(notebook: str, result: str) -> None:
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        found: list[tuple[str, int, int, bool, str]] = []
        for one in judge(Path(notebook)):
            found.append(one)                                   # written each time: what ends the process loses one
            _write(result, exercises=found)
        _write(result, exercises=found, whole=True)


def _write(result: str, **told: Any) -> None:
    with written_whole(Path(result)) as aside:                  # a process may be ended while it writes
        aside.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
