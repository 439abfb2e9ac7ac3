"""nbval's run of a notebook is the run of its chapter's page: the same outputs, solutions included, or none at all."""
import os
import subprocess
import sys

import notebooks
import pytest
from execute import cache_path, execute, executed, waiting
from helpers.tiny_book import ROOT, Book, cell
from jupyter_cache import get_cache

FIGURE = cell("import matplotlib.pyplot as plt\n\nprint('before')\nplt.plot([1, 2])\nplt.show()\nprint('after')")
VALUE = cell("6 * 7")
SOLVED = cell('def double(x):\n    """Twice x."""\n    return 2 * x\n\nprint(double(3))', "solution",
              "nbval-ignore-output")
NEXT = cell("try:\n    print(double(4))\nexcept NotImplementedError:\n    print('yours')", "nbval-ignore-output")
MAY_FAIL = cell("1 / 0", "raises-exception", "nbval-ignore-output")


def nbval(book: Book, *options: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "pytest", "book", "-q", "--nbval", "--nbval-current-env", "-p",
                           "keep_outputs", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(book.root),
                           *options], cwd=book.root, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT / "tools")})


def outputs(chapter, book) -> list:
    return [cell.outputs for cell in executed(chapter, book.root).cells if cell.cell_type == "code"]


def forget(book: Book) -> None:
    get_cache(cache_path(book.root)).clear_cache()


def written(book: Book) -> None:
    """The notebooks, beside chapters that have not run."""
    execute(book.root)
    notebooks.write(book.root)
    forget(book)


@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "loadfile")], ids=["one", "two at once"])
def test_what_is_kept_is_what_a_run_for_the_page_gives(book, options):
    every = [book.chapter("01_one", "# One\n", FIGURE, "Text.\n", VALUE, SOLVED),
             book.chapter("02_two", "# Two\n", cell("print('two')"), MAY_FAIL)]
    execute(book.root)
    notebooks.write(book.root)
    before = [executed(chapter, book.root) for chapter in every]
    forget(book)
    done = nbval(book, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    after = [executed(chapter, book.root) for chapter in every]
    for was, now in zip(before, after):
        for ran in [*was.cells, *now.cells]:
            del ran["id"]  # another one whenever a chapter is read
            for output in ran.get("outputs", ()):
                output.pop("traceback", None)  # it names the cell by the kernel's own count
        assert now == was
    kinds = [output.output_type for output in outputs(every[0], book)[0]]
    assert kinds == ["stream", "display_data", "stream"]  # as it came
    assert "image/svg+xml" in outputs(every[0], book)[0][1].data


def test_after_a_solution_the_rest_runs_as_a_students_would(book):
    chapter = book.chapter("01_one", "# One\n", SOLVED, NEXT)
    written(book)
    assert nbval(book).returncode == 0
    solved, following = outputs(chapter, book)
    assert solved[0].text == "6\n" and following[0].text == "yours\n"


def test_other_outputs_fail_and_are_kept_and_an_error_is_not(book):
    one = book.chapter("01_one", "# One\n", cell("print('mine')"))
    two = book.chapter("02_two", "# Two\n", cell("from pathlib import Path\n\nassert not Path('gone').exists()"))
    written(book)
    made = one.with_suffix(".ipynb")
    made.write_text(made.read_text().replace('"mine\\n"', '"yours\\n"'))
    (two.parent / "gone").write_text("")
    done = nbval(book)
    assert done.returncode == 1 and "2 failed" in done.stdout, done.stdout
    assert outputs(one, book)[0][0].text == "mine\n"
    assert waiting(get_cache(cache_path(book.root)), [one, two]) == [two]


def test_a_notebook_of_another_state_of_its_chapter_keeps_nothing(book):
    chapter = book.chapter("01_one", "# One\n", cell("print('one')"))
    written(book)
    chapter.write_text(chapter.read_text().replace("print('one')", "print('uno')"))
    assert nbval(book).returncode == 0
    with pytest.raises(LookupError, match="has not been run yet"):
        executed(chapter, book.root)


def test_a_notebook_with_a_cell_that_its_chapter_no_longer_has_keeps_nothing(book):
    chapter = book.chapter("01_one", "# One\n", cell("x = 1"), cell("print(2)"))
    written(book)
    book.chapter("01_one", "# One\n", cell("print(2)"))
    assert nbval(book).returncode == 0
    with pytest.raises(LookupError):
        executed(chapter, book.root)


def test_a_claim_that_does_not_hold_fails_and_its_page_is_kept(book):
    says = "print('Claim a.b DOES NOT HOLD HERE: it should')"
    chapter = book.chapter("01_one", "# One\n", cell(says, "nbval-ignore-output"))
    written(book)
    done = nbval(book)
    assert done.returncode == 1 and "Claim a.b DOES NOT HOLD HERE: it should" in done.stdout
    assert "DOES NOT HOLD" in outputs(chapter, book)[0][0].text


def test_a_solution_that_raises_fails_and_keeps_nothing(book):
    chapter = book.chapter("01_one", "# One\n", cell("def f():\n    pass\n\nif open('gone').read():\n    1 / 0",
                                                     "solution", "nbval-ignore-output"))
    gone = chapter.parent / "gone"
    gone.write_text("")
    written(book)
    gone.write_text("now")
    done = nbval(book)
    assert done.returncode == 1 and "ZeroDivisionError" in done.stdout
    assert waiting(get_cache(cache_path(book.root)), [chapter]) == [chapter]


def test_what_ran_with_another_package_is_not_kept_as_of_this_one(book):
    book.put("medlearn/room.py", "x = 1\n")
    chapter = book.chapter("01_one", "# One\n", cell("from pathlib import Path\n\nif Path('now').exists():\n"
                                                     "    _ = Path('../../medlearn/room.py').write_text('x = 2')"))
    written(book)
    (chapter.parent / "now").write_text("")
    assert nbval(book).returncode == 0
    with pytest.raises(LookupError):
        executed(chapter, book.root)


def test_a_selection_of_cells_keeps_nothing(book):
    chapter = book.chapter("01_one", "# One\n", cell("x = 1"), cell("print('two')"))
    written(book)
    assert nbval(book, "--deselect", "book/principles/01_one.ipynb::Cell 2").returncode == 0
    with pytest.raises(LookupError):
        executed(chapter, book.root)
