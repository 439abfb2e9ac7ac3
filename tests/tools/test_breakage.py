"""What breaks the book fails its tests, with a message that names the file and the cell: each is broken here once."""
import execute
import nbformat
import notebooks
from helpers.tiny_book import SHOWS_ALL_CLAIMS, cell, pages

from medlearn.claims import claims

ONE = "book/principles/01_one"


def test_a_broken_chapter(book, capsys):
    book.chapter("01_one", "# One\n", cell("x = 1"), cell("undefined + x"))
    assert execute.main(book.root) == 1
    said = capsys.readouterr().err
    assert f"{ONE}.md:19: code cell 2 failed" in said and "NameError: name 'undefined' is not defined" in said


def test_a_false_claim(book, capsys):
    id, sentence = next(iter(claims().items()))
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS.replace(f'claim("{id}", x == 6)', f'claim("{id}", x == 7)'))
    done = pages(book)
    assert done.returncode == 1  # and the book is there
    assert ("these claims do not hold on this machine:\n"
            f"{ONE}.md: Claim {id} DOES NOT HOLD HERE: {sentence}") in done.stderr
    page = (book.root / f"_build/html/{ONE}.html").read_text()
    assert "Does not hold here" in page and "machine: " in page and page.count('class="claim claim-fails"') == 1
    assert pages(book).returncode == 1  # and again, where nothing had to be built


def test_a_control_that_passes(book, capsys):
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS.replace("'none': y", "'none': x", 1))
    done = pages(book)
    assert done.returncode == 1 and (book.root / f"_build/html/{ONE}.html").exists()
    assert "none: +6 (passes, and must not)" in (book.root / f"_build/html/{ONE}.html").read_text()


def test_a_claim_that_could_pass_without_its_run(book, capsys):
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS.replace("x == 6", "x == x"))
    assert execute.main(book.root) == 0  # it does pass
    assert notebooks.main(["--check"], book.root) == 1
    said = capsys.readouterr().err
    assert f"code cell 1: claim {next(iter(claims()))} has a condition that is true whatever was computed" in said


def test_an_untranslatable_directive(book, capsys):
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS, "::::{grid} 2\n::::\n")
    assert execute.main(book.root) == 0
    assert notebooks.main(["--check"], book.root) == 1
    line = (book.root / f"{ONE}.md").read_text().splitlines().index("::::{grid} 2") + 1
    assert capsys.readouterr().err == f"{ONE}.md:{line}: the directive {{grid}} has no translation for notebooks\n"
    assert notebooks.main([], book.root) == 1 and not (book.root / f"{ONE}.ipynb").exists()


def test_a_stale_notebook(book, capsys):
    chapter = book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS, cell("print('before')"))
    assert execute.main(book.root) == 0 and notebooks.main([], book.root) == 0
    chapter.write_text(chapter.read_text().replace("before", "after"))
    assert execute.main(book.root) == 0
    assert notebooks.main(["--check"], book.root) == 1
    assert capsys.readouterr().err == f"{ONE}.ipynb: cell 5: source, id, outputs; say `make notebooks`\n"


def test_a_notebook_edited_by_hand(book, capsys):
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS)
    assert execute.main(book.root) == 0 and notebooks.main([], book.root) == 0
    path = book.root / f"{ONE}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[3].source += "\nx = 7"
    nbformat.write(notebook, path)
    assert notebooks.main(["--check"], book.root) == 1
    assert capsys.readouterr().err == f"{ONE}.ipynb: cell 4: source; say `make notebooks`\n"


def test_a_solution_whose_check_does_not_pass(book, capsys):
    fake = "def check(id, answer):\n    print(id + ': 2 of 3 cases passed.')"
    book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS, cell(fake),
                 cell('def f():\n    pass\n\ncheck("tasks.volume", f)', "solution"))
    assert execute.main(book.root) == 0
    assert notebooks.main(["--check"], book.root) == 1
    assert capsys.readouterr().err == (
        f"{ONE}.md: code cell 3: the check tasks.volume did not pass (tasks.volume: 2 of 3 cases passed.)\n")


def test_a_chapter_missing_from_the_contents_a_figure_without_words_and_a_page_nobody_wrote(book):
    book.chapter("01_one", "# One\n\n![](/book/_static/brain.svg)\n\n{doc}`nowhere`\n", SHOWS_ALL_CLAIMS,
                 cell("from IPython.display import SVG\n\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')"))
    book.put("book/_static/brain.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
    book.chapter("02_lost", "# Lost\n", cell("x = 1"), listed=False)
    done = pages(book)
    assert done.returncode != 0
    assert "book/principles/02_lost.md: not in _toc.yml" in done.stderr
    assert f"{ONE}.md:14: WARNING: figure without alt text" in done.stderr
    lines = (book.root / f"{ONE}.md").read_text().splitlines()
    drawn = next(number for number, line in enumerate(lines, 1) if line.startswith("from IPython.display"))
    # as MyST counts, within the cell
    assert f"{ONE}.md:{drawn + 1}: WARNING: figure without alt text" in done.stderr
    assert f"{ONE}.md:16: WARNING: unknown document: 'nowhere'" in done.stderr
    assert not (book.root / "_build/html/.built-from").exists()
