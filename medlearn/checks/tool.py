r"""Chapter 19, from a model to a tool: a mean that forgets, as a chart."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def ewma(z: Float[Tensor, "n"], weight: float) -> Float[Tensor, "n"]:
    r"""$m_t = \lambda z_t + (1 - \lambda) m_{t-1}$ over $\sqrt{\lambda (1 - (1 - \lambda)^{2t}) / (2 - \lambda)}$."""
    n = len(z)
    age = torch.arange(n)[:, None] - torch.arange(n)                    # of each number, seen from each patient
    weights = torch.where(age >= 0, weight * (1 - weight) ** age.clamp_min(0).to(z.dtype), 0)
    return (weights @ z) / weights.square().sum(1).sqrt()


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _draw(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _case(name: str, z: Tensor, weight: float, hint: str, gradient: bool = False) -> Case:
    return Case(name, dict(z=z, weight=weight), hint, gradient=("z",) if gradient else ())


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_EWMA = (
    _case("the first patient", torch.tensor([2.0]), 0.2,
          "After one patient the mean is weight times z, and its standard deviation is weight: the answer is z "
          "itself."),
    _case("three patients", torch.tensor([1.0, -1.0, 3.0]), 0.5,
          "The means are 0.5, -0.25 and 1.375; their variances 0.25, 0.3125 and 0.328."),
    _case("many patients", _draw(60, 0), 0.1,
          "The variance is weight / (2 - weight) times 1 - (1 - weight)^(2t), with t from 1."),
    _case("nothing is forgotten at once", _draw(5, 1), 1.0, "With weight 1 the mean is z, and so is the answer."),
    _case("nobody", _draw(0, 2), 0.2, "No patient, no number: shape (0,), not an error."),
    _case("the gradient", _draw(8, 3), 0.3, "Every mean remembers all patients before it: keep it differentiable.",
          gradient=True),
)

CHECKS = (
    Check("tool.ewma", ewma, _EWMA),
)
