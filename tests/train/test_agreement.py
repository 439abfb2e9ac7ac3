"""Processes that start from different things are told so, all of them alike, before the first step."""
import os
import subprocess
import sys

import pytest
import torch
from helpers import tiny

from medlearn.train.agreement import check_processes_agree, unequal

TOLD = {
    "recipe": "learning_rate: expected the same in every process, got 0.1 in process 0 and 0.5 in process 1",
    "batch size": "batch_size: expected the same in every process, got 8 in process 0 and 12 in process 1",
    "data": "data: expected the same in every process, got a mean of ",
    "number": "samples: expected the same in every process, got 11 in process 0 and 12 in process 1",
    "validation": "validation: expected the same in every process, got 'function' in process 0 and 'NoneType' in",
    "every": "every: expected the same in every process, got 2 in process 0 and 3 in process 1",
    "step": "step: expected the same in every process, got 4 in process 0 and 0 in process 1",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    run = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                          tiny.__file__, "disagreeing", folder], capture_output=True, text=True, timeout=300,
                         env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    assert run.returncode == 0, run.stderr
    return [torch.load(folder / f"told-{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("what", TOLD)
def test_two_processes_that_differ_are_told_the_same(told, what):
    assert told[0][what].startswith(TOLD[what]) and told[0][what] == told[1][what]


def test_one_process_agrees_with_itself():
    check_processes_agree({"step": 3, "data": [1.0, None]})


def test_the_first_difference_is_named_and_who_has_it(monkeypatch, refused):
    import accelerate.utils

    monkeypatch.setattr(accelerate.utils, "gather_object", lambda facts: [*facts, *facts, {"seed": 0, "steps": 9}])
    with refused("steps: expected the same in every process, got 6 in process 0 and 9 in process 2"):
        check_processes_agree({"seed": 0, "steps": 6})
    assert unequal(1, 1) is None and unequal("a", None) == ("'a'", "None")
