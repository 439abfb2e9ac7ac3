r"""Chapter 3, how a network learns: two layers backwards, folds by patient, when to stop."""
from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.checks.engine import Case, Check


def backward(x: Float[Tensor, "b n"], y: Float[Tensor, "b"], A: Float[Tensor, "h n"], a: Float[Tensor, "h"],
             c: Float[Tensor, "h"], d: Float[Tensor, ""]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""The mean cross-entropy's gradients at $A$, $a$, $c$ and $d$ of $z = c \cdot \max(A x + a, 0) + d$. Chapter 3."""
    below = x @ A.T + a
    hidden = below.clamp_min(0)
    at_logit = (torch.sigmoid(hidden @ c + d) - y) / len(x)
    at_below = at_logit[:, None] * c * (below > 0)
    return at_below.T @ x, at_below.sum(0), at_logit @ hidden, at_logit.sum()


def folds(patients: Int64[Tensor, "n"], k: int) -> Int64[Tensor, "n"]:
    r"""The fold of each slice, from the patient of each; no slice gives an empty tensor. Chapter 3."""
    order: dict[int, int] = {}
    for patient in patients.tolist():
        order.setdefault(patient, len(order) % k)
    return torch.tensor([order[patient] for patient in patients.tolist()], dtype=torch.int64)


def stop_at(losses: Float[Tensor, "n"], patience: int) -> tuple[int, int]:
    r"""The look that is kept, and the look at which training stops. Chapter 3."""
    best, kept = float("inf"), 0
    for look, value in enumerate(losses.tolist()):
        if value < best:
            best, kept = value, look
        elif look - kept >= patience:
            return kept, look
    return kept, len(losses) - 1


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _layers(batch: int, inputs: int, hidden: int, seed: int, lift: float = 0.0) -> dict[str, Tensor]:
    """A batch and a network of two layers, whose hidden units are lifted above zero, or pushed below it."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    return dict(x=draw(batch, inputs), y=(draw(batch) > 0).double(), A=draw(hidden, inputs), a=draw(hidden) + lift,
                c=draw(hidden), d=draw())


def _numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


_VOXEL = dict(x=_numbers(0.6, 0.9)[None], y=_numbers(0), A=torch.stack([_numbers(1, 1), _numbers(-1, 1)]),
              a=_numbers(-0.5, 0.2), c=_numbers(2, 1), d=_numbers(-1)[0])
_NAN = float("nan")

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_BACKWARD = (
    Case("the voxel of the chapter", _VOXEL, "What arrives at the logit is p - y, and at h it is that times c."),
    Case("a batch of five", _layers(5, 2, 3, seed=0),
         "Of the mean loss each voxel has a fifth. Where u is not above zero, nothing comes back."),
    Case("every hidden unit at work", _layers(4, 3, 2, seed=1, lift=20.0),
         "The gradient at A is what arrives at u times what was seen, x; not h."),
    Case("every hidden unit silent", _layers(4, 3, 2, seed=2, lift=-20.0),
         "Behind silent units only d learns: the gradients at A, a and c are zero, in their shapes."),
    Case("one hidden unit, one input", _layers(3, 1, 1, seed=3), "The shapes are (1, 1), (1,), (1,) and ()."),
)


def _folds_case(name: str, patients: list[int], k: int, hint: str) -> Case:
    return Case(name, dict(patients=torch.tensor(patients, dtype=torch.int64), k=k), hint)


_FOLDS = (
    _folds_case("two slices of each patient", [7, 7, 3, 3, 9, 9, 1, 1], 2,
                "Patients 7, 3, 9 and 1 are dealt to the folds 0, 1, 0 and 1, in the order in which they came."),
    _folds_case("slices in any order", [4, 2, 4, 8, 2, 4, 6, 8], 3,
                "Slices of a patient need not stand together. Remember where the patient went."),
    _folds_case("patients with many and with few slices", [5, 5, 5, 5, 5, 0, 1, 1], 2,
                "It is patients who are dealt, not slices: patient 5 has one turn."),
    _folds_case("one fold", [3, 1, 2], 1, "With k = 1 all are in fold 0."),
    _folds_case("more folds than patients", [10, 11, 10], 5, "Two patients fill folds 0 and 1; the others stay empty."),
    _folds_case("no slice", [], 3, "No slice has no fold: whole numbers of shape (0,)."),
)


def _stop_case(name: str, losses: list[float], patience: int, hint: str) -> Case:
    return Case(name, dict(losses=_numbers(*losses), patience=patience), hint)


_STOP = (
    _stop_case("it turns", [3.0, 2.0, 1.0, 1.5, 1.6, 1.7, 1.8], 2,
               "The best is look 2. Looks 3 and 4 bring nothing lower: stop at look 4."),
    _stop_case("it falls to the end", [3.0, 2.0, 1.0], 2, "Nothing stops it: the last look is kept and is the end."),
    _stop_case("a second fall", [3.0, 2.0, 2.5, 1.0, 1.3, 1.2, 1.4, 1.5], 3,
               "Look 3 comes in time and starts the count anew. Look 5 is lower than the look before it, but not lower "
               "than the best."),
    _stop_case("a second fall that comes too late", [3.0, 2.0, 2.5, 2.6, 1.0], 2,
               "Training had stopped at look 3. Nobody knows that 1.0 would have come."),
    _stop_case("equal is not lower", [2.0, 2.0, 2.0, 2.0], 3, "Below the best, not as low as it."),
    _stop_case("a NaN", [2.0, _NAN, 1.0, _NAN, _NAN, 0.5], 2, "A NaN is no improvement, and never becomes the best."),
    _stop_case("a patience of one", [1.0, 2.0, 0.5], 1, "The first look that is no better ends it."),
)

CHECKS = (
    Check("learning.backward", backward, _BACKWARD),
    Check("learning.folds", folds, _FOLDS),
    Check("learning.stop_at", stop_at, _STOP),
)
