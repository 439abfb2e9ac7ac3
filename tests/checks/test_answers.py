"""Every registered check accepts what is right, rejects what is wrong, and does so at the case that is meant for it."""
from importlib import import_module

import pytest
import torch
from helpers.answers import RIGHT, WRONG, accepted_slips, faults

from medlearn.checks import Case, Check, registered
from medlearn.tasks import region_measures

IDS = list(registered())
for chapter in sorted({id.split(".")[0] for id in IDS}):
    import_module(f"helpers.answers.{chapter}")


@pytest.mark.parametrize("id", IDS)
def test_a_check_tells_right_from_wrong(id):
    assert faults(registered()[id], RIGHT[id], WRONG[id]) == []


# these ask for a loss, a network, a plan or a folder of files, and have such answers of their own
HANDED_IN = ("rare.", "eye.", "noise.", "capstone.")


@pytest.mark.parametrize("id", [id for id in IDS if not id.startswith(HANDED_IN)])
def test_what_students_write_in_every_exercise_is_rejected(id):
    assert accepted_slips(registered()[id]) == []


def test_every_answer_belongs_to_a_check():
    assert IDS and {*RIGHT, *WRONG} <= set(IDS)


@pytest.mark.parametrize("id", IDS)
def test_hints_and_names_are_written_for_a_reader(id):
    for case in registered()[id].cases:
        assert case.hint.strip() == case.hint and case.hint[0].isupper() and case.hint[-1] in ".?", case.name
        assert case.name.strip() == case.name and len(case.hint) < 250


def twice(x: torch.Tensor) -> torch.Tensor:
    return 2 * x


def squared(x):
    return x * x


def test_a_check_that_is_too_lax_is_named():
    lax = Check("toy.twice", twice, (Case("two", dict(x=torch.tensor([0.0, 2.0])), "Twice."),))
    right = {"added": lambda x: x + x, "multiplied": lambda x: x * 2, "divided": lambda x: x / 0.5}
    wrong = {"squared": (squared, "two"), **{f"plus {n}": (lambda x, n=n: x + n, "two") for n in range(1, 10)}}
    assert faults(lax, right, wrong) == ["toy.twice accepts squared, which is wrong"]
    strict = Check("toy.twice", twice, (*lax.cases, Case("three", dict(x=torch.tensor(3.0)), "Twice.")))
    assert faults(strict, right, {**wrong, "squared": (squared, "three")}) == []


def test_all_that_can_speak_against_a_check_is_said():
    check = Check("toy.twice", twice, (Case("two", dict(x=torch.tensor(2.0)), "Twice."),
                                       Case("none", dict(x=torch.zeros(0)), "An empty one.")))
    found = faults(check, {"squared less one": lambda x: x * x - 1}, {"thrice": (lambda x: 3 * x, "none")})
    assert found == ["toy.twice has 1 right answers, expected at least 3",
                     "toy.twice has 1 wrong answers, expected at least 10",
                     "toy.twice rejects squared less one at 'two': The value is another.",
                     "toy.twice rejects thrice at 'two', expected at 'none'",
                     "toy.twice has a case that no wrong answer fails: 'none'"]


def test_a_check_that_accepts_a_slip_is_named():
    cases = Case("two", dict(x=torch.tensor(2.0)), "Twice."), Case("three", dict(x=torch.tensor(3.0)), "Twice.")
    assert accepted_slips(Check("toy.twice", twice, cases[:1])) == ["always_what_the_first_case_gave"]
    assert accepted_slips(Check("toy.twice", twice, cases)) == []
    never_looked_at = Case("two", dict(x=torch.tensor(2.0)), "Twice.", run=lambda answer, x: answer(x.clone()) and None)
    assert "inputs_changed" in accepted_slips(Check("toy.twice", twice, (never_looked_at,)))


# ---------------------------------------------------------------------------------------------------------------------
# The references themselves, against other sources

def reference(id):
    return registered()[id].reference


def inputs(id):
    return [case.inputs for case in registered()[id].cases]


def test_millilitres_agree_with_the_package_and_with_a_known_ball():
    for given in inputs("tasks.volume"):
        measured = region_measures(given["mask"].long(), given["affine"])
        known = measured[1].volume_ml if measured else 0.0
        assert reference("tasks.volume")(**given) == pytest.approx(known)
    axis = torch.arange(-20, 21) * 0.5
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    affine = torch.diag(torch.tensor([0.5, 0.5, 0.5, 1.0], dtype=torch.float64))
    ball = x ** 2 + y ** 2 + z ** 2 <= 81
    assert reference("tasks.volume")(ball, affine) == pytest.approx(4 / 3 * torch.pi * 0.729, rel=0.01)


def test_overlaps_by_hand():
    prediction, target = torch.tensor([[1, 1, 0], [2, 2, 2]]), torch.tensor([[1, 0, 0], [2, 2, 1]])
    assert torch.allclose(reference("tasks.iou_matrix")(prediction, target), torch.tensor([[1 / 3, 0], [1 / 4, 2 / 3]]))


def test_arrows_by_hand():
    arrows = reference("tasks.offsets")(torch.tensor([[1, 1, 0], [2, 0, 2]]))
    assert arrows.tolist() == [[[0, 0, 0], [0, 0, 0]], [[0.5, -0.5, 0], [1, 0, -1]]]


def test_maps_of_things_have_no_gaps():
    for id in ("tasks.iou_matrix", "tasks.offsets"):
        for given in inputs(id):
            for name in {"prediction", "target", "things"} & set(given):
                present = given[name].unique()
                assert set(range(1, int(present.max()) + 1)) <= set(present.tolist()), (id, name)


def test_a_scaler_s_factors_are_torch_s():
    for given in inputs("volumes.loss_scales"):
        scaler = torch.amp.GradScaler("cpu", init_scale=given["start"], growth_interval=given["patience"])
        theirs = []
        for bad in given["overflowed"]:
            weight = torch.nn.Parameter(torch.ones(()))
            optimizer = torch.optim.SGD([weight], lr=0.0)
            theirs.append(scaler.get_scale())
            scaler.scale(weight * (torch.inf if bad else 1.0)).backward()
            scaler.step(optimizer)
            scaler.update()
        ours = reference("volumes.loss_scales")(**given)
        assert ours == [max(scale, 1.0) for scale in theirs]               # torch's has no floor


def test_a_merged_gradient_is_that_of_one_mean():
    x, w = torch.randn(10, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64, requires_grad=True)
    whole, = torch.autograd.grad((x @ w).tanh().mean(), w)
    shares = [torch.autograd.grad((part @ w).tanh().mean(), w)[0] for part in (x[:7], x[7:7], x[7:])]
    assert shares[1].isnan().any() or not shares[1].any()
    assert torch.allclose(reference("volumes.merge")(torch.stack(shares), torch.tensor([7, 0, 3])), whole)


# a TransUNet is a network of slices, and some exercises take rows of numbers
FLAT = ("transunet.", "learning.", "judging.", "shift.", "tool.", "eye.", "noise.")


@pytest.mark.parametrize("id", [id for id in IDS if not id.startswith(FLAT)])
def test_there_are_cases_in_three_dimensions_and_empty_ones(id):
    values = [value for given in inputs(id) for name, value in given.items()
              if isinstance(value, torch.Tensor) and name != "affine"]
    assert not values or any(value.ndim in (3, 5) for value in values)     # some take numbers alone
    assert not values or any(not value.any() for value in values)
