"""Randomness that a seed decides, and generators that are given back as they were."""
import random

import numpy as np
import pytest
import torch

from medlearn.base.random import (check_generator, generators_of, generators_on_loan, normal, seed_all,
                                  seed_numpy_and_python, seeded)

CPU = torch.device("cpu")


def drawn():
    return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()


def states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("seed", [0, 1, 2 ** 32 - 1, 2 ** 63 - 1, -5])
def test_a_seed_decides_all_three_generators(seed):
    with seeded(seed, CPU):
        first = drawn()
    drawn()
    with seeded(seed, CPU):
        assert drawn() == first
    with seeded(seed + 1, CPU):
        assert all(a != b for a, b in zip(drawn(), first))


def test_it_is_the_seed_that_each_library_knows():
    with seeded(7, CPU):
        torch_draw, numpy_draw, python_draw = drawn()
    assert torch_draw == torch.rand(2, generator=torch.Generator().manual_seed(7)).tolist()
    assert numpy_draw == np.random.RandomState(7).rand(2).tolist() and python_draw == random.Random(7).random()


@pytest.mark.parametrize("error", [None, ValueError])
def test_generators_on_loan_come_back_even_from_an_error(error):
    before = states()
    try:
        with generators_on_loan(CPU):
            drawn(), torch.manual_seed(3), seed_numpy_and_python(3)
            if error:
                raise error
    except ValueError:
        pass
    assert states() == before


def test_all_starts_from_a_seed_as_torch_does_it():
    assert generators_of(CPU) == [torch.default_generator]
    seed_all(11, CPU)
    ours = drawn()
    torch.manual_seed(11), seed_numpy_and_python(11)
    assert drawn() == ours


def test_noise_is_the_batchs_or_each_images_own():
    seeds = lambda *numbers: [torch.Generator().manual_seed(n) for n in numbers]
    together, = seeds(0)
    assert torch.equal(normal((2, 3), together), torch.randn(2, 3, generator=torch.Generator().manual_seed(0)))
    both, other = normal((2, 3), seeds(4, 5)), normal((2, 3), seeds(5, 4))
    assert torch.equal(both, other.flip(0)) and normal((0, 3), []).shape == (0, 3)


def test_what_is_no_generator_is_refused(refused):
    generator = torch.Generator()
    assert check_generator(generator) is generator
    for wrong in (None, 0, [generator]):
        with refused("generator: expected a torch.Generator, got"):
            check_generator(wrong)
    with refused("generator: expected a torch.Generator or one for each image, got"):
        normal((2, 3), 0)
    with refused("generator: expected one, or one for each of 2 images, got 1"):
        normal((2, 3), [generator])
