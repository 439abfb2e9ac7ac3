"""Every public function and class that takes tensors, on the GPU beside the CPU: the same answers, and on the GPU."""
import numpy as np
import pytest
import torch

from helpers.api import ANSWERS, CALLS, NO_TENSORS
from helpers.api.places import Place, parts
from helpers.public_names import public

VARIANTS = [pytest.param(name, what, id=f"{name}-{what}".rstrip("-"))
            for name, calls in CALLS.items() for what in calls]
COMES_TO_THE_CPU = {"metrics.surface_report"}               # SciPy makes it there
OTHER_NUMBERS = {"runtime.autocast", "uncertainty.mc_dropout"}      # of another precision; drawn where the network is


def test_every_public_name_is_called_or_said_to_take_no_tensor():
    names = {name for name, _ in public()}
    assert names == CALLS.keys() | NO_TENSORS | ANSWERS
    assert len(CALLS) + len(NO_TENSORS) + len(ANSWERS) == len(names), "a name stands in two places"


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """TF32 rounds to three digits, and would hide what is wrong in the fourth."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.gpu
@pytest.mark.parametrize("name, what", VARIANTS)
def test_the_gpu_gives_the_same_as_the_cpu(name, what):
    here, there = Place("cpu"), Place("cuda")
    expected, got = CALLS[name][what](here), CALLS[name][what](there)
    check_same(got, expected, on="cpu" if name in COMES_TO_THE_CPU else "cuda",
               numbers=name not in OTHER_NUMBERS)
    if there.drew:
        answer = CALLS[name][what](Place("cuda", generator="cuda"))         # other numbers, of the same kind
        check_same(answer, expected, on="cuda", numbers=False)


def check_same(got, expected, on, numbers=True):
    got, expected = parts(got), parts(expected)
    assert len(got) == len(expected)
    largest = max([x.detach().abs().nan_to_num(0, 0, 0).max().item() for x in expected
                   if isinstance(x, torch.Tensor) and x.numel() and x.dtype.is_floating_point], default=1)
    for a, b in zip(got, expected):
        assert type(a) is type(b) or isinstance(a, torch.Tensor), f"{type(a)} instead of {type(b)}"
        if isinstance(a, torch.Tensor):
            assert a.device.type == on, f"an answer on {a.device}, not on {on}"
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if numbers and isinstance(a, (torch.Tensor, float, np.ndarray)):
            a, b = (x.detach().cpu() if isinstance(x, torch.Tensor) else torch.as_tensor(x) for x in (a, b))
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * largest, equal_nan=True)
        elif not isinstance(a, (torch.Tensor, float, np.ndarray)):
            assert a == b
