"""The pieces that networks are built of, and what they become for inference."""
import math

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from medlearn.nets import ASPP, TaskNet, TransUNet, UNet, UNet2015, UNetPlusPlus, ViTSegmenter
from medlearn.nets.blocks import (
    CONV,
    ConvBlock,
    DoubleConv,
    Dropout,
    ResidualBlock,
    check_counts,
    check_image,
    check_probability,
    check_widths,
    conv_side_by_side,
    cut,
    double,
    halve,
)

BLOCKS = (ConvBlock, DoubleConv, ResidualBlock)
SHAPES = {2: (6, 5), 3: (5, 4, 3)}


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("stride, bias", [(1, False), (2, True)])
def test_maps_side_by_side_are_convolved_as_their_concatenation(dim, stride, bias):
    torch.manual_seed(0)
    conv = CONV[dim](6, 4, 3, padding=1, stride=stride, bias=bias).double()
    maps = [torch.randn(2, c, *SHAPES[dim], dtype=torch.float64, requires_grad=True) for c in (1, 3, 2)]
    apart, together = conv_side_by_side(conv, *maps), conv(torch.cat(maps, dim=1))
    assert torch.allclose(apart, together, atol=1e-14)
    wanted = [*maps, *conv.parameters()]
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), wanted) for y in (apart, together)), strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_maps_that_do_not_add_up_to_the_channels_are_refused():
    with pytest.raises(RuntimeError, match="split"):
        conv_side_by_side(nn.Conv2d(4, 2, 3), torch.zeros(1, 2, 5, 5), torch.zeros(1, 3, 5, 5))


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_takes_several_maps_as_one(block, dim):
    torch.manual_seed(0)
    net = block(5, 4, dim=dim).eval()
    maps = [torch.randn(2, c, *SHAPES[dim]) for c in (2, 3)]
    assert torch.allclose(net(*maps), net(torch.cat(maps, dim=1)), atol=1e-6)


def test_two_convolutions_are_one_after_the_other():
    torch.manual_seed(0)
    net, x = DoubleConv(2, 3).eval(), torch.randn(1, 2, 7, 7)
    assert torch.equal(net(x), net[1](net[0](x)))


@pytest.mark.parametrize("dim", [2, 3])
def test_a_residual_block_that_changes_nothing_gives_back_its_input(dim):
    torch.manual_seed(0)
    block, x = ResidualBlock(3, 3, dim=dim), torch.rand(2, 3, *SHAPES[dim])
    nn.init.zeros_(block.second[1].weight)
    assert torch.equal(block(x), x)


def test_a_residual_block_is_its_formula_and_leaves_its_input_as_it_was():
    torch.manual_seed(0)
    block, x = ResidualBlock(2, 3).eval(), torch.randn(1, 2, 6, 6)
    before = x.clone()
    assert torch.equal(block(x), (block.project(x) + block.second(block.first(x))).clamp_min(0))
    assert torch.equal(x, before)
    x = torch.randn(2, 3, 6, 6, requires_grad=True)
    ResidualBlock(3, 3)(x).sum().backward()
    assert x.grad.isfinite().all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(0, 2 ** 32 - 1))
def test_halving_is_the_largest_of_every_two(shape, seed):
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed))
    odd = [n % 2 for n in reversed(shape)]
    padded = F.pad(x, [v for o in odd for v in (0, o)], value=-math.inf)
    for axis in range(2, x.ndim):
        padded = padded.unflatten(axis, (-1, 2)).amax(axis + 1)
    assert torch.equal(halve(x), padded)
    back = double(halve(x), like=x)
    assert back.shape == x.shape and (back >= x).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_doubling_copies_nothing_where_there_is_nothing_to_cut(dim):
    x = torch.randn(1, 2, *SHAPES[dim])
    assert cut(x, like=x) is x
    assert cut(x, like=x[..., 1:]).shape == (*x.shape[:-1], x.shape[-1] - 1)


@pytest.mark.parametrize("dim", [2, 3])
def test_halving_and_doubling_keep_the_precision_that_they_are_given(dim):
    x = torch.randn(1, 2, *SHAPES[dim], dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert halve(x).dtype == double(halve(x), like=x).dtype == torch.bfloat16
    assert torch.equal(halve(x).float(), halve(x.float()))


def test_what_no_network_can_be_built_with_is_refused(refused):
    for name, bad in [("classes", 0), ("classes", True), ("classes", 2.0), ("widths[1]", None)]:
        with refused(rf"{name.replace('[', r'.')[:7]}.*expected a whole number.* got {bad}"):
            check_counts(**{name: bad})
    for bad in ((), 3, None, {4, 8}):
        with refused("widths: expected at least one number of channels"):
            check_widths(bad)
    with refused(r"widths\[1\]: expected a whole number"):
        check_widths([4, 0])
    for bad in (-0.1, 1.1, math.nan, True, "0.5", None):
        with refused("dropout: expected"):
            check_probability("dropout", bad)
    for block in BLOCKS:
        with refused("dim: expected 2 or 3, got 1"):
            block(1, 2, dim=1)


def test_an_image_that_does_not_fit_is_refused(refused):
    good = torch.zeros(2, 3, 4, 5)
    check_image(good, 3, dim=2)
    check_image(good[:0], 3, dim=2)
    for bad, message in [(good.long(), "float tensor, got torch.int64"), (None, "float tensor, got NoneType"),
                         (good[0], r"\(B, 3, \*S\) with 2 axes of space, got shape \(3, 4, 5\)"),
                         (good[:, :2], "got shape"), (good[..., :0], "got shape"), (good[..., None], "got shape")]:
        with refused(f"image: expected .*{message}"):
            check_image(bad, 3, dim=2)


NETS = {"UNet": lambda: UNet(widths=(2, 4)), "UNet++": lambda: UNetPlusPlus(widths=(2, 4)),
        "TaskNet": lambda: TaskNet(widths=(2, 4)), "UNet2015": lambda: UNet2015(widths=(2, 4)),
        "ViTSegmenter": lambda: ViTSegmenter(1, 2, image_size=32, channels=8, heads=2, depth=1, hidden=8),
        "TransUNet": lambda: TransUNet.tiny(1, image_size=32)}


@pytest.mark.parametrize("make", NETS.values(), ids=NETS)
def test_an_image_of_another_precision_than_the_network_is_refused_but_for_autocast(refused, make):
    net = make().eval()
    with refused("image: expected torch.float32, as the network's weights, got torch.float64; image.to"):
        net(torch.zeros(1, 1, 32, 32).double())
    with torch.autocast("cpu", torch.bfloat16), refused("got torch.float64"):
        net(torch.zeros(1, 1, 32, 32).double())
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        net(torch.zeros(1, 1, 32, 32).bfloat16())
    with refused("image: expected torch.float64, as the network's weights, got torch.float32"):
        net.double()(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize("how", ["export", "trace"])
@pytest.mark.parametrize("name", ["UNet", "UNet++", "TaskNet", "ViTSegmenter", "TransUNet"])
def test_what_was_exported_at_one_size_answers_at_another(name, how, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)        # while it is exported, a size is a symbol
    net, x, y = NETS[name]().eval(), torch.rand(2, 1, 32, 32), torch.rand(3, 1, 48, 64)
    if how == "export":
        sizes = {axis: torch.export.Dim.AUTO for axis in (0, 2, 3)}
        exported = torch.export.export(net, (x,), dynamic_shapes=({**sizes},)).module()
    else:
        exported = torch.jit.trace(net, x)
    for image in (x, y):
        for one, other in zip(exported(image), net(image), strict=True):
            assert torch.equal(one, other)


def test_numbers_of_numpy_are_numbers_and_become_plain(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)            # the annotations say int and float
    k = np.int64(4)
    for net in (UNet(np.int64(1), k, widths=tuple(np.array([2, 4])), dropout=np.float32(0.5)),
                UNetPlusPlus(widths=(k, k)), TaskNet(classes=k, widths=(k, k)), UNet2015(classes=k, widths=(k, k)),
                TransUNet.tiny(image_size=np.int64(32)), ASPP(k, k, rates=(k,)),
                ViTSegmenter(1, k, image_size=np.int64(16), patch=np.int64(8), depth=np.int64(1))):
        own = [value for module in net.modules() for value in vars(module).values()]
        own += [n for value in own if isinstance(value, tuple) for n in value]
        assert not [value for value in own if isinstance(value, np.number)]


# dropout

@given(st.lists(st.integers(0, 7), min_size=1, max_size=5), st.floats(0.01, 0.99), st.integers(0, 99))
def test_dropout_keeps_a_value_enlarged_or_leaves_it_out(shape, p, seed):
    torch.manual_seed(seed)
    x = torch.rand(shape) + 1
    y = Dropout(p)(x)
    kept = y != 0
    assert y.shape == x.shape and torch.allclose(y[kept], x[kept] / (1 - p), rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_leaves_out_as_many_as_it_should_each_by_itself(dtype):
    torch.manual_seed(0)
    x = torch.ones(8, 32, 64, 65, dtype=dtype).to(memory_format=torch.channels_last)
    y = Dropout(0.3)(x)
    out = (y == 0).double()
    error = (0.3 * 0.7 / out.numel()) ** 0.5
    assert abs(out.mean() - 0.3) < 4 * error and y.dtype == dtype and y.stride() == x.stride()
    for axis in range(4):                                       # a value says nothing about the next one
        pairs = (out * out.roll(1, axis)).mean()
        assert abs(pairs - 0.09) < 5 * error
    again = Dropout(0.3)(x)
    assert abs((out * (again == 0)).mean() - 0.09) < 5 * error


def test_dropout_follows_the_seed_and_rests_in_evaluation():
    x, layer = torch.randn(4, 5), Dropout(0.5)
    answers = []
    for _ in range(2):
        torch.manual_seed(3)
        answers.append(layer(x))
    assert torch.equal(*answers) and not torch.equal(layer(x), answers[0]) and layer.eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x) and torch.equal(Dropout(1.0)(x), torch.zeros_like(x))
    assert Dropout(1e-9)(x).isfinite().all() and isinstance(layer, nn.Dropout)


def test_the_gradient_of_dropout_passes_where_the_value_did():
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert torch.allclose(x.grad, (y != 0) / 0.6, rtol=1e-4)


@pytest.mark.gpu
def test_on_a_gpu_dropout_is_torchs():
    x = torch.randn(50, 7, device="cuda")
    answers = []
    for layer in (Dropout(0.4), nn.Dropout(0.4)):
        torch.manual_seed(0)
        answers.append(layer(x))
    assert torch.equal(*answers)
