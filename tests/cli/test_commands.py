"""The command line itself: light, and with an exit code for each way to end."""
import subprocess
import sys

import pytest

from medlearn import cli
from medlearn.cli import commands, main

LIGHT = """
import sys
from medlearn.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert not ended.code, ended.code
heavy = {"torch", "numpy", "nibabel", "matplotlib", "accelerate"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["predict", "--help"], ["evaluate", "--help"],
                                   ["info", "--help"], ["download", "--help"], ["--version"]], ids=" ".join)
def test_help_loads_nothing_heavy(words):
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--version" in words or "exit codes:" in done.stdout


def test_the_package_runs_as_a_module_and_hands_on_the_exit_code():
    done = subprocess.run([sys.executable, "-m", "medlearn", "info", "no/such/file.nii"], capture_output=True,
                          text=True)
    assert done.returncode == 2 and done.stderr.startswith("medlearn info: ") and "no/such/file.nii" in done.stderr


@pytest.mark.parametrize("words", [[], ["trian"], ["predict", "run"], ["info", "a", "b"], ["train", "--wet-run"]],
                         ids=" ".join)
def test_a_command_line_that_cannot_be_ends_with_2(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and "usage: medlearn" in capsys.readouterr().err


def test_an_unknown_setting_ends_with_2_and_the_nearest_one(capsys):
    assert main(["train", "data.folder=a", "recipe.stps=3"]) == 2
    assert capsys.readouterr().err == ("medlearn train: recipe.stps: expected one of steps, batch_size, learning_rate, "
                                       "optimizer, weight_decay, schedule, warmup, clip, seed, accumulate, precision, "
                                       "workers; did you mean recipe.steps?\n")


@pytest.mark.parametrize("error, code, said", [
    (FloatingPointError("loss: nan at step 3"), 1, "medlearn info: FloatingPointError: loss: nan at step 3\n"),
    (OSError("no space left"), 1, "medlearn info: OSError: no space left\n"),
    (RuntimeError("out of memory"), 1, "medlearn info: RuntimeError: out of memory\n"),
    (ValueError("a: expected b"), 2, "medlearn info: a: expected b\n"),
    (ModuleNotFoundError("pooch is missing"), 2, "medlearn info: pooch is missing\n"),
    (KeyboardInterrupt(), 130, "medlearn info: interrupted\n"),
])
def test_each_way_to_end_has_its_code_and_a_line(monkeypatch, capsys, error, code, said):
    def run(command, options):
        raise error
    monkeypatch.setattr(commands, "_run", run)
    assert main(["info", "a"]) == code and capsys.readouterr().err == said
    assert f"  {code}" in commands.EXIT_CODES


@pytest.mark.parametrize("processes, code", [("1", 3), ("2", 0)])
def test_a_bad_file_of_one_process_does_not_make_torchrun_end_the_others(monkeypatch, processes, code):
    monkeypatch.setattr(commands, "_run", lambda command, options: 3)
    monkeypatch.setenv("WORLD_SIZE", processes)
    assert main(["info", "a"]) == code


def test_settings_may_stand_behind_an_option(monkeypatch):
    seen = []
    monkeypatch.setattr(commands, "_run", lambda command, options: seen.append(options) or 0)
    assert main(["train", "a.toml", "--processes", "2", "recipe.steps=3"]) == 0
    assert seen == [{"words": ["a.toml", "recipe.steps=3"], "processes": 2, "dry_run": False}]


def test_one_name_is_public():
    assert cli.__all__ == ["main"]
