r"""The samples of a training as one endless stream, in which sample n is a function of (seed, n) alone."""
from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from medlearn.base.random import generators_on_loan, seed_all
from medlearn.base.validation import is_unusual, kind_of
from medlearn.train.recipe import Recipe

CPU = torch.device("cpu")
_ORDER, _SAMPLE, _STEP, _VALIDATION = range(4)              # what a seed is for


@runtime_checkable
class Samples(Protocol):
    """What `fit` trains on: `len(samples)`, and `samples[i]`, a pair (image, target). A torch Dataset is one.

    Shapes: the image `(C, *S)`, float; the target whatever the loss takes, labels `(*S)` as a rule. Chapter 7.

    >>> isinstance([(torch.zeros(1, 8, 8), torch.zeros(8, 8).long())], Samples)
    True
    """

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Any: ...


class Stream(Dataset):
    r"""Epoch after epoch of the data, each in an order of its own: sample n is `data[order(n // N)[n % N]]`.

    What `data[i]` draws from torch's, NumPy's or Python's generator, as a random augmentation does, is seeded by
    (seed, n), too. So a place in the stream says all: which samples come next and what is done to them, in however
    many processes.
    """

    def __init__(self, data: Samples, seed: int):
        self.data, self.seed = data, seed
        self._epoch = -1                                    # whose order is known
        self._order: list[int] = []

    def __getitem__(self, n: int) -> Any:
        return self.__getitems__([n])[0]

    def __getitems__(self, ns: Sequence[int]) -> list[Any]:     # a loader's name for it: the generators are lent once
        with generators_on_loan(CPU):
            return [self._sample(n) for n in ns]

    def _sample(self, n: int) -> Any:
        epoch, place = divmod(n, len(self.data))
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(_seed(self.seed, _ORDER, epoch))
            self._epoch, self._order = epoch, torch.randperm(len(self.data), generator=generator).tolist()
        seed_all(_seed(self.seed, _SAMPLE, n), CPU)
        return self.data[self._order[place]]


def batches(data: Samples, recipe: Recipe, first_step: int, process: int, processes: int) -> DataLoader:
    """The batches of one process from a step on, `accumulate` for each step: its shares of the global ones."""
    if recipe.workers and (where := first_sample(data, recipe.seed)[0].device.type) != "cpu":
        raise ValueError(f"workers: expected 0 for data on a GPU, which no other process can read, got "
                         f"{recipe.workers} and data on {where}")
    parts = processes * recipe.accumulate
    share = recipe.batch_size // parts
    starts = range((first_step * parts + process) * share, recipe.steps * recipe.batch_size, processes * share)
    return DataLoader(Stream(data, recipe.seed), batch_sampler=[list(range(n, n + share)) for n in starts],
                      num_workers=recipe.workers, worker_init_fn=_leave_interrupts_to_the_parent,
                      generator=torch.Generator())          # its own: the caller's is not touched


def seed_step(seed: int, step: int, process: int, device: torch.device) -> None:
    """Makes all that is random in a step, as dropout is, a function of its number: there is no state to keep."""
    seed_all(_seed(seed, _STEP, step, process), device)


def seed_validation(seed: int, step: int, device: torch.device) -> None:
    """The same for the validation after a step."""
    seed_all(_seed(seed, _VALIDATION, step), device)


def first_sample(data: Samples, seed: int) -> Any:
    """What a training begins with. Errors: TypeError or ValueError where it is no pair (image, target)."""
    if not hasattr(data, "__len__") or not hasattr(data, "__getitem__") or is_unusual(data):
        raise TypeError(f"data: expected len(data) and data[i], as of a torch Dataset, got {kind_of(data)}")
    if len(data) == 0:
        raise ValueError("data: expected at least one (image, target), got none")
    sample = Stream(data, seed)[0]
    if not isinstance(sample, (tuple, list)) or len(sample) != 2:
        raise TypeError(f"data: expected pairs (image, target), got {kind_of(sample)}")
    if not isinstance(sample[0], torch.Tensor) or is_unusual(sample[0]) or not sample[0].is_floating_point():
        raise TypeError(f"data: expected float tensors (C, *S) as images, got {kind_of(sample[0])}")
    if is_unusual(sample[1]):
        raise TypeError(f"data: expected targets that batches can be made of, got {kind_of(sample[1])}")
    return sample


def _leave_interrupts_to_the_parent(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)            # Ctrl-C goes to every process; a step needs its samples


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
