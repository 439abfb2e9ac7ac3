"""The study that is to be audited: its scans are the cohort's, its answers a network's, its faults as they are said."""
import pytest
import torch

from medlearn.checks.audit import audit
from medlearn.practice import said, submission
from medlearn.practice.audit import COHORT, FAULTS, LEARNT, hand_in, reported


def test_kept_masks_are_those_of_the_cohort():
    study = hand_in(3, ())
    patient, height = study.scan[0].tolist()
    volume = COHORT.batch([patient])
    assert torch.equal(study.label[0], volume.lesion[0, :, :, height] > 0)
    image = study.images(torch.tensor([0]))[0]
    assert torch.equal(image, volume.image[0, 0, :, :, height])
    assert study.affine[0, 2, 3] == pytest.approx((volume.affine[0] @ torch.tensor([0, 0, height, 1.0]).double())[2])


def test_the_network_knows_its_own_patients_better_than_new_ones():
    study = hand_in(0, ("leak",))
    known = torch.isin(study.scan[study.test, 0], study.learnt[:, 0])
    dice = [reported(study.probability, study.label, scan=study.scan,
                     rows=dict.fromkeys(study.report, study.test[some]))
            ["dice"] for some in (known, ~known)]
    assert known.sum() == 30 and dice[0] > dice[1] + 0.05


@pytest.mark.parametrize("seed", [0, 11, 502])
def test_no_scan_of_the_test_was_learnt_and_parts_do_not_share_patients(seed):
    study = hand_in(seed, FAULTS)
    pairs = lambda scans: {tuple(pair) for pair in scans.tolist()}
    assert not pairs(study.learnt) & pairs(study.scan)
    assert int(study.learnt[:, 0].max()) < LEARNT
    patients = [set(study.scan[rows, 0].tolist()) for rows in (study.calibration, study.test)]
    assert not patients[0] & patients[1] and [len(some) for some in patients] == [24, 30]
    assert study.scan[:, 0].view(-1, 3).eq(study.scan[::3, :1]).all() and study.label.flatten(1).any(1).all()


def test_a_sound_study_reports_what_an_audit_finds():
    study = hand_in(8, ())
    assert audit(study) == study.report


@pytest.mark.parametrize("seed", [0, 21, 502, 506])
@pytest.mark.parametrize("fault, lines", [("leak", {"patients", "dice", "missed"}), ("misses", {"dice"}),
                                          ("mirror", {"dice", "threshold", "missed"}), ("reuse", {"missed"})])
def test_a_fault_changes_its_own_lines_and_no_other(fault, lines, seed):
    study = hand_in(seed, (fault,))
    found = audit(study)
    assert {line for line in found if abs(found[line] - study.report[line]) > 1e-4} == lines


def test_leak_and_lost_misses_flatter_and_a_mirror_does_not():
    """What the page says: one of the four makes the network look worse."""
    gains = {fault: [(hand_in(seed, (fault,)).report["dice"] - audit(hand_in(seed, (fault,)))["dice"])
                     for seed in range(20)] for fault in ("leak", "misses", "mirror")}
    assert min(gains["leak"]) > -0.02 and sum(gains["leak"]) > 0.6 and min(gains["misses"]) > 0 > max(gains["mirror"])


def test_one_seed_one_study():
    first, again, other = submission(), submission(0), submission(1)
    assert torch.equal(first.scan, again.scan) and first.report == again.report
    assert not torch.equal(first.scan, other.scan)
    assert repr(first) == f"a study of 162 scans, reported: {said(first.report)}"


def test_a_seed_that_is_none_is_refused(refused):
    with refused("expected .* got"):
        submission("one")


def test_only_rows_of_the_study_have_an_image(refused):
    study = submission()
    for row in (-1, len(study.scan), 999):
        with refused(f"rows: expected 0..161, got {row}"):
            study.images(torch.tensor([0, row]))
    assert study.images(torch.zeros(0, dtype=torch.int64)).shape == (0, 64, 64)


@pytest.mark.parametrize("report", [None, "dice", [0.5], {"dice": "0.5"}, {"dice": None}])
def test_a_report_is_of_numbers(report, refused):
    with refused("report: expected .* got"):
        said(report)
