r"""Focal loss: cross-entropy with less weight on voxels that are already right (chapter 4)."""
from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.labelled import look_at_values
from medlearn.base.validation import Number, check_choice, check_finite, check_number
from medlearn.losses._answers import (Truth, are_regions, check_truth, counted_truth, log_of_truth, of_truth,
                                      total_weight)
from medlearn.losses._inputs import ClassNumbers, class_weights, counted_logits
from medlearn.losses.entropy import REDUCTIONS

NEARLY_ONE = -1e-3                  # of ln p; above it ln p / (p - 1) is its Taylor polynomial, to 1e-15


def focal_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, gamma: Number,
               alpha: Number | ClassNumbers | None = None, ignore_index: int | None = None,
               where: Bool[Tensor, "b k *s"] | None = None,
               reduction: Literal["mean", "sum", "none"] = "mean") -> Float[Tensor, "*out"]:
    r"""$-\alpha_y (1 - p_y)^\gamma \ln p_y$: cross-entropy, with less weight on voxels that are surely right.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar; with `reduction="none"` one loss a voxel, `(B, *S)`.
    Bool labels `(B, K, *S)` are regions, and `where` says which answers count: as in `cross_entropy`.
    Units: nats. Computed in float32 or better, under autocast too.
    `gamma` says how much less: 0 is cross-entropy, the paper has 2. `alpha` has one number for each class; a single
    number is that of every class but background, which gets $1 - \alpha$. The mean is over the voxels that are not
    ignored, whatever their alpha (MONAI's divides by K besides). Voxels labelled `ignore_index` count for nothing, and
    their logits may be anything; `reduction` is "mean", "sum" or "none". The mean over no voxel is 0 with gradient 0.
    For regions `alpha` is that of yes, and no gets $1 - \alpha$: one for all of them, or one for each; the mean is
    over the answers that count. It equals torchvision's `sigmoid_focal_loss`.
    It is finite, gradient included, for every $\gamma \ge 0$: at $p_y = 1$ too, where $(1 - p)^\gamma$ alone has no
    derivative for $\gamma < 1$, and where $p_y$ underflows.
    Errors: as `cross_entropy`; ValueError for a negative gamma or alpha, or an alpha above 1 that leaves no
    $1 - \alpha$, TypeError where gamma is no number. Source: Lin et al. 2017, eq. 4 and 5, arXiv:1708.02002. Chapter 4.

    >>> focal_loss(torch.tensor([[0.9, 0.1]]).log(), torch.tensor([0]), gamma=2)    # 0.01 of the cross-entropy
    tensor(0.0011)
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    check_choice("reduction", reduction, REDUCTIONS)
    gamma = check_number("gamma", gamma, least=0)
    logits = counted_logits(logits, labels, ignore_index, where)
    y, valid = counted_truth(labels, ignore_index, where)
    a = _alpha_of_truth(alpha, logits, y)
    with torch.autocast(logits.device.type, enabled=False):
        loss = _focal(log_of_truth(logits, y), gamma)
        loss = loss if a is None else loss * a
        loss = loss if valid is None else torch.where(valid, loss, 0)
        if reduction == "none":
            return loss
        total = total_weight(y, valid=valid, weight=None, dtype=loss.dtype) if reduction == "mean" else 1
        return loss.sum() / total


def _alpha_of_truth(alpha: Number | ClassNumbers | None, logits: Tensor, y: Tensor) -> Tensor | None:
    """The alpha of each voxel's class; of regions, each region's own for yes, and the rest of 1 for no."""
    if isinstance(alpha, (int, float, np.number)):
        alpha, classes = check_number("alpha", alpha, least=0, most=1), logits.shape[1]
        alpha = [alpha] * classes if are_regions(y) else [1 - alpha] + [alpha] * (classes - 1)
    alpha = class_weights("alpha", alpha, logits)
    if alpha is None or not are_regions(y):
        return None if alpha is None else of_truth(alpha, y)
    alpha = of_truth(check_finite("alpha", alpha, least=0, most=1) if look_at_values(alpha) else alpha, y)
    return torch.where(y, alpha, 1 - alpha)


def _focal(log_p: Tensor, gamma: float) -> Tensor:
    r"""$(1 - p)^{\gamma + 1} \cdot \frac{\ln p}{p - 1}$: the same, of two factors that are smooth where p is 1."""
    sure = log_p > NEARLY_ONE
    away = torch.where(sure, NEARLY_ONE, log_p)             # `where` passes on the NaN gradient of 0 / 0 even if unused
    ratio = torch.where(sure, 1 - log_p / 2 + log_p**2 / 12, away / torch.expm1(away))
    return (-torch.expm1(log_p)) ** (gamma + 1) * ratio
