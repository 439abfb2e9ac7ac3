r"""Cross-entropy: minus the log of the true class's probability (chapter 2)."""
from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import accumulating
from medlearn.base.validation import check_choice, check_number
from medlearn.losses._inputs import ClassNumbers, class_weights, counted_logits

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                  weight: ClassNumbers | None = None, ignore_index: int | None = None,
                  label_smoothing: float = 0.0,
                  reduction: Literal["mean", "sum", "none"] = "mean") -> Float[Tensor, "*out"]:
    r"""$-\ln p_y = \ln \sum_k e^{z_k} - z_y$, whose gradient at the logits is $p - y$.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar; with `reduction="none"` one loss a voxel, `(B, *S)`.
    Units: nats. Computed in float32 or better, under autocast too.
    `weight` has one number for each class and makes the mean a weighted one, $\sum_v w_{y_v} \ell_v / \sum_v w_{y_v}$;
    `label_smoothing` $\epsilon$ gives $\epsilon / K$ of the label to every class; voxels labelled `ignore_index` count
    for nothing, and their logits may be anything, NaN too; `reduction` is "mean", "sum" or "none".
    The mean over no voxel (all are ignored, the batch is empty, all weights are 0) is 0 with gradient 0. There
    `torch.nn.functional.cross_entropy` gives NaN, which ends a training at the first empty patch; else it is the same.
    Errors: TypeError for logits that are not float or labels that are not int64; ValueError for shapes that do not
    belong together, K = 1, a label out of range, NaN or infinite logits, a negative weight, a smoothing outside 0..1.
    Inside the transforms of `torch.func` nobody can look at values, and NaN goes through.
    Source: Bishop 2006, Pattern Recognition and Machine Learning, eq. 4.108. Chapter 2.

    >>> cross_entropy(torch.tensor([[0.2, 0.5, 0.3]]).log(), torch.tensor([0]))     # -ln 0.2
    tensor(1.6094)
    """
    check_logits_and_labels(logits, labels, ignore_index)
    check_choice("reduction", reduction, REDUCTIONS)
    label_smoothing = check_number("label_smoothing", label_smoothing, least=0, most=1)
    logits = counted_logits(logits, labels, ignore_index)
    weight = class_weights("weight", weight, logits)
    with torch.autocast(logits.device.type, enabled=False):
        # -100 is PyTorch's own ignored label, and here none at all
        loss = F.cross_entropy(logits.to(accumulating(logits.dtype)), labels, weight, label_smoothing=label_smoothing,
                               ignore_index=-100 if ignore_index is None else ignore_index,
                               reduction="none" if reduction == "none" else "sum")
        return loss / total_weight(labels, weight, ignore_index, loss.dtype) if reduction == "mean" else loss


def total_weight(labels: Tensor, weight: Tensor | None, ignore_index: int | None, dtype: torch.dtype) -> Tensor:
    r"""$\sum_v w_{y_v}$, what a mean over voxels is divided by; tiny, but not 0, where there is nothing to divide."""
    valid = None if ignore_index is None else labels != ignore_index
    if weight is None:
        total = torch.full((), labels.numel(), dtype=dtype, device=labels.device) if valid is None else valid.sum()
    else:
        w = weight[labels if valid is None else labels.masked_fill(~valid, 0)]
        total = (w if valid is None else w * valid).sum()
    return total.to(dtype).clamp_min(torch.finfo(dtype).tiny)
