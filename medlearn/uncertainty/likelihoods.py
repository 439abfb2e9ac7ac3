r"""Networks that say how sure they are: a mean and a log-variance for each number, and what they are trained with.

The last layer of any network has twice the channels (`UNet(classes=2 * K)`, an MLP with two outputs), and `split_head`
takes them apart (chapter 14).
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import at_least_float32
from medlearn.base.random import normal
from medlearn.base.validation import (Number, check_choice, check_finite, check_float, check_number, check_same,
                                      check_tensor)
from medlearn.uncertainty._inputs import (check_log_variance, check_log_variance_shape, check_samples,
                                          sums_to_1, without_ignored)

Reduction = Literal["mean", "sum", "none"]


def split_head(output: Float[Tensor, "b c *s"]) -> tuple[Float[Tensor, "b k *s"], Float[Tensor, "b k *s"]]:
    r"""Mean $\mu$ and log-variance $s = \ln \sigma^2$: the first and the second half of the channels, c = 2 k.

    Shapes: `output (B, 2K, *S)` to two of `(B, K, *S)`, views of it. Units: the answer's, and the logarithm of
    their square.
    A log-variance may be any number, so nothing keeps a variance above 0 but the exponential.
    Errors: TypeError for anything but float tensors; ValueError for no axis of channels or an odd number of them.
    Source: Kendall and Gal 2017, sec. 3.1, arXiv:1703.04977. Chapter 14.

    >>> mean, log_variance = split_head(torch.zeros(1, 6, 8, 8))
    >>> mean.shape
    torch.Size([1, 3, 8, 8])
    """
    check_tensor("output", output, dtype="float")
    if output.ndim < 2 or output.shape[1] % 2 or output.shape[1] == 0:
        raise ValueError("output: expected (B, 2K, *S), a mean and a log-variance for each of K channels, "
                         f"got shape {tuple(output.shape)}")
    mean, log_variance = output.chunk(2, dim=1)
    return mean, log_variance


def gaussian_nll(mean: Float[Tensor, "*shape"], target: Float[Tensor, "*shape"], *,
                 log_variance: Float[Tensor, "*shape"], beta: float = 0.0,
                 reduction: Reduction = "mean") -> Float[Tensor, "*out"]:
    r"""$-\ln \mathcal{N}(y \mid \mu, \sigma^2)$ $= \frac12 (s + (y - \mu)^2 e^{-s} + \ln 2\pi)$, $s = \ln \sigma^2$.

    Shapes: `mean` $\mu$, `target` y and `log_variance` s all `(*shape)`; a scalar, or with
    `reduction="none"` one loss a number. Units: nats. Computed in float32 or better, under autocast too.
    `beta` multiplies each loss by $\sigma^{2\beta}$, through which no gradient flows. At 0 it is the likelihood, whose
    gradient $(\mu - y) / \sigma^2$ makes the mean learn slowly where the variance is large. At 1 the mean learns as
    from the squared error; its authors advise 0.5. Unless it is 0 the value is no likelihood.
    The mean over no number is 0. Errors: TypeError for anything but float tensors; ValueError for shapes that do not
    belong together, NaN, a log-variance outside -80..80, a `beta` outside 0..1.
    Source: Nix and Weigend 1994, doi:10.1109/ICNN.1994.374138; `beta`: Seitzer et al. 2022, arXiv:2203.09168.
    Chapter 14.

    >>> round(gaussian_nll(torch.zeros(1), torch.zeros(1), log_variance=torch.zeros(1)).item(), 4)      # ln(2 pi) / 2
    0.9189
    """
    check_float("mean", mean)
    check_log_variance(log_variance, like=mean)
    check_float("target", target)
    check_same("target", target, like=mean)
    beta = check_number("beta", beta, least=0, most=1)
    check_choice("reduction", reduction, get_args(Reduction))
    mean, log_variance, target = (at_least_float32(value) for value in (mean, log_variance, target))
    residual = (target - mean) * (-log_variance / 2).exp()                  # in units of sigma
    loss = (log_variance + residual.square() + math.log(2 * math.pi)) / 2
    if beta:
        loss = loss * (beta * log_variance.detach()).exp()
    return _reduced(loss, reduction, max(1, loss.numel()))


def speckle_nll(log_power: Float[Tensor, "*shape"], power: Float[Tensor, "*shape"], *,
                looks: Number = 1) -> Float[Tensor, "*shape"]:
    r"""A loss for each pixel, $L\,(\eta + I e^{-\eta})$: the mean power I of L looks at fully developed speckle.

    It is minus the logarithm of the density of I, Gamma's law with mean $e^\eta$ and shape L, without what depends on
    no parameter; so a measured 0 costs a finite amount. In $d = \ln I - \eta$ it is $L\,(e^d - d)$ and a constant: a
    loss of the logarithm, but steeper above than below, as the law of the logarithm is.
    Shapes: `log_power` $\eta$, what the network says, `power` I, what was measured, and the loss are alike. Units: the
    amplitude's, squared, and its logarithm; nats. float32 or better.
    `looks` L is how many *independent* looks I is the mean of; it may be a fraction, as a count of looks that are
    partly alike is. Its gradient is $L\,(1 - I / e^\eta)$, that of a squared error over its own variance. Empty gives
    empty.
    Errors: TypeError for anything but float tensors; ValueError for shapes that differ, a negative power, a log-power
    outside -80..80, looks that are not positive, NaN, a power so far above the log-power that the loss overflows.
    Source: Goodman 1976, doi:10.1364/JOSA.66.001145. Chapter 13.

    >>> log_power = torch.tensor([-1.0, 0.0, 1.0])
    >>> speckle_nll(log_power, torch.ones(3)).argmin().item()                # least where the power is the measured one
    1
    """
    check_float("log_power", log_power)
    check_finite("log_power", log_power, least=-80, most=80)
    check_same("power", check_float("power", power), like=log_power)
    check_finite("power", power, least=0)
    looks = check_number("looks", looks, above=0)
    log_power, power = at_least_float32(log_power), at_least_float32(power)
    return check_finite("speckle_nll", looks * (log_power + power * (-log_power).exp()))


def logit_normal_nll(mean_logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                     log_variance: Float[Tensor, "b k *s"], samples: int, generator: Generator,
                     ignore_index: int | None = None, reduction: Reduction = "mean") -> Float[Tensor, "*out"]:
    r"""$-\ln \frac1T \sum_t \mathrm{softmax}(z_t)_y$ with $z_t \sim \mathcal{N}(\mu, \sigma^2)$: the mean likelihood.

    Shapes: `mean_logits` $\mu$ and the `log_variance` of the logits `(B, K, *S)`, labels `(B, *S)`; a scalar, or with
    `reduction="none"` one loss a voxel. Units: nats. The `generator` draws the samples. Computed in float32 or better,
    under autocast too.
    `samples` is T; they come in pairs $\mu \pm \sigma \epsilon$ (antithetic), so T is even. The mean likelihood is
    unbiased; minus its logarithm is too large on average, by about half the mean's relative variance. The samples are
    drawn and forgotten one by one, so that memory does not grow with T: the gradient comes with the loss in closed
    form, each sample's error $p_t - y$ in the proportion in which it explains the label.
    Voxels labelled `ignore_index` count for nothing, and the mean over no voxel is 0. With the same seed it is $-\ln$
    of `logit_normal_probabilities`.
    Errors: as `cross_entropy`, and ValueError for NaN or infinite logits, a log-variance of another shape or outside
    -80..80, an odd number of samples. RuntimeError for a second derivative, which it does not have.
    Source: Kendall and Gal 2017, sec. 3.3, arXiv:1703.04977. Chapter 14.

    >>> loss = logit_normal_nll(torch.zeros(1, 2), torch.tensor([1]), log_variance=torch.zeros(1, 2), samples=8,
    ...                         generator=torch.Generator())
    >>> round(loss.item(), 4)                               # in pairs of +- noise the two classes stay equal
    0.6931
    """
    check_logits_and_labels(mean_logits, labels, ignore_index, name="mean_logits")
    check_log_variance_shape(log_variance, like=mean_logits)
    mean_logits, log_variance = (without_ignored(x, labels, ignore_index) for x in (mean_logits, log_variance))
    _check_logits(mean_logits, log_variance, samples)
    check_choice("reduction", reduction, get_args(Reduction))
    valid = None if ignore_index is None else labels != ignore_index
    true_class = (labels if valid is None else labels.masked_fill(~valid, 0))[:, None]
    mean_logits, log_variance = at_least_float32(mean_logits), at_least_float32(log_variance)
    loss = _LogitNormal.apply(mean_logits, log_variance, true_class, samples, generator)
    loss = loss if valid is None else loss.masked_fill(~valid, 0)
    return _reduced(loss, reduction, max(1, loss.numel()) if valid is None else valid.sum().clamp_min(1))


@torch.no_grad()
def logit_normal_probabilities(mean_logits: Float[Tensor, "b k *s"], log_variance: Float[Tensor, "b k *s"], *,
                               samples: int, generator: Generator) -> Float[Tensor, "b k *s"]:
    r"""$\bar p = \frac1T \sum_t \mathrm{softmax}(z_t)$ with $z_t \sim \mathcal{N}(\mu, \sigma^2)$: the prediction.

    Shapes: `mean_logits` $\mu$, `log_variance` $\ln \sigma^2$ and result `(B, K, *S)`. Units: none. Float32 or better,
    without a gradient. The `samples` are those of `logit_normal_nll`, drawn with the `generator` one by one. Of one
    network the entropy of $\bar p$ is the aleatoric part; of several it is `class_entropy` of their $\bar p$
    that tells the two apart.
    Errors: as `logit_normal_nll`. Source: Kendall and Gal 2017, sec. 3.3, arXiv:1703.04977. Chapter 14.

    >>> unsure = torch.tensor([[4.0, 0.0]]), torch.full((1, 2), 4.0)          # 0.98 without its variance
    >>> p = logit_normal_probabilities(*unsure, samples=100, generator=torch.Generator())
    >>> 0.5 < p[0, 0].item() < 0.9
    True
    """
    _check_logits(mean_logits, log_variance, samples)
    mean_logits, log_variance = at_least_float32(mean_logits), at_least_float32(log_variance)
    probabilities = torch.zeros_like(mean_logits)
    for noise in _noise(log_variance, samples, generator):
        probabilities += (mean_logits + noise).softmax(1)
    return sums_to_1(probabilities)


class _LogitNormal(torch.autograd.Function):
    r"""One loss a voxel, and its gradient while the samples pass by.

    With $l_t = \ln \mathrm{softmax}(z_t)_y$ and $L = \ln \sum_t e^{l_t}$ the loss is $\ln T - L$. The mean receives
    $\sum_t e^{l_t - L} (p_t - y)$, and the log-variance the same with each sample's $\sigma \epsilon_t / 2$ in the sum.
    The sums are kept relative to the $L$ so far: with a sample it grows to $L'$, and they shrink by $e^{L - L'}$.
    """

    @staticmethod
    def forward(ctx, mean, log_variance, true_class, samples, generator):
        likelihood = torch.full_like(mean[:, :1], -torch.inf)
        gradients = torch.zeros_like(mean), torch.zeros_like(mean)
        for noise in _noise(log_variance, samples, generator):
            log_p = (mean + noise).log_softmax(1)
            log_p_y = log_p.gather(1, true_class)
            before, likelihood = likelihood, torch.logaddexp(likelihood, log_p_y)
            if any(ctx.needs_input_grad):
                error = log_p.exp_().scatter_add_(1, true_class, torch.full_like(log_p_y, -1))
                error *= (log_p_y - likelihood).exp_()
                shrunk = (before - likelihood).exp_()
                gradients[0].mul_(shrunk).add_(error)
                gradients[1].mul_(shrunk).addcmul_(error, noise, value=0.5)
        ctx.save_for_backward(*gradients, mean, log_variance)
        return (math.log(samples) - likelihood).squeeze(1)

    @staticmethod
    def backward(ctx, received):
        *gradients, mean, log_variance = ctx.saved_tensors
        found = [received[:, None] * gradient for gradient in gradients]
        if torch.is_grad_enabled():                         # then a second derivative may be asked for
            found = [_Once.apply(gradient, mean, log_variance) for gradient in found]
        return *found, None, None, None


class _Once(torch.autograd.Function):
    """A gradient that hangs on all it came from, so that no way to a second one leads around the refusal."""

    @staticmethod
    def forward(ctx, gradient, mean, log_variance):
        return gradient.clone()

    @staticmethod
    def backward(ctx, received):
        raise RuntimeError("logit_normal_nll: expected one derivative, got asked for a second, which it does not have")


def _noise(log_variance: Tensor, samples: int, generator: Generator) -> Iterator[Tensor]:
    r"""$\sigma \epsilon$ and then $-\sigma \epsilon$, for as many pairs as make so many samples."""
    sigma = (log_variance / 2).exp()
    for _ in range(samples // 2):
        noise = normal(sigma.shape, generator).to(sigma).mul_(sigma)
        yield noise
        yield noise.neg_()


def _reduced(loss: Tensor, reduction: Reduction, count: int | Tensor) -> Tensor:
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.sum() / count


def _check_logits(mean_logits: Tensor, log_variance: Tensor, samples: int) -> None:
    check_float("mean_logits", mean_logits)
    check_log_variance(log_variance, like=mean_logits)
    check_samples(samples)
