r"""The practice chapter "From a scan to a decision": a tool that answers a ward, tried on patients nobody has shown."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from medlearn.checks.engine import TRAINING_LIMIT_S, Case, Check
from medlearn.checks.own import check_own
from medlearn.checks.rubric import GOOD, judge, write_report
from medlearn.data import Case as Scan
from medlearn.data import write_folder, write_volume
from medlearn.practice.capstone import PATIENTS, patients

Answer = Callable[[Sequence[Scan], Path], object]
Found = TypeVar("Found")
WORTH = f"at least {GOOD} of 16 points"


def expert(cases: Sequence[Scan], folder: Path) -> None:
    r"""The expert's own outlines, with an interval around each volume; nobody is referred. Chapter capstone."""
    known, lines = {one.name: one for one in patients("test")}, {}
    for case in cases:
        truth = known[case.name].lesion
        p, volume = (truth.array > 0).astype(np.float32), float(truth.array.sum()) * truth.grid.voxel_ml
        write_volume(folder / f"{case.name}.nii.gz", truth)
        write_volume(folder / f"{case.name}.probabilities.nii.gz", truth.with_array(np.stack([1 - p, p])))
        lines[case.name] = (0.9 * volume, 1.1 * volume, False)
    write_report(folder, lines)


# ---------------------------------------------------------------------------------------------------------------------
# Cases: patients of the test, whose seeds no page shows

def _answered(answer: Answer, count: int, score: Callable[[Path], Found]) -> Found:
    """What becomes of the scans of the first patients, put before an answer in a folder of their own."""
    if answer is not expert:
        check_own(answer)
    with TemporaryDirectory() as place:
        scans = write_folder(Path(place) / "scans", [(one.name, one.scan, None) for one in patients("test")[:count]],
                             channels=["T1"], labels=["background", "plaque"])
        (folder := Path(place) / "answers").mkdir()
        answer(scans.test, folder)
        return score(folder)


def _in_order(answer: Answer, count: int) -> dict[str, bool]:
    """Whether the files can be judged at all; the sentence that says why not is printed."""
    def score(folder: Path) -> dict[str, bool]:
        try:
            judge(folder, part="test", count=count)
        except ValueError as why:
            print(why)
            return {"every file as asked": False}
        return {"every file as asked": True}
    return _answered(answer, count, score)


def _worth(answer: Answer, count: int) -> dict[str, bool]:
    """Whether the rubric says good; what it says of each line is printed, and so is read beside the verdict."""
    print(rubric := _answered(answer, count, lambda to: judge(to, part="test", count=count)))
    return {WORTH: rubric.points >= GOOD}


CHECKS = (Check("capstone.answer", expert, (
    Case("the files of five patients", {"patients": 5},
         "What is printed says what was expected. Try `judge` on the patients of `calibrate` first.", run=_in_order),
    Case("the patients of the test", {"patients": PATIENTS},
         "What is printed has a number for each line of the rubric. Which of them lost most?",
         run=_worth, bars=(WORTH,)),
), limit_s=TRAINING_LIMIT_S),)
