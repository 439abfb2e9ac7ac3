"""The scans are as noisy as they are said to be, and a trial is the plan's doing alone."""
from dataclasses import replace

import pytest
import torch

from medlearn.checks import registered
from medlearn.checks.noise import CTPlan, MRPlan
from medlearn.practice import NoiseTrial, Plan, noise, noise_trial, repeats


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(noise, "STEPS", 2)


def test_a_quarter_of_the_dose_has_twice_the_noise():
    data = repeats("CT", 3)
    full = (data.first - data.second).std() / 2 ** 0.5
    assert ((data.scan - data.truth).std() / full).item() == pytest.approx(2, rel=0.15)


def test_mr_has_an_snr_of_three_and_the_air_of_a_magnitude():
    data = repeats("MR", 3)
    air = data.truth == 0
    assert data.scan[air].mean().item() == pytest.approx((torch.pi / 2) ** 0.5, rel=0.03)
    assert data.truth.quantile(0.9).item() == pytest.approx(3, rel=0.15)
    assert not torch.equal(data.first, data.second)


@pytest.mark.parametrize("scanner, plan", [("CT", CTPlan), ("MR", MRPlan)])
def test_the_same_seed_and_plan_give_the_same_trial_and_leave_torch_as_it_was(scanner, plan, short):
    before = torch.get_rng_state()
    assert noise_trial(plan, scanner, seed=1) == noise_trial(plan, scanner, seed=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("scanner", noise.SCANNERS)
def test_untrained_the_estimate_is_the_first_guess(scanner, monkeypatch):
    monkeypatch.setattr(noise, "STEPS", 0)
    assert noise_trial(Plan, scanner).left == pytest.approx(1, abs=1e-3)


def test_a_plan_cannot_change_the_scans_of_the_clinic(short):
    class Spoils(Plan):
        def denoise(self, scan):
            return scan.mul_(0) + 1

        def augment(self, first, second, generator):
            return first.mul_(0), second.mul_(0)

    before = [part.clone() for part in repeats("MR", 5)]
    noise_trial(Spoils, "MR", seed=5)
    assert all(torch.equal(a, b) for a, b in zip(before, repeats("MR", 5)))


def plan(**methods):
    return type("Some", (Plan,), methods)


@pytest.mark.parametrize("one, why", [
    (object, "plan: expected a class with denoise, augment and loss, got"),
    (plan(denoise=lambda self, scan: scan[0]), "denoise: expected shape .*as of the scans, got"),
    (plan(denoise=lambda self, scan: scan.double()), "denoise: expected torch.float32, got torch.float64"),
    (plan(denoise=lambda self, scan: -scan), "denoise: expected 0"),
    (plan(augment=lambda self, a, b, generator: a), "augment: expected two scans, got"),
    (plan(loss=lambda self, a, b: (a - b).abs()), "loss: expected one number, got a tensor of shape"),
    (plan(loss=lambda self, a, b: b.mean()), "loss: expected a number with a gradient"),
    (plan(loss=lambda self, a, b: (a / 0).mean()), "loss: expected a finite number"),
])
def test_what_is_no_plan_is_refused(one, why, refused, short):
    with refused(why):
        noise_trial(one, "MR")


def test_another_scanner_and_a_seed_that_is_none_are_refused(refused):
    with refused("scanner: expected"):
        repeats("PET")
    with refused("seed: expected a whole number"):
        repeats("MR", -1)


def test_a_share_is_what_is_left():
    assert NoiseTrial(10.0, 40.0).left == 0.25


def test_a_plan_without_an_end_is_stopped_at_the_first_case():
    def denoise(self, scan):
        while True:
            scan = scan + 0

    report = replace(registered()["noise.mr"], limit_s=0.3).examine(plan(denoise=denoise))
    assert report.passed == 0 and report.failure.endless
