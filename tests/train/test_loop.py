"""`fit`: it equals a plain loop, in one process and in two; what it draws, leaves, says and refuses."""
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from helpers import tiny
from helpers.tiny import SHORT, train
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from medlearn import runtime
from medlearn.losses import dice_ce_loss
from medlearn.train import Recipe, deep_supervision, fit
from medlearn.train.samples import batches

# what it computes

@pytest.mark.parametrize("recipe", [
    SHORT, replace(SHORT, optimizer="sgd", schedule="poly", warmup=2), replace(SHORT, clip=0.01),
    replace(SHORT, clip=None),
], ids=["adamw", "sgd", "clipped", "unclipped"])
def test_it_is_a_plain_loop(recipe):
    data = tiny.Pictures(dtype=torch.float64)               # Adam makes much of rounding
    got, history = train(tiny.tiny_net().double(), data, recipe=recipe)
    net = tiny.tiny_net().double()
    weights, decay = net.parameters(), recipe.weight_decay
    optimizer = (torch.optim.AdamW(weights, weight_decay=decay) if recipe.optimizer == "adamw" else
                 torch.optim.SGD(weights, lr=1, momentum=0.9, nesterov=True, weight_decay=decay))
    losses = []
    for step, (image, label) in enumerate(batches(data, recipe, 0, 0, 1)):
        optimizer.param_groups[0]["lr"] = recipe.rate(step)
        loss = F.cross_entropy(net(image), label)
        optimizer.zero_grad()
        loss.backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
        optimizer.step()
        losses.append(loss.item())
    torch.testing.assert_close(got, tiny.weights_of(net), rtol=1e-9, atol=1e-12)
    assert history.column("loss") == pytest.approx(losses, rel=1e-9)
    assert history.column("learning_rate") == [recipe.rate(step) for step in range(6)]
    assert history.column("step") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("accumulate", [2, 4])
def test_parts_of_a_batch_add_up_to_the_batch(accumulate):
    data = tiny.Pictures(dtype=torch.float64)
    recipe = replace(SHORT, clip=0.1)                       # of the whole gradient, not of its parts
    whole, expected = train(tiny.tiny_net().double(), data, recipe=recipe)
    parts, history = train(tiny.tiny_net().double(), data, recipe=replace(recipe, accumulate=accumulate))
    torch.testing.assert_close(whole, parts, rtol=1e-9, atol=1e-12)
    assert history.column("loss") == pytest.approx(expected.column("loss"), rel=1e-9)


def test_two_processes_are_one(tmp_path):
    run = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
                          tiny.__file__, "two", tmp_path], capture_output=True, text=True, timeout=300,
                         env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""})
    assert run.returncode == 0, run.stderr
    ends = [torch.load(tmp_path / f"whole-{rank}.pt", weights_only=True) for rank in (0, 1)]
    (first, rows), (second, same_rows) = ends
    assert torch.equal(first, second) and rows == same_rows
    data = tiny.Pictures(augment=True)
    one, history = train(data=data, recipe=tiny.SHARED, every=2, validation=tiny.score, patience=9)
    torch.testing.assert_close(first, one, rtol=1e-6, atol=1e-6)
    for row, expected in zip(rows, history.rows, strict=True):
        assert row == pytest.approx(expected, rel=1e-5)
    resumed, history = train(data=data, recipe=tiny.SHARED, every=2, validation=tiny.score,      # in one process
                             checkpoint=tmp_path / "half")
    whole, _ = train(data=data, recipe=tiny.SHARED)
    torch.testing.assert_close(resumed, whole, rtol=1e-6, atol=1e-6)
    assert len(history.rows) == 7


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_it_learns(dim, precision):
    recipe = Recipe(steps=60, batch_size=8, learning_rate=0.02, precision=precision)
    _, history = train(tiny.tiny_net(dim), tiny.Pictures(dim=dim), dice_ce_loss, recipe)
    assert history.rows[-1]["loss"] < 0.6 * history.rows[0]["loss"]


def test_it_trains_a_network_with_several_outputs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny.tiny_net()

        def forward(self, image):
            logits = self.net(image)
            return (logits, logits[..., ::2, ::2]) if self.training else logits

    torch.manual_seed(0)
    recipe = replace(SHORT, steps=30, learning_rate=0.02)
    score = lambda net: {"score": -F.cross_entropy(net(torch.zeros(1, 1, 6, 6)), torch.zeros(1, 6, 6).long()).item()}
    _, history = train(Net(), loss=deep_supervision(F.cross_entropy), recipe=recipe, validation=score)
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]


def test_targets_may_be_more_than_one_map():
    images = torch.randn(4, 1, 6, 6)
    data = [(image, {"label": (image[0] > 0).long(), "ill": torch.tensor(1.0)}) for image in images]
    loss = lambda logits, truth: F.cross_entropy(logits, truth["label"]) + truth["ill"].mean()
    assert len(train(data=data, loss=loss)[1].rows) == 6


# what is random

def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    def end(seed):
        return train(tiny.tiny_net(dropout=0.3), tiny.Pictures(augment=True), recipe=replace(SHORT, seed=seed))[0]
    first = end(0)
    torch.rand(5)
    assert torch.equal(first, end(0)) and not torch.equal(first, end(1))


def test_the_callers_generator_stays_where_it_was():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(tiny.tiny_net(dropout=0.3), tiny.Pictures(augment=True),
          validation=lambda net: {"score": torch.rand(()).item()})
    assert torch.equal(torch.rand(4), expected)


def test_a_network_in_evaluation_is_trained_like_any_other():
    assert torch.equal(train(tiny.tiny_net(dropout=0.3).eval())[0], train(tiny.tiny_net(dropout=0.3))[0])


def test_looking_more_often_changes_nothing():
    def restless(net):
        return {"score": torch.rand(3).sum().item()}
    often = train(tiny.tiny_net(dropout=0.3), validation=restless, every=1)[0]
    assert torch.equal(often, train(tiny.tiny_net(dropout=0.3))[0])


# what it leaves

def test_the_network_is_left_as_it_was_but_trained():
    net = tiny.tiny_net(dropout=0.5)
    names, forward = [*net.state_dict()], type(net).forward
    train(net, recipe=replace(SHORT, precision="bf16"))
    assert not net.training and [*net.state_dict()] == names and net.forward.__func__ is forward
    assert {weight.dtype for weight in net.parameters()} == {torch.float32}
    assert net(torch.zeros(1, 1, 6, 6)).dtype == torch.float32      # no autocast stays behind


def test_trainings_of_different_precision_follow_each_other(monkeypatch):
    from accelerate import Accelerator

    dtypes = []
    net = tiny.tiny_net()
    net[0].register_forward_hook(lambda module, args, output: dtypes.append(output.dtype))
    mine = Accelerator(mixed_precision="no", gradient_accumulation_steps=3)
    for precision in ("bf16", "fp32", "bf16"):
        dtypes.clear()
        train(net, recipe=replace(SHORT, steps=2, precision=precision))
        assert set(dtypes) == {torch.bfloat16 if precision == "bf16" else torch.float32}
    assert mine.mixed_precision == "no" and mine.gradient_accumulation_steps == 3
    Accelerator(mixed_precision="no")                               # refuses where another precision was left behind


@pytest.mark.parametrize("native", [True, False])
def test_the_precision_is_chosen_by_the_hardware(monkeypatch, native):
    monkeypatch.setattr(runtime, "_has_bfloat16", lambda device: native)
    dtypes = []
    net = tiny.tiny_net()
    net[0].register_forward_hook(lambda module, args, output: dtypes.append(output.dtype))
    train(net, recipe=replace(SHORT, precision="auto"))
    assert set(dtypes) == {torch.bfloat16 if native else torch.float32}


def test_2d_weights_lie_channels_last():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1))
    train(net)
    assert net[1].weight.is_contiguous(memory_format=torch.channels_last)


# what it says and refuses

def test_a_second_training_in_the_process_is_refused_and_the_first_goes_on():
    said = []
    def validation(net):
        with pytest.raises(RuntimeError, match="fit: expected one training at a time in a process"):
            train()
        said.append(0)
        return {"score": 1}
    assert len(train(validation=validation)[1].rows) == 6 and said == [0]


def test_the_bar_shows_in_a_terminal_only(monkeypatch, capsys):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    train()
    assert capsys.readouterr() == ("", "")
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    train(progress=False)
    assert capsys.readouterr().err == ""
    train()
    assert "/6" in capsys.readouterr().err
    monkeypatch.setenv("TQDM_DISABLE", "1")
    train()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("labels, loss", [
    (5, dice_ce_loss), (5, F.cross_entropy), (-1, dice_ce_loss)], ids=["medlearn", "torch", "negative"])
def test_labels_of_unknown_classes_are_named_with_the_classes(refused, labels, loss):
    data = TensorDataset(torch.randn(4, 1, 6, 6), torch.full((4, 6, 6), labels))
    with refused(rf"loss: expected .* output .* of shape \(4, 3, 6, 6\) .* 3 classes and labels {labels}.."):
        train(data=data, loss=loss)


def test_an_ignored_label_is_welcome():
    data = TensorDataset(torch.randn(4, 1, 6, 6), torch.full((4, 6, 6), 9).index_fill(1, torch.arange(3), 1))
    train(data=data, loss=lambda z, y: dice_ce_loss(z, y, ignore_index=9))


def test_wrong_arguments_are_refused(refused):
    with refused("net: expected an nn.Module, got function"):
        train(net=lambda x: x)
    with refused("loss: expected a function"):
        train(loss=1)
    with refused("every: expected a whole number, 1 or more, got 0"):
        train(every=0)
    with refused("recipe: expected a Recipe, .* got {'steps': 3}"):
        train(recipe={"steps": 3})
    with refused("recipe: expected a Recipe, .* got None"):
        train(recipe=None)
    with refused("net: expected an nn.Module, got NoneType"):
        fit(None, tiny.Pictures(), loss=F.cross_entropy)
    with refused("data: expected len.* got NoneType"):
        fit(tiny.tiny_net(), None, loss=F.cross_entropy)
    for net in (tiny.tiny_net().requires_grad_(False), nn.ReLU()):
        with refused("net: expected weights to train, got a network that has none, or all of them frozen"):
            train(net)
    with refused("checkpoint: expected the path of a folder, got 3"):
        train(checkpoint=3)
    with refused("patience: expected a whole number, got 'long'"):
        train(patience="long", validation=tiny.score)
    for wrong in (None, "0.8", torch.zeros(2)):
        with refused("validation: expected a number for 'dice', got"):
            train(validation=lambda net: {"dice": wrong})
    with refused("patience: expected a validation"):
        train(patience=2)
    with refused("validation: expected numbers by name"):
        train(validation=lambda net: 0.3)
    with refused("validation: expected other names than step, loss, learning_rate, got 'loss'"):
        train(validation=lambda net: {"loss": 0.3})
    with refused(r"loss: expected one number, .*\(4, 6, 6\)"):
        train(loss=lambda z, y: F.cross_entropy(z, y, reduction="none"))


def test_fp16_needs_a_gpu(refused):
    with refused("precision: expected fp32 or bf16 on a CPU, got fp16"):
        train(recipe=replace(SHORT, precision="fp16"))


def test_a_nan_is_found_at_its_step_without_a_checkpoint():
    data = TensorDataset(torch.full((4, 1, 6, 6), float("nan")), torch.zeros(4, 6, 6).long())
    with pytest.raises(FloatingPointError, match="loss: nan at step 1 of 200. Look for NaN in the data"):
        train(data=data, recipe=Recipe(precision="fp32"))


def test_importing_it_does_not_import_accelerate():
    code = "import sys, medlearn.train; assert not {'accelerate', 'safetensors'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(tmp_path, precision):
    recipe = Recipe(steps=60, batch_size=8, learning_rate=0.02, precision=precision)
    net = tiny.tiny_net(dropout=0.1)
    _, history = train(net, tiny.Pictures(augment=True), dice_ce_loss, recipe, checkpoint=tmp_path, every=20)
    assert history.rows[-1]["loss"] < 0.6 * history.rows[0]["loss"] and next(net.parameters()).is_cuda
    again, same = train(tiny.tiny_net(), tiny.Pictures(augment=True), dice_ce_loss, recipe, checkpoint=tmp_path)
    assert torch.equal(again, tiny.weights_of(net)) and same == history
