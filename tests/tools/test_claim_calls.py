"""The lint names claims that could pass without their run."""
import pytest
from claim_calls import call_in, claims_in, vacuous

from medlearn.claims import kinds

MEASURED = next(id for id, kind in kinds().items() if kind == "empirical")
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
    call = 'medlearn.claim(\n    "tasks.semantic-merges", holds=(x < 1).all())'
    assert call_in(CELL, "tasks.semantic-merges") == call
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
    ("claim('a.b', x or True)", "whatever was computed"),
    ("claim('a.b', not (x and False))", "whatever was computed"),
    ("claim('a.b', x > 1 if y else True)", "chooses"),
    ("claim('a.b', x == x)", "whatever was computed"),
    ("claim('a.b', torch.allclose(f(x), f(x)))", "whatever was computed"),
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
