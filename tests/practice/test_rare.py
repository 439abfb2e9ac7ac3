"""One voxel in a thousand: the clinics are as they are said to be, and a trial is the loss's doing alone."""
import pytest
import torch
from torch.nn import functional as F

from medlearn.checks.rare import rare_loss
from medlearn.data import BrainCohort
from medlearn.practice import clinic, rare, trial, views


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(rare, "STEPS", 3)


def test_one_voxel_in_a_thousand_and_no_patient_twice():
    learnt, test = clinic(0)
    for part in (learnt, test):
        assert (part.lesion > 0).double().mean().item() == pytest.approx(0.001, rel=0.4)
        assert not part.lesion.flatten(1).any(1).all()                      # some are healthy
    both = torch.cat([learnt.image, test.image]).flatten(1)
    assert len(both.unique(dim=0)) == rare.LEARNT + rare.TEST


def test_a_view_sees_what_lies_around():
    learnt = clinic(0)[0][:1]
    seen = views(learnt)[0]
    assert seen.shape == (9, 96, 96)
    image = seen[0]
    patch = image[40:49, 50:59]
    assert seen[7, 44, 54] == patch.max() and seen[8, 44, 54] == patch.min()
    assert seen[6, 20, 30] == seen[1, 20, 30] - seen[1, 75, 30]             # the other side of the head


def test_the_same_seed_and_loss_give_the_same_trial(short):
    before = torch.get_rng_state()
    assert trial(rare_loss) == trial(rare_loss)
    assert torch.equal(before, torch.get_rng_state())


def test_every_step_gives_the_loss_a_batch_of_patients(short):
    seen = []

    def loss(logits, labels):
        seen.append((tuple(logits.shape), tuple(labels.shape), labels.dtype))
        return F.cross_entropy(logits, labels)

    trial(loss)
    assert seen == [((16, 2, 96, 96), (16, 96, 96), torch.int64)] * 3


def test_shares_and_dice_are_counted_over_patients_and_voxels(short, monkeypatch):
    class Everything(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, seen):
            return torch.stack([seen[:, 0] * 0, seen[:, 0] * 0 + 1 + self.weight], dim=1)

    monkeypatch.setattr(rare, "_network", lambda seed: Everything())
    share = (clinic(0)[1].lesion > 0).double().mean().item()
    got = trial(F.cross_entropy)
    assert (got.found, got.alarms) == (1, 1) and got.dice == pytest.approx(2 * share / (1 + share), rel=1e-4)


@pytest.mark.parametrize("loss, why", [
    (lambda z, y: F.cross_entropy(z, y, reduction="none"), "expected one number, got a tensor of shape"),
    (lambda z, y: F.cross_entropy(z.detach(), y), "expected a number with a gradient"),
    (lambda z, y: F.cross_entropy(z, y) * float("nan"), "expected a finite number"),
    (lambda z, y: 1.0, "expected a tensor|expected a float tensor"),
])
def test_a_loss_that_is_no_number_to_learn_from_is_refused(loss, why, refused):
    with refused(why):
        trial(loss)


def test_a_seed_that_is_none_is_refused_also_where_an_equal_one_was_asked_for(refused):
    clinic(1)
    for seed in (-1, None, "a", 1.0, True, []):
        with refused("seed: expected a whole number"):
            clinic(seed)
        with refused("seed: expected a whole number"):
            trial(rare_loss, seed=seed)
    assert clinic(1) is clinic(1)


def test_what_is_no_scan_of_slices_and_what_is_no_loss_is_refused(refused):
    for scan in (None, clinic(0)[0].image):
        with refused("scan: expected a Scan, got"):
            views(scan)
    with refused("scan.image: expected .*B, 1, X, Y.* got shape"):
        views(BrainCohort(size=32, dim=3).batch([0]))
    with refused("loss: expected a function of logits and labels, got NoneType"):
        trial(None)
