r"""The same table for women and men, for each scanner, for young and old: a mean may hide who is served badly."""
from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from medlearn.base.atomic import written_whole
from medlearn.base.validation import kind_of
from medlearn.evaluate.scores import COUNTS, METRICS
from medlearn.evaluate.table import SHOWN, Evaluation

UNKNOWN = "unknown"
FEW = 5                         # different numbers that are groups by themselves; of more, the median makes two
Patients = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Subgroups:
    r"""One table for each group of patients: `groups` by name, apart in one `column` of what is known of them.

    `print(subgroups)` is a table for people, with intervals by patient. Groups of few patients have wide ones, and of
    many columns some differ by chance. No patient gives no group. Chapter 17.

    >>> Subgroups("sex", {"F": Evaluation(("background", "tumour"))}).patients("F")
    0
    """

    column: str
    groups: dict[str, Evaluation]

    def patients(self, group: str) -> int:
        """How many there are in a `group`."""
        return len({row.patient for row in self.groups[group].rows})

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"by {self.column}: " + ", ".join(f"{group} ({self.patients(group)})" for group in self.groups)
        names = next((table.labels[1:] for table in self.groups.values()), ())
        wide, width = (max(map(len, row), default=0) for row in (names, self.groups))
        for label, name in enumerate(names, start=1):
            for metric in SHOWN:
                for group, table in self.groups.items():
                    if (found := table.summary(metric, label=label)).cases:
                        low, high = table.interval(metric, label=label)
                        yield (f"  {name:{wide}}  {metric:9}  {group:{width}}  {found}, 95 % of means {low:.3f} to "
                               f"{high:.3f}")


def read_patients(path: str | Path) -> dict[str, dict[str, str]]:
    r"""What is known of each patient: a CSV file at `path` with a line of titles, whose first column is the patient.

    Blanks around a field do not count. Empty fields are as they are. A file with titles alone gives no patient.
    Errors: FileNotFoundError; ValueError for anything but a CSV file in UTF-8, no second column, a title
    twice, a line of another length, a patient twice.
    Chapter 17.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "patients.csv").write_text("patient,sex,age\np1,F,61\np2,M,48\n")
    ...     read_patients(f"{folder}/patients.csv")["p2"]
    {'sex': 'M', 'age': '48'}
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:      # spreadsheets begin theirs with a mark
            lines = [[field.strip() for field in line] for line in csv.reader(file) if line]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected a CSV file in UTF-8, got {error}") from None
    titles, *rows = lines or [[]]
    if len(titles) < 2 or len(set(titles)) < len(titles):
        raise ValueError(f"{path}: expected titles, each once, of the patient and of what is known, got {titles}")
    known: dict[str, dict[str, str]] = {}
    for row in rows:
        if len(row) != len(titles):
            raise ValueError(f"{path}: expected {len(titles)} fields in each line, got {row}")
        if row[0] in known:
            raise ValueError(f"{path}: expected each patient once, got {row[0]} twice")
        known[row[0]] = dict(zip(titles[1:], row[1:]))
    return known


def subgroups(evaluation: Evaluation, patients: Patients) -> list[Subgroups]:
    r"""The `evaluation` in parts: for each column of what is known of the `patients`, one table for each of its values.

    `patients` gives, by the name of a patient, a value for each column, as `read_patients` does. A column of more than
    five different numbers, as an age, is cut in two at the median of the patients, or above it where it is the least of
    them. Who has no value (an empty one, None, NaN) or is not there is in the group `unknown`: no case is lost.
    Units: as the evaluation. No column gives no table.
    Errors: TypeError for no evaluation, or no mapping of patients to mappings; ValueError for patients without the same
    columns. Chapter 17.

    >>> from medlearn.evaluate import Row
    >>> rows = tuple(Row(f"p{i}", f"p{i}", 1, {"Dice": i / 4}, Path(f"p{i}.nii.gz")) for i in range(4))
    >>> known = {f"p{i}": {"sex": "FM"[i % 2]} for i in range(4)}
    >>> by_sex, = subgroups(Evaluation(("background", "tumour"), rows), known)
    >>> {group: table.summary("Dice", label=1).mean for group, table in by_sex.groups.items()}
    {'F': 0.25, 'M': 0.5}
    """
    if not isinstance(evaluation, Evaluation):
        raise TypeError(f"evaluation: expected an Evaluation, got {kind_of(evaluation)}")
    for told in (patients, *(patients.values() if isinstance(patients, Mapping) else ())):
        if not isinstance(told, Mapping):
            raise TypeError(f"patients: expected what is known of each, by column, by the patient's name, got "
                            f"{kind_of(told)}")
    columns = list(dict.fromkeys(column for facts in patients.values() for column in facts))
    for patient, facts in patients.items():
        if set(facts) != set(columns):
            raise ValueError(f"patients: expected {', '.join(map(str, columns))} for each, got "
                             f"{', '.join(map(str, facts))} for {patient}")
    asked = list(dict.fromkeys(row.patient for row in evaluation.rows))
    tables = []
    for column in columns:
        group_of = _groups({patient: patients.get(patient, {}).get(column, "") for patient in asked})
        names = sorted(set(group_of.values()), key=lambda name: (name == UNKNOWN, name))
        tables.append(Subgroups(column, {name: _part(evaluation, {p for p in asked if group_of[p] == name})
                                         for name in names}))
    return tables


def write_subgroups(path: str | Path, tables: Sequence[Subgroups]) -> None:
    r"""The `tables` as one CSV file at `path`: a line for each column, group, class and metric, with its interval.

    A number that is undefined is an empty field, infinity is `inf`. No table gives the titles alone. Chapter 17.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_subgroups(f"{folder}/subgroups.csv", [])
    ...     print(Path(folder, "subgroups.csv").read_text().strip())
    column,group,patients,label,name,metric,cases,mean,std,low,high
    """
    with written_whole(Path(path)) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow("column group patients label name metric cases mean std low high".split())
        for table in tables:
            for group, part in table.groups.items():
                for label, name in enumerate(part.labels[1:], start=1):
                    for metric in (one for one in METRICS if one not in COUNTS):
                        found = part.summary(metric, label=label)
                        numbers = (found.mean, found.finite_std, *part.interval(metric, label=label))
                        writer.writerow([table.column, group, table.patients(group), label, name, metric, found.cases,
                                         *("" if number != number else number for number in numbers)])


def _part(evaluation: Evaluation, patients: set[str]) -> Evaluation:
    rows = tuple(row for row in evaluation.rows if row.patient in patients)
    cases = {row.case for row in rows}
    return replace(evaluation, rows=rows, unread={}, extra=(),
                   missing={case: why for case, why in evaluation.missing.items() if case in cases})


def _groups(values: Mapping[str, Any]) -> dict[str, str]:
    """The name of each patient's group in one column."""
    told = {patient: "" if value is None or value != value else str(value).strip() for patient, value in values.items()}
    numbers = {patient: _number(value) for patient, value in told.items() if value}
    measured = {patient: number for patient, number in numbers.items() if number is not None and number == number}
    if None in numbers.values():                            # "nan" may be a name there
        return {patient: value or UNKNOWN for patient, value in told.items()}
    if len(set(measured.values())) <= FEW:
        return {patient: value if patient in measured else UNKNOWN for patient, value in told.items()}
    middle = median(measured.values())
    if middle > min(measured.values()):
        names = f"below {middle:.15g}", f"{middle:.15g} or more"
        above = {patient: number >= middle for patient, number in measured.items()}
    else:
        names = f"{middle:.15g}", f"above {middle:.15g}"
        above = {patient: number > middle for patient, number in measured.items()}
    return {patient: names[above[patient]] if patient in measured else UNKNOWN for patient in told}


def _number(text: str) -> float | None:
    """The number that a text is, NaN too, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isinf(number) else number
