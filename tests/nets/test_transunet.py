"""TransUNet, whole, beside a plain re-statement."""
import math
import subprocess
import sys
from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from plain_transunet import parameters_of, plain_transunet  # noqa: E402
from torch import nn

from medlearn.nets.folding import folded
from medlearn.nets.transunet import TINY, TransUNet, TransUNetSize

SMALL = TransUNetSize(width=8, units=(2, 1, 1), groups=4, channels=16, heads=2, depth=2, hidden=24,
                      decoder=(16, 12, 8, 8, 6))
CONVENTIONS = ["pytorch", "jax"]


def trained(net, seed=0):
    """Norms and their running numbers as after training, so that none of them can be left out unnoticed."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.2), nn.init.uniform_(module.running_var, 0.5, 1.5)
        if isinstance(module, (nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5), nn.init.normal_(module.bias, std=0.2)
    return net.eval()


def plainly(net, image, convention, size=SMALL, **how):
    return plain_transunet(parameters_of(net), image, units=size.units, groups=size.groups, heads=size.heads,
                           depth=size.depth, jax=convention == "jax", **how)


# the published network

def count(net):
    return sum(p.numel() for p in net.parameters())


def test_the_published_network_has_its_parameters():
    with torch.device("meta"):
        net = TransUNet(classes=9, image_size=224)
        assert count(net) == 105_277_081
        assert count(TransUNet(classes=4)) == 105_276_356 and count(TransUNet(classes=9, image_size=512)) == 105_912_985
    parts = [count(net.cnn), count(net.embedding), net.transformer.positions.numel(), count(net.transformer.blocks),
             count(net.transformer.norm), count(net.narrow), count(net.up), count(net.head)]
    assert parts == [11_894_848, 787_200, 150_528, 85_054_464, 1_536, 3_539_968, 3_847_232, 1_305]


# the whole

@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_whole_is_its_plain_re_statement_to_a_millionth(convention, channels):
    torch.manual_seed(0)
    net = trained(TransUNet(classes=5, image_size=64, size=SMALL, convention=convention))
    image = torch.randn(2, channels, 64, 64)
    for answer in (net(image), folded(net)(image)):
        expected = plainly(net, image, convention)
        assert (answer - expected).norm() < 1e-6 * expected.norm()
    exact = net.double()(image.double())
    torch.testing.assert_close(exact, plainly(net, image.double(), convention), rtol=1e-9, atol=1e-9)


def test_the_whole_trains_as_its_plain_re_statement():
    torch.manual_seed(0)
    net = trained(TransUNet(classes=3, image_size=32, size=SMALL, dropout=0.0)).double().train()
    image, push = torch.randn(2, 1, 32, 32).double(), torch.randn(2, 3, 32, 32).double()
    watched = {"conv_root/kernel": net.cnn.conv_root.weight, "head.weight": net.head.weight,
               "Transformer/encoder_norm/scale": net.transformer.norm.weight}
    w = parameters_of(net)
    for name in watched:
        w[name] = w[name].clone().requires_grad_()
    answer = plain_transunet(w, image, units=SMALL.units, groups=SMALL.groups, heads=2, depth=2, training=True)
    expected = torch.autograd.grad(answer, [w[name] for name in watched], push)
    found = torch.autograd.grad(net(image), list(watched.values()), push)
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("stride", [16, 8])
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [(64, 64), (32, 96), (16, 16), (128, 48)], ids=str)
def test_any_size_that_the_stride_divides_is_answered_pixel_by_pixel(stride, convention, size):
    torch.manual_seed(0)
    net = TransUNet.tiny(classes=3, image_size=(64, 32), stride=stride, convention=convention).eval()
    assert net(torch.randn(1, 1, *size)).shape == (1, 3, *size)
    assert net(torch.randn(0, 3, *size)).shape == (0, 3, *size)


def test_the_tiny_one_is_tiny():
    assert {stride: count(TransUNet.tiny(stride=stride)) for stride in TINY} == {16: 1_084_850, 8: 803_762}


def test_the_answer_is_that_of_its_steps():
    net, image = trained(TransUNet.tiny(classes=2, image_size=32)), torch.randn(1, 1, 32, 32)
    levels = net.encode(image)
    assert [tuple(x.shape[2:]) for x in levels] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    answer = net.decode(levels)
    assert torch.equal(answer, net(image))
    for _ in range(2):
        levels = net.merge(levels)
        assert torch.equal(net.decode(levels), answer)


def test_dropout_in_the_decoder_leaves_the_encoder_alone_and_acts_in_training_only():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=32, decoder_dropout=0.5), torch.randn(2, 1, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(net.encode(image), net.encode(image)))
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))
    for step in net.dropout:
        net.eval()
        step.train()                                            # each step up has its own
        assert not torch.equal(net(image), net(image))


def test_the_published_dropout_is_in_the_transformer():
    net = TransUNet(classes=2, image_size=32, size=SMALL)
    assert [m.p for m in net.transformer.modules() if isinstance(m, nn.Dropout)] == [0.1] * (1 + 2 * SMALL.depth)
    assert [m.p for m in net.dropout] == [0.0] * 4


def test_every_parameter_learns_and_the_same_seed_gives_the_same_step():
    def step():
        torch.manual_seed(0)
        net = TransUNet.tiny(classes=2, image_size=32, decoder_dropout=0.2)
        net(torch.randn(2, 1, 32, 32)).square().mean().backward()
        return dict(net.named_parameters())
    one, other = step(), step()
    assert [name for name, p in one.items() if p.grad is None or not p.grad.abs().sum() > 0] == []
    assert all(torch.equal(p.grad, other[name].grad) for name, p in one.items())


def test_a_pixel_far_away_changes_the_answer():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=128).eval(), torch.randn(1, 1, 128, 128)
    other = image.clone()
    other[..., :4, :4] += 3
    assert (net(image) - net(other))[..., -8:, -8:].abs().max() > 0


def test_checkpointing_changes_neither_answers_nor_gradients():
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = TransUNet.tiny(classes=2, image_size=32, dropout=0.1, decoder_dropout=0.1, checkpointing=checkpointing)
        answer = net(torch.randn(2, 1, 32, 32))
        answer.square().mean().backward()
        found.append([answer, *(p.grad for p in net.parameters()), *net.buffers()])
    for a, b in zip(*found):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_autocast_and_half_precision_weights_change_the_answers_by_rounding_only():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=2, image_size=32).eval(), torch.randn(2, 1, 32, 32)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = folded(net)(image)
    half = folded(net).to(torch.bfloat16)(image.bfloat16())
    for answer in (rounded, half):
        assert answer.dtype == torch.bfloat16
        assert (answer.float() - exact).norm() < 0.05 * exact.norm()


COMPILED = """
import torch
from medlearn.nets.folding import folded
from medlearn.nets.transunet import TransUNet, TransUNetSize
from medlearn.nets.vit import ViTSegmenter

torch.manual_seed(0)
image, push = torch.randn(2, 1, 32, 48), torch.randn(2, 2, 32, 48)
size = TransUNetSize(8, (2, 1), 2, 16, 2, 1, 16, (8, 8, 8, 8))
nets = {"published": TransUNet(classes=2, image_size=64, size=size, dropout=0.0),
        "at its own size": TransUNet(classes=2, image_size=(32, 48), size=size, dropout=0.0),
        "folded": folded(TransUNet(classes=2, image_size=64, size=size, convention="jax")),
        "checkpointing": TransUNet(classes=2, image_size=32, size=size, dropout=0.0, checkpointing=True),
        "segmenter": ViTSegmenter(classes=2, image_size=32, depth=1)}
for name, net in nets.items():
    answers = []
    for run in (net, torch.compile(net, fullgraph=True, backend="eager")):
        answer = run(image)
        answers.append((answer, torch.autograd.grad(answer, next(net.parameters()), push)[0]))
    for eager, compiled in zip(*answers):
        torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-3)
    print(name)
"""


def test_in_the_published_convention_it_is_exported_for_one_size_or_for_all_that_its_stride_divides(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)        # while it is exported, a size is a symbol
    torch.manual_seed(0)
    net, dim = TransUNet.tiny(classes=2, image_size=32, convention="pytorch").eval(), torch.export.Dim
    x, y = torch.randn(2, 1, 32, 32), torch.randn(3, 1, 48, 64)
    sizes = {0: dim("batch"), 2: 16 * dim("rows", min=2, max=8), 3: 16 * dim("columns", min=2, max=8)}
    for size, images in ((None, [x]), ((sizes,), [x, y])):
        exported = torch.export.export(net, (x,), dynamic_shapes=size).module()
        assert all(torch.equal(exported(image), net(image)) for image in images)


def test_it_compiles_without_a_break_in_the_graph():
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == ["published", "at its own size", "folded", "checkpointing", "segmenter"]


# what is refused

def test_what_cannot_be_built_is_refused(refused):
    make = partial(TransUNet, classes=2, image_size=32, size=SMALL)
    for build, message in [(lambda: make(classes=0), "classes: expected a whole number, 1 or more, got 0"),
                           (lambda: make(image_size=40), "image_size: .* multiples of 16, got 40"),
                           (lambda: make(decoder_dropout=-1), "decoder_dropout: expected 0..1"),
                           (lambda: make(dropout=math.nan), "dropout: expected 0..1"),
                           (lambda: make(convention="x"), "convention: expected"),
                           (lambda: TransUNetSize(decoder=(8, 8)), "decoder: expected 5 numbers .* 3 stages, got 2"),
                           (lambda: TransUNetSize(decoder=(8, 8, 8, 8, 0)), r"decoder\[4\]: expected a whole number"),
                           (lambda: TransUNet.tiny(stride=4), "stride: expected 8 or 16, got 4")]:
        with refused(message):
            build()


def test_what_is_no_image_is_refused(refused):
    net = TransUNet.tiny(classes=2, image_size=32)
    for image, message in [(torch.zeros(1, 2, 32, 32), r"got shape \(1, 2, 32, 32\)"),
                           (torch.zeros(1, 1, 32, 40), r"sides that 16 divides, got shape \(1, 1, 32, 40\)"),
                           (torch.zeros(1, 1, 32, 32).int(), "float tensor, got torch.int32"),
                           (torch.zeros(1, 1, 4, 32, 32), "got shape"), (np.zeros((1, 1, 32, 32)), "got ndarray")]:
        with refused(f"image: expected .*{message}"):
            net(image)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_answers():
    torch.manual_seed(0)
    net, image = TransUNet.tiny(classes=3, image_size=64).eval(), torch.randn(2, 1, 64, 64)
    exact = net(image)
    assert (net.cuda()(image.cuda()).cpu() - exact).norm() < 1e-2 * exact.norm()
