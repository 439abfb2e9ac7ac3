r"""What has been solved: one small file on this machine, which is begun on request and never leaves it."""
from __future__ import annotations

import csv
import html
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from medlearn.base.atomic import written_whole

if TYPE_CHECKING:
    from medlearn.checks.engine import Report

COLUMNS = ("exercise", "state", "passed", "cases", "tries", "solved on")


class Line(NamedTuple):
    """Of one exercise: how many cases the best answer passed, in how many tries, and the day when all did, or ""."""

    exercise: str
    passed: int
    cases: int
    tries: int
    solved_on: str

    @property
    def state(self) -> str:
        return "solved" if self.solved_on else "begun" if self.tries else "not begun"

    @property
    def values(self) -> tuple[str | int, ...]:
        """In the order of `COLUMNS`."""
        return self.exercise, self.state, self.passed, self.cases, self.tries, self.solved_on


def progress_file() -> Path:
    """MEDLEARN_PROGRESS where that is set, else `.medlearn/progress.json` in the home folder."""
    told = os.environ.get("MEDLEARN_PROGRESS")
    return Path(told) if told else Path.home() / ".medlearn" / "progress.json"


def begin(path: Path) -> None:
    """An empty file at `path`; one that is there already stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write(path, {})


def note(report: Report, path: Path) -> None:
    """Keep what a check said, if the file was begun; whatever is wrong with it, the answer is judged all the same."""
    if not path.exists():
        return
    try:
        kept = read(path)
        passed, tries, solved_on = _numbers(kept.get(report.id, {}))
        attempted = report.passed > 0 or report.failure is not None
        if report.passed == report.total:
            solved_on = solved_on or date.today().isoformat()
        _write(path, {**kept, report.id: {"passed": max(passed, report.passed), "tries": tries + attempted,
                                          "solved_on": solved_on}})
    except (OSError, ValueError) as error:
        warnings.warn(f"your progress was not kept: {error}", stacklevel=3)


def read(path: Path) -> dict[str, dict[str, int | str]]:
    """The file's contents; ValueError where it is no such file, OSError where it cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected the JSON of a progress file: {error}") from error
    if not isinstance(kept, dict) or not all(isinstance(one, dict) for one in kept.values()):
        raise ValueError(f"{path}: expected an exercise's numbers under each name, got something else")
    for id, one in kept.items():
        try:
            _numbers(one)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {id}: {error}") from error
    return kept


def lines(kept: Mapping[str, Mapping[str, int | str]], cases: Mapping[str, int]) -> list[Line]:
    """A line for each exercise of the book, by the number of its `cases`, then for those that the book has no more."""
    known = [Line(id, min(passed, total), total, tries, solved_on)
             for id, total in cases.items() for passed, tries, solved_on in [_numbers(kept.get(id, {}))]]
    gone = [Line(id, passed, passed, tries, solved_on)
            for id in kept if id not in cases for passed, tries, solved_on in [_numbers(kept[id])]]
    return known + gone


def as_text(table: list[Line]) -> str:
    """A chapter a line, and below it what has been begun and not been solved."""
    return "\n".join(_rows(table))


def as_csv(table: list[Line]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([COLUMNS, *(line.values for line in table)])
    return out.getvalue()


def as_page(table: list[Line]) -> str:
    """A page that needs nothing beside itself."""
    cells = lambda values, tag: "".join(f"<{tag}>{html.escape(str(value))}</{tag}>" for value in values)
    rows = "\n".join(f'<tr class="{line.state.split()[0]}">{cells(line.values, "td")}</tr>' for line in table)
    return PAGE.format(solved=sum(line.state == "solved" for line in table), count=len(table),
                       head=cells(COLUMNS, "th"), rows=rows)


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What I have solved</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }}
body {{ max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }}
div {{ overflow-x: auto; }} table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; white-space: nowrap; }}
.solved td:nth-child(2) {{ font-weight: 600; }} .not td {{ opacity: .7; }}
</style>
<h1>What I have solved</h1>
<p>{solved} of {count} exercises.</p>
<div><table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></div></html>
"""


def _rows(table: list[Line]) -> Iterator[str]:
    chapters = list(dict.fromkeys(line.exercise.split(".")[0] for line in table))
    for chapter in chapters:
        own = [line for line in table if line.exercise.split(".")[0] == chapter]
        solved = sum(line.state == "solved" for line in own)
        yield f"{chapter:{max(map(len, chapters))}}  {'#' * solved}{'.' * (len(own) - solved)}  {solved} of {len(own)}"
        for line in own:
            if line.state == "begun":
                yield f"  {line.exercise}: {line.passed} of {line.cases} cases, tries: {line.tries}"
    yield f"solved: {sum(line.state == 'solved' for line in table)} of {len(table)} exercises"


def _numbers(one: Mapping[str, int | str]) -> tuple[int, int, str]:
    passed, tries, solved_on = one.get("passed", 0), one.get("tries", 0), one.get("solved_on", "")
    if not isinstance(passed, int) or not isinstance(tries, int) or not isinstance(solved_on, str):
        raise ValueError(f"expected whole numbers and a day, got {dict(one)}")
    return passed, tries, solved_on


def _write(path: Path, kept: Mapping[str, Mapping[str, int | str]]) -> None:
    with written_whole(path) as aside:
        aside.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
