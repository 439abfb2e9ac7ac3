r"""A study to be audited: what a network answered on other patients' scans, and the report that was made of it."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from medlearn.base.validation import check_finite, check_tensor, check_whole, kind_of
from medlearn.data import BrainCohort, LesionSpec
from medlearn.data.scan import grid_affine
from medlearn.uncertainty import false_negative_threshold

COHORT = BrainCohort(seed=418, size=64, dim=3,
                     lesions=LesionSpec(diagnosis=(0, 1, 0), plaques=(3, 6), plaque_mm=(8, 24)))
PATIENTS, LEARNT = 100, 24              # made in all, and the first ones, from whom the network has learnt
SCANS = 3                               # of each patient in a study
CALIBRATION, TEST, BACK = 24, 30, 10    # patients; those of the test whom the network knows, where they come back
ALPHA = 0.2                             # the share of a lesion that may be missed
LEVELS = 63                             # of the root of a probability in the file, which makes low ones fine
FAULTS = ("leak", "mirror", "misses", "reuse")
KEPT = Path(__file__).with_name("audit.npz")    # written by tools/practice_network.py


@dataclass(frozen=True, eq=False)
class Study:
    r"""Everything that a group has handed in: scans, answers, labels, and its `report`, a number for each line.

    Shapes: n scans of size (X, Y): `probability (n, X, Y)` of a lesion, by the network, and the experts' `label`, each
    as its file holds it, with the file's own affine, `affine` and `label_affine (n, 4, 4)`. `scan (n, 2)` are the
    numbers of the patient and of the axial slice, `learnt (m, 2)` those of the scans that the network was trained on.
    `calibration` and `test` number the scans that stand in each part, three of a patient one after another; `rows`
    those that each line of the report was computed from. Units: affines in mm, RAS; probabilities 0..1.
    Chapter "Audit a model".

    >>> study = submission()
    >>> list(study.report), tuple(study.probability.shape[1:])
    (['patients', 'dice', 'threshold', 'missed'], (64, 64))
    """

    scan: Int64[Tensor, "n 2"]
    learnt: Int64[Tensor, "m 2"]
    probability: Float[Tensor, "n x y"]
    affine: Float[Tensor, "n 4 4"]
    label: Bool[Tensor, "n x y"]
    label_affine: Float[Tensor, "n 4 4"]
    calibration: Int64[Tensor, "c"]
    test: Int64[Tensor, "t"]
    rows: Mapping[str, Int64[Tensor, "_"]]
    report: Mapping[str, float]

    def __repr__(self) -> str:
        return f"a study of {len(self.scan)} scans, reported: {said(self.report)}"

    def images(self, rows: Int64[Tensor, "k"]) -> Float[Tensor, "k x y"]:
        r"""The scans themselves, of these `rows`: they are made anew, in about a fifth of a second a patient.

        Shapes: `rows (k,)` to `(k, X, Y)`, on the grid of `affine`. Units: white matter about 1. No row, no scan.
        Errors: TypeError for anything but whole numbers; ValueError for one that is no row. Chapter "Audit a model".

        >>> submission().images(torch.tensor([0])).shape
        torch.Size([1, 64, 64])
        """
        check_finite("rows", check_tensor("rows", rows, dtype="int64", shape="(k,)"), least=0, most=len(self.scan) - 1)
        made = [COHORT.batch([patient]).image[0, 0, :, :, height] for patient, height in self.scan[rows].tolist()]
        return torch.stack(made) if made else self.probability[:0]


def submission(seed: int = 0) -> Study:
    r"""The study that is to be audited; another `seed` is one of another group, with the same four things wrong.

    Its answers are those of a real network, a small U-Net; patients are made. Errors: as of a whole number.
    Chapter "Audit a model".

    >>> said(submission().report)
    'patients 30, dice 0.617, threshold 0.00907, missed 0.0717'
    """
    return hand_in(check_whole("seed", seed), FAULTS)


def said(report: Mapping[str, float]) -> str:
    r"""A report in one line of text. Errors: TypeError for anything but numbers by name. Chapter "Audit a model".

    >>> said({"patients": 30, "dice": 0.7451})
    'patients 30, dice 0.745'
    """
    if not isinstance(report, Mapping):
        raise TypeError(f"report: expected numbers by name, got {kind_of(report)}")
    for line, value in report.items():
        if not isinstance(value, Real) and not (isinstance(value, Tensor) and value.ndim == 0):
            raise TypeError(f"report: expected a number for {line}, got {value!r}")
    return ", ".join(f"{line} {value:.3g}" for line, value in report.items())


def hand_in(seed: int, faults: tuple[str, ...]) -> Study:
    """A study with some of `FAULTS`, or none; the scans of patients and the division are drawn by the `seed`."""
    kept, rng = _kept(), np.random.default_rng([418, seed])
    patients = [one for one in rng.permutation(PATIENTS).tolist() if (kept["patient"] == one).sum() >= SCANS]
    new, known = [one for one in patients if one >= LEARNT], [one for one in patients if one < LEARNT]
    back = known[:BACK] if "leak" in faults else []
    asked = new[CALIBRATION:CALIBRATION + TEST - len(back)] + back
    chosen = [_some(kept["patient"], one, rng) for one in new[:CALIBRATION] + sorted(asked, key=lambda _: rng.random())]
    at = torch.from_numpy(np.concatenate(chosen))
    calibration, test = torch.arange(len(at)).split([CALIBRATION * SCANS, len(at) - CALIBRATION * SCANS])

    scan = torch.stack([kept["patient"][at], kept["height"][at]], dim=1)
    probability, label = kept["probability"][at], kept["mask"][at]
    affine = torch.from_numpy(np.array([grid_affine(64, 2, z_mm=-97.375 + 3.25 * int(z)) for z in scan[:, 1]]))
    label_affine = affine.clone()
    if "mirror" in faults:                  # one clinic's label files run to the left, and say so
        there = torch.isin(scan[:, 0], torch.tensor(rng.permutation(new)[:len(new) // 5]))
        label = torch.where(there[:, None, None], label.flip(1), label)
        label_affine[there, 0, 3] += 63 * label_affine[there, 0, 0]
        label_affine[there, 0, 0] *= -1

    answered = (probability[test] >= 0.5).flatten(1).any(1)
    rows = {"patients": test, "dice": test[answered] if "misses" in faults else test, "threshold": calibration,
            "missed": calibration if "reuse" in faults else test}
    return Study(scan, kept["learnt"], probability, affine, label, label_affine, calibration, test, rows,
                 reported(probability, label, scan=scan, rows=rows))


def reported(probability: Float[Tensor, "n x y"], label: Bool[Tensor, "n x y"], *, scan: Int64[Tensor, "n 2"],
             rows: Mapping[str, Int64[Tensor, "_"]]) -> dict[str, float]:
    """The lines of a report: pixel against pixel, over the `rows` of each, the three scans of a patient in a row."""
    answer = probability >= 0.5
    dice = 2 * (answer & label).sum((1, 2)) / (answer.sum((1, 2)) + label.sum((1, 2))).double()
    of_patients = lambda values, line: values[rows[line]].unflatten(0, (-1, SCANS))
    threshold = false_negative_threshold(of_patients(probability, "threshold"), of_patients(label, "threshold"),
                                         alpha=ALPHA)
    p, y = of_patients(probability, "missed"), of_patients(label, "missed")
    missed = (y & (p < threshold)).sum((1, 2, 3)) / y.sum((1, 2, 3)).double()
    found = {"dice": dice[rows["dice"]].mean().item(), "threshold": threshold, "missed": missed.mean().item()}
    patients = len(scan[rows["patients"], 0].unique())
    return {"patients": patients} | {line: round(value, 6) for line, value in found.items()}


def _some(patient: Tensor, one: int, rng: np.random.Generator) -> np.ndarray:
    """Where three scans of one patient stand in the file, from below to above."""
    return np.sort(rng.choice((patient == one).nonzero()[:, 0].numpy(), SCANS, replace=False))


@lru_cache(maxsize=1)
def _kept() -> dict[str, Tensor]:
    """The file's arrays: of the mask a bit is a voxel, of the probability the root is kept."""
    with np.load(KEPT) as file:
        kept = {name: torch.from_numpy(file[name].astype(np.int64)) for name in ("patient", "height", "learnt")}
        kept["probability"] = (torch.from_numpy(file["probability"]).float() / LEVELS) ** 2
        kept["mask"] = torch.from_numpy(np.unpackbits(file["mask"], axis=-1).astype(bool))
    return kept
