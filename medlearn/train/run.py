r"""What a training knows beside its loop: the history, the best weights, and where it keeps them."""
from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from medlearn.base.validation import kind_of
from medlearn.train.agreement import check_processes_agree
from medlearn.train.checkpoints import (Checkpoint, optimizer_tensors, plain_weights, put_optimizer, put_plain_weights,
                                        read_checkpoint, write_checkpoint)
from medlearn.train.fingerprint import Fingerprint, difference
from medlearn.train.history import OWN_COLUMNS, History
from medlearn.train.interrupt import Interrupt
from medlearn.train.lock import FolderLock
from medlearn.train.recipe import Recipe
from medlearn.train.samples import seed_validation

if TYPE_CHECKING:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer

Validation = Callable[[nn.Module], Mapping[str, float]]

FETCH = 10                                  # losses stay on the device for as many steps, for a GPU waits at each look
FREE = {"steps", "accumulate", "precision", "workers"}      # of a recipe: may change between two parts of a training


@dataclass(eq=False)
class Run:
    """The bookkeeper of `fit`, with what `fit` was given."""

    net: nn.Module
    optimizer: AcceleratedOptimizer
    accelerator: Accelerator
    recipe: Recipe
    samples: int                                            # in the data
    fingerprint: Fingerprint | None                         # of the data
    validation: Validation | None
    patience: int | None
    folder: Path | None
    every: int
    history: History = field(default_factory=History)
    lock: FolderLock | None = None                          # of the folder, in the process that writes to it
    best: dict[str, Tensor] = field(default_factory=dict)
    best_step: float | None = None                          # whose weights these are
    unbounded: frozenset[str] = frozenset()                 # what is not finite from the start, as a mask of -inf
    losses: list[Tensor] = field(default_factory=list)      # of the steps since the last look, still on the device
    saved: int | None = None                                # step of the newest checkpoint known to be good
    interrupt: Interrupt = field(default_factory=Interrupt)

    def resume(self) -> int:
        """The step to go on from: 0, or that of the checkpoint, which is then loaded."""
        self.unbounded = frozenset(_not_finite(plain_weights(self.net)))
        checkpoint = None if self.folder is None else read_checkpoint(self.folder)
        check_processes_agree({"step": 0 if checkpoint is None else checkpoint.step})       # of one folder for all
        if checkpoint is not None:
            self._load(checkpoint)
            if not checkpoint.facts.get("validated", True):
                self._validate()
                self._save()
        return len(self.history.rows)

    def over(self) -> bool:
        """Whether all steps are done, or nothing better has come for too long."""
        out_of_patience = self.patience is not None and self.history.stale() >= self.patience
        return len(self.history.rows) == self.recipe.steps or out_of_patience

    def after_step(self, bar: Any, step: int, loss: Tensor) -> bool:
        """Writes a step down; now and then looks at the losses, validates and saves. True when the training is over."""
        self.losses.append(loss)
        bar.update()
        stop = (step + 1) % self.every == 0 or step + 1 == self.recipe.steps
        stop_now = self.interrupt.asked and self.accelerator.num_processes == 1     # several ask each other with FETCH
        if stop or stop_now or len(self.losses) == FETCH:
            interrupted = self._fetch_losses()
            bar.set_postfix({name: f"{value:.3g}" for name, value in self.history.rows[-1].items() if name != "step"})
            if interrupted:
                self._save(validated=not stop)
                self.accelerator.wait_for_everyone()        # one that ended now would take the one that writes along
                self.interrupt.heed()
        if stop:
            self._validate()
            self._save()
        return stop and self.over()

    def finish(self) -> None:
        """Leaves the network with the weights that were asked for, and all processes at the same place."""
        self.accelerator.wait_for_everyone()                # the checkpoint is there when any of them returns
        if self.best:
            put_plain_weights(self.net, self.best, "best")
        if self.history.best() is None and self.history.stale():
            warnings.warn("validation: expected a score, its first number, got nothing but NaN: no weights are the "
                          "best, and the network has the last", stacklevel=3)

    def _load(self, checkpoint: Checkpoint) -> None:
        self._check_same_training(checkpoint)
        put_plain_weights(self.net, checkpoint.net, str(self.folder))
        put_optimizer(self.optimizer.optimizer, checkpoint.optimizer)
        if self.accelerator.scaler is not None and checkpoint.facts["scaler"] is not None:
            self.accelerator.scaler.load_state_dict(checkpoint.facts["scaler"])
        self.history.rows.extend(checkpoint.facts["history"])
        if self.patience is not None and checkpoint.best:
            self.best = checkpoint.best
            self.best_step = checkpoint.facts.get("best_step", (self.history.best() or {}).get("step"))
        self.saved = checkpoint.step

    def _fetch_losses(self) -> bool:
        """The losses go to the history. Returned is whether any process was interrupted."""
        asked = self.losses[0].new_tensor(self.interrupt.asked)
        *losses, interrupted = self.accelerator.reduce(torch.stack([*self.losses, asked]), "mean").tolist()
        self.losses.clear()
        for loss in losses:
            done = len(self.history.rows)
            if not math.isfinite(loss):
                raise FloatingPointError(f"loss: {loss} at step {done + 1} of {self.recipe.steps}. "
                                         f"Look for NaN in the data; {self._advice()}")
            self.history.rows.append({"step": done + 1, "loss": loss, "learning_rate": self.recipe.rate(done)})
        return interrupted > 0

    def _validate(self) -> None:
        if self.validation is None:
            return
        row = self.history.rows[-1]
        told: list[dict[str, float]] = [{}]
        if self.accelerator.is_main_process:
            self.net.eval()
            seed_validation(self.recipe.seed, int(row["step"]), self.accelerator.device)
            try:
                with torch.no_grad(), self.interrupt.at_once():
                    told = [_numbers(self.validation(self.net))]
            except BaseException:                           # the steps before it are not lost with it
                self._save(validated=False)
                raise
            self.net.train()
        if self.accelerator.num_processes > 1:
            from accelerate.utils import broadcast_object_list

            broadcast_object_list(told)
        row.update(told[0])
        if self.patience is not None and self._is_best(row):
            self.best = {name: value.detach().clone() for name, value in plain_weights(self.net).items()}
            self.best_step = row["step"]

    def _is_best(self, row: dict[str, float]) -> bool:
        """Among those whose weights were kept: an earlier part of the training may have kept none."""
        kept = [old for old in self.history.rows if old["step"] == self.best_step]
        return History([*kept, row]).best() is row

    def _save(self, *, validated: bool = True) -> None:
        """Writes a checkpoint where there is a folder; one not `validated` is when a training goes on from it."""
        weights, memory = plain_weights(self.net), optimizer_tensors(self.optimizer.optimizer)
        for what, tensors in {"net: weights": weights, "optimizer: averages": memory}.items():
            if wrong := [name for name in _not_finite(tensors) if name not in self.unbounded]:
                raise FloatingPointError(f"{what} that are not finite after step {len(self.history.rows)}; first "
                                         f"{wrong[0]}; {self._advice()}")
        if self.folder is None or self.lock is None:
            return
        self.lock.check()
        scaler = self.accelerator.scaler
        facts = {"recipe": asdict(self.recipe), "samples": self.samples, "fingerprint": self.fingerprint,
                 "history": self.history.rows, "best_step": self.best_step, "validated": validated,
                 "scaler": None if scaler is None else scaler.state_dict()}
        checkpoint = Checkpoint(len(self.history.rows), weights, memory, self.best, facts)
        write_checkpoint(self.folder, checkpoint, before=self.saved)
        self.saved = checkpoint.step

    def _advice(self) -> str:
        kept = "" if self.saved is None else f". The checkpoint of step {self.saved} in {self.folder} is untouched"
        return f"try a smaller learning_rate, a warmup, clip, or precision='fp32'{kept}"

    def _check_same_training(self, checkpoint: Checkpoint) -> None:
        then, now = checkpoint.facts["recipe"], asdict(self.recipe)
        for name in now:
            if name not in FREE and then.get(name) != now[name]:
                raise ValueError(f"{name}: expected {then.get(name)!r}, with which the checkpoint in {self.folder} was "
                                 f"made, got {now[name]!r}. Give another folder to begin a new training")
        if checkpoint.facts["samples"] != self.samples:
            raise ValueError(f"data: expected the {checkpoint.facts['samples']} samples of the checkpoint in "
                             f"{self.folder}, got {self.samples}")
        if found := difference(checkpoint.facts.get("fingerprint"), self.fingerprint):
            raise ValueError(f"data: expected the data of the checkpoint in {self.folder}, whose first sample has "
                             f"{found[0]}, got one with {found[1]}. Give another folder to begin a new training")
        if checkpoint.step > self.recipe.steps:
            raise ValueError(f"steps: expected {checkpoint.step} or more, which the checkpoint in {self.folder} has "
                             f"done, got {self.recipe.steps}")


def _numbers(told: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(told, Mapping) or not told:
        raise TypeError(f"validation: expected numbers by name, as {{'dice': 0.8}}, got {told!r}")
    if taken := [name for name in told if name in OWN_COLUMNS]:
        raise ValueError(f"validation: expected other names than {', '.join(OWN_COLUMNS)}, got {taken[0]!r}")
    return {name: _number(name, value) for name, value in told.items()}


def _number(name: str, value: Any) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    if not isinstance(value, Real):
        raise TypeError(f"validation: expected a number for {name!r}, got {kind_of(value)}")
    return float(value)


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
