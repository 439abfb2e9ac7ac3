r"""`medlearn predict`: a trained network over a folder of scans, in as many parts as there are processes."""
from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from medlearn import runtime
from medlearn.cli.settings import SliceBySlice
from medlearn.cli.shards import this_shard
from medlearn.cli.training import read_run
from medlearn.data import Case, Report, read_folder
from medlearn.inference import predict_file
from medlearn.train import load_weights

ENDINGS = (".nii.gz", ".nii", ".nrrd")
CHANNEL = re.compile(r"(.+)_(\d{4})")       # nnU-Net's names: one file a channel


def predict(run: str | Path, source: str | Path, *, target: str | Path, overlap: float = 0.5, batch: int = 1,
            flips: Sequence[int] = (), passes: int | None = None, probabilities: bool = False,
            dry_run: bool = False) -> int:
    r"""Labels of every scan in `source`, written to the folder `target` by the network of a `run`. The exit code.

    What is there already is left as it is, so a run that was killed is called again and goes on; each file is written
    whole or not at all. This process does its part, as `this_shard` says; with `dry_run` it says which.
    `overlap`, `batch`, `flips`, `passes` and `probabilities`: as in `predict_volume`. A scan that cannot be predicted
    is reported at the end. Errors: ValueError and FileNotFoundError where there is no run or no scan.
    """
    read_run(run)                                           # refused before anything is said
    cases, shard = scans_in(source), this_shard()
    mine = shard.of(cases)
    todo = cases_left(mine, target)
    print(f"{shard}: {len(mine)} of {len(cases)} scans, {len(mine) - len(todo)} are there", flush=True)
    if dry_run:
        print(*(f"  {case.images[0]} -> {Path(target) / case.name}.nii.gz" for case in todo), sep="\n")
        return 0
    if not todo:
        return 0
    predictor = Predictor(run, target, overlap=overlap, batch=batch, flips=flips, passes=passes,
                          probabilities=probabilities)
    report = Report()
    deque(report.over(_shown(todo), predictor), maxlen=0)   # all of them, for what they do
    print(report)
    return 3 if report.refused else 0


class Predictor:
    r"""The network of a `run`, read once, that writes the labels of one case after another to the folder `target`.

    It is `predict_file` with all that the training knows: the patch, the spacing, the window, the regions. `overlap`,
    `batch`, `flips`, `passes` and `probabilities`: as in `predict_volume`. It is what each worker of a cluster holds.
    """

    def __init__(self, run: str | Path, target: str | Path, *, overlap: float = 0.5, batch: int = 1,
                 flips: Sequence[int] = (), passes: int | None = None, probabilities: bool = False) -> None:
        settings, facts = read_run(run)
        regions = facts.get("regions", [])
        self.target, self.channels, device = Path(target), len(facts["channels"]), _device()
        net: nn.Module = settings.new_net(self.channels, classes=len(regions) or len(facts["labels"]))
        load_weights(net, run).to(device)
        patch = settings.data.patch
        if len(patch) == 2:
            net, patch = SliceBySlice(net), (*patch, 1)
        generator = None if passes is None else torch.Generator(device).manual_seed(settings.recipe.seed)
        self.net = net
        self.options: dict[str, Any] = dict(
            patch=patch, overlap=overlap, batch=batch, flips=tuple(flips), passes=passes, generator=generator,
            probabilities=probabilities, regions=[region["written"] for region in regions] or None,
            prepare=settings.data.prepare, spacing_mm=settings.data.spacing_mm)
        self.target.mkdir(parents=True, exist_ok=True)

    def __call__(self, case: Case) -> None:
        """Writes NAME.nii.gz, and the maps beside it. Errors: as `predict_file`."""
        first, *others = case.images
        predict_file(self.net, case.images if others else first, target=answer_of(case, self.target),
                     channels=self.channels > 1, **self.options)


def answer_of(case: Case, target: str | Path) -> Path:
    r"""The file of a case's labels in the folder `target`.

    >>> answer_of(Case("p1", (Path("p1.nii.gz"),)), "said").name
    'p1.nii.gz'
    """
    return Path(target) / f"{case.name}.nii.gz"


def cases_left(cases: Sequence[Case], target: str | Path) -> list[Case]:
    r"""Those of the `cases` that have no labels in the folder `target` yet.

    >>> [case.name for case in cases_left([Case("p1", (Path("p1.nii.gz"),))], "no/such/folder")]
    ['p1']
    """
    return [case for case in cases if not answer_of(case, target).exists()]


def scans_in(source: str | Path) -> list[Case]:
    r"""The scans of a folder by name: of one with a `dataset.json` its test cases, else its files and DICOM folders.

    Files that are called NAME_0000, NAME_0001, ... are the channels of one scan. `source` may be one file, too.
    Errors: FileNotFoundError for no folder; ValueError for one without a scan, or with two of one name.

    >>> scans_in("scan.nii.gz")[0].name
    'scan'
    """
    source = Path(source)
    if source.name.endswith(ENDINGS):
        return _grouped([source])
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: expected a folder of scans, got none")
    if (source / "dataset.json").exists():
        cases = list(read_folder(source).test)
    else:
        cases = _grouped(path for path in sorted(source.iterdir())
                         if not path.name.startswith(".") and (path.is_dir() or path.name.endswith(ENDINGS)))
    if not cases:
        raise ValueError(f"{source}: expected scans ({', '.join(ENDINGS)}, or folders of DICOM), got none")
    return cases


def _grouped(paths: Iterable[Path]) -> list[Case]:
    channels: dict[str, dict[str, Path]] = {}
    for path in paths:
        stem = path.name if path.is_dir() else _stem(path.name)
        found = None if path.is_dir() else CHANNEL.fullmatch(stem)
        name, number = (found[1], found[2]) if found else (stem, "")
        files = channels.setdefault(name, {})
        if number in files or files and "" in (number, *files):
            raise ValueError(f"{path.parent}: expected one scan for {name}, got {path.name} beside others")
        files[number] = path
    return [Case(name, tuple(files.values())) for name, files in channels.items()]


def _shown(cases: Sequence[Case]) -> Iterator[Case]:
    """A bar in a terminal, a line for each scan in a log."""
    if sys.stderr.isatty():
        yield from tqdm(cases, unit="scan", leave=False)
        return
    for n, case in enumerate(cases, start=1):
        print(f"[{n}/{len(cases)}] {case.name}", file=sys.stderr, flush=True)
        yield case


def _device() -> torch.device:
    """Each process on a machine has a GPU of its own, where there are as many."""
    device = runtime.device(verbose=False)
    if device.type != "cuda":
        return device
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)) % torch.cuda.device_count())


def _stem(name: str) -> str:
    return next(name.removesuffix(ending) for ending in ENDINGS if name.endswith(ending))
