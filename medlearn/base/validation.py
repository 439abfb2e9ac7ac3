r"""What the rooms refuse at the door: one wording, `name: expected this, got that`, and one cost for each look.

Every function returns what it was given, in the form that the room computes with, or refuses it: TypeError for another
kind of thing, ValueError for a shape or a value that cannot be.
"""
from __future__ import annotations

import math
import operator
from collections.abc import Collection, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

Number = float | np.number              # what a caller may give for a number: Python's or NumPy's
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)     # torch computes with no others
STORED_ONLY = (torch.uint16, torch.uint32, torch.uint64)                        # integers that torch keeps, no more
_DTYPES = {"float": "a float tensor", "int64": "an int64 tensor", "integer": "an integer tensor",
           "bool": "a bool tensor"}


def kind_of(value: Any) -> str:
    """What came, for a refusal: `torch.float32 of shape (2, 3)`, or the type's name."""
    if is_unusual(value):                                           # a nested one has no shape to tell
        return "a nested tensor" if value.is_nested else f"a tensor of layout {value.layout} and {value.dtype}"
    return f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def is_unusual(value: object) -> bool:
    """Whether it is a nested, quantised or sparse tensor: most of torch cannot compute with one, or asks its shape."""
    return isinstance(value, Tensor) and (value.is_nested or value.is_quantized or value.layout != torch.strided)


def as_tensor(name: str, array: np.ndarray | Tensor) -> Tensor:
    """An array of a file as a tensor: whole numbers as int64, others as float32; a tensor as it is."""
    if isinstance(array, Tensor) and not is_unusual(array):
        return array
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        kind = array.dtype if isinstance(array, np.ndarray) else kind_of(array)
        raise TypeError(f"{name}: expected an array of numbers, got {kind}")
    wide = {"b": np.bool_, "i": np.int64, "u": np.int64, "f": np.float32}[array.dtype.kind]
    return torch.from_numpy(np.array(array, dtype=wide, order="C"))     # files may be read-only, or big-endian


def check_tensor(name: str, value: object, *, dtype: str, shape: str = "", space: Sequence[int] = (2, 3)) -> Tensor:
    r"""Refuses anything but a tensor of this kind, with these axes.

    `dtype`: "float", "int64", "integer" or "bool". `shape`: as the docstrings write it, `"(B, C, *S)"`: a letter for
    each axis and `*S` for axes of space, of which there are as many as `space` says; without one, any shape will do.
    """
    wanted = " ".join(filter(None, [_DTYPES[dtype], shape]))
    if not isinstance(value, Tensor) or is_unusual(value) or not _is(value.dtype, dtype):
        raise TypeError(f"{name}: expected {wanted}, got {kind_of(value)}")
    if shape and value.ndim not in _lengths(shape, space):
        axes = f" with {_either(space)} axes of space" if "*S" in shape else ""
        raise ValueError(f"{name}: expected {shape}{axes}, got shape {tuple(value.shape)}")
    return value


def check_shape(name: str, value: Tensor, shape: Sequence[int], *, because: str = "") -> Tensor:
    """Refuses another shape; `because` says what it has to go with."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)}{because and ' ' + because}, got {tuple(value.shape)}")
    return value


def check_same(name: str, value: Tensor, *, like: Tensor, whose: str = "") -> Tensor:
    """Refuses what has not the shape of another tensor, or lies on another device; `whose` names the other."""
    if value.shape != like.shape or value.device != like.device:
        raise ValueError(f"{name}: expected shape {tuple(like.shape)} on {like.device}{whose and f', as {whose} has'}, "
                         f"got {tuple(value.shape)} on {value.device}")
    return value


def check_finite(name: str, value: Tensor, *, least: float = -math.inf, most: float = math.inf,
                 hint: str = "") -> Tensor:
    """Refuses NaN, infinities and what is outside `least..most`, in one look at the extremes; `hint` says more."""
    if value.numel() == 0:
        return value
    low, high = torch.stack(value.detach().aminmax()).tolist()      # a GPU waits once for both
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name}: expected finite numbers, got a range of {low:.4g} to {high:.4g}")
    if low < least or high > most:
        raise ValueError(f"{name}: expected {_within(least, most)}, got {low if low < least else high:.4g}"
                         f"{hint and '. ' + hint}")
    return value


def check_float(name: str, value: Tensor, *, shape: str = "", space: Sequence[int] = (2, 3),
                **bounds: Any) -> Tensor:
    """Refuses anything but a float tensor of finite numbers: `check_tensor`, then `check_finite` with its bounds."""
    return check_finite(name, check_tensor(name, value, dtype="float", shape=shape, space=space), **bounds)


def check_holds(name: str, value: Tensor, holds: Tensor, *, expected: str) -> Tensor:
    """Refuses the first value for which something that must hold does not; NaN holds nothing."""
    if not holds.all():
        wrong = value.broadcast_to(holds.shape)[~holds].flatten()[0].item()
        raise ValueError(f"{name}: expected {expected}, got {wrong:.4g}")
    return value


def check_labels(name: str, labels: Tensor, *, classes: int | None = None, ignore_index: int | None = None) -> Tensor:
    """Refuses labels outside 0..classes-1, or below 0 where no number of classes is given; but for `ignore_index`."""
    if labels.numel() == 0:
        return labels
    low, high = torch.stack(labels.aminmax()).tolist()
    if low >= 0 and (classes is None or high < classes):
        return labels
    wrong = labels < 0 if classes is None else (labels < 0) | (labels >= classes)
    if ignore_index is not None:
        wrong &= labels != ignore_index
    if wrong.any():
        expected = "0 or more" if classes is None else f"0..{classes - 1} for {classes} classes"
        ignored = "" if ignore_index is None else f" or ignore_index = {ignore_index}"
        raise ValueError(f"{name}: expected labels of {expected}{ignored}, got {labels[wrong][0].item()}")
    return labels


def check_number(name: str, value: Number, *, least: float = -math.inf, most: float = math.inf,
                 above: float = -math.inf, below: float = math.inf, unit: str = "") -> float:
    """Refuses anything but a finite number from `least` to `most`, or strictly between `above` and `below`."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    # written out: `torch.compile` knows no math.isfinite of a number that changes
    if not (least <= value <= most and above < value < below and -math.inf < value < math.inf):
        raise ValueError(f"{name}: expected {_within(least, most, above, below)}{unit and ' ' + unit}, got {value!r}")
    return float(value)


def check_whole(name: str, value: int | np.integer, *, least: int = 0, most: float = math.inf) -> int:
    """Refuses anything but a whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name}: expected a whole number, {_within(least, most)}, got {value}")
    return operator.index(value)


def check_choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """Refuses anything but a few choices."""
    if isinstance(value, bool) or value not in choices:
        raise ValueError(f"{name}: expected {_either(list(map(_quoted, choices)))}, got {value!r}")
    return value


def _is(dtype: torch.dtype, kind: str) -> bool:
    return dtype.is_floating_point if kind == "float" else dtype in {
        "int64": (torch.int64,), "bool": (torch.bool,), "integer": INTEGERS}[kind]


def _lengths(shape: str, space: Sequence[int]) -> list[int]:
    axes = [axis for axis in shape.strip("()").replace(" ", "").split(",") if axis]
    plain = sum(not axis.startswith("*") for axis in axes)
    return [plain + n for n in space] if len(axes) > plain else [plain]


def _either(options: Sequence[Any]) -> str:
    *first, last = map(str, options)
    return f"{', '.join(first)} or {last}" if first else last


def _quoted(choice: Any) -> str:
    return f'"{choice}"' if isinstance(choice, str) else str(choice)


def _within(least: float, most: float, above: float = -math.inf, below: float = math.inf) -> str:
    bounds = [f"{text} {bound:g}" for text, bound in (("above", above), ("below", below)) if math.isfinite(bound)]
    if math.isfinite(least) and math.isfinite(most):
        bounds.insert(0, f"{least:g}..{most:g}")
    elif math.isfinite(least):
        bounds.insert(0, f"{least:g} or more")
    elif math.isfinite(most):
        bounds.insert(0, f"at most {most:g}")
    return " and ".join(bounds) or "a finite number"
