"""Answers to the practice chapter "Audit a model"."""
import numpy as np
import torch

from helpers.answers import right, wrong
from medlearn.practice import submission
from medlearn.uncertainty import false_negative_threshold

ID = "audit.report"
FIRST, SECOND, THIRD, FOURTH = (f"a study with {which} fault" for which in ("one", "another", "a third", "a fourth"))


def turned(study):
    return study.affine[:, 0, 0] * study.label_affine[:, 0, 0] < 0


def upright(study):
    return torch.where(turned(study)[:, None, None], study.label.flip(1), study.label)


def fresh(study):
    return torch.tensor([i for i in study.test.tolist() if study.scan[i, 0] not in study.learnt[:, 0]])


def threshold_of(p, label, rows, of=lambda x: x.unflatten(0, (-1, 3))):
    return false_negative_threshold(of(p[rows]), of(label[rows]), alpha=0.2)


def dices(p, label, rows):
    answer = p[rows] >= 0.5
    return 2 * (answer & label[rows]).sum((1, 2)) / (answer.sum((1, 2)) + label[rows].sum((1, 2))).double()


def misses(p, label, rows, threshold):
    lost = (label[rows] & (p[rows] < threshold)).flatten(1).sum(1).view(-1, 3).sum(1)
    return lost / label[rows].flatten(1).sum(1).view(-1, 3).sum(1).double()


def lines(study, label=None, test=None, patients=None, dice=None, threshold=None, missed=None):
    """A report with everything right but what is given."""
    label, test = upright(study) if label is None else label, fresh(study) if test is None else test
    p = study.probability
    threshold = threshold_of(p, label, study.calibration) if threshold is None else threshold
    return {"patients": len(test) // 3 if patients is None else patients,
            "dice": dices(p, label, test).mean().item() if dice is None else dice,
            "threshold": threshold,
            "missed": misses(p, label, test, threshold).mean().item() if missed is None else missed}


@right(ID)
def step_by_step(study):
    return lines(study)


@right(ID)
def in_numpy(study):
    p, label, known = study.probability.numpy(), study.label.numpy().copy(), set(study.learnt[:, 0].tolist())
    for i in range(len(label)):
        if not np.allclose(study.label_affine[i], study.affine[i]):
            label[i] = label[i, ::-1]
    test = [i for i in study.test.tolist() if int(study.scan[i, 0]) not in known]
    dice = np.mean([2 * (label[i] & (p[i] >= 0.5)).sum() / (label[i].sum() + (p[i] >= 0.5).sum()) for i in test])
    threshold = threshold_of(study.probability, torch.from_numpy(label), study.calibration)
    patients = {}
    for i in test:
        patients.setdefault(int(study.scan[i, 0]), []).append(i)
    missed = [1 - sum((label[i] & (p[i] >= threshold)).sum() for i in some) / sum(label[i].sum() for i in some)
              for some in patients.values()]
    return {"patients": len(patients), "dice": float(dice), "threshold": threshold, "missed": float(np.mean(missed))}


@right(ID)
def in_place_on_the_study(study):
    study.label[turned(study)] = study.label[turned(study)].flip(1)
    return lines(study, label=study.label)


@wrong(ID, at=FIRST)
def believes_every_line(study):
    return dict(study.report)


@wrong(ID, at="a sound study")
def hard_coded_for_the_visible_study(study):
    return lines(submission())


@wrong(ID, at="a sound study")
def one_line_left_out(study):
    return {line: value for line, value in lines(study).items() if line != "threshold"}


@wrong(ID, at="a sound study")
def patients_for_scans(study):
    return lines(study, patients=len(fresh(study)))


@wrong(ID, at="a sound study")
def missed_at_one_half(study):
    return lines(study, missed=misses(study.probability, upright(study), fresh(study), 0.5).mean().item())


@wrong(ID, at="a sound study")
def all_voxels_in_one_pot(study):
    rows, label = fresh(study), upright(study)
    low = study.probability[rows] < threshold_of(study.probability, label, study.calibration)
    return lines(study, missed=((label[rows] & low).sum() / label[rows].sum().double()).item())


@wrong(ID, at="a sound study")
def a_threshold_for_scans_and_not_for_patients(study):
    return lines(study, threshold=threshold_of(study.probability, upright(study), study.calibration, of=lambda x: x))


@wrong(ID, at="a sound study")
def every_label_turned(study):
    return lines(study, label=study.label.flip(1))


@wrong(ID, at=FIRST)
def no_scan_twice(study):
    seen = {tuple(pair) for pair in study.learnt.tolist()}
    return lines(study, test=torch.tensor([i for i in study.test.tolist() if tuple(study.scan[i].tolist()) not in seen]))


@wrong(ID, at=FIRST)
def known_patients_not_counted_but_measured(study):
    return lines(study, dice=dices(study.probability, upright(study), study.test).mean().item())


@wrong(ID, at=FIRST)
def whole_parts_compared(study):
    return lines(study, test=study.test) if study.test.numel() else lines(study)


@wrong(ID, at=SECOND)
def labels_as_arrays(study):
    return lines(study, label=study.label)


@wrong(ID, at=SECOND)
def turned_front_to_back(study):
    return lines(study, label=torch.where(turned(study)[:, None, None], study.label.flip(2), study.label))


@wrong(ID, at=SECOND)
def turned_patients_left_out(study):
    return lines(study, test=fresh(study)[~turned(study)[fresh(study)]])


@wrong(ID, at=SECOND)
def the_threshold_of_the_report(study):
    return lines(study, threshold=study.report["threshold"])


@wrong(ID, at=THIRD)
def only_where_something_was_marked(study):
    dice = dices(study.probability, upright(study), fresh(study))
    some = (study.probability[fresh(study)] >= 0.5).flatten(1).any(1)
    return lines(study, dice=dice[some].mean().item() if "dice" in study.rows and len(study.rows["dice"]) <
                 len(study.test) else dice.mean().item())


@wrong(ID, at=FOURTH)
def tried_where_it_was_found(study):
    label, rows = upright(study), study.rows["missed"]
    threshold = threshold_of(study.probability, label, study.calibration)
    rows = rows if torch.equal(rows, study.calibration) else fresh(study)
    return lines(study, missed=misses(study.probability, label, rows, threshold).mean().item())


@wrong(ID, at="a study with four faults")
def one_fault_and_no_more(study):
    """Stops at the first fault that it finds."""
    if len(fresh(study)) < len(study.test):
        return lines(study, label=study.label)
    return lines(study)
