r"""The table of an evaluation: a row for each case and class, means with their intervals, JSON and CSV."""
from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.atomic import written_whole
from medlearn.base.validation import check_choice
from medlearn.evaluate.bootstrap import bootstrap_interval
from medlearn.evaluate.scores import COUNTS, METRICS, Scores
from medlearn.metrics import Summary, summarise

NO_FILE = "no such file"
SHOWN = ("Dice", "HD95_mm", "ASSD_mm", "NSD", "lesion_F1", "PQ")


@dataclass(frozen=True)
class Row:
    r"""One class of one case: `scores` by the names of `METRICS`.

    `label` is the class, `patient` whose case it is. The truth is in `reference_file`, the answer in `prediction_file`,
    or None where there is no such file. Chapter 17.

    >>> Row("p1", "p1", 1, {"Dice": 0.5}, Path("truth/p1.nii.gz")).prediction_file is None
    True
    """

    case: str
    patient: str
    label: int
    scores: Scores
    reference_file: Path
    prediction_file: Path | None = None


@dataclass(frozen=True)
class Evaluation:
    r"""What became of every case: `rows`, one a case and class, and the names of all that did not go as it should.

    `labels[k]` names label k. `missing` are cases without a usable prediction, each with the reason: they are in every
    mean, as an answer that found nothing. `unread` are cases whose truth cannot be used, in no mean; `extra` are
    predictions of no case. `miss_mm` is the penalty in place of infinite distances, where there was one.
    `print(evaluation)` is a table for people. No case gives one of NaN. Chapter 17.

    >>> rows = tuple(Row(f"p{i}", f"p{i}", 1, {"Dice": 0.8 + i / 10}, Path(f"p{i}.nii.gz")) for i in range(2))
    >>> Evaluation(("background", "tumour"), rows).summary("Dice", label=1)
    0.850 ± 0.071 over 2 cases
    """

    labels: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    missing: dict[str, str] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    miss_mm: float | None = None

    def of(self, label: int) -> list[Row]:
        """The rows of one class, which is its `label`."""
        check_choice("label", label, range(1, len(self.labels)))
        return [row for row in self.rows if row.label == label]

    def values(self, metric: str, *, label: int) -> Float[Tensor, "n"]:
        """A `metric` of every case, for the class `label`."""
        check_choice("metric", metric, METRICS)
        return torch.tensor([row.scores.get(metric, math.nan) for row in self.of(label)], dtype=torch.float64)

    def summary(self, metric: str, *, label: int) -> Summary:
        """Mean and spread of a `metric` over the cases, for the class `label`."""
        return summarise(self.values(metric, label=label))

    def interval(self, metric: str, *, label: int, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
        """The mean's 95 % interval, as `bootstrap_interval` draws it by patient; `draws` of them from `seed`."""
        return bootstrap_interval(self.values(metric, label=label), [row.patient for row in self.of(label)],
                                  generator=Generator().manual_seed(seed), draws=draws)

    def write_json(self, path: str | Path) -> None:
        r"""The table as nnU-Net's summary.json holds it, with more keys beside; strict: what is not finite is null.

        Its `mean` is over all cases, so null where one is infinite; `summary` counts and has the mean of the others.
        """
        text = json.dumps(_strict(self._told()), indent=2, allow_nan=False)
        with written_whole(Path(path)) as aside:
            aside.write_text(text + "\n", encoding="utf-8")

    def write_csv(self, path: str | Path) -> None:
        """A line for each case and class at `path`; a number that is undefined is an empty field, infinity is `inf`."""
        with written_whole(Path(path)) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "patient", "label", "name", "missing", *METRICS])
            for row in self.rows:
                values = [row.scores.get(metric, math.nan) for metric in METRICS]
                missing = int(row.case in self.missing)
                writer.writerow([row.case, row.patient, row.label, self.labels[row.label], missing,
                                 *("" if math.isnan(value) else value for value in values)])

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max((len(name) for name in self.labels[1:]), default=0)
        for label, name in enumerate(self.labels[1:], start=1):
            for metric in SHOWN:
                if (found := self.summary(metric, label=label)).cases:
                    low, high = self.interval(metric, label=label)
                    sure = f", 95 % of means {low:.3f} to {high:.3f}" * math.isfinite(low)
                    yield f"{name:{width}}  {metric:9}  {found}{sure}"
        absent = {case: why for case, why in self.missing.items() if why == NO_FILE}
        unusable = {case: why for case, why in self.missing.items() if why != NO_FILE}
        for title, why in (("missing", absent), ("not usable", unusable), ("truth not used", self.unread)):
            yield f"{title}: {len(why)}"
            yield from (f"  {case}: {reason}" for case, reason in why.items())
        yield f"predictions of no case: {len(self.extra)}{': ' * bool(self.extra)}{', '.join(self.extra)}"

    def _told(self) -> dict[str, Any]:
        labels = range(1, len(self.labels))
        mean = {str(k): {m: self.summary(m, label=k).mean for m in METRICS} for k in labels}
        cases: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            case = cases.setdefault(row.case, {
                "metrics": {}, "prediction_file": None if row.prediction_file is None else str(row.prediction_file),
                "reference_file": str(row.reference_file), "patient": row.patient})
            case["metrics"][str(row.label)] = row.scores
        return {"foreground_mean": {m: _mean([mean[str(k)][m] for k in labels]) for m in METRICS}, "mean": mean,
                "metric_per_case": list(cases.values()),
                "summary": {str(k): {m: self._counted(m, k) for m in METRICS if m not in COUNTS} for k in labels},
                "labels": {str(k): name for k, name in enumerate(self.labels)}, "missing": self.missing,
                "unread": self.unread, "extra": list(self.extra), "miss_mm": self.miss_mm}

    def _counted(self, metric: str, label: int) -> dict[str, Any]:
        low, high = self.interval(metric, label=label)
        return {**vars(self.summary(metric, label=label)), "low": low, "high": high}


def _mean(values: list[float]) -> float:
    """Over classes, as nnU-Net's: one that no case has leaves no number."""
    return sum(values) / len(values) if values else math.nan


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
