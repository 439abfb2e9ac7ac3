"""Randomness that a seed decides: noise from a generator that is named, and everybody's generators on loan."""
from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Generator, Tensor

from medlearn.base.private import mps_generator
from medlearn.base.validation import kind_of


def check_generator(generator: Generator) -> Generator:
    """Refuses anything but a generator of random numbers."""
    if not isinstance(generator, Generator):
        raise TypeError(f"generator: expected a torch.Generator, got {kind_of(generator)}")
    return generator


def normal(shape: Sequence[int], generator: Generator | Sequence[Generator]) -> Tensor:
    """Standard normal numbers from the batch's generator, or from each image's own."""
    if isinstance(generator, Generator):
        return torch.randn(*shape, generator=generator, device=generator.device)
    if not isinstance(generator, Sequence) or not all(isinstance(g, Generator) for g in generator):
        raise TypeError(f"generator: expected a torch.Generator or one for each image, got {kind_of(generator)}")
    if len(generator) != shape[0]:
        raise ValueError(f"generator: expected one, or one for each of {shape[0]} images, got {len(generator)}")
    draws = [torch.randn(*shape[1:], generator=g, device=g.device) for g in generator]
    return torch.stack(draws) if draws else torch.empty(*shape)


def generators_of(device: torch.device) -> list[Generator]:
    """torch's generators of the CPU and of a device."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        generators.append(mps_generator())
    return generators


@contextmanager
def generators_on_loan(device: torch.device) -> Iterator[None]:
    """torch's generators of the CPU and of a device, and NumPy's and Python's: afterwards all are as they were."""
    numpy, python = np.random.get_state(), random.getstate()
    generators = generators_of(device)
    states = [generator.get_state() for generator in generators]
    try:
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.set_state(state)
        np.random.set_state(numpy)
        random.setstate(python)


def seed_numpy_and_python(seed: int) -> None:
    """NumPy's and Python's own generators start from a seed; NumPy takes its last 32 bits."""
    np.random.seed(seed % 2 ** 32)
    random.seed(seed)


def seed_all(seed: int, device: torch.device) -> None:
    """All that is random on the CPU and a device starts from a seed.

    `torch.manual_seed` is slower by far: on a machine without a GPU it writes down who asked, in case one turns up.
    """
    for generator in generators_of(device):
        generator.manual_seed(seed)
    seed_numpy_and_python(seed)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What torch, NumPy and `random` draw within it is a function of the seed; their generators notice nothing."""
    with generators_on_loan(device):
        seed_all(seed, device)
        yield
