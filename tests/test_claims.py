"""Claims: only a true truth value passes, and one fixed line is printed."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlearn.claims import ClaimError, claim, claims, kinds, record

ID = "tasks.simplex"
MEASURED = next(id for id, kind in kinds().items() if kind == "empirical")
TRUE = [True, np.bool_(True), np.array(True), np.array([True]), torch.tensor(True), torch.tensor([[True]])]
FALSE = [False, np.bool_(False), np.array([False]), torch.tensor(False), torch.tensor([False])]


def kind(value: object) -> str:
    """A test's id: the same in every process, which a repr with an address is not."""
    return type(value).__name__ if " at 0x" in repr(value) else repr(value)


@pytest.mark.parametrize("holds", TRUE, ids=kind)
def test_a_claim_that_holds_prints_one_fixed_line(holds, capsys):
    claim(ID, holds)
    assert capsys.readouterr().out == f"Claim {ID} holds: {claims()[ID]}\n"


@pytest.mark.parametrize("holds", FALSE, ids=kind)
def test_a_claim_that_does_not_hold_raises_with_its_sentence(holds, capsys):
    with pytest.raises(ClaimError) as error:
        claim(ID, holds)
    assert isinstance(error.value, AssertionError)
    assert ID in str(error.value) and claims()[ID] in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("holds", [
    1, 0, 1.0, 0.0, None, "yes", "", [True], (True,), {"holds": True}, object(), lambda: True, np.float64(1),
    np.int64(1), np.array([1]), np.array([True, True]), np.array([], dtype=bool), torch.tensor(1.0), torch.tensor([1]),
    torch.ones(3), torch.tensor([True, True]), torch.tensor([], dtype=torch.bool), torch.zeros(2, 0),
], ids=kind)
def test_what_is_no_truth_value_is_refused(holds, capsys):
    with pytest.raises(TypeError, match=f"claim {ID}: expected one truth value .* got"):
        claim(ID, holds)
    assert capsys.readouterr().out == ""


@given(st.one_of(st.floats(), st.integers(), st.text(), st.lists(st.booleans()),
                 st.dictionaries(st.text(), st.booleans())))
def test_nothing_passes_by_truthiness(holds):
    with pytest.raises(TypeError):
        claim(ID, holds)


def test_the_refusal_says_what_came():
    with pytest.raises(TypeError, match=r"Tensor of torch.float32, shape \(2, 3\)"):
        claim(ID, torch.ones(2, 3))
    with pytest.raises(TypeError, match="got NoneType"):
        claim(ID, None)


def test_an_unknown_id_names_the_nearest():
    with pytest.raises(ValueError, match="got 'tasks.simplx'.*tasks.simplex"):
        claim("tasks.simplx", True)
    with pytest.raises(ValueError, match="expected one of claims.toml"):
        claim("", True)


def test_ids_and_sentences_are_well_formed():
    for id, sentence in claims().items():
        chapter, name = id.split(".")
        assert chapter and name and id == id.lower() and id.isascii()
        assert sentence.endswith(".") and sentence[0].isupper() and "\n" not in sentence
    assert len(set(claims().values())) == len(claims())
    assert {"tasks.simplex", "tasks.semantic-map", "tasks.semantic-merges", "tasks.instance-set"} <= set(claims())


def test_the_book_cannot_be_changed_from_outside():
    claims()[ID] = "Everything is true."
    assert claims()[ID] != "Everything is true."


def test_importing_claims_loads_no_torch():
    code = "import sys, medlearn.claims; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---------------------------------------------------------------------------------------------------------------------
# Trials

def test_every_claim_has_a_kind():
    assert set(kinds()) == set(claims()) and set(kinds().values()) == {"exact", "empirical"}


@pytest.mark.parametrize("effect", [
    0.2, np.float32(0.2), torch.tensor(0.2), torch.tensor([[0.2]]), 1, {"one": 0.2, "two": 3},
], ids=kind)
def test_a_measured_claim_brings_an_effect_and_a_control_that_fails(effect, capsys):
    null = {name: -1.0 for name in effect} if isinstance(effect, dict) else -1.0
    claim(MEASURED, True, effect=effect, control={"nothing": null})
    assert capsys.readouterr().out == f"Claim {MEASURED} holds: {claims()[MEASURED]}\n"


def test_a_control_fails_where_one_of_its_numbers_does():
    effect, half = {"one": 1, "two": 1}, {"one": 5, "two": 0}
    claim(MEASURED, True, effect=effect, control={"half": half})
    with pytest.raises(ClaimError, match=f"claim {MEASURED}: its control passes as well, whole"):
        claim(MEASURED, True, effect=effect, control={"half": half, "whole": effect})


@pytest.mark.parametrize("given, error, said", [
    ({}, ValueError, "expected effect= and control=, since it is empirical; got neither"),
    ({"effect": 1.0}, ValueError, "got an effect"),
    ({"control": {"null": -1.0}}, ValueError, "got a control"),
    ({"effect": 1.0, "control": {}}, ValueError, "got an effect"),
    ({"effect": -1.0, "control": {"null": -1.0}}, ValueError,
     "above zero exactly where the claim holds, got True and -1"),
    ({"effect": 0.0, "control": {"null": -1.0}}, ValueError, "above zero exactly where the claim holds"),
    ({"effect": float("nan"), "control": {"null": -1.0}}, ValueError, "effect: expected a finite number, got nan"),
    ({"effect": 1.0, "control": {"null": float("-inf")}}, ValueError, "control 'null': expected a finite number"),
    ({"effect": True, "control": {"null": -1.0}}, TypeError, "effect: expected one number, got bool"),
    ({"effect": "much", "control": {"null": -1.0}}, TypeError, "effect: expected one number, got str"),
    ({"effect": torch.ones(2), "control": {"null": -1.0}}, TypeError, r"got Tensor of torch.float32, shape \(2,\)"),
    ({"effect": 1.0, "control": {"null": False}}, TypeError, "control 'null': expected one number, got bool"),
    ({"effect": {"one": 1.0}, "control": {"null": -1.0}}, ValueError,
     "to measure what the effect does, one, got one number"),
])
def test_an_unsound_trial_is_refused(given, error, said, capsys):
    with pytest.raises(error, match=said):
        claim(MEASURED, True, **given)
    assert capsys.readouterr().out == ""


def test_a_claim_that_does_not_hold_can_be_marked_and_the_run_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("MEDLEARN_MARK_CLAIMS", "1")
    claim(MEASURED, False, effect=-0.25, control={"nothing": -1})
    said = capsys.readouterr().out
    assert said.startswith(f"Claim {MEASURED} DOES NOT HOLD HERE: {claims()[MEASURED]}\n"
                           "  effect: -0.25\n  control, nothing: -1\n  machine: ")
    claim(MEASURED, True, effect=0.25, control={"nothing": 1})
    assert "DOES NOT HOLD HERE" in (said := capsys.readouterr().out) and "nothing: +1 (passes, and must not)" in said


def test_a_study_finds_claims_and_records_in_the_log(monkeypatch, tmp_path):
    log = tmp_path / "log.jsonl"
    monkeypatch.setenv("MEDLEARN_CLAIMS_LOG", str(log))
    claim(MEASURED, True, effect=0.25, control={"nothing": {"": -1}})
    record("tasks.volume-ml", torch.tensor(8.5))
    assert [json.loads(line) for line in log.read_text().splitlines()] == [
        {"claim": MEASURED, "holds": True, "effect": {"": 0.25}, "control": {"nothing": {"": -1.0}}, "passes": []},
        {"record": "tasks.volume-ml", "value": 8.5}]


@pytest.mark.parametrize("name, value, error", [
    ("volume", 1.0, ValueError), ("Tasks.volume", 1.0, ValueError), ("tasks.v", None, TypeError),
    ("tasks.v", float("inf"), ValueError), ("tasks.v", True, TypeError),
])
def test_what_cannot_be_recorded_is_refused(name, value, error):
    with pytest.raises(error, match="record"):
        record(name, value)
