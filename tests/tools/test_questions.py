"""A teacher's questions come from the chapters, and no answer stands on the page of questions."""
import nbformat
import pytest
from chapters import ROOT, chapters
from helpers.tiny_book import SHOWS_ALL_CLAIMS, Book
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebooks import path_of
from questions import Question, as_pages, bank, main, questions

TEXT = """# One

> **Predict**
>
> Which is it?
>
> - the first
> - the second

<details>
<summary>The answer</summary>

The second, as
you see.

</details>

<details>
<summary>Hint</summary>

Not an answer.

</details>

## Three questions

**1. Why?**

<details>
<summary>Answer</summary>

Because $x$.

</details>

**2. What
for?**

<details>
<summary>Answer</summary>

Nothing.

</details>

> **Predict**
>
> Without an answer?
"""
FOUND = [Question("One", "predict", "Which is it?\n\n- the first\n- the second", "The second, as\nyou see."),
         Question("One", "at the end", "Why?", "Because $x$."), Question("One", "at the end", "What\nfor?", "Nothing.")]


def test_predictions_and_questions_are_found_in_order():
    assert list(questions(TEXT, "One")) == FOUND


def test_answers_stand_apart_under_the_same_numbers():
    asked, answered = as_pages(FOUND)
    assert all(one.question in asked and one.answer in answered for one in FOUND)
    assert not any(one.answer in asked for one in FOUND)
    for number in (1, 2, 3):
        assert f"**{number}** " in asked and f"**{number}** " in answered


def test_the_files_are_written_for_every_chapter(tmp_path, capsys):
    book = Book(tmp_path / "book")
    path = path_of(book.chapter("01_one", "# One\n", SHOWS_ALL_CLAIMS))
    nbformat.write(new_notebook(cells=[new_markdown_cell(TEXT), new_code_cell("1")]), path)
    assert main([str(tmp_path / "out")], book.root) == 0 and "Questions: 3" in capsys.readouterr().out
    assert "## One" in (tmp_path / "out/questions.md").read_text()
    assert "Because" in (tmp_path / "out/answers.md").read_text()
    assert main([]) == 2


@pytest.mark.parametrize("chapter", [path for path in chapters(ROOT) if "solution" not in path.stem],
                         ids=lambda path: path.stem)
def test_every_chapter_has_questions_with_answers(chapter):
    text = "\n\n".join(cell.source
                       for cell in nbformat.read(path_of(chapter), as_version=4).cells if cell.cell_type == "markdown")
    found = list(questions(text, chapter.stem))
    assert sum(one.kind == "at the end" for one in found) >= 3, found


def test_the_book_has_a_bank():
    found = bank()
    assert len(found) == len({one.question for one in found}) and len(found) > 60
