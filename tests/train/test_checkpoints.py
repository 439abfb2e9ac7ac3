"""Checkpoints: whatever ends a training, it goes on to the same end, and a good one is never lost to a bad one."""
import errno
import math
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import tiny
from helpers.tiny import SHORT
from torch import nn
from torch.nn import functional as F

from medlearn.base import atomic
from medlearn.base import files as weight_files
from medlearn.train import checkpoints, fit, load_weights, loop
from medlearn.train.checkpoints import Checkpoint, read_checkpoint, write_checkpoint

def train(folder, net=None, data=None, recipe=SHORT, loss=F.cross_entropy, **kwargs):
    net = tiny.tiny_net() if net is None else net
    return net, fit(net, data or tiny.Pictures(), loss=loss, recipe=recipe, checkpoint=folder, **{"every": 2, **kwargs})


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def dies_at(call):
    def loss(output, target, calls=[]):          # a list of its own for each such loss
        calls.append(0)
        if len(calls) == call:
            raise KeyboardInterrupt
        return F.cross_entropy(output, target)
    return loss


# killed

@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_killed_at_random_moments_it_comes_to_the_same_end(tmp_path):
    run = subprocess.run([sys.executable, tiny.__file__, "killed", tmp_path / "killed"], capture_output=True, text=True,
                         env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) >= 10
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    net, history = tiny.long_training(tmp_path / "whole", every=1)
    torch.set_num_threads(threads)
    weights, rows = torch.load(tmp_path / "killed" / "end.pt", weights_only=True)
    assert torch.equal(weights, tiny.weights_of(net)) and rows == history.rows
    assert [row["step"] for row in rows] == list(range(1, 41))
    assert "step-00000040.safetensors" in files(tmp_path / "killed")


class Killed(BaseException):
    pass


MOMENTS = {                                 # the call in which it dies, and the step it can then go on from
    "before the file": (Path, "write_bytes", 2, 2),
    "before it is on the disk": (os, "fsync", 3, 2),        # each writing syncs a file and a folder
    "before it has its name": (os, "replace", 2, 2),
    "before the name is on the disk": (atomic, "sync_folder", 2, 4),
    "before the old ones are dropped": (Path, "unlink", 4, 6),  # each writing drops its other name
}


@pytest.mark.parametrize("home, name, call, kept", MOMENTS.values(), ids=MOMENTS)
def test_at_no_moment_of_writing_is_there_nothing_to_go_on_from(tmp_path, monkeypatch, home, name, call, kept):
    real, calls = getattr(home, name, open), []

    def dies(*args, **kwargs):
        calls.append(0)
        if len(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    recipe = replace(SHORT, steps=8)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(home, name, dies, raising=False)
        train(tmp_path / "killed", recipe=recipe)
    assert read_checkpoint(tmp_path / "killed").step == kept
    net, history = train(tmp_path / "killed", recipe=recipe)
    whole, expected = train(tmp_path / "whole", recipe=recipe)
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(whole)) and history == expected
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_interrupted_and_resumed_is_uninterrupted(tmp_path, optimizer, dim, precision):
    recipe = replace(SHORT, optimizer=optimizer, precision=precision)
    data = tiny.Pictures(augment=True, dim=dim)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, tiny.tiny_net(dim, 0.3), data, recipe, dies_at(6))
    assert read_checkpoint(tmp_path).step == 4
    net, history = train(tmp_path, tiny.tiny_net(dim, 0.3, seed=7), data, recipe)       # whatever it held is replaced
    whole, expected = train(None, tiny.tiny_net(dim, 0.3), data, recipe)
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(whole)) and history == expected


def test_the_scaler_of_half_precision_goes_on_too(tmp_path, monkeypatch):
    real, recipe = loop._accelerated, replace(SHORT, clip=None)

    @contextmanager
    def scaled(recipe):
        with real(recipe) as accelerator:
            accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3)
            yield accelerator

    monkeypatch.setattr(loop, "_accelerated", scaled)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe=recipe, loss=dies_at(6))
    assert read_checkpoint(tmp_path).facts["scaler"]["scale"] == 16
    net, history = train(tmp_path, recipe=recipe)
    assert read_checkpoint(tmp_path).facts["scaler"]["scale"] == 32             # after 6 steps, not after 2
    whole, expected = train(None, recipe=recipe)
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(whole)) and history == expected


def test_batch_statistics_are_kept(tmp_path):
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    half = replace(SHORT, schedule="constant")
    train(tmp_path, net(), recipe=replace(half, steps=4))
    resumed, _ = train(tmp_path, net(), recipe=half)
    whole, _ = train(None, net(), recipe=half)
    assert torch.equal(tiny.weights_of(resumed), tiny.weights_of(whole)) and whole[1].num_batches_tracked == 6


def test_a_finished_run_returns_at_once(tmp_path):
    net, history = train(tmp_path)
    def never(output, target):
        raise AssertionError("it trained")
    again, same = train(tmp_path, loss=never)
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(again)) and history == same and not again.training


def test_the_two_newest_are_kept_and_others_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for left in ("step-00000001.partial", ".12.34.partial.step-00000001.safetensors"):
        (tmp_path / left).write_text("left by a kill")
    train(tmp_path)
    assert files(tmp_path) == ["notes.txt", "step-00000004.safetensors", "step-00000006.safetensors"]


# refused

def test_weights_that_are_not_finite_are_never_written(tmp_path):
    def breaks_at(step):
        def loss(output, target, calls=[]):
            calls.append(0)
            value = F.cross_entropy(output, target)
            return value * float("nan") if len(calls) == step else value
        return loss
    with pytest.raises(FloatingPointError, match="loss: nan at step 5 of 6.*smaller learning_rate.*step 4 in .* is"):
        train(tmp_path, loss=breaks_at(5))
    assert files(tmp_path) == ["step-00000002.safetensors", "step-00000004.safetensors"]
    assert read_checkpoint(tmp_path).step == 4


def test_a_finite_loss_with_a_gradient_that_is_not_is_found_before_the_checkpoint(tmp_path):
    class Breaks(torch.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.clone())
        backward = staticmethod(lambda ctx, grad: grad * float("nan"))

    def loss(output, target, calls=[]):
        calls.append(0)
        value = F.cross_entropy(output, target)
        return Breaks.apply(value) if len(calls) == 4 else value
    with pytest.raises(FloatingPointError, match="net: weights that are not finite after step 4; .*of step 2 in"):
        train(tmp_path, loss=loss)
    assert files(tmp_path) == ["step-00000002.safetensors"]


@pytest.mark.parametrize("damage", ["cut short", "emptied", "one bit", "a bit of the history", "rubbish"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_taken(tmp_path, damage):
    whole, expected = train(tmp_path)
    path = tmp_path / "step-00000006.safetensors"
    data = bytearray(path.read_bytes())
    if damage == "one bit":
        data[-5] ^= 4
    elif damage == "a bit of the history":
        at = data.index(b"learning_rate")
        at = data.index(b"0.00", at) + 3
        data[at] ^= 1
    path.write_bytes({"cut short": data[:-20], "emptied": b"", "rubbish": b"x" * 100}.get(damage, data))
    with pytest.warns(UserWarning, match=r"step-00000006.safetensors is damaged .*Going on from .*step-00000004"):
        net, history = train(tmp_path)
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(whole)) and history == expected
    assert read_checkpoint(tmp_path).step == 6                      # written anew


def test_a_good_checkpoint_outlives_a_damaged_newer_one(tmp_path):
    recipe = replace(SHORT, steps=8)
    train(tmp_path, recipe=recipe, every=4)
    (tmp_path / "step-00000008.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(KeyboardInterrupt):
        train(tmp_path, recipe=recipe, loss=dies_at(4))         # after step 6 is saved
    assert files(tmp_path) == ["step-00000004.safetensors", "step-00000006.safetensors"]


def test_where_all_are_damaged_it_says_what_to_do(tmp_path, refused):
    train(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    with refused("step-00000006.*damaged.*step-00000004.*damaged.*No other checkpoint is left in .*begin anew"):
        train(tmp_path)
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("other, words", [
    (lambda: tiny.tiny_net(width=8),
     r"another network: '0.weight' is float32 \(4, 1, 3, 3\) in it and float32 \(8, 1, 3, 3\) in this one"),
    (lambda: tiny.tiny_net().append(nn.Conv2d(3, 3, 1)), r"'5.weight' is missing in it and float32 \(3, 3, 1, 1\)"),
    (lambda: tiny.tiny_net()[:-1].append(nn.Conv2d(4, 3, 1, bias=False)),
     r"'4.bias' is float32 \(3,\) in it and missing in this one"),
    (lambda: tiny.tiny_net(3), r"'0.weight' is float32 \(4, 1, 3, 3\) in it and float32 \(4, 1, 3, 3, 3\)"),
], ids=["wider", "deeper", "without a bias", "in 3D"])
def test_the_checkpoint_of_another_network_is_refused_and_kept(tmp_path, refused, other, words):
    train(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    net = other()
    weights = tiny.weights_of(net)
    with refused(words):
        train(tmp_path, net)
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert torch.equal(weights, tiny.weights_of(net))               # nothing half loaded
    with refused(words):
        load_weights(net, tmp_path)


@pytest.mark.parametrize("changed, words", [
    (dict(learning_rate=1e-3), r"learning_rate: expected 0.002, with which the checkpoint in .*, got 0.001"),
    (dict(seed=1), "seed: expected 0, .* got 1"),
    (dict(steps=4), r"steps: expected 6 or more, which the checkpoint in .* has done, got 4"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_the_checkpoint_of_another_recipe_is_refused(tmp_path, refused, changed, words):
    train(tmp_path)
    with refused(words):
        train(tmp_path, recipe=replace(SHORT, **changed))


def test_the_checkpoint_of_other_data_is_refused(tmp_path, refused):
    train(tmp_path)
    with refused("data: expected the 11 samples of the checkpoint in .*, got 12"):
        train(tmp_path, data=tiny.Pictures(12))


def test_a_file_is_no_folder(tmp_path, refused):
    (tmp_path / "x").write_text("")
    with refused("checkpoint: expected a folder, got the file"):
        train(tmp_path / "x")
    with refused("folder: expected one with a checkpoint"):
        load_weights(tiny.tiny_net(), tmp_path / "nowhere")


def test_buffers_and_the_memory_of_the_optimiser_are_looked_at_too(tmp_path):
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny.tiny_net()
            self.register_buffer("mask", torch.full((2,), -math.inf))           # not finite, and meant so
            self.register_buffer("mean", torch.zeros(2))
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            self.mean.fill_(math.nan if self.calls == 4 else 1)
            return self.net(x)

    with pytest.raises(FloatingPointError, match="net: weights that are not finite after step 4; first mean; .*step 2"):
        train(tmp_path, Counts())
    assert files(tmp_path) == ["step-00000002.safetensors"]

    class Steep(torch.autograd.Function):
        forward = staticmethod(lambda ctx, x: x.clone())
        backward = staticmethod(lambda ctx, grad: grad * 1e25)                  # its square is no float32
    with pytest.raises(FloatingPointError, match="optimizer: averages that are not finite after step 2; first .*sq"):
        train(None, loss=lambda z, y: Steep.apply(F.cross_entropy(z, y)), recipe=replace(SHORT, clip=None))


# other files, other trainings

def test_files_of_the_readers_are_neither_read_nor_deleted(tmp_path):
    mine = ["step-best.safetensors", "step-00000099.safetensors.bak", "step-1.safetensors", "my-step-00000001.partial"]
    for name in mine:
        (tmp_path / name).write_text("mine")
    net, _ = train(tmp_path)
    again, _ = train(tmp_path, tiny.tiny_net(seed=5))
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(again))
    assert {*mine} < {*files(tmp_path)}


def test_a_copy_under_another_name_is_as_old_as_its_contents(tmp_path):
    train(tmp_path)
    shutil.copy(tmp_path / "step-00000004.safetensors", tmp_path / "step-00000099.safetensors")
    assert read_checkpoint(tmp_path).step == 6


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied"),
                                   OSError(errno.EMFILE, "Too many open files")], ids=["permission", "too many"])
def test_a_checkpoint_that_cannot_be_opened_is_not_damaged(tmp_path, monkeypatch, error):
    train(tmp_path)
    before = files(tmp_path)

    def closed(path, *args, **kwargs):
        raise error
    with monkeypatch.context() as patch, pytest.raises(OSError, match=error.strerror):
        patch.setattr(checkpoints, "open", closed, raising=False)
        train(tmp_path, recipe=replace(SHORT, steps=8))
    assert files(tmp_path) == before


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path, refused):
    (tmp_path / "file").write_text("")
    def never(output, target):
        raise AssertionError("it trained")
    with refused("checkpoint: expected a folder that can be written, got .*file/inside"):
        train(tmp_path / "file" / "inside", loss=never)


@pytest.mark.parametrize("wrap", [lambda net: torch.compile(net, backend="eager"), nn.DataParallel,
                                  lambda net: nn.DataParallel(torch.compile(net, backend="eager"))],
                         ids=["compiled", "parallel", "both"])
def test_a_wrapped_network_has_the_checkpoints_of_the_plain_one(tmp_path, wrap):
    half = replace(SHORT, schedule="constant", steps=4)
    whole, _ = train(None, recipe=replace(half, steps=6))
    train(tmp_path, wrap(tiny.tiny_net()), recipe=half, validation=tiny.score, patience=9)
    train(tmp_path, recipe=replace(half, steps=5), validation=tiny.score, patience=9)       # plain
    train(tmp_path, wrap(tiny.tiny_net(seed=1)), recipe=replace(half, steps=6))
    loaded = load_weights(tiny.tiny_net(), tmp_path)
    assert torch.equal(tiny.weights_of(loaded), tiny.weights_of(whole))
    assert torch.equal(tiny.weights_of(load_weights(wrap(tiny.tiny_net()), tmp_path)), tiny.weights_of(whole))


def test_a_compiled_part_of_a_network_changes_no_name(tmp_path):
    net = tiny.tiny_net()
    net[0] = torch.compile(net[0], backend="eager")
    train(tmp_path, net)
    assert torch.equal(tiny.weights_of(load_weights(tiny.tiny_net(), tmp_path)), tiny.weights_of(net))


# what is in them

def test_weights_are_loaded_where_the_network_is(tmp_path):
    net, _ = train(tmp_path)
    other = load_weights(tiny.tiny_net(seed=3), str(tmp_path))
    assert torch.equal(tiny.weights_of(net), tiny.weights_of(other)) and not other.training


def test_every_kind_of_tensor_comes_back(tmp_path):
    shared = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    tensors = {"a": shared, "tied": shared, "bf16": torch.randn(3).bfloat16(), "number": torch.tensor(7), "none":
               torch.zeros(0, 3), "bool": torch.tensor([True, False]), "part": torch.arange(9.)[::2]}
    write_checkpoint(tmp_path, Checkpoint(3, tensors, {"0/step": torch.tensor(3.)}, facts={"history": [{"loss": 0.1}]}))
    back = read_checkpoint(tmp_path)
    assert back.step == 3 and back.facts == {"history": [{"loss": 0.1}]} and back.best == {}
    assert {*back.net} == {*tensors} and all(torch.equal(back.net[k], v) and back.net[k].dtype == v.dtype
                                             for k, v in tensors.items())


def test_a_newer_format_is_refused_and_no_older_file_stands_in(tmp_path, monkeypatch, refused):
    train(tmp_path, recipe=replace(SHORT, steps=4))
    before = files(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FORMAT", checkpoints.FORMAT + 1)
        written = read_checkpoint(tmp_path)
        write_checkpoint(tmp_path, replace(written, step=5), before=4)
        assert read_checkpoint(tmp_path).step == 5
    for read in (lambda: train(tmp_path), lambda: load_weights(tiny.tiny_net(), tmp_path)):
        with refused("step-00000005.safetensors: expected a checkpoint of format 1 or before, got format 2, which a "
                     "newer medlearn wrote: update medlearn"):
            read()
    assert files(tmp_path) == ["step-00000004.safetensors", "step-00000005.safetensors"] and len(before) == 2


def test_a_checkpoint_without_a_format_or_fingerprint_is_read(tmp_path):
    _, history = train(tmp_path, recipe=replace(SHORT, steps=6))
    found = read_checkpoint(tmp_path)
    facts = {name: value for name, value in found.facts.items() if name not in ("fingerprint", "validated")}
    tensors = {f"{part}/{name}": value for part in ("net", "best", "optimizer")
               for name, value in getattr(found, part).items()}
    weight_files.write_tensors(tmp_path / "step-00000006.safetensors", tensors, {"step": 6, **facts})
    assert train(tmp_path)[1] == history


def test_a_checkpoint_written_anew_drops_none(tmp_path):
    for step, before in [(1, None), (2, 1), (2, 2), (3, 2)]:
        write_checkpoint(tmp_path, Checkpoint(step, {"a": torch.ones(1)}), before=before)
        assert len(files(tmp_path)) == min(step, 2)


def test_an_empty_folder_has_no_checkpoint(tmp_path):
    assert read_checkpoint(tmp_path) is None and read_checkpoint(tmp_path / "nowhere") is None
