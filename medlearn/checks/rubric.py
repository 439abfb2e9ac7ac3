r"""What a folder of answers to the ward's patients is worth: eight lines, computed from its files alone (capstone)."""
from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.data import Volume, check_same_grid, read_volume, to_ras
from medlearn.evaluate import score_volume
from medlearn.metrics import Detection, detection_f1
from medlearn.practice.capstone import PATIENTS, Patient, patients
from medlearn.tasks import connected_components
from medlearn.uncertainty import reliability

PROMISE = 0.8                   # the share of volumes that the intervals are to hold
TOLERANCE_MM = 3.0              # of the border: about half a voxel
READ, MISSED, FALSE = 15, 15, 5     # a doctor's minutes: to read a scan, for a lesion missed, for one that is none
REPORT = ("case", "low_ml", "high_ml", "refer")
COPY = 0.999                    # correlation with the scan from which on an answer is the scan
GOOD, FAIR = 12, 7              # points of sixteen


class Criterion(NamedTuple):
    """A line of the rubric: what is measured, and from where on it is good (2 points) and fair (1)."""

    name: str
    asks: str
    good: float
    fair: float

    def points(self, value: float) -> int:
        """Two, one or none; larger is better where `good` is above `fair`. What is not a number gets none."""
        sign = 1 if self.good > self.fair else -1
        return sum(sign * value >= sign * bar for bar in (self.good, self.fair))


CRITERIA = (
    Criterion("overlap", "mean Dice of the patients", 0.55, 0.40),
    Criterion("border", "share of the borders within 3 mm", 0.55, 0.40),
    Criterion("lesions", "F1 of the lesions found", 0.70, 0.50),
    Criterion("calibration", "error of the probabilities, of a lesion's share", 0.20, 0.50),
    Criterion("coverage", "intervals that hold more or less often than promised", 0.15, 0.25),
    Criterion("interval", "interval score: width and what is missed, of a volume", 1.20, 2.40),
    Criterion("referral", "error that is sent on, between chance (0) and the best choice (1)", 0.30, 0.10),
    Criterion("cost", "a doctor's minutes, of those to read every scan", 0.65, 1.00),
)


@dataclass(frozen=True)
class Rubric:
    r"""What was measured, `values` in the order of `CRITERIA`, and the `points`: two a line where it is good, one fair.

    Chapter "From a scan to a decision".

    >>> print(Rubric((0.6, 0.6, 0.8, 0.1, 0.05, 1.0, 0.4, 0.7)).points)
    15
    """

    values: tuple[float, ...]

    @property
    def points(self) -> int:
        """Of sixteen."""
        return sum(one.points(value) for one, value in zip(CRITERIA, self.values, strict=True))

    @property
    def verdict(self) -> str:
        """In a word: good, fair or poor."""
        return "good" if self.points >= GOOD else "fair" if self.points >= FAIR else "poor"

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """What to show as a table: criterion, what it measures, the value, the points."""
        return [(one.name, one.asks, f"{value:.2f}", f"{one.points(value)} of 2")
                for one, value in zip(CRITERIA, self.values, strict=True)]

    def __str__(self) -> str:
        said = ", ".join(f"{one.name} {value:.2f}" for one, value in zip(CRITERIA, self.values, strict=True))
        return f"{self.verdict}, {self.points} of {2 * len(CRITERIA)} points: {said}"


def judge(answers: str | Path, *, part: str = "calibrate", count: int = PATIENTS) -> Rubric:
    r"""The rubric of a folder of `answers` to the first `count` patients of a `part` of the ward.

    For each patient NAME there are `NAME.nii.gz`, labels 0 and 1, and `NAME.probabilities.nii.gz`, of background and
    plaque, `(2, *S)` with the channel as the fourth axis, as `predict_file` writes them; and one `report.csv` with the
    columns case, low_ml, high_ml and refer, yes or no.
    Shapes: all on the grid of the patient's scan. Units: ml; probabilities 0..1. Where neither side has a lesion, Dice,
    border and referral ask nobody; without an error, or with all or nobody referred, nothing is gained.
    Errors: FileNotFoundError for no folder; ValueError, in one sentence, for patients without an answer, another grid,
    NaN, labels or probabilities out of range, the scan itself in place of an answer, a report that is none.
    Source: the interval score of Gneiting and Raftery 2007, eq. 43, doi:10.1198/016214506000001437; the rest is ours.
    Chapter "From a scan to a decision".

    >>> from tempfile import mkdtemp
    >>> try: judge(mkdtemp(), count=2)                      # doctest: +ELLIPSIS
    ... except ValueError as error: print(error)
    tmp...: expected two files for each of 2 patients, found no calibrate-01.nii.gz, ... and 1 more
    """
    folder = Path(answers)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder of answers, found none")
    asked = patients(part, count)
    _check_complete(folder, asked)
    report = _report(folder / "report.csv", asked)
    cases = [_Case.of(folder, one, *report[one.name]) for one in asked]
    scores = [score_volume(one.labels, one.truth, classes=2, tolerance_mm=TOLERANCE_MM)[1] for one in cases]
    # a mean over those in whom anybody sees a lesion: a false alarm counts 0, as a miss does
    dice, border = (torch.tensor([score[name] for score in scores]).double() for name in ("Dice", "NSD"))
    found, referred = [_found(one) for one in cases], torch.tensor([one.refer for one in cases])
    seen = ~dice.isnan()                # a healthy person who is sent on costs minutes, and has no error to spare
    return Rubric((dice.nanmean().item(), border.nanmean().item(), sum(found, Detection()).f1, _calibration(cases),
                   *_intervals(cases), referral_gain(1 - dice[seen], referred[seen]), _cost(found, referred)))


@dataclass(frozen=True, eq=False)
class _Case:
    """One patient and what was said of them, turned to RAS."""

    patient: Patient
    labels: Volume
    probability: Float[np.ndarray, "x y z"]
    low_ml: float
    high_ml: float
    refer: bool

    @staticmethod
    def of(folder: Path, patient: Patient, low_ml: float, high_ml: float, refer: bool) -> _Case:
        labels = to_ras(_read(folder / f"{patient.name}.nii.gz", patient))
        if odd := sorted(set(np.unique(labels.array).tolist()) - {0, 1}):
            raise ValueError(f"{patient.name}: expected labels 0 and 1, got {odd[0]:g}")
        maps = to_ras(_read(folder / f"{patient.name}.probabilities.nii.gz", patient, channels=2))
        sums = maps.array.sum(0)
        if maps.array.min() < 0 or maps.array.max() > 1 or abs(sums - 1).max() > 0.01:
            raise ValueError(f"{patient.name}: expected probabilities of background and plaque that sum to 1, got "
                             f"{maps.array.min():g} to {maps.array.max():g}, with sums to {sums.max():g}")
        marked, plaque = labels.array > 0, maps.array[1]
        if marked.any() and not marked.all() and plaque[marked].mean() < plaque[~marked].mean() - 0.01:
            raise ValueError(f"{patient.name}: expected the probabilities of background first, then of plaque; got a "
                             "lower one where plaque is marked than where it is not")
        return _Case(patient, labels, plaque, low_ml, high_ml, refer)

    @property
    def truth(self) -> Volume:
        return to_ras(self.patient.lesion)

    @property
    def volume_ml(self) -> float:
        return float(self.truth.array.sum()) * self.truth.grid.voxel_ml


def write_report(folder: str | Path, lines: Mapping[str, tuple[float, float, bool]]) -> None:
    r"""Writes `report.csv` into a `folder` of answers: of each patient the interval in ml, and whether to refer.

    `lines` are (low, high, refer) by the patient's name. Units: ml. No line gives the heading alone. Errors: OSError;
    ValueError for an interval whose ends are not in order. Chapter "From a scan to a decision".

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_report(folder, {"test-01": (1.0, 2.5, True)})
    ...     print((Path(folder) / "report.csv").read_text().split())
    ['case,low_ml,high_ml,refer', 'test-01,1.000,2.500,yes']
    """
    rows = []
    for name, (low, high, refer) in lines.items():
        if not low <= high:
            raise ValueError(f"{name}: expected an interval in ml, got {low} to {high}")
        rows.append((name, f"{low:.3f}", f"{high:.3f}", "yes" if refer else "no"))
    with open(Path(folder) / "report.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([REPORT, *rows])


# The door ------------------------------------------------------------------------------------------------------------

def _check_complete(folder: Path, asked: Sequence[Patient]) -> None:
    files = [f"{one.name}{end}.nii.gz" for one in asked for end in ("", ".probabilities")]
    if missing := [name for name in files if not (folder / name).is_file()]:
        named = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ValueError(f"{folder.name}: expected two files for each of {len(asked)} patients, found no {named}")


def _read(path: Path, patient: Patient, channels: int = 0) -> Volume:
    try:
        volume = read_volume(path, channels=bool(channels))
        if channels and len(volume.array) != channels:
            raise ValueError(f"expected {channels} channels, got {len(volume.array)}")
        check_same_grid(to_ras(volume), to_ras(patient.scan))
    except ValueError as error:
        raise ValueError(f"{path.name}: expected numbers on the grid of its scan: {error}") from error
    scan, said = to_ras(patient.scan).array.ravel(), to_ras(volume).array.reshape(-1, patient.scan.array.size)[-1]
    if said.max() > said.min() and np.corrcoef(scan, said)[0, 1] > COPY:
        raise ValueError(f"{patient.name}: expected an answer, got the scan itself in {path.name}")
    return volume


def _report(path: Path, asked: Sequence[Patient]) -> dict[str, tuple[float, float, bool]]:
    if not path.is_file():
        raise ValueError(f"{path.name}: expected a table of intervals and referrals, found none")
    with open(path, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if lacking := set(REPORT) - set(rows.fieldnames or ()):
            raise ValueError(f"{path.name}: expected the columns {', '.join(REPORT)}, "
                             f"got none for {', '.join(sorted(lacking))}")
        found = {row["case"]: _row(row) for row in rows}
    if missing := [one.name for one in asked if one.name not in found]:
        raise ValueError(f"{path.name}: expected a line for each of {len(asked)} patients, "
                         f"got none for {', '.join(missing)}")
    return found


def _row(row: dict[str, str]) -> tuple[float, float, bool]:
    try:
        low, high = float(row["low_ml"]), float(row["high_ml"])
    except (TypeError, ValueError):
        low = high = math.nan
    if not low <= high:
        raise ValueError(f"{row['case']}: expected an interval in ml, got {row['low_ml']} to {row['high_ml']}")
    if row["refer"] not in ("yes", "no"):
        raise ValueError(f"{row['case']}: expected yes or no for refer, got {row['refer']!r}")
    return low, high, row["refer"] == "yes"


# The lines -----------------------------------------------------------------------------------------------------------

def _found(case: _Case) -> Detection:
    return detection_f1(*(connected_components(torch.from_numpy(np.ascontiguousarray(volume.array)) > 0)
                          for volume in (case.labels, case.truth)), iou=0)


def _calibration(cases: Sequence[_Case]) -> float:
    """The expected calibration error of plaque in the brains, divided by plaque's share of them: 1 where p is 0."""
    p, y = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*(
        (one.probability[brain], one.truth.array[brain] > 0)
        for one in cases for brain in [to_ras(Volume(one.patient.brain, one.patient.scan.grid)).array])))
    error = reliability(torch.stack([1 - p, p], dim=1).float(), y.long(), of_class=1).ece
    return error / y.double().mean().item()


def _intervals(cases: Sequence[_Case]) -> tuple[float, float]:
    """How far the share that holds is from the promise, and the mean interval score against the mean volume."""
    low, high, volume = (np.array(parts) for parts in zip(*((one.low_ml, one.high_ml, one.volume_ml) for one in cases)))
    outside = np.maximum(low - volume, 0) + np.maximum(volume - high, 0)
    score = high - low + 2 / (1 - PROMISE) * outside
    return abs(float(np.mean(outside == 0)) - PROMISE), float(score.mean() / volume.mean())


def _cost(found: Sequence[Detection], referred: Bool[Tensor, "n"]) -> float:
    """The minutes of a doctor who reads those referred, and lives with the others' errors, against all scans read."""
    minutes = torch.tensor([MISSED * one.fn + FALSE * one.fp for one in found]).double()
    return minutes.where(~referred, torch.tensor(READ).double()).mean().item() / READ


def referral_gain(error: Float[Tensor, "n"], referred: Bool[Tensor, "n"]) -> float:
    r"""$(e_R - e_C) / (e_O - e_C)$: the errors of those referred, of as many by chance, and of the worst as many.

    Shapes: one number a patient, `(n,)`. Units: any. 0 where nothing can be gained: nobody or everybody is referred, or
    all errors are equal. Below 0 is worse than drawing lots. Chapter "From a scan to a decision".

    >>> referral_gain(torch.tensor([0.0, 4.0, 2.0, 0.0]), torch.tensor([True, True, False, False]))
    0.3333333333333333
    """
    k = int(referred.sum())
    chance, best = error.mean().item() * k, error.sort(descending=True).values[:k].sum().item()
    gained = error[referred].sum().item() - chance
    return gained / (best - chance) if best > chance + 1e-12 else 0.0
