r"""Chapter 11, CT: the deviance of counts, and the least error that a number of photons allows."""
from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def deviance(expected: Float[Tensor, "b *s"], counts: Float[Tensor, "b *s"]) -> Float[Tensor, "b"]:
    r"""$2 \sum (N \ln (N / \bar N) - N + \bar N)$ over the rays of each image; 0 of no rays. Chapter 11."""
    counted = counts > 0                            # a gradient of 0 * ln 0 would be NaN
    n, mean = (torch.where(counted, value, 1) for value in (counts, expected))
    excess = (mean - n) / n                     # of N ln N and N ln mean, millions each, nothing exact would be left
    log_ratio = torch.where(excess.abs() < 0.5, excess.clamp_min(-0.5).log1p(), (mean / n).log())
    return 2 * torch.where(counted, n * (excess - log_ratio), expected).flatten(1).sum(1)


def best_error(mu: Float[Tensor, "*s"], lengths: Float[Tensor, "r"], i0: float) -> Float[Tensor, "*s"]:
    r"""$1 / (\mu \sqrt J)$ with $J = \sum_i L_i^2 I_0 e^{-\mu L_i}$: the relative Cramer-Rao bound, inf without a rod.

    Chapter 11.
    """
    mean = i0 * torch.exp(-mu[..., None] * lengths)
    return 1 / (mu * (lengths.square() * mean).sum(-1).sqrt())


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _uniform(low: float, high: float, *shape: int, seed: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def _poisson(mean: Tensor, seed: int) -> Tensor:
    return torch.poisson(mean, torch.Generator().manual_seed(seed))


def _finite_gradient(answer: Callable[..., Tensor], expected: Tensor, counts: Tensor) -> Tensor:
    """Where the gradient by what was expected is a number."""
    expected = expected.clone().requires_grad_()
    gradient, = torch.autograd.grad(answer(expected, counts).sum(), expected)
    return gradient.isfinite()


_MEAN = _uniform(20, 60, 2, 6, seed=0)
# of few counts, so that a difference of sums is exact enough, too
_VIEWS = _uniform(0.5, 8, 3, 4, 5, seed=1)
_ROWS = _uniform(0.5, 8, 2, 2, 3, 4, 2, seed=2)
_RODS = torch.tensor([20.0, 60.0, 150.0])

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_DEVIANCE = (
    Case("one ray", dict(expected=torch.tensor([[8.0]]), counts=torch.tensor([[12.0]])),
         "By hand: 2 (12 ln(12 / 8) - 12 + 8) = 1.73."),
    Case("several rays, two images", dict(expected=_MEAN, counts=_poisson(_MEAN, seed=3)),
         "A sum over the rays of each image: one number for each image of the batch."),
    Case("sinograms", dict(expected=_VIEWS, counts=_poisson(_VIEWS, seed=4) + 1),
         "All axes but the first are summed over: views, detectors, or whatever there is."),
    Case("several rows of detectors", dict(expected=_ROWS, counts=_poisson(_ROWS, seed=5) + 1),
         "There may be any number of axes after that of the batch."),
    Case("nothing was counted", dict(expected=torch.tensor([[2.0, 0.5, 3.0]]), counts=torch.zeros(1, 3)),
         "Here 0 ln 0 is 0. Then a ray's deviance is twice what was expected of it."),
    Case("nothing expected, nothing counted",
         dict(expected=torch.tensor([[0.0, 4.0]]), counts=torch.tensor([[0.0, 4.0]])),
         "A prediction that is right has a deviance of 0, not NaN."),
    Case("no rays", dict(expected=torch.zeros(2, 0), counts=torch.zeros(2, 0)),
         "A sum over nothing is 0, for each of the two images."),
    Case("double precision", dict(expected=_MEAN.double(), counts=_poisson(_MEAN, seed=3).double()),
         "The result has the dtype of the counts, and its precision."),
    Case("the gradient", dict(expected=_MEAN, counts=_poisson(_MEAN, seed=3)),
         "By what was expected it is 2 (1 - N / mean) in each ray.", gradient=("expected",)),
    Case("the gradient where nothing was counted",
         dict(expected=torch.tensor([[0.0, 2.0, 5.0]]), counts=torch.tensor([[0.0, 0.0, 5.0]])),
         "Is it a number, also at 0? On the way back `torch.where` and `xlogy` meet 0 times infinity, so the logarithm "
         "must not be taken of 0 at all.", run=_finite_gradient),
)

_BEST_ERROR = (
    Case("one rod", dict(mu=torch.tensor([0.02]), lengths=torch.tensor([100.0]), i0=1e4),
         "By hand: J = 100^2 1e4 exp(-2), so the error is 1 / (0.02 sqrt(J)) = 1.36 %."),
    Case("three rods", dict(mu=torch.tensor([0.02]), lengths=_RODS, i0=1e4),
         "Information adds up: sum over the rods first, then take the root."),
    Case("another dose", dict(mu=torch.tensor([0.02]), lengths=_RODS, i0=250.0),
         "A hundredth of the photons gives ten times the error."),
    Case("several materials", dict(mu=torch.tensor([0.015, 0.02, 0.04, 0.25]), lengths=_RODS, i0=1e5),
         "One answer for each attenuation, each relative to itself."),
    Case("as many materials as rods", dict(mu=torch.tensor([0.015, 0.02, 0.04]), lengths=_RODS, i0=1e5),
         "Every material meets every rod, and not only that at its own place in the row."),
    Case("an image of attenuations", dict(mu=_uniform(0.01, 0.05, 3, 4, seed=6), lengths=_RODS, i0=1e5),
         "Any shape: the rods are one more axis at the end, which is summed away."),
    Case("a volume", dict(mu=_uniform(0.01, 0.05, 2, 3, 2, seed=7), lengths=_RODS, i0=1e5),
         "Any shape: the rods are one more axis at the end, which is summed away."),
    Case("a single number", dict(mu=torch.tensor(0.02), lengths=_RODS, i0=1e5),
         "A tensor without axes gives a tensor without axes."),
    Case("no rods", dict(mu=torch.tensor([0.02, 0.04]), lengths=torch.zeros(0), i0=1e5),
         "Nothing is known, so the error is infinite."),
    Case("no materials", dict(mu=torch.zeros(0), lengths=_RODS, i0=1e5), "No question, no answer: an empty tensor."),
)

CHECKS = (
    Check("ct.deviance", deviance, _DEVIANCE),
    Check("ct.best_error", best_error, _BEST_ERROR),
)
