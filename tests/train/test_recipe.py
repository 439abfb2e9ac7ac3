"""The recipe, the schedule, the history and the loss at several resolutions."""
import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import optim
from torch.nn import functional as F

from medlearn.losses import dice_ce_loss
from medlearn.train import History, Recipe, deep_supervision
from medlearn.train.supervision import resize_labels


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


# history

ROWS = [{"step": 1, "loss": 3.0, "learning_rate": 0.1},
        {"step": 2, "loss": 2.0, "learning_rate": 0.1, "dice": 0.5, "hd": 9.0},
        {"step": 3, "loss": 1.0, "learning_rate": 0.1, "dice": 0.7, "hd": 12.0},
        {"step": 4, "loss": 1.0, "learning_rate": 0.1, "dice": 0.7, "hd": 1.0},
        {"step": 5, "loss": 1.0, "learning_rate": 0.1, "dice": math.nan, "hd": 1.0}]


def test_a_history_is_read_by_column():
    history = History(ROWS)
    assert history.column("loss") == [3.0, 2.0, 1.0, 1.0, 1.0]
    assert history.curve("hd") == ([2, 3, 4, 5], [9.0, 12.0, 1.0, 1.0])


def test_the_best_row_has_the_highest_first_number():
    history = History(ROWS)
    assert history.best()["step"] == 3 and history.stale() == 2
    assert History(ROWS[:1]).best() is None and History(ROWS[:1]).stale() == 0
    assert History(ROWS[4:]).best() is None and History(ROWS[4:]).stale() == 1      # NaN is no score


def test_a_column_that_no_row_has_is_named():
    with pytest.raises(KeyError, match="expected one of step, loss, learning_rate, dice, hd, got 'iou'"):
        History(ROWS).column("iou")
    with pytest.raises(KeyError, match="there is no row"):
        History().column("loss")


# deep supervision

@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.sampled_from([2, 3]), st.integers(1, 4), st.booleans())
def test_deep_supervision_is_the_weighted_mean_of_the_levels(seed, dim, levels, given_weights):
    generator = torch.Generator().manual_seed(seed)
    size = torch.randint(8, 14, (dim,), generator=generator).tolist()
    labels = torch.randint(0, 3, (2, *size), generator=generator)
    sizes = [[-(-n // 2 ** i) for n in size] for i in range(levels)]
    logits = [torch.randn(2, 3, *s, generator=generator) for s in sizes]
    weights = torch.rand(levels, generator=generator).tolist() if given_weights else None
    shares = weights or [2.0 ** -i for i in range(levels)]
    expected = sum(w * F.cross_entropy(z, F.interpolate(labels[:, None].double(), s, mode="nearest-exact")[:, 0].long())
                   for w, z, s in zip(shares, logits, sizes)) / sum(shares)
    got = deep_supervision(F.cross_entropy, weights)(tuple(logits), labels)
    torch.testing.assert_close(got, expected)


def test_a_single_tensor_goes_straight_through():
    logits, labels = torch.randn(1, 3, 5, 5), torch.randint(0, 3, (1, 5, 5))
    assert deep_supervision(dice_ce_loss, [3, 1])(logits, labels) == dice_ce_loss(logits, labels)


def test_a_level_of_weight_zero_is_not_computed():
    logits, labels = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    both = (logits, torch.full_like(logits, math.nan))
    assert deep_supervision(F.cross_entropy, [1, 0])(both, labels) == F.cross_entropy(logits, labels)


@pytest.mark.parametrize("old, new", [(7, 4), (6, 3), (5, 5), (3, 9), (4, 1), (1, 3)])
def test_labels_are_taken_at_the_centre_of_the_new_voxel(old, new):
    labels = torch.arange(old)[None, :, None].expand(1, old, 2)
    expected = [math.floor((i + 0.5) * old / new) for i in range(new)]
    assert resize_labels(labels, (new, 2))[0, :, 0].tolist() == expected


def test_wrong_levels_and_weights_are_refused(refused):
    logits, labels = torch.randn(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.int64)
    for weights in ([], [0, 0], [1, -1], [math.nan], [math.inf, 1]):
        with refused(r"weights.*: expected .*0 or more"):
            deep_supervision(F.cross_entropy, weights)
    for weights in (3, "12", ["a", "b"], [None], [True]):
        with refused(r"weights.*: expected (a number|numbers in a row), got"):
            deep_supervision(F.cross_entropy, weights)
    with refused("loss: expected a function, got None"):
        deep_supervision(None)
    with refused("logits: expected 3 levels, one for each weight, got 2"):
        deep_supervision(F.cross_entropy, [3, 2, 1])((logits, logits), labels)
    for nothing in ((), None):
        with refused("logits: expected a tensor, or a tuple of them"):
            deep_supervision(F.cross_entropy)(nothing, labels)
    with refused(r"labels: expected \(B, \*S\) with 2 axes of space, got torch.int64 of shape \(4, 4\)"):
        deep_supervision(F.cross_entropy)((logits, logits), labels[0])
