r"""Sets and intervals that hold the truth as often as they promise, whatever the network is worth (chapter 15).

Three lines. Scores of calibration cases that the network has not seen, large where it was wrong; their quantile; and
of a new case every answer whose score is not above it::

    scores = true_class_scores(lac_scores(calibration_probabilities), labels)
    quantile = conformal_quantile(scores, alpha=0.1)
    sets = lac_scores(probabilities) <= quantile            # bool (B, K, *S)

The promise, $P(y \in \mathrm{set}) \ge 1 - \alpha$, is kept on average over calibrations and new cases together, and
only if the new case is exchangeable with the old ones: not on another scanner. Voxels of one image are not exchangeable
with those of the next; for segmentation take one score an image, or `false_negative_threshold`.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Generator, Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import at_least_float32
from medlearn.base.random import check_generator
from medlearn.base.validation import check_float, check_holds, check_number, check_same, check_tensor
from medlearn.uncertainty._inputs import check_cases, check_probabilities, least_count, voxels_in_a_row


class Interval(NamedTuple):
    """From `low` to `high`, both included, each `(*shape)` in the answer's units. Chapter 15.

    >>> low, high = conformal_interval(torch.tensor([2.0]), 0.5)
    >>> low, high
    (tensor([1.5000]), tensor([2.5000]))
    """

    low: Tensor
    high: Tensor


def conformal_quantile(scores: Float[Tensor, "n"], alpha: float) -> float:
    r"""The $\lceil (n + 1)(1 - \alpha) \rceil$-th smallest score of n calibration cases.

    Shapes: `scores (n,)`, one a case. The score of one more case is not above it with probability at least
    $1 - \alpha$, and if there are no ties at most $1 - \alpha + 1/(n + 1)$.
    Too few cases, $n < 1/\alpha - 1$, give infinity: every answer is in the set, and that is all that can be promised.
    Errors: TypeError for anything but float tensors; ValueError for another shape, NaN, an `alpha` not between 0 and 1.
    Source: Vovk et al. 2005, doi:10.1007/b106715; Angelopoulos and Bates 2023, doi:10.1561/2200000101. Chapter 15.

    >>> conformal_quantile(torch.arange(1.0, 10.0), alpha=0.2)          # the 8th of 9, since 10 * 0.8 is 8
    8.0
    """
    check_cases("scores", scores)
    alpha = check_number("alpha", alpha, above=0, below=1)
    rank = least_count(1 - alpha, len(scores) + 1)
    return scores.kthvalue(rank).values.item() if rank <= len(scores) else math.inf


def lac_scores(probabilities: Float[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
    r"""$1 - p_k$, of every class: the smallest sets if the probabilities are right ("least ambiguous").

    Shapes: `(B, K, *S)`. Units: none, 0..1. A set may be empty. Errors: as `class_entropy`.
    Source: Sadinle et al. 2019, doi:10.1080/01621459.2017.1395341. Chapter 15.

    >>> lac_scores(torch.tensor([[0.75, 0.25]]))
    tensor([[0.2500, 0.7500]])
    """
    check_probabilities(probabilities)
    return 1 - at_least_float32(probabilities)


def aps_scores(probabilities: Float[Tensor, "b k *s"], *,
               generator: Generator | None = None) -> Float[Tensor, "b k *s"]:
    r"""$\sum_{j : p_j > p_k} p_j + u\,p_k$, of every class: how much has to be taken in until class k is in.

    Shapes: `(B, K, *S)`. Units: none, 0..1. Sets grow where the network is in doubt ("adaptive prediction sets").
    With a `generator` u is uniform in 0..1, one for each voxel: as published; sets may be empty. Without, u is 1, and
    sets are larger than need be. Calibration and prediction need the same. Of equal probabilities the lower class comes
    first. Errors: as `class_entropy`. Source: Romano et al. 2020, arXiv:2006.02544. Chapter 15.

    >>> aps_scores(torch.tensor([[0.25, 0.5, 0.25]]))
    tensor([[0.7500, 0.5000, 1.0000]])
    """
    check_probabilities(probabilities)
    if generator is not None:
        check_generator(generator)
    p, order = at_least_float32(probabilities).sort(dim=1, descending=True, stable=True)
    scores = p.cumsum(1)
    if generator is not None:
        u = torch.rand(p[:, :1].shape, generator=generator, device=generator.device).to(p)
        scores -= (1 - u) * p
    return torch.empty_like(p).scatter_(1, order, scores)


def true_class_scores(scores: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                      ignore_index: int | None = None) -> Float[Tensor, "n"]:
    r"""$s_y$: of every class's score that of the label, for `conformal_quantile`.

    Shapes: scores `(B, K, *S)`, labels `(B, *S)`, `(n,)` of all voxels but those labelled `ignore_index`.
    Errors: as `cross_entropy`. Chapter 15.

    >>> true_class_scores(torch.tensor([[0.25, 0.75]]), torch.tensor([1]))
    tensor([0.7500])
    """
    check_logits_and_labels(scores, labels, ignore_index, name="scores")
    rows, labels = voxels_in_a_row(scores, labels, ignore_index)
    return rows.gather(1, labels[:, None]).squeeze(1)


def residual_scores(mean: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], *,
                    sigma: Float[Tensor, "*shape"] | None = None) -> Float[Tensor, "*shape"]:
    r"""$|y - \mu|$, or with a predicted `sigma` $|y - \mu| / \sigma$, for `conformal_quantile`.

    Shapes: `mean` $\mu$, `target` y and `sigma` all `(*shape)`. Units: the answer's, or none.
    Errors: TypeError for anything but float tensors; ValueError for shapes that do not belong together, NaN, a sigma
    that is not above 0. Source: Lei et al. 2018, doi:10.1080/01621459.2017.1307116. Chapter 15.

    >>> residual_scores(torch.tensor([1.0]), torch.tensor([4.0]), sigma=torch.tensor([2.0]))
    tensor([1.5000])
    """
    _check_regression(mean, sigma)
    check_float("target", target)
    check_same("target", target, like=mean)
    residual = (at_least_float32(target) - mean).abs()
    return residual if sigma is None else residual / sigma


def conformal_interval(mean: Float[Tensor, "*shape"], quantile: float, *,
                       sigma: Float[Tensor, "*shape"] | None = None) -> Interval:
    r"""$\mu \pm q$, or with a predicted `sigma` $\mu \pm q \sigma$: every answer whose `residual_scores` is at most q.

    Shapes: `mean` and `sigma` `(*shape)` to two of the same. Units: the answer's. An infinite quantile gives
    everything, $-\infty$ to $\infty$.
    Errors: as `residual_scores`; ValueError for a quantile below 0 or NaN. Source: as `residual_scores`. Chapter 15.

    >>> conformal_interval(torch.tensor([2.0]), 1.5, sigma=torch.tensor([2.0])).high
    tensor([5.])
    """
    _check_regression(mean, sigma)
    if quantile != math.inf:
        quantile = check_number("quantile", quantile, least=0)
    mean = at_least_float32(mean)
    reach = quantile * (torch.ones_like(mean) if sigma is None else at_least_float32(sigma))
    return Interval(mean - reach, mean + reach)


def false_negative_threshold(probabilities: Float[Tensor, "n *s"], masks: Bool[Tensor, "n *s"], *,
                             alpha: float) -> float:
    r"""The largest t for which the marks $p \ge t$ miss at most the share $\alpha$ of a lesion, on average over images.

    Shapes: `probabilities` of the lesion and its true `masks` in n calibration images, `(n, *S)`. Units: none, 0..1.
    It is the largest t with $(\sum_i \mathrm{FNR}_i(t) + 1) / (n + 1) \le \alpha$ ("conformal risk control"), where
    $\mathrm{FNR}_i$ is the missed share of image i's lesion voxels, and 0 for an image without a lesion: the promise is
    about images of the mix that was calibrated on. It is found exactly, at one of the lesion voxels' probabilities.
    Too few images, $n < 1/\alpha - 1$, give 0, so that everything is marked; where nothing needs to be, infinity.
    Errors: TypeError for other dtypes; ValueError for shapes that do not belong together, probabilities outside 0..1,
    an `alpha` not between 0 and 1. Source: Angelopoulos et al. 2024, arXiv:2208.02814. Chapter 15.

    >>> p = torch.tensor([0.25, 0.5, 0.75, 1.0]).expand(9, 4)           # nine lesions of four voxels
    >>> false_negative_threshold(p, torch.ones(9, 4, dtype=torch.bool), alpha=0.4)
    0.5
    """
    _check_lesions(probabilities, masks)
    alpha = check_number("alpha", alpha, above=0, below=1)
    n = len(masks)
    budget = alpha * (n + 1) - 1 + 1e-9                         # what all images may miss together, and the rounding
    if budget < 0:
        return 0.0
    share = 1 / masks.reshape(n, -1).sum(1).double()            # of its image's lesion, that a voxel is
    found, order = probabilities[masks].sort()
    missed = share[masks.nonzero()[:, 0]][order].cumsum(0)      # above the first, above the second ... voxel
    within = int(torch.searchsorted(missed, budget))
    return found[within].item() if within < len(found) else math.inf


def _check_regression(mean: Tensor, sigma: Tensor | None) -> None:
    check_float("mean", mean)
    if sigma is not None:
        check_float("sigma", sigma)
        check_same("sigma", sigma, like=mean)
        check_holds("sigma", sigma, sigma > 0, expected="standard deviations above 0")


def _check_lesions(probabilities: Tensor, masks: Tensor) -> None:
    check_float("probabilities", probabilities, least=0, most=1)
    check_tensor("masks", masks, dtype="bool", shape="(n, *S)", space=(1, 2, 3))
    check_same("masks", masks, like=probabilities)
