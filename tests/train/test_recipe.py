"""The recipe and its schedules."""
import math

import jaxtyping
import numpy as np
import pytest
import torch
from torch import optim

from medlearn.train import Recipe


@pytest.mark.parametrize("wrong, words", [
    (dict(steps=0), "steps: expected a whole number, 1 or more, got 0"),
    (dict(steps=10.0), "steps: expected a whole number, got 10.0"),
    (dict(batch_size=True), "batch_size: expected a whole number, got True"),
    (dict(learning_rate=0.0), "learning_rate: expected above 0, got 0.0"),
    (dict(learning_rate=math.nan), "learning_rate: .* got nan"),
    (dict(learning_rate="fast"), "learning_rate: expected a number, got 'fast'"),
    (dict(weight_decay=-1), "weight_decay: expected 0 or more, got -1"),
    (dict(clip=0), "clip: expected above 0, got 0"),
    (dict(optimizer="adam"), 'optimizer: expected "adamw" or "sgd", got .adam.'),
    (dict(schedule="step"), 'schedule: expected "constant", "cosine" or "poly", got .step.'),
    (dict(precision="half"), 'precision: expected "auto", "fp32", "bf16" or "fp16", got .half.'),
    (dict(steps=5, warmup=5), "warmup: expected fewer than the 5 steps, got 5"),
    (dict(batch_size=4, accumulate=3), "accumulate: expected a divisor of batch_size = 4, got 3"),
    (dict(seed=-1), "seed: expected a whole number, 0 or more, got -1"),
], ids=lambda value: " ".join(value) if isinstance(value, dict) else "")
def test_wrong_recipes_are_refused(refused, wrong, words):
    with refused(words):
        Recipe(**wrong)


def test_numbers_of_numpy_are_numbers_and_become_plain(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)            # the annotations say int and float
    recipe = Recipe(steps=np.int64(3), learning_rate=np.float32(0.5), weight_decay=np.float64(0), clip=np.float16(1))
    assert recipe == Recipe(steps=3, learning_rate=0.5, weight_decay=0.0, clip=1.0)
    assert {type(value) for value in vars(recipe).values()} == {int, float, str}


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize("schedule, reference", [
    ("constant", lambda o, n: optim.lr_scheduler.ConstantLR(o, factor=1.0)),
    ("cosine", lambda o, n: optim.lr_scheduler.CosineAnnealingLR(o, n)),
    ("poly", lambda o, n: optim.lr_scheduler.PolynomialLR(o, n, power=0.9)),
])
def test_the_schedules_are_those_of_torch(schedule, reference, warmup):
    recipe = Recipe(steps=20, learning_rate=0.3, schedule=schedule, warmup=warmup)
    optimizer = optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    scheduler = reference(optimizer, 20 - warmup)
    for step in range(warmup, 20):
        assert recipe.rate(step) == pytest.approx(scheduler.get_last_lr()[0], abs=1e-9)
        optimizer.step()
        scheduler.step()
    assert [recipe.rate(step) for step in range(warmup)] == pytest.approx([0.3 * i / 4 for i in range(1, warmup + 1)])


def test_the_optimisers_are_those_of_torch():
    net = torch.nn.Linear(2, 2)
    adamw, sgd = (Recipe(optimizer=name, weight_decay=0.1).new_optimizer(net) for name in ("adamw", "sgd"))
    assert type(adamw) is optim.AdamW and type(sgd) is optim.SGD
    assert adamw.defaults["weight_decay"] == sgd.defaults["weight_decay"] == 0.1
    assert sgd.defaults["momentum"] == 0.9 and sgd.defaults["nesterov"]
