"""The model card of a training, as the command line writes it."""
import json

import pytest

from medlearn.cli import main


def test_a_card_holds_what_the_record_holds(own, capsys):
    assert main(["card", str(own / "run")]) == 0
    text = (own / "run" / "card.md").read_text()
    assert "in 2 steps" in text and "reads T1 and answers background, csf, grey, white" in text
    assert "| recipe.learning_rate | 0.01 |" in text and "Trained on: 3 cases" in text
    assert "has not been evaluated" in text and "A mean Dice of 1" not in text
    assert "written:" in capsys.readouterr().out


def test_scores_come_into_it_and_cases_seen_before_are_named(own, capsys):
    for cases, judged in (("imagesTs", "labelsTs"), ("imagesTr", "labelsTr")):
        answers = own / cases
        assert main(["predict", str(own / "run"), str(own / "data" / cases), str(answers)]) == 0
        assert main(["evaluate", str(answers), str(own / "data" / judged), "--labels", "background", "csf", "grey",
                     "white"]) == 0
        assert main(["card", str(own / "run"), "--scores", str(answers / "summary.json"), "--out",
                     str(own / f"{cases}.md")]) == 0
    fresh, seen = ((own / f"{cases}.md").read_text() for cases in ("imagesTs", "imagesTr"))
    assert "Evaluated on 2 cases, 0 of them without an answer" in fresh and "| grey | Dice | 0." in fresh
    assert "used in training" not in fresh
    assert "4 of them were used in training" in seen and "p00_scan" in seen


def test_what_a_person_may_have_written_is_not_overwritten(own, capsys):
    (own / "run" / "card.md").write_text("ours")
    assert main(["card", str(own / "run")]) == 2
    assert (own / "run" / "card.md").read_text() == "ours"
    assert "expected a file that is not there yet" in capsys.readouterr().err


def test_a_folder_of_no_training_is_refused(own, capsys):
    assert main(["card", str(own / "data")]) == 2
    assert "expected the folder of a training" in capsys.readouterr().err


@pytest.mark.parametrize("text", [b"{}", b"[]", b"3", b"null", b'{"labels": {}}', b"", b"{", b"\xff",
                                  b'{"labels": [], "metric_per_case": 1, "missing": [], "summary": 0}'])
def test_scores_that_cannot_be_are_refused_by_their_file(own, capsys, text):
    (own / "odd.json").write_bytes(text)
    assert main(["card", str(own / "run"), "--scores", str(own / "odd.json"), "--out", str(own / "odd.md")]) == 2
    assert "odd.json: " in capsys.readouterr().err and not (own / "odd.md").exists()


@pytest.mark.parametrize("text", ["{", "", None])
def test_a_record_that_cannot_be_is_refused(own, capsys, text):
    facts = own / "run" / "run.json"
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "training": None}) if text is None else text)
    assert main(["card", str(own / "run"), "--out", str(own / "odd.md")]) == 2
    assert f"{own / 'run'}" in capsys.readouterr().err and not (own / "odd.md").exists()
