r"""What happened in a training, as plain data."""
from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

OWN_COLUMNS = ("step", "loss", "learning_rate")


@dataclass(frozen=True)
class History:
    r"""A row for each step, `{"step": 1, "loss": 0.7, "learning_rate": 2e-3}`, with the validation's numbers if it ran.

    `step` counts the steps that are done, from 1; `loss` is that of the step's batch, before its update.
    `pandas.DataFrame(history.rows)` is a table of it. Errors: KeyError for a column that no row has. Chapter 7.

    >>> history = History([{"step": 1, "loss": 0.9}, {"step": 2, "loss": 0.7, "dice": 0.5}])
    >>> history.curve("dice"), history.best()["step"]
    (([2], [0.5]), 2)
    """

    rows: list[dict[str, float]] = field(default_factory=list)

    def column(self, name: str) -> list[float]:
        r"""The values of the column `name`, of the rows that have it. Chapter 7."""
        return self.curve(name)[1]

    def curve(self, name: str) -> tuple[list[float], list[float]]:
        r"""Steps and values of the column `name`, of the rows that have it: `ax.plot(*history.curve("loss"))`.

        Chapter 7.
        """
        rows = [row for row in self.rows if name in row]
        if not rows:
            known = dict.fromkeys(key for row in self.rows for key in row)
            raise KeyError(f"name: expected one of {', '.join(known) or 'no column (there is no row)'}, got {name!r}")
        return [row["step"] for row in rows], [row[name] for row in rows]

    def best(self) -> dict[str, float] | None:
        r"""The row with the highest score, the first of equals; the score is the validation's first number.

        None where no validation has run, or gave nothing but NaN. Chapter 7.
        """
        scored = [(score, row) for score, row in self._scores() if not math.isnan(score)]
        return max(scored, key=lambda pair: pair[0])[1] if scored else None

    def stale(self) -> int:
        r"""How many validations have run since the best one. Chapter 7."""
        best, scores = self.best(), list(self._scores())
        return len(scores) if best is None else sum(row["step"] > best["step"] for _, row in scores)

    def _scores(self) -> Iterator[tuple[float, dict[str, float]]]:
        for row in self.rows:
            if numbers := [value for name, value in row.items() if name not in OWN_COLUMNS]:
                yield numbers[0], row
