r"""Whether an answer is the student's own: its code may not ask the checks for theirs."""
from __future__ import annotations

from collections.abc import Iterator
from types import CodeType
from typing import Any

ROOM = "medlearn.checks"
OPEN = f"{ROOM}.rubric"             # what a page itself uses


def check_own(answer: Any) -> None:
    r"""Errors: ValueError for an answer whose code names `medlearn.checks`, or what was imported from there."""
    functions = [part for one in answer.__mro__[:-1] for part in (one, *vars(one).values())] \
        if isinstance(answer, type) else [answer]
    for function in functions:
        if _closed(getattr(function, "__module__", None)):
            raise ValueError(f"answer: expected your own, got one of {ROOM}")
        code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
        for name in _names(code) if isinstance(code, CodeType) else ():
            home = getattr(known.get(name), "__module__", None) or getattr(known.get(name), "__name__", None)
            if _closed(name) or _closed(home):
                raise ValueError(f"answer: expected your own, got what {ROOM} gives")


def _closed(module: object) -> bool:
    return str(module).startswith(ROOM) and not str(module).startswith(OPEN)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
