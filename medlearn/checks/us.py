r"""Chapter 13, ultrasound: which power of the amplitude a screen shows, what frames are worth, how to read a level."""
from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check

EULER = 0.5772156649015329


def exponent(ratio: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""The $\gamma$ for which $a^\gamma$ has the ratio: $\Gamma(1 + \gamma) / \Gamma(1 + \gamma / 2)^2 = 1 + r^2$; 0 at 0.

    Chapter 13.
    """
    wanted = torch.log1p(ratio.double().square())
    gamma = torch.full_like(wanted, 1.0)
    for _ in range(100):                                        # Newton's steps
        half = gamma / 2
        off = torch.lgamma(1 + gamma) - 2 * torch.lgamma(1 + half) - wanted
        slope = torch.digamma(1 + gamma) - torch.digamma(1 + half)
        gamma = (gamma - off / slope).clamp(1e-9, 10)
    return torch.where(wanted > 0, gamma, 0).to(ratio.dtype)


def worth(frames: Float[Tensor, "b n *s"]) -> Float[Tensor, "b"]:
    r"""$\frac{1}{n} \sum_k \mathrm{var}(a_k) / \mathrm{var}(\frac{1}{n} \sum_k a_k)$ over space; 1 without speckle.

    Chapter 13.
    """
    one = frames.flatten(2).var(2, unbiased=False).mean(1)
    mean = frames.mean(1).flatten(1).var(1, unbiased=False)
    return torch.where(mean > 0, one / torch.where(mean > 0, mean, 1), 1)


def levels(a: Float[Tensor, "b *s"]) -> Float[Tensor, "b 3"]:
    r"""Rayleigh's sigma from $\langle a \rangle$, $\langle a^2 \rangle$ and $\langle \ln a \rangle$, in this order.

    Chapter 13.
    """
    a = a.flatten(1)
    by_mean = a.mean(1) * math.sqrt(2 / math.pi)
    by_power = (a.square().mean(1) / 2).sqrt()
    by_log = (a.log().mean(1) - (math.log(2) - EULER) / 2).exp()
    return torch.stack([by_mean, by_power, by_log], dim=1)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _rayleigh(*shape: int, seed: int = 0, sigma: float = 1.0) -> Tensor:
    g = torch.randn(2, *shape, generator=_generator(seed), dtype=torch.float64)
    return sigma * g.square().sum(0).sqrt()


_RATIOS = torch.rand(2, 3, 4, 5, generator=_generator(0), dtype=torch.float64)

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_EXPONENT = (
    Case("the amplitude itself", dict(ratio=torch.tensor([math.sqrt(4 / math.pi - 1)]).double()),
         "Rayleigh's amplitude has a spread of 0.52 of its mean: its power is 1."),
    Case("the power", dict(ratio=torch.tensor([1.0]).double()),
         "An exponential variable spreads by its mean, and it is the square of the amplitude."),
    Case("a square root", dict(ratio=torch.tensor([0.2806]).double()),
         "The spread is not proportional to the exponent: turn the formula around, do not divide."),
    Case("nearly flat", dict(ratio=torch.tensor([0.01, 0.05]).double()), "Small exponents count as well."),
    Case("a map of a volume", dict(ratio=_RATIOS), "Any number of axes, each number by itself."),
    Case("nothing spreads", dict(ratio=torch.zeros(2, 3).double()), "A ratio of 0 has the exponent 0, and not NaN."),
    Case("single precision", dict(ratio=_RATIOS[0].float()), "The result has the dtype of the ratio."),
)

_SAME = _rayleigh(1, 1, 20, 20, seed=3)
_CORRELATED = torch.cat([_SAME, _SAME + 0.5 * _rayleigh(1, 1, 20, 20, seed=4), _rayleigh(1, 1, 20, 20, seed=5)], dim=1)

_WORTH = (
    Case("the same frame four times", dict(frames=_SAME.expand(1, 4, 20, 20)),
         "The mean of equal frames has the speckle of one: they are worth 1, not 4."),
    Case("frames that are partly alike", dict(frames=_CORRELATED),
         "Compare the variance over space of one frame, averaged over the frames, with that of the mean frame."),
    Case("several patients", dict(frames=torch.cat([_CORRELATED, 3 * _rayleigh(1, 3, 20, 20, seed=6)])),
         "One number for each patient, (B,), whatever the gain was."),
    Case("frames of unequal gain",
         dict(frames=_rayleigh(1, 2, 20, 20, seed=7) * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)),
         "Average the variances of the frames, all of them, not the standard deviations."),
    Case("a volume", dict(frames=_rayleigh(2, 3, 6, 7, 8, seed=8)),
         "The variance goes over all axes of space, and over no other."),
    Case("one frame", dict(frames=_rayleigh(2, 1, 9, 9, seed=9)), "One frame is worth one."),
    Case("a cyst", dict(frames=torch.zeros(2, 3, 8, 8)),
         "Without any echo there is no speckle, in the mean or in the frames: 1 by agreement, not NaN."),
)

_LEVELS = (
    Case("one patient", dict(a=_rayleigh(1, 50, 40, seed=10)),
         "The mean of Rayleigh's amplitude is sigma times the root of pi / 2; its mean power is twice sigma squared."),
    Case("a brighter one", dict(a=_rayleigh(1, 50, 40, seed=11, sigma=40.0)),
         "Twice the amplitude is twice the level, by each of the three ways: check the powers and the roots."),
    Case("a constant", dict(a=torch.full((1, 4, 5), 2.0)),
         "Here the three disagree, since a constant is not Rayleigh's. The mean of ln a is ln sigma + (ln 2 - gamma) "
         "/ 2."),
    Case("several patients", dict(a=torch.stack([_rayleigh(20, 20, seed=12), _rayleigh(20, 20, seed=13, sigma=5.0)])),
         "One row for each patient and one column for each way: (B, 3)."),
    Case("a volume", dict(a=_rayleigh(2, 6, 7, 8, seed=14)), "Average over all axes of space, and over no other."),
    Case("a cyst", dict(a=torch.zeros(2, 8, 8)),
         "The logarithm of zero is minus infinity, and the exponential of that is 0 again: all three ways give 0, "
         "not NaN."),
    Case("the gradient", dict(a=_rayleigh(2, 5, 5, seed=15)),
         "A level that a network is to be trained on needs a gradient.", gradient=("a",)),
)

CHECKS = (
    Check("us.exponent", exponent, _EXPONENT),
    Check("us.worth", worth, _WORTH),
    Check("us.levels", levels, _LEVELS),
)
