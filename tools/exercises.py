"""Exercises from one source: a stub is what is left of its solution, no later cell leans on one, each has a hint."""
from __future__ import annotations

import ast
import io
import re
import symtable
import tokenize
from collections.abc import Callable, Iterable
from functools import cache

from nbformat import NotebookNode

from chapters import Cell
from myst import Directive, directives

SOLUTION = "solution"  # the tag of a code cell that answers an exercise
STARTER = "starter"  # the tag of one where the student goes on: it runs as it stands, and its check need not pass
YOUR_TURN = 'raise NotImplementedError("your turn")'
_Function = (ast.FunctionDef, ast.AsyncFunctionDef)


# The stub ------------------------------------------------------------------------------------------------------------

def stub(source: str) -> str:
    """What a student starts from: imports, signatures and docstrings, and the check; every body is theirs to write."""
    kept, lines = [], source.splitlines()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            kept.append((False, _text(lines, node)))
        elif isinstance(node, (*_Function, ast.ClassDef)):
            kept.append((True, _hollow(lines, node)))
        elif _is_check(node):
            kept.append((True, _text(lines, node)))
    left = ""
    for i, (apart, text) in enumerate(kept):
        left += ("" if i == 0 else "\n\n\n" if apart or kept[i - 1][0] else "\n") + text
    return left


def checks(source: str) -> list[ast.Call]:
    """The cell's own calls `check(id, answer)`."""
    return [node.value for node in ast.parse(source).body if _is_check(node)]


def check_ids(source: str) -> list[str]:
    """The ids of the cell's checks, as far as they are literal."""
    ids = (call.args[0] for call in checks(source) if call.args)
    return [id.value for id in ids if isinstance(id, ast.Constant) and isinstance(id.value, str)]


def _is_check(node: ast.stmt) -> bool:
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "id", getattr(call.func, "attr", "")) == "check"


def _text(lines: list[str], node: ast.stmt) -> str:
    return "\n".join(lines[_start(node) - 1:node.end_lineno])


def _start(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", ()))])


def _hollow(lines: list[str], node: ast.stmt) -> str:
    """A function or class without what it does."""
    inside = " " * (node.col_offset + 4)
    kept = [_header(lines, node)]
    if ast.get_docstring(node) is not None:
        kept.append(_docstring(lines, node.body[0], inside))
    if isinstance(node, _Function):
        return "\n".join([*kept, inside + YOUR_TURN])
    # of a class also its fields, which say what it holds
    fields = [_text(lines, inner) for inner in node.body if isinstance(inner, ast.AnnAssign)]
    methods = [_hollow(lines, inner) for inner in node.body if isinstance(inner, (*_Function, ast.ClassDef))]
    head = "\n".join([*kept, *fields])
    if not methods:
        return head if len(kept) > 1 or fields else f"{head}\n{inside}..."
    return head + ("\n" if head == kept[0] else "\n\n") + "\n\n".join(methods)


def _docstring(lines: list[str], node: ast.stmt, inside: str) -> str:
    """As written, without the rest of its lines."""
    first, last = node.lineno - 1, node.end_lineno - 1
    text = "\n".join(lines[first:last + 1]).encode()
    before = len("\n".join([*lines[first:last], ""]).encode()) if last > first else 0
    return inside + text[node.col_offset:before + node.end_col_offset].decode()


def _header(lines: list[str], node: ast.stmt) -> str:
    """Decorators and signature, as far as the colon that opens the body."""
    first, depth = _start(node) - 1, 0
    rest = "\n".join(lines[node.lineno - 1:node.end_lineno]) + "\n"
    for token in tokenize.generate_tokens(io.StringIO(rest).readline):
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
            if token.string == ":" and depth == 0:
                row, column = token.end
                break
    signature = rest.splitlines()[:row]
    signature[-1] = signature[-1][:column]
    return "\n".join([*lines[first:node.lineno - 1], *signature])


# Who leans on whom ---------------------------------------------------------------------------------------------------

def leaning(cells: Iterable[Cell]) -> list[tuple[int, int, str]]:
    """Names that a code cell takes from an earlier solution: (its number, the solution's number, the name).

    A student who has not solved an exercise must be able to run every later cell. A name that a later cell gives a new
    meaning is free again; what a solution imports stays in its stub.
    """
    origin: dict[str, int] = {}  # name -> the solution that gave it its present meaning
    found = []
    for number, cell in enumerate((cell for cell in cells if cell.kind == "code"), 1):
        table, bound = symbols(cell.source), bound_names(cell.source)
        found += [(number, origin[name], name) for name in sorted(_used(table) - bound) if name in origin]
        imported = {s.get_name() for s in table.get_symbols() if s.is_imported()}
        for name in bound:
            if SOLUTION in cell.tags and name not in imported:
                origin[name] = number
            else:
                origin.pop(name, None)
    return found


def used_names(source: str) -> set[str]:
    """Names that a cell's code looks up outside itself, in its functions too."""
    return _used(symbols(source))


def bound_names(source: str) -> set[str]:
    """Names that a cell gives a meaning."""
    return {s.get_name() for s in symbols(source).get_symbols() if s.is_assigned() or s.is_imported()}


@cache
def symbols(source: str) -> symtable.SymbolTable:
    """A cell's names, the same on every Python: since 3.12 those of a list's `for` would count as the cell's own."""
    return symtable.symtable(ast.unparse(_Generators().visit(ast.parse(source))), "cell", "exec")


class _Generators(ast.NodeTransformer):
    """Lists, sets and dicts that hold a `for`, as generators, whose names are their own everywhere."""

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(node.elt, node.generators)

    visit_SetComp = visit_ListComp

    def visit_DictComp(self, node: ast.DictComp) -> ast.GeneratorExp:
        self.generic_visit(node)
        return ast.GeneratorExp(ast.Tuple([node.key, node.value], ast.Load()), node.generators)


def _used(table: symtable.SymbolTable) -> set[str]:
    """Names that a cell looks up outside itself, in its functions too."""
    top = table.get_type() == "module"
    own = {s.get_name() for s in table.get_symbols() if s.is_referenced() and (top or s.is_global())}
    return own.union(*(_used(inner) for inner in table.get_children()))


# Who is helped -------------------------------------------------------------------------------------------------------

def hintless(cells: Iterable[Cell]) -> list[tuple[int, str]]:
    """Exercises without a folded hint between them and the next one: (line of the file, label)."""
    found, waits = [], False
    for cell in (cell for cell in cells if cell.kind == "markdown"):
        for block in directives(cell.source):
            if block.name == "exercise":
                found.append((cell.line + block.line - 1, block.label))
                waits = True
            elif waits and _is_hint(block):
                found.pop()
                waits = False
    return found


def _is_hint(block: Directive) -> bool:
    named = block.name == "hint" or block.name == "admonition" and block.argument.startswith("Hint")
    return named and "dropdown" in block.classes


# Solved or not -------------------------------------------------------------------------------------------------------

def unsolved(notebook: NotebookNode) -> list[str]:
    """Checks that did not pass in a notebook that was run: one line of text each, with the code cell's number."""
    complaints = []
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        said = "".join(output.get("text", "") for output in cell.outputs)
        asks = "check" in cell.source and STARTER not in cell.metadata.get("tags", ())
        for id in check_ids(cell.source) if asks else ():
            if not re.search(rf"(?m)^{re.escape(id)}: all \d+ cases passed\.$", said):
                answer = next((line for line in said.splitlines() if line.startswith(id)), "it printed nothing")
                complaints.append(f"code cell {number}: the check {id} did not pass ({answer})")
    return complaints


def unanswered(source: str, says: Callable[[str], str]) -> str:
    """What a stub's checks print."""
    return "".join(says(id) + "\n" for id in check_ids(source))
