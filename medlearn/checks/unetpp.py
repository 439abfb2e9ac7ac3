r"""Chapter 8, UNet++: what a place of the nested graph takes, and the mean answer of several heads."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def joins(i: int, j: int) -> list[tuple[int, int]]:
    r"""The places whose maps $x_{i,j}$ takes: all to its left, then the one below; in column 0 the one above.

    Chapter 8.
    """
    if j == 0:
        return [(i - 1, 0)] if i else []
    return [*((i, k) for k in range(j)), (i + 1, j - 1)]


def average(logits: Float[Tensor, "d b k *s"]) -> Float[Tensor, "b k *s"]:
    r"""The mean of $\mathrm{softmax}(z_d)$ over D heads: probabilities, not logits. Chapter 8."""
    return logits.softmax(dim=2).mean(dim=0)


# ---------------------------------------------------------------------------------------------------------------------
# Cases

def _logits(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


_JOINS = (
    Case("the corner", dict(i=0, j=0), "It takes the image and no other place: an empty list."),
    Case("on the way down", dict(i=3, j=0), "In column 0 a place takes the one above it."),
    Case("the answer of depth 1", dict(i=0, j=1), "One to its left, one from below: the smallest U-Net."),
    Case("the answer of depth 4", dict(i=0, j=4), "All to its left, in order, and then one from below."),
    Case("inside", dict(i=2, j=2), "From below comes (i + 1, j - 1): one row down, one column back."),
)

_AVERAGE = (
    Case("two heads that disagree", dict(logits=torch.tensor([[[[[4.0]], [[0.0]]]], [[[[0.0]], [[1.0]]]]])),
         "Make probabilities first, then average: the softmax of the mean logits is something else."),
    Case("three heads, several images", dict(logits=_logits(3, 2, 4, 3, 5)),
         "The classes are axis 2, the heads axis 0; the result is (B, K, *S)."),
    Case("a volume", dict(logits=_logits(2, 1, 3, 2, 3, 4, seed=1)), "In 3D there is one axis more, at the end."),
    Case("one head", dict(logits=_logits(1, 2, 3, 4, 4, seed=2)), "The mean of one head is its own probability."),
    Case("all logits 0", dict(logits=torch.zeros(2, 1, 4, 2, 2)), "Heads that know nothing give every class 1 / K."),
    Case("no image", dict(logits=torch.zeros(3, 0, 2, 4, 4)), "An empty batch gives an empty result: (0, K, *S)."),
    Case("large logits", dict(logits=100 * _logits(2, 1, 3, 2, 2, seed=3)),
         "The exponential of 200 overflows. `softmax` knows how to avoid it."),
    Case("the gradient", dict(logits=_logits(2, 1, 3, 2, 2, seed=4).double()), "Every head has to learn from it.",
         gradient=("logits",)),
)

CHECKS = (
    Check("unetpp.joins", joins, _JOINS),
    Check("unetpp.average", average, _AVERAGE),
)
