r"""Chapter 17, judging a model: predictive values, a decision curve, an interval by patient."""
from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.checks.engine import Case, Check


def predictive_values(sensitivity: Float[Tensor, "*#n"], specificity: Float[Tensor, "*#n"],
                      prevalence: Float[Tensor, "*#n"]) -> tuple[Float[Tensor, "*m"], Float[Tensor, "*m"]]:
    r"""$s\pi / (s\pi + (1-c)(1-\pi))$ and $c(1-\pi) / (c(1-\pi) + (1-s)\pi)$; NaN where none is. Chapter 17."""
    hits, misses = sensitivity * prevalence, (1 - sensitivity) * prevalence
    quiet, alarms = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return hits / (hits + alarms), quiet / (quiet + misses)


def decision_curve(p: Float[Tensor, "n"], ill: Bool[Tensor, "n"],
                   thresholds: Float[Tensor, "t"]) -> Float[Tensor, "t"]:
    r"""$TP/n - FP/n \cdot t/(1 - t)$ at each threshold $t$; no threshold gives an empty tensor. Chapter 17."""
    treated = p >= thresholds[:, None]
    hits, alarms = (treated & ill).to(p.dtype).mean(1), (treated & ~ill).to(p.dtype).mean(1)
    return hits - alarms * thresholds / (1 - thresholds)


def interval_by_patient(values: Float[Tensor, "n"], patient: Int64[Tensor, "n"],
                        drawn: Int64[Tensor, "r m"]) -> Float[Tensor, "2"]:
    r"""The quantiles 0.025 and 0.975 of $\sum_p w_p \sum_{i \in p} x_i / \sum_p w_p n_p$ over the draws. Chapter 17."""
    of_patient = F.one_hot(patient, int(drawn.max().maximum(patient.max())) + 1)
    totals, scans = values @ of_patient.to(values.dtype), of_patient.sum(0)
    means = totals[drawn].sum(1) / scans[drawn].sum(1)
    return means.quantile(means.new_tensor([0.025, 0.975]))


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


_SCORES = torch.rand(200, generator=_generator(0), dtype=torch.float64)
_ILL = torch.rand(200, generator=_generator(1), dtype=torch.float64) < _SCORES
_TEN = torch.rand(10, generator=_generator(2), dtype=torch.float64)
_DRAWN = torch.randint(10, (40, 10), generator=_generator(3))
_WHOSE = torch.tensor([0, 0, 0, 0, 0, 0, 1, 2, 2, 3])

# ---------------------------------------------------------------------------------------------------------------------
# Cases


def _test(name: str, sensitivity: Tensor, specificity: Tensor, prevalence: Tensor, hint: str) -> Case:
    return Case(name, dict(sensitivity=sensitivity, specificity=specificity, prevalence=prevalence), hint)


_PREDICTIVE = (
    _test("one in ten is ill", _numbers(0.9), _numbers(0.9), _numbers(0.1),
          "Of 1000 there are 90 hits and 90 false alarms: one half. Of the 820 who are called healthy 810 are."),
    _test("two kinds of error", _numbers(0.8), _numbers(0.95), _numbers(0.02),
          "Of 1000 there are 16 hits, 4 misses and 49 false alarms. A sensitivity is a share of the ill, not of all."),
    _test("three clinics at once", _numbers(0.9), _numbers(0.95), _numbers(0.001, 0.1, 0.5),
          "Each prevalence gives its own answer: tensors of shape (3,), the first far below the last."),
    _test("a perfect test", _numbers(1, 1), _numbers(1, 1), _numbers(0.2, 0.7),
          "There are no false alarms and no misses: both are exactly 1."),
    _test("nobody is called ill", _numbers(0.0), _numbers(1.0), _numbers(0.1),
          "There is no hit and no alarm, and so no such share: NaN. Of all, who are called healthy, 0.9 are."),
)


def _curve(name: str, p: Tensor, ill: Tensor, thresholds: Tensor, hint: str) -> Case:
    return Case(name, dict(p=p, ill=ill, thresholds=thresholds), hint)


_CURVE = (
    _curve("four patients, one price", _numbers(0.9, 0.8, 0.3, 0.1), torch.tensor([True, False, True, False]),
           _numbers(0.5), "At one half a false alarm costs one hit: 1/4 - 1/4 = 0."),
    _curve("a hit for four alarms", _numbers(0.9, 0.8, 0.3, 0.1), torch.tensor([True, False, True, False]),
           _numbers(0.2), "Two hits and an alarm of four patients: 2/4 - 1/4 * 0.2 / 0.8 = 0.4375."),
    _curve("at the threshold itself", _numbers(0.5, 0.25, 0.25), torch.tensor([True, True, False]),
           _numbers(0.25, 0.5), "Who has a probability of at least the threshold is treated."),
    _curve("many patients, many prices", _SCORES, _ILL, torch.linspace(0.02, 0.98, 9, dtype=torch.float64),
           "One number for each threshold. Both shares are of all patients, treated or not."),
    _curve("nobody is treated", _numbers(0.1, 0.2), torch.tensor([True, False]), _numbers(0.9),
           "No hit and no alarm: worth nothing, which is 0 and not NaN."),
)


def _interval(name: str, values: Tensor, patient: Tensor, drawn: Tensor, hint: str) -> Case:
    return Case(name, dict(values=values, patient=patient, drawn=drawn), hint)


_INTERVAL = (
    _interval("one draw", _numbers(0.5, 0.7, 0.9), torch.tensor([0, 1, 2]), torch.tensor([[0, 0, 2]]),
              "Patient 0 counts twice: (0.5 + 0.5 + 0.9) / 3. With one draw both ends are its mean."),
    _interval("a scan each", _TEN, torch.arange(10), _DRAWN,
              "The 0.025 and 0.975 quantiles of 40 means, the lower end first, interpolated as `quantile` does."),
    _interval("two scans of one patient", _numbers(0.2, 0.4, 0.9), torch.tensor([0, 0, 1]), torch.tensor([[0, 1]]),
              "All scans of a drawn patient come along, and count alike: (0.2 + 0.4 + 0.9) / 3."),
    _interval("a patient twice, with two scans", _numbers(0.2, 0.4, 0.9), torch.tensor([0, 0, 1]),
              torch.tensor([[0, 0], [1, 1]]), "The means are 0.3 and 0.9."),
    _interval("in no order", _TEN, _WHOSE[torch.randperm(10, generator=_generator(4))],
              torch.randint(4, (60, 4), generator=_generator(5)),
              "The scans of a patient need not stand beside each other, nor be as many as another's."),
    _interval("a longer draw", _TEN, _WHOSE, torch.randint(4, (60, 7), generator=_generator(6)),
              "A draw may hold more patients than there are, or fewer."),
)

CHECKS = (
    Check("judging.predictive_values", predictive_values, _PREDICTIVE),
    Check("judging.decision_curve", decision_curve, _CURVE),
    Check("judging.interval_by_patient", interval_by_patient, _INTERVAL),
)
