"""Claims: only a true truth value passes, one fixed line is printed, and the lint names what could pass without its run."""
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medlearn.claims import ClaimError, call_in, claim, claims, claims_in, kinds, record, vacuous

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
    1, 0, 1.0, 0.0, None, "yes", "", [True], (True,), {"holds": True}, object(), lambda: True, np.float64(1), np.int64(1),
    np.array([1]), np.array([True, True]), np.array([], dtype=bool), torch.tensor(1.0), torch.tensor([1]), torch.ones(3),
    torch.tensor([True, True]), torch.tensor([], dtype=torch.bool), torch.zeros(2, 0),
], ids=kind)
def test_what_is_no_truth_value_is_refused(holds, capsys):
    with pytest.raises(TypeError, match=f"claim {ID}: expected one truth value .* got"):
        claim(ID, holds)
    assert capsys.readouterr().out == ""


@given(st.one_of(st.floats(), st.integers(), st.text(), st.lists(st.booleans()), st.dictionaries(st.text(), st.booleans())))
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


@pytest.mark.parametrize("effect", [0.2, np.float32(0.2), torch.tensor(0.2), torch.tensor([[0.2]]), 1, {"one": 0.2, "two": 3}], ids=kind)
def test_a_measured_claim_brings_an_effect_and_a_control_that_fails(effect, capsys):
    null = {name: -1.0 for name in effect} if isinstance(effect, dict) else -1.0
    claim(MEASURED, True, effect=effect, control={"nothing": null})
    assert capsys.readouterr().out == f"Claim {MEASURED} holds: {claims()[MEASURED]}\n"


def test_a_control_fails_where_one_of_its_numbers_does():
    claim(MEASURED, True, effect={"one": 1, "two": 1}, control={"half": {"one": 5, "two": 0}})
    with pytest.raises(ClaimError, match=f"claim {MEASURED}: its control passes as well, whole"):
        claim(MEASURED, True, effect={"one": 1, "two": 1}, control={"half": {"one": 5, "two": 0}, "whole": {"one": 1, "two": 1}})


@pytest.mark.parametrize("given, error, said", [
    ({}, ValueError, "expected effect= and control=, since it is empirical; got neither"),
    ({"effect": 1.0}, ValueError, "got an effect"),
    ({"control": {"null": -1.0}}, ValueError, "got a control"),
    ({"effect": 1.0, "control": {}}, ValueError, "got an effect"),
    ({"effect": -1.0, "control": {"null": -1.0}}, ValueError, "above zero exactly where the claim holds, got True and -1"),
    ({"effect": 0.0, "control": {"null": -1.0}}, ValueError, "above zero exactly where the claim holds"),
    ({"effect": float("nan"), "control": {"null": -1.0}}, ValueError, "effect: expected a finite number, got nan"),
    ({"effect": 1.0, "control": {"null": float("-inf")}}, ValueError, "control 'null': expected a finite number"),
    ({"effect": True, "control": {"null": -1.0}}, TypeError, "effect: expected one number, got bool"),
    ({"effect": "much", "control": {"null": -1.0}}, TypeError, "effect: expected one number, got str"),
    ({"effect": torch.ones(2), "control": {"null": -1.0}}, TypeError, r"got Tensor of torch.float32, shape \(2,\)"),
    ({"effect": 1.0, "control": {"null": False}}, TypeError, "control 'null': expected one number, got bool"),
    ({"effect": {"one": 1.0}, "control": {"null": -1.0}}, ValueError, "to measure what the effect does, one, got one number"),
])
def test_an_unsound_trial_is_refused(given, error, said, capsys):
    with pytest.raises(error, match=said):
        claim(MEASURED, True, **given)
    assert capsys.readouterr().out == ""


def test_a_claim_that_does_not_hold_can_be_marked_and_the_run_goes_on(monkeypatch, capsys):
    monkeypatch.setenv("MEDLEARN_MARK_CLAIMS", "1")
    claim(MEASURED, False, effect=-0.25, control={"nothing": -1})
    said = capsys.readouterr().out
    assert said.startswith(f"Claim {MEASURED} DOES NOT HOLD HERE: {claims()[MEASURED]}\n  effect: -0.25\n  control, nothing: -1\n  machine: ")
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


@pytest.mark.parametrize("name, value, error", [("volume", 1.0, ValueError), ("Tasks.volume", 1.0, ValueError), ("tasks.v", None, TypeError),
                                                ("tasks.v", float("inf"), ValueError), ("tasks.v", True, TypeError)])
def test_what_cannot_be_recorded_is_refused(name, value, error):
    with pytest.raises(error, match="record"):
        record(name, value)


# ---------------------------------------------------------------------------------------------------------------------
# Reading cells

CELL = '''\
%matplotlib inline
import medlearn
from medlearn import claim
x = compute()
claim("tasks.simplex", x > 0)
medlearn.claim(
    "tasks.semantic-merges", holds=(x < 1).all())
claim(id="ce.gradient", holds=x != 2)
print("claim('no.claim', True)")   # claim("no.claim", True)
'''


def test_claims_in_finds_each_call_with_its_line():
    assert claims_in(CELL) == [("tasks.simplex", 5), ("tasks.semantic-merges", 6), ("ce.gradient", 8)]
    assert claims_in("") == claims_in("%%bash\nrm x; then; fi") == []
    with pytest.raises(SyntaxError):
        claims_in("x = (")


def test_call_in_gives_the_call_as_it_stands():
    assert call_in(CELL, "tasks.semantic-merges") == 'medlearn.claim(\n    "tasks.semantic-merges", holds=(x < 1).all())'
    assert call_in(CELL, "no.claim") == call_in("", "ce.gradient") == ""


@pytest.mark.parametrize("cell", [
    CELL,
    "",
    "x = 1\nprint(x)",
    "x = f()\nwith torch.no_grad():\n    claim('a.b', x > 1)",
    "x = f()\nwith torch.autocast('cpu'), torch.no_grad():\n    claim('a.b', x > 1)",
    "def show():\n    x = f()\n    claim('a.b', x > 1)\nshow()",
    "errors = []\nfor x in f():\n    errors.append(x)\nclaim('a.b', len(errors) == 0)",
    "ok = True\nfor x in f():\n    ok = ok and x > 1\nclaim('a.b', ok)",
    "tolerance = 1e-6\nclaim('a.b', error < tolerance)",
    "claim('a.b', all(x > 0 for x in found))",
    "claim('a.b', abs(max(losses)) < 1 and torch.equal(x, y))",
    "claim('a.b', torch.allclose(softmax(z), softmax(z + 100)))",
    "if x:\n    print('no claim here')",
])
def test_a_sound_cell_has_no_complaint(cell):
    assert vacuous(cell) == []


@pytest.mark.parametrize("cell, why", [
    ("claim('a.b', True)", "constant condition"),
    ("claim('a.b', 1 + 1 == 2)", "constant condition"),
    ("claim('a.b', not False)", "constant condition"),
    ("claim('a.b', bool(1))", "constant condition"),
    ("claim('a.b', len([]) == 0)", "constant condition"),
    ("claim('a.b', all(i >= 0 for i in range(3)))", "constant condition"),
    ("ok = True\nclaim('a.b', ok)", "constant condition"),
    ("one = 1\ntwo = one + 1\nclaim('a.b', two > one)", "constant condition"),
    ("claim('a.b', x or True)", "constant part"),
    ("claim('a.b', not (x and False))", "constant part"),
    ("claim('a.b', x if x else True)", "chooses"),
    ("claim('a.b', x == x)", "with itself"),
    ("claim('a.b', torch.allclose(f(x), f(x)))", "with itself"),
    ("try:\n    claim('a.b', x > 1)\nexcept Exception:\n    pass", "inside a try"),
    ("try:\n    x = f()\nexcept Exception:\n    claim('a.b', x > 1)", "inside a try"),
    ("if x:\n    claim('a.b', x > 1)", "inside an if"),
    ("if x:\n    pass\nelse:\n    claim('a.b', x > 1)", "inside an if"),
    ("for x in xs:\n    claim('a.b', x > 1)", "inside a loop"),
    ("while x:\n    claim('a.b', x > 1)", "inside a loop"),
    ("match x:\n    case 1:\n        claim('a.b', x > 1)", "inside a match"),
    ("with suppress(AssertionError):\n    claim('a.b', x > 1)", "with that is not torch's"),
    ("def show():\n    claim('a.b', x > 1)", "does not call at its top"),
    ("def show():\n    claim('a.b', x > 1)\nif x:\n    show()", "does not call at its top"),
    ("def show():\n    return\n    claim('a.b', x > 1)\nshow()", "returns or yields"),
    ("def show():\n    claim('a.b', x > 1)\n    yield\nshow()", "returns or yields"),
    ("class A:\n    def show(self):\n        claim('a.b', x > 1)", "does not call at its top"),
    ("async def show():\n    claim('a.b', x > 1)\nshow()", "need not run"),
    ("show = lambda: claim('a.b', x > 1)", "not a statement of its own"),
    ("x and claim('a.b', x > 1)", "not a statement of its own"),
    ("[claim('a.b', x > 1) for x in xs]", "not a statement of its own"),
    ("claim(name, x > 1)", "not a literal string"),
    ("claim(f'a.{x}', x > 1)", "not a literal string"),
    ("claim('a.b')", "no condition"),
    ("claim('a.b', *x)", "no condition"),
    ("%%capture\nclaim('a.b', x > 1)", "cell magic"),
    ("from medlearn import claim as shows\nshows('a.b', False)", "another name"),
    ("shows = medlearn.claim\nshows('a.b', False)", "another name"),
    ("from mine import claim\nclaim('a.b', x > 1)", "something else is called claim"),
    ("from mine import show as claim\nclaim('a.b', x > 1)", "something else is called claim"),
    ("def claim(id, holds):\n    pass\nclaim('a.b', x > 1)", "something else is called claim"),
    ("claim = print\nclaim('a.b', x > 1)", "something else is called claim"),
    ("medlearn.claim = print\nmedlearn.claim('a.b', x > 1)", "something else is called claim"),
    (f"claim('{MEASURED}', x > 1)", "brings no effect"),
    (f"claim('{MEASURED}', x > 1, effect=x - 1)", "brings no control"),
    ("claim('a.b', x > 1, effect=0.5, control={'none': y})", "constant effect"),
    ("claim('a.b', x > 1, effect=x, control={'none': -1.0})", "constant control"),
    ("claim('a.b', x > 1, effect=x, control={'none': {'one': y, 'two': -1.0}})", "constant control"),
    ("claim('a.b', x > 1, effect=x, control={'none': x})", "its effect for a control"),
])
def test_a_claim_that_could_pass_without_its_run_is_named(cell, why):
    complaints = vacuous(cell)
    assert any(why in complaint for complaint in complaints), complaints
    assert all(complaint.startswith("line ") for complaint in complaints)


def test_the_complaint_names_the_claim_and_its_line():
    assert vacuous("x = f()\n\nclaim('a.b', True)") == ["line 3: claim a.b has a constant condition"]
