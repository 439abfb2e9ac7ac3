r"""Chapter 15, When to ask a person: how far members agree, the error left, how far a volume scatters."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check
from medlearn.uncertainty import referral


def agreement(masks: Bool[Tensor, "m b *s"]) -> Float[Tensor, "b"]:
    r"""The mean over all pairs of members of $2 |A_i \cap A_j| / (|A_i| + |A_j|)$; 1 of two empty masks. Chapter 15."""
    members = len(masks)
    flat = masks.flatten(2).float()
    both = torch.einsum("ibv,jbv->bij", flat, flat)
    size = flat.sum(2).T
    size = size[:, :, None] + size[:, None]
    dice = torch.where(size > 0, 2 * both / size.clamp_min(1), 1)
    pairs = torch.triu_indices(members, members, offset=1, device=masks.device)
    return dice[:, pairs[0], pairs[1]].mean(1) if members > 1 else torch.ones_like(dice[:, 0, 0])


def error_left(uncertainty: Float[Tensor, "*m n"], error: Float[Tensor, "*m n"],
               fraction: float) -> Float[Tensor, "*m"]:
    r"""The mean error over all n cases once those who are referred have none; 0 of no case. Chapter 15."""
    n = error.shape[-1]
    if n == 0:
        return error.sum(-1)
    lists = zip(uncertainty.reshape(-1, n), error.reshape(-1, n))
    left = [one.masked_fill(referral(u, fraction), 0).mean() for u, one in lists]
    return torch.stack(left).reshape(error.shape[:-1])


def volume_spread(p: Float[Tensor, "t b *s"]) -> Float[Tensor, "b"]:
    r"""$\sqrt{\langle \sum_v p_v (1 - p_v) \rangle + \mathrm{Var} \sum_v p_v}$ over the draws. Chapter 15."""
    flat = p.flatten(2).double()
    means = flat.sum(2)
    variance = (flat * (1 - flat)).sum(2).mean(0) + (means - means.mean(0)).square().mean(0)
    return variance.sqrt().to(p.dtype)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _maps(*shape: int, seed: int = 0) -> Tensor:
    return (2 * torch.randn(shape, generator=_generator(seed))).sigmoid()


def _cases(*shape: int, seed: int) -> dict[str, Tensor]:
    draw = _generator(seed)
    return dict(uncertainty=torch.randn(shape, generator=draw), error=torch.rand(shape, generator=draw))


_TWO = torch.tensor([[[[1, 1, 0, 0]]], [[[0, 1, 1, 1]]]], dtype=torch.bool)
_EMPTY = torch.zeros(3, 2, 4, 5, dtype=torch.bool)
_ONE_FOUND = _EMPTY.clone()
_ONE_FOUND[0, :, 1, 1:3] = True
_TIED = dict(uncertainty=torch.tensor([0.2, 1.0, 1.0, 1.0, 0.1]), error=torch.tensor([0.1, 0.9, 0.5, 0.2, 0.3]))
_HUNDRED = dict(uncertainty=torch.arange(100.0), error=torch.arange(100.0) / 100)


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_AGREEMENT = (
    Case("two members", dict(masks=_TWO), "Twice the overlap over the sum of the two sizes."),
    Case("four members", dict(masks=_maps(4, 1, 4, 5) > 0.4),
         "Every pair counts once and alike. Nobody is compared with himself."),
    Case("several patients", dict(masks=_maps(3, 4, 4, 5, seed=1) > 0.4),
         "Each patient has a number of its own: the result is (B,)."),
    Case("volumes", dict(masks=_maps(3, 2, 4, 5, 3, seed=2) > 0.4), "Sum over all axes of space, however many."),
    Case("nobody marks anything", dict(masks=_EMPTY), "Two empty masks are equal: their Dice is 1, and not NaN."),
    Case("one member alone has found something", dict(masks=_ONE_FOUND),
         "A mask and an empty one have a Dice of 0; two empty ones have 1. Three pairs: 0, 0 and 1."),
    Case("one member", dict(masks=_maps(1, 2, 4, 5, seed=3) > 0.4),
         "Who is alone disagrees with nobody: 1. It is what can be said, and not that all is well."),
)

_ERROR_LEFT = (
    Case("half of them", dict(**_cases(8, seed=5), fraction=0.5),
         "Those who are referred leave without an error, and count: divide by all n, not by those kept."),
    Case("nobody referred", dict(**_cases(7, seed=6), fraction=0.0), "With a fraction of 0 the mean error is left."),
    Case("everybody referred", dict(**_cases(7, seed=7), fraction=1.0), "With a fraction of 1 nothing is left."),
    Case("a part of a patient", dict(**_cases(7, seed=8), fraction=0.3),
         "A fraction of 0.3 of 7 patients is 2.1. At least the fraction is referred: round up."),
    Case("seven of a hundred", dict(**_HUNDRED, fraction=0.07),
         "In floating point 0.07 * 100 is a little more than 7. Seven are to be referred, not eight."),
    Case("equally uncertain", dict(**_TIED, fraction=0.4),
         "Who is as uncertain as the last one referred is referred too: the order of the list must not matter."),
    Case("several networks", dict(**_cases(2, 3, 6, seed=9), fraction=0.5),
         "Patients are along the last axis. Each network has a list of its own, and refers patients of its own."),
    Case("no patient", dict(uncertainty=torch.zeros(2, 0), error=torch.zeros(2, 0), fraction=0.5),
         "Without a patient there is no error: 0, not NaN."),
)

_VOLUME_SPREAD = (
    Case("six draws", dict(p=_maps(6, 1, 4, 5, seed=12)),
         "Two parts: the mean over the draws of the dice's variance, and the variance of the expected volume."),
    Case("several patients", dict(p=_maps(4, 3, 4, 5, seed=13)),
         "Each patient has a spread of their own: the result is (B,)."),
    Case("volumes", dict(p=_maps(4, 2, 4, 5, 3, seed=14)), "Sum over all axes of space, however many."),
    Case("one draw", dict(p=_maps(1, 2, 4, 5, seed=15)),
         "With one draw nothing differs between draws: 0 for that part, and not NaN. Divide by T."),
    Case("nothing anywhere", dict(p=torch.zeros(3, 2, 4, 5)),
         "A volume that is surely 0 does not scatter: 0, not NaN."),
)

CHECKS = (
    Check("ask.agreement", agreement, _AGREEMENT),
    Check("ask.error_left", error_left, _ERROR_LEFT),
    Check("ask.volume_spread", volume_spread, _VOLUME_SPREAD),
)
