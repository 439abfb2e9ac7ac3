r"""Focal loss: cross-entropy that turns away from what is already right (chapter 3)."""
from __future__ import annotations

from numbers import Real
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import accumulating
from medlearn.base.validation import check_choice, check_number
from medlearn.losses._inputs import ClassNumbers, class_weights, counted_logits
from medlearn.losses.entropy import REDUCTIONS, total_weight

NEARLY_ONE = -1e-3                  # of ln p; above it ln p / (p - 1) is its Taylor polynomial, to 1e-15


def focal_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, gamma: float,
               alpha: float | ClassNumbers | None = None, ignore_index: int | None = None,
               reduction: Literal["mean", "sum", "none"] = "mean") -> Float[Tensor, "*out"]:
    r"""$-\alpha_y (1 - p_y)^\gamma \ln p_y$: cross-entropy for $\gamma = 0$, and the less of it the surer the voxel.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar; with `reduction="none"` one loss a voxel, `(B, *S)`.
    Units: nats. Computed in float32 or better, under autocast too.
    `alpha` has one number for each class; a single number is that of every class but background, which gets
    $1 - \alpha$. The mean is over the voxels that are not ignored, whatever their alpha (MONAI's divides by K besides).
    Voxels labelled `ignore_index` count for nothing, and their logits may be anything; `reduction` is "mean", "sum" or
    "none". The mean over no voxel is 0 with gradient 0.
    It is finite, gradient included, for every $\gamma \ge 0$: at $p_y = 1$ too, where $(1 - p)^\gamma$ alone has no
    derivative for $\gamma < 1$, and where $p_y$ underflows.
    Errors: as `cross_entropy`; ValueError for a negative gamma or alpha, or a single alpha above 1, TypeError where
    gamma is no number. Source: Lin et al. 2017, eq. 4 and 5, arXiv:1708.02002. Chapter 3.

    >>> focal_loss(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([0]), gamma=2)    # 0.01 of the cross-entropy
    tensor(0.0011)
    """
    check_logits_and_labels(logits, labels, ignore_index)
    check_choice("reduction", reduction, REDUCTIONS)
    gamma = check_number("gamma", gamma, least=0)
    logits = counted_logits(logits, labels, ignore_index)
    if isinstance(alpha, Real):
        alpha = check_number("alpha", alpha, least=0, most=1)
        alpha = [1 - alpha] + [alpha] * (logits.shape[1] - 1)
    alpha = class_weights("alpha", alpha, logits)
    valid = None if ignore_index is None else labels != ignore_index
    y = labels if valid is None else labels.masked_fill(~valid, 0)
    with torch.autocast(logits.device.type, enabled=False):
        log_p = logits.log_softmax(1, dtype=accumulating(logits.dtype)).gather(1, y[:, None])[:, 0]
        loss = _focal(log_p, gamma)
        loss = loss if alpha is None else loss * alpha[y]
        loss = loss if valid is None else torch.where(valid, loss, 0)
        if reduction == "none":
            return loss
        return loss.sum() / total_weight(labels, None, ignore_index, loss.dtype) if reduction == "mean" else loss.sum()


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    r"""$(1 - p)^{\gamma + 1} \cdot \frac{\ln p}{p - 1}$: the same, of two factors that are smooth where p is 1."""
    sure = log_p > NEARLY_ONE
    away = torch.where(sure, NEARLY_ONE, log_p)             # keeps 0 / 0 out of the branch that is not taken
    ratio = torch.where(sure, 1 - log_p / 2 + log_p**2 / 12, away / torch.expm1(away))
    return (-torch.expm1(log_p)) ** (gamma + 1) * ratio
