"""Somebody else's code is stopped in time, cannot end the kernel, and leaves everything as it was."""
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from medlearn.checks import Case, Check, engine
from medlearn.checks.run import Endless, isolated, limited

X = torch.arange(6.0).reshape(2, 3)


def mean(x):
    return x.mean(dim=1)


TOY = Check("toy.mean", mean, (Case("rows", dict(x=X), "Add along the row.", gradient=("x",)),
                               Case("no rows", dict(x=X[:0]), "None.")))


def state():
    """All that an answer may have changed."""
    return dict(
        dtype=torch.get_default_dtype(), device=torch.get_default_device(), threads=torch.get_num_threads(),
        precision=torch.get_float32_matmul_precision(), deterministic=torch.are_deterministic_algorithms_enabled(),
        anomaly=torch.is_anomaly_enabled(), grad=torch.is_grad_enabled(), inference=torch.is_inference_mode_enabled(),
        benchmark=torch.backends.cudnn.benchmark, folder=os.getcwd(), environment=dict(os.environ), path=list(sys.path),
        filters=list(warnings.filters), numpy=np.get_printoptions(), errors=np.geterr(), stderr=sys.stderr,
        recursion=sys.getrecursionlimit(), torch_random=torch.get_rng_state().tolist(),
        interrupt=signal.getsignal(signal.SIGINT), alarm=signal.getsignal(signal.SIGALRM),
        functions=(torch.softmax, torch.isclose, torch.Tensor.sum, math.log, np.random.rand, print, torch.nn.functional.relu))


def changes_everything(x):
    result = x.mean(dim=1)
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.set_num_threads(torch.get_num_threads() + 2)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True)
    torch.autograd.set_detect_anomaly(True)
    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    os.chdir("/")
    os.environ["HELLO"] = "1"
    sys.path.append("/nowhere")
    warnings.simplefilter("error")
    np.set_printoptions(precision=1)
    np.seterr(all="raise")
    random.seed(9), torch.manual_seed(9), np.random.seed(9)
    sys.stderr = sys.stdout
    sys.setrecursionlimit(sys.getrecursionlimit() + 100)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.softmax = torch.nn.functional.relu = np.random.rand = math.log = torch.isclose = torch.set_rng_state = None
    torch.Tensor.sum = lambda *_: 0
    return result


def test_a_right_answer_that_changes_everything_is_right_and_leaves_all_as_it_was():
    before = state()
    report = TOY.examine(changes_everything)
    after = state()
    assert [name for name in before if before[name] != after[name]] == []
    assert str(report) == "toy.mean: all 2 cases passed."


def test_an_answer_cannot_replace_what_it_is_judged_with():
    def fools(x):
        torch.isclose = lambda a, b, **_: torch.ones_like(a, dtype=torch.bool)
        torch.autograd.grad = lambda *_, **__: (torch.ones(2, 3) / 3,)
        return torch.zeros(2, requires_grad=True) + 0 * x.sum()

    assert TOY.examine(fools).passed == 0


def test_a_folder_that_is_gone_is_left(tmp_path):
    def moves(x):
        os.makedirs(tmp_path / "gone")
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")
        return x.mean(dim=1)

    before = os.getcwd()
    with isolated():
        moves(X)
    assert os.getcwd() == before


def endless(x):
    while True:
        pass


class Stuck(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.mean(dim=1)

    @staticmethod
    def backward(ctx, g):
        while True:
            pass


@pytest.mark.parametrize("answer", [endless, lambda x: time.sleep(60), Stuck.apply],
                         ids=["loop", "sleeps", "gradient"])
def test_an_answer_that_never_ends_is_stopped_and_asked_no_more(answer, monkeypatch):
    monkeypatch.setattr(engine, "LIMIT_S", 0.2)
    start = time.perf_counter()
    report = TOY.examine(answer)
    assert time.perf_counter() - start < 3
    assert (report.passed, report.total) == (0, 2)
    assert "It had not ended after 0.2 s, and was stopped." in str(report)
    assert "Is there a loop" in str(report) and "in line" in str(report)


def test_a_check_may_allow_another_time():
    slow = Check(TOY.id, TOY.reference, TOY.cases, limit_s=0.2)
    assert "It had not ended after 0.2 s" in str(slow.examine(lambda x: time.sleep(5)))


def test_a_limit_leaves_somebody_elses_timer_going():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(Endless), limited(0.05):
            time.sleep(0.2)
        time.sleep(0.4)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_where_no_answer_can_be_stopped_a_warning_says_so():
    found = []

    def elsewhere():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found.append(str(TOY.examine(mean)))
        found.extend(str(one.message) for one in caught)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == ["toy.mean: all 2 cases passed.",
                     "an answer that never ends cannot be stopped here: interrupt the kernel if it takes too long"]


@pytest.mark.parametrize("door, said", [
    (lambda: os._exit(3), "It would end the whole notebook, with os._exit."),
    (lambda: os.abort(), "It would end the whole notebook, with os.abort."),
    (lambda: sys.exit(3), "It raised SystemExit: 3"),
], ids=["_exit", "abort", "exit"])
def test_no_answer_ends_the_kernel(door, said):
    before = os._exit, os.abort
    assert said in str(TOY.examine(lambda x: door()))
    assert (os._exit, os.abort) == before


def test_exit_of_a_notebook_does_not_end_it():
    code = ("from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance(); ended = [];"
            "S.ask_exit = lambda self: ended.append(1)\n"
            "from medlearn import checks\n"
            "r = checks.examine('tasks.volume', lambda mask, affine: s.ask_exit())\n"
            "print('with exit' in str(r), ended); s.ask_exit(); print(ended)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split("\n")[-3:-1] == ["True []", "[1]"]


def test_a_shell_that_cannot_be_left_is_no_obstacle():
    code = ("from IPython.core.interactiveshell import InteractiveShell as S; s = S.instance()\n"
            "assert not hasattr(s, 'ask_exit')\n"
            "from medlearn import checks\n"
            "print(checks.examine('tasks.volume', lambda mask, affine: 0.0), hasattr(s, 'ask_exit'))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("False\n") and "tasks.volume" in out


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_process_may_end():
    def forks(x):
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        return x.mean(dim=1)

    with isolated():
        forks(X)
