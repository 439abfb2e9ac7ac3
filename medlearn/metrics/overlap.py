r"""How much two segmentations share: one count of voxels, and the ratios of it (chapter 7)."""
from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.base.grid import Grid, Spacing, as_spacing
from medlearn.metrics._inputs import Labels, as_label_maps


@dataclass(frozen=True, eq=False)
class ConfusionCounts:
    r"""Voxels found (`tp`), falsely marked (`fp`), missed (`fn`) and rightly left alone (`tn`), by image and class.

    Shapes: `(B, K)` each, int64, and so the metrics, in float64. Units: voxels.
    `a + b` and `sum(list)` pool: the counts add up, and the ratio is taken once; `over_batch()` pools the images of a
    batch. A mean of ratios gives every image the same weight instead; take it with `summarise`, which counts what it
    leaves out.
    Empty cases: a ratio is NaN only where it asks about voxels that do not exist, and adds nothing to a pool. Truth and
    answer both empty: `dice` and `iou` are NaN, no answer is right or wrong. One of them empty: 0, so that a mean
    cannot drop a miss. `sensitivity` is NaN without a true voxel, `precision` without a marked one, `specificity`
    where all is true. Chapter 7.

    >>> counts = ConfusionCounts(*torch.tensor([[[6]], [[2]], [[2]], [[90]]]))
    >>> counts.dice, counts.iou
    (tensor([[0.7500]], dtype=torch.float64), tensor([[0.6000]], dtype=torch.float64))
    """

    tp: Int64[Tensor, "b k"]
    fp: Int64[Tensor, "b k"]
    fn: Int64[Tensor, "b k"]
    tn: Int64[Tensor, "b k"]

    @property
    def dice(self) -> Float[Tensor, "b k"]:
        r"""$2\,tp / (2\,tp + fp + fn)$, the $F_1$ of voxels. Source: Dice 1945, doi:10.2307/1932409."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> Float[Tensor, "b k"]:
        r"""$tp / (tp + fp + fn)$, intersection over union; of Dice $D$ it is $D / (2 - D)$."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def sensitivity(self) -> Float[Tensor, "b k"]:
        r"""$tp / (tp + fn)$: how much of the truth was found. Also recall."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> Float[Tensor, "b k"]:
        r"""$tn / (tn + fp)$: how much of the rest was left alone. Near 1 for whatever is small in a large image."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> Float[Tensor, "b k"]:
        r"""$tp / (tp + fp)$: how much of the answer is true."""
        return _ratio(self.tp, self.tp + self.fp)

    def over_batch(self) -> ConfusionCounts:
        """The batch as if it were one image."""
        return ConfusionCounts(*(count.sum(0, keepdim=True) for count in self._all()))

    def foreground(self) -> ConfusionCounts:
        """Without class 0."""
        return ConfusionCounts(*(count[:, 1:] for count in self._all()))

    def __add__(self, other: object):
        if not isinstance(other, ConfusionCounts):
            return NotImplemented
        if self.tp.shape != other.tp.shape:
            raise ValueError(f"expected counts of the same images and classes, got {tuple(self.tp.shape)} and "
                             f"{tuple(other.tp.shape)}; over_batch() makes one image of a batch")
        return ConfusionCounts(*(a + b for a, b in zip(self._all(), other._all())))

    def __radd__(self, other: object):
        return self if isinstance(other, int) and other == 0 else NotImplemented       # where sum() begins

    def _all(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


def confusion_counts(prediction: Labels, target: Labels, *, classes: int,
                     ignore_index: int | None = None) -> ConfusionCounts:
    r"""The counts of each class against the rest, from one joint histogram $n_{ij} = |\{v : y_v = i, \hat y_v = j\}|$.

    tp $= n_{kk}$, fp $= \sum_i n_{ik} -$ tp, fn $= \sum_j n_{kj} -$ tp. Dice of a batch is
    `confusion_counts(prediction, target, classes=4).dice`, and without background `.foreground().dice`.
    Shapes: `prediction` and `target (B, *S)`, tensors or arrays of any integers or of bools; counts `(B, K)` with
    K = `classes`, background included, where the labels are. Units: voxels.
    Voxels whose target is `ignore_index` are in no count, whatever the prediction holds there.
    No voxel or no image gives zeros. Errors: TypeError for what are no integers; ValueError for shapes or devices that
    do not belong together, fewer than two classes, a label outside 0..K-1. Chapter 7.

    >>> truth = torch.tensor([[[0, 1], [1, 1]]])
    >>> confusion_counts(truth.new_tensor([[[0, 0], [1, 1]]]), truth, classes=2).foreground().dice
    tensor([[0.8000]], dtype=torch.float64)
    """
    prediction, target = as_label_maps(prediction, target, classes, ignore_index)
    joint = target.new_zeros(len(target), classes**2)
    for counts, true, found in zip(joint, target, prediction):           # image by image, for the memory
        if ignore_index is not None:
            judged = true != ignore_index
            true, found = true[judged], found[judged]
        counts += torch.bincount((true * classes + found).flatten(), minlength=classes**2)
    joint = joint.view(-1, classes, classes)
    tp = joint.diagonal(dim1=1, dim2=2)
    fp, fn = joint.sum(1) - tp, joint.sum(2) - tp
    return ConfusionCounts(tp, fp, fn, joint.sum((1, 2))[:, None] - tp - fp - fn)


def volumes_ml(labels: Labels, *, classes: int, spacing_mm: Spacing | Grid,
               ignore_index: int | None = None) -> Float[Tensor, "b k"]:
    r"""$V_k = n_k \, s_1 s_2 s_3 / 1000$: how much of each class there is in each image.

    Shapes: `labels (B, *S)`, result `(B, K)` in float64, K = `classes`. Units: `spacing_mm` are three numbers in mm,
    for a 2D slice the third is its thickness (`spacing_from_affine` gives them), or a `Grid`; result in ml. A class
    that is absent has 0 ml; voxels of `ignore_index` are of no class.
    Errors: as `confusion_counts`; ValueError for a spacing that is not three numbers above 0. Chapter 7.

    >>> volumes_ml(torch.ones(1, 10, 10, dtype=torch.int64), classes=2, spacing_mm=(2, 2, 5))
    tensor([[0., 2.]], dtype=torch.float64)
    """
    voxel_ml = as_spacing(spacing_mm, 3).prod() / 1000
    counts = confusion_counts(labels, labels, classes=classes, ignore_index=ignore_index)
    return _real(counts.tp) * voxel_ml


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return _real(part) / _real(whole)                               # 0 / 0 is NaN, as it should be


def _real(counts: Tensor) -> Tensor:
    # Apple's GPU has no double precision
    return counts.float() if counts.device.type == "mps" else counts.double()
