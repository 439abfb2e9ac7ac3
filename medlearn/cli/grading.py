r"""`medlearn grade`: a folder of students' notebooks, each run in a process of its own, as a table."""
from __future__ import annotations

import csv
import sys
from pathlib import Path

from medlearn.checks.grading import COLUMNS, grade, writable


def grade_folder(folder: str | Path, out: str | Path, *, minutes: float = 10.0) -> int:
    r"""Writes the grades of the notebooks in a `folder` to `out`, a CSV file, line by line as they are known.

    What cannot be graded is refused before `out` is touched. Returned is the exit code.
    Errors: as `medlearn.checks.grading.grade`; OSError.
    """
    grades = grade(folder, minutes=minutes)         # refused here, while `out` holds what it held
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    solved = count = 0
    with open(out, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in grades:
            writer.writerow([*one[:4], "yes" if one.solved else "no", *one[5:]])
            file.flush()                            # what ends the grading loses nothing
            line = f"  {one.notebook}: {one.exercise or '-'}  {one.passed} of {one.cases}  {one.remark}".rstrip()
            print(writable(line, encoding), flush=True)
            solved, count = solved + one.solved, count + bool(one.exercise)
    print(writable(f"solved: {solved} of {count} exercises, in {out}", encoding))
    return 0
