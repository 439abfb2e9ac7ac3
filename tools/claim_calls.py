"""The claims in a cell's source: which there are, and which of them could pass without their run.

`vacuous` reads the source alone and cannot know all ways to cheat; that each claim has printed its line in its cell's
outputs is seen after the run, by `execute.unshown`.
"""
from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator

from medlearn.claims import kinds


def claims_in(source: str) -> list[tuple[str, int]]:
    r"""The claims shown in a cell's Python source: (id, line) in order, lines counted from 1.

    Calls whose id is no literal are left out here and named by `vacuous`. Errors: SyntaxError as of Python.
    """
    found = [(_argument(call, 0, "id"), call.lineno) for call in _claim_calls(_parse(source))]
    return sorted(((id.value, line) for id, line in found if _is_text(id)), key=lambda item: item[1])


def call_in(source: str, id: str) -> str:
    r"""The call that shows a claim, as a cell's Python source has it; empty where there is none.

    Errors: SyntaxError as of Python.
    """
    found = (call for call in _claim_calls(_parse(source)) if getattr(_argument(call, 0, "id"), "value", None) == id)
    return next((ast.get_source_segment(source, call) or "" for call in found), "")


def vacuous(source: str) -> list[str]:
    r"""Claims in a cell's Python source that could pass without their run, one line of text each; empty when sound.

    A sound claim is a statement of its own that the cell always reaches: at the top, under `with torch...:`, or in a
    function that the cell calls at its top. Its id is a literal; its condition uses something that was computed, and is
    true neither by its form (`x == x`, `x or True`) nor by a constant. An empirical one brings an effect and controls,
    each computed, no control the effect itself. Errors: SyntaxError as of Python.
    """
    tree = _parse(source)
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    constants = _constants(tree)
    complaints = [(node.lineno, text) for node, text in _disguises(tree)]
    for call in _claim_calls(tree):
        id, holds = _argument(call, 0, "id"), _argument(call, 1, "holds")
        name = f"claim {id.value}" if _is_text(id) else "a claim"
        reasons = [*_unreached(call, parents, tree)]
        if not _is_text(id):
            reasons.append("has an id that is not a literal string")
        if source.lstrip().startswith("%%"):
            reasons.append("stands in a cell with a cell magic")
        if holds is None or isinstance(holds, ast.Starred):
            reasons.append("has no condition to be read")
        elif why := _hollow(holds, constants):
            reasons.append(why)
        reasons += _without_trial(call, constants)
        complaints += [(call.lineno, f"{name} {reason}") for reason in reasons]
    return [f"line {line}: {text}" for line, text in sorted(complaints)]


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:                                     # a notebook's magics and shell lines are no Python
        if re.match(r"\s*%%(bash|sh|script|html|javascript|writefile|file)\b", source):
            return ast.parse("")
        return ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source))


def _claim_calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _last_name(node.func) == "claim"]


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _disguises(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Ways for something else to be called `claim`, or for claim to be called something else."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [(alias.name, alias.asname or alias.name) for alias in node.names]
            if any(name == "claim" != called for name, called in names):
                yield node, "claim is imported under another name"
            if any(called == "claim" and (name != "claim" or (node.module or "").split(".")[0] != "medlearn")
                   for name, called in names):
                yield node, "something else is called claim"
        redefines = (isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and node.name == "claim"
                     or isinstance(node, (ast.Name, ast.Attribute)) and _last_name(node) == "claim"
                     and not isinstance(node.ctx, ast.Load) or isinstance(node, ast.arg) and node.arg == "claim")
        if redefines:
            yield node, "something else is called claim"
        if isinstance(node, ast.Assign) and _last_name(node.value) == "claim":
            yield node, "claim is given another name"


_BRANCHES = {ast.If: "an if", ast.For: "a loop", ast.AsyncFor: "a loop", ast.While: "a loop", ast.Match: "a match",
             ast.Try: "a try", ast.TryStar: "a try"}


def _unreached(node: ast.AST, parents: dict[ast.AST, ast.AST], tree: ast.Module) -> Iterator[str]:
    """Why the cell may not reach this call, or may not notice that it raises."""
    if not isinstance(parents[node], ast.Expr):
        yield "is not a statement of its own"
    for above in _ancestors(node, parents):
        if type(above) in _BRANCHES:
            yield f"stands inside {_BRANCHES[type(above)]}"
        elif isinstance(above, ast.With) and not all(_is_torch(item.context_expr) for item in above.items):
            yield "stands inside a with that is not torch's"
        elif isinstance(above, (ast.AsyncFunctionDef, ast.AsyncWith, ast.Lambda)):
            yield "stands in code that need not run"
        elif isinstance(above, ast.FunctionDef):
            if any(isinstance(inner, (ast.Return, ast.Yield, ast.YieldFrom)) and inner.lineno <= node.lineno
                   or isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(above)):
                yield f"may be left out by {above.name}, which returns or yields"
            if not isinstance(parents[above], ast.Module) or not _called_at_top(above.name, tree):
                yield f"stands in a function, {above.name}, that the cell does not call at its top"


def _ancestors(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _is_torch(node: ast.expr) -> bool:
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return isinstance(node, ast.Name) and node.id == "torch"


def _called_at_top(name: str, tree: ast.Module) -> bool:
    statements = (line.value for line in tree.body if isinstance(line, (ast.Expr, ast.Assign, ast.AnnAssign)))
    return any(isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == name
               for value in statements)


def _constants(tree: ast.Module) -> set[str]:
    """Names that the cell binds once, to a constant."""
    stores = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    known: set[str] = set()
    for line in tree.body:
        if isinstance(line, ast.Assign) and all(isinstance(target, ast.Name) for target in line.targets):
            if _is_constant(line.value, known) and not _makes_container(line.value):
                known |= {target.id for target in line.targets if stores.count(target.id) == 1}
    return known


def _makes_container(node: ast.AST) -> bool:
    """A container can be filled later, so it is not constant although its first content is."""
    return any(isinstance(inner, (ast.List, ast.Dict, ast.Set, ast.Call, ast.ListComp)) for inner in ast.walk(node))


def _is_constant(node: ast.AST, constants: set[str]) -> bool:
    """Nothing that was computed goes into it: every name is a builtin, a constant, or bound within."""
    names = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name)]
    own = {inner.id for inner in names if not isinstance(inner.ctx, ast.Load)}
    own |= {inner.arg for inner in ast.walk(node) if isinstance(inner, ast.arg)}
    return all(name.id in own or name.id in constants or hasattr(builtins, name.id) for name in names)


def _hollow(holds: ast.expr, constants: set[str]) -> str:
    """Why a condition cannot fail, or nothing."""
    if _is_constant(holds, constants):
        return "has a constant condition"
    for node in ast.walk(holds):
        if isinstance(node, ast.BoolOp) and any(_is_constant(value, constants) for value in node.values):
            return "has a condition with a constant part"
        if isinstance(node, ast.IfExp):
            return "has a condition that chooses between conditions"
        if isinstance(node, ast.Compare) and ast.dump(node.left) in map(ast.dump, node.comparators):
            return "compares a thing with itself"
        if (isinstance(node, ast.Call) and _last_name(node.func) in _EQUALITIES and len(node.args) >= 2
                and ast.dump(node.args[0]) == ast.dump(node.args[1])):
            return "compares a thing with itself"
    return ""


def _without_trial(call: ast.Call, constants: set[str]) -> Iterator[str]:
    """What an empirical claim lacks, or what of its trial was not measured."""
    id = _argument(call, 0, "id")
    effect, control = (next((k.value for k in call.keywords if k.arg == name), None) for name in ("effect", "control"))
    empirical = _is_text(id) and kinds().get(id.value) == "empirical"
    if empirical and effect is None:
        yield "is empirical and brings no effect"
    if empirical and control is None:
        yield "is empirical and brings no control"
    if effect is not None and any(_is_constant(part, constants) for part in _parts_of(effect)):
        yield "has a constant effect"
    if control is not None:
        parts = _parts_of(control)
        if any(_is_constant(part, constants) for null in parts for part in _parts_of(null)):
            yield "has a constant control"
        if effect is not None and any(ast.dump(null) == ast.dump(effect) for null in parts):
            yield "has its effect for a control"


def _parts_of(node: ast.expr) -> list[ast.expr]:
    """The values of a dictionary that is written out; anything else is one value."""
    return node.values if isinstance(node, ast.Dict) else [node]


_EQUALITIES = {"equal", "allclose", "isclose", "array_equal", "eq"}
