"""From files as hospitals send them to a table: trained by two processes, killed, resumed, predicted, judged."""
import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
from helpers.nnunet import its_own, restated, within
from helpers.tiny_folder import KILLED_AT_P05, LABELS, tiny_folder, words

from medlearn.cli import main
from medlearn.data import check_same_grid, read_volume
from medlearn.train.checkpoints import read_checkpoint

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "medlearn"]


def kill_a_training(run, command, seconds=120):
    """Starts it, and ends its first process, without a chance to tidy up, when a checkpoint is there; then all end."""
    process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(seconds * 50):
        if any(run.glob("step-*.safetensors")):
            break
        assert process.poll() is None, "it had ended before it could be killed"
        time.sleep(0.02)
    os.kill(json.loads((run / "training.lock").read_text())["pid"], signal.SIGKILL)
    assert process.wait(timeout=60) == 1                    # torchrun ends the others


def test_a_cohort_of_files_is_trained_killed_resumed_predicted_in_parts_and_judged(tmp_path, monkeypatch, capsys):
    data, run, answers = tiny_folder(tmp_path / "data"), tmp_path / "run", tmp_path / "answers"
    assert main(["info", str(data)]) == 0
    assert "orientations: RAS (2), LPS (2), SAR (1), LAS (1)" in capsys.readouterr().out

    train = [*TORCHRUN, "train", *words(data, run), "--processes", "2"]
    kill_a_training(run, [*train, "recipe.steps=4000", "recipe.schedule=constant"])
    stopped = read_checkpoint(run).step
    assert 0 < stopped < 4000
    steps = stopped + 4
    done = subprocess.run([*train, f"recipe.steps={steps}", "recipe.schedule=constant"], env=ENVIRONMENT,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "2 processes on cpu" in done.stdout and f"{steps} steps done" in done.stdout
    with open(run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [*range(1, steps + 1)] and float(rows[-1]["dice"]) > 0

    predict = ["predict", str(run), str(data), str(answers)]
    monkeypatch.setenv("WORLD_SIZE", "2")
    # p05 is the part of the second, which dies of it
    done = subprocess.run([sys.executable, "-c", KILLED_AT_P05, *predict], capture_output=True, text=True,
                          env={**ENVIRONMENT, "RANK": "1", "WORLD_SIZE": "2"}, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not list(answers.glob("[!.]*"))
    for rank in "01":
        monkeypatch.setenv("RANK", rank)
        assert main(predict) == 0
        assert len(list(answers.glob("[!.]*.nii.gz"))) == int(rank) + 1
    for case in ("p04_scan", "p05_scan"):
        answer = read_volume(answers / f"{case}.nii.gz")
        check_same_grid(answer, read_volume(data / "imagesTs" / f"{case}_0000.nii.gz"))
        assert np.array_equal(answer.grid.affine, read_volume(data / "labelsTs" / f"{case}.nii.gz").grid.affine)

    assert main(["evaluate", str(answers), str(data / "labelsTs"), "--patient", r"^(p\d+)"]) == 0
    table = json.loads((answers / "summary.json").read_text(), parse_constant=lambda name: 1 / 0)      # no NaN
    assert table["missing"] == {} and list(table["labels"].values()) == LABELS
    assert [case["patient"] for case in table["metric_per_case"]] == ["p04", "p05"]
    asked = answers, data / "labelsTs"
    assert within(restated(*asked, labels=(1, 2, 3)), table)
    for left in answers.glob(".*.partial.*"):       # of the process that was killed: nnU-Net takes it for a case
        left.unlink()
    its = its_own(*asked, labels=(1, 2, 3), path=tmp_path / "its.json")
    assert its is None or within(its, table)
    with open(answers / "summary.csv") as file:
        assert len(list(csv.DictReader(file))) == 2 * 3
