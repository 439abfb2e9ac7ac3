"""What the studies found: each chapter's experiment, run under many settings, as book/recorded/studies/*.json keeps it.

`study.py` writes these records; pages, notebooks, lint and tests read them here.
"""
from __future__ import annotations

import ast
import hashlib
import json
import math
import re
import statistics
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chapters import ROOT, Cell, cells, chapters
from exercises import SOLUTION
from folding import SHOWN_FIRST, TABLE, fold_of, needed

# settings with more training: a claim is asked there too, and its numbers stand apart from those of the usual budget,
# quoted as `name with longer training`
LONGER: dict[str, dict[str, str]] = {"four times the steps": {"MEDLEARN_BUDGET": "4"},
                                     "full scale": {"MEDLEARN_SCALE": "full"}}
# the usual steps on the grid of the full scale, in chapters whose grid is finer there; quoted as `name at 1 mm`
FINER = {"at 1 mm": {"MEDLEARN_SCALE": "full", "MEDLEARN_BUDGET": "0.1"},
         "at 1 mm, other seeds": {"MEDLEARN_SCALE": "full", "MEDLEARN_BUDGET": "0.1", "STUDY_SHIFT": "1000"}}
ASIDE = {"with longer training": LONGER, "at 1 mm": FINER}
RATIO = 3  # an effect's mean lies at least so many standard deviations above its bar


@dataclass(frozen=True)
class Spread:
    """A number over the runs of a study."""
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float:
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    @property
    def clear(self) -> bool:
        """Above zero by at least `RATIO` standard deviations, in the mean."""
        return self.mean > 0 and self.mean >= RATIO * self.sd

    def text(self, form: str = ".2g") -> str:
        """Mean and range, `0.62 (0.55 to 0.70)`; the mean alone where all runs agree to the digits shown."""
        signed = f"{'+' * form.startswith('+')}z{form.removeprefix('+')}"  # z: no page writes -0.00
        mean, low, high = (format(x, signed) for x in (self.mean, min(self.values), max(self.values)))
        return mean if low == high else f"{mean} ({low} to {high})"


@dataclass
class Trial:
    """A claim in its study: in how many runs it held, and by how much; what its controls gave."""
    runs: int = 0
    held: int = 0
    passed: int = 0  # runs in which a control passed as well
    effect: dict[str, Spread] = field(default_factory=dict)
    control: dict[str, dict[str, Spread]] = field(default_factory=dict)

    @property
    def numbers(self) -> list[float]:
        """Every part of its effect, in every run."""
        return [x for spread in self.effect.values() for x in spread.values]

    @property
    def stands(self) -> bool:
        return self.runs > 0 and self.held == self.runs and not self.passed


@dataclass(frozen=True)
class Study:
    """The record of one chapter."""
    code: str         # digest of the chapter's code when it was run
    runs: list[dict]

    @property
    def settings(self) -> list[str]:
        return list(dict.fromkeys(run["setting"] for run in self.runs))

    @property
    def machines(self) -> list[str]:
        return list(dict.fromkeys(run["machine"] for run in self.runs))

    @property
    def usual(self) -> Study:
        """The runs that trained as a page does."""
        return Study(self.code, [run for run in self.runs if run["setting"] not in LONGER | FINER])

    def among(self, settings: Container[str]) -> Study:
        """The runs in some settings alone."""
        return Study(self.code, [run for run in self.runs if run["setting"] in settings])

    @property
    def parts(self) -> dict[str, Study]:
        """Its usual runs, under no name, and those that stand apart, each kind under its own."""
        return {"": self.usual, **{told: self.among(settings) for told, settings in ASIDE.items()}}

    def trials(self) -> dict[str, Trial]:
        """Every claim that a run showed, with its numbers over all runs."""
        found: dict[str, Trial] = {}
        for id in dict.fromkeys(id for run in self.runs for id in run["claims"]):
            shown = [run["claims"][id] for run in self.runs if id in run["claims"]]
            found[id] = Trial(len(shown), sum(one["holds"] for one in shown), sum(bool(one["passes"]) for one in shown),
                              _spreads([one["effect"] for one in shown]),
                              {name: _spreads([one["control"][name] for one in shown if name in one["control"]])
                               for name in dict.fromkeys(name for one in shown for name in one["control"])})
        return found

    def elsewhere(self, claim: str) -> dict[str, Trial]:
        """A claim with longer training and at 1 mm, where that was run and changed a number beyond rounding."""
        usual, found = self.usual.trials().get(claim), {}
        for told, settings in ASIDE.items():
            trial = self.among(settings).trials().get(claim)
            if usual and trial and not all(any(math.isclose(x, y, rel_tol=2e-3) for y in usual.numbers)
                                           for x in trial.numbers):
                found[told] = trial
        return found

    def quantities(self) -> dict[str, Spread]:
        """Everything that a page may quote: `name` of a record, `claim`, `claim:part`, `claim|control:part`."""
        found = _spreads([run["values"] for run in self.runs])
        for id, trial in self.trials().items():
            found |= {_key(id, part): spread for part, spread in trial.effect.items()}
            found |= {_key(f"{id}|{name}", part): spread
                      for name, parts in trial.control.items() for part, spread in parts.items()}
        return found


def _key(name: str, part: str) -> str:
    return f"{name}:{part}" if part else name


def _spreads(rows: list[dict[str, float]]) -> dict[str, Spread]:
    return {name: Spread(tuple(row[name] for row in rows if name in row))
            for name in dict.fromkeys(name for row in rows for name in row)}


def path_of(chapter: Path, root: Path = ROOT) -> Path:
    """Where a chapter's record lies."""
    return root / "book/recorded/studies" / f"{chapter.stem}.json"


def read_study(chapter: Path, root: Path = ROOT) -> Study | None:
    """A chapter's record, whether or not its code has changed since; None where there is none."""
    path = path_of(chapter, root)
    return Study(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None


def studies(root: Path = ROOT) -> dict[str, Study]:
    """All records, by the chapter's stem."""
    return {chapter.stem: study for chapter in chapters(root) if (study := read_study(chapter, root))}


def only_shows(node: ast.AST) -> bool:
    """Whether a statement prints or sets a table, and nothing else; or repeats such statements."""
    if isinstance(node, ast.For) and not node.orelse:
        return all(map(only_shows, node.body))
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    return ast.unparse(node.value.func) in ("print", TABLE)


def experiment(source: str) -> str:
    """A cell's lines, without blank ones, lines of comment, and statements that only show what was found."""
    lines = source.splitlines()
    shown = {line for node in ast.walk(ast.parse(source)) if only_shows(node)
             for line in range(node.lineno, node.end_lineno + 1)}
    return "\n".join(line.rstrip() for number, line in enumerate(lines, 1)
                     if number not in shown and line.strip() and not line.lstrip().startswith("#"))


def has_no_part(cells: Sequence[Cell], index: int) -> bool:
    """Whether a code cell only makes a figure or a table: nothing that is found depends on it, and it draws no lot."""
    source = cells[index].source
    return (fold_of(cells, index) in SHOWN_FIRST and not needed(source, cells[index + 1:])
            and not re.search(r"rand|seed|generator|claim\(|record\(", source))


def code_digest(chapter: Path) -> str:
    """Changes with a chapter's experiment, not with its prose, solutions, figures or what it prints.

    On every Python it is the same. What is computed within a `print`, a table or a figure's cell is not seen: keep
    experiments out of them.
    """
    h, code = hashlib.sha256(), [cell for cell in cells(chapter) if cell.kind == "code" and SOLUTION not in cell.tags]
    for index, cell in enumerate(code):
        if not has_no_part(code, index):
            h.update(experiment(cell.source).encode() + b"\0")
    return h.hexdigest()[:12]


def states_something(chapter: Path) -> bool:
    """Whether it shows a claim or keeps a number, so that there is something to study."""
    return any(cell.kind == "code" and re.search(r"\b(claim|record)\(", cell.source) for cell in cells(chapter))


def stale(root: Path = ROOT) -> list[str]:
    """Chapters with claims whose record is missing, or older than their code; one line of text each."""
    found = []
    for chapter in filter(states_something, chapters(root)):
        study = read_study(chapter, root)
        if study is None:
            found.append(f"{chapter.relative_to(root).as_posix()}: has no study; "
                         f"say `make study ONLY={chapter.stem[:2]}`")
        elif study.code != code_digest(chapter):
            found.append(f"{path_of(chapter, root).relative_to(root).as_posix()}: is older than its chapter's code; "
                         f"say `make study ONLY={chapter.stem[:2]}`")
    return found


def orphans(root: Path = ROOT) -> list[str]:
    """Records of chapters that are not there."""
    stems = {chapter.stem for chapter in chapters(root)}
    return [f"{path.relative_to(root).as_posix()}: no chapter of this name"
            for path in sorted(root.glob("book/recorded/studies/*.json")) if path.stem not in stems]


def quoted(text: str, known: dict[str, Spread]) -> str:
    r"""What the role {study}`name form` shows; LookupError for a number that no study has.

    `form` is Python's, as `.2f` or `.0%`, and may be left out.
    """
    found = re.fullmatch(r"(.+?)(?:\s+(\+?\.?\d*[efg%]))?", " ".join(text.split()))
    name, form = found.groups()
    if name not in known:
        raise LookupError(f"no study has the number {name!r}")
    return known[name].text(form or ".2g")


def all_quantities(root: Path = ROOT) -> dict[str, Spread]:
    """What any page may quote."""
    return {f"{name} {told}".rstrip(): spread for study in studies(root).values()
            for told, part in study.parts.items() for name, spread in part.quantities().items()}
