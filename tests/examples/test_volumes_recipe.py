"""The recipe of chapter 20, line by line, on a few small scans with the hippocampus's names."""
import os
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
from helpers.tiny_folder import brains

from medlearn.cli import main
from medlearn.data import write_folder

PAGE = (Path(__file__).parents[2] / "book/applications/20_volumes.md").read_text(encoding="utf-8")
LABELS = ["background", "anterior", "posterior"]
QUICK = ["recipe.steps=2", "recipe.batch_size=1", "net.widths=[2,4]", "net.deep_supervision=false",
         "data.patch=[16,16,16]", "data.spacing_mm=[7,7,7]", "validation_patches=1", "every=1", "recipe.precision=fp32"]


def block(language, number=0):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[number]


def commands(text):
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("medlearn ")]


def test_every_line_of_it_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "Task04_Hippocampus", [
        (name, image, label.with_array(np.minimum(label.array, 2))) for name, image, label in brains(5)],
        channels=["MRI"], labels=LABELS, layout="decathlon")
    Path("hippocampus.toml").write_text(block("toml"), encoding="utf-8")
    (download, train), (predict, evaluate) = commands(block("bash", 0)), commands(block("bash", 1))
    assert main(download) == 0                                          # it is there, and nothing is fetched
    assert main([*train, "--dry-run"]) == 0
    assert main([*train, *QUICK]) == 0
    Path("hold_out.py").write_text(block("python"), encoding="utf-8")
    runpy.run_path("hold_out.py")
    held_out = sorted(os.listdir("held_out/labelsTr"))
    assert len(held_out) == 1 and sorted(os.listdir("held_out/imagesTr")) == held_out
    assert main(predict) == 0 and (tmp_path / "predictions" / held_out[0]).exists()
    assert main(evaluate) == 0
    said = capsys.readouterr().out
    assert "anterior" in said and "posterior" in said
