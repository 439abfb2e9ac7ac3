r"""How two values differ, in a sentence for a student."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-5, torch.float16: 1e-3, torch.bfloat16: 1e-2}
_NUMBER_TOLERANCE = 1e-5            # a Python float does not tell which precision it was computed in


@dataclass(frozen=True)
class Difference:
    r"""What is wrong, and an advice that fits better than the case's own hint, where there is one."""

    reason: str
    advice: str = ""


def difference(expected: object, got: object, same_dtype: bool = True) -> Difference | None:
    r"""The first way in which `got` is not what was expected; None where it is.

    Kind, device, dtype, shape, NaN and values, in this order. Floats may differ by the tolerance of the coarser
    dtype times the largest expected value: 1e-8 for float64, 1e-5 for float32, 1e-3 for float16, 1e-2 for bfloat16.
    A number may come as a tensor without axes. Tuples, lists and dictionaries are compared item by item. Chapter: all.
    """
    if got is None and expected is not None:
        return Difference("It gave None.", "Did you forget to `return` the result?")
    if isinstance(expected, Tensor):
        return _tensors(expected, got, same_dtype)
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        return _numbers(expected, got)
    if isinstance(expected, dict):
        return _dictionaries(expected, got, same_dtype)
    if isinstance(expected, (tuple, list)):
        return _sequences(expected, got, same_dtype)
    if isinstance(expected, np.ndarray):
        same = isinstance(got, np.ndarray) and got.dtype == expected.dtype and np.array_equal(expected, got)
        return None if same else Difference("The arrays differ.")
    if type(got) is not type(expected):
        return Difference(f"Expected {_kind(expected)}, got {_kind(got)}.")
    return None if expected == got else Difference("The value is another.")


def _tensors(expected: Tensor, got: object, same_dtype: bool) -> Difference | None:
    if not isinstance(got, Tensor):
        advice = "Stay with torch throughout, or come back with `torch.from_numpy`."
        return Difference(f"Expected a tensor, got {_kind(got)}.", advice if isinstance(got, np.ndarray) else "")
    if got.layout != torch.strided:
        return Difference(f"Expected a dense tensor, got layout {got.layout}.", "`.to_dense()` makes it dense.")
    if got.device != expected.device:
        return Difference(f"Expected a tensor on {expected.device}, got one on {got.device}.",
                          "Make new tensors where the input is: `device=x.device`, or `x.new_zeros(...)`.")
    floats = got.is_floating_point() and expected.is_floating_point()
    if got.dtype != expected.dtype and (same_dtype or not floats):
        wanted = str(expected.dtype) if same_dtype or not expected.is_floating_point() else "a float dtype"
        return Difference(f"Expected {wanted.removeprefix('torch.')}, got {_name(got.dtype)}.")
    if got.shape != expected.shape:
        return Difference(f"Expected shape {tuple(expected.shape)}, got {tuple(got.shape)}.")
    return _values(expected.detach(), got.detach())


def _values(expected: Tensor, got: Tensor) -> Difference | None:
    if expected.numel() == 0:
        return None
    if expected.is_floating_point():
        nan = (got.isnan() & ~expected.isnan()).sum().item()
        if nan:
            return Difference(f"{nan} of {got.numel()} values are NaN.")
        finite = expected[expected.isfinite()].abs()
        rtol = max(_TOLERANCE.get(dtype, 0.0) for dtype in (expected.dtype, got.dtype))
        atol = rtol * (finite.max().item() or 1.0 if finite.numel() else 1.0)
        wrong = ~torch.isclose(got.double(), expected.double(), rtol=0.0, atol=atol, equal_nan=True)
    else:
        wrong = got != expected
    count = wrong.sum().item()
    if not count:
        return None
    if expected.ndim == 0:
        return Difference("The value is another.")
    at = tuple(wrong.nonzero()[0].tolist())
    pair = f"expected {_short(expected[at])}, got {_short(got[at])}"
    return Difference(f"{count} of {wrong.numel()} values differ, the first at {list(at)}: {pair}.")


def _numbers(expected: int | float, got: object) -> Difference | None:
    number = got
    if isinstance(got, Tensor) and got.ndim == 0 and got.device.type != "meta" or isinstance(got, np.generic):
        number = got.item()
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return Difference(f"Expected one number, got {_kind(got)}.")
    if isinstance(expected, int):
        return None if isinstance(number, int) and number == expected else Difference("The number is another.")
    if number != number and expected == expected:
        return Difference("The number is NaN.")
    tolerance = _NUMBER_TOLERANCE * (abs(expected) or 1) if math.isfinite(expected) else 0.0
    close = number == expected or abs(number - expected) <= tolerance
    return None if close or number != number else Difference("The number is another.")


def _sequences(expected: tuple | list, got: object, same_dtype: bool) -> Difference | None:
    if not isinstance(got, (tuple, list)) or len(got) != len(expected):
        came = f"{len(got)} of them" if isinstance(got, (tuple, list)) else _kind(got)
        return Difference(f"Expected {len(expected)} results, got {came}.")
    return _items({f"Result {i + 1}": pair for i, pair in enumerate(zip(expected, got))}, same_dtype)


def _dictionaries(expected: dict, got: object, same_dtype: bool) -> Difference | None:
    if not isinstance(got, dict) or got.keys() != expected.keys():
        came = f"the keys {list(got)}" if isinstance(got, dict) else _kind(got)
        return Difference(f"Expected a dictionary with the keys {list(expected)}, got {came}.")
    return _items({f"[{key!r}]": (expected[key], got[key]) for key in expected}, same_dtype)


def _items(pairs: dict[str, tuple[object, object]], same_dtype: bool) -> Difference | None:
    for name, (expected, got) in pairs.items():
        if found := difference(expected, got, same_dtype):
            return Difference(f"{name}: {found.reason}", found.advice)
    return None


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {_name(value.dtype)}, shape {tuple(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"a NumPy array of shape {value.shape}"
    return "None" if value is None else f"{type(value).__name__}"


def _short(value: Tensor) -> str:
    return f"{value.item():.6g}" if value.is_floating_point() else str(value.item())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
