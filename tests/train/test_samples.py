"""The stream of samples: every sample once an epoch, a function of (seed, number) in any process."""
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny
from torch.utils.data import TensorDataset

from medlearn.train import Recipe, Samples
from medlearn.train.samples import Stream, batches, first_sample, seed_step, seed_validation


def seen(recipe, n=7, first=0, process=0, processes=1):
    data = TensorDataset(torch.arange(float(n)), torch.arange(n))
    return [label.tolist() for _, label in batches(data, recipe, first, process, processes)]


def test_every_epoch_has_every_sample_once_in_an_order_of_its_own():
    numbers = sum(seen(Recipe(steps=7, batch_size=5)), [])
    epochs = [numbers[i:i + 7] for i in range(0, 35, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert numbers == sum(seen(Recipe(steps=7, batch_size=5)), [])
    assert numbers != sum(seen(Recipe(steps=7, batch_size=5, seed=1)), [])


def test_a_batch_may_be_larger_than_the_data():
    assert [len(batch) for batch in seen(Recipe(steps=2, batch_size=16), n=3)] == [16, 16]


@pytest.mark.parametrize("accumulate, processes", [(1, 1), (3, 1), (1, 2), (2, 3), (1, 12)])
def test_processes_and_parts_share_the_same_batches(accumulate, processes):
    recipe = Recipe(steps=4, batch_size=12, accumulate=accumulate)
    whole = seen(Recipe(steps=4, batch_size=12), first=1)
    shares = [seen(recipe, first=1, process=process, processes=processes) for process in range(processes)]
    assert all(len(share) == 3 * accumulate for share in shares)
    for step, batch in enumerate(whole):
        parts = sum((part for share in shares for part in share[step * accumulate:(step + 1) * accumulate]), [])
        assert sorted(parts) == sorted(batch)


def test_a_sample_is_a_function_of_its_number_in_any_process():
    stream = Stream(tiny.Pictures(augment=True), seed=3)
    first, other = stream[40][0], stream[41][0]
    assert torch.equal(stream[40][0], first) and not torch.equal(first, other)
    recipe = Recipe(steps=3, batch_size=4, workers=2)
    alone = [image for image, _ in batches(tiny.Pictures(augment=True), replace(recipe, workers=0), 0, 0, 1)]
    helped = [image for image, _ in batches(tiny.Pictures(augment=True), recipe, 0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(alone, helped, strict=True))


class Drawn:
    """Samples drawn from each of the three generators that a library may use."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return torch.tensor([torch.rand(()).item(), np.random.rand(), random.random()]), i


@pytest.mark.parametrize("workers", [0, 2])
def test_numpy_and_python_are_seeded_by_sample_too(workers):
    first = [Stream(Drawn(), seed=3)[n][0].tolist() for n in range(4)]
    np.random.seed(0), random.seed(0)
    loaded = batches(Drawn(), Recipe(steps=2, batch_size=2, seed=3, workers=workers), 0, 0, 1)
    again = [row for image, _ in loaded for row in image.tolist()]
    assert again == first and len({tuple(row) for row in first}) == 4
    assert all(a != b for row, other in zip(first, first[1:]) for a, b in zip(row, other))


def test_loading_a_sample_leaves_the_callers_generators_alone():
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()
    Stream(Drawn(), seed=0)[0]
    assert torch.equal(torch.get_rng_state(), states[0]) and np.random.get_state()[1].tolist() == states[1]


def test_steps_processes_and_validations_have_seeds_of_their_own():
    def drawn(seed, *numbers):
        seed(*numbers, torch.device("cpu"))
        return torch.rand(()).item(), np.random.rand(), random.random()
    draws = [drawn(seed_step, 0, 1, 0), drawn(seed_step, 0, 2, 0), drawn(seed_step, 1, 1, 0), drawn(seed_step, 0, 1, 1),
             drawn(seed_validation, 0, 1), drawn(seed_validation, 0, 2)]
    assert all(len(set(column)) == len(draws) for column in zip(*draws)) and drawn(seed_step, 0, 1, 0) == draws[0]


def test_a_list_is_samples_and_an_iterator_is_not():
    assert isinstance([1], Samples) and not isinstance(iter([1]), Samples)


@pytest.mark.parametrize("data, words", [
    ([], "data: expected at least one"),
    (iter([]), "data: expected len"),
    ([torch.zeros(1, 6, 6)], "data: expected pairs .*, got torch.float32"),
    ([(torch.zeros(1, 6, 6).long(), 0)], r"data: expected float tensors \(C, \*S\) as images, got torch.int64"),
], ids=["empty", "stream", "no pairs", "integers"])
def test_wrong_data_is_refused(refused, data, words):
    with refused(words):
        first_sample(data, 0)
