"""What is known of the functions and operators that a condition may use: what they answer for single numbers."""
from __future__ import annotations

import ast
import builtins
import math
import operator
from collections.abc import Callable


def _close(a: float, b: float, *, rtol: float = 1e-5, atol: float = 1e-8, **_: object) -> bool:
    return abs(a - b) <= atol + rtol * abs(b)


def _clamp(a: float, low: float | None = None, high: float | None = None, **named: float) -> float:
    low, high = named.get("min", low), named.get("max", high)
    a = a if low is None else max(a, low)
    return a if high is None else min(a, high)


MODULES = {"torch", "np", "numpy", "math", "operator", "copy", "F"}
PLAIN = {name: getattr(builtins, name) for name in (
    "abs", "all", "any", "bool", "dict", "enumerate", "float", "int", "len", "list", "max", "min", "range", "reversed",
    "round", "set", "sorted", "str", "sum", "tuple", "zip")}
KNOWN: dict[str, Callable] = {                              # functions of torch, NumPy, operator; methods as well
    "equal": operator.eq, "eq": operator.eq, "array_equal": operator.eq, "allclose": _close, "isclose": _close,
    "ne": operator.ne, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge,
    "logical_not": operator.not_, "logical_or": lambda a, b: bool(a or b), "logical_and": lambda a, b: bool(a and b),
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "neg": operator.neg,
    "pow": lambda a, b: float(a) ** b,
    "abs": abs, "square": lambda a: a * a, "relu": lambda a: max(a, 0), "clamp": _clamp, "clip": _clamp,
    "maximum": max, "minimum": min, "isfinite": math.isfinite, "full": lambda _, a, **__: a,
    "zeros": lambda *_, **__: 0, "zeros_like": lambda *_, **__: 0,
    "ones": lambda *_, **__: 1, "ones_like": lambda *_, **__: 1,
    "keys": lambda d: list(d.keys()), "values": lambda d: list(d.values()), "items": lambda d: list(d.items()),
}
SAME = {"all", "any", "item", "clone", "detach", "copy", "deepcopy", "cpu", "numpy", "tolist", "contiguous", "tensor",
        "as_tensor", "asarray", "array", "bool_", "bool", "cast"}  # of one number they are the number
KINDS = {"isinstance", "hasattr", "callable", "issubclass"}  # what a thing is, which was known before the run
NOT_NEGATIVE = {"len", "numel", "norm", "std", "var", "count_nonzero", "exp", "softmax", "sigmoid"}
HARMLESS = {*PLAIN, *KNOWN, *SAME, *KINDS, *NOT_NEGATIVE, "print", "claim", "record", "display"} - {"add"}  # to a set
OPERATORS: dict[type, Callable] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: KNOWN["pow"], ast.BitXor: operator.xor,
    ast.BitAnd: lambda a, b: bool(a and b), ast.BitOr: lambda a, b: bool(a or b),
    ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: operator.not_, ast.Invert: operator.not_,
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
