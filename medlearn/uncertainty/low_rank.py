r"""Voxels that are right or wrong together: logits with a covariance of low rank (chapter 15).

A network gives a mean, R factors and a variance for each logit of the map, `(B, K, *S)`, and its labels are drawn in
two steps: the logits $z = \mu + \sum_r \epsilon_r f_r + \sigma \epsilon'$, where one number $\epsilon_r$ moves the
whole map along a factor, and then each voxel's label from the softmax of its own logits.
"""
from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import at_least_float32
from medlearn.base.random import check_generator, normal
from medlearn.base.validation import check_finite, check_float, check_shape, check_tensor, check_whole
from medlearn.uncertainty._inputs import check_log_variance, check_log_variance_shape, without_ignored


def low_rank_logits(mean_logits: Float[Tensor, "b k *s"], factors: Float[Tensor, "b r k *s"], *,
                    log_variance: Float[Tensor, "b k *s"], samples: int,
                    generator: Generator) -> Float[Tensor, "t b k *s"]:
    r"""$z_t = \mu + \sum_r \epsilon_{tr} f_r + \sigma \epsilon'_t$: T draws of logits whose voxels hang together.

    Shapes: `mean_logits` $\mu$ and the `log_variance` $\ln \sigma^2$ of each logit `(B, K, *S)`, `factors` f
    `(B, R, K, *S)`, R of them, which may be 0; the draws `(T, B, K, *S)` with T `samples`, by the `generator`. Units:
    none. The covariance of two logits of an image is $\sum_r f_r f_r'$, and at the same logit $\sigma^2$ more.
    Differentiable; float32 or better. No image gives none.
    Errors: TypeError for anything but float tensors; ValueError for shapes that do not belong together, NaN, a
    log-variance outside -80..80, no sample.
    Source: Monteiro et al. 2020, arXiv:2006.06015. Chapter 15.

    >>> flat = torch.zeros(1, 2, 8)
    >>> draws = low_rank_logits(flat, torch.ones(1, 1, 2, 8), log_variance=flat - 80, samples=3,
    ...                         generator=torch.Generator())
    >>> draws.shape, bool(draws.var(dim=(2, 3)).max() < 1e-9)                   # all of a map moves together
    (torch.Size([3, 1, 2, 8]), True)
    """
    check_float("mean_logits", mean_logits, shape="(B, K, *S)", space=(0, 1, 2, 3))
    check_finite("factors", _check_factors(factors, mean_logits))
    check_log_variance(log_variance, like=mean_logits)
    check_whole("samples", samples, least=1)
    check_generator(generator)
    b, rank = factors.shape[:2]
    dtype = torch.promote_types(torch.promote_types(mean_logits.dtype, factors.dtype), log_variance.dtype)
    mean, factors, log_variance = (at_least_float32(value.to(dtype)) for value in (mean_logits, factors, log_variance))
    together = normal((samples, b, rank), generator).to(mean)
    alone = normal((samples, *mean.shape), generator).to(mean)
    return mean + torch.einsum("tbr,br...->tb...", together, factors) + (log_variance / 2).exp() * alone


def low_rank_nll(mean_logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                 factors: Float[Tensor, "b r k *s"], log_variance: Float[Tensor, "b k *s"], samples: int,
                 generator: Generator, ignore_index: int | None = None) -> Float[Tensor, ""]:
    r"""$-\ln \frac1T \sum_t \prod_v \mathrm{softmax}(z_{tv})_{y_v}$: the likelihood of whole label maps.

    Shapes: labels `(B, *S)`; a scalar, the mean over images; `mean_logits`, `factors`, `log_variance`, `samples` and
    `generator` as `low_rank_logits`, which draws the logits. Units: nats an image, not a voxel: the draws are averaged
    *after* the product over voxels, so that a draw is only as good as its whole map. Without a factor and a variance it
    is the sum of the cross-entropies. The mean likelihood is unbiased, minus its logarithm is too large on average.
    Memory grows with T. Voxels labelled `ignore_index` count for nothing; of no image it is 0.
    Errors: as `cross_entropy` and `low_rank_logits`.
    Source: Monteiro et al. 2020, arXiv:2006.06015. Chapter 15.

    >>> flat = torch.zeros(1, 2, 8)
    >>> nll = low_rank_nll(flat, torch.ones(1, 8, dtype=torch.long), factors=torch.zeros(1, 0, 2, 8),
    ...                    log_variance=flat - 80, samples=2, generator=torch.Generator())
    >>> round(nll.item() / 8, 4)                                                # ln 2 at each of eight voxels
    0.6931
    """
    check_logits_and_labels(mean_logits, labels, ignore_index, name="mean_logits")
    check_log_variance_shape(log_variance, like=mean_logits)
    mean_logits, factors, log_variance = (without_ignored(x, labels, ignore_index) for x in (
        mean_logits, _check_factors(factors, mean_logits), log_variance))
    draws = low_rank_logits(mean_logits, factors, log_variance=log_variance, samples=samples, generator=generator)
    ignored = torch.zeros_like(labels, dtype=torch.bool) if ignore_index is None else labels == ignore_index
    true_class = labels.masked_fill(ignored, 0)[:, None].expand(samples, -1, -1, *labels.shape[1:])
    log_p = draws.log_softmax(2).gather(2, true_class).squeeze(2).masked_fill(ignored, 0)
    map_log_p = log_p.sum(tuple(range(2, log_p.ndim)))
    return (math.log(samples) - map_log_p.logsumexp(0)).sum() / max(1, len(labels))


def _check_factors(factors: Tensor, mean_logits: Tensor) -> Tensor:
    """Refuses anything but R factors `(B, R, K, *S)` of each logit, without a look at the values."""
    check_tensor("factors", factors, dtype="float")
    b, *rest = mean_logits.shape
    return check_shape("factors", factors, (b, factors.shape[1] if factors.ndim > 1 else 0, *rest),
                       because="factors of each logit")
