r"""What can be said on the command line. Nothing heavy is imported before it is known what is to be done."""
from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from medlearn import __version__

FILES_REFUSED = 3
EXIT_CODES = """exit codes:
  0    all is done
  1    an error on the way; a training goes on from its last checkpoint when called again
  2    refused: the command line, the settings or the data cannot be; nothing was begun
  3    done, but for files that the report names; 0 in one of several processes, whose launcher would end the others
  130  interrupted; called again it goes on
"""
TRAIN = """settings are given as key=value, in a file *.toml, or both; key=value stands above the file:

  medlearn train data.folder=scans out=run data.patch=[64,64,64] data.spacing_mm=[1,1,1] recipe.steps=2000
  medlearn train settings.toml recipe.batch_size=4

--dry-run prints every setting, as a TOML file, and what would be done. Called again with the same out=, a training
goes on from its last checkpoint. On many GPUs, or in several processes on a CPU:

  torchrun --nproc-per-node 4 -m medlearn train settings.toml --processes 4

With accelerate launch, say --multi_gpu (on a CPU, too, with ACCELERATE_USE_CPU=true): without it one process runs.
"""
PREDICT = """Scans whose labels are there already are left out: called again after whatever stopped it, it goes on.
Several processes share a folder, each by RANK and WORLD_SIZE or by SLURM_ARRAY_TASK_ID and _COUNT:

  torchrun --nproc-per-node 4 -m medlearn predict run scans predictions
  sbatch --array=0-15 --wrap "medlearn predict run scans predictions"
"""


def main(argv: Sequence[str] | None = None) -> int:
    r"""Runs one command, `argv` or what stands on the command line, and returns its exit code, as `--help` lists them.

    Errors: SystemExit, of code 2 for a command line that argparse refuses, and 0 after `--help`.

    >>> try: main(["--version"])                          # doctest: +ELLIPSIS
    ... except SystemExit as ended: print(ended.code)
    medlearn ...
    0
    """
    parser = _parser()
    told, rest = parser.parse_known_args(argv)
    if rest and (told.command != "train" or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognised: {' '.join(rest)}")
    options = vars(told)
    command = options.pop("command")
    if command == "train":
        options["words"] += rest                            # what stands behind an option
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_, **__: print(f"medlearn {command}: {message}", file=sys.stderr)
            code = _run(command, options)
        return 0 if code == FILES_REFUSED and int(os.environ.get("WORLD_SIZE", 1)) > 1 else code
    except (ValueError, FileNotFoundError, ModuleNotFoundError) as error:
        print(f"medlearn {command}: {error}", file=sys.stderr)
        return 2
    except (OSError, RuntimeError, FloatingPointError) as error:
        print(f"medlearn {command}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"medlearn {command}: interrupted", file=sys.stderr)
        return 130


# Where each command stands, and which of its options go by their place. A module is loaded once it is asked for.
COMMANDS = {
    "train": ("training", "train", ("words",)),
    "predict": ("predicting", "predict", ("run", "source")),
    "evaluate": ("evaluating", "evaluate", ("predictions", "truths")),
    "info": ("info", "info", ("path",)),
    "download": ("downloading", "download", ("name", "folder")),
    "card": ("card", "card", ("run",)),
    "progress": ("progress", "progress", ()),
    "grade": ("grading", "grade_folder", ("folder", "out")),
}


def _run(command: str, options: dict[str, Any]) -> int:
    module, function, places = COMMANDS[command]
    run = getattr(import_module(f"medlearn.cli.{module}"), function)
    return run(*[options.pop(name) for name in places], **options)


def _parser() -> argparse.ArgumentParser:
    form: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser("medlearn", description="From a folder of scans to a trained network, its answers "
                                     "and a table.", epilog=EXIT_CODES, **form)
    parser.add_argument("--version", action="version", version=f"medlearn {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("info", help="what a file or a folder holds", epilog=EXIT_CODES, **form)
    one.add_argument("path", help="a NIfTI or NRRD file, a folder of them, or of one DICOM series")

    one = commands.add_parser("train", help="train a network on a folder of scans and labels",
                              epilog=f"{TRAIN}\n{EXIT_CODES}", **form)
    one.add_argument("words", nargs="*", metavar="SETTING", help="a file *.toml, and key=value")
    one.add_argument("--processes", type=int, metavar="N", help="refuse to run with another number of processes")
    one.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    one = commands.add_parser("predict", help="write the labels of every scan in a folder",
                              epilog=f"{PREDICT}\n{EXIT_CODES}", **form)
    one.add_argument("run", help="the folder of a training")
    one.add_argument("source", help="a folder of scans, one scan, or a folder with a dataset.json: its test cases")
    one.add_argument("target", help="the folder for the labels, NAME.nii.gz each")
    one.add_argument("--overlap", type=float, default=0.5, help="share of a window that the next sees again (0.5)")
    one.add_argument("--batch", type=int, default=1, help="windows answered together (1)")
    one.add_argument("--flips", type=int, nargs="+", default=(), metavar="AXIS", help="mean over mirrored answers")
    one.add_argument("--passes", type=int, metavar="N", help="passes of MC dropout, with maps of uncertainty")
    one.add_argument("--probabilities", action="store_true", help="write NAME.probabilities.nii.gz, too")
    one.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")

    one = commands.add_parser("evaluate", help="a table of every case and class", epilog=EXIT_CODES, **form)
    one.add_argument("predictions", help="a folder of label files")
    one.add_argument("truths", help="a folder of label files of the same names, or one with a dataset.json")
    one.add_argument("--labels", nargs="+", metavar="NAME", help="their names, the background first (dataset.json's)")
    one.add_argument("--patient", metavar="REGEX", help="whose first group, in a case's name, is the patient")
    one.add_argument("--tolerance-mm", type=float, metavar="MM", help="of NSD")
    one.add_argument("--lesion-iou", type=float, default=0.0, help="above which two lesions are a pair (0)")
    one.add_argument("--miss-mm", type=float, metavar="MM", help="the distance of a miss, else infinite")
    one.add_argument("--patients", metavar="CSV", help="what is known of each patient: a table for each column, too")
    one.add_argument("--picture", metavar="SCANS", help="draw the worst five on the scans of this folder: worst.png")
    one.add_argument("--out", metavar="FOLDER", help="for summary.csv and summary.json (that of the predictions)")

    one = commands.add_parser("download", help="fetch a public cohort", epilog=EXIT_CODES, **form)
    one.add_argument("name", nargs="?", help="which; without a name all are listed, with their licences")
    one.add_argument("folder", nargs="?", default=".", help="where to (here)")

    one = commands.add_parser("card", help="a model card, from the record of a training", epilog=EXIT_CODES, **form)
    one.add_argument("run", help="the folder of a training")
    one.add_argument("--scores", metavar="FILE", help="a summary.json of `medlearn evaluate`")
    one.add_argument("--out", metavar="FILE", help="where the card goes (card.md in the folder of the training)")

    one = commands.add_parser("progress", help="which exercises of the book are solved", epilog=EXIT_CODES, **form)
    one.add_argument("--begin", dest="begun", action="store_true", help="begin to keep it, in a file on this machine")
    one.add_argument("--export", metavar="FILE", help="write it as a table too: NAME.csv, or a page, NAME.html")

    one = commands.add_parser("grade", help="a table of many students' notebooks", epilog=EXIT_CODES, **form)
    one.add_argument("folder", help="of notebooks, each run in a process and a folder of its own")
    one.add_argument("--out", default="grades.csv", metavar="FILE", help="the table (grades.csv)")
    one.add_argument("--minutes", type=float, default=10.0, help="after which a notebook is stopped (10)")
    return parser
