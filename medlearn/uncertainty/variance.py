r"""The law of total variance: what the data leave open, and what the members disagree about (chapter 14)."""
from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.precision import at_least_float32
from medlearn.base.validation import check_float, check_same
from medlearn.uncertainty._inputs import check_members, check_probabilities, check_variances, sums_to_1


class Variances(NamedTuple):
    r"""`total` = `aleatoric` + `epistemic`: variances, in the answer's units squared. Chapter 14.

    >>> parts = total_variance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.5], [0.5]]))
    >>> parts.total, parts.aleatoric, parts.epistemic
    (tensor([1.5000]), tensor([0.5000]), tensor([1.]))
    """

    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


class Entropies(NamedTuple):
    r"""`total` = `aleatoric` + `epistemic`: entropies in nats, the epistemic one a mutual information. Chapter 14.

    >>> parts = class_entropy(torch.full((3, 1, 2), 0.5))               # three members, all in doubt
    >>> parts.aleatoric, parts.epistemic
    (tensor([0.6931]), tensor([0.]))
    """

    total: Tensor
    aleatoric: Tensor
    epistemic: Tensor


def total_variance(means: Float[Tensor, "m *shape"], variances: Float[Tensor, "m *shape"]) -> Variances:
    r"""$\operatorname{Var}[y]$ $= \mathbb{E}_m[\sigma_m^2] + \operatorname{Var}_m[\mu_m]$, aleatoric and epistemic.

    Shapes: `means` $\mu$ and `variances` $\sigma^2$, the M members first, `(M, *shape)`; each part is `(*shape)`.
    Units: the answer's, squared.
    The members are all there are, so the variance of their means divides by M. One member disagrees with nobody:
    its epistemic part is 0, which says that it cannot be known and not that it is small.
    Computed in float32 or better. Errors: TypeError for anything but float tensors; ValueError for no member, shapes or
    devices that do not belong together, a negative variance, NaN or infinite numbers.
    Source: Kendall and Gal 2017, arXiv:1703.04977; Lakshminarayanan et al. 2017, sec. 2.4,
    arXiv:1612.01474. Chapter 14.

    >>> total_variance(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.5], [1.5]])).total      # 1 + 1
    tensor([2.])
    """
    check_members("means", means)
    check_float("means", means)
    check_variances("variances", variances, like=means)
    return _variances(at_least_float32(means), at_least_float32(variances))


def class_variance(probabilities: Float[Tensor, "m b k *s"]) -> Variances:
    r"""$\bar p\,(1 - \bar p)$ $= \mathbb{E}_m[p_m (1 - p_m)]$ $+ \operatorname{Var}_m[p_m]$, of each class: the same law.

    It is `total_variance` of a label that is 1 for its class and else 0: its mean is $p$ and its variance $p (1 - p)$.
    Shapes: the M members first, `(M, B, K, *S)`; each part is `(B, K, *S)`. Units: none, 0..1/4.
    Sum over the classes for one number a voxel. One member: as `total_variance`.
    Errors: TypeError for anything but float tensors; ValueError for no member, another number of axes, or probabilities
    outside 0..1 or that do not sum to 1 over the classes.
    Source: Depeweg et al. 2018, arXiv:1710.07283; Kwon et al. 2020, doi:10.1016/j.csda.2019.106816. Chapter 14.

    >>> sure_and_at_odds = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> class_variance(sure_and_at_odds).epistemic
    tensor([[0.2500, 0.2500]])
    """
    check_members("probabilities", probabilities)
    check_probabilities(probabilities, axes_before=1)
    p = at_least_float32(probabilities)
    return _variances(p, _label_variance(p))


def class_entropy(probabilities: Float[Tensor, "m b k *s"]) -> Entropies:
    r"""$H[\bar p] = \mathbb{E}_m\,H[p_m] + I$: entropy of the mean, mean entropy, and the mutual information (BALD).

    Shapes: `probabilities (M, B, K, *S)`, the M members first; each part is `(B, *S)`. Units: nats, 0..ln K, where
    $0 \ln 0 = 0$.
    The mutual information is what is left, at least 0, and for one member 0.
    Errors: as `class_variance`. Source: Houlsby et al. 2011, eq. 2, arXiv:1112.5745. Chapter 14.

    >>> sure_and_at_odds = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> class_entropy(sure_and_at_odds).epistemic
    tensor([0.6931])
    """
    check_members("probabilities", probabilities)
    check_probabilities(probabilities, axes_before=1)
    p = at_least_float32(probabilities)
    return _entropies(p.mean(0), _entropy(p, dim=2).mean(0))


class RunningVariance:
    r"""`total_variance` of members that come one by one and are not kept: memory does not grow with their number.

    `members` counts them. To rounding the numbers are those of `total_variance`. It keeps three tensors of a mean's
    size. Errors: as `total_variance`; ValueError for a member of another shape, and for a result without a member.
    Source: Welford 1962, doi:10.1080/00401706.1962.10490022. Chapter 14.

    >>> running = RunningVariance()
    >>> for mean in (0.0, 2.0):
    ...     running.add(torch.tensor([mean]), torch.tensor([0.5]))
    >>> running.mean, running.result().total
    (tensor([1.]), tensor([1.5000]))
    """

    def __init__(self) -> None:
        self.members = 0

    @torch.no_grad()
    def add(self, mean: Float[Tensor, "*shape"], variance: Float[Tensor, "*shape"]) -> None:
        """Takes the next member's `mean` and `variance`, without their gradients."""
        check_float("mean", mean)
        check_variances("variance", variance, like=mean)
        if self.members:
            check_same("mean", mean, like=self._mean)
        self._take(mean, variance)

    def _take(self, mean: Tensor, variance: Tensor) -> None:
        if self.members == 0:
            self._mean, self._squares, self._variance = (torch.zeros_like(at_least_float32(mean)) for _ in range(3))
        self.members += 1
        step = mean - self._mean
        self._mean.add_(step, alpha=1 / self.members)
        self._squares.addcmul_(step, step, value=1 - 1 / self.members)      # stays a sum of squares, so never below 0
        self._variance.lerp_(variance.to(self._variance.dtype), 1 / self.members)

    @property
    def mean(self) -> Float[Tensor, "*shape"]:
        r"""The mean of the means so far, the answer of all members together."""
        self._check_any()
        return self._mean.clone()

    def result(self) -> Variances:
        """The decomposition of the members so far."""
        self._check_any()
        epistemic = self._squares / self.members
        return Variances(self._variance + epistemic, self._variance.clone(), epistemic)

    def _check_any(self) -> None:
        if self.members == 0:
            raise ValueError("expected at least one member, got a result asked for before `add`")


class RunningProbabilities:
    r"""`class_variance` and `class_entropy` of members that come one by one and are not kept.

    `members` counts them. To rounding the numbers are those of the two functions. It keeps three tensors of the
    probabilities' size, and an entropy of each voxel.
    Errors: as `class_variance`; ValueError for a member of another shape, and for a result without a member.
    Source: as `RunningVariance`. Chapter 14.

    >>> running = RunningProbabilities()
    >>> for p in ([[1.0, 0.0]], [[0.0, 1.0]]):
    ...     running.add(torch.tensor(p))
    >>> running.mean, running.entropies().epistemic
    (tensor([[0.5000, 0.5000]]), tensor([0.6931]))
    """

    def __init__(self) -> None:
        self._labels = RunningVariance()
        self._entropy: Tensor                                   # the mean of the members', once there is one

    @property
    def members(self) -> int:
        return self._labels.members

    @torch.no_grad()
    def add(self, probabilities: Float[Tensor, "b k *s"]) -> None:
        """Takes the next member's probabilities `(B, K, *S)`, without their gradient."""
        check_probabilities(probabilities)
        if self.members:
            check_same("probabilities", probabilities, like=self._labels._mean)
        p = at_least_float32(probabilities)
        self._labels._take(p, _label_variance(p))
        entropy = _entropy(p, dim=1)
        self._entropy = entropy if self.members == 1 else self._entropy.lerp_(entropy, 1 / self.members)

    @property
    def mean(self) -> Float[Tensor, "b k *s"]:
        r"""$\bar p$ so far, the answer of all members together."""
        return sums_to_1(self._labels.mean)

    def variances(self) -> Variances:
        """`class_variance` of the members so far."""
        return self._labels.result()

    def entropies(self) -> Entropies:
        """`class_entropy` of the members so far."""
        mean = self._labels.mean                                # as it is: of one member no rounding is left to tell
        return _entropies(mean, self._entropy.clone())


def _variances(means: Tensor, variances: Tensor) -> Variances:
    aleatoric = variances.mean(0)
    epistemic = (means - means.mean(0)).square().mean(0)
    return Variances(aleatoric + epistemic, aleatoric, epistemic)


def _label_variance(p: Tensor) -> Tensor:
    """Of a label that is 1 with probability p; rounding may have left a p just above 1."""
    return (p * (1 - p)).clamp_min_(0)


def _entropy(p: Tensor, dim: int) -> Tensor:
    return torch.special.entr(p).sum(dim).clamp_min_(0)


def _entropies(mean: Tensor, aleatoric: Tensor) -> Entropies:
    """What the mean's entropy has more than the members'. Rounding alone would leave it below 0."""
    epistemic = (_entropy(mean, dim=1) - aleatoric).clamp_min(0)
    return Entropies(aleatoric + epistemic, aleatoric, epistemic)
