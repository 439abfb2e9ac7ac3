"""What a model card says, and what it asks."""
import re

import pytest

from medlearn.evaluate import model_card
from medlearn.evaluate.cards import ASKED, QUESTIONS

FACTS = {"medlearn": "1.0", "channels": ["T1"], "labels": ["background", "tumour"], "training": ["p1", "p2"],
         "held_out": ["p3"]}
SCORES = {"labels": {"0": "background", "1": "tumour"}, "missing": {"p9": "no file"},
          "metric_per_case": [{"reference_file": "truth/p9.nii.gz"}, {"reference_file": "truth/p2.nii.gz"}],
          "mean": {"1": {"Dice": 0.7, "HD95_mm": None, "NSD": 0.5, "lesion_F1": None}},
          "summary": {"1": {"Dice": {"cases": 2, "low": 0.6, "high": 0.8},
                            "HD95_mm": {"cases": 2, "low": 1.0, "high": None},
                            "NSD": {"cases": 0, "low": None, "high": None},
                            "lesion_F1": {"cases": 0, "low": None, "high": None}}}}


def test_every_question_that_no_record_answers_is_asked():
    card = model_card({"net.name": "unet"}, FACTS, steps=5)
    assert card.count(ASKED) == len(QUESTIONS) == 4
    assert all(f"## {title}" in card for title in QUESTIONS)


def test_scores_are_told_with_their_intervals_and_what_is_infinite():
    card = model_card({}, FACTS, steps=5, scores=SCORES)
    assert "| tumour | Dice | 0.700 | 0.600 to 0.800 | 2 |" in card
    assert "| tumour | HD95_mm | not finite | 1.000 to not finite | 2 |" in card and "NSD" not in card
    assert "2 cases, 1 of them without an answer" in card


def test_a_patient_who_was_in_training_is_named():
    card = model_card({}, FACTS, steps=5, scores=SCORES)
    assert "**1 of them were used in training or to choose the weights: p2.**" in card


def test_the_best_validation_is_told_as_what_it_is():
    card = model_card({}, FACTS, steps=5,
                      history=[{"step": 1, "loss": 1.0}, {"step": 2, "dice": 0.4}, {"step": 4, "dice": 0.3}])
    assert "0.400 at step 2" in card and "too good" in card


def test_facts_that_are_not_there_are_refused(refused):
    with refused("facts: expected .* got none of labels"):
        model_card({}, {name: value for name, value in FACTS.items() if name != "labels"}, steps=1)


def test_a_bar_in_a_setting_does_not_break_the_table():
    assert "\\|" in model_card({"data.patient": ["a|b"]}, FACTS, steps=1)


def test_a_long_list_of_cases_is_cut_and_counted():
    card = model_card({}, {**FACTS, "training": [f"p{n}" for n in range(30)]}, steps=1)
    assert "Trained on: 30 cases: p0, " in card and "p9 and 20 more" in card and "p10" not in card


def test_nothing_in_a_record_breaks_a_table():
    for odd in ("a|b", r"a\|b", "a\nb", "a\r\nb|", "|"):
        scores = {**SCORES, "labels": {"0": "background", "1": odd}}
        lines = model_card({"net.name": odd, odd: 1}, {**FACTS, "channels": [odd]}, steps=1, scores=scores).split("\n")
        tables = [re.split(r"(?<!\\)(?:\\\\)*\|", line) for line in lines if line.startswith("|")]
        assert [len(cells) for cells in tables] == [4] * 4 + [7] * 4
        assert "\r" not in "".join(lines) and len(lines) == 57


@pytest.mark.parametrize("name", ["settings", "facts", "scores", "history"])
@pytest.mark.parametrize("odd", [None, "text", 3])
def test_another_kind_is_refused(name, odd, refused):
    if name == "scores" and odd is None:
        return
    with refused(f"{name}: expected"):
        model_card(**{"settings": {}, "facts": FACTS, "steps": 1, name: odd})


@pytest.mark.parametrize("name", ["channels", "labels", "training", "held_out"])
@pytest.mark.parametrize("odd", [None, "text", 3])
def test_facts_of_another_kind_are_refused(name, odd, refused):
    with refused(f"facts\\['{name}'\\]: expected a sequence, got"):
        model_card({}, {**FACTS, name: odd}, steps=1)


@pytest.mark.parametrize("history", [[{"dice": 0.5}], [{"dice": None, "step": 1}], [{"dice": 0.5, "step": "x"}], [3]])
def test_a_row_that_cannot_be_is_refused(history, refused):
    with refused("history: expected"):
        model_card({}, FACTS, steps=1, history=history)


@pytest.mark.parametrize("lacking", ["", *SCORES])
def test_scores_that_lack_something_are_refused(lacking, refused):
    odd = {name: value for name, value in SCORES.items() if lacking and name != lacking}
    with refused("scores: expected a summary.json"):
        model_card({}, FACTS, steps=1, scores=odd)
