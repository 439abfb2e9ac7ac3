r"""Overlap losses: one law, several names, over the same three sums (chapter 3)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.validation import check_number
from medlearn.losses._inputs import ClassNumbers, class_weights
from medlearn.losses._one_pass import soft_sums


@dataclass(frozen=True, eq=False)
class OverlapCounts:
    r"""Found, falsely found, missed: tp $= \sum_v p_v y_v$, fp $= \sum_v p_v (1 - y_v)$, fn $= \sum_v (1 - p_v) y_v$.

    Shapes: `(B, K)` each, of every image and class. Units: voxels; soft, so not whole numbers.
    Every overlap loss of this book is `tversky` of them. Chapter 3.
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

    def tversky(self, alpha_fp: float, beta_fn: float, *, smooth: float = 0.0) -> Float[Tensor, "b k"]:
        r"""$1 - \mathrm{tp} / (\mathrm{tp} + \alpha\,\mathrm{fp} + \beta\,\mathrm{fn})$ of each image and class.

        Shapes: `(B, K)`. Units: none, 0..1. `alpha_fp` is what a false alarm costs and `beta_fn` what a miss does;
        `smooth` is added to twice the numerator and twice the denominator. Where tp, fp and fn are all 0, it is 0.
        Errors: ValueError for one of the three below 0.
        Source: Salehi et al. 2017, eq. 4, doi:10.1007/978-3-319-67389-9_44. Chapter 3.

        >>> OverlapCounts(*torch.tensor([[[12.0]], [[3.0]], [[4.0]]])).tversky(0.5, 0.5)      # Dice is 24 / 31
        tensor([[0.2258]])
        """
        alpha_fp, beta_fn = check_number("alpha_fp", alpha_fp, least=0), check_number("beta_fn", beta_fn, least=0)
        return _share_of_wrong(alpha_fp * self.fp + beta_fn * self.fn, self.tp, smooth)


def overlap_counts(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                   ignore_index: int | None = None, squared: bool = False) -> OverlapCounts:
    r"""tp $= \sum_v p_v y_v$, fp $= \sum_v p_v -$ tp, fn $= \sum_v y_v -$ tp, with $p$ the softmax of the logits.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, counts `(B, K)`. Units: voxels.
    Softmax and sums are float32 or better, under autocast too. One pass over the voxels with a gradient in closed form:
    one tensor of the logits' size is kept, and the gradient is written in its place. With `create_graph` the gradient
    may be differentiated again, at the price of plain PyTorch; `torch.func`'s `grad` and `vmap` take it too.
    `squared` has $\sum_v p_v^2$ in fp, as V-Net's Dice, and then fp is no count: it may be negative.
    Voxels labelled `ignore_index` count for nothing, and their logits may be anything. No voxel at all gives zeros.
    Errors: as `cross_entropy`.
    Source: the softmax's Jacobian, $dz_k = p_k (g_k - \sum_j p_j g_j)$, Bishop 2006, eq. 4.106. Chapter 3.

    >>> counts = overlap_counts(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    >>> counts.tp, counts.fp, counts.fn
    (tensor([[0.5000, 1.5000]]), tensor([[1.5000, 0.5000]]), tensor([[0.5000, 1.5000]]))
    """
    check_logits_and_labels(logits, labels, ignore_index)
    return OverlapCounts(*soft_sums(logits, labels, ignore_index=ignore_index, squared=squared)[:3])


def dice_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, weight: ClassNumbers | None = None,
              ignore_index: int | None = None, include_background: bool = True, batch: bool = False,
              squared: bool = False, smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""The mean of $1 - 2\,\mathrm{tp} / (2\,\mathrm{tp} + \mathrm{fp} + \mathrm{fn})$: Tversky at one half.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)`, a scalar: the mean over images and classes. Units: none, 0..1.
    `smooth` is added to numerator and denominator; `include_background=False` leaves out class 0; `batch` sums the
    counts over the batch before it divides; `squared` has $\sum p^2$ in the denominator instead of $\sum p$; `weight`,
    one number for each of the K classes, multiplies their losses before the mean over classes is taken.
    As they stand the options give MONAI's `DiceLoss` (softmax, one-hot); `include_background=False` with `batch` as
    its plan has it gives nnU-Net's, which is smaller by 1; `batch=True, squared=True` gives TransUNet's.
    A class that is neither in the truth nor in the answer has loss 0; one that is in the answer only, 1 (to within
    `smooth`), and so its false positives are pushed down. No image, or only ignored voxels, gives 0.
    Errors: as `cross_entropy`; ValueError for a negative `smooth`.
    Source: Milletari et al. 2016, eq. 2, doi:10.1109/3DV.2016.79. Chapter 3.
    """
    counts = _counts(logits, labels, ignore_index, include_background, batch, squared)
    return _mean(counts.tversky(0.5, 0.5, smooth=smooth), class_weights("weight", weight, logits))


def jaccard_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, weight: ClassNumbers | None = None,
                 ignore_index: int | None = None, include_background: bool = True, batch: bool = False,
                 squared: bool = False, smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \frac{\mathrm{tp}}{\mathrm{tp} + \mathrm{fp} + \mathrm{fn}}$, intersection over union: Tversky at one.

    Shapes, units, options, empty cases and errors: as `dice_loss`. Of each class it is $D / (2 - D)$ with $D$ for Dice.
    Equals MONAI's `DiceLoss(jaccard=True)`.
    Source: Rahman and Wang 2016, eq. 3, doi:10.1007/978-3-319-50835-1_22. Chapter 3.
    """
    counts = _counts(logits, labels, ignore_index, include_background, batch, squared)
    return _mean(counts.tversky(1, 1, smooth=smooth), class_weights("weight", weight, logits))


def tversky_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, alpha_fp: float = 0.3,
                 beta_fn: float = 0.7, weight: ClassNumbers | None = None, ignore_index: int | None = None,
                 include_background: bool = True, batch: bool = False, smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \frac{\mathrm{tp}}{\mathrm{tp} + \alpha\,\mathrm{fp} + \beta\,\mathrm{fn}}$: errors at two prices.

    Shapes, units, options and empty cases: as `dice_loss`, which is the case of $\alpha = \beta = 1/2$.
    `smooth` stands as in Dice, beside 2 tp above and 2 (tp + $\alpha$ fp + $\beta$ fn) below the line, so MONAI's
    `TverskyLoss` is the same with half of it.
    Errors: as `dice_loss`; ValueError for a negative `alpha_fp` or `beta_fn`.
    Source: Salehi et al. 2017, eq. 4, doi:10.1007/978-3-319-67389-9_44. Chapter 3.
    """
    counts = _counts(logits, labels, ignore_index, include_background, batch)
    return _mean(counts.tversky(alpha_fp, beta_fn, smooth=smooth), class_weights("weight", weight, logits))


def focal_tversky_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, gamma: float = 4 / 3,
                       alpha_fp: float = 0.3, beta_fn: float = 0.7, weight: ClassNumbers | None = None,
                       ignore_index: int | None = None, include_background: bool = True, batch: bool = False,
                       smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""$(1 - T)^{1/\gamma}$ with Tversky's index $T$: for $\gamma > 1$ a class keeps its pull when it is nearly right.

    Shapes, units, options and empty cases: as `tversky_loss`, which is the case of $\gamma = 1$. Note the paper's
    exponent: $1/\gamma$, so 3/4 by default; other code calls that gamma. A class without any error has gradient 0.
    Errors: as `tversky_loss`; ValueError for a gamma that is not positive.
    Source: Abraham and Khan 2019, eq. 4, doi:10.1109/ISBI.2019.8759329. Chapter 3.
    """
    gamma = check_number("gamma", gamma, above=0)
    counts = _counts(logits, labels, ignore_index, include_background, batch)
    loss = counts.tversky(alpha_fp, beta_fn, smooth=smooth)
    return _mean(_power(loss, 1 / gamma), class_weights("weight", weight, logits))


def generalized_dice_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                          ignore_index: int | None = None, include_background: bool = True, batch: bool = False,
                          smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - \sum_k 2 w_k \mathrm{tp}_k / \sum_k w_k (2 \mathrm{tp}_k + \mathrm{fp}_k + \mathrm{fn}_k)$, $w = 1/N^2$.

    Shapes, units, options and empty cases: as `dice_loss`; the mean is over images. $N_k$ is the number of true voxels.
    The weights are scaled so that the smallest class present has 1, or `smooth` would outweigh $1/N^2$; a class that is
    absent has 1 too, and so have all where none is present. With `smooth=0` it equals MONAI's `GeneralizedDiceLoss`,
    save where no class is present, in which case MONAI's has no gradient.
    Errors: as `dice_loss`. Source: Sudre et al. 2017, eq. 1, doi:10.1007/978-3-319-67558-9_28. Chapter 3.
    """
    counts = _counts(logits, labels, ignore_index, include_background, batch)
    w = _by_volume((counts.tp + counts.fn).detach())
    return _mean(_share_of_wrong((w * (counts.fp + counts.fn) / 2).sum(1), (w * counts.tp).sum(1), smooth))


def dice_ce_loss(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, lambda_dice: float = 1.0,
                 lambda_ce: float = 1.0, weight: ClassNumbers | None = None, ignore_index: int | None = None,
                 include_background: bool = True, batch: bool = False, squared: bool = False,
                 smooth: float = 1e-5) -> Float[Tensor, ""]:
    r"""$\lambda_\mathrm{dice}\,\mathrm{Dice} + \lambda_\mathrm{ce}\,\mathrm{CE}$, both from one pass over the voxels.

    Shapes, units, options and empty cases: as `dice_loss` and `cross_entropy`; `weight` holds for both, and background
    always counts for cross-entropy. It is MONAI's `DiceCELoss`; with `include_background=False`, nnU-Net's loss plus 1;
    with `lambda_dice=0.5, lambda_ce=0.5, batch=True, squared=True`, TransUNet's.
    The cross-entropy is right however sure the network is of a wrong class: beyond 87 logits, where $p_y$ is 0 in
    float32, it comes from the logits.
    Errors: as `dice_loss`; ValueError for a negative lambda.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; Chen et al. 2021, arXiv:2102.04306. Chapter 3.
    """
    check_logits_and_labels(logits, labels, ignore_index)
    lambda_dice = check_number("lambda_dice", lambda_dice, least=0)
    lambda_ce = check_number("lambda_ce", lambda_ce, least=0)
    weight = class_weights("weight", weight, logits)
    *sums, surprise = soft_sums(logits, labels, ignore_index=ignore_index, squared=squared, cross_entropy=True,
                                weight=weight)
    counts = OverlapCounts(*sums)
    voxels = (counts.tp + counts.fn).detach()
    ce = surprise / _not_zero((voxels if weight is None else voxels * weight).sum())
    dice = _mean(_selected(counts, include_background, batch).tversky(0.5, 0.5, smooth=smooth), weight)
    return lambda_dice * dice + lambda_ce * ce


def _counts(logits: Tensor, labels: Tensor, ignore_index: int | None, include_background: bool, batch: bool,
            squared: bool = False) -> OverlapCounts:
    counts = overlap_counts(logits, labels, ignore_index=ignore_index, squared=squared)
    return _selected(counts, include_background, batch)


def _selected(counts: OverlapCounts, include_background: bool, batch: bool) -> OverlapCounts:
    counts = counts if include_background else counts.foreground()
    return counts.over_batch() if batch else counts


def _share_of_wrong(wrong: Tensor, right: Tensor, smooth: float) -> Tensor:
    """1 - (2 right + smooth) / (2 right + 2 wrong + smooth), without the digits that the subtraction would lose."""
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
