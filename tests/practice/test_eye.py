"""The slices are as they are said to be, the budget counts what it says, and a trial is the design's doing alone."""
from dataclasses import replace

import pytest
import torch
from torch import nn

from medlearn.checks import registered
from medlearn.checks.eye import eye
from medlearn.practice import EyeCost, EyeTrial, eye_cost, eye_trial, torsos
from medlearn.practice import eye as room


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(room, "STEPS", 2)


def test_slices_are_windowed_and_hold_both_organs_and_no_two_are_alike():
    learnt, test = torsos(3)
    for part in (learnt, test):
        assert 0 <= part.image.min() and part.image.max() <= 1
        shares = [(part.labels == k).double().mean().item() for k in (1, 2)]
        assert 0.005 < shares[0] < 0.03 and 0.0005 < shares[1] < 0.005
    assert len(torch.cat([learnt.image, test.image]).flatten(1).unique(dim=0)) == room.LEARNT + room.TEST
    assert torch.equal(torsos(3)[0].image, learnt.image) and not torch.equal(torsos(4)[0].image, learnt.image)


def test_a_design_does_not_change_the_slices_that_others_get(short, monkeypatch):
    room._torsos.cache_clear()

    def noiseless():
        monkeypatch.setattr(torch, "randn", torch.zeros)
        return nn.Conv2d(1, 3, 1)

    eye_trial(noiseless, seed=6)
    seen = torsos(6)[0].image
    monkeypatch.undo()
    room._torsos.cache_clear()
    assert torch.equal(seen, torsos(6)[0].image)


def test_costs_are_those_of_the_formula():
    net = lambda: nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(),
                                nn.Conv2d(8, 3, 1))
    voxels = 112 * 80 // 4
    assert eye_cost(net) == EyeCost(9 * 8 + 8 + 16 + 8 * 3 + 3, voxels * (9 * 8 + 8 * 3))


def test_the_same_seed_and_design_give_the_same_trial_and_leave_torch_as_it_was(short):
    before = torch.get_rng_state()
    assert eye_trial(eye, seed=1) == eye_trial(eye, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_what_was_learnt_elsewhere_is_not_brought_along(short, monkeypatch):
    def filled():
        net = eye()
        for p in net.parameters():
            nn.init.constant_(p, 0.3)
        return net

    assert eye_trial(filled, seed=1) == eye_trial(eye, seed=1)


def test_dice_is_counted_over_all_voxels_of_the_test(short, monkeypatch):
    class Marks(nn.Module):
        """Says left kidney everywhere."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return torch.cat([0 * x, 0 * x + 5, 0 * x], dim=1) + self.weight

    share = (torsos(0)[1].labels == 1).double().mean().item()
    got = eye_trial(Marks)
    assert got.kidney == pytest.approx(2 * share / (1 + share), rel=1e-4) and got.gland == 0
    assert str(EyeTrial(0.5, 0.25)) == "Dice of the left kidney 0.50, of the adrenal glands 0.25"


@pytest.mark.parametrize("design, why", [
    (None, "design: expected a function that gives a network, got NoneType"),
    (nn.Conv2d(1, 3, 1), "design: expected a function that gives a network, got"),
    (lambda: 1, "design: expected a network, an nn.Module, got int"),
    (lambda: nn.Conv2d(1, 64, 15, padding=7), "design: over the budget"),
    (lambda: nn.Conv2d(1, 2, 1), "logits: expected shape .*one for each class, got"),
])
def test_what_is_no_design_within_the_budget_is_refused(design, why, refused, short):
    with refused(why):
        eye_trial(design)


@pytest.mark.parametrize("seed", [-1, None, 1.0, True])
def test_a_seed_that_is_none_is_refused(seed, refused):
    with refused("seed: expected a whole number"):
        torsos(seed)


def test_a_network_without_an_end_is_stopped_at_the_first_case():
    class Endless(nn.Conv2d):
        def forward(self, x):
            while True:
                x = x + 0

    report = replace(registered()["eye.design"], limit_s=0.3).examine(lambda: Endless(1, 3, 1))
    assert report.passed == 0 and report.failure.endless


def test_a_design_may_have_kernels_of_another_rank(short):
    class OfVolumes(nn.Module):
        def __init__(self):
            super().__init__()
            self.ask = nn.Conv3d(1, 3, (1, 3, 3), padding=(0, 1, 1))

        def forward(self, image):
            return self.ask(image[:, :, None])[:, :, 0]

    assert all(0 <= dice <= 1 for dice in eye_trial(OfVolumes))
