r"""How far a mean could have come out otherwise, had other patients been asked."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.random import check_generator
from medlearn.base.validation import Number, check_holds, check_number, check_tensor, check_whole


def bootstrap_interval(values: Float[Tensor, "n"], patients: Sequence[str], *, generator: Generator,
                       draws: int = 2000, level: Number = 0.95) -> tuple[float, float]:
    r"""The percentile interval of $\bar x^* = \sum_p w_p \sum_{i \in p} x_i / \sum_p w_p n_p$, patients drawn anew.

    All cases of a patient come and go together: two scans of one person are not two opinions.
    Shapes: `values` and `patients (n,)`. Units: as the values. NaN is undefined, and in no mean; a mean with an
    infinity is infinite. `draws` times as many patients as there are are drawn by the `generator`, and the interval
    holds the share `level` of their means. No value that counts: NaN. One patient: the mean itself, twice, which says
    that nothing is known.
    Errors: TypeError for anything but a float tensor and a generator; ValueError for another number of patients, minus
    infinity, less than a draw, a level that is not between 0 and 1.
    Source: Efron 1979, doi:10.1214/aos/1176344552; Davison and Hinkley 1997, sec. 3.8. Chapter 17.

    >>> generator = torch.Generator().manual_seed(0)
    >>> low, high = bootstrap_interval(torch.tensor([0.7, 0.8, 0.9, 1.0]), ["a", "b", "c", "d"], generator=generator)
    >>> 0.7 <= low < 0.85 < high <= 1.0
    True
    """
    check_tensor("values", values, dtype="float", shape="(n,)")
    check_holds("values", values, ~values.isneginf(), expected="numbers, inf or NaN")
    level, draws = check_number("level", level, above=0, below=1), check_whole("draws", draws, least=1)
    if len(patients) != len(values):
        raise ValueError(f"patients: expected one for each of {len(values)} values, got {len(patients)}")
    numbers = values.detach().cpu().double().numpy()
    weights = _drawn(len(set(patients)), draws, check_generator(generator))
    place = {patient: i for i, patient in enumerate(dict.fromkeys(patients))}
    which = np.array([place[patient] for patient in patients], dtype=int)
    finite, infinite = np.isfinite(numbers), np.isinf(numbers)

    def drawn(what: np.ndarray) -> np.ndarray:
        return weights @ np.bincount(which, what, len(place))

    cases = drawn(finite | infinite)
    counted = cases > 0
    if not counted.any():
        return float("nan"), float("nan")
    means = np.where(drawn(infinite) > 0, np.inf, drawn(np.where(finite, numbers, 0)) / np.maximum(cases, 1))[counted]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")
    return float(low), float(high)


def _drawn(patients: int, draws: int, generator: Generator) -> np.ndarray:
    """How often each patient is in each draw, `(draws, patients)`."""
    if patients == 0:
        return np.zeros((draws, 0))
    chosen = torch.randint(patients, (draws, patients), generator=generator, device=generator.device).cpu()
    return torch.zeros(draws, patients, dtype=torch.float64).scatter_add_(1, chosen, torch.ones(()).double().expand(
        draws, patients)).numpy()
