"""Whether a condition can fail: it is read as a formula, and many values are put to all that it takes from a run.

Each name stands for what the chapter last bound it to. What cannot be read here (a call of the package, an attribute,
an element) is a number of its own, the same wherever the same is asked of the same things. A tensor is one number,
too. A condition that no values make false is true by its form, whatever was computed.
"""
from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from random import Random

from bindings import SERIAL, Bound, Place, after, called, last_name, stored
from vocabulary import KINDS, KNOWN, MODULES, NOT_NEGATIVE, OPERATORS, PLAIN, SAME

DRAWS = 300  # of values at random, after each value was put to everything at once
USUAL = (0, 1, -1, 2, 0.5, -0.5, 1e-9, -1e-9, 3, 7, 1e6, -1e6)
LONGEST = 64  # of a row that is read element by element
FRESH = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)  # what can be filled later


def outcomes(node: ast.expr, place: Place, *, own: bool = True) -> Iterator[object]:
    """The expression's value under each draw; without `own` the chapter's own functions are not looked into."""
    pool = [*USUAL, *_literals(node, place)] if own else list(USUAL)
    return (Draw(number, pool, own).read(node, place) for number in range(len(pool) + DRAWS))


def is_constant(node: ast.expr, place: Place) -> bool:
    """Whether nothing goes into an expression that a run computes."""
    draw = Draw(0, [1])
    draw.read(node, place)
    return not draw.asked


def can_fail(condition: ast.expr, place: Place) -> bool:
    """Whether some values make a condition false."""
    return any(not value for value in outcomes(condition, place))


def _literals(node: ast.AST, place: Place, seen: set[object] = frozenset()) -> list[float]:
    """The numbers that an expression names, and those a little beside them: there conditions turn."""
    found: list[float] = []
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and type(inner.value) in (int, float):
            found += [inner.value, -inner.value, inner.value - 1, inner.value + 1]
        bound = place.names.get(inner.id) if isinstance(inner, ast.Name) else None
        if bound and bound.value is not None and bound.number not in seen:
            seen = seen | {bound.number}
            found += _literals(bound.value, bound.place, seen)
    return found


class Draw:
    """One choice of values for all that a run computes."""

    def __init__(self, number: int, pool: list[float], own: bool = True):
        self.number, self.pool, self.own, self.asked = number, pool, own, False
        self.kept: dict[tuple, object] = {}

    def read(self, node: ast.AST, place: Place) -> object:
        """An expression's value; a number of its own where it cannot be read."""
        read = getattr(self, f"_{type(node).__name__}", None)
        try:
            if read:
                return read(node, place)
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
            pass
        return self._of_its_own(ast.dump(node), place.changes)

    def _of_its_own(self, *key: object) -> object:
        self.asked = True
        if self.number < len(self.pool):
            return self.pool[self.number]
        return Random(f"{self.number} {key!r}").choice(self.pool)

    def _Constant(self, node: ast.Constant, place: Place) -> object:
        return node.value

    def _Name(self, node: ast.Name, place: Place) -> object:
        bound = place.names.get(node.id)
        if bound is None:
            return self._of_its_own(node.id, place.changes)
        value, there = bound.value, bound.place
        if isinstance(value, ast.Name):                     # the same thing under another name, changed with it
            return self.read(value, Place(there.names, place.changes))
        moved = there is not None and there.changes != place.changes
        unread = (value is None or isinstance(value, (ast.FunctionDef, ast.Lambda))
                  or isinstance(value, ast.Call) and not self._is_known(value, there)
                  or moved and (isinstance(value, FRESH) or isinstance(value, ast.Call) and _makes(value)))
        if unread:
            return self._of_its_own(bound.number, place.changes)
        if bound.number not in self.kept:
            self.kept[bound.number] = self.read(value, there)
        return self.kept[bound.number]

    def _NamedExpr(self, node: ast.NamedExpr, place: Place) -> object:
        return self.read(node.value, place)

    def _UnaryOp(self, node: ast.UnaryOp, place: Place) -> object:
        return OPERATORS[type(node.op)](self.read(node.operand, place))

    def _BinOp(self, node: ast.BinOp, place: Place) -> object:
        left, right = self.read(node.left, place), self.read(node.right, place)
        if isinstance(node.op, ast.Mult) and not all(isinstance(side, (int, float)) for side in (left, right)):
            raise TypeError
        return OPERATORS[type(node.op)](left, right)

    def _BoolOp(self, node: ast.BoolOp, place: Place) -> object:
        for part in node.values:
            value = self.read(part, place)
            if bool(value) == isinstance(node.op, ast.Or):
                break
        return value

    def _Compare(self, node: ast.Compare, place: Place) -> bool:
        values = [self.read(part, place) for part in (node.left, *node.comparators)]
        return all(self._holds(op, a, b) for op, a, b in zip(node.ops, values, values[1:]))

    def _holds(self, op: ast.cmpop, a: object, b: object) -> bool:
        numbers = isinstance(a, (int, float)), isinstance(b, (int, float))
        if isinstance(op, (ast.Eq, ast.NotEq)) and any(numbers) and not all(numbers):
            same = self._of_its_own("same", a, b) > 0       # a number stands for a shape or a name, too
            return same == isinstance(op, ast.Eq)
        return OPERATORS[type(op)](a, b)

    def _IfExp(self, node: ast.IfExp, place: Place) -> object:
        return self.read(node.body if self.read(node.test, place) else node.orelse, place)

    def _List(self, node: ast.List | ast.Tuple | ast.Set, place: Place) -> list:
        return [self.read(part, place) for part in node.elts]

    def _Tuple(self, node: ast.Tuple, place: Place) -> tuple:
        return tuple(self._List(node, place))

    _Set = _List

    def _Dict(self, node: ast.Dict, place: Place) -> dict:
        return {self.read(key, place): self.read(value, place) for key, value in zip(node.keys, node.values)}

    def _ListComp(self, node: ast.ListComp, place: Place) -> list:
        return [self.read(node.elt, inner) for inner in self._turns(node.generators, place)]

    _GeneratorExp = _SetComp = _ListComp

    def _DictComp(self, node: ast.DictComp, place: Place) -> dict:
        turns = self._turns(node.generators, place)
        return {self.read(node.key, inner): self.read(node.value, inner) for inner in turns}

    def _turns(self, loops: list[ast.comprehension], place: Place) -> Iterator[Place]:
        """The place of each turn: one for each element of a row that can be read, else one."""
        if not loops:
            yield place
            return
        loop, *rest = loops
        row = self.read(loop.iter, place)
        fresh = {name: Bound((name, repr(row))) for node in ast.walk(loop.target) for name in stored(node)}
        here = Place(place.names | fresh, place.changes)
        written = isinstance(row, (list, tuple, range)) and len(row) <= LONGEST and isinstance(loop.target, ast.Name)
        for element in row if written else (None,):
            inner = here
            if written:
                bound = Bound(next(SERIAL), ast.Constant(element), place)
                inner = Place(here.names | {loop.target.id: bound}, place.changes)
            if all(self.read(test, inner) for test in loop.ifs):
                yield from self._turns(rest, inner)

    def _Attribute(self, node: ast.Attribute, place: Place) -> object:
        if last_name(node.value) in MODULES and isinstance(value := getattr(math, node.attr, None), float):
            return value                                    # math.pi, torch.inf
        return self._of_its_own(node.attr, self.read(node.value, place), place.changes)

    def _Subscript(self, node: ast.Subscript, place: Place) -> object:
        row, at = self.read(node.value, place), self.read(node.slice, place)
        if isinstance(row, (list, tuple, dict)):
            return row[at]
        return self._of_its_own(ast.dump(node.slice), row, at, place.changes)

    def _Slice(self, node: ast.Slice, place: Place) -> object:
        return slice(*(part and self.read(part, place) for part in (node.lower, node.upper, node.step)))

    def _Call(self, node: ast.Call, place: Place) -> object:
        if function := self._own(node, place):
            key = ast.dump(node), id(place)
            if key not in self.kept:
                self.kept[key] = self._answer(function, called(function, node, place))
            return self.kept[key]
        name, base = _called(node)
        if name in KINDS and base is None:
            return True
        values = [self.read(base, place)] if base else []
        values += [self.read(argument, place) for argument in node.args]
        named = {keyword.arg: self.read(keyword.value, place) for keyword in node.keywords}
        try:
            if self._is_known(node, place):
                return self._apply(node, name, values, named)
        except (TypeError, ValueError, ArithmeticError, AttributeError):
            pass
        found = self._of_its_own(ast.dump(node.func) if base is None else name, values, named, place.changes)
        return abs(found) if name in NOT_NEGATIVE and isinstance(found, (int, float)) else found

    def _apply(self, node: ast.Call, name: str, values: list, named: dict) -> object:
        if isinstance(node.func, ast.Name) and name in PLAIN:
            if name == "range" and len(range(*values)) > LONGEST:
                raise ValueError
            value = PLAIN[name](*values, **named)
            return list(value) if name in ("enumerate", "range", "reversed", "zip", "set") else value
        if name in KNOWN:
            return KNOWN[name](*values, **named)
        if name in SAME:
            return values[0]
        return getattr(math, name)(*values)

    def _is_known(self, node: ast.Call, place: Place) -> bool:
        name, base = _called(node)
        if isinstance(node.func, ast.Name):
            return (bool(self._own(node, place)) or name in KINDS
                    or name not in place.names and (name in PLAIN or name in KNOWN or name in SAME))
        if isinstance(node.func, ast.Lambda):
            return True
        of_math = base is None and last_name(node.func.value) == "math" and hasattr(math, name)
        return name in KNOWN or name in SAME or of_math

    def _own(self, node: ast.Call, place: Place) -> ast.FunctionDef | ast.Lambda | None:
        """The chapter's own function that is called, if its answer can be read."""
        if not self.own:
            return None
        if isinstance(node.func, ast.Lambda):
            return node.func
        bound = place.names.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if isinstance(function := bound and bound.value, ast.Lambda):
            return function
        return function if isinstance(function, ast.FunctionDef) and _answers_of(function) else None

    def _answer(self, function: ast.FunctionDef | ast.Lambda, place: Place) -> object:
        if isinstance(function, ast.Lambda):
            return self.read(function.body, place)
        place = Place(place.names | {function.name: Bound(next(SERIAL))}, place.changes)  # which may call itself
        for statement in function.body[:-1]:
            place = after(statement, place)
        return self.read(_answers_of(function)[0], place)


def _answers_of(function: ast.FunctionDef) -> list[ast.expr]:
    """What a function answers, if that is one thing at its end or the same constant wherever it returns."""
    answers = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value]
    last = isinstance(function.body[-1], ast.Return)
    same = all(isinstance(answer, ast.Constant) for answer in answers) and len(set(map(ast.dump, answers))) == 1
    return answers if last and len(answers) == 1 or same else []


def _called(node: ast.Call) -> tuple[str, ast.expr | None]:
    """The name of what is called, and the thing whose method it is, if it is no function of a module."""
    name = last_name(node.func)
    if name.startswith("__"):                               # x.__eq__(y)
        name = name.strip("_")
    of = node.func.value if isinstance(node.func, ast.Attribute) else None
    return name, None if of is None or isinstance(of, ast.Name) and of.id in MODULES else of


def _makes(node: ast.Call) -> bool:
    """Whether a call makes a thing that can be changed later, or keeps one as it was."""
    return last_name(node.func) in SAME | {"zeros", "ones", "full", "zeros_like", "ones_like", "list", "dict", "set"}
