"""A condition that no run could make false is named; an honest one beside it is not."""
import ast

import pytest
from bindings import Place, after
from chapters import cells, chapters
from claim_calls import behind, vacuous
from conditions import can_fail, is_constant

IMPORTS = "import torch\nimport numpy as np\nimport math\nfrom medlearn import claim\n"
CHEATS = {
    # constants
    "true": "claim('a.b', True)",
    "not of nothing": "claim('a.b', not [])",
    "a text": "claim('a.b', bool('no'))",
    "arithmetic": "claim('a.b', 2 + 2 == 4)",
    "pi": "claim('a.b', math.pi > 3)",
    "infinity": "claim('a.b', 1 < torch.inf)",
    "a constant tensor": "claim('a.b', torch.tensor(True))",
    "a constant array": "claim('a.b', np.array([1]) == np.array([1]))",
    "ones": "ones = torch.ones(3)\nclaim('a.b', (ones == 1).all())",
    "a list of trues": "found = [True, True]\nclaim('a.b', all(found))",
    "any of a list": "claim('a.b', any([True, x > 1]))",
    "all of nothing": "claim('a.b', all(x > 1 for x in []))",
    "all of few numbers": "claim('a.b', all(i < 5 for i in range(5)))",
    "a lambda": "claim('a.b', (lambda: True)())",
    "a walrus": "claim('a.b', (ok := True))",
    "a walrus before": "(ok := True)\nclaim('a.b', ok)",
    "two names": "a = b = True\nclaim('a.b', a and b)",
    "a pair": "ok, limit = True, 3\nclaim('a.b', ok)",
    "a name rebound": "ok = bool(f(x) > 1)\nok = True\nclaim('a.b', ok)",
    "rebound in a branch that runs": "ok = True\nif True:\n    ok = True\nclaim('a.b', ok)",
    "set again by a loop": "for x in xs:\n    ok = True\nclaim('a.b', ok)",
    "bound under torch": "with torch.no_grad():\n    ok = True\nclaim('a.b', ok)",
    "a function of constant answer": "def holds(x):\n    y = f(x)\n    return True\nclaim('a.b', holds(x))",
    "the same answer everywhere":
        "def holds(x):\n    if x > 1:\n        return True\n    return True\nclaim('a.b', holds(x))",
    "an argument": "def show(ok):\n    claim('a.b', ok)\nshow(True)",
    "a default": "ok = (lambda x: True)(f)\nclaim('a.b', ok)",
    # true by form
    "or true": "claim('a.b', x > 1 or True)",
    "or one": "claim('a.b', bool(x > 1 or 1))",
    "bitwise or true": "claim('a.b', (x > 1) | True)",
    "logical or": "claim('a.b', torch.logical_or(x > 1, True))",
    "not and false": "claim('a.b', not (x > 1 and False))",
    "either way": "claim('a.b', x > 1 or x <= 1)",
    "either way, named": "high = x > 1\nclaim('a.b', high or not high)",
    "else true": "claim('a.b', x if x else True)",
    "the same twice": "claim('a.b', x == x)",
    "the same method": "claim('a.b', x.eq(x).all())",
    "the same call": "claim('a.b', torch.allclose(f(x), f(x)))",
    "the same in two lists": "claim('a.b', [f(y) for y in xs] == [f(y) for y in xs])",
    "a clone": "claim('a.b', torch.equal(x, x.clone()))",
    "another name": "y = x\nclaim('a.b', torch.equal(f(x), f(y)))",
    "a copy": "import copy\ny = copy.deepcopy(x)\nclaim('a.b', (x == y).all())",
    "through a list": "both = [x, x]\nclaim('a.b', both[0] == both[1])",
    "through a table": "got = {'a': x, 'b': x}\nclaim('a.b', got['a'] == got['b'])",
    "the difference from itself": "error = (x - x).abs()\nprint(error)\nclaim('a.b', error < 1e-6)",
    "own comparison": "def same(a, b):\n    return bool((a == b).all())\nclaim('a.b', same(x, x))",
    "own function twice": "def g(a):\n    b = f(a)\n    return b\nclaim('a.b', g(x) == g(x))",
    "a length": "claim('a.b', len(x) >= 0)",
    "a count": "claim('a.b', x.numel() > -1)",
    "a magnitude": "claim('a.b', abs(x) >= 0)",
    "a magnitude, named": "size = x.abs()\nplot(size)\nclaim('a.b', (size >= 0).all())",
    "a square": "claim('a.b', x ** 2 >= 0)",
    "a norm": "claim('a.b', x.norm() >= 0 and x.norm() != -1)",
    "a probability": "claim('a.b', x.softmax(1).min() >= 0 or x.softmax(1) >= 0)",
    "its own smallest": "claim('a.b', min(x, y) <= x)",
    "clamped before": "claim('a.b', x.clamp(min=0) >= 0)",
    "a kind": "y = f(x)\nclaim('a.b', isinstance(y, torch.Tensor))",
    "there is something": "claim('a.b', f(x) is not None)",
    "below infinity": "claim('a.b', x < float('inf'))",
    "a wide tolerance": "claim('a.b', torch.allclose(x, y, atol=float('inf')))",
    "only what passes": "claim('a.b', all(x > 0 for x in xs if x > 0))",
    "a part": "claim('a.b', y > 1 and (x == x or x > 2))",
    "a part by name": "shaped = len(x) >= 0\nclaim('a.b', y > 1 and shaped)",
    # the trial
    "an effect above zero": "claim('a.b', x > 1, effect=abs(x) + 1, control={'none': y})",
    "a named effect": "effect = 0.3\nclaim('a.b', x > 1, effect=effect, control={'none': y})",
    "a table of one constant":
        "e = {'a': x, 'b': 1.0}\nclaim('a.b', x > 1, effect=e, control={'none': {'a': y, 'b': x}})",
    "a control below zero": "claim('a.b', x > 1, effect=x, control={'none': -abs(y)})",
    "a control that is no number": "null = -1\nclaim('a.b', x > 1, effect=x, control={'none': null})",
    "the effect turned round": "claim('a.b', x > 1, effect=x, control={'none': -x})",
    "the effect under another name": "null = x\nclaim('a.b', x > 1, effect=x, control={'none': null})",
    "the effect capped": "claim('a.b', x > 1, effect=x, control={'none': min(x, 0)})",
    # names that stand for something else
    "another all": "def all(values):\n    return True\nclaim('a.b', all(x > 1))",
    "another abs": "abs = lambda value: 0\nclaim('a.b', abs(x) < 1)",
    "another torch": "torch = Pretend()\nclaim('a.b', torch.equal(x, y))",
    "another equal": "torch.equal = lambda *_: True\nclaim('a.b', torch.equal(x, y))",
    "another comparison": "torch.Tensor.__gt__ = yes\nclaim('a.b', x > 1)",
    "another claim inside": "medlearn.claims._truth = yes\nclaim('a.b', x > 1)",
    "by text": "globals()['claim'] = print\nclaim('a.b', x > 1)",
    "by setattr": "setattr(torch, 'equal', yes)\nclaim('a.b', torch.equal(x, y))",
    "run from a text": "exec('claim = print')\nclaim('a.b', x > 1)",
    "its line by hand": "print('Claim a.b holds: because we say so')",
}
HONEST = {
    "a comparison": "x = f()\nclaim('a.b', x > 1)",
    "an exact number": "claim('a.b', count(net) == 31_030_658 and tuple(out) == (388, 388))",
    "not a number": "claim('a.b', x != 2 and shape != (3, 4) and name != 'air')",
    "a tolerance": "tolerance = 1e-6\nerror = (f(x) - y).abs().max()\nprint(error)\nclaim('a.b', error < tolerance)",
    "the same of another": "claim('a.b', torch.allclose(z.softmax(1), (z + 100).softmax(1)))",
    "the same twice drawn": "a = draw(seed=0)\nb = draw(seed=0)\nclaim('a.b', torch.equal(a, b))",
    "the same by an own function":
        "def draw():\n    return torch.rand(3)\na = draw()\nb = draw()\nclaim('a.b', torch.equal(a, b))",
    "unchanged by a step": "before = net.weight.clone()\nstep(net)\nclaim('a.b', torch.equal(before, net.weight))",
    "unchanged in place": "before = x.clone()\nx.add_(1)\nclaim('a.b', not torch.equal(before, x))",
    "a list filled": "errors = []\nfor x in xs:\n    errors.append(x)\nclaim('a.b', len(errors) == 0)",
    "a set filled": "seen = set()\nseen.add(x)\nclaim('a.b', len(seen) == 0)",
    "zeros filled": "hits = torch.zeros(3)\nfor i in range(3):\n    hits[i] += f(i)\nclaim('a.b', (hits == 1).all())",
    "true until not": "ok = True\nfor x in xs:\n    if x < 1:\n        ok = False\nclaim('a.b', ok)",
    "counted": "wrong = 0\nfor x in xs:\n    wrong += x < 1\nclaim('a.b', wrong == 0)",
    "a global": "hits = 0\ndef count():\n    global hits\n    hits += 1\nrun(count)\nclaim('a.b', hits == 1)",
    "a branch": "ok = True\nif x > 1:\n    ok = f(x)\nclaim('a.b', ok)",
    "at least nothing, below one": "claim('a.b', 0 <= x.norm() < 1)",
    "no loss": "claim('a.b', abs(x - y) < 1e-12 and x.clamp(min=0) > 0)",
    "the smallest of several": "claim('a.b', min(found.values()) > 0, effect=found, control={'none': margins(y)})",
    "a table":
        "e = {'a': x - y, 'b': y - z}\nclaim('a.b', min(e.values()) > 0, effect=e, control={'n': {'a': u, 'b': v}})",
    "own margin":
        "def margin(a):\n    return f(a) - 0.1\n"
        "claim('a.b', margin(x) > 0, effect=margin(x), control={'n': margin(y)})",
    "a row of controls": "claim('a.b', m(x) > 0, effect=m(x), control={name: m(y) for name, y in rivals.items()})",
    "chosen ones": "claim('a.b', all(x > 0 for x in xs if x != 3))",
    "an argument": "def show(x):\n    claim('a.b', x > 1)\nshow(f())",
    "one or the other": "claim('a.b', x > 1 or y > 1)",
    "a recursion": "def depth(n):\n    return depth(n - 1) + depth(n - 2)\nclaim('a.b', depth(x) == 3)",
}


@pytest.mark.parametrize("cell", CHEATS.values(), ids=CHEATS)
def test_a_cheat_is_named(cell):
    assert vacuous(IMPORTS + cell)


@pytest.mark.parametrize("cell", HONEST.values(), ids=HONEST)
def test_an_honest_claim_is_not_named(cell):
    assert vacuous(IMPORTS + cell) == []


def test_names_stand_for_what_an_earlier_cell_bound_them_to():
    earlier = behind("ok = True\ny = x\nz = f(x)", Place())
    assert vacuous("claim('a.b', ok)", before=earlier) == ["line 1: claim a.b has a constant condition"]
    assert vacuous("claim('a.b', y == x)", before=earlier) and not vacuous("claim('a.b', z == x)", before=earlier)
    assert vacuous("claim('a.b', ok)", before=behind("ok = f(ok)", earlier)) == []


def test_the_part_that_cannot_fail_is_named():
    assert vacuous("claim('a.b', y > 1 and len(x) >= 0)") == [
        "line 1: claim a.b has a part that is true whatever was computed, len(x) >= 0"]


@pytest.mark.parametrize("condition, constant, fails", [
    ("x > 1", False, True), ("x or True", False, False), ("2 > 1", True, False), ("1 > 2", True, True),
    ("n", True, True), ("x[0] == x[1]", False, True), ("x.grad == x.grad", False, False), ("f(x)(y)", False, True),
])
def test_a_condition_can_fail(condition, constant, fails):
    place = after(ast.parse("n = 0").body[0], Place())
    node = ast.parse(condition, mode="eval").body
    assert (is_constant(node, place), can_fail(node, place)) == (constant, fails)


def test_reading_ends_and_runs_nothing():
    for heavy in ("10 ** 10 ** 10 > x", "all(i > x for i in range(10 ** 12))", "len([0] * 10 ** 12) > x",
                  "print(x) > exit()"):
        assert can_fail(ast.parse(heavy, mode="eval").body, Place())


@pytest.mark.parametrize("chapter", chapters(), ids=lambda path: path.stem)
def test_no_claim_of_the_book_is_named(chapter):
    before, found = Place(), []
    for cell in cells(chapter):
        if cell.kind == "code":
            found += vacuous(cell.source, before=before)
            before = behind(cell.source, before)
    assert found == []
