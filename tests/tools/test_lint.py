"""What is wrong with a chapter is named by file, line and cell before anything runs."""
import lint
import pytest
from chapters import repository
from helpers.tiny_book import cell
from references import References

ASKS = 'def f(x):\n    return x\n\ncheck("tasks.volume", f)'


@pytest.fixture
def found(book):
    """The complaints about a chapter of these parts."""
    def ask(*parts: str) -> list[str]:
        path = book.chapter("01_one", *parts)
        return lint.problems(path, References(book.root, repository(book.root)))
    return ask


def test_a_sound_chapter_has_no_complaint(found):
    assert found("# One\n\n:::{note}\ntext\n:::\n", cell("x = f()\nclaim('a.b', x > 1)"),
                 cell(ASKS, "solution", "hide-cell"), cell("x;", lint.UNCHECKED)) == []
    assert found("") == []


@pytest.mark.parametrize("parts, complaint", [
    (["# One\n\n::::{grid} 2\n::::\n"], "14: the directive {grid} has no translation for notebooks"),
    (["# One\n", cell("x = 1"), "## Exercises\n\n::::{exercise} Double\n:label: one-double\nText.\n::::\n"],
     "20: exercise one-double: no hint that folds stands behind it"),
    (["# One\n\n::::{exercise} Double\n:label: one-double\n", "text\n"], "14: ::::{exercise} Double is never closed"),
    (["# One\n", cell("x = 1"), "text {kbd}`x`\n"], "18: the role {kbd} has no translation for notebooks"),
    (["# One\n", cell("x = 1\n%timeit x")], "16: code cell 1: not plain Python (invalid syntax)"),
    (["# One\n", cell("x = 1"), cell("claim('a.b', True)")], "19: code cell 2: claim a.b has a constant condition"),
    (["# One\n", cell("ok = True"), cell("claim('a.b', ok)")], "19: code cell 2: claim a.b has a constant condition"),
    ([cell("f = 1\n\nclaim('a.b', f)", "solution")],
     "15: code cell 1: a solution without check(...): nobody would know whether it is right"),
    ([cell(ASKS + "\nclaim('a.b', f(2) == 2)", "solution")],
     "19: code cell 1: claim a.b stands in a solution, which the student's notebook leaves out"),
    ([cell("def f():\n    pass\n\ncheck(name, f)", "solution")],
     "18: code cell 1: a check whose id is not a literal string"),
    (["# One\n", cell("x = 1\nx;")],
     "16: code cell 1: ends with a semicolon, which hides nothing when the notebook is tested: write `_ = ...`"),
    ([cell(ASKS, "solution"), "text\n", cell("y = 1\nprint(f(2))")],
     "24: code cell 2: takes f from the solution in code cell 1 (line 15), which a student may not have solved"),
])
def test_a_complaint_names_file_line_and_cell(found, parts, complaint):
    complaints = found(*parts)
    assert f"book/principles/01_one.md:{complaint}" in complaints, complaints
    assert all(text.startswith("book/principles/01_one.md:") for text in complaints)


@pytest.mark.parametrize("later", ["x = 2", "for x in (1, 2):\n    pass", "def x():\n    pass", "if y:\n    x = 2"])
def test_a_name_that_another_cell_takes_has_one_meaning(found, later):
    complaints = found("# One\n", cell("x = y = 1"), cell("print(x)"), cell(later))
    assert complaints == ["book/principles/01_one.md:23: code cell 3: binds x anew, which another cell takes from "
                          "code cell 1 (line 15) or from here: two meanings, two names"]


@pytest.mark.parametrize("later", [
    "y = 2",                            # y is taken by none
    "x += 1",                           # more of the same
    "print([x for x in (1, 2)])",       # a name of the list's own
    "def f(x):\n    x = 2",             # and of the function's
    "class A:\n    x = 2"])
def test_a_name_of_one_cell_alone_is_free(found, later):
    assert found("# One\n", cell("x = y = 1"), cell("print(x)"), cell(later)) == []
    assert found("# One\n", cell("x = 1\nprint(x)"), cell("x = 2\nprint(x)")) == []


def test_a_claim_is_shown_exactly_once(book, monkeypatch):
    monkeypatch.setattr(lint, "claims", lambda: {"a.once": "", "a.twice": "", "a.never": ""})
    book.chapter("01_one", "# One\n", cell("x = f()\nclaim('a.once', x > 1)"), cell("claim('a.twice', x > 1)"))
    book.chapter("02_two", "# Two\n", cell("claim('a.twice', x > 2)"))
    book.chapter("03_lost", "# Lost\n", cell("claim('a.never', x > 2)"), listed=False)
    assert lint.claim_problems(book.root) == [
        "claim a.twice: shown 2 times, at book/principles/01_one.md:20 and book/principles/02_two.md:15",
        "claim a.never: no chapter shows it"]


def test_the_command_looks_at_the_pages_it_is_given_or_at_all(book, monkeypatch, capsys):
    monkeypatch.setattr(lint, "claims", dict)
    sound, unsound = book.chapter("01_one", "# One\n"), book.chapter("02_two", "# Two\n", cell("%timeit x"))
    assert lint.main([str(sound), str(book.root / "book/intro.md")], book.root) == 0
    assert capsys.readouterr().out == "Chapters: 1, 0 complaints\n"
    assert lint.main([str(unsound)], book.root) == lint.main([], book.root) == 1
    assert "book/principles/02_two.md:15: code cell 1: not plain Python" in capsys.readouterr().out
