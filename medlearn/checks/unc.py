r"""Chapter 14, Two ways of not knowing: mutual information, and the law of total variance one level up."""
from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.checks.engine import Case, Check
from medlearn.uncertainty import class_entropy


def mutual_information(probabilities: Float[Tensor, "m b k *s"]) -> Float[Tensor, "b *s"]:
    r"""$H[\bar p] - \mathbb{E}_m\,H[p_m]$ in nats, with $0 \ln 0 = 0$: how much the members disagree. Chapter 14."""
    return class_entropy(probabilities).epistemic


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


def _answers(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Probabilities (M, B, K, *S)."""
    return (2 * torch.randn(shape, generator=_generator(seed), dtype=dtype)).softmax(2)


def _sure(*classes: int) -> Tensor:
    """Members (M, 1, 3, 1, 2) who are certain, each of a class of its own."""
    chosen = torch.nn.functional.one_hot(torch.tensor(classes), 3).double()
    return chosen[:, None, :, None, None].expand(-1, -1, -1, 1, 2).clone()


def _maps(n: int, *shape: int, seed: int) -> dict[str, Tensor]:
    draw = _generator(seed)
    return dict(means=torch.randn(n, *shape, generator=draw), aleatoric=torch.rand(n, *shape, generator=draw) + 0.1,
                epistemic=torch.rand(n, *shape, generator=draw))


_UNANIMOUS = _answers(3, 2, 3, 4, 4, seed=3)
_UNANIMOUS[..., :2] = _UNANIMOUS[:1, ..., :2].clone()
_CT = _maps(2, 3, 4, seed=9)
_CT["means"] = 1000 + 0.5 * _CT["means"]
_SINGLE = _maps(3, 3, 4, seed=10)
_SINGLE["epistemic"] = torch.zeros(3, 3, 4)

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_INFORMATION = (
    Case("two members", dict(probabilities=_answers(2, 1, 2, 3, 4, seed=0)),
         "The entropy of the mean answer, minus the mean of the members' entropies, with the natural logarithm."),
    Case("several images, several classes", dict(probabilities=_answers(4, 3, 5, 6, 7, seed=1)),
         "One number for each image and voxel, of shape (B, *S): the sum goes over the classes."),
    Case("a volume", dict(probabilities=_answers(3, 2, 3, 4, 5, 6, seed=2)), "Any number of axes of space."),
    Case("members who are certain, and disagree", dict(probabilities=_sure(0, 1, 2)),
         "Three certain members of three opinions: ln 3. A probability of 0 adds 0 to an entropy, not NaN."),
    Case("voxels where all say the same", dict(probabilities=_UNANIMOUS),
         "Where nobody disagrees the answer is 0, however unsure all of them are."),
    Case("no voxels", dict(probabilities=torch.zeros(3, 1, 2, 0, 4, dtype=torch.float64)),
         "No voxels in, no voxels out: shape (1, 0, 4)."),
    Case("single precision", dict(probabilities=_answers(3, 2, 4, 5, seed=5, dtype=torch.float32)),
         "The result has the dtype of the probabilities."),
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
    Check("unc.mutual_information", mutual_information, _INFORMATION),
    Check("unc.pool", pool, _POOL),
)
