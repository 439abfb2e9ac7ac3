"""A name that a cell takes from another one stands for one thing in the whole chapter.

Whoever reads it there need not know which of two cells ran last. A name that lives in its own cell is free, and so is
a solution's, from which no cell takes anything.
"""
from __future__ import annotations

import ast
from collections.abc import Iterable

from chapters import Cell
from exercises import SOLUTION, bound_names, used_names


def rebound(cells: Iterable[Cell]) -> list[tuple[int, int, str]]:
    """Names with two meanings of which a cell takes one: (the second cell that binds it, the first one, the name)."""
    code = [cell for cell in cells if cell.kind == "code"]
    binds: dict[str, list[int]] = {}
    for number, cell in enumerate(code, 1):
        for name in bound(cell.source) if SOLUTION not in cell.tags else ():
            binds.setdefault(name, []).append(number)
    taken = {name for cell in code for name in used_names(cell.source) - bound_names(cell.source)}
    return [(places[1], places[0], name) for name, places in binds.items() if len(places) > 1 and name in taken]


def bound(source: str) -> set[str]:
    """What a cell gives a meaning: `found += [...]` leaves a name its own, and imports are not asked about."""
    kept = [node for node in ast.parse(source).body
            if not isinstance(node, (ast.Import, ast.ImportFrom, ast.AugAssign))]
    return bound_names(ast.unparse(ast.Module(kept, type_ignores=[])))
