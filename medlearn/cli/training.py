r"""`medlearn train`: a folder of scans to a folder with a trained network, with one process or with many."""
from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from medlearn import __version__, runtime
from medlearn.base.atomic import written_whole
from medlearn.base.files import read_json
from medlearn.cli.settings import FREE, Settings, patient_from, region_targets
from medlearn.cli.strict import as_toml, read_strict
from medlearn.data import ArrayCache, Augmented, Case, Folder, Patches, folds_by_patient, read_folder
from medlearn.metrics import ConfusionCounts, confusion_counts
from medlearn.train import History, fit

SETTINGS, FACTS, HISTORY = "settings.toml", "run.json", "history.csv"      # beside the checkpoints
PATIENCE_H = 24                 # while the first process reads a large folder into the cache, the others wait


def train(words: Sequence[str], *, processes: int | None = None, dry_run: bool = False) -> int:
    r"""Trains as the `words` of the command line say: a file of settings, and `key=value`. Returned is the exit code.

    `processes` is how many there should be, refused where it is another number. With `dry_run` it says what it would
    do. Errors: ValueError for settings, data or a number of processes that cannot be; those of `fit`.
    """
    settings = read_strict(Settings, words)
    folder = read_folder(settings.data.folder, patient=patient_from(settings.data.patient))
    training, held_out = split(folder, settings)
    net = _new_net(settings, folder)
    main, count = _processes(processes)
    if main:
        print(_plan(settings, folder, training, held_out, net, count), flush=True)
    if dry_run:
        return 0
    if main:
        _keep_settings(settings, folder, training, held_out)
    with _first_process_first():
        cache = ArrayCache(settings.cache, max_gb=settings.data.cache_gb)
        patches = partial(Patches, folder, patch=settings.data.patch, cache=cache, window=settings.data.window,
                          spacing_mm=settings.data.spacing_mm, foreground=settings.data.foreground)
        seen = patches(training, per_case=settings.data.per_case,
                       noise=settings.augment.noise(settings.data.spacing_mm))
        judged = patches(held_out) if held_out else None
    validation = None if judged is None else partial(validate, patches=judged, count=settings.validation_patches)
    bad = {**seen.report.refused, **(judged.report.refused if judged else {})}
    if main:
        print(*(part.report for part in (seen, judged) if part), sep="\n", flush=True)
    spacing = settings.data.spacing_mm and settings.data.spacing_mm[:len(settings.data.patch)]
    samples = Augmented(seen, settings.augment.transforms(spacing))
    history = fit(net, samples, loss=settings.new_loss(folder.ignore_index, folder.regions),
                  recipe=settings.recipe, validation=validation, patience=settings.patience, checkpoint=settings.out,
                  every=settings.every)
    if main:
        _write_history(settings.out / HISTORY, history)
        print(f"{len(history.rows)} steps done, in {settings.out}")
    return 3 if bad else 0


def split(folder: Folder, settings: Settings) -> tuple[list[Case], list[Case]]:
    r"""The cases of a `folder` to train on, and those that the `settings` hold out."""
    if not folder.cases:
        raise ValueError(f"{folder.root}: expected cases with labels, got none")
    if settings.data.fold is None:
        return list(folder.cases), []
    return folds_by_patient(folder.cases, settings.data.folds)[settings.data.fold]


def validate(net: nn.Module, *, patches: Patches, count: int) -> dict[str, float]:
    r"""Dice of `count` random patches of the held-out cases, as if they were one image: its mean, then each class.

    The same patches each time, so that a curve over the steps is one. A class that is in no patch is left out. Of a
    folder with regions it is the Dice of each region.
    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z (its online evaluation).
    """
    torch.manual_seed(0)                                    # `fit` puts the caller's generators back
    device = next(net.parameters()).device
    counts = None
    for i in range(count):
        image, labels = patches[i % len(patches)]
        one = _counts(net(image[None].to(device)).cpu(), labels[None], patches.folder)
        counts = one if counts is None else counts + one
    assert counts is not None
    dice = counts.dice[0]
    told = {f"dice_{name}": value for name, value in zip(patches.folder.judged, dice.tolist())}
    score = {"dice": dice.nanmean().item(), **told}
    tqdm.write("  validation: " + ", ".join(f"{name} {value:.3f}" for name, value in score.items()))
    return score


def _counts(logits: Tensor, labels: Tensor, folder: Folder) -> ConfusionCounts:
    """Of every class but the background, or of every region."""
    if not folder.regions:
        return confusion_counts(logits.argmax(1), labels, classes=folder.classes,
                                ignore_index=folder.ignore_index).foreground()
    said, (true, judged) = logits > 0, region_targets(labels, folder.regions, folder.ignore_index)
    parts = said & true, said & ~true, ~said & true, ~said & ~true
    return ConfusionCounts(*((part if judged is None else part & judged).flatten(2).sum(2) for part in parts))


def read_run(run: str | Path) -> tuple[Settings, dict[str, Any]]:
    r"""The settings of a `run` and what it was told of its data. Errors: FileNotFoundError; ValueError, by file."""
    run = Path(run)
    if not (run / SETTINGS).exists():
        got = f"a folder without {SETTINGS}" if run.is_dir() else "no folder"
        raise FileNotFoundError(f"{run}: expected the folder of a training, got {got}")
    try:
        settings = read_strict(Settings, [str(run / SETTINGS)])
    except ValueError as error:
        raise ValueError(f"{run / SETTINGS}: {str(error).removeprefix(f'{run / SETTINGS}: ')}") from error
    facts = read_json(run / FACTS)
    if absent := sorted({"channels", "labels"} - facts.keys()):
        raise ValueError(f"{run / FACTS}: expected the {' and the '.join(absent)} of a training, got none")
    return settings, facts


def _new_net(settings: Settings, folder: Folder) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(settings.recipe.seed)             # the same in every process
        return settings.new_net(len(folder.channels), classes=folder.answers)


def _processes(wanted: int | None, environment: Mapping[str, str] | None = None) -> tuple[bool, int]:
    """Whether this is the first process, and how many there are: as many as were asked for, or it is refused."""
    told = os.environ if environment is None else environment
    count = int(told.get("WORLD_SIZE", 1))
    # `accelerate launch --num_processes 2` without --multi_gpu leaves this address, and starts one process
    if count == 1 and "WORLD_SIZE" not in told and {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= told.keys():
        raise ValueError("processes: accelerate launch was asked for several and started one. Add --multi_gpu (on a "
                         "CPU, too, with ACCELERATE_USE_CPU=true), or use torchrun --nproc-per-node N -m medlearn")
    if wanted is not None and wanted != count:
        raise ValueError(f"processes: expected {wanted}, as was asked for, got {count}. "
                         f"Start them with torchrun --nproc-per-node {wanted} -m medlearn train")
    return int(told.get("RANK", 0)) == 0, count


def _first_process_first():
    from accelerate.state import PartialState

    on_cpu = runtime.device(verbose=False).type == "cpu"
    state = PartialState(cpu=on_cpu, **({"timeout": timedelta(hours=PATIENCE_H)} if "WORLD_SIZE" in os.environ else {}))
    asked = int(os.environ.get("WORLD_SIZE", 1))
    if state.num_processes != asked:
        raise ValueError(f"processes: expected {asked}, as WORLD_SIZE says, got {state.num_processes}")
    return state.main_process_first()


def _plan(settings: Settings, folder: Folder, training: list[Case], held_out: list[Case], net: nn.Module,
          count: int) -> str:
    weights = sum(weight.numel() for weight in net.parameters())
    device = runtime.device(verbose=False).type
    return (f"{as_toml(settings)}\n"
            f"# {count} {'process' if count == 1 else 'processes'} on {device}, {weights:,} weights\n"
            f"# {len(training)} cases to train on, {len(held_out)} held out; channels: {', '.join(folder.channels)}; "
            f"{'regions' if folder.regions else 'labels'}: "
            f"{', '.join(folder.judged if folder.regions else folder.labels)}")


def _keep_settings(settings: Settings, folder: Folder, training: list[Case], held_out: list[Case]) -> None:
    """What predictions will need, beside the checkpoints; where there are some, the settings must be theirs."""
    settings.out.mkdir(parents=True, exist_ok=True)
    begun = any(re.fullmatch(r"step-\d+.*\.safetensors", path.name) for path in settings.out.iterdir())
    if begun and (settings.out / SETTINGS).exists():
        then = read_run(settings.out)[0].plain()
        for name, value in settings.plain().items():
            if name not in FREE and then[name] != value:
                raise ValueError(f"{name}: expected {then[name]!r}, with which the training in {settings.out} was "
                                 f"begun, got {value!r}. Give another out= to begin a new one")
    facts = {"medlearn": __version__, "channels": folder.channels, "labels": folder.labels,
             "ignore_index": folder.ignore_index, "regions": [asdict(region) for region in folder.regions],
             "training": [case.name for case in training], "held_out": [case.name for case in held_out]}
    for name, text in {FACTS: json.dumps(facts, indent=2), SETTINGS: as_toml(settings)}.items():
        with written_whole(settings.out / name) as aside:
            aside.write_text(text, encoding="utf-8")


def _write_history(path: Path, history: History) -> None:
    names = list(dict.fromkeys(name for row in history.rows for name in row))
    with written_whole(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history.rows)
