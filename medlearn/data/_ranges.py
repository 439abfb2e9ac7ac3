"""Pairs of numbers, lowest and highest, between which something is drawn."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from medlearn.base.validation import check_number, check_whole


def check_range(name: str, value: Sequence[Any], *, most: float = math.inf, above: float = -math.inf) -> None:
    """Refuses anything but a (lowest, highest) of numbers from 0, or above another bound, to `most`."""
    _in_order(name, value, lambda v: check_number(name, v, least=0, most=most, above=above))


def check_whole_range(name: str, value: Sequence[Any], *, least: int) -> None:
    """Refuses anything but a (lowest, highest) of whole numbers from `least` on."""
    _in_order(name, value, lambda v: check_whole(name, v, least=least))


def _in_order(name: str, value: Sequence[Any], check: Callable[[Any], float]) -> None:
    check_length(name, value, 2)
    low, high = (check(v) for v in value)
    if low > high:
        raise ValueError(f"{name}: expected (lowest, highest) with lowest <= highest, got {value!r}")


def check_length(name: str, value: Sequence[Any], length: int) -> None:
    """Refuses anything but a row of so many values."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != length:
        raise ValueError(f"{name}: expected {length} numbers, got {value!r}")
