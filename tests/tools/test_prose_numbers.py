"""What looks like a run's number is found in prose; what is quoted, exact, published or no prose is left alone."""
import notebooks
import pytest
from execute import main
from helpers.tiny_book import SHOWS_ALL_CLAIMS
from prose_numbers import measured


@pytest.mark.parametrize("text, found", [
    ("Dice rises to 0.62 here.", ["0.62"]),
    ("In 80 % of the cases, or 12.5%.", ["80 %", "12.5%"]),
    ("It finds 7 of 9 lesions, and 3 of the 4 large ones.", ["7 of 9", "3 of the 4"]),
    (":::{note}\nDice is 0.5 here.\n:::", ["0.5"]),
    ("- one\n- 0.25 of it", ["0.25"]),
    ("An image of 64 x 64 voxels, 30 patients, chapter 7.", []),
    ("It is $p = 0.2$ there, $$q = 0.8$$ and `x = 0.3`.", []),
    ("Theirs was 0.77 {cite:p}`isensee2021nnunet`.", []),
    ("Theirs was 0.77 {cite:p}`isensee2021nnunet`. Ours is 0.78.", ["0.78"]),
    ("A prevalence of {exact}`0.1 %` and Dice {study}`a.b .2f`.", []),
    ("```python\nx = 0.5\n```", []),
    ("[version 2](https://example.org/v1.25/a%20b)", []),
])
def test_measured_numbers(text, found):
    assert [number for _, number in measured(text)] == found


def test_the_line_is_named():
    assert list(measured("One.\n\nTwo is\n0.5 here.\n", line=10)) == [(13, "0.5")]


def test_a_chapter_with_such_a_number_is_named(book, capsys):
    book.chapter("01_one", "# One\n\nDice is 0.62 here, exactly {exact}`0.5`.\n", SHOWS_ALL_CLAIMS)
    assert main(book.root) == 0
    assert notebooks.main(["--check"], book.root) == 1
    assert capsys.readouterr().err.startswith("book/principles/01_one.md:14: 0.62 in prose: quote it from the study")


def test_a_number_that_no_study_has_is_named(book, capsys):
    book.chapter("01_one", "# One\n\nDice is {study}`one.dice .2f`.\n", SHOWS_ALL_CLAIMS)
    assert main(book.root) == 0
    assert notebooks.main(["--check"], book.root) == 1
    assert "01_one.md:14: no study has the number 'one.dice'" in capsys.readouterr().err
