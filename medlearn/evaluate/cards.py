r"""A model card: what is known of a trained network, from its record, and what only a person can add."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ASKED = "*To be written by a person.*"
QUESTIONS = {
    "Intended use": "Which decision does it help, of whom, in which patients? What happens where it is wrong?",
    "Not to be used for": "Which scanners, ages, diseases, questions is it not for?",
    "Who is missing": "Which groups of patients were not in the data, or were few: by age, sex, origin, scanner, hospital?",
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
    Errors: ValueError where the facts lack one of these.
    Source: Mitchell et al. 2019, doi:10.1145/3287560.3287596. Chapter 19.

    >>> facts = {"medlearn": "1.0", "channels": ["T1"], "labels": ["background", "tumour"],
    ...          "training": ["p1", "p2"], "held_out": []}
    >>> card = model_card({"net.name": "unet"}, facts, steps=100)
    >>> print(card.splitlines()[0], "| asked:", card.count(ASKED))
    # Model card | asked: 4
    """
    needed = ("medlearn", "channels", "labels", "training", "held_out")
    if lacking := [name for name in needed if name not in facts]:
        raise ValueError(f"facts: expected {', '.join(needed)}, got none of {', '.join(lacking)}")
    return "\n".join([*_made(settings, facts, steps), *_judged(facts, history, scores), *_asked()]) + "\n"


def _made(settings: Mapping[str, Any], facts: Mapping[str, Any], steps: int) -> Iterator[str]:
    yield from ("# Model card", "", "From the record of a training. What no record holds stands at the end, as questions.", "")
    yield from ("## The model", "", f"- Made by medlearn {facts['medlearn']}, in {steps} steps.",
                f"- It reads {', '.join(facts['channels'])} and answers {', '.join(facts['labels'])}.", "")
    yield from ("## How it was trained", "", "| setting | value |", "|---|---|")
    yield from (f"| {name} | {_cell(value)} |" for name, value in settings.items() if not name.startswith("data.cache"))
    yield from ("", "## Whom it has seen", "")
    for title, cases in (("Trained on", facts["training"]), ("Held out for validation", facts["held_out"])):
        more = f" and {len(cases) - NAMED} more" if len(cases) > NAMED else ""
        yield f"- {title}: {len(cases)} cases{': ' * bool(cases)}{', '.join(map(str, cases[:NAMED]))}{more}"
    yield ""


def _judged(facts: Mapping[str, Any], history: Sequence[Mapping[str, float]],
            scores: Mapping[str, Any] | None) -> Iterator[str]:
    yield from ("## How good it is", "")
    validated = [row for row in history if "dice" in row]
    if validated:
        best = max(validated, key=lambda row: row["dice"])
        yield f"- Validation, while it was trained: a mean Dice of {best['dice']:.3f} at step {int(best['step'])}. " \
              "This number chose the weights, and is too good."
    if scores is None:
        yield from ("- **It has not been evaluated on patients of its own.**", "")
        return
    names = scores["labels"]
    cases = scores["metric_per_case"]
    yield from (f"- Evaluated on {len(cases)} cases, {len(scores['missing'])} more without an answer.", "",
                "| class | metric | mean | 95 % interval | cases |", "|---|---|---|---|---|")
    for label, metrics in scores["summary"].items():
        for metric in (name for name in SHOWN if metrics[name]["cases"]):
            low, high = (_number(metrics[metric][end]) for end in ("low", "high"))
            mean = _number(scores["mean"][label][metric])
            yield f"| {names[label]} | {metric} | {mean} | {low} to {high} | {metrics[metric]['cases']} |"
    judged = {Path(case["reference_file"]).name.removesuffix(".gz").rsplit(".", 1)[0] for case in cases}
    if both := sorted(judged & {*facts["training"], *facts["held_out"]}):
        yield from ("", f"**{len(both)} of them were used in training or to choose the weights: {', '.join(both)}.**")
    yield ""


def _asked() -> Iterator[str]:
    for title, question in QUESTIONS.items():
        yield from (f"## {title}", "", question, "", ASKED, "")


def _cell(value: Any) -> str:
    return json.dumps(value, default=str).replace("|", "\\|") if not isinstance(value, str) else value


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"         # strict JSON has no infinity
