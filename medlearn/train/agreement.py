r"""Processes that train together must start from the same, or they wait for each other and average two trainings."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Difference = Callable[[Any, Any], tuple[str, str] | None]


def unequal(first: Any, second: Any) -> tuple[str, str] | None:
    """In words what each of two plain values is where they differ; None where they do not."""
    return None if first == second else (repr(first), repr(second))


def check_processes_agree(facts: Mapping[str, Any], *, difference: Difference = unequal) -> None:
    """Each process brings its facts; where one differs from the first process, all raise the same ValueError."""
    from accelerate.utils import gather_object

    first, *others = gather_object([dict(facts)])
    for name in first:
        for process, other in enumerate(others, start=1):
            if found := difference(first[name], other[name]):
                raise ValueError(f"{name}: expected the same in every process, got {found[0]} in process 0 and "
                                 f"{found[1]} in process {process}")
