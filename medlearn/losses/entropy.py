r"""Cross-entropy: minus the log of the true class's probability (chapter 2)."""
from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.precision import accumulating
from medlearn.base.validation import Number, check_choice, check_number
from medlearn.losses._answers import Truth, are_regions, check_truth, counted_truth, surprises, total_weight
from medlearn.losses._inputs import ClassNumbers, class_weights, counted_logits

REDUCTIONS = ("mean", "sum", "none")


def cross_entropy(logits: Float[Tensor, "b k *s"], labels: Truth, *, weight: ClassNumbers | None = None,
                  ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                  label_smoothing: Number = 0.0,
                  reduction: Literal["mean", "sum", "none"] = "mean") -> Float[Tensor, "*out"]:
    r"""$-\ln p_y = \ln \sum_k e^{z_k} - z_y$, whose gradient at the logits is $p - y$.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar; with `reduction="none"` one loss a voxel, `(B, *S)`.
    Labels of int64 are classes, of which each voxel has one. Findings that overlap are regions: bool labels
    `(B, K, *S)`, K questions, each answered by a sigmoid of its own logit. The loss is then binary cross-entropy,
    $-\ln \sigma(z)$ where the region is and $-\ln \sigma(-z)$ where it is not, and `reduction="none"` gives
    `(B, K, *S)`. K may be 1.
    Units: nats. Computed in float32 or better, under autocast too.
    `weight` has one number for each class and makes the mean a weighted one, $\sum_v w_{y_v} \ell_v / \sum_v w_{y_v}$;
    `label_smoothing` $\epsilon$ gives $\epsilon / K$ of the label to every class; voxels labelled `ignore_index` count
    for nothing, and their logits may be anything, NaN too; `reduction` is "mean", "sum" or "none".
    For regions `weight` has one number for each, smoothing gives $\epsilon / 2$ to yes and to no, and in the place of
    `ignore_index` stands `where`, bool of the labels' shape: only its True answers count. A mask of voxels `(B, *S)`
    becomes one by `mask[:, None].expand_as(labels)`; a region that nobody drew in an image is False in all of it.
    The mean over no voxel (all are ignored, the batch is empty, all weights are 0) is 0 with gradient 0, where
    `torch.nn.functional.cross_entropy` gives NaN and ruins a training at the first empty patch. Else both are the same.
    Errors: TypeError for logits that are not float or labels that are neither int64 nor bool; ValueError for shapes
    that do not belong together, K = 1 class, a label out of range, NaN or infinite logits, a negative weight, a
    smoothing outside 0..1, an `ignore_index` with regions, a `where` with classes.
    Inside the transforms of `torch.func` values cannot be checked, and NaN passes through.
    Source: Bishop 2006, Pattern Recognition and Machine Learning, eq. 4.108. Chapter 2.

    >>> cross_entropy(torch.tensor([[0.2, 0.5, 0.3]]).log(), torch.tensor([0]))     # -ln 0.2
    tensor(1.6094)
    >>> cross_entropy(torch.tensor([[0.0, 0.0]]), torch.tensor([[True, True]]))     # both are there: ln 2 each
    tensor(0.6931)
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    check_choice("reduction", reduction, REDUCTIONS)
    label_smoothing = check_number("label_smoothing", label_smoothing, least=0, most=1)
    logits = counted_logits(logits, labels, ignore_index, where)
    weight = class_weights("weight", weight, logits)
    y, valid = counted_truth(labels, ignore_index, where)
    with torch.autocast(logits.device.type, enabled=False):
        if are_regions(labels):
            loss = surprises(logits, y, valid=valid, weight=weight)
            if label_smoothing:                             # as if half of that part had been labelled otherwise
                loss = torch.lerp(loss, surprises(logits, ~y, valid=valid, weight=weight), label_smoothing / 2)
            loss = loss if reduction == "none" else loss.sum()
        else:                                               # no label is -100, PyTorch's default: so none is ignored
            loss = F.cross_entropy(logits.to(accumulating(logits.dtype)), labels, weight,
                                   label_smoothing=label_smoothing,
                                   ignore_index=-100 if ignore_index is None else ignore_index,
                                   reduction="none" if reduction == "none" else "sum")
        return loss / total_weight(y, valid=valid, weight=weight, dtype=loss.dtype) if reduction == "mean" else loss
