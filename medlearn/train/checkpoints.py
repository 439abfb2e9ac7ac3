r"""Checkpoints that survive whatever ends a process: written aside, checked when read, the one before kept."""
from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from medlearn.base.files import put_weights, read_tensors, write_tensors

FORMAT = 1                                  # of the files; those without a number are of this one
_PARTS = ("net", "best", "optimizer")
# what a kill left of one, too; other files in the folder are not ours
_NAME = re.compile(r"(\.\d+\.\d+\.partial\.)?step-(\d{8,})(\.\d+)?\.(safetensors|partial)")
_COMPILED = "_orig_mod."                                            # what torch.compile puts before a module's names


class NewerFormat(ValueError):
    """A checkpoint that this version cannot read, though nothing is wrong with it."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    r"""All that a training goes on from: weights, the best ones so far, the optimiser's memory, and plain facts.

    `best` is empty where nothing asks for it; `facts` is what JSON can hold: history, recipe, scaler, the data's size
    and fingerprint. The schedule, the random numbers and the place in the data are functions of `step` (see
    `Recipe.rate`, `Stream`).
    """

    step: int
    net: dict[str, Tensor]
    optimizer: dict[str, Tensor] = field(default_factory=dict)
    best: dict[str, Tensor] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)


def write_checkpoint(folder: Path, checkpoint: Checkpoint, before: int | None = None) -> None:
    """Adds `step-N.safetensors` to a folder, whole or not at all, and drops all others but that of step `before`.

    None is dropped where `before` is N itself, which is then written anew.
    """
    tensors = {f"{part}/{name}": tensor for part in _PARTS for name, tensor in getattr(checkpoint, part).items()}
    path = _path(folder, checkpoint.step)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(path, tensors, {"format": FORMAT, "step": checkpoint.step, **checkpoint.facts})
    if before == checkpoint.step:
        return
    for other in folder.iterdir():
        if _NAME.fullmatch(other.name) and other not in (path, before is not None and _path(folder, before)):
            other.unlink(missing_ok=True)


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a folder that can be read, None where it has none; warns of damaged ones it passes over.

    Errors: ValueError where all are damaged, and for one of a newer format, which nothing older stands in for; OSError
    for one that cannot be opened, which says nothing against it.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"checkpoint: expected a folder, got the file {folder}")
    damaged = []
    paths = [path for path in folder.glob("step-*.safetensors") if _NAME.fullmatch(path.name)]
    for path in sorted(paths, key=_step_of, reverse=True):
        try:
            checkpoint = _read(path)
        except NewerFormat:
            raise
        except ValueError as error:
            damaged.append(str(error))
            continue
        if damaged:
            warnings.warn(f"{'; '.join(damaged)}. Going on from {path}", stacklevel=3)
        return checkpoint
    if damaged:
        raise ValueError(f"{'; '.join(damaged)}. No other checkpoint is left in {folder}: "
                         "give another folder, or remove it to begin anew")
    return None


def load_weights(net: nn.Module, folder: str | os.PathLike) -> nn.Module:
    r"""The network, with the weights that `fit(..., checkpoint=folder)` kept: the best, or the last where none is best.

    They go where `net` is. It is set to evaluation and returned.
    Errors: ValueError where `folder` has no checkpoint, only damaged ones, or those of another network. Chapter 7.

    >>> from tempfile import TemporaryDirectory
    >>> trained, net = nn.Linear(2, 2), nn.Linear(2, 2)
    >>> with TemporaryDirectory() as folder:
    ...     write_checkpoint(Path(folder), Checkpoint(1, trained.state_dict()))     # `fit` does this
    ...     torch.equal(load_weights(net, folder).weight, trained.weight)
    True
    """
    checkpoint = read_checkpoint(Path(folder))
    if checkpoint is None:
        raise ValueError(f"folder: expected one with a checkpoint, step-*.safetensors, got {folder}")
    put_plain_weights(net, checkpoint.best or checkpoint.net, folder)
    return net.eval()


def plain_weights(net: nn.Module) -> dict[str, Tensor]:
    """The weights by the names that they have in the network itself, without torch.compile and without DataParallel."""
    return {_plain(name): weight for name, weight in _unwrapped(net).state_dict().items()}


def put_plain_weights(net: nn.Module, weights: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """The way back from `plain_weights`, into a network that is compiled or wrapped in another way, or not at all."""
    net = _unwrapped(net)
    names = {_plain(name): name for name in net.state_dict()}
    put_weights(net, {names.get(_plain(name), name): weight for name, weight in weights.items()}, source)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser remembers of each weight, by "number/name"; its settings come from the recipe."""
    return {f"{number}/{name}": value for number, memory in optimizer.state_dict()["state"].items()
            for name, value in memory.items() if isinstance(value, Tensor)}


def put_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The way back from `optimizer_tensors`, each tensor laid out in memory like its weight: rounding depends on it."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split("/")
        like = weights[int(number)]
        same_shape = value.ndim > 0 and value.shape == like.shape           # a number, as Adam's step, stays as it is
        state.setdefault(int(number), {})[name] = torch.empty_like(like).copy_(value) if same_shape else value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _unwrapped(net: nn.Module) -> nn.Module:
    while isinstance(net, (nn.DataParallel, nn.parallel.DistributedDataParallel)) or _COMPILED[:-1] in net._modules:
        net = net.get_submodule(_COMPILED[:-1] if _COMPILED[:-1] in net._modules else "module")
    return net


def _plain(name: str) -> str:
    return name.replace(_COMPILED, "")


def _step_of(path: Path) -> int:
    """The step that a file tells of, or that of its name where it tells none: a copy may have another name."""
    from safetensors import SafetensorError, safe_open

    step = int(path.stem.split("-")[1].split(".")[0])
    try:
        with open(path, "rb"):                              # an error of the machine is raised, and is no damage
            pass
        with safe_open(path, "pt") as file:
            return int(json.loads(file.metadata()["medlearn"])["step"])
    except (SafetensorError, ValueError, KeyError, TypeError):
        return step


def _read(path: Path) -> Checkpoint:
    with open(path, "rb"):                                  # as above
        pass
    tensors, facts = read_tensors(path)
    if (format := facts.pop("format", FORMAT)) > FORMAT:
        raise NewerFormat(f"{path}: expected a checkpoint of format {FORMAT} or before, got format {format}, which a "
                          "newer medlearn wrote: update medlearn to read it")
    parts = {part: {key.removeprefix(f"{part}/"): tensor for key, tensor in tensors.items()
                    if key.startswith(f"{part}/")} for part in _PARTS}
    try:
        return Checkpoint(facts.pop("step"), facts=facts, **parts)
    except KeyError as error:
        raise ValueError(f"{path} is damaged or no checkpoint (KeyError: {error})") from error


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}.safetensors"
