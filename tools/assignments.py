"""The book's exercises as assignments for nbgrader: a notebook a chapter, its answers and its checks as graded cells.

    python tools/assignments.py DIR      writes DIR/source/NAME/NAME.ipynb

DIR is a course of nbgrader. Each exercise is a solution cell, which `nbgrader generate_assignment` empties down to the
student's stub (a starter stays as it is), and behind it a locked test cell that puts the answer to the check: a point
a case, all or none, as nbgrader counts. Needs the notebooks beside the chapters: `make notebooks`.
"""
from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from chapters import ROOT, cells, chapters, is_solution
from exercises import SOLUTION, STARTER, check_ids, stub
from notebooks import path_of

SCHEMA = 3
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
GRADED = """\
from medlearn.checks import examine

report = examine("{id}", {answer})
print(report)
assert report.passed == report.total, f"{{report.passed}} of {{report.total}} cases passed\""""


def assignment(chapter: Path, points: dict[str, int]) -> NotebookNode:
    """A chapter's notebook with nbgrader's metadata; a check is worth as many `points` as are given for its id."""
    notebook = nbformat.read(path_of(chapter), as_version=4)
    written = {stub(cell.source): cell.source
               for cell in cells(chapter) if cell.kind == "code" and SOLUTION in cell.tags}
    made: list[NotebookNode] = []
    for cell in notebook.cells:
        ids = check_ids(cell.source) if cell.cell_type == "code" and "check(" in cell.source else []
        if not ids or not (cell.source in written or STARTER in cell.metadata.get("tags", ())):
            made.append(cell)
            continue
        solution = written.get(cell.source, "")
        answer, tests = apart(solution or cell.source)
        cell.source = marked(answer) if solution else answer
        cell.outputs, cell.execution_count = [], None
        # nbgrader would empty a starter that has no marks; as a plain cell it stays, the student's to change
        if solution:
            cell.metadata["nbgrader"] = _metadata(f"answer-{_plain(ids[0])}", solution=True)
        made.append(cell)
        for id, named in tests:
            test = new_code_cell(GRADED.format(id=id, answer=named), id=f"test-{_plain(id)}"[:64])
            test.metadata["nbgrader"] = _metadata(f"test-{_plain(id)}", grade=True, locked=True, points=points[id])
            made.append(test)
    notebook.cells = made
    nbformat.validate(notebook)
    return notebook


def apart(source: str) -> tuple[str, list[tuple[str, str]]]:
    """A cell without its checks, and of each check the id and the answer that it names."""
    lines, tests, gone = source.splitlines(), [], set()
    for node in ast.parse(source).body:
        match node:
            case ast.Expr(value=ast.Call(func=ast.Name(id="check"), args=[ast.Constant(value=str(id)), answer])):
                tests.append((id, ast.unparse(answer)))
                gone |= set(range(node.lineno - 1, node.end_lineno or node.lineno))
    return "\n".join(line for i, line in enumerate(lines) if i not in gone).rstrip(), tests


def marked(source: str) -> str:
    """A solution whose bodies stand between nbgrader's marks: signatures and docstrings stay, as in stubs."""
    lines, bodies = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                first = min([body[0].lineno, *(one.lineno for one in getattr(body[0], "decorator_list", ()))])
                bodies.append((first, body[-1].end_lineno or first, node))
    outer = [one for one in bodies if not any(a < one[0] and one[1] <= b for a, b, _ in bodies if (a, b, _) is not one)]
    for first, last, node in sorted(outer, key=lambda one: -one[0]):
        inside = " " * (node.col_offset + 4)
        lines[last:last] = [inside + END]
        lines[first - 1:first - 1] = [inside + BEGIN]
    return "\n".join(lines)


def _metadata(grade_id: str, *, grade: bool = False, solution: bool = False, locked: bool = False,
              points: int | None = None) -> dict:
    told = {"schema_version": SCHEMA, "grade_id": grade_id, "grade": grade, "solution": solution, "locked": locked,
            "task": False, "cell_type": "code"}
    return told if points is None else told | {"points": points}


def _plain(id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", id)


def write(into: Path, root: Path = ROOT) -> list[Path]:
    """Writes an assignment for each chapter with an exercise that is checked; their files."""
    from medlearn.checks import registered
    points = {id: len(check.cases) for id, check in registered().items()}
    done = []
    for chapter in chapters(root):
        if is_solution(chapter):
            continue
        made = assignment(chapter, points)
        if not any("nbgrader" in cell.metadata for cell in made.cells):
            continue
        name = _plain(chapter.stem)
        path = into / "source" / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(made, path)
        done.append(path)
    return done


def main(arguments: list[str], root: Path = ROOT) -> int:
    if len(arguments) != 1:
        print("usage: python tools/assignments.py DIR", file=sys.stderr)
        return 2
    print(f"Assignments: {len(write(Path(arguments[0]), root))}, in {arguments[0]}/source")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
