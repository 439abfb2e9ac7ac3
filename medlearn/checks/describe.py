r"""Values in few words: small tensors whole, large ones by dtype, shape and range; the same text on every run."""
from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

_WHOLE = 64                         # elements
_TEXT = 200                         # letters
_LINES = 4


def describe(value: object, digits: int = 4) -> str:
    r"""A value for a reader: `int64 (2, 3)` and its rows below, `float32 (9, 9), from 0 to 1`, or its shortened `repr`.

    It does not depend on print options, and addresses are left out. Chapter: all.
    """
    if isinstance(value, Tensor):
        return _tensor(value.detach(), digits)
    if isinstance(value, np.ndarray):
        return f"NumPy array {value.dtype} {value.shape}"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    if isinstance(value, (tuple, list)) and any(isinstance(item, Tensor) for item in value):
        return "\n".join(f"{i + 1}: {describe(item, digits)}" for i, item in enumerate(value))
    try:
        return first_lines(repr(value))
    except Exception:                       # a student's own repr may fail in any way
        return f"something of type {type(value).__name__}, whose repr fails"


def describe_pair(expected: object, got: object) -> tuple[str, str]:
    r"""Both, with as many digits as it takes to tell them apart."""
    for digits in (4, 8, 17):
        pair = describe(expected, digits), describe(got, digits)
        if pair[0] != pair[1]:
            break
    return pair


def first_lines(text: str) -> str:
    r"""The beginning of a text, without what changes from run to run."""
    lines = re.sub(r" at 0x[0-9a-fA-F]+", "", text).strip().splitlines()
    short = "\n".join(lines[:_LINES])
    return short if len(lines) <= _LINES and len(short) <= _TEXT else short[:_TEXT].rstrip() + " ..."


def _tensor(value: Tensor, digits: int) -> str:
    head = f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    if value.device.type != "cpu":
        head += f" on {value.device}"
    if value.numel() == 0 or value.device.type == "meta" or value.layout != torch.strided or value.is_complex():
        return head
    if value.numel() > _WHOLE:
        return head + _summary(value.cpu(), digits)
    if value.ndim == 2:
        cells = [[_number(x, digits) for x in row] for row in value.tolist()]
        widths = [max(map(len, column)) for column in zip(*cells)]
        return "\n".join([head, *(" ".join(f"{cell:>{width}}" for cell, width in zip(row, widths)) for row in cells)])
    if value.ndim > 2:
        return "\n".join([head, *(_nested(part, digits) for part in value.tolist())])
    return f"{head}: {_nested(value.tolist(), digits)}"


def _summary(value: Tensor, digits: int) -> str:
    if value.dtype == torch.bool:
        return f", {value.sum().item()} of them True"
    finite = value[value.isfinite()]
    lost = value.numel() - finite.numel()
    ends = [_number(end.item(), digits) for end in finite.aminmax()] if finite.numel() else []
    return (f", from {ends[0]} to {ends[1]}" if ends else "") + (f", {lost} not finite" if lost else "")


def _nested(values: Any, digits: int) -> str:
    if isinstance(values, list):
        return f"[{', '.join(_nested(item, digits) for item in values)}]"
    return _number(values, digits)


def _number(value: float, digits: int) -> str:
    return f"{value + 0.0:.{digits}g}" if isinstance(value, float) else str(int(value))    # + 0.0 turns -0 into 0
