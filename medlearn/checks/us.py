r"""Chapter 13, ultrasound: how far apart lesion and tissue are, what frames are worth, three ways to read a level."""
from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check

EULER = 0.5772156649015329


def gcnr(image: Float[Tensor, "*s"], lesion: Bool[Tensor, "*s"], around: Bool[Tensor, "*s"],
         bins: int = 100) -> Float[Tensor, ""]:
    r"""$1 - \sum_i \min(p_i, q_i)$ of two histograms with common bins; 0 where one value is all there is.

    Chapter 13.
    """
    p, q = image[lesion], image[around]
    both = torch.cat([p, q])
    if len(p) == 0 or len(q) == 0:
        return image.new_tensor(math.nan)
    low, high = both.min().item(), both.max().item()
    if low == high:
        return image.new_tensor(0.0)
    p, q = (torch.histc(part, bins, low, high) / len(part) for part in (p, q))
    return 1 - torch.minimum(p, q).sum()


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


_SPECKLE = _rayleigh(40, 30)
_LEFT = torch.arange(30).expand(40, 30) < 12
_DARK = torch.where(_LEFT, 0.25, 1.0) * _SPECKLE
_VOLUME = _rayleigh(8, 9, 10, seed=1)
_INNER = torch.zeros(8, 9, 10, dtype=torch.bool)
_INNER[2:5, 2:6, 3:8] = True
_RAMP = torch.arange(10, dtype=torch.float64)
_FIRST = torch.arange(10) < 5
_ZEROS = torch.zeros(6, 7, dtype=torch.float64)
_STRIPE = torch.arange(7).expand(6, 7) < 3

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_GCNR = (
    Case("apart", dict(image=_RAMP.float(), lesion=_FIRST, around=~_FIRST, bins=10),
         "No value occurs in both: the histograms do not overlap at all, and the answer is 1."),
    Case("half and half", dict(image=_RAMP % 5, lesion=_FIRST, around=~_FIRST, bins=5),
         "Both hold the same values equally often: the overlap is whole, and the answer is 0."),
    Case("a dark lesion", dict(image=_DARK, lesion=_LEFT, around=~_LEFT, bins=20),
         "Both histograms need the same bins, from the least to the greatest value of the two regions together."),
    Case("regions of unequal size", dict(image=_SPECKLE, lesion=_LEFT & (_SPECKLE < 2), around=~_LEFT, bins=10),
         "A histogram counts voxels; divide each by the number of its own, or the larger region wins."),
    Case("only the two regions", dict(image=torch.where(_STRIPE, 9.0, _rayleigh(6, 7, seed=2)),
                                      lesion=torch.arange(7).expand(6, 7) == 4,
                                      around=torch.arange(7).expand(6, 7) > 4, bins=5),
         "What lies in neither region, however bright, has no say in where the bins are."),
    Case("a volume", dict(image=_VOLUME * torch.where(_INNER, 0.5, 1.0), lesion=_INNER, around=~_INNER, bins=12),
         "Any number of axes of space."),
    Case("nothing but zeros", dict(image=_ZEROS, lesion=_STRIPE, around=~_STRIPE, bins=10),
         "One value is all there is, in both regions: they cannot be told apart, and the answer is 0."),
    Case("no lesion", dict(image=_SPECKLE, lesion=_LEFT & ~_LEFT, around=~_LEFT, bins=10),
         "Without voxels in one of the regions there is nothing to compare: NaN."),
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
    Check("us.gcnr", gcnr, _GCNR),
    Check("us.worth", worth, _WORTH),
    Check("us.levels", levels, _LEVELS),
)
