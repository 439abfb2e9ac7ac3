"""The claims in a cell's source: which there are, and which of them could pass without their run.

`vacuous` reads the source alone and cannot know all ways to cheat; that each claim has printed its line in its cell's
outputs is seen after the run, by `execute.unshown`, and that it holds in other runs as well, by its study.
"""
from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import reduce

from bindings import Place, after, called, last_name
from conditions import can_fail, is_constant, outcomes
from vocabulary import MODULES, PLAIN

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


def vacuous(source: str, *, before: Place = Place()) -> list[str]:
    r"""Claims in a cell's Python source that could pass without their run, one line of text each; empty when sound.

    A sound claim is a statement of its own that the cell always reaches: at the top, under `with torch...:`, or in a
    function that the cell calls at its top. Its id is a literal. Its condition, and each part of it, takes something
    from the run, and some values of that make it false. An empirical one brings an effect and controls: the effect can
    fall to zero, and each control, no copy of the effect, can pass where the claim holds. `claim`, the functions that
    conditions call, and the libraries keep their names and what these stand for.
    `before`: what the names stand for at the cell's beginning, as `behind` says. Errors: SyntaxError as of Python.
    """
    tree = _parse(source)
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    complaints = [(node.lineno, text) for node, text in _disguises(tree)]
    for call in _claim_calls(tree):
        id, holds = _argument(call, 0, "id"), _argument(call, 1, "holds")
        name = f"claim {id.value}" if _is_text(id) else "a claim"
        place = _place_of(call, parents, tree, before)
        reasons = [*_unreached(call, parents, tree)]
        if not _is_text(id):
            reasons.append("has an id that is not a literal string")
        if source.lstrip().startswith("%%"):
            reasons.append("stands in a cell with a cell magic")
        if holds is None or isinstance(holds, ast.Starred):
            reasons.append("has no condition to be read")
        elif why := _hollow(holds, place):
            reasons.append(why)
        reasons += _without_trial(call, place)
        complaints += [(call.lineno, f"{name} {reason}") for reason in reasons]
    return [f"line {line}: {text}" for line, text in sorted(complaints)]


def behind(source: str, before: Place) -> Place:
    r"""What the names stand for behind a cell. Errors: SyntaxError as of Python."""
    return reduce(lambda place, statement: after(statement, place), _parse(source).body, before)


def _parse(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:                                     # a notebook's magics and shell lines are no Python
        if re.match(r"\s*%%(bash|sh|script|html|javascript|writefile|file)\b", source):
            return ast.parse("")
        return ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source))


def _claim_calls(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and last_name(node.func) == "claim"]


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if len(call.args) > position:
        return call.args[position]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _is_text(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _disguises(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Ways for a name to stand for something else than a reader, and this file, take it for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [(alias.name, alias.asname or alias.name) for alias in node.names]
            if any(name == "claim" != called for name, called in names):
                yield node, "claim is imported under another name"
            if any(called == "claim" and (name != "claim" or (node.module or "").split(".")[0] != "medlearn")
                   for name, called in names):
                yield node, "something else is called claim"
        if name := _given(node):
            yield node, f"something else is called {name}"
        if isinstance(node, ast.Assign) and last_name(node.value) == "claim":
            yield node, "claim is given another name"
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and _root(node) in LIBRARIES:
            yield node, f"changes what {ast.unparse(node)} is"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in REACHES:
            yield node, f"{node.func.id} could change what any name stands for"
        if _is_text(node) and re.match(r"Claim \S* ?(holds|DOES NOT)", node.value):
            yield node, "prints a claim's line by hand"


LIBRARIES = {*MODULES - {"F"}, *PLAIN, "medlearn", "builtins"}  # a table of features is called F as well
REACHES = {"exec", "eval", "globals", "locals", "vars", "setattr", "delattr", "__import__"}


def _given(node: ast.AST) -> str:
    """The name that a node gives to something new, although it stands for something that is known here."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        name = node.name
    elif isinstance(node, ast.arg):
        name = node.arg
    elif isinstance(node, (ast.Name, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        name = last_name(node)
    else:
        return ""
    taken = LIBRARIES if isinstance(node, ast.Name) or hasattr(node, "name") else set()
    return name if name in {"claim", *taken} else ""


def _root(node: ast.expr) -> str:
    """`torch` of `torch.nn.functional(x).shape`."""
    while isinstance(node, (ast.Call, ast.Attribute)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return last_name(node)


_BRANCHES = {ast.If: "an if", ast.For: "a loop", ast.AsyncFor: "a loop", ast.While: "a loop", ast.Match: "a match",
             ast.Try: "a try", ast.TryStar: "a try"}


def _unreached(node: ast.AST, parents: dict[ast.AST, ast.AST], tree: ast.Module) -> Iterator[str]:
    """Why the cell may not reach this call, or may not notice that it raises."""
    if not isinstance(parents[node], ast.Expr):
        yield "is not a statement of its own"
    for above in _ancestors(node, parents):
        if type(above) in _BRANCHES:
            yield f"stands inside {_BRANCHES[type(above)]}"
        elif isinstance(above, ast.With) and any(_root(item.context_expr) != "torch" for item in above.items):
            yield "stands inside a with that is not torch's"
        elif isinstance(above, (ast.AsyncFunctionDef, ast.AsyncWith, ast.Lambda)):
            yield "stands in code that need not run"
        elif isinstance(above, ast.FunctionDef):
            if any(isinstance(inner, (ast.Return, ast.Yield, ast.YieldFrom)) and inner.lineno <= node.lineno
                   or isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(above)):
                yield f"may be left out by {above.name}, which returns or yields"
            if parents[above] is not tree or not _called_at_top(above.name, tree):
                yield f"stands in a function, {above.name}, that the cell does not call at its top"


def _ancestors(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> Iterator[ast.AST]:
    while node in parents:
        node = parents[node]
        yield node


def _called_at_top(name: str, tree: ast.Module) -> tuple[ast.stmt, ast.Call] | None:
    """The first statement at the cell's top that is a call of a function, and the call."""
    for line in tree.body:
        call = line.value if isinstance(line, (ast.Expr, ast.Assign, ast.AnnAssign)) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name:
            return line, call
    return None


def _place_of(call: ast.Call, parents: dict[ast.AST, ast.AST], tree: ast.Module, before: Place) -> Place:
    """What the names stand for where a claim stands."""
    above = [call, *_ancestors(call, parents)]
    function = next((node for node in above if isinstance(node, ast.FunctionDef) and parents[node] is tree), None)
    if function is None:
        return _within(tree.body, above, before)
    if found := _called_at_top(function.name, tree):
        line, use = found
        before = called(function, use, _within(tree.body, [line], before))
    return _within(function.body, above, before)


def _within(body: list[ast.stmt], above: list[ast.AST], place: Place) -> Place:
    """The place before the statement that is, or contains, what is looked for."""
    for statement in body:
        if statement in above:
            return _within(statement.body, above, place) if isinstance(statement, ast.With) else place
        place = after(statement, place)
    return place


def _hollow(holds: ast.expr, place: Place) -> str:
    """Why a condition, or a part of it, cannot fail; or nothing."""
    if is_constant(holds, place):
        return "has a constant condition"
    if not can_fail(holds, place):
        return "has a condition that is true whatever was computed"
    for part in _conjuncts(holds):
        if not can_fail(part, place):
            return f"has a part that is true whatever was computed, {ast.unparse(part)}"
    if any(isinstance(node, ast.IfExp) for node in ast.walk(holds)):
        return "has a condition that chooses between conditions"
    return ""


def _conjuncts(holds: ast.expr) -> list[ast.expr]:
    """The conditions that must all hold, as they are written out."""
    if isinstance(holds, ast.BoolOp) and isinstance(holds.op, ast.And):
        return [part for value in holds.values for part in _conjuncts(value)]
    return [holds]


def _without_trial(call: ast.Call, place: Place) -> Iterator[str]:
    """What an empirical claim lacks, or what of its trial was not measured."""
    id = _argument(call, 0, "id")
    effect, control = (next((k.value for k in call.keywords if k.arg == name), None) for name in ("effect", "control"))
    empirical = _is_text(id) and kinds().get(id.value) == "empirical"
    if empirical and effect is None:
        yield "is empirical and brings no effect"
    if empirical and control is None:
        yield "is empirical and brings no control"
    if effect is not None:
        if any(is_constant(*part) for part in _parts_of(effect, place)):
            yield "has a constant effect"
        elif all(_above_zero(value) for value in outcomes(effect, place)):
            yield "has an effect that is above zero whatever was computed"
    for null, there in _parts_of(control, place) if control is not None else ():
        if any(is_constant(*part) for part in _parts_of(null, there)):
            yield "has a constant control"
        elif effect is not None:
            yield from _without_chance(effect, null, place)


def _without_chance(effect: ast.expr, null: ast.expr, place: Place) -> Iterator[str]:
    both = list(outcomes(ast.Tuple([effect, null], ast.Load()), place, own=False))
    if all(measured == of_null for measured, of_null in both):
        yield "has its effect for a control"
    elif not any(_above_zero(measured) and _above_zero(of_null) for measured, of_null in both):
        yield "has a control that cannot pass where the claim holds"


def _above_zero(value: object) -> bool:
    """As claim() has it: of several numbers all are above zero."""
    if isinstance(value, dict):
        return all(map(_above_zero, value.values()))
    return isinstance(value, (int, float)) and value > 0


def _parts_of(node: ast.expr, place: Place) -> list[tuple[ast.expr, Place]]:
    """The values of a dictionary that is written out, here or where its name was bound; anything else is one value."""
    bound = place.names.get(node.id) if isinstance(node, ast.Name) else None
    if bound and isinstance(bound.value, ast.Dict) and bound.place.changes == place.changes:
        node, place = bound.value, bound.place
    return [(value, place) for value in node.values] if isinstance(node, ast.Dict) else [(node, place)]
