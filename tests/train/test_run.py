"""Validation, patience, and what is written when a training is broken off: no step is lost."""
import math
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import tiny
from helpers.tiny import SHORT, train
from torch import nn
from torch.nn import functional as F

from medlearn.train import load_weights
from medlearn.train.checkpoints import read_checkpoint

# validation and patience

def test_it_validates_now_and_then_and_at_the_end():
    states = []

    def validation(net):
        states.append((net.training, torch.is_grad_enabled()))
        return {"score": len(states), "other": -1}
    _, history = train(tiny.tiny_net(dropout=0.1), validation=validation, every=4)
    assert states == [(False, False)] * 2 and history.curve("score") == ([4, 6], [1.0, 2.0])
    assert [*history.rows[-1]] == ["step", "loss", "learning_rate", "score", "other"]


def scripted(scores, kept):
    scores = iter(scores)

    def validation(net):
        kept.append(tiny.weights_of(net))
        return {"score": next(scores)}
    return validation


def test_without_progress_it_stops_and_returns_the_best(tmp_path):
    kept, recipe, scores = [], replace(SHORT, steps=50), [1, 3, float("nan"), 3, 2, 9]
    weights, history = train(recipe=recipe, validation=scripted(scores, kept), patience=3, every=1, checkpoint=tmp_path)
    assert len(history.rows) == 5 and torch.equal(weights, kept[1]) and history.best()["step"] == 2
    again, same = train(recipe=recipe, validation=scripted([], []), patience=3, every=1, checkpoint=tmp_path)
    assert torch.equal(again, weights) and repr(same) == repr(history)         # it had ended (NaN is not equal to NaN)
    assert torch.equal(tiny.weights_of(load_weights(tiny.tiny_net(), tmp_path)), weights)


def test_with_patience_to_the_end_it_returns_the_best_and_without_the_last():
    for patience, which in {5: 1, None: 2}.items():
        kept = []
        weights, _ = train(validation=scripted([1, 3, 2], kept), patience=patience, every=2)
        assert torch.equal(weights, kept[which])


def test_a_score_that_is_never_a_number_is_said_and_leaves_the_last_weights():
    kept = []
    with pytest.warns(UserWarning, match="validation: expected a score, .* nothing but NaN"):
        weights, history = train(validation=scripted([math.nan] * 3, kept), patience=5, every=2)
    assert torch.equal(weights, kept[2]) and history.best() is None


def test_patience_that_comes_later_knows_the_best_weights_since_then(tmp_path):
    kept, scores = [], [0.5, 0.9, 0.6, 0.55, 0.7, 0.65]
    recipe, validation = replace(SHORT, schedule="constant"), scripted(scores, kept)
    train(recipe=recipe, validation=validation, every=2, checkpoint=tmp_path)
    longer = replace(recipe, steps=12)
    weights, _ = train(recipe=longer, validation=validation, every=2, checkpoint=tmp_path, patience=9)
    assert torch.equal(weights, kept[4])                            # those of 0.9 were not kept
    assert torch.equal(tiny.weights_of(load_weights(tiny.tiny_net(), tmp_path)), weights)


def test_a_validation_that_draws_draws_the_same_whenever_it_runs():
    def drawing(net):
        return {"score": torch.rand(()).item(), "numpy": np.random.rand(), "python": random.random()}
    often = train(validation=drawing, every=2)[1].rows
    rarely = train(validation=drawing, every=4)[1].rows
    assert often[3] == rarely[3] and often[1]["python"] != often[3]["python"]


# broken off

def batch_norm_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3),
                         nn.Conv2d(4, 3, 1))


def best_so_far(net):
    return {"score": tiny.score(net)["score"], "drawn": torch.rand(()).item()}


def raises(error, at):
    """A validation that raises at one of its calls, Ctrl-C as the system sends it."""
    calls = []

    def validation(net):
        calls.append(0)
        if len(calls) == at and error is KeyboardInterrupt:
            signal.raise_signal(signal.SIGINT)
        elif len(calls) == at:
            raise error("out of memory")
        return best_so_far(net)
    return validation


@pytest.mark.parametrize("patience", [None, 9])
@pytest.mark.parametrize("at, step", [(1, 3), (2, 6), (3, 7)])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_crash_of_the_validation_costs_no_step(tmp_path, error, at, step, patience):
    recipe, options = replace(SHORT, steps=7), dict(data=tiny.Pictures(augment=True), every=3, patience=patience)
    with pytest.raises(error):
        train(batch_norm_net(), recipe=recipe, validation=raises(error, at), checkpoint=tmp_path, **options)
    assert read_checkpoint(tmp_path).step == step
    resumed, history = train(batch_norm_net(), recipe=recipe, validation=best_so_far, checkpoint=tmp_path, **options)
    whole, expected = train(batch_norm_net(), recipe=recipe, validation=best_so_far, **options)
    assert torch.equal(resumed, whole) and history == expected
    again = train(batch_norm_net(), recipe=recipe, validation=None, checkpoint=tmp_path, data=options["data"])[1]
    assert again == expected                                # the validation that was made up for is kept


def interrupting(moment):
    """A network, a loss and data, of which one is interrupted in the fifth step, as by Ctrl-C."""
    calls = []

    def strike(here):
        calls.extend([0] * (here == moment))
        if len(calls) == 5 and here == moment:
            signal.raise_signal(signal.SIGINT)

    class Struck(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            strike("loss")
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            strike("backward")
            return grad

    class Data(tiny.Pictures):
        def __getitem__(self, i):
            strike("data")
            return super().__getitem__(i)

    net = batch_norm_net()
    net.register_forward_hook(lambda *_: strike("forward"))
    return net, Data(augment=True), lambda z, y: Struck.apply(F.cross_entropy(z, y))


@pytest.mark.parametrize("moment", ["forward", "loss", "backward"])
def test_ctrl_c_within_a_step_costs_no_step(tmp_path, moment):
    handler = signal.getsignal(signal.SIGINT)
    net, data, loss = interrupting(moment)
    with pytest.raises(KeyboardInterrupt):
        train(net, data, loss, checkpoint=tmp_path, every=4)
    assert read_checkpoint(tmp_path).step == 5 and signal.getsignal(signal.SIGINT) is handler
    resumed, history = train(batch_norm_net(), data, checkpoint=tmp_path, every=4)
    whole, expected = train(batch_norm_net(), data, every=4)
    assert torch.equal(resumed, whole) and history == expected


def test_ctrl_c_while_a_sample_is_loaded_ends_after_that_step(tmp_path):
    net, data, loss = interrupting("data")
    with pytest.raises(KeyboardInterrupt):
        train(net, data, loss, recipe=replace(SHORT, batch_size=1), checkpoint=tmp_path, every=4)
    assert read_checkpoint(tmp_path).step == 3              # two samples were looked at beforehand


def test_without_a_folder_ctrl_c_leaves_the_network_after_a_whole_step():
    net, data, loss = interrupting("backward")
    with pytest.raises(KeyboardInterrupt):
        train(net, data, loss, recipe=replace(SHORT, schedule="constant"))
    five, _ = train(batch_norm_net(), data, recipe=replace(SHORT, schedule="constant", steps=5))
    assert torch.equal(tiny.weights_of(net), five) and not net.training


def test_one_of_two_processes_is_interrupted_and_both_stop_after_the_same_step(tmp_path):
    run = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                          tiny.__file__, "interrupted", tmp_path], capture_output=True, text=True, timeout=300,
                         env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    assert run.returncode == 0, run.stderr
    ends = [torch.load(tmp_path / f"interrupted-{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert ends[0]["stopped"] == ends[1]["stopped"] == 10   # they ask each other at every tenth step
    assert torch.equal(ends[0]["weights"], ends[0]["whole"]) and torch.equal(ends[0]["weights"], ends[1]["weights"])
