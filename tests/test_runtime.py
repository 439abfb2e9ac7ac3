"""The scale and the device: who decides, what is said, what is refused."""
import subprocess
import sys

import pytest
import torch

from medlearn import runtime
from medlearn.base import private


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv("MEDLEARN_SCALE", raising=False)
    monkeypatch.setattr(runtime, "_chosen", None)


def machine(monkeypatch, cuda=False, mps=False, colab=False):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    if cuda:
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: "Tesla T4")
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: type("P", (), {"total_memory": 15.8e9}))
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    else:
        monkeypatch.delitem(sys.modules, "google.colab", raising=False)


@pytest.mark.parametrize("cuda", [True, False])
def test_the_scale_is_quick_on_every_machine(monkeypatch, cuda):
    machine(monkeypatch, cuda=cuda)
    assert runtime.scale() == "quick"


def test_the_environment_decides_over_the_default(monkeypatch):
    machine(monkeypatch)
    monkeypatch.setenv("MEDLEARN_SCALE", "full")
    assert runtime.scale() == "full"
    monkeypatch.setenv("MEDLEARN_SCALE", "")        # an empty variable is no choice
    assert runtime.scale() == "quick"


def test_a_study_trains_with_a_multiple_of_the_budget(monkeypatch, refused):
    monkeypatch.delenv("MEDLEARN_BUDGET", raising=False)
    assert runtime.steps(quick=160, full=4000) == 160
    monkeypatch.setenv("MEDLEARN_BUDGET", "4")
    assert runtime.steps(quick=160, full=4000) == 640
    monkeypatch.setenv("MEDLEARN_BUDGET", "0.001")
    assert runtime.steps(quick=160, full=4000) == 1         # never none at all
    monkeypatch.setenv("MEDLEARN_SCALE", "full")
    monkeypatch.setenv("MEDLEARN_BUDGET", "0.5")
    assert runtime.steps(quick=160, full=4000) == 2000
    for wrong in ("much", "0", "-1", "inf", "nan"):
        monkeypatch.setenv("MEDLEARN_BUDGET", wrong)
        with refused(f"MEDLEARN_BUDGET: expected a number above zero, got '{wrong}'"):
            runtime.steps(quick=160, full=4000)


def test_the_reader_decides_over_both(monkeypatch):
    monkeypatch.setenv("MEDLEARN_SCALE", "quick")
    runtime.set_scale("full")
    assert runtime.scale() == "full"
    runtime.set_scale(None)
    assert runtime.scale() == "quick"


@pytest.mark.parametrize("name", runtime.SCALES)
def test_values_by_scale(name):
    runtime.set_scale(name)
    assert runtime.scale(quick="quick", full="full") == name
    assert runtime.scale(quick=None, full=None) is None     # None is a value like any other


def test_wrong_scales_are_refused(monkeypatch, refused):
    with refused('set_scale: expected "quick" or "full", got \'fast\''):
        runtime.set_scale("fast")
    monkeypatch.setenv("MEDLEARN_SCALE", "Full")
    with refused('MEDLEARN_SCALE: expected "quick" or "full", got \'Full\''):
        runtime.scale()


def test_half_a_pair_is_refused(refused):
    with refused("expected both quick= and full=.* got only quick="):
        runtime.scale(quick=1)
    with refused("got only full="):
        runtime.scale(full=1)


@pytest.mark.parametrize("found, kind, words", [
    (dict(cuda=True, mps=True), "cuda", "GPU: Tesla T4, 16 GB."),
    (dict(mps=True), "mps", "GPU: Apple (mps)."),
    (dict(colab=True), "cpu", "Runtime > Change runtime type > T4 GPU"),
    (dict(), "cpu", "All chapters run on it in the quick scale."),
])
def test_device_says_in_one_line_what_it_found(monkeypatch, capsys, found, kind, words):
    machine(monkeypatch, **found)
    assert runtime.device() == torch.device(kind)
    out = capsys.readouterr().out
    assert words in out and out.count("\n") == 1
    runtime.device(verbose=False)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("capability, fast", [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_mixed_precision_where_a_gpu_has_bfloat16(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime._has_bfloat16(torch.device("cuda")) is fast


@pytest.mark.parametrize("capability, name", [((6, 1), "fp32"), ((7, 5), "fp32"), ((8, 0), "bf16")])
def test_the_precision_of_a_gpu(monkeypatch, capability, name):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert runtime.precision(torch.device("cuda")) == name


@pytest.mark.parametrize("native, name", [(True, "bf16"), (False, "fp32")])
def test_the_precision_of_a_cpu(monkeypatch, native, name):
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: native)
    assert runtime.precision(torch.device("cpu")) == name


@pytest.mark.parametrize("avx512, amx, onednn", [
    (False, False, True), (True, False, True), (False, True, True), (True, True, False),
])
def test_mixed_precision_where_a_cpu_has_bfloat16_and_may_use_it(monkeypatch, avx512, amx, onednn):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    monkeypatch.setattr(private, "onednn_has_bfloat16", lambda: onednn)
    with runtime.autocast(torch.device("cpu")):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if (avx512 or amx) and onednn else torch.float32)


def test_mixed_precision_is_off_where_nothing_is_known(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert not runtime._has_bfloat16(torch.device("cpu")) and not runtime._has_bfloat16(torch.device("mps"))


def test_importing_it_does_not_import_torch():
    code = "import sys, medlearn; medlearn.scale, medlearn.device; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
def test_on_a_gpu():
    assert runtime.device(verbose=False).type == "cuda" and runtime.scale() == "quick"
    torch.zeros(1, device=runtime.device(verbose=False))
