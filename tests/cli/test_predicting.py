"""A folder is predicted to its end: in parts, again after a kill, and past what cannot be read."""
import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from helpers.tiny_folder import KILLED_AT_P05, words

from medlearn.cli import main
from medlearn.cli.predicting import predict, scans_in
from medlearn.cli.training import read_run
from medlearn.data import Volume, hu_window, read_volume, write_volume
from medlearn.inference import predict_file
from medlearn.train import load_weights


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_what_predict_file_gives(trained, tmp_path, capsys):
    run, scan = trained / "run", trained / "data" / "imagesTs" / "p04_scan_0000.nii.gz"
    assert main(["predict", str(run), str(scan), str(tmp_path / "said"), "--overlap", "0.25", "--flips", "0",
                 "--probabilities"]) == 0
    assert "part 1 of 1: 1 of 1 scans, 0 are there" in capsys.readouterr().out
    settings, facts = read_run(run)
    net = load_weights(settings.new_net(1, classes=len(facts["labels"])), run)
    predict_file(net, scan, target=tmp_path / "own.nii.gz", patch=(16, 16, 16), spacing_mm=(7, 7, 7), overlap=0.25,
                 flips=(0,), probabilities=True)
    for kind, channels in {"": False, ".probabilities": True}.items():
        said, own = (read_volume(tmp_path / f"{name}{kind}.nii.gz", channels=channels).array
                     for name in ("said/p04_scan", "own"))
        assert np.array_equal(said, own)


def test_a_scan_is_seen_through_the_window_of_the_training(own):
    run, scan = own / "run", own / "data" / "imagesTs" / "p04_scan_0000.nii.gz"
    told = (run / "settings.toml").read_text()
    (run / "settings.toml").write_text(told.replace('window = "none"', "window = [200.0, 400.0]"))
    net = load_weights(read_run(run)[0].new_net(1, classes=4), run)
    options = dict(patch=(16, 16, 16), spacing_mm=(7, 7, 7), probabilities=True)
    assert predict(run, scan, target=own / "said", probabilities=True) == 0
    predict_file(net, scan, target=own / "own.nii.gz", prepare=partial(hu_window, window=(200.0, 400.0)), **options)
    predict_file(net, scan, target=own / "other.nii.gz", **options)
    said, same, other = (read_volume(own / f"{name}.probabilities.nii.gz", channels=True).array
                         for name in ("said/p04_scan", "own", "other"))
    assert np.array_equal(said, same) and not np.array_equal(said, other)


def test_what_is_there_is_left_alone_and_a_bad_file_stops_nobody(own, capsys):
    source, target = own / "data" / "imagesTs", own / "said"
    (source / "a_bad_0000.nii.gz").write_bytes(b"no scan")
    assert predict(own / "run", source, target=target) == 3
    assert "2 read, 1 refused" in capsys.readouterr().out and names(target) == ["p04_scan.nii.gz", "p05_scan.nii.gz"]
    (target / "p04_scan.nii.gz").write_bytes(b"mine")
    (target / "p05_scan.nii.gz").unlink()
    assert predict(own / "run", source, target=target) == 3
    assert (target / "p04_scan.nii.gz").read_bytes() == b"mine" and (target / "p05_scan.nii.gz").stat().st_size > 100
    assert "3 scans, 1 are there" in capsys.readouterr().out


def test_two_parts_of_an_array_are_the_whole(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for task in "01":
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        assert predict(trained / "run", trained / "data", target=tmp_path, dry_run=True) == 0
        assert f"p0{4 + int(task)}_scan_0000.nii.gz -> " in capsys.readouterr().out
        assert len(names(tmp_path)) == int(task)
        assert predict(trained / "run", trained / "data", target=tmp_path) == 0
    assert names(tmp_path) == ["p04_scan.nii.gz", "p05_scan.nii.gz"]


def test_killed_between_two_files_it_goes_on(trained, tmp_path):
    command = ["predict", str(trained / "run"), str(trained / "data"), str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", KILLED_AT_P05, *command], env={**os.environ, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["p04_scan.nii.gz"] and len(names(tmp_path)) == 2
    before = (tmp_path / "p04_scan.nii.gz").stat().st_mtime_ns
    assert main(command) == 0
    assert read_volume(tmp_path / "p05_scan.nii.gz").array.ndim == 3
    assert (tmp_path / "p04_scan.nii.gz").stat().st_mtime_ns == before


def test_passes_of_dropout_leave_maps(trained, tmp_path):
    scan = trained / "data" / "imagesTs" / "p04_scan_0000.nii.gz"
    assert main(["predict", str(trained / "run"), str(scan), str(tmp_path), "--passes", "2", "--probabilities"]) == 0
    assert {"p04_scan.epistemic.nii.gz", "p04_scan.probabilities.nii.gz"} < set(names(tmp_path))


def test_channels_of_one_scan_are_found_and_put_together(tmp_path):
    for name in ("a_0000.nii.gz", "a_0001.nii.gz", "b.nii", ".c.nii", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "series").mkdir()
    found = {case.name: [path.name for path in case.images] for case in scans_in(tmp_path)}
    assert found == {"a": ["a_0000.nii.gz", "a_0001.nii.gz"], "b": ["b.nii"], "series": ["series"]}


def test_a_network_of_two_channels_reads_two_files(own, tmp_path):
    data = own / "data"
    for part in ("imagesTr", "imagesTs"):
        for path in list((data / part).iterdir()):
            volume = read_volume(path)
            write_volume(path.with_name(path.name.replace("_0000", "_0001")), Volume(-volume.array, volume.grid))
    told = (data / "dataset.json").read_text().replace('"0": "T1"', '"0": "T1", "1": "T2"')
    (data / "dataset.json").write_text(told)
    assert main(["train", *words(data, tmp_path / "run", "recipe.steps=1")]) == 0
    assert predict(tmp_path / "run", data / "imagesTs", target=tmp_path / "said") == 0
    assert names(tmp_path / "said") == ["p04_scan.nii.gz", "p05_scan.nii.gz"]


def test_it_refuses_folders_without_a_scan_or_with_two_of_one_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of scans"):
        scans_in(tmp_path / "none")
    with pytest.raises(ValueError, match="expected scans .* got none"):
        scans_in(tmp_path)
    for name in ("a.nii", "a.nii.gz"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match="expected one scan for a, got a.nii.gz beside others"):
        scans_in(tmp_path)
