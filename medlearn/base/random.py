"""Randomness that a seed decides: noise from a generator that is named, and torch's own generators on loan."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

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


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What torch draws within it, weights and masks, is a function of the seed; its own generators notice nothing."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        generators.append(torch.cuda.default_generators[index])
    elif device.type == "mps":
        generators.append(mps_generator())
    states = [generator.get_state() for generator in generators]
    try:
        for generator in generators:
            generator.manual_seed(seed)
        yield
    finally:
        for generator, state in zip(generators, states):
            generator.set_state(state)
