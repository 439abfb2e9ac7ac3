"""What a student reads: each kind of wrong answer gets its own words, none of them raises, and nothing stays behind."""
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import medlearn
from medlearn.checks import Case, Check, check, engine, examine, not_attempted, registered
from medlearn.checks.run import isolated


def mean(x):
    return x.mean(dim=1)


X = torch.arange(6.0).reshape(2, 3)
TOY = Check("toy.mean", mean, (
    Case("one row", dict(x=X[:1]), "Add along the row."),
    Case("two rows", dict(x=X), "Each row has a mean of its own.", gradient=("x",)),
    Case("no rows", dict(x=X[:0]), "No rows have no means."),
))


def text(answer, toy=TOY):
    return str(toy.examine(answer))


def test_a_right_answer_gets_one_line():
    assert text(lambda x: x.sum(1) / x.shape[1]) == "toy.mean: all 3 cases passed."


def test_check_prints_the_report_and_returns_nothing(capsys):
    reference = registered()["tasks.offsets"].reference
    assert check("tasks.offsets", reference) is None
    assert capsys.readouterr().out == f"{examine('tasks.offsets', reference)}\n" == "tasks.offsets: all 7 cases passed.\n"
    assert medlearn.check is check


def test_the_whole_text_of_a_failure():
    assert text(lambda x: x.mean().expand(len(x))) == """\
toy.mean: 2 of 3 cases passed.
The first that did not: two rows.
  2 of 2 values differ, the first at [0]: expected 1, got 2.5.
    x         float32 (2, 3)
              0 1 2
              3 4 5
    expected  float32 (2,): [1, 4]
    got       float32 (2,): [2.5, 2.5]
  Hint: Each row has a mean of its own."""


def test_the_report_as_data():
    report = TOY.examine(lambda x: x.mean().expand(len(x)))
    assert (report.id, report.passed, report.total) == ("toy.mean", 2, 3)
    assert (report.failure.case, report.failure.hint) == ("two rows", "Each row has a mean of its own.")


def hand_over(x):
    return x.numpy().mean(1)


def in_place(x):
    x *= 2
    return x.mean(dim=1) / 2


def exits(x):
    sys.exit(1)


def deep(x):
    return deep(x)


class Spiteful:
    def __repr__(self):
        raise RuntimeError("no")

    def __eq__(self, other):
        raise RuntimeError("no")


@pytest.mark.parametrize("answer, said", [
    (lambda x: None, ["It gave None.", "forget to `return`"]),
    (hand_over, ["a NumPy array of shape (1,)", "torch.from_numpy"]),
    (lambda x: x.mean(dim=1).tolist(), ["Expected a tensor, got list."]),
    (lambda x: x.mean(dim=1).double(), ["Expected float32, got float64."]),
    (lambda x: x.mean(dim=1).long(), ["Expected float32, got int64."]),
    (lambda x: x.mean(dim=1).to(torch.complex64), ["Expected float32, got complex64."]),
    (lambda x: x.mean(dim=1, keepdim=True), ["Expected shape (1,), got (1, 1).", "Add along the row."]),
    (lambda x: x.mean(dim=0), ["Expected shape (1,), got (3,)."]),
    (lambda x: x.mean(dim=1) / 0 * 0, ["1 of 1 values are NaN."]),
    (lambda x: x.mean(dim=1).to("meta"), ["Expected a tensor on cpu, got one on meta.", "device=x.device"]),
    (lambda x: x.mean(dim=1).to_sparse(), ["dense tensor", "to_dense"]),
    (lambda x: x.mean(dim=1).detach(), ["two rows", "no gradient flows back", "cut the graph"]),
    (lambda x: torch.tensor(x.mean(dim=1).tolist()), ["two rows", "no gradient flows back"]),
    (lambda x: x.mean(dim=1) + 0 * x.detach().sum(), ["all 3 cases passed"]),
    (lambda x: x.mean(dim=1).detach() + (x - x.detach()).sum(dim=1), ["the gradient by `x` is not. 6 of 6 values differ"]),
    (lambda x: x.detach().mean(dim=1) + 0 * torch.zeros(1, requires_grad=True), ["the gradient by `x` is cut"]),
    (in_place, ["changed its input `x`", ".clone()"]),
    (lambda x: x.unsqueeze_(0).mean(dim=2)[0], ["changed its input `x`"]),
    (lambda x: x.maen(dim=1), ["raised AttributeError: 'Tensor' object has no attribute 'maen'", "Add along the row."]),
    (lambda x, y: x, ["raised TypeError", "called with 1 of these, in this order: x"]),
    (lambda x: 1 / 0, ["raised ZeroDivisionError: division by zero"]),
    (exits, ["raised SystemExit: 1"]),
    (deep, ["raised RecursionError"]),
    (lambda x: Spiteful(), ["Expected a tensor, got Spiteful.", "whose repr fails"]),
    (lambda x: print("here", x.shape), ["printed   here torch.Size([1, 3])"]),
    (lambda x: ..., ["Expected a tensor, got ellipsis."]),
    (X, ["expected a function or a class, got float32 (2, 3)", 'check("toy.mean", mean)']),
    (None, ["expected a function or a class, got None"]),
    (3.5, ["expected a function or a class, got 3.5"]),
], ids=["none", "numpy", "list", "double", "long", "complex", "keepdim", "wrong axis", "nan", "device", "sparse", "detached",
        "rebuilt", "harmless detach", "wrong gradient", "cut gradient", "in place", "reshaped in place", "attribute error",
        "arguments", "zero division", "exit", "recursion", "spiteful", "prints", "dots", "a result", "nothing", "number"])
def test_each_kind_of_wrong_answer_has_its_words(answer, said):
    before = sys.stdout
    first = text(answer)
    assert [part for part in said if part not in first] == [], first
    assert text(answer) == first and sys.stdout is before
    assert " at 0x" not in first and first == first.rstrip()


def test_an_error_names_the_line_of_the_students_own_code():
    source = "def helper(x):\n    return x.mean(dim=7)\n\ndef answer(x):\n    y = x + 1\n    return helper(y)\n"
    space = {}
    exec(compile(source, "<ipython-input-1-abc>", "exec"), space)
    assert "raised IndexError" in text(space["answer"]) and "in line 2" in text(space["answer"])

    def through_a_library(x):
        return nn.Linear(5, 1)(x)

    line = through_a_library.__code__.co_firstlineno + 1
    assert f"in line {line}: return nn.Linear(5, 1)(x)" in text(through_a_library)


def stub(x):
    raise NotImplementedError("your turn")


class StubModule(nn.Module):
    def forward(self, x):
        raise NotImplementedError


def test_a_stub_is_not_attempted(capsys):
    check("tasks.volume", lambda mask, affine: stub(mask))
    assert capsys.readouterr().out == f"{not_attempted('tasks.volume')}\n" == "tasks.volume: not attempted yet.\n"
    assert text(StubModule()) == not_attempted("toy.mean")
    report = TOY.examine(stub)
    assert (report.passed, report.failure) == (0, None)


def test_what_pytorch_cannot_do_is_an_attempt():
    def fails_inside_torch(x):
        return x.to_sparse().median()

    def as_pytorch_says_it(x):
        return nn.Module()(x)                                  # a module without forward raises it in PyTorch's code

    assert "raised NotImplementedError: Could not run" in text(fails_inside_torch)
    assert "raised NotImplementedError" in text(as_pytorch_says_it)


def test_a_stub_behind_the_first_case_is_an_attempt():
    report = TOY.examine(lambda x: x.mean(dim=1) if len(x) == 1 else stub(x))
    assert report.passed == 1 and "raised NotImplementedError: your turn" in str(report)


def test_random_numbers_gradients_and_printing_are_as_before(capsys):
    def greedy(x):
        torch.manual_seed(5), np.random.seed(5)
        torch.set_grad_enabled(False)
        sys.stdout = sys.stderr
        raise ValueError("after all that")

    stdout, state = sys.stdout, (torch.get_rng_state(), np.random.get_state()[1].tolist())
    assert "after all that" in text(greedy)
    assert torch.equal(torch.get_rng_state(), state[0]) and np.random.get_state()[1].tolist() == state[1]
    assert torch.is_grad_enabled() and sys.stdout is stdout
    assert capsys.readouterr().out == ""


def test_pythons_own_random_numbers_are_as_before():
    random.seed(7)                                              # asked below the engine: the tests' type checks draw too
    before = random.getstate()
    with isolated():
        first = random.random()
    with isolated():
        assert random.random() == first
    assert random.getstate() == before


def test_a_random_answer_is_judged_the_same_way_every_time():
    first = text(lambda x: torch.rand(len(x)))
    torch.rand(1)
    assert text(lambda x: torch.rand(len(x))) == first


def test_an_interrupt_ends_the_check_and_leaves_printing_as_it_was():
    def interrupted(x):
        raise KeyboardInterrupt

    before = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        TOY.examine(interrupted)
    assert sys.stdout is before


def test_no_answer_sees_what_another_did_to_the_inputs():
    text(in_place)
    assert torch.equal(TOY.cases[1].inputs["x"], torch.arange(6.0).reshape(2, 3)) and "all 3" in text(mean)


def test_gradients_are_asked_for_where_they_are_off():
    with torch.no_grad():
        assert text(mean) == "toy.mean: all 3 cases passed."


def test_the_text_does_not_follow_print_options():
    before = text(in_place)
    torch.set_printoptions(precision=1, sci_mode=True)
    try:
        assert text(in_place) == before
    finally:
        torch.set_printoptions(profile="default")


class Scale(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x):
        return x * self.weight


def build_and_use(answer, channels, x):
    return answer(channels)(x)


def test_a_class_can_be_the_answer():
    classes = Check("toy.scale", Scale, (
        Case("values", dict(channels=3, x=X), "One weight a channel.", run=build_and_use, gradient=("x",)),
        Case("parameters", dict(channels=3), "Weights are learnt.", run=lambda answer, n: len(list(answer(n).parameters()))),
    ))

    class Fixed(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.weight = torch.ones(channels)

        forward = Scale.forward

    assert text(Scale, classes) == "toy.scale: all 2 cases passed."
    assert "1 of 2" in text(Fixed, classes) and "Weights are learnt." in text(Fixed, classes)
    assert "missing the required \"forward\"" in text(lambda n: nn.Module(), classes)


def test_who_passes_sees_what_was_reached():
    def reached(answer, x):
        print("on the way")
        print(f"a score of {answer(x)}")
        return True

    scored = Check("toy.score", lambda x: 2 * x, (Case("by score", dict(x=3), "More.", run=reached),
                                                  Case("by value", dict(x=4), "Twice.")))
    assert text(lambda x: x + x, scored) == "toy.score: all 2 cases passed.\n  by score: a score of 6"


def test_where_bars_are_stated_the_reference_is_not_asked_and_each_has_to_be_cleared():
    asked = []

    def reference(x):
        asked.append(x)
        return x

    def high_and_wide(answer, x):
        return {"high": answer(x) > 1, "wide": answer(x) > 3}

    bars = ("high", "wide")
    check = Check("toy.good", reference, (Case("two", dict(x=2), "More.", run=high_and_wide, bars=bars),))
    assert text(lambda x: 2 * x, check) == "toy.good: all 1 cases passed." and not asked
    assert "['wide']" in text(reference, check) and asked


def test_an_unknown_id_names_the_nearest(refused):
    with pytest.raises(ValueError, match="got 'tasks.volum'. Near it: tasks.volume"):
        check("tasks.volum", mean)
    for id in ("nosuch.volume", "engine.check", "", 3, None):
        with refused("expected that of an exercise, got"):
            check(id, mean)


def test_a_check_needs_cases_with_names_of_their_own():
    for cases in ((), (TOY.cases[0], TOY.cases[0])):
        with pytest.raises(ValueError, match="cases: expected at least one"):
            Check("toy.none", mean, cases)


def test_a_chapter_is_loaded_when_it_is_asked_for():
    code = ("import sys, medlearn.checks; print(sorted({'matplotlib', 'medlearn.checks.tasks'} & set(sys.modules)));"
            "medlearn.checks.check('tasks.volume', None); print('medlearn.checks.tasks' in sys.modules)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "[]" and out[-1] == "True"


def test_a_case_has_passed_when_it_did_on_every_device(monkeypatch):
    monkeypatch.setattr(engine, "_devices", lambda: ["cpu", "meta"])
    report = TOY.examine(lambda x: x.mean(dim=1) if x.device.type == "cpu" else x.tolist())
    assert report.passed == 0 and "The first that did not: one row, on meta." in str(report)


@pytest.mark.gpu
def test_an_answer_that_stays_on_the_cpu_fails_on_the_gpu():
    assert text(mean) == "toy.mean: all 3 cases passed."
    said = text(lambda x: x.cpu().mean(dim=1))
    assert "one row, on cuda." in said and "Expected a tensor on cuda:0, got one on cpu." in said
