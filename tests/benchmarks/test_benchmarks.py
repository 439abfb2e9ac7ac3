"""Every benchmark starts, and runs through once at its smallest size."""
import inspect
import json
import runpy
import sys
from pathlib import Path

import harness
import pytest
from harness import Setting

BENCHES = sorted(Path(harness.__file__).parent.glob("bench_*.py"))


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_a_benchmark_runs(bench, monkeypatch, capsys):
    import torch
    monkeypatch.setattr(sys, "argv", [bench.name, "--smoke"])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runpy.run_path(str(bench), run_name="__main__")
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert ": runs" in said and "left out" not in said


@pytest.mark.parametrize("bench", BENCHES, ids=lambda path: path.stem)
def test_a_full_run_prepares_with_functions_of_the_file(bench):
    """And with arguments that they take and that JSON carries to the process of the side."""
    module = runpy.run_path(str(bench))
    cases = list(module["cases"](Setting()))
    assert len({case.title for case in cases}) == len(cases) >= 2
    for side in (side for case in cases for side in (case.ours, case.peer)):
        inspect.signature(module[side.prepare]).bind(**json.loads(json.dumps(side.arguments)))
