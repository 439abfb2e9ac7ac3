"""Tables of results: HTML in a notebook, columns of text elsewhere, nothing of a cell taken for markup."""
import pytest

from medlearn import viz
from medlearn.viz.tables import Table


def test_text_lines_up_and_html_is_escaped():
    shown = Table(["loss", "Dice"], [["a < b", "0.50"], ["CE", "0.123"]])
    assert repr(shown).splitlines() == ["loss    Dice", "a < b   0.50", "CE     0.123"]
    html = shown._repr_html_()
    assert "a &lt; b" in html and html.count("<tr>") == 3
    assert html.count("<td>") == html.count("<td class=\"words\">") == 2


def test_words_stand_to_the_left_and_numbers_to_the_right():
    rows = [["a", "HD95 at most 5 mm", "none"], ["b", "Dice", "-0.5"]]
    shown = Table(["line", "what is measured", "value"], rows)
    assert shown.words == [True, True, False]
    assert repr(shown).splitlines()[1:] == ["a     HD95 at most 5 mm   none", "b     Dice                -0.5"]
    assert Table(["n", "x"], []).words == [True, False]


def test_without_a_notebook_it_is_printed(capsys):
    viz.table([(1, 2.5)], columns=["n", "x"])
    assert capsys.readouterr().out == "n    x\n1  2.5\n"
    viz.table([], columns=["n", "x"])
    assert capsys.readouterr().out == "n  x\n"


def test_a_row_that_lacks_a_cell_is_named():
    with pytest.raises(ValueError,
                       match=r"expected 2 cells in each row, one for each of \['n', 'x'\]; row 1 has 1: \['3'\]"):
        viz.table([(1, 2), (3,)], columns=["n", "x"])
