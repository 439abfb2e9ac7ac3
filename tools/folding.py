"""Which code of a chapter stands open on its page, and which is folded under a button that says what it is.

Open stays what carries an idea. A tag decides: `setup`, `plot`, `repeat` and `condition` fold a cell, `open` keeps it
open. Without one, two kinds fold by themselves, where nothing but machinery is lost from view: cells of imports and
settings, and cells that draw a picture or set a table, say nothing else, and leave nothing that a later cell uses.
Notebooks hide nothing.
"""
from __future__ import annotations

import ast
from collections.abc import Sequence

from chapters import Cell
from exercises import SOLUTION, bound_names, used_names

NAMES = {"setup": "Set-up", "plot": "The code of this figure", "table": "The code of this table",
         "repeat": "The same again", "condition": "What was checked"}
SHOWN_FIRST = ("plot", "table")  # what they made stands above their button
OPEN = "open"  # the tag of a cell that stays open
FOLD_TAGS = (*NAMES, OPEN)
SETTINGS = {"viz.use_style", "use_style", "medlearn.device", "torch.manual_seed", "plt.close"}
SAYS = {"print", "claim", "check", "display", "record"}
DRAWS = {"plt", "viz"}
TABLE = "viz.table"
FEWEST = 3  # lines that are worth a button


def fold_of(cells: Sequence[Cell], index: int) -> str:
    """The kind under which a chapter's code cell folds on its page; "" where it stands open."""
    cell = cells[index]
    told = [tag for tag in cell.tags if tag in FOLD_TAGS]
    if told or SOLUTION in cell.tags:
        return told[0] if told and told[0] in NAMES else ""
    tree = ast.parse(cell.source)
    if lines(cell.source) < FEWEST:
        return ""
    if all(_is_setting(node) for node in tree.body):
        return "setup"
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    if called & SAYS or needed(cell.source, cells[index + 1:]):
        return ""
    if any(name.partition(".")[0] in DRAWS for name in called - {TABLE}):
        return "plot"
    return "table" if TABLE in called else ""


def title(kind: str, source: str) -> str:
    """What the button of a fold says: `Set-up, 12 lines`."""
    count = lines(source)
    return f"{NAMES[kind]}, {count} line{'s' * (count > 1)}"


def lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def _is_setting(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    value = node.value if isinstance(node, (ast.Assign, ast.Expr)) else None
    return isinstance(value, ast.Call) and ast.unparse(value.func) in SETTINGS


def needed(source: str, later: Sequence[Cell]) -> bool:
    """Whether a later cell uses a name that this one gave its meaning."""
    live = bound_names(source)
    for cell in later:
        if cell.kind == "code":
            bound = bound_names(cell.source)
            if live & used_names(cell.source) - bound:
                return True
            live -= bound
    return False
