"""What the names of a chapter stand for at a place in it: the expression that each was last bound to."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from vocabulary import HARMLESS, MODULES


@dataclass(frozen=True)
class Bound:
    """What a name was bound to, if it can be read, and where."""
    number: object
    value: ast.expr | ast.FunctionDef | None = None
    place: Place | None = None


@dataclass(frozen=True)
class Place:
    """A place in a chapter: what each name stands for there, and how often something may have changed before."""
    names: dict[str, Bound] = field(default_factory=dict)
    changes: int = 0


SERIAL = count()


def after(statement: ast.stmt, place: Place) -> Place:
    """The place behind a statement."""
    changes = place.changes + _may_change(statement)
    if isinstance(statement, ast.With):
        opened = {name for item in statement.items for node in ast.walk(item) for name in stored(node)}
        place = Place(place.names | {name: Bound(next(SERIAL)) for name in opened}, place.changes)
        for inner in statement.body:
            place = after(inner, place)
        return Place(place.names, changes)
    names = dict(place.names)
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        read = statement if isinstance(statement, ast.FunctionDef) else None
        names[statement.name] = Bound(next(SERIAL), read, place)
        bound = {name for node in ast.walk(statement) if isinstance(node, ast.Global) for name in node.names}
    else:
        bound = {name for node in ast.walk(statement) for name in stored(node)}
    for name in bound:
        names[name] = Bound(next(SERIAL), _always(name, statement, place), place)
    for name, value in _assignments(statement):
        names[name] = Bound(next(SERIAL), value, place)
    return Place(names, changes)


def _always(name: str, statement: ast.stmt, place: Place) -> ast.Constant | None:
    """The one constant that a name holds behind a loop or a branch, whichever way that went."""
    stores = sum(name in stored(node) for node in ast.walk(statement))
    values = [value for node in ast.walk(statement) for target, value in _assignments(node) if target == name]
    if name in place.names:
        values.append(place.names[name].value)
        stores += 1
    same = len(values) == stores and all(isinstance(value, ast.Constant) for value in values)
    return values[0] if same and len({ast.dump(value) for value in values}) == 1 else None


def called(function: ast.FunctionDef | ast.Lambda, call: ast.Call, place: Place) -> Place:
    """The place where a function's body begins, its parameters bound to a call's arguments."""
    names, spec = dict(place.names), function.args
    parameters = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    names |= {node.arg: Bound(next(SERIAL)) for node in ast.walk(spec) if isinstance(node, ast.arg)}
    given = dict(zip((parameter.arg for parameter in parameters), call.args))
    given |= {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg}
    if not any(isinstance(argument, ast.Starred) for argument in call.args):
        names |= {name: Bound(next(SERIAL), value, place) for name, value in given.items() if name in names}
    return Place(names, place.changes)


def stored(node: ast.AST) -> Iterator[str]:
    """The names that a node itself binds."""
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        yield node.id
    elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        names = ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        yield from (name for name in names if name not in MODULES)
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name


def _assignments(statement: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names that a statement binds, each with the expression that it stands for from there on."""
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value:
        targets, value = [statement.target], statement.value
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.NamedExpr):
        targets, value = [statement.value.target], statement.value.value
    else:
        return
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id, value
        elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            yield from ((one.id, part) for one, part in zip(target.elts, value.elts) if isinstance(one, ast.Name))


def _may_change(statement: ast.stmt) -> bool:
    """Whether what a name holds may be another thing after the statement, although the name was not bound anew."""
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return False
    return any(isinstance(node, (ast.AugAssign, ast.For, ast.While))
               or isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load)
               or isinstance(node, ast.Call) and last_name(node.func) not in HARMLESS for node in ast.walk(statement))


def last_name(node: ast.AST) -> str:
    """`equal` of `torch.equal`."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
