r"""Overlap losses: one law, several names, over the same three sums (chapter 4)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.validation import Number, check_number
from medlearn.losses._answers import Truth, are_regions, check_background, check_truth, total_weight
from medlearn.losses._inputs import ClassNumbers, class_weights
from medlearn.losses._one_pass import soft_sums


@dataclass(frozen=True, eq=False)
class OverlapCounts:
    r"""Found, falsely found, missed: tp $= \sum_v p_v y_v$, fp $= \sum_v p_v (1 - y_v)$, fn $= \sum_v (1 - p_v) y_v$.

    Shapes: `(B, K)` each, of every image and class. Units: voxels; soft, so not whole numbers.
    Every overlap loss of this book is a function of them. Chapter 4.

    >>> counts = OverlapCounts(tp=torch.tensor([[90.0, 12]]), fp=torch.tensor([[4.0, 3]]), fn=torch.tensor([[3.0, 4]]))
    >>> counts.foreground().tversky(0.5, 0.5)           # 1 - Dice of class 1
    tensor([[0.2258]])
    """

    tp: Float[Tensor, "b k"]
    fp: Float[Tensor, "b k"]
    fn: Float[Tensor, "b k"]

    def over_batch(self) -> OverlapCounts:
        """The batch as if it were one image."""
        return OverlapCounts(*(count.sum(0, keepdim=True) for count in (self.tp, self.fp, self.fn)))

    def foreground(self) -> OverlapCounts:
        """Without class 0."""
        return OverlapCounts(self.tp[:, 1:], self.fp[:, 1:], self.fn[:, 1:])

    def tversky(self, alpha_fp: Number, beta_fn: Number, *, smooth: Number = 0.0) -> Float[Tensor, "b k"]:
        r"""$1 - \mathrm{tp} / (\mathrm{tp} + \alpha\,\mathrm{fp} + \beta\,\mathrm{fn})$ of each image and class.

        Shapes: `(B, K)`. Units: none, 0..1. `alpha_fp` is what a false alarm costs and `beta_fn` what a miss does;
        `smooth` is added to twice the numerator and twice the denominator. Where tp, fp and fn are all 0, it is 0.
        Errors: ValueError for one of the three below 0.
        Source: Salehi et al. 2017, eq. 4, doi:10.1007/978-3-319-67389-9_44. Chapter 4.

        >>> OverlapCounts(*torch.tensor([[[12.0]], [[3.0]], [[4.0]]])).tversky(0.5, 0.5)      # Dice is 24 / 31
        tensor([[0.2258]])
        """
        alpha_fp, beta_fn = check_number("alpha_fp", alpha_fp, least=0), check_number("beta_fn", beta_fn, least=0)
        return _share_of_wrong(alpha_fp * self.fp + beta_fn * self.fn, self.tp, smooth)


def overlap_counts(logits: Float[Tensor, "b k *s"], labels: Truth, *, ignore_index: int | None = None,
                   where: Bool[Tensor, "b k *s"] | None = None, squared: bool = False) -> OverlapCounts:
    r"""tp $= \sum_v p_v y_v$, fp $= \sum_v p_v -$ tp, fn $= \sum_v y_v -$ tp, with $p$ the softmax of the logits.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, counts `(B, K)`. Units: voxels.
    Bool labels `(B, K, *S)` are regions, which may overlap: $p$ is then the sigmoid of each logit, and `where`, bool of
    the labels' shape, says which answers count. K may be 1.
    Softmax and sums are float32 or better, under autocast too. For classes it is one pass over the voxels with a
    gradient in closed form: one tensor of the logits' size is kept, and the gradient is written in its place. On a GPU
    with Triton one kernel reads the logits for the sums, another reads them again and writes the gradient. With
    `create_graph` the gradient may be differentiated again, with the memory of plain PyTorch, which regions always
    take; `torch.func`'s `grad` and `vmap` work too.
    `squared` puts $\sum_v p_v^2$ in fp, as V-Net's Dice; that is no count any more, and may be negative.
    Voxels labelled `ignore_index` count for nothing, and their logits may be anything. No voxel at all gives zeros.
    Errors: as `cross_entropy`.
    Source: the softmax's Jacobian, $dz_k = p_k (g_k - \sum_j p_j g_j)$, Bishop 2006, eq. 4.106. Chapter 4.

    >>> counts = overlap_counts(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    >>> counts.tp, counts.fp, counts.fn
    (tensor([[0.5000, 1.5000]]), tensor([[1.5000, 0.5000]]), tensor([[0.5000, 1.5000]]))
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    return OverlapCounts(*soft_sums(logits, labels, ignore_index=ignore_index, where=where, squared=squared)[:3])


def dice_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, weight: ClassNumbers | None = None,
              ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
              include_background: bool = True, batch: bool = False, squared: bool = False,
              smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""The mean of $1 - 2\,\mathrm{tp} / (2\,\mathrm{tp} + \mathrm{fp} + \mathrm{fn})$: Tversky at one half.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar: the mean over images and classes. Units: none, 0..1.
    `smooth` is added to numerator and denominator; `include_background=False` leaves out class 0; `batch` sums the
    counts over the batch before it divides; `squared` has $\sum p^2$ in the denominator instead of $\sum p$; `weight`,
    one number for each of the K classes, multiplies their losses before the mean over classes is taken; voxels
    labelled `ignore_index` count for nothing, and their logits may be anything.
    Bool labels `(B, K, *S)` are regions: as in `overlap_counts`, with `where` for `ignore_index`, and `weight` for each
    region. None of them is the background, so that `include_background` has to be True.
    The defaults give MONAI's `DiceLoss` (softmax and one-hot, for regions sigmoid); `include_background=False` gives
    nnU-Net's plus 1, with `batch` as nnU-Net's plan says; `batch=True, squared=True` gives TransUNet's.
    A class that is neither in the truth nor in the answer has loss 0; one that is in the answer only has loss 1 (to
    within `smooth`), so that false positives cost something. No image, or only ignored voxels, gives 0.
    Errors: as `cross_entropy`; ValueError for a negative `smooth`, for `include_background=False` with regions.
    Source: Milletari et al. 2016, eq. 2, doi:10.1109/3DV.2016.79. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> dice_loss(logits, labels, include_background=False)     # half of 3 voxels, and half of a false one
    tensor(0.4000)
    """
    counts = _counts(logits, labels, ignore_index, where, include_background, batch, squared)
    return _mean(counts.tversky(0.5, 0.5, smooth=smooth), class_weights("weight", weight, logits))


def jaccard_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, weight: ClassNumbers | None = None,
                 ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                 include_background: bool = True, batch: bool = False, squared: bool = False,
                 smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \frac{\mathrm{tp}}{\mathrm{tp} + \mathrm{fp} + \mathrm{fn}}$, intersection over union: Tversky at one.

    Shapes, units, options, empty cases and errors: as in `dice_loss`. The index of a class is $D / (2 - D)$, with $D$
    its Dice. Equals MONAI's `DiceLoss(jaccard=True)`.
    Source: Rahman and Wang 2016, eq. 3, doi:10.1007/978-3-319-50835-1_22. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> jaccard_loss(logits, labels, include_background=False)      # Dice is 0.6, so this is 1 - 0.6 / 1.4
    tensor(0.5714)
    """
    counts = _counts(logits, labels, ignore_index, where, include_background, batch, squared)
    return _mean(counts.tversky(1, 1, smooth=smooth), class_weights("weight", weight, logits))


def tversky_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, alpha_fp: Number = 0.3,
                 beta_fn: Number = 0.7, weight: ClassNumbers | None = None, ignore_index: int | None = None,
                 where: Bool[Tensor, "b k *s"] | None = None, include_background: bool = True, batch: bool = False,
                 smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \frac{\mathrm{tp}}{\mathrm{tp} + \alpha\,\mathrm{fp} + \beta\,\mathrm{fn}}$: a price for each error.

    Shapes, units, options and empty cases: as in `dice_loss`, which is the case of $\alpha = \beta = 1/2$.
    `alpha_fp` $\alpha$ is the price of a false positive, `beta_fn` $\beta$ that of a false negative. `smooth` is added
    to 2 tp and to 2 (tp + $\alpha$ fp + $\beta$ fn), as in Dice; MONAI's `TverskyLoss` is the same with half of it.
    Errors: as `dice_loss`; ValueError for a negative `alpha_fp` or `beta_fn`.
    Source: Salehi et al. 2017, eq. 4, doi:10.1007/978-3-319-67389-9_44. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> tversky_loss(logits, labels, include_background=False)      # 1 - 1.5 / (1.5 + 0.3 * 0.5 + 0.7 * 1.5)
    tensor(0.4444)
    """
    counts = _counts(logits, labels, ignore_index, where, include_background, batch)
    return _mean(counts.tversky(alpha_fp, beta_fn, smooth=smooth), class_weights("weight", weight, logits))


def focal_tversky_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, gamma: Number = 4 / 3,
                       alpha_fp: Number = 0.3, beta_fn: Number = 0.7, weight: ClassNumbers | None = None,
                       ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                       include_background: bool = True, batch: bool = False,
                       smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$(1 - T)^{1/\gamma}$ with Tversky's index $T$: for $\gamma > 1$ a nearly right class keeps a larger gradient.

    Shapes, units, options and empty cases: as in `dice_loss`; `alpha_fp`, `beta_fn` and `smooth` as in `tversky_loss`,
    which is the case of `gamma` = 1. Note the paper's exponent, $1/\gamma$, so 3/4 by default; other code calls that
    gamma. A class without any error has gradient 0.
    Errors: as `tversky_loss`; ValueError for a gamma that is not positive.
    Source: Abraham and Khan 2019, eq. 4, doi:10.1109/ISBI.2019.8759329. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> focal_tversky_loss(logits, labels, include_background=False)        # 0.4444 ** 0.75
    tensor(0.5443)
    """
    gamma = check_number("gamma", gamma, above=0)
    counts = _counts(logits, labels, ignore_index, where, include_background, batch)
    loss = counts.tversky(alpha_fp, beta_fn, smooth=smooth)
    return _mean(_power(loss, 1 / gamma), class_weights("weight", weight, logits))


def generalized_dice_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *,
                          ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                          include_background: bool = True, batch: bool = False,
                          smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \sum_k 2 w_k \mathrm{tp}_k / \sum_k w_k (2 \mathrm{tp}_k + \mathrm{fp}_k + \mathrm{fn}_k)$, $w = 1/N^2$.

    Shapes, units, options and empty cases: as in `dice_loss`; the mean is over images. $N_k$ is the number of true
    voxels. The weights are scaled so that the smallest class present has 1, or `smooth` would outweigh $1/N^2$; a class
    that is absent has 1 too, and so have all where none is present. With `smooth=0` it equals MONAI's
    `GeneralizedDiceLoss`, save where no class is present: there MONAI's has no gradient.
    Errors: as `dice_loss`. Source: Sudre et al. 2017, eq. 1, doi:10.1007/978-3-319-67558-9_28. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> generalized_dice_loss(logits, labels)       # w = 1 and 1 / 9: 1 - (1 + 3 / 9) / (3 + 5 / 9)
    tensor(0.6250)
    """
    counts = _counts(logits, labels, ignore_index, where, include_background, batch)
    w = _by_volume((counts.tp + counts.fn).detach())
    return _mean(_share_of_wrong((w * (counts.fp + counts.fn) / 2).sum(1), (w * counts.tp).sum(1), smooth))


def dice_ce_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, lambda_dice: Number = 1.0,
                 lambda_ce: Number = 1.0, weight: ClassNumbers | None = None, ignore_index: int | None = None,
                 where: Bool[Tensor, "b k *s"] | None = None, include_background: bool = True, batch: bool = False,
                 squared: bool = False, smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$\lambda_\mathrm{dice}\,\mathrm{Dice} + \lambda_\mathrm{ce}\,\mathrm{CE}$, both from one pass over the voxels.

    Shapes, units, options and empty cases: as in `dice_loss` and as in `cross_entropy`; `lambda_dice` and `lambda_ce`
    weigh the two, `weight` holds for both, and background always counts for cross-entropy. It is MONAI's
    `DiceCELoss`; with `include_background=False`, nnU-Net's loss plus 1; with
    `lambda_dice=0.5, lambda_ce=0.5, batch=True, squared=True`, TransUNet's. For regions it is nnU-Net's loss of Dice
    and binary cross-entropy, plus 1; with a mask nnU-Net's counts the latter K times, which `lambda_ce=K` does here.
    MONAI's with `sigmoid=True` is the same for one region; for more it adds the cross-entropy of a softmax.
    The cross-entropy is right however sure the network is of a wrong class: more than 87 logits off, $p_y$ is 0 in
    float32, and $\ln p_y$ is computed from the logits.
    Errors: as `dice_loss`; ValueError for a negative lambda.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; Chen et al. 2021, arXiv:2102.04306. Chapter 4.

    >>> logits, labels = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]])
    >>> dice_ce_loss(logits, labels, include_background=False)      # 0.4 + ln 2
    tensor(1.0931)
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    check_background(labels, include_background)
    lambda_dice = check_number("lambda_dice", lambda_dice, least=0)
    lambda_ce = check_number("lambda_ce", lambda_ce, least=0)
    weight = class_weights("weight", weight, logits)
    *sums, surprise = soft_sums(logits, labels, ignore_index=ignore_index, where=where, squared=squared,
                                cross_entropy=True, weight=weight)
    counts = OverlapCounts(*sums)
    if are_regions(labels):
        total = total_weight(labels, valid=where, weight=weight, dtype=surprise.dtype)
    else:                                                   # every voxel that counts is of one class
        voxels = (counts.tp + counts.fn).detach()
        total = _not_zero((voxels if weight is None else voxels * weight).sum())
    dice = _mean(_selected(counts, include_background, batch).tversky(0.5, 0.5, smooth=smooth), weight)
    return lambda_dice * dice + lambda_ce * surprise / total


def _counts(logits: Tensor, labels: Tensor, ignore_index: int | None, where: Tensor | None, include_background: bool,
            batch: bool, squared: bool = False) -> OverlapCounts:
    check_background(labels, include_background)
    counts = overlap_counts(logits, labels, ignore_index=ignore_index, where=where, squared=squared)
    return _selected(counts, include_background, batch)


def _selected(counts: OverlapCounts, include_background: bool, batch: bool) -> OverlapCounts:
    counts = counts if include_background else counts.foreground()
    return counts.over_batch() if batch else counts


def _share_of_wrong(wrong: Tensor, right: Tensor, smooth: Number) -> Tensor:
    """1 - (2 right + smooth) / (2 right + 2 wrong + smooth), without the subtraction, which would lose digits."""
    return 2 * wrong / _not_zero(2 * right + 2 * wrong + check_number("smooth", smooth, least=0))


def _mean(loss: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean over images and classes, 0 of nothing; without background the last classes have the weights."""
    loss = loss if weight is None else loss * weight[-loss.shape[1]:]
    return loss.sum() / max(1, loss.numel())


def _power(x: Tensor, exponent: float) -> Tensor:
    """x to the exponent, with gradient 0 at 0, where that of a root is infinite."""
    return torch.where(x > 0, torch.where(x > 0, x, 1) ** exponent, 0)


def _by_volume(voxels: Tensor) -> Tensor:
    """1 / voxels^2 of each class, scaled to 1 for the smallest that is present; 1 for those that are absent."""
    smallest = voxels.masked_fill(voxels == 0, torch.inf).amin(1, keepdim=True)
    return torch.where(voxels > 0, smallest / voxels, 1).square()


def _not_zero(x: Tensor) -> Tensor:
    return x.clamp_min(torch.finfo(x.dtype).tiny)
