r"""Chapter 14, Two ways of not knowing: where to look next, and the law of total variance one level up."""
from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.checks.engine import Case, Check


def after_one_more(covariance: Float[Tensor, "b n n"], noise_variance: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    r"""$\frac1n \sum_j \big( C_{jj} - C_{ij}^2 / (C_{ii} + \sigma_i^2) \big)$: what one more sample at i leaves open.

    Chapter 14.
    """
    variance = covariance.diagonal(dim1=1, dim2=2)
    return variance.mean(1, keepdim=True) - covariance.square().mean(2) / (variance + noise_variance)


def pool(members: Int64[Tensor, "n"], means: Float[Tensor, "n *s"], aleatoric: Float[Tensor, "n *s"],
         epistemic: Float[Tensor, "n *s"]) -> tuple[Float[Tensor, "*s"], Float[Tensor, "*s"], Float[Tensor, "*s"]]:
    r"""Mean, aleatoric, epistemic part of n ensembles as one, $\mathbb{E}_h[e_h] + \operatorname{Var}_h[\mu_h]$.

    An ensemble counts by its number of members; one without members counts for nothing. Chapter 14.
    """
    weight = (members / members.sum()).to(means).reshape(-1, *[1] * (means.ndim - 1))
    mean = (weight * means).sum(0)
    between = (weight * (means - mean).square()).sum(0)
    return mean, (weight * aleatoric).sum(0), (weight * epistemic).sum(0) + between


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _choice(b: int, n: int, seed: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Covariances (b, n, n) and noise (b, n)."""
    draw = _generator(seed)
    root = torch.randn(b, n, n, generator=draw, dtype=torch.float64)
    noise = torch.rand(b, n, generator=draw, dtype=torch.float64) + 0.1
    return dict(covariance=(root @ root.mT / max(1, n)).to(dtype), noise_variance=noise.to(dtype))


def _maps(n: int, *shape: int, seed: int) -> dict[str, Tensor]:
    draw = _generator(seed)
    return dict(means=torch.randn(n, *shape, generator=draw), aleatoric=torch.rand(n, *shape, generator=draw) + 0.1,
                epistemic=torch.rand(n, *shape, generator=draw))


_CT = _maps(2, 3, 4, seed=9)
_CT["means"] = 1000 + 0.5 * _CT["means"]
_SINGLE = _maps(3, 3, 4, seed=10)
_SINGLE["epistemic"] = torch.zeros(3, 3, 4)

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_KNOWN = _choice(1, 5, seed=3)
_KNOWN["covariance"][:, 2], _KNOWN["covariance"][:, :, 2] = 0, 0
_APART = torch.tensor([1.0, 4.0, 9.0]).double().diag()[None]
_UNEVEN = _choice(1, 4, seed=2) | dict(noise_variance=torch.tensor([[9.0, 0.1, 1.0, 4.0]]).double())
_EXACT = _choice(1, 4, seed=5) | dict(noise_variance=torch.full((1, 4), 1e-9).double())

_ONE_MORE = (
    Case("days that tell nothing of each other", dict(covariance=_APART, noise_variance=torch.ones(1, 3).double()),
         "A sample lowers the variance C of its own day to C less C squared over (C + noise). Average over all days."),
    Case("days that do", _choice(1, 6, seed=0),
         "A sample on day i lowers the variance of day j by the square of their covariance over (C_ii + noise)."),
    Case("noise that differs", _UNEVEN, "The noise is that of the day on which the sample is taken."),
    Case("several patients", _choice(3, 4, seed=1), "One row for each patient, who has a posterior of their own."),
    Case("a day that is known already", _KNOWN,
         "Where the curve is known a sample changes nothing, and the answer is today's mean variance."),
    Case("hardly any noise", _EXACT, "Without noise the sampled day is known afterwards; the others are not."),
    Case("a single day",
         dict(covariance=torch.full((1, 1, 1), 2.0).double(), noise_variance=torch.full((1, 1), 2.0).double()),
         "Of the variance 2 and the noise 2 half is left."),
    Case("nobody", _choice(0, 4, seed=6), "No patients in, no rows out: shape (0, 4)."),
    Case("single precision", _choice(2, 5, seed=7, dtype=torch.float32), "The result has the dtype of the covariance."),
)

_POOL = (
    Case("two alike", dict(members=torch.tensor([3, 3]), **_maps(2, 3, 4, seed=6)),
         "The epistemic part has two parts: the mean of theirs, and the variance of their means."),
    Case("one larger", dict(members=torch.tensor([1, 4]), **_maps(2, 3, 4, seed=7)),
         "Every member has the same weight, so an ensemble counts by its number of members, in the variance too."),
    Case("three, of volumes", dict(members=torch.tensor([2, 5, 3]), **_maps(3, 2, 3, 4, seed=8)),
         "The first axis is that of the ensembles; all others are space, however many."),
    Case("numbers of a CT", dict(members=torch.tensor([2, 3]), **_CT),
         "Around 1000 the difference of two squares has lost its digits: subtract the mean first, then square."),
    Case("single networks", dict(members=torch.tensor([1, 1, 1]), **_SINGLE),
         "Ensembles of one member each: this is the law of total variance as the chapter has it, dividing by n."),
    Case("one hospital", dict(members=torch.tensor([4]), **_maps(1, 3, 4, seed=11)),
         "Pooled with nobody, an ensemble stays what it is."),
    Case("a hospital without a network", dict(members=torch.tensor([2, 0, 3]), **_maps(3, 3, 4, seed=12)),
         "No members, no weight: its maps count for nothing, in the variance of the means too."),
)

CHECKS = (
    Check("unc.one_more", after_one_more, _ONE_MORE),
    Check("unc.pool", pool, _POOL),
)
