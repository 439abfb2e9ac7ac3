"""The rubric: what good, fair and poor answers get, what is refused in one sentence, and each line by hand."""
import csv
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage

from medlearn.base.grid import Grid
from medlearn.checks import rubric
from medlearn.checks.rubric import CRITERIA, Rubric, referral_gain, write_report
from medlearn.data import Volume, reorient, to_ras, write_volume
from medlearn.practice import patients

COUNT = 12
judge = partial(rubric.judge, part="test")
NAMES = [one.name for one in CRITERIA]


def write(folder, answer, count=COUNT):
    """A submission: `answer(patient, truth in RAS, rng)` gives probability, mask, interval and whether to refer."""
    folder.mkdir(exist_ok=True)
    lines = {}
    for i, one in enumerate(patients("test")[:count]):
        truth, rng = to_ras(one.lesion).array > 0, np.random.default_rng(i)
        p, mask, low, high, refer = answer(one, truth, rng)
        scan = to_ras(one.scan)
        back = lambda array: reorient(scan.with_array(array), one.scan.grid.orientation)
        write_volume(folder / f"{one.name}.nii.gz", back(mask.astype(np.uint8)))
        write_volume(folder / f"{one.name}.probabilities.nii.gz", back(np.stack([1 - p, p]).astype(np.float32)))
        lines[one.name] = (low, high, refer)
    write_report(folder, lines)
    return folder


def ml(mask):
    return float(mask.sum()) * 5.2 ** 3 / 1000


def small_lost(truth, least):
    """The truth without its lesions below a size."""
    things, n = ndimage.label(truth)
    size = np.bincount(things.ravel(), minlength=n + 1)
    return truth & (size[things] >= least)


def around(volume, width):
    return max(0.0, volume - width / 2), volume + width / 2


# Three good ones ------------------------------------------------------------------------------------------------------

def expert(one, truth, rng):
    return truth * 0.98 + 0.001, truth, *around(ml(truth), 2.0), False


def careful(one, truth, rng):
    """Loses small lesions, knows whom it may have failed, and says so."""
    kept = small_lost(truth, 6)
    lost = bool((truth & ~kept).any())
    return np.where(truth, np.where(kept, 0.95, 0.4), 0.001), kept, *around(ml(truth), 0.5 * ml(truth) + 1), lost


def ragged(one, truth, rng):
    """A fifth of the border's voxels are wrong, and the probabilities know it."""
    edge = truth ^ ndimage.binary_erosion(truth)
    mask = truth & ~(edge & (rng.random(truth.shape) < 0.2))
    return np.where(truth, np.where(edge, 0.8, 0.99), 0.001), mask, *around(ml(truth), 0.6 * ml(truth) + 1), False


# Three fair ones ------------------------------------------------------------------------------------------------------

def generous(one, truth, rng):
    """One voxel too many all around, with intervals to match."""
    wide = ndimage.binary_dilation(truth)
    return wide * 0.45 + 0.001, wide, *around(ml(truth), 0.5 * ml(truth) + 1), False


def large_only(one, truth, rng):
    """Finds the large lesions, is too sure, and guesses its intervals from what it finds."""
    kept = small_lost(truth, 25)
    return kept * 0.99 + 0.001, kept, 0.7 * ml(kept), 1.5 * ml(kept) + 1, False


def everything_to_the_radiologist(one, truth, rng):
    """A fair outline without a decision: who sends all on has spared nobody."""
    kept = small_lost(truth, 12)
    return kept * 0.6 + 0.001, kept, *around(ml(truth), 2 * ml(truth) + 2), True


# Three poor ones ------------------------------------------------------------------------------------------------------

def silent(one, truth, rng):
    return truth * 0.0 + 0.001, truth & False, 0.0, 0.0, False


def all_that_is_dark(one, truth, rng):
    scan, brain = to_ras(one.scan).array, to_ras(Volume(one.brain, one.scan.grid)).array
    mask = brain & (scan < np.quantile(scan[brain], 0.3))
    return mask * 0.9 + 0.01, mask, 0.5 * ml(mask), 1.5 * ml(mask), False


def another_patient(one, truth, rng):
    other = to_ras(patients("test")[(int(one.name[-2:]) + 3) % COUNT].lesion).array > 0
    return other * 0.9 + 0.01, other, *around(ml(other), 0.5 * ml(other)), False


KINDS = {"good": (expert, careful, ragged), "fair": (generous, large_only, everything_to_the_radiologist),
         "poor": (silent, all_that_is_dark, another_patient)}


@pytest.mark.parametrize("kind, answer", [(kind, one) for kind, three in KINDS.items() for one in three],
                         ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_good_fair_and_poor_answers_get_what_they_are_worth(kind, answer, tmp_path):
    found = judge(write(tmp_path, answer), count=COUNT)
    assert found.verdict == kind, found


def test_each_line_falls_where_its_own_fault_is(tmp_path):
    """Each fault costs points in its own line and none in those that cannot see it."""
    faults = {
        "calibration": lambda *of: (0.5 * of[1] + 0.2, *expert(*of)[1:]),
        "coverage": lambda *of: (*expert(*of)[:2], 2 * ml(of[1]) + 1, 2 * ml(of[1]) + 1.5, False),
        "lesions": lambda *of: (expert(*of)[0], of[1] | speckle(of[1], of[2]), *expert(*of)[2:]),
        "overlap": lambda *of: (expert(*of)[0], ndimage.binary_dilation(of[1], iterations=2), *expert(*of)[2:]),
    }
    blind = {"calibration": {"overlap", "border", "lesions", "coverage", "interval", "referral", "cost"},
             "coverage": {"overlap", "border", "lesions", "calibration", "referral", "cost"},
             "lesions": {"calibration", "coverage", "interval"}, "overlap": {"calibration", "coverage", "interval"}}
    best = dict(zip(NAMES, judge(write(tmp_path / "best", expert), count=COUNT).values))
    for line, fault in faults.items():
        found = dict(zip(NAMES, judge(write(tmp_path / line, fault), count=COUNT).values))
        criterion = CRITERIA[NAMES.index(line)]
        assert criterion.points(found[line]) < criterion.points(best[line]), (line, found)
        assert all(found[name] == best[name] for name in blind[line]), (line, found)


def speckle(truth, rng):
    """Single voxels far from any lesion."""
    spots = rng.random(truth.shape) < 3e-4
    return spots & ~ndimage.binary_dilation(truth, iterations=3)


def test_the_cost_is_minutes_by_hand(tmp_path):
    """Nobody is found and every second patient read: their quarter of an hour, and the others' lesions."""
    def half(one, truth, rng):
        return *silent(one, truth, rng)[:4], int(one.name[-2:]) % 2 == 0

    lesions = [ndimage.label(one.lesion.array, np.ones((3, 3, 3)))[1] for one in patients("test")[:COUNT]]
    minutes = sum(15 if i % 2 else 15 * lesions[i] for i in range(COUNT))
    values = dict(zip(NAMES, judge(write(tmp_path, half), count=COUNT).values))
    assert values["cost"] == pytest.approx(minutes / (15 * COUNT))


def test_the_interval_score_is_a_width_and_ten_times_what_lies_outside(tmp_path):
    def beside(one, truth, rng):
        return *expert(one, truth, rng)[:2], ml(truth) + 1, ml(truth) + 3, False

    volume = np.mean([ml(one.lesion.array) for one in patients("test")[:COUNT]])
    values = dict(zip(NAMES, judge(write(tmp_path, beside), count=COUNT).values))
    assert values["interval"] == pytest.approx((2 + 10 * 1) / volume, rel=1e-3) and values["coverage"] == pytest.approx(0.8)


def test_who_has_nothing_to_be_seen_is_no_error_to_be_spared(tmp_path):
    """To send a healthy person on costs a quarter of an hour, and changes no other line."""
    def sent(also):
        def answer(one, truth, rng):
            lost = small_lost(truth, 25)
            return *careful(one, truth, rng)[:4], bool((truth & ~lost).any()) or also and not truth.any()
        return dict(zip(NAMES, judge(write(tmp_path / str(also), answer), count=COUNT).values))

    healthy = sum(not one.lesion.array.any() for one in patients("test")[:COUNT])
    without, with_them = sent(False), sent(True)
    assert healthy and with_them.pop("cost") - without.pop("cost") == pytest.approx(healthy / COUNT)
    assert with_them == without


def test_a_gain_is_between_lots_and_the_best_choice():
    error = torch.tensor([0.0, 4.0, 2.0, 0.0])
    assert referral_gain(error, torch.tensor([False, True, False, False])) == 1
    assert referral_gain(error, torch.tensor([True, False, False, True])) == pytest.approx(-1.0)
    for nothing in (torch.zeros(4).bool(), torch.ones(4).bool()):
        assert referral_gain(error, nothing) == 0
    assert referral_gain(torch.ones(4), torch.tensor([True, False, False, False])) == 0


def test_points_go_both_ways_and_what_is_no_number_gets_none():
    overlap, cost = CRITERIA[0], CRITERIA[-1]
    assert [overlap.points(value) for value in (0.6, 0.5, 0.1, math.nan)] == [2, 1, 0, 0]
    assert [cost.points(value) for value in (0.5, 0.9, 2.0, math.inf, math.nan)] == [2, 1, 0, 0, 0]
    assert Rubric((math.nan,) * 8).verdict == "poor"


# What is refused ------------------------------------------------------------------------------------------------------

@pytest.fixture
def sound(tmp_path):
    return write(tmp_path / "answers", expert, count=3)


def again(folder, name, array, grid=None):
    one = next(one for one in patients("test") if one.name == name[:7])
    write_volume(folder / f"{name}.nii.gz", Volume(array, one.scan.grid if grid is None else grid))


def truth_of(name):
    return next(one for one in patients("test") if one.name == name).lesion.array


def with_nan():
    p = np.stack([1.0 - truth_of("test-02"), truth_of("test-02")]).astype(np.float32)
    p[1, 3, 3, 3] = np.nan
    return p


def exchanged():
    return np.stack([truth_of("test-02"), 1.0 - truth_of("test-02")]).astype(np.float32)


@pytest.mark.parametrize("spoil, sentence", [
    (lambda to: (to / "test-02.nii.gz").unlink(), "answers: expected two files for each of 3 patients, found no test-02.nii.gz$"),
    (lambda to: [path.unlink() for path in to.glob("*.nii.gz")], "found no test-01.nii.gz, test-01.probabilities.nii.gz, test-02.nii.gz and 3 more$"),
    (lambda to: again(to, "test-02", truth_of("test-02"), Grid((40,) * 3, np.eye(4))),
     "test-02.nii.gz: expected numbers on the grid of its scan: .*one grid, got"),
    (lambda to: again(to, "test-02", truth_of("test-02")[:20], Grid((20, 40, 40), np.eye(4))), "test-02.nii.gz: .*one grid, got shapes"),
    (lambda to: again(to, "test-02.probabilities", with_nan()), "test-02.probabilities.nii.gz: expected numbers .*finite"),
    (lambda to: again(to, "test-02.probabilities", with_nan()[:1] * 0), "test-02.probabilities.nii.gz: .*expected 2 channels, got 1"),
    (lambda to: again(to, "test-02.probabilities", np.nan_to_num(with_nan()) * 3), "test-02: expected probabilities .*0 to 3"),
    (lambda to: again(to, "test-02.probabilities", exchanged()),
     "test-02: expected the probabilities of background first, then of plaque"),
    (lambda to: again(to, "test-02", patients("test")[1].scan.array), "test-02: expected an answer, got the scan itself in test-02.nii.gz"),
    (lambda to: again(to, "test-02.probabilities", scaled()), "test-02: expected an answer, got the scan itself"),
    (lambda to: again(to, "test-02", 2 * truth_of("test-02")), "test-02: expected labels 0 and 1, got 2"),
    (lambda to: (to / "report.csv").unlink(), "report.csv: expected a table of intervals and referrals, found none"),
    (lambda to: (to / "report.csv").write_text("case,low_ml,high_ml\ntest-01,0,1\n"), "report.csv: expected the columns .* none for refer"),
    (lambda to: (to / "report.csv").write_text("case,low_ml,high_ml,refer\ntest-01,0,1,no\n"), "none for test-02, test-03"),
    (lambda to: (to / "report.csv").write_text("case,low_ml,high_ml,refer\ntest-01,2,1,no\n"), "test-01: expected an interval in ml, got 2 to 1"),
    (lambda to: (to / "report.csv").write_text("case,low_ml,high_ml,refer\ntest-01,nan,1,no\n"), "test-01: expected an interval"),
    (lambda to: (to / "report.csv").write_text("case,low_ml,high_ml,refer\ntest-01,0,1,maybe\n"), "expected yes or no for refer, got 'maybe'"),
])
def test_what_cannot_be_judged_is_told_in_one_sentence(sound, spoil, sentence, refused):
    assert judge(sound, count=3).points > 0
    spoil(sound)
    with refused(sentence):
        judge(sound, count=3)


def scaled():
    scan = patients("test")[1].scan.array.astype(np.float32)
    p = (scan - scan.min()) / (scan.max() - scan.min())
    return np.stack([1 - p, p])


def test_an_answer_turned_to_ras_is_as_good(sound):
    one = patients("test")[4]
    before = judge(sound, count=3)
    for i in range(3):
        one = patients("test")[i]
        write_volume(sound / f"{one.name}.nii.gz", to_ras(one.lesion))
    assert judge(sound, count=3) == before


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of answers, found none"):
        judge(tmp_path / "nowhere")


def test_a_report_is_written_as_it_is_read(tmp_path, refused):
    write_report(tmp_path, {"a": (0.0, 1.25, True), "b": (1.0, math.inf, False)})
    rows = list(csv.DictReader((tmp_path / "report.csv").open()))
    assert rows == [dict(case="a", low_ml="0.000", high_ml="1.250", refer="yes"), dict(case="b", low_ml="1.000", high_ml="inf", refer="no")]
    for low, high in ((2.0, 1.0), (math.nan, 1.0)):
        with refused("a: expected an interval in ml"):
            write_report(tmp_path, {"a": (low, high, False)})
