r"""Chapter 4, Dice against imbalance: soft Dice, the Tversky index and who owns the gradient."""
from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.checks.engine import Case, Check


def soft_dice(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "b k"]:
    r"""$2 \sum_v p_v y_v / (\sum_v p_v + \sum_v y_v)$ of each image and class; 1 where neither side has any of it.

    Chapter 4.
    """
    p = probabilities.flatten(2)
    y = torch.nn.functional.one_hot(labels.flatten(1), p.shape[1]).movedim(-1, 1).to(p)
    both, size = (p * y).sum(2), p.sum(2) + y.sum(2)
    return torch.where(size > 0, 2 * both / torch.where(size > 0, size, 1), 1)


def tversky(tp: Float[Tensor, "*n k"], fp: Float[Tensor, "*n k"], fn: Float[Tensor, "*n k"],
            alpha: Float[Tensor, "k"], beta: Float[Tensor, "k"]) -> Float[Tensor, "*n k"]:
    r"""$\mathrm{tp} / (\mathrm{tp} + \alpha\,\mathrm{fp} + \beta\,\mathrm{fn})$, priced by class; 1 where all are 0.

    Chapter 4.
    """
    wrong = alpha * fp + beta * fn
    whole = tp + wrong
    return torch.where(whole > 0, tp / torch.where(whole > 0, whole, 1), 1)


def gradient_share(logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "k"]:
    r"""$\sum_{v: y_v = k} \sum_c |p_{vc} - y_{vc}|$ over its sum for all $k$: its part of cross-entropy's gradient.

    Zeros where there is no gradient at all. Chapter 4.
    """
    p, k = logits.softmax(1), logits.shape[1]
    mass = 2 * (1 - p.gather(1, labels[:, None])[:, 0])         # what leaves the true class arrives at the others
    by_class = torch.stack([mass[labels == c].sum() for c in range(k)])
    return by_class / by_class.sum().clamp_min(torch.finfo(p.dtype).tiny)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _logits(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    return torch.randn(shape, generator=_generator(seed)) * spread


def _labels(classes: int, *shape: int, seed: int = 1) -> Tensor:
    return torch.randint(classes, shape, generator=_generator(seed))


def _counts(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=_generator(seed)) * 50 + 1


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def _finite_gradient(answer: Callable[..., Tensor], value: Tensor, *others: Tensor) -> Tensor:
    """Where the gradient by the first input is a number."""
    value = value.clone().requires_grad_()
    gradient, = torch.autograd.grad(answer(value, *others).sum(), value)
    return gradient.isfinite()


_BOTH_BRANCHES = ("Is the gradient a number, not NaN, where a class is absent? On the way back `torch.where` "
                  "both branches, so the one that is not taken must be finite too.")
_MAP = torch.tensor([[[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]]])
_SHIFTED = _MAP.roll(1, dims=2)
_HEALTHY = torch.zeros(1, 3, 4, dtype=torch.int64)
_HALF = torch.tensor([0.5, 0.5])

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_SOFT_DICE = (
    Case("two masks", dict(probabilities=_one_hot(_SHIFTED, 2), labels=_MAP),
         "On masks it is the set Dice: twice the overlap over the sum of the two sizes."),
    Case("probabilities", dict(probabilities=_logits(1, 2, 3, 4).softmax(1), labels=_MAP),
         "Between 0 and 1 nothing changes: no threshold, no square, no rounding."),
    Case("several images, several classes",
         dict(probabilities=_logits(3, 4, 5, 6).softmax(1), labels=_labels(4, 3, 5, 6)),
         "Each image and each class has a score of its own: the result has shape (B, K)."),
    Case("a volume", dict(probabilities=_logits(2, 3, 4, 5, 3).softmax(1), labels=_labels(3, 2, 4, 5, 3)),
         "Sum over all axes of space, however many there are."),
    Case("a class that is not there", dict(probabilities=_one_hot(_HEALTHY, 2), labels=_HEALTHY),
         "Nothing to find and nothing found: the two masks are equal, and equal masks have a score of 1."),
    Case("a false alarm", dict(probabilities=_one_hot(_MAP, 2), labels=_HEALTHY),
         "Something found where there is nothing: no overlap, so 0, and not 1."),
    Case("the gradient", dict(probabilities=_logits(2, 3, 4, 5).softmax(1).double(), labels=_labels(3, 2, 4, 5)),
         "A loss has to pass its gradient on to every probability, through the denominator as well.",
         gradient=("probabilities",)),
    Case("the gradient beside an absent class",
         dict(probabilities=_logits(1, 3, 3, 4).softmax(1) * torch.tensor([1.0, 1.0, 0.0]).view(1, 3, 1, 1),
              labels=_MAP),
         _BOTH_BRANCHES, run=_finite_gradient),
)

_TVERSKY = (
    Case("one half each", dict(tp=torch.tensor([[6.0, 3.0]]), fp=torch.tensor([[2.0, 0.0]]),
                               fn=torch.tensor([[4.0, 1.0]]), alpha=_HALF, beta=_HALF),
         "With both prices at one half it is Dice: 2 tp / (2 tp + fp + fn)."),
    Case("misses cost more", dict(tp=torch.tensor([[6.0, 3.0]]), fp=torch.tensor([[2.0, 5.0]]),
                                  fn=torch.tensor([[4.0, 1.0]]), alpha=torch.tensor([0.3, 0.3]),
                                  beta=torch.tensor([0.7, 0.7])),
         "Alpha is the price of a false alarm (fp), beta that of a miss (fn)."),
    Case("prices that do not sum to one",
         dict(tp=_counts(2, 3, seed=2), fp=_counts(2, 3, seed=3), fn=_counts(2, 3, seed=4), alpha=torch.ones(3),
              beta=torch.ones(3)),
         "At one and one it is intersection over union. The index itself has no factor of 2."),
    Case("a price for each class", dict(tp=_counts(2, 3, seed=5), fp=_counts(2, 3, seed=6), fn=_counts(2, 3, seed=7),
                                        alpha=torch.tensor([0.5, 0.2, 0.9]), beta=torch.tensor([0.5, 0.8, 0.1])),
         "The classes stand along the last axis of the counts, as the prices do."),
    Case("counts of many networks", dict(tp=_counts(4, 2, 3, seed=8), fp=_counts(4, 2, 3, seed=9),
                                         fn=_counts(4, 2, 3, seed=10), alpha=torch.tensor([0.5, 0.2, 0.9]),
                                         beta=torch.tensor([0.5, 0.8, 0.1])),
         "There may be any number of axes before that of the classes, and all stay."),
    Case("nothing to count", dict(tp=torch.zeros(1, 2), fp=torch.zeros(1, 2), fn=torch.tensor([[0.0, 3.0]]),
                                  alpha=_HALF, beta=_HALF),
         "Nothing to find, nothing found: 1. Something missed: 0. Neither is NaN."),
    Case("the gradient", dict(tp=torch.tensor([[6.0, 3.0]]), fp=torch.tensor([[2.0, 0.0]]),
                              fn=torch.tensor([[4.0, 1.0]]), alpha=_HALF, beta=_HALF),
         "A loss has to pass its gradient on to all three counts, through the denominator as well.",
         gradient=("tp", "fp", "fn")),
    Case("the gradient beside nothing", dict(tp=torch.tensor([[6.0, 0.0]]), fp=torch.tensor([[2.0, 0.0]]),
                                             fn=torch.tensor([[4.0, 0.0]]), alpha=_HALF, beta=_HALF),
         _BOTH_BRANCHES, run=_finite_gradient),
)

_SHARE = (
    Case("an undecided network", dict(logits=torch.zeros(1, 2, 3, 4), labels=_MAP),
         "Where every answer is one half, every voxel pulls alike: a class's share is its prevalence."),
    Case("an answer", dict(logits=_logits(1, 2, 3, 4), labels=_MAP),
         "Cross-entropy's gradient at the logits is p - y. Add up its absolute values over each true class's voxels."),
    Case("several classes", dict(logits=_logits(2, 4, 5, 6), labels=_labels(4, 2, 5, 6)),
         "A voxel belongs to its true class, and its mass is summed over all the logits it has."),
    Case("a volume", dict(logits=_logits(2, 3, 4, 5, 3), labels=_labels(3, 2, 4, 5, 3)),
         "Any number of axes of space."),
    Case("a class without voxels", dict(logits=_logits(1, 3, 3, 4), labels=_MAP),
         "The result has one entry for each class of the logits; a class without voxels has a share of 0."),
    Case("a perfect answer", dict(logits=200 * _one_hot(_MAP, 2), labels=_MAP),
         "No voxel has a gradient then: zeros, not NaN."),
    Case("a healthy patient", dict(logits=_logits(1, 2, 3, 4), labels=_HEALTHY),
         "All of the budget belongs to the background then."),
)

CHECKS = (
    Check("imbalance.soft_dice", soft_dice, _SOFT_DICE),
    Check("imbalance.tversky", tversky, _TVERSKY),
    Check("imbalance.gradient_share", gradient_share, _SHARE),
)
