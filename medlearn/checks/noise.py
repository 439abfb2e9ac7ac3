r"""The practice chapter "Respect the noise": plans for a CT at a quarter of its dose and for MR at an SNR of 3."""
from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from medlearn.checks.engine import TRAINING_LIMIT_S, Case, Check
from medlearn.checks.own import check_own
from medlearn.physics import low_dose, rician_nll
from medlearn.practice.noise import FRACTION, FULL_DOSE, Plan, noise_trial

# between what the baseline and what the references left at clinics 0 to 4
BARS = {"CT": 0.75, "MR": 0.40}
CLEARED = {scanner: f"at most {bar:.2f} of the error left" for scanner, bar in BARS.items()}


class CTPlan(Plan):
    r"""Training sees a quarter of the dose, either tube's; the loss stays. Chapter "Respect the noise"."""

    def augment(self, first: Tensor, second: Tensor, *, generator: Generator) -> tuple[Tensor, Tensor]:
        if torch.rand((), generator=generator) < 0.5:
            first, second = second, first
        return low_dose(first, FRACTION, pixel_mm=6.0, i0=FULL_DOSE, generator=generator), second


class MRPlan(Plan):
    r"""Rice's likelihood, pairs in both orders and mirrored, a guess of power without noise's. Chapter as above."""

    def denoise(self, scan: Tensor) -> Tensor:
        power = F.avg_pool2d(scan.square(), 3, 1, 1, count_include_pad=False)
        return (power - 2).clamp_min(0).sqrt()

    def augment(self, first: Tensor, second: Tensor, *, generator: Generator) -> tuple[Tensor, Tensor]:
        swapped, mirrored = torch.rand(2, generator=generator) < 0.5
        first, second = (second, first) if swapped else (first, second)
        return (first.flip(2), second.flip(2)) if mirrored else (first, second)

    def loss(self, estimate: Tensor, measured: Tensor) -> Tensor:
        return rician_nll(estimate, measured, sigma=1.0).mean()


_REFERENCES = {"CT": CTPlan, "MR": MRPlan}


def _denoised(plan: type, scan: Tensor) -> dict[str, object]:
    """What must hold of the first guess before anything is learnt."""
    if plan not in _REFERENCES.values():
        check_own(plan)
    one = plan()
    guess = one.denoise(scan)
    return {"shape": tuple(guess.shape), "type": guess.dtype,
            "a scan alone gives what it gives in a batch": torch.allclose(guess[:1], one.denoise(scan[:1]), atol=1e-4)}


def _left(plan: type, scanner: str, seed: int) -> dict[str, bool]:
    """Whether the bar is cleared; what was reached is printed, and so is read beside the verdict."""
    print(reached := noise_trial(plan, scanner, seed=seed))
    return {CLEARED[scanner]: reached.left <= BARS[scanner]}


def _check(scanner: str, scan: Tensor, hint: str) -> Check:
    clinics = tuple(Case(name, {}, hint, run=lambda plan, seed=seed: _left(plan, scanner, seed),
                         bars=(CLEARED[scanner],))
                    for name, seed in (("a clinic you have not seen", 91), ("another clinic", 92)))
    first = Case("the first guess of two scans", {"scan": scan},
                 "From `denoise` comes what went in: (B, 1, X, Y), float32, each scan for itself.", run=_denoised)
    return Check(f"noise.{scanner.lower()}", _REFERENCES[scanner], (first, *clinics), limit_s=TRAINING_LIMIT_S)


_GENERATOR = torch.Generator().manual_seed(0)

CHECKS = (
    _check("CT", 100 * torch.randn(2, 1, 24, 32, generator=_GENERATOR),
           "Compare the noise that training shows the network with that of the scans on which it is judged."),
    _check("MR", 3 * torch.rand(2, 1, 24, 32, generator=_GENERATOR),
           "Look at the air: the scan is never 0 there. Which loss has its least value at the signal, and not at the "
           "mean of what is measured?"),
)
