"""The book's claims: what it states, and the trials that show it.

`claims.toml` holds each statement under its id and its kind: exact (an identity, a count) or empirical (a measurement).
A chapter shows one with `claim(id, condition)`; an empirical one brings its measured effect and a control that must fail.
`claims_in` finds these calls in a cell's source, and `vacuous` finds those that could pass without their run.
"""
from __future__ import annotations

import ast
import builtins
import json
import math
import os
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

__all__ = ["ClaimError", "call_in", "claim", "claims", "claims_in", "kinds", "record", "vacuous"]

KINDS = ("exact", "empirical")
LOG = "MEDLEARN_CLAIMS_LOG"  # environment: the file to which claims and records are appended, one JSON object a line
MARK = "MEDLEARN_MARK_CLAIMS"  # environment: a claim that does not hold is printed as such, and the run goes on


class ClaimError(AssertionError):
    """A claim of the book does not hold, or its control passes as well."""


def claims() -> dict[str, str]:
    r"""All claims: id to sentence, in the book's order."""
    return {id: sentence for id, (_, sentence) in _read().items()}


def kinds() -> dict[str, str]:
    r"""All claims: id to kind, "exact" or "empirical", in the book's order."""
    return {id: kind for id, (kind, _) in _read().items()}


def claim(id: str, holds: object, *, effect: object = None, control: Mapping[str, object] | None = None) -> None:
    r"""Show that a claim holds: prints one fixed line, `Claim <id> holds: <sentence>`.

    `holds`: one truth value, a bool or a boolean array or tensor of one element. Nothing is taken for its truthiness,
    since any non-empty thing would pass.
    `effect`: by how much it holds, a number or several as {name: number}. Each is the distance from its bar, in the unit
    of the sentence: the claim holds exactly where all are above zero.
    `control`: {what must fail: the same numbers, measured there}, such as {"attention taken out": -0.02}. A control
    whose numbers are all above zero passes too, and the sentence then names the wrong reason.
    A claim of kind exact needs neither; an empirical one needs both.
    Errors: ClaimError where it does not hold or a control passes; ValueError for an unknown id, for an empirical claim
    without effect or control, for an effect that contradicts `holds`, and for numbers that are not finite; TypeError
    for what is not a truth value or not a number. With MEDLEARN_MARK_CLAIMS=1 in the environment, as when the book is
    built, a claim that does not hold is printed with its numbers instead of raised.
    Example: `claim("transunet.best-of-both", margin > 0, effect=margin, control={"attention taken out": without})`
    Chapter: all.
    """
    kind, sentence = _known(id)
    true = _truth(id, holds)
    measured = _numbers(id, "effect", effect)
    nulls = {name: _numbers(id, f"control {name!r}", values) for name, values in (control or {}).items()}
    if kind == "empirical" and not (measured and nulls):
        raise ValueError(f"claim {id}: expected effect= and control=, since it is empirical; got {_named(effect=measured, control=nulls)}")
    if measured and true != _above_zero(measured):
        raise ValueError(f"claim {id}: expected an effect above zero exactly where the claim holds, got {holds} and {_listed(measured)}")
    for name, values in nulls.items():
        if values.keys() != measured.keys():
            raise ValueError(f"claim {id}: expected the control {name!r} to measure what the effect does, "
                             f"{_parts(measured)}, got {_parts(values)}")
    passes = [name for name, values in nulls.items() if _above_zero(values)]
    _log({"claim": id, "holds": true, "effect": measured, "control": nulls, "passes": passes})
    if true and not passes:
        print(f"Claim {id} holds: {sentence}")
        return
    why = f"its control passes as well, {', '.join(passes)}" if true else f"does not hold: {sentence}"
    if os.environ.get(MARK):
        print(f"Claim {id} DOES NOT HOLD HERE: {sentence}")
        print("\n".join(_evidence(measured, nulls, passes)))
        return
    raise ClaimError(f"claim {id}: {why}" if true else f"claim {id} {why}")


def record(name: str, value: object) -> None:
    r"""Keep a number of this run for the chapter's study, from which the page quotes it: {study}`name`.

    `name`: the chapter's prefix and what it is, `imbalance.recall-ce`. `value`: one finite number. Prints nothing; outside
    a study it does nothing else. Errors: ValueError for a name without a dot or a number that is not finite; TypeError
    for what is no number. Chapter: all.
    """
    if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", name):
        raise ValueError(f"record name: expected `chapter.what-it-is` in lower case, got {name!r}")
    _log({"record": name, "value": _number(f"record {name}", value)})


@cache
def _read() -> dict[str, tuple[str, str]]:
    tables = tomllib.loads(files("medlearn").joinpath("claims.toml").read_text(encoding="utf-8"))
    # TOML reads the key `tasks.simplex.exact` as exact within simplex within tasks
    return {f"{chapter}.{name}": next(iter(row.items())) for chapter, rows in tables.items() for name, row in rows.items()}


def _known(id: str) -> tuple[str, str]:
    known = _read()
    if id not in known:
        near = get_close_matches(str(id), known, n=3, cutoff=0.4) or list(known)
        raise ValueError(f"claim id: expected one of claims.toml, got {id!r}. Near it: {', '.join(near)}")
    return known[id]


def _truth(id: str, holds: object) -> bool:
    if isinstance(holds, bool):
        return holds
    # asked by dtype's name, so that this file needs neither NumPy nor PyTorch
    if str(getattr(holds, "dtype", None)) in ("bool", "torch.bool"):
        values = holds.reshape(-1).tolist()
        if len(values) == 1:
            return values[0]
    raise TypeError(f"claim {id}: expected one truth value (bool, or one boolean element), got {_described(holds)}")


def _numbers(id: str, what: str, values: object) -> dict[str, float]:
    """One number or several, by name; empty for None."""
    if values is None:
        return {}
    several = values if isinstance(values, Mapping) else {"": values}
    return {name: _number(f"claim {id}: {what}" + (f" {name!r}" if name else ""), value) for name, value in several.items()}


def _number(what: str, value: object) -> float:
    single = value.item() if getattr(value, "shape", None) is not None and math.prod(value.shape) == 1 else value
    if isinstance(single, bool) or not isinstance(single, (int, float)):
        raise TypeError(f"{what}: expected one number, got {_described(value)}")
    if not math.isfinite(single):
        raise ValueError(f"{what}: expected a finite number, got {single}")
    return float(single)


def _described(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of {value.dtype}, shape {tuple(shape)}"


def _above_zero(values: Mapping[str, float]) -> bool:
    return all(value > 0 for value in values.values())


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:+.3g}".strip() for name, value in values.items())


def _parts(values: Mapping[str, float]) -> str:
    return ", ".join(name or "one number" for name in values) or "nothing"


def _named(**given: Mapping) -> str:
    return " and ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name, value in given.items() if value) or "neither"


def _evidence(measured: Mapping[str, float], nulls: Mapping[str, Mapping[str, float]], passes: list[str]) -> Iterator[str]:
    """What stands under a claim that does not hold: effect, controls, machine."""
    import torch

    if measured:
        yield f"  effect: {_listed(measured)}"
    for name, values in nulls.items():
        yield f"  control, {name}: {_listed(values)}" + (" (passes, and must not)" if name in passes else "")
    yield f"  machine: {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def _log(line: dict) -> None:
    if path := os.environ.get(LOG):
        with open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


# ---------------------------------------------------------------------------------------------------------------------
# Claims in a cell's source

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
