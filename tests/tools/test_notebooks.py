"""Notebooks are made one way from chapters that ran: they validate, repeat to the byte, and hold no images."""
import json
import subprocess
import sys

import nbformat
import notebooks
import pytest
from chapters import repository
from execute import execute, executed
from helpers.tiny_book import SHOWS_ALL_CLAIMS, Book, cell
from nbformat.v4 import new_code_cell, new_output
from notebooks import UNCHECKED, main, outputs_of, solved, stale, strays, student, text_of, write, write_solved
from references import References

EXERCISE = """\
::::{exercise} Double
:label: one-double
Write `double`.
::::

:::{admonition} Hint
:class: dropdown
Add it to itself.
:::
"""
SOLUTION = '''\
def double(x):
    """Twice x."""
    return x + x

check("tasks.double", double)
'''
# the engine needs PyTorch, which takes seconds to import; these three lines print what it would
FAKE_CHECK = "def check(id, answer):\n    print(id + ': all 3 cases passed.')"
FIGURE = '''\
from IPython.display import Image, display

display(Image(b"\\x89PNG\\r\\n\\x1a\\n" + bytes(99), format="png"))
print("a")
print("b")
21 * 2
'''


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A book of one chapter that was run."""
    book = Book(tmp_path_factory.mktemp("book"))
    book.path = book.chapter("01_one", "(one)=\n# One\n\n:::{note}\nRead.\n:::\n", SHOWS_ALL_CLAIMS,
                             cell(FAKE_CHECK, "hide-input"), "Look.\n",
                             cell(FIGURE), cell("import time\n\ntime.time()", UNCHECKED), "## Exercises\n", EXERCISE,
                             cell(SOLUTION, "solution", "hide-cell"), cell("x = 1"), cell("x = 1"))
    assert [run.failure for run in execute(book.root)] == [""]
    return book


@pytest.fixture
def kept(ran):
    """The same, with its notebook; whatever a test does to its files is undone."""
    before = {path: path.read_bytes() for path in ran.root.glob("book/**/*.md")}
    write(ran.root)
    yield ran
    for path, content in before.items():
        path.write_bytes(content)
    for path in ran.root.glob("book/**/*.ipynb"):
        path.unlink()


def references(book):
    return References(book.root, repository(book.root))


def test_the_first_cells_lead_to_colab_and_to_the_page_and_set_up(ran):
    links, set_up = student(ran.path, references(ran)).cells[:2]
    assert links.source == (
        "[Open in Colab](https://colab.research.google.com/github/someone/brains/blob/trunk/book/principles/01_one.ipynb)"
        " | "
        "[Read this chapter in the book](https://someone.github.io/brains/book/principles/01_one.html)")
    assert '%pip install --quiet "medlearn[dicom] @ git+https://github.com/someone/brains@trunk"' in set_up.source
    assert (set_up.outputs, set_up.execution_count) == ([], 1)


def test_the_set_up_does_nothing_outside_colab(ran):
    from IPython.core.interactiveshell import InteractiveShell
    source = student(ran.path, references(ran)).cells[1].source
    asked, scope = [], {"get_ipython": lambda: type("Shell", (),
                                                    {"run_line_magic": lambda self, *a: asked.append(a)})()}
    exec(InteractiveShell.instance().transform_cell(source), scope)
    InteractiveShell.clear_instance()
    assert asked == []


def test_the_set_up_asks_pip_for_medlearn_alone_in_colab(ran, monkeypatch):

    from IPython.core.inputtransformer2 import TransformerManager
    monkeypatch.setitem(sys.modules, "google.colab", object())
    source = student(ran.path, references(ran)).cells[1].source
    asked, scope = [], {"get_ipython": lambda: type("Shell", (),
                                                    {"run_line_magic": lambda self, *a: asked.append(a)})()}
    exec(TransformerManager().transform_cell(source), scope)
    assert asked == [("pip", 'install --quiet "medlearn[dicom] @ git+https://github.com/someone/brains@trunk"')]


def test_a_notebook_is_valid_and_the_same_each_time(ran):
    one, two = (text_of(student(ran.path, references(ran))) for _ in range(2))
    assert one == two and one.endswith("}\n")
    notebook = nbformat.reads(one, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.accelerator == "GPU" and notebook.metadata.colab == {"gpuType": "T4", "provenance": []}
    assert notebook.metadata.kernelspec.name == "python3"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)  # two cells of this chapter have the same source


def test_a_cell_keeps_its_id_when_others_come(ran, tmp_path):
    before = {cell.source: cell.id for cell in student(ran.path, references(ran)).cells}
    text = ran.path.read_text()
    ran.path.write_text(text.replace("Look.\n", "Look.\n\n+++\n\nLook again.\n"))
    after = {cell.source: cell.id for cell in student(ran.path, references(ran)).cells}
    ran.path.write_text(text)
    assert "Look again." in after and before.items() <= after.items()


def test_code_cells_are_counted_and_keep_their_text_without_images(ran):
    code = [cell for cell in student(ran.path, references(ran)).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    figure = next(cell for cell in code if "Image" in cell.source)
    assert [output.output_type for output in figure.outputs] == ["display_data", "stream", "execute_result"]
    assert figure.outputs[0].data == {"text/plain": "<IPython.core.display.Image object>"}
    assert figure.outputs[1].text == "a\nb\n"
    assert figure.outputs[2].data == {"text/plain": "42"}
    assert figure.outputs[2].execution_count == figure.execution_count
    assert "image/png" in str(executed(ran.path, ran.root))  # it was there


def test_a_student_gets_statement_hint_and_stub(ran):
    notebook = student(ran.path, references(ran))
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "**Exercise 1. Double**" in text and "<summary>Hint</summary>" in text and "x + x" not in text
    stub = notebook.cells[-3]
    assert 'raise NotImplementedError("your turn")' in stub.source
    assert stub.source.endswith('check("tasks.double", double)')
    assert [output.text for output in stub.outputs] == ["tasks.double: not attempted yet.\n"]
    assert stub.metadata == {}


def test_the_solved_notebook_has_the_answer_and_what_its_check_said(ran):
    answer = solved(ran.path, references(ran)).cells[-3]
    assert "return x + x" in answer.source
    assert [output.text for output in answer.outputs] == ["tasks.double: all 3 cases passed.\n"]


def test_solved_notebooks_are_written_where_asked(ran, tmp_path):
    assert write_solved(tmp_path, ran.root) == [tmp_path / "principles/01_one.ipynb"]
    assert "return x + x" in (tmp_path / "principles/01_one.ipynb").read_text()


def test_only_what_has_changed_is_written(kept):
    assert write(kept.root) == [] and stale(kept.root) == []
    kept.path.write_text(kept.path.read_text().replace("Look.", "Look closely."))
    assert write(kept.root) == [kept.path.with_suffix(".ipynb")]
    assert write(kept.root) == []


def test_a_notebook_that_is_not_its_chapters_is_named_with_its_cell(kept, capsys):
    path = kept.path.with_suffix(".ipynb")
    good = path.read_text()

    def says(change) -> list[str]:
        notebook = nbformat.reads(good, as_version=4)
        change(notebook)
        path.write_text(text_of(notebook))
        return stale(kept.root)

    name = "book/principles/01_one.ipynb"
    assert says(lambda nb: None) == []
    assert says(lambda nb: nb.cells[2].update(source="# Other")) == [f"{name}: cell 3: source"]
    assert says(lambda nb: nb.cells[3].outputs.clear()) == [f"{name}: cell 4: outputs"]
    assert says(lambda nb: nb.cells[3].update(execution_count=None)) == [f"{name}: cell 4: execution_count"]
    assert says(lambda nb: nb.cells[3].update(id="x")) == [f"{name}: cell 4: id"]
    assert says(lambda nb: nb.cells.pop()) == [f"{name}: 11 cells, expected 12"]
    assert says(lambda nb: nb.metadata.pop("accelerator")) == [f"{name}: the notebook's metadata"]
    path.write_text("{")
    assert stale(kept.root) == [f"{name}: cannot be read as a notebook (NotJSONError)"]
    path.unlink()
    assert stale(kept.root) == [f"{name}: missing"]
    assert main(["--check"], kept.root) == 1
    assert f"{name}: missing; say `make notebooks`" in capsys.readouterr().err


def test_outputs_that_differ_from_run_to_run_do_not_make_a_notebook_stale(kept):
    path = kept.path.with_suffix(".ipynb")
    notebook = nbformat.read(path, as_version=4)
    next(cell for cell in notebook.cells if "time.time" in cell.source).outputs[0].data["text/plain"] = "17"
    path.write_text(text_of(notebook))
    assert stale(kept.root) == [] and write(kept.root) == []


def test_a_fork_may_keep_the_links_to_the_books_home(kept, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "fork/brains")
    assert stale(kept.root) == []
    path = kept.path.with_suffix(".ipynb")
    path.write_text(text_of(student(kept.path, references(kept))))
    assert "fork/brains" in path.read_text() and stale(kept.root) == []
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert stale(kept.root) != []


def test_a_notebook_without_a_chapter_is_named_and_left_alone(kept, capsys):
    kept.put("book/principles/00_mine.ipynb", "{}")
    assert strays(kept.root) == ["book/principles/00_mine.ipynb: no chapter makes this notebook"]
    assert main([], kept.root) == 1 and "00_mine.ipynb" in capsys.readouterr().err
    assert (kept.root / "book/principles/00_mine.ipynb").exists()


def test_the_command_checks_and_writes(kept, capsys):
    assert main(["--check"], kept.root) == 0
    kept.path.with_suffix(".ipynb").unlink()
    assert main([], kept.root) == 0 and main(["--check"], kept.root) == 0
    assert "Notebooks: 1, all as their chapters make them" in capsys.readouterr().out


# Outputs -------------------------------------------------------------------------------------------------------------

def output(kind="display_data", **data):
    return new_output(kind, data={name.replace("_", "/"): value for name, value in data.items()})


@pytest.mark.parametrize("tags, outputs, left", [
    ([], [output(text_plain="p", image_png="x", text_html="<b>")], {"text/plain": "p", "text/html": "<b>"}),
    ([UNCHECKED], [output(text_plain="p", image_png="x", text_html="<b>")], {"text/plain": "p"}),
    ([], [new_output("display_data", data={"text/plain": "W()", "application/vnd.jupyter.widget-view+json": {}})],
     {"text/plain": "W()"}),
])
def test_images_and_widgets_go_and_their_text_stays(tags, outputs, left):
    assert [one.data for one in outputs_of(new_code_cell("x", outputs=outputs, metadata={"tags": tags}))] == [left]


def test_streams_are_joined_and_errors_of_unchecked_cells_go():
    pieces = [new_output("stream", name=name, text=text)
              for name, text in [("stdout", "a"), ("stderr", "w"), ("stdout", "b"), ("stdout", "c")]]
    assert [one.text for one in outputs_of(new_code_cell("x", outputs=pieces))] == ["a", "w", "bc"]
    assert [one.text for one in outputs_of(new_code_cell("x", outputs=pieces,
                                                         metadata={"tags": [UNCHECKED]}))] == ["abc"]


@pytest.mark.parametrize("source, outputs, why", [
    ("x", [new_output("stream", name="stderr", text="a\nUserWarning: b\n")], "writes to stderr: UserWarning: b"),
    ("x", [output(text_plain="<f at 0x7f3a5c2b1d30>")], "address in memory"),
    ("x", [output(text_plain="p", text_html="x" * 30_000)], "gives 30 kB of HTML"),
    ("x", [new_output("display_data", data={"application/pdf": "%PDF"})], "gives application/pdf"),
])
def test_an_output_that_no_notebook_should_hold_is_named(source, outputs, why):
    from chapters import Cell
    run = new_code_cell(source, outputs=outputs, execution_count=1)
    assert [why in text for text in notebooks._wrong(Cell("code", source, {}, 1), run)] == [True]
    assert list(notebooks._wrong(Cell("code", source, {"tags": [UNCHECKED]}, 1), run)) == []
    assert list(notebooks._wrong(Cell("code", "x", {}, 1), new_code_cell("x"))) == ["has not run"]


def test_the_json_is_stable(ran):
    text = text_of(student(ran.path, references(ran)))
    assert json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n" == text


# Tested as the suite tests them --------------------------------------------------------------------------------------

VOLUME = '''\
import torch
from medlearn import check

def volume_ml(mask, affine):
    """Millilitres of a mask."""
    return mask.sum().item() * torch.linalg.det(affine[:3, :3]).abs().item() / 1000

check("tasks.volume", volume_ml)
'''


def test_the_students_and_the_solved_notebook_give_what_they_show(tmp_path):
    """With the real check: stub and solution both print what the notebooks say; a changed output is noticed."""
    book = Book(tmp_path / "book")
    chapter = book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS, cell(FIGURE), cell(VOLUME, "solution", "hide-cell"))
    assert [run.failure for run in execute(book.root)] == [""]
    assert main([], book.root) == main(["--check"], book.root) == 0
    ours, theirs = chapter.with_suffix(".ipynb"), write_solved(tmp_path / "solved", book.root)[0]
    assert "tasks.volume: not attempted yet." in ours.read_text() and "cases passed." in theirs.read_text()
    changed = tmp_path / "changed.ipynb"
    notebook = nbformat.read(ours, as_version=4)
    notebook.cells.pop()
    changed.write_text(text_of(notebook).replace('"42"', '"43"'))

    done = subprocess.run([sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-p",
                           "no:cacheprovider", "-c", "/dev/null",
                           "--rootdir", tmp_path, ours, theirs, changed], capture_output=True, text=True, cwd=tmp_path)
    assert "1 failed, 10 passed" in done.stdout, done.stdout + done.stderr
    assert "changed.ipynb::Cell 2" in done.stdout
