r"""A metric over many cases, with every case accounted for."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.validation import check_holds, check_tensor


@dataclass(frozen=True, repr=False)
class Summary:
    r"""Mean and spread of a metric, $\bar x = \frac1n \sum_i x_i$, and how many cases are infinite or undefined.

    `cases` were counted; `undefined` were not, since neither truth nor answer had what was asked for (their value is
    NaN). `infinite` of the counted ones are distances to something that is not there: a miss, or a false alarm. One of
    them makes `mean` infinite, which is true but says little, so `finite_mean` and `finite_std` describe the others;
    quote `infinite` beside them, or the misses are hidden. Where nothing is left to average they are NaN. `finite_std`
    divides by n - 1, and is NaN for one case. Chapter 7.

    >>> Summary(cases=20, infinite=1, undefined=2, finite_mean=3.0, finite_std=1.5)
    3.000 ± 1.500 over 19 of 20 cases, 1 infinite (2 undefined, left out)
    """

    cases: int
    infinite: int
    undefined: int
    finite_mean: float
    finite_std: float

    @property
    def mean(self) -> float:
        return math.inf if self.infinite else self.finite_mean

    def __repr__(self) -> str:
        counted = f"{self.cases} case{'s' * (self.cases != 1)}"
        left_out = f" ({self.undefined} undefined, left out)" * (self.undefined > 0)
        finite = self.cases - self.infinite
        if not finite:
            return (f"infinite in each of {counted}" if self.infinite else "no case") + left_out
        spread = f"{self.finite_mean:.3f}" + f" ± {self.finite_std:.3f}" * (finite > 1)
        if self.infinite:
            return f"{spread} over {finite} of {counted}, {self.infinite} infinite{left_out}"
        return f"{spread} over {counted}{left_out}"


def summarise(values: Float[Tensor, "*n"]) -> Summary:
    r"""The `Summary` of a metric's values, such as `summarise(counts.dice[:, 2])` for class 2 over a batch.

    Shapes: `values` of any. NaN is undefined: it is left out and counted as such; an infinity counts as a case.
    No value gives NaN over 0 cases. Errors: TypeError for anything but a float tensor; ValueError for minus infinity,
    which no metric is. Chapter 7.

    >>> summarise(torch.tensor([0.9, 0.7, float("nan")]))
    0.800 ± 0.141 over 2 cases (1 undefined, left out)
    """
    check_tensor("values", values, dtype="float")
    check_holds("values", values, ~values.isneginf(), expected="numbers, inf or NaN")
    numbers = values.detach().cpu().to(torch.float64).numpy()
    finite = numbers[np.isfinite(numbers)]
    infinite = int(np.isinf(numbers).sum())
    return Summary(cases=len(finite) + infinite, infinite=infinite, undefined=int(np.isnan(numbers).sum()),
                   finite_mean=finite.mean().item() if len(finite) else math.nan,
                   finite_std=finite.std(ddof=1).item() if len(finite) > 1 else math.nan)
