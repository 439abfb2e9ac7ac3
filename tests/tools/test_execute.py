"""Chapters run once, side by side; a failure names file, line and cell; a second run does only what changed."""
import json

import build as building
import execute as execution
import nbformat
import pytest
from execute import execute, executed, main, prune
from helpers.tiny_book import cell

from medlearn.claims import kinds


@pytest.fixture
def runs(monkeypatch):
    """The names of the chapters that run."""
    names, run = [], execution.run
    monkeypatch.setattr(execution, "run", lambda chapter, root: names.append(chapter.stem) or run(chapter, root))
    return names


def test_a_second_run_does_only_what_changed(book, runs, capsys):
    one = book.chapter("01_one", "# One\n", cell("print('one')"))
    book.chapter("02_two", "# Two\n", cell("print('two')"))
    book.put("medlearn/room.py", "x = 1\n")
    assert main(book.root) == 0 and sorted(runs) == ["01_one", "02_two"]
    assert "Chapters: 2, to run: 2" in capsys.readouterr().out
    times = json.loads((book.root / "_build/times.json").read_text())
    assert list(times) == ["book/principles/01_one.md", "book/principles/02_two.md"]

    runs.clear()
    assert main(book.root) == 0 and runs == []
    one.write_text(one.read_text().replace("# One", "# One, with other words"))
    assert main(book.root) == 0 and runs == []  # its code is the same
    assert executed(one, book.root).cells[0].source == "# One, with other words"
    assert executed(one, book.root).cells[1].outputs[0].text == "one\n"

    one.write_text(one.read_text().replace("print('one')", "print('uno')"))
    with pytest.raises(LookupError, match="01_one.md: this code has not been run yet"):
        executed(one, book.root)
    assert main(book.root) == 0 and runs == ["01_one"]

    runs.clear()
    book.put("medlearn/room.py", "x = 2\n")  # every output may depend on the package
    assert main(book.root) == 0 and sorted(runs) == ["01_one", "02_two"]


def test_a_broken_cell_is_named_and_not_kept(book, runs, capsys):
    chapter = book.chapter("01_one", "# One\n", cell("x = 1"), "text\n", cell("y = 2\nx / 0"), cell("print('never')"))
    for _ in range(2):  # nothing was kept, so a second run fails as well
        assert main(book.root) == 1
        assert ("book/principles/01_one.md:21: code cell 2 failed\n    y = 2\n    x / 0\n"
                "  ZeroDivisionError: division by zero") in capsys.readouterr().err
    assert len(runs) == 2
    with pytest.raises(LookupError):
        executed(chapter, book.root)


def test_a_chapter_that_takes_too_long_is_named(book, monkeypatch):
    monkeypatch.setattr(execution, "CELL_TIMEOUT_S", 1)
    book.chapter("01_slow", "# Slow\n", cell("import time\n\ntime.sleep(60)"))
    failure = execute(book.root)[0].failure
    assert failure.startswith("book/principles/01_slow.md:15: code cell 1 failed")
    assert failure.endswith("no answer within 1 s")


def test_a_chapter_whose_kernel_dies_is_named(book):
    book.chapter("02_dead", "# Dead\n", cell("import os\n\nos._exit(1)"))
    failure = execute(book.root)[0].failure
    assert failure.startswith("book/principles/02_dead.md:15: code cell 1 failed")
    assert failure.endswith("its kernel died (out of memory?)")


def test_outputs_depend_on_package_recordings_and_scale(book, monkeypatch):
    seen = {execution.digest(book.root)}
    for change in (lambda: book.put("medlearn/room.py", "x = 1\n"), lambda: book.put("book/recorded/one.json", "{}"),
                   lambda: monkeypatch.setenv("MEDLEARN_SCALE", "full")):
        change()
        seen.add(execution.digest(book.root))
    assert len(seen) == 4
    book.put("medlearn/__pycache__/room.pyc", "x")
    book.put("book/intro.md", "# Other words\n")
    assert execution.digest(book.root) in seen


def test_the_outputs_of_the_last_states_of_the_package_are_kept(book):
    for state in range(5):
        book.put("medlearn/room.py", f"x = {state}\n")
        (execution.cache_path(book.root)).mkdir(parents=True)
        prune(book.root)
    kept = list((book.root / "_build/.jupyter_cache").iterdir())
    assert len(kept) == execution.KEPT_CACHES and execution.cache_path(book.root) in kept


def test_a_run_leaves_a_notebook_that_can_be_compared(book):
    chapter = book.chapter("01_one", "# One\n", cell("21 * 2"))
    assert main(book.root) == 0
    notebook = executed(chapter, book.root)
    nbformat.validate(notebook)
    assert notebook.cells[1].execution_count == 1 and notebook.cells[1].outputs[0].data == {"text/plain": "42"}


HIDDEN = "try:\n    {}\nexcept Exception:\n    pass"


@pytest.mark.parametrize("code, tags", [
    ("if False:\n    {}", ()),
    (HIDDEN, ()),
    ("import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    {}", ()),
    ("1 / 0\n{}", ("raises-exception",)),
    ("{}", ("raises-exception",)),
], ids=["never reached", "error caught", "line caught", "cell raises", "cell may raise"])
def test_a_claim_that_prints_no_line_is_named(book, code, tags, capsys):
    # an empirical claim without effect is refused with an error, which the second of these cells hides
    id = next(id for id, kind in kinds().items() if kind == ("empirical" if code == HIDDEN else "exact"))
    claim = f'claim("{id}", sum(range(3)) == 3)'
    source = "from medlearn import claim\n" + code.format(claim)
    chapter = book.chapter("01_one", "# One\n", cell(source, *tags))
    assert main(book.root) == 0
    line = next(n for n, text in enumerate(chapter.read_text().splitlines(), 1) if claim in text)
    why = "stands in a cell that may raise" if code == "{}" else "printed no line, although its cell has run"
    assert execution.unshown(book.root) == [f"book/principles/01_one.md:{line}: claim {id} {why}"]
    assert building.warn_of_claims(book.root) == 1
    assert f"claim {id} {why}" in capsys.readouterr().err


def test_a_claim_that_printed_its_line_is_not_named_whether_it_holds_or_not(book):
    id = next(id for id, kind in kinds().items() if kind == "exact")
    for holds in ("3", "4"):
        book.chapter("01_one", "# One\n",
                     cell(f'from medlearn import claim\n\nclaim("{id}", sum(range(3)) == {holds})'))
        assert main(book.root) == 0 and execution.unshown(book.root) == []


def test_a_new_tag_runs_nothing(book, runs):
    chapter = book.chapter("01_one", "# One\n", cell("print(6 * 7)"))
    assert main(book.root) == 0 and runs == ["01_one"]
    chapter.write_text(chapter.read_text().replace("```{code-cell} ipython3\n",
                                                   "```{code-cell} ipython3\n:tags: [plot]\n\n"))
    assert main(book.root) == 0 and runs == ["01_one"]
    made = next(one for one in executed(chapter, book.root).cells if one.cell_type == "code")
    assert made.metadata.tags == ["plot"] and made.outputs[0].text == "42\n"

    chapter.write_text(chapter.read_text().replace("6 * 7", "6 * 8"))
    assert main(book.root) == 0 and runs == ["01_one", "01_one"]
