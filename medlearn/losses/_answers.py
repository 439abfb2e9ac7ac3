"""What a network answered and what was true: one softmax over classes, or a sigmoid for each of the regions."""
from __future__ import annotations

from typing import TypeAlias

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import accumulating
from medlearn.base.validation import check_same, check_tensor, is_unusual, kind_of

Truth: TypeAlias = Int64[Tensor, "b *s"] | Bool[Tensor, "b k *s"]


def are_regions(labels: object) -> bool:
    """Whether every channel is a question of its own, so that the answers may overlap."""
    return isinstance(labels, Tensor) and labels.dtype == torch.bool


def check_truth(logits: Tensor, labels: Tensor, *, ignore_index: int | None = None,
                where: Tensor | None = None) -> None:
    """Refuses what is neither int64 classes `(B, *S)` nor bool regions `(B, K, *S)`, and what leaves voxels out."""
    check_tensor("logits", logits, dtype="float", shape="(B, K, *S)", space=(0, 1, 2, 3))
    regions, shape = are_regions(labels), tuple(logits.shape)
    wanted = ("an int64 tensor {} of classes (one softmax), or a bool tensor {} of regions (a sigmoid each), got "
              + kind_of(labels))
    if not isinstance(labels, Tensor) or is_unusual(labels) or labels.dtype not in (torch.int64, torch.bool):
        raise TypeError(f"labels: expected {wanted.format('(B, *S)', '(B, K, *S)')}")
    if tuple(labels.shape) != (shape if regions else (shape[0], *shape[2:])):
        raise ValueError(f"labels: expected {wanted.format((shape[0], *shape[2:]), shape)}")
    if shape[1] < (1 if regions else 2):
        hint = "" if regions else ". For one against background give bool labels (B, 1, *S): its answer is sigmoid(z)"
        raise ValueError(f"logits: expected {'K >= 1 regions' if regions else 'K >= 2 classes'}, got K = "
                         f"{shape[1]}{hint}")
    if not regions:
        if where is not None:
            raise ValueError("where: expected None for int64 labels: ignore_index says which of them count, "
                             f"got {kind_of(where)}")
        return check_logits_and_labels(logits, labels, ignore_index)
    if ignore_index is not None:
        raise ValueError("ignore_index: expected None for bool labels, which can hold no such number: "
                         f"where=, a bool tensor of their shape, says which of them count, got {ignore_index!r}")
    check_same("labels", check_tensor("labels", labels, dtype="bool"), like=logits, whose="logits")
    if where is not None:
        check_same("where", check_tensor("where", where, dtype="bool"), like=labels, whose="labels")


def check_background(labels: Tensor, include_background: bool) -> None:
    """Refuses to leave out class 0 where there is none."""
    if are_regions(labels) and not include_background:
        raise ValueError("include_background: expected True for bool labels: no region is the background, got False")


def counted_truth(labels: Tensor, ignore_index: int | None = None,
                  where: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """A valid truth for every voxel, class 0 where it is ignored, and which of them count (None: all)."""
    if ignore_index is None:
        return labels, where
    valid = labels != ignore_index
    return labels.masked_fill(~valid, 0), valid


def one_hot(y: Tensor, classes: int) -> Tensor:
    """Classes `(B, *S)` as regions `(B, K, *S)`."""
    return y[:, None] == torch.arange(classes, device=y.device).view(-1, *[1] * (y.ndim - 1))


def probabilities(logits: Tensor, labels: Tensor, *, ignore_index: int | None = None,
                  where: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """How sure the network is of each class or region, and whether it is there; 0 and False where it does not count."""
    y, valid = counted_truth(labels, ignore_index, where)
    dtype = accumulating(logits.dtype)
    if are_regions(y):
        p, hit = logits.to(dtype).sigmoid(), y
    else:
        p, hit = logits.softmax(1, dtype=dtype), one_hot(y, logits.shape[1])
        valid = None if valid is None else valid[:, None]
    return (p, hit) if valid is None else (torch.where(valid, p, 0), hit & valid)


def log_of_truth(logits: Tensor, y: Tensor) -> Tensor:
    """The log of the probability that was given to the truth: of each voxel, or of each voxel and region."""
    if are_regions(y):
        z = logits.to(accumulating(logits.dtype))
        return F.logsigmoid(torch.where(y, z, -z))
    return logits.log_softmax(1, dtype=accumulating(logits.dtype)).gather(1, y[:, None])[:, 0]


def of_truth(numbers: Tensor, y: Tensor) -> Tensor:
    """Of K numbers, that of each voxel's class; or that of each region, wherever it is asked for."""
    return numbers.view(-1, *[1] * (y.ndim - 2)).expand_as(y) if are_regions(y) else numbers[y]


def surprises(logits: Tensor, y: Tensor, *, valid: Tensor | None, weight: Tensor | None) -> Tensor:
    r"""$-w_y \ln p_y$ of each voxel, or of each voxel and region; 0 where it does not count."""
    loss = -log_of_truth(logits, y)
    loss = loss if weight is None else loss * of_truth(weight, y)
    return loss if valid is None else torch.where(valid, loss, 0)


def total_weight(y: Tensor, *, valid: Tensor | None, weight: Tensor | None, dtype: torch.dtype) -> Tensor:
    r"""$\sum w_y$, what a mean is divided by; tiny instead of 0, so that 0 / 0 is 0."""
    if weight is None:
        total = torch.full((), y.numel(), dtype=dtype, device=y.device) if valid is None else valid.sum()
    else:
        w = of_truth(weight, y)
        total = (w if valid is None else w * valid).sum()
    return total.to(dtype).clamp_min(torch.finfo(dtype).tiny)
