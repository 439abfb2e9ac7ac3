"""Logits and the labels that go with them: what losses and measures of uncertainty refuse at the door."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

from medlearn.base.validation import check_labels, check_tensor, check_whole

_values_are_checked: ContextVar[bool] = ContextVar("values_are_checked", default=True)


@contextmanager
def trusted_values() -> Iterator[None]:
    r"""Inside, nobody looks for labels out of range or for NaN: saves a few percent of a loss, and a wait for the GPU.

    Shapes and dtypes are still checked. It holds for the thread that enters it, and for no other. On a CPU a label out
    of range is then PyTorch's index error; on a GPU it ends the process. Compiled losses (`torch.compile`) never look
    at values. Chapter 2.

    >>> with trusted_values():
    ...     look_at_values()
    False
    """
    token = _values_are_checked.set(False)
    try:
        yield
    finally:
        _values_are_checked.reset(token)


def look_at_values(*tensors: Tensor) -> bool:
    """Whether the door looks at the values of these tensors, and not at shapes and dtypes alone."""
    return not torch.compiler.is_compiling() and _values_are_checked.get() and has_values(*tensors)


def check_logits_and_labels(logits: Tensor, labels: Tensor, ignore_index: int | None, *, name: str = "logits") -> None:
    """Refuses anything but a float `(B, K, *S)` with int64 labels `(B, *S)` in 0..K-1 (or `ignore_index`)."""
    check_tensor(name, logits, dtype="float", shape="(B, K, *S)", space=(0, 1, 2, 3))
    check_tensor("labels", labels, dtype="int64", shape="(B, *S)", space=(0, 1, 2, 3))
    if logits.shape[1] < 2:
        raise ValueError(f"{name}: expected K >= 2 classes, got K = {logits.shape[1]}. For one against background "
                         "use torch.cat([torch.zeros_like(z), z], dim=1): its probability of class 1 is sigmoid(z)")
    if labels.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(f"labels: expected shape {(logits.shape[0], *logits.shape[2:])} to go with the {name} "
                         f"{tuple(logits.shape)}, got {tuple(labels.shape)}")
    if labels.device != logits.device:
        raise ValueError(f"labels: expected them on {logits.device}, where the {name} are, got {labels.device}")
    if ignore_index is not None:
        check_whole("ignore_index", ignore_index, least=torch.iinfo(torch.int64).min)
    if look_at_values(labels):
        check_labels("labels", labels, classes=logits.shape[1], ignore_index=ignore_index)


def has_values(*tensors: Tensor) -> bool:
    """Inside `torch.func`'s transforms a tensor stands for others, and on the meta device for none: nobody can look."""
    try:
        return all(tensor.data_ptr() is not None and not tensor.is_meta for tensor in tensors)
    except RuntimeError:                                    # there is no public question for it
        return False
