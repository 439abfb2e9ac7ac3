r"""A model card: what is known of a trained network, from its record, and what only a person can add."""
from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from medlearn.base.validation import check_whole, kind_of

ASKED = "*To be written by a person.*"
QUESTIONS = {
    "Intended use": "Which decision does it help, of whom, in which patients? What happens where it is wrong?",
    "Not to be used for": "Which scanners, ages, diseases, questions is it not for?",
    "Who is missing": "Which groups of patients were not in the data, or few: by age, sex, origin, scanner, hospital?",
    "Who is responsible": "Whom does one tell of an error? Who may switch it off?",
}
NAMED = 10              # cases, so that the card stays a page; run.json has them all
SHOWN = ("Dice", "HD95_mm", "NSD", "lesion_F1")


def model_card(settings: Mapping[str, Any], facts: Mapping[str, Any], *, steps: int,
               history: Sequence[Mapping[str, float]] = (), scores: Mapping[str, Any] | None = None) -> str:
    r"""The card as Markdown: everything that the record of a training holds, then the questions that it cannot answer.

    `settings` are those of `medlearn train`, by their dotted names; `facts` what its run.json holds: version, channels,
    labels, the cases that were trained on and held out; `steps` is how many were made, `history` the rows of the
    training, and `scores` a summary.json of `medlearn evaluate`, or None where nothing was evaluated, which the card
    then says.
    Errors: TypeError for settings, facts, history or scores of another kind; ValueError where the facts, a row with a
    Dice or the scores lack something, and for steps below 0.
    Source: Mitchell et al. 2019, doi:10.1145/3287560.3287596. Chapter 19.

    >>> facts = {"medlearn": "1.0", "channels": ["T1"], "labels": ["background", "tumour"],
    ...          "training": ["p1", "p2"], "held_out": []}
    >>> card = model_card({"net.name": "unet"}, facts, steps=100)
    >>> print(card.splitlines()[0], "| asked:", card.count(ASKED))
    # Model card | asked: 4
    """
    for name, value, kind in (("settings", settings, Mapping), ("facts", facts, Mapping),
                              ("history", history, Sequence), ("scores", {} if scores is None else scores, Mapping)):
        _check(name, value, kind)
    steps = check_whole("steps", steps)
    needed = ("medlearn", "channels", "labels", "training", "held_out")
    if lacking := [name for name in needed if name not in facts]:
        raise ValueError(f"facts: expected {', '.join(needed)}, got none of {', '.join(lacking)}")
    for name in needed[1:]:
        _check(f"facts[{name!r}]", facts[name], Sequence)
    return "\n".join([*_made(settings, facts, steps), *_judged(facts, history, scores), *_asked()]) + "\n"


def _made(settings: Mapping[str, Any], facts: Mapping[str, Any], steps: int) -> Iterator[str]:
    yield from ("# Model card", "",
                "From the record of a training. What no record holds stands at the end, as questions.", "")
    yield from ("## The model", "", f"- Made by medlearn {_line(facts['medlearn'])}, in {steps} steps.",
                f"- It reads {_lines(facts['channels'])} and answers {_lines(facts['labels'])}.", "")
    yield from ("## How it was trained", "", "| setting | value |", "|---|---|")
    yield from (f"| {_cell(name)} | {_cell(value)} |" for name, value in settings.items()
                if not str(name).startswith("data.cache"))
    yield from ("", "## Whom it has seen", "")
    for title, cases in (("Trained on", facts["training"]), ("Held out for validation", facts["held_out"])):
        more = f" and {len(cases) - NAMED} more" if len(cases) > NAMED else ""
        yield f"- {title}: {len(cases)} cases{': ' * bool(cases)}{_lines(cases[:NAMED])}{more}"
    yield ""


def _judged(facts: Mapping[str, Any], history: Sequence[Mapping[str, float]],
            scores: Mapping[str, Any] | None) -> Iterator[str]:
    yield from ("## How good it is", "")
    if validated := [_dice_and_step(row) for row in history if "dice" in _check("history", row, Mapping)]:
        dice, step = max(validated, key=lambda one: one[0])
        yield f"- Validation, while it was trained: a mean Dice of {dice:.3f} at step {step}. " \
              "This number chose the weights, and is too good."
    if scores is None:
        yield from ("- **It has not been evaluated on patients of its own.**", "")
        return
    try:
        yield from list(_table(facts, scores))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"scores: expected a summary.json of `medlearn evaluate`, got one that cannot be read: "
                         f"{type(error).__name__} {error}") from None
    yield ""


def _table(facts: Mapping[str, Any], scores: Mapping[str, Any]) -> Iterator[str]:
    names = scores["labels"]
    cases = scores["metric_per_case"]
    yield from (f"- Evaluated on {len(cases)} cases, {len(scores['missing'])} of them without an answer.", "",
                "| class | metric | mean | 95 % interval | cases |", "|---|---|---|---|---|")
    for label, metrics in scores["summary"].items():
        for metric in (name for name in SHOWN if metrics[name]["cases"]):
            low, high = (_number(metrics[metric][end]) for end in ("low", "high"))
            mean = _number(scores["mean"][label][metric])
            yield f"| {_cell(names[label])} | {metric} | {mean} | {low} to {high} | {metrics[metric]['cases']} |"
    judged = {Path(case["reference_file"]).name.removesuffix(".gz").rsplit(".", 1)[0] for case in cases}
    if both := sorted(judged & {*map(str, facts["training"]), *map(str, facts["held_out"])}):
        yield from ("", f"**{len(both)} of them were used in training or to choose the weights: {_lines(both)}.**")


def _asked() -> Iterator[str]:
    for title, question in QUESTIONS.items():
        yield from (f"## {title}", "", question, "", ASKED, "")


def _dice_and_step(row: Mapping[str, Any]) -> tuple[float, int]:
    """Of a row of the history that was validated."""
    dice, step = row["dice"], row.get("step")
    if not isinstance(dice, Real) or not isinstance(step, Real) or not float(step).is_integer():
        raise ValueError(f"history: expected a Dice and its step, two numbers, got {dice!r} and {step!r}")
    return float(dice), int(float(step))


def _check(name: str, value: Any, kind: type) -> Any:
    if not isinstance(value, kind) or isinstance(value, (str, bytes)):
        raise TypeError(f"{name}: expected a {kind.__name__.lower()}, got {kind_of(value)}")
    return value


def _cell(value: Any) -> str:
    """What stands in one cell of a table: a bar would end it, and so would a backslash before the one that hides it."""
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return re.sub(r"\\*\|", lambda bar: 2 * bar[0][:-1] + r"\|", _line(text))


def _line(value: Any) -> str:
    """On one line of the page."""
    return re.sub(r"\r\n|\r|\n", r"\\n", str(value))


def _lines(values: Sequence[Any]) -> str:
    return ", ".join(map(_line, values))


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"         # strict JSON has no infinity
