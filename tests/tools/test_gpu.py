"""`make gpu` runs to its end, and each of its records says what it is."""
import json
import os
import subprocess
import sys
import zipfile

import gpu
import pytest
from chapters import ROOT

RECORD = {"step": "gpu_rates", "status": "done", "hardware": {"gpu": "a T4"}, "versions": {"torch": "2.13"},
          "commit": "1a2b3c4",
          "date": "2026-01-01T00:00:00+00:00", "command": "python tools/gpu.py", "seconds": 1.5, "small": False,
          "result": {"cohort_slices_a_second": 2500.0}}


def code(*lines):
    return {"cell_type": "code", "metadata": {}, "source": "\n".join(lines)}


NOTEBOOK = {"cells": [
    {"cell_type": "markdown", "metadata": {}, "source": ["A title."]},
    code("import torch", "from medlearn import claim, record", "x = torch.ones(3, device='cuda')"),
    code("claim('ce.gradient', bool(x.sum() == 3))", "record('ce.sum', x.sum())"),
    code("%matplotlib inline", "raise ValueError('here')"), code("raise NotImplementedError")]}
BENCHMARKS = ("bench_losses", "gpu_networks")


@pytest.mark.parametrize("change, said", [
    ({}, []), ({"seconds": "1.5"}, ["seconds is '1.5'"]), ({"status": "fine"},
                                                           ["status is 'fine', none of done, failed, stopped"]),
    ({"hardware": {}}, ["hardware says nothing"]), ({"commit": ""}, ["commit says nothing"])])
def test_the_form_of_a_record(change, said):
    assert gpu.problems(RECORD | change) == said
    assert gpu.problems({key: value for key, value in RECORD.items() if key != "date"}) == ["date is missing"]


def test_the_records_of_the_book_have_that_form_and_were_no_rehearsal():
    for path in gpu.RECORDS.glob("*.json"):
        record = json.loads(path.read_text())
        assert not gpu.problems(record) and record["step"] == path.stem, path
        assert not record["small"] and "Rehearsed" not in record["hardware"]["gpu"], path


def test_it_takes_every_chapter_the_wanted_first():
    found = gpu.all_chapters()
    assert set(found) == set((ROOT / "book" / "principles").glob("*.ipynb"))
    assert [gpu.bare_name(path) for path in found[:len(gpu.CHAPTERS)]] == list(gpu.CHAPTERS)


def test_without_a_gpu_it_says_what_can_be_done(tmp_path):
    done = subprocess.run([sys.executable, "tools/gpu.py", "--small", "--out", str(tmp_path)], cwd=ROOT, text=True,
                          capture_output=True)
    assert done.returncode == 1 and "python tools/rehearse.py" in done.stdout and not list(tmp_path.iterdir())
    done = subprocess.run([sys.executable, "tools/gpu.py", "--small"], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 2 and "name another folder with --out" in done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(os.environ.get("REHEARSE_CUDA") != "7.5", reason="once; a GPU would run it within itself")
def test_it_runs_to_its_end(tmp_path):
    notebook = tmp_path / "99_tiny.ipynb"
    notebook.write_text(json.dumps(NOTEBOOK))
    # so that every Python that is started has the rehearsed GPU
    everywhere = ROOT / "tests" / "helpers" / "rehearsal" / "everywhere"
    path = os.pathsep.join([str(everywhere), os.environ["PYTHONPATH"]])
    command = [sys.executable, "tools/gpu.py", "--small", "--out", str(tmp_path / "records"),
               "--chapters", str(notebook)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, env={**os.environ, "PYTHONPATH": path})

    records = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "records").glob("*.json")}
    assert done.returncode == 0, done.stdout + done.stderr
    assert records.keys() == {"tests", "gpu_rates", "chapter_tiny", *BENCHMARKS}
    for record in records.values():
        assert not gpu.problems(record) and record["status"] == "done"
    assert records["tests"]["result"]["failed"] == 0 < records["tests"]["result"]["tests"]
    assert all(row["agree"] for name in BENCHMARKS for row in records[name]["result"])
    assert "error" not in str(records["gpu_rates"]["result"])
    chapter = records["chapter_tiny"]["result"]
    assert chapter["finished"] and chapter["claims"]["ce.gradient"]["holds"] and chapter["values"] == {"ce.sum": 3.0}
    assert chapter["errors"] == [{"cell": 3, "error": "ValueError: here"}]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "hardware", lambda: {"gpu": "none"})
    return gpu.Run(tmp_path / "records", limit_s=60, small=False, folder=tmp_path)


def test_a_step_that_the_rest_does_not_hold_is_left_out(run):
    assert "left out: it takes about 90 s" in run.take(gpu.Step("long", 90,
                                                                    ["-c", "1"])) and not run.out.exists()


def test_when_the_time_is_over_a_step_is_stopped_and_its_result_so_far_is_kept(run):
    run.end = gpu.time.monotonic() + 5
    endless = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text('[1]'); [None for _ in iter(int, 1)]"
    assert run.take(gpu.Step("endless", 1, ["-c", endless, "{result}"])).startswith("stopped")
    record = json.loads((run.out / "endless.json").read_text())
    assert record["status"] == "stopped" and record["result"] == [1] and not gpu.problems(record)


def test_a_step_that_fails_says_why_and_the_next_one_is_taken(run):
    assert "ZeroDivisionError" in run.take(gpu.Step("wrong", 1, ["-c", "1 / 0"]))
    writes = "import sys; open(sys.argv[1], 'w').write('{}')"
    assert run.take(gpu.Step("right", 1, ["-c", writes, "{result}"])).startswith("done")


def test_wheels_and_the_checkout_are_there_for_the_run_alone(tmp_path, monkeypatch):
    wheels, about = tmp_path / "wheels", "tiny_thing-1.2.dist-info"
    wheels.mkdir()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(gpu.os, "environ", dict(os.environ))
    with pytest.raises(SystemExit, match="expected a folder of wheels"):
        gpu.prepare(wheels, tmp_path / "none")
    with zipfile.ZipFile(wheels / "tiny_thing-1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_thing.py", "SIZE = 3")
        wheel.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny_thing\nVersion: 1.2\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    gpu.prepare(wheels, tmp_path / "site")
    asks = "import importlib.metadata as m, tiny_thing; print(tiny_thing.SIZE, m.version('medlearn'))"
    said = subprocess.run([sys.executable, "-c", asks], env=gpu.os.environ, text=True, capture_output=True, check=True)
    assert said.stdout.split() == ["3", "0.1.0"]
