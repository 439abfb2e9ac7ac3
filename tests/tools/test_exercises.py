"""Exercises from one source: a stub keeps what a student needs, not the answer; later cells never lean on one."""
import ast

import pytest
from chapters import Cell
from exercises import YOUR_TURN, check_ids, hintless, leaning, stub, unanswered, unsolved
from nbformat.v4 import new_code_cell, new_notebook, new_output


@pytest.mark.parametrize("solution, left", [
    ('def f(x):\n    return x\n\ncheck("a.b", f)', f'def f(x):\n    {YOUR_TURN}\n\n\ncheck("a.b", f)'),
    ("def f(x): return x", f"def f(x):\n    {YOUR_TURN}"),
    ('def f(x):\n    """What it gives."""\n    # the trick\n    return x',
     f'def f(x):\n    """What it gives."""\n    {YOUR_TURN}'),
    ('def f(x):  # the trick\n    # more of it\n    """What é gives.\n\n    And more.\n    """; y = 1\n    return y',
     f'def f(x):\n    """What é gives.\n\n    And more.\n    """\n    {YOUR_TURN}'),
    ("@torch.no_grad()\n@cache\ndef f(x: dict[str, int] = {1: 2},\n      *, y=lambda z: 3) -> 'a:b':\n    return x",
     "@torch.no_grad()\n@cache\ndef f(x: dict[str, int] = {1: 2},\n      *, y=lambda z: 3) -> 'a:b':\n"
     f"    {YOUR_TURN}"),
    ("async def f():\n    return 1", f"async def f():\n    {YOUR_TURN}"),
    ("import torch\nfrom math import pi\nK = 3\nprint(K)\nfor i in x:\n    pass", "import torch\nfrom math import pi"),
    ("import torch\n\ndef f():\n    def inner():\n        pass\n    return inner",
     f"import torch\n\n\ndef f():\n    {YOUR_TURN}"),
    ('class Net(Module):\n    """A net."""\n    k: int = 3\n    scale = 17\n\n'
     '    def __init__(self):\n        self.x = 1\n\n'
     '    def forward(self, x):\n        """Go."""\n        return x\n\nmedlearn.check("a.b", Net)',
     f'class Net(Module):\n    """A net."""\n    k: int = 3\n\n    def __init__(self):\n        {YOUR_TURN}\n\n'
     f'    def forward(self, x):\n        """Go."""\n        {YOUR_TURN}\n\n\nmedlearn.check("a.b", Net)'),
    ("class E(Exception):\n    pass", "class E(Exception):\n    ..."),
    ("x = 1", ""),
])
def test_a_stub_is_what_is_left_of_a_solution(solution, left):
    assert stub(solution) == left
    ast.parse(left)


def test_a_stub_prints_what_an_unattempted_answer_prints():
    code = 'def f():\n    return 1\ncheck("a.b", f)\ncheck("a.c", f)\ncheck(name, f)\ny = check("a.d", f)'
    assert check_ids(code) == ["a.b", "a.c"]
    assert unanswered(code, lambda id: f"{id}: not yet") == "a.b: not yet\na.c: not yet\n"


def chapter(*codes: str) -> list[Cell]:
    """Cells; one that begins with `#!` is a solution."""
    return [Cell("markdown", "text", {}, 1),
            *(Cell("code", code, {"tags": ["solution"] if code.startswith("#!") else []}, 1) for code in codes)]


@pytest.mark.parametrize("codes, found", [
    (["#! \ndef f():\n    return 1", "f()"], [(2, 1, "f")]),
    (["#! \ndef f():\n    return 1\nK = 3", "def g():\n    return f() + K"], [(2, 1, "K"), (2, 1, "f")]),
    (["#! \ndef f():\n    return 1", "#! \ndef g():\n    return f()"], [(2, 1, "f")]),
    (["def f():\n    return 1", "#! \ndef f():\n    return 2", "f()"], [(3, 2, "f")]),
    (["#! \nfor i in range(3):\n    pass", "[i for i in range(3)]", "print(lambda i: i)"], []),
    (["#! \ndef f():\n    return 1", "def f():\n    return 2", "f()"], []),
    (["#! \nimport torch", "torch.ones(1)"], []),
    (["#! \ndef f():\n    inner = 1", "inner"], []),
    (["f = 1", "f"], []),
    ([], []),
])
def test_a_cell_that_takes_a_name_from_a_solution_is_found(codes, found):
    assert leaning(chapter(*codes)) == found


ASKED = "::::{exercise} Double\n:label: one-double\nWrite it.\n::::\n"
ASKED_WITHIN = "::::{exercise} Double\n:label: one-double\nWrite it.\n\n"
HINT = ":::{admonition} Hint 1 of 2: where to look\n:class: dropdown\nLook.\n:::\n"


@pytest.mark.parametrize("texts, found", [
    ([ASKED + HINT], []),
    (["text\n\n" + ASKED, "text\n" + HINT], []),
    ([ASKED_WITHIN + HINT + "::::\n"], []),
    ([ASKED + ":::{hint}\n:class: dropdown\nLook.\n:::\n"], []),
    (["text\n\n" + ASKED], [(3, "one-double")]),
    ([ASKED + ":::{admonition} Hint\nLook.\n:::\n"], [(1, "one-double")]),
    ([ASKED + ":::{admonition} Answer\n:class: dropdown\nIt is.\n:::\n"], [(1, "one-double")]),
    ([HINT + ASKED], [(5, "one-double")]),
    ([ASKED + ASKED + HINT + HINT], [(1, "one-double")]),
    ([ASKED + HINT + ASKED + "text"], [(9, "one-double")]),
    ([HINT], []),
    ([], []),
])
def test_an_exercise_without_a_folded_hint_behind_it_is_found(texts, found):
    cells = [cell for text in texts for cell in (Cell("markdown", text, {}, 1), Cell("code", "x = 1", {}, 1))]
    assert hintless(cells) == found


@pytest.mark.parametrize("said, complaint", [
    ("a.b: all 7 cases passed.\n", []),
    ("hello\na.b: all 1 cases passed.\n", []),
    ("a.b: not attempted yet.\n", ["code cell 2: the check a.b did not pass (a.b: not attempted yet.)"]),
    ("a.b: 3 of 7 cases passed.\n  ...", ["code cell 2: the check a.b did not pass (a.b: 3 of 7 cases passed.)"]),
    ("a.bc: all 7 cases passed.\n", ["code cell 2: the check a.b did not pass (a.bc: all 7 cases passed.)"]),
    ("", ["code cell 2: the check a.b did not pass (it printed nothing)"]),
])
def test_a_solution_whose_check_did_not_pass_is_named(said, complaint):
    outputs = [new_output("stream", text=said)] if said else []
    notebook = new_notebook(cells=[new_code_cell("x = 1"), new_code_cell('check("a.b", f)', outputs=outputs)])
    assert unsolved(notebook) == complaint


def test_a_cell_where_the_student_begins_need_not_pass():
    cell = new_code_cell('check("a.b", f)', outputs=[new_output("stream", text="a.b: 1 of 7 cases passed.\n")])
    cell.metadata["tags"] = ["starter"]
    assert unsolved(new_notebook(cells=[cell])) == []


def test_the_checks_say_what_the_tools_read():
    """Engine and tools agree on the two sentences."""
    from medlearn.checks import Case, Check, not_attempted
    one = Check("a.b", reference=abs, cases=(Case("one", {"x": -1.0}, "none"),))
    notebook = new_notebook(cells=[new_code_cell('check("a.b", abs)',
                                                 outputs=[new_output("stream", text=f"{one.examine(abs)}\n")])])
    assert unsolved(notebook) == []

    scope = {}
    exec(stub("def f(x):\n    return x"), scope)
    assert str(one.examine(scope["f"])) == not_attempted("a.b")
