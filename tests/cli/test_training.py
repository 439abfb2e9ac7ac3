"""What a training leaves, what it refuses, and with how many processes it runs."""
import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_folder import LABELS, words

from medlearn.cli import main
from medlearn.cli.settings import Settings
from medlearn.cli.strict import read_strict
from medlearn.cli.training import _processes, read_run, split, train, validate
from medlearn.data import Case, Folder, Patches, read_folder, read_volume
from medlearn.train.checkpoints import read_checkpoint


def test_it_leaves_settings_facts_a_history_and_a_checkpoint(trained):
    run = trained / "run"
    settings, facts = read_run(run)
    assert settings == read_strict(Settings, words(trained / "data", run, "recipe.steps=2", "net.dropout=0.2"))
    assert facts["labels"] == LABELS and facts["channels"] == ["T1"] and facts["ignore_index"] is None
    assert sorted(facts["training"] + facts["held_out"]) == [f"p{i:02d}_scan" for i in range(4)]
    assert len(facts["held_out"]) == 1 and read_checkpoint(run).step == 2
    with open(run / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [*rows[-1]] == ["step", "loss", "learning_rate", "dice", "dice_csf", "dice_grey", "dice_white"]
    assert rows[0]["dice"] == "" and 0 <= float(rows[1]["dice"]) <= 1


def test_it_says_what_became_of_the_files_and_goes_on_where_it_was(own, capsys):
    bad = read_run(own / "run")[1]["training"][0]
    (own / "data" / "imagesTr" / f"{bad}_0000.nii.gz").write_bytes(b"no scan")
    told = words(own / "data", own / "run", "recipe.steps=2", "net.dropout=0.2")
    assert main(["train", *told]) == 2                      # the data is another
    assert "data: expected" in capsys.readouterr().err
    told = words(own / "data", own / "other", "recipe.steps=2", "data.fold=none")
    assert main(["train", *told]) == 3
    out = capsys.readouterr().out
    assert "3 read, 1 refused" in out and f"{bad}_0000.nii.gz" in out and "validation: dice" not in out
    assert main(["train", *told, "recipe.steps=3"]) == 3 and "3 steps done" in capsys.readouterr().out


@pytest.mark.parametrize("word, name", [("net.widths=[4,4]", "net.widths"), ("loss=dice", "loss"),
                                        ("augment.rotate_deg=3", "augment.rotate_deg")])
def test_another_training_needs_another_folder(own, capsys, word, name):
    told = words(own / "data", own / "run", "recipe.steps=2", "net.dropout=0.2", f"data.folder={own / 'data'}")
    before = (own / "run" / "settings.toml").read_bytes()
    assert main(["train", *told, word]) == 2
    assert f"medlearn train: {name}: expected" in capsys.readouterr().err
    assert (own / "run" / "settings.toml").read_bytes() == before


def test_a_dry_run_says_all_and_does_nothing(trained, tmp_path, capsys):
    assert main(["train", *words(trained / "data", tmp_path / "run"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "[recipe]\nsteps = 8\n" in out
    assert "# 3 cases to train on, 1 held out; channels: T1; labels: background, csf" in out
    assert "# 1 process on cpu" in out and not (tmp_path / "run").exists()
    (tmp_path / "again.toml").write_text(out)
    assert main(["train", str(tmp_path / "again.toml"), "--dry-run"]) == 0 and capsys.readouterr().out == out


def test_slices_of_volumes_are_trained_on_and_predicted(trained, tmp_path):
    run = tmp_path / "run"
    told = words(trained / "data", run, "data.patch=[16,16]", "recipe.steps=1", "net.deep_supervision=true")
    assert main(["train", *told]) == 0
    assert main(["predict", str(run), str(trained / "data"), str(tmp_path / "said")]) == 0
    assert len(list((tmp_path / "said").glob("*.nii.gz"))) == 2


def test_regions_are_trained_on_predicted_and_judged(own, capsys):
    data, run = own / "data", own / "regions"
    told = json.loads((data / "dataset.json").read_text())
    told |= {"labels": {"background": 0, "brain": [1, 2, 3], "inner": [2, 3], "white": 3},
             "regions_class_order": [1, 2, 3]}
    (data / "dataset.json").write_text(json.dumps(told))
    assert main(["train", *words(data, run, "recipe.steps=60", "data.patch=[16,16,16]", "every=30")]) == 0
    out = "".join(capsys.readouterr())
    assert "regions: brain, inner, white" in out and "validation: dice " in out
    assert "dice_inner" in (run / "history.csv").read_text()
    assert [region["name"] for region in read_run(run)[1]["regions"]] == ["brain", "inner", "white"]
    assert main(["predict", str(run), str(data), str(own / "said"), "--probabilities"]) == 0
    labels = read_volume(own / "said" / "p04_scan.nii.gz").array
    p = read_volume(own / "said" / "p04_scan.probabilities.nii.gz", channels=True).array
    assert len(p) == 3 and set(np.unique(labels)) <= {0, 1, 2, 3} and labels.any()
    assert main(["evaluate", str(own / "said"), str(data / "labelsTs")]) == 0
    table = json.loads((own / "said" / "summary.json").read_text())
    assert list(table["labels"].values()) == ["background", "brain", "inner", "white"]
    assert table["mean"]["1"]["Dice"] > 0.5                  # most of a head is brain


def test_the_scanners_noise_is_trained_with(trained, tmp_path):
    told = words(trained / "data", tmp_path / "run", "recipe.steps=1", "augment.rician=[0, 0.1]",
                 "augment.bias_field=[0, 0.3]")
    assert main(["train", *told]) == 0
    assert read_run(tmp_path / "run")[0].augment.rician == (0.0, 0.1)
    assert main(["train", *told, "augment.rician=none", "recipe.steps=2"]) == 2


def test_the_split_is_by_patient():
    cases = tuple(Case(f"p{n // 2}_{n % 2}", (), patient=f"p{n // 2}") for n in range(10))
    folder = Folder(Path("a"), cases)
    settings = read_strict(Settings, ["data.folder=a", "data.fold=1"])
    training, held_out = split(folder, settings)
    assert {case.patient for case in training}.isdisjoint(case.patient for case in held_out) and len(held_out) == 2
    assert split(folder, read_strict(Settings, ["data.folder=a", "data.fold=none"])) == (list(cases), [])
    with pytest.raises(ValueError, match="expected cases with labels, got none"):
        split(Folder(Path("a"), ()), settings)


def test_the_validation_sees_the_same_patches_each_time_and_1_is_perfect(trained, tmp_path, capsys):
    patches = Patches(read_folder(trained / "data"), patch=(8, 8, 8), cache=tmp_path)

    class Oracle(torch.nn.Module):
        """It says what the patch's own labels are: patches are asked for in order."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))
            torch.manual_seed(0)
            self.labels = [patches[i % len(patches)][1] for i in range(5)]

        def forward(self, image):
            return torch.nn.functional.one_hot(self.labels.pop(0), 4).movedim(-1, 0)[None].float()

    score = validate(Oracle(), patches=patches, count=5)
    assert set(score) == {"dice", "dice_csf", "dice_grey", "dice_white"} and score["dice"] == 1
    assert "validation: dice 1.000" in "".join(capsys.readouterr())


@pytest.mark.parametrize("wanted, environment, answer", [
    (None, {}, (True, 1)), (1, {}, (True, 1)), (2, {"WORLD_SIZE": "2", "RANK": "1"}, (False, 2)),
    (None, {"WORLD_SIZE": "2", "RANK": "0", "ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "here"}, (True, 2)),
])
def test_as_many_processes_as_were_asked_for(wanted, environment, answer):
    assert _processes(wanted, environment) == answer


@pytest.mark.parametrize("wanted, environment, message", [
    (2, {}, "processes: expected 2, as was asked for, got 1. Start them with torchrun --nproc-per-node 2"),
    (2, {"WORLD_SIZE": "4", "RANK": "0"}, "expected 2, as was asked for, got 4"),
    (None, {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, "Add --multi_gpu"),
])
def test_fewer_than_were_asked_for_are_refused(wanted, environment, message):
    with pytest.raises(ValueError, match=message):
        _processes(wanted, environment)


@pytest.mark.parametrize("name, text, says", [
    ("run.json", b"{", "run.json: expected JSON: "), ("run.json", b"\xff", "run.json: expected JSON: "),
    ("run.json", b"[]", "run.json: expected an object in JSON, got list"),
    ("run.json", b'{"labels": ["a"]}', "run.json: expected the channels of a training"),
    ("settings.toml", b"steps = ", "settings.toml: expected TOML"),
    ("settings.toml", b"stps = 3", "settings.toml: stps: expected one of")])
def test_a_run_that_cannot_be_read_says_which_file_and_why(tmp_path, name, text, says):
    good = {"settings.toml": b'out = "run"\n[data]\nfolder = "scans"\npatch = [8, 8, 8]\n',
            "run.json": b'{"labels": ["background", "organ"], "channels": ["T1"]}'}
    for file, content in good.items():
        (tmp_path / file).write_bytes(content)
    assert read_run(tmp_path)[1]["channels"] == ["T1"]
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ValueError) as refusal:
        read_run(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path}/") and says in str(refusal.value)


def test_no_run_no_prediction(tmp_path):
    with pytest.raises(FileNotFoundError, match="the folder of a training, got a folder without settings.toml"):
        read_run(tmp_path)
    with pytest.raises(FileNotFoundError, match="no_run: expected the folder of a training, got no folder"):
        read_run(tmp_path / "no_run")
    with pytest.raises(ValueError, match="data.folder: expected to be given"):
        train([])
