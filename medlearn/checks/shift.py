r"""Chapter 18, when the scanner changes: an alarm's threshold with a promise, and whom to check when time is short."""
from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def threshold(scores: Float[Tensor, "n"], rate: float) -> Float[Tensor, ""]:
    r"""The $k$-th smallest score with $(n + 1 - k)/(n + 1) \le$ rate, k as small as may be; inf if there is none."""
    n = len(scores)
    k = n + 1 - math.floor(rate * (n + 1) + 1e-9)
    return scores.new_tensor(math.inf) if k > n else scores.sort().values[max(k, 1) - 1]


def refer(p: Float[Tensor, "n"], check_minutes: float, useless_minutes: float, hours: float) -> Bool[Tensor, "n"]:
    r"""Where $p\,b > c$, the largest p first, equals as they stand, as many as fit into the hours. Chapter 18."""
    places = math.floor(60 * hours / check_minutes + 1e-9)
    checked = torch.zeros(len(p), dtype=torch.bool)
    checked[p.argsort(descending=True, stable=True)[:places]] = True
    return checked & (p * useless_minutes > check_minutes)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


_SCORES = torch.rand(99, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
_RISKS = torch.rand(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def _bar(name: str, scores: Tensor, rate: float, hint: str) -> Case:
    return Case(name, dict(scores=scores, rate=rate), hint)


def _day(name: str, p: Tensor, check_minutes: float, useless_minutes: float, hours: float, hint: str) -> Case:
    return Case(name, dict(p=p, check_minutes=check_minutes, useless_minutes=useless_minutes, hours=hours), hint)


# ---------------------------------------------------------------------------------------------------------------------
# Cases

_THRESHOLD = (
    _bar("nine patients, one in ten", _numbers(3, 1, 2, 9, 8, 7, 4, 6, 5), 0.1,
         "Of ten ranks the future patient has the highest one time in ten: the largest of the nine will do, 9."),
    _bar("nine patients, one in five", _numbers(3, 1, 2, 9, 8, 7, 4, 6, 5), 0.2,
         "Two ranks of ten may lie above the threshold: it is the eighth of the nine. Between scores nothing is "
         "gained."),
    _bar("many patients", _SCORES, 0.05, "The rank k is n + 1 - floor(rate (n + 1)); its index is k - 1."),
    _bar("twenty-nine in a hundred", _SCORES, 0.29,
         "On paper 0.29 times 100 is 29; a machine finds a little less, which is rounded down to 28."),
    _bar("too few for the promise", _SCORES[:10], 0.05,
         "With ten patients the largest is exceeded one time in eleven, which is more than one in twenty: infinity."),
    _bar("nobody", _SCORES[:0], 0.5, "From nobody nothing can be promised: infinity, not an error."),
)

_REFER = (
    _day("time for all", _numbers(0.1, 0.6, 0.3, 0.05), 10, 60, 8,
         "Worth it where p times the minutes of a useless outline is above those of a check: above 1 in 6 here."),
    _day("time for two", _numbers(0.4, 0.9, 0.8, 0.5), 30, 240, 1,
         "Two checks of half an hour fit into an hour: the two of the largest p."),
    _day("a part of a check", _numbers(0.4, 0.9, 0.8, 0.5), 22, 240, 1,
         "Two checks fit into an hour, and the third is not begun."),
    _day("equals", _numbers(0.5, 0.5, 0.2, 0.5, 0.5), 20, 240, 1,
         "Of equals the earlier in the list: `argsort(descending=True, stable=True)`."),
    _day("just worth nothing", _numbers(0.25, 0.5), 15, 60, 1, "At p b = c a check saves nothing: strictly above."),
    _day("many patients", _RISKS, 6, 20, 1, "Both conditions hold together: worth it, and among the first that fit."),
    _day("no time", _numbers(0.9), 10, 60, 0, "Without time nobody is checked."),
)

CHECKS = (
    Check("shift.threshold", threshold, _THRESHOLD),
    Check("shift.refer", refer, _REFER),
)
