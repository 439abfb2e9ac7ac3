"""Assignments for nbgrader: its schema, an answer and a locked test for each exercise, stubs with their signatures."""
import ast
import re

import nbformat
import pytest
from chapters import ROOT, cells, chapters, is_solution
from exercises import SOLUTION, check_ids
from assignments import BEGIN, END, apart, main, marked, write
from notebooks import path_of

from medlearn.checks import registered

# nbgraderformat/v3.json of nbgrader 0.9: what it requires, what it allows, and of which kind
REQUIRED = {"schema_version", "grade", "locked", "solution"}
KINDS = {"schema_version": int, "grade": bool, "locked": bool, "solution": bool, "task": bool, "grade_id": str,
         "points": int, "cell_type": str, "checksum": str}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    into = tmp_path_factory.mktemp("course")
    return {path: nbformat.read(path, as_version=4) for path in write(into)}


def told(notebook):
    return [cell.metadata["nbgrader"] for cell in notebook.cells if "nbgrader" in cell.metadata]


def test_the_metadata_is_that_of_schema_three(course):
    for path, notebook in course.items():
        nbformat.validate(notebook)
        ids = [meta["grade_id"] for meta in told(notebook)]
        assert len(ids) == len(set(ids)) and all(re.fullmatch(r"[a-zA-Z0-9_\-]+", id) for id in ids), path
        for meta in told(notebook):
            assert meta["schema_version"] == 3 and REQUIRED <= set(meta) <= set(KINDS), meta
            assert all(type(value) is KINDS[key] for key, value in meta.items()), meta
            assert meta["grade"] == ("points" in meta) == meta["locked"] and meta["grade"] != meta["solution"]


def test_every_check_of_the_book_is_graded_once(course):
    asked = [id for chapter in chapters(ROOT) if not is_solution(chapter)
             for cell in nbformat.read(path_of(chapter), 4).cells
             if cell.cell_type == "code" and "check(" in cell.source for id in check_ids(cell.source)]
    points = {meta["grade_id"]: meta["points"] for notebook in course.values()
              for meta in told(notebook) if meta["grade"]}
    assert points == {"test-" + re.sub(r"\W|_", "-", id): len(registered()[id].cases) for id in asked}
    assert len(points) > 40


def test_what_is_between_the_marks_is_the_solution_and_all_of_it(course):
    """Without the marks each answer is what stands in the chapter; what stands outside of them gives nothing away."""
    solutions = {apart(cell.source)[0] for chapter in chapters(ROOT) for cell in cells(chapter)
                 if cell.kind == "code" and SOLUTION in cell.tags}
    for notebook in course.values():
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                lines = cell.source.splitlines()
                assert "\n".join(line for line in lines if line.strip() not in (BEGIN, END)) in solutions
                emptied = re.sub(rf"( *){BEGIN}\n.*?{END}", r"\1raise NotImplementedError()", cell.source,
                                 flags=re.DOTALL)
                for node in ast.walk(ast.parse(emptied)):
                    if isinstance(node, ast.FunctionDef):
                        assert isinstance(node.body[-1], ast.Raise) and len(node.body) <= 2, emptied


def test_a_test_fails_for_a_stub_and_passes_for_the_solution(course):
    path = next(path for path in course if path.stem == "01-tasks")
    answer, test = [cell.source for cell in course[path].cells if "nbgrader" in cell.metadata][:2]
    names = {"torch": pytest.importorskip("torch")}
    exec(answer, names)
    exec(test, names)
    exec(re.sub(rf"( *){BEGIN}\n.*?{END}", r"\1raise NotImplementedError()", answer, flags=re.DOTALL), names)
    with pytest.raises(AssertionError, match="0 of 8 cases"):
        exec(test, names)


def test_a_starter_stays_the_students(course):
    notebook = next(notebook for path, notebook in course.items() if path.stem == "loss")
    at = next(i for i, cell in enumerate(notebook.cells) if "nbgrader" in cell.metadata)
    starter, test = notebook.cells[at - 1], notebook.cells[at]
    assert "def loss" in starter.source and "check(" not in starter.source and test.metadata["nbgrader"]["locked"]


def test_marks_stand_inside_the_outermost_function():
    head = 'class A:\n    def f(self):\n        """Doc."""\n'
    body = "        def g():\n            return 1\n        return g()"
    assert marked(head + body) == f"{head}        {BEGIN}\n{body}\n        {END}"


def test_where_to_must_be_said(capsys):
    assert main([]) == 2 and "usage" in capsys.readouterr().err


def test_nbgraders_own_validator_agrees(course):
    """Only where nbgrader itself is installed, which the book does not ask for."""
    format_of = pytest.importorskip("nbgrader.nbgraderformat", reason="nbgrader is not installed")
    for notebook in course.values():
        format_of.MetadataValidator().validate_nb(notebook)
