"""Results side by side, where a figure would hide the numbers."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

BEFORE_A_NUMBER = "+-−±~<>≤≥ "


def table(rows: Iterable[Sequence[object]], *, columns: Sequence[str]) -> None:
    r"""Show results as a table; where nothing can show one, in lined-up columns of text.

    The first column names the rows; numbers stand to the right, words to the left. Cells are shown as `str` gives them:
    say `f"{x:.2f}"` for the digits that count.

    Shapes: `rows`: one sequence of cells each; `columns`: the heading of each cell.
    Units: belong into the headings. Empty case: without rows the headings alone.
    Errors: ValueError for a row that has not one cell for each heading.
    Source: ours. Every chapter.

    >>> table([("cross-entropy", "0.00"), ("Dice", "0.71")], columns=["loss", "Dice at one half"])
    loss           Dice at one half
    cross-entropy              0.00
    Dice                       0.71
    """
    cells = [[str(cell) for cell in row] for row in rows]
    for number, row in enumerate(cells):
        if len(row) != len(columns):
            raise ValueError(f"expected {len(columns)} cells in each row, one for each of {list(columns)}; "
                             f"row {number} has {len(row)}: {row}")
    shown = Table([str(name) for name in columns], cells)
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        print(shown)
        return
    display(shown) if get_ipython() else print(shown)


class Table:
    """What a notebook shows as HTML, and everything else as text."""

    def __init__(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.columns, self.rows = columns, rows
        self.words = [i == 0 or bool(rows) and not any(_is_number(row[i]) for row in rows)
                      for i in range(len(columns))]

    def __repr__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        return "\n".join("  ".join([cell.ljust(width) if words else cell.rjust(width)
                                    for cell, width, words in zip(line, widths, self.words, strict=True)]).rstrip()
                         for line in lines)

    def _repr_html_(self) -> str:
        def line(cells: Sequence[str], tag: str) -> str:
            marks = [' class="words"' * words for words in self.words]
            return "<tr>" + "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>"
                                    for cell, mark in zip(cells, marks, strict=True)) + "</tr>"
        return (f'<table class="dataframe"><thead>{line(self.columns, "th")}</thead>'
                f'<tbody>{"".join(line(row, "td") for row in self.rows)}</tbody></table>')


def _is_number(cell: str) -> bool:
    return cell.lstrip(BEFORE_A_NUMBER)[:1].isdigit()
