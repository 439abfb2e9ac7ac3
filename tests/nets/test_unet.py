"""The U-Net."""
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medlearn.nets.blocks import double, halve
from medlearn.nets.folding import folded
from medlearn.nets.unet import UNet

SMALL = (4, 6, 8)
KINDS = {"plain": {}, "no skips": {"skips": False}, "residual": {"residual": True},
         "deep": {"deep_supervision": True}, "residual, no skips": {"residual": True, "skips": False}}
kinds = pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
dims = pytest.mark.parametrize("dim", [2, 3])


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def image(dim=2, batch=2, channels=1, seed=0):
    return torch.randn(batch, channels, *(13, 9, 7)[:dim], generator=torch.Generator().manual_seed(seed))


def made(**options):
    torch.manual_seed(0)
    return UNet(**{"widths": SMALL, **options})


def by_hand(net, x):
    """The figure, with the concatenation written out."""
    down = [net.down[0](x)]
    for block in net.down[1:]:
        down.append(block(halve(down[-1])))
    y = down.pop()
    for i in reversed(range(len(down))):
        y = double(net.narrow[i](y), like=down[i])
        y = net.up[i](torch.cat([down[i], y], dim=1) if net.skips else y)
    return net.heads[0](y)


# the network

@dims
@kinds
def test_the_network_is_its_figure(options, dim):
    net = made(dim=dim, **options).eval()
    assert torch.allclose(net(image(dim)), by_hand(net, image(dim)), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 17), min_size=2, max_size=3), st.integers(1, 4), st.booleans())
def test_any_size_gets_logits_of_its_size(shape, levels, skips):
    net = UNet(2, 3, dim=len(shape), widths=(2, 3, 4, 5)[:levels], skips=skips).eval()
    assert net(torch.zeros(2, 2, *shape)).shape == (2, 3, *shape)


def test_the_numbers_of_weights_are_those_of_the_convolutions():
    for dim, taps in ((2, 9), (3, 27)):
        pairs = [(1, 4), (4, 4), (4, 6), (6, 6), (6, 8), (8, 8), (12, 6), (6, 6), (8, 4), (4, 4)]
        weights = sum(taps * a * b + 2 * b for a, b in pairs) + 8 * 6 + 6 * 4 + 4 * 2 + 2
        assert parameters(UNet(dim=dim, widths=SMALL)) == weights
    assert parameters(UNet(1, 4)) == 1_797_284 and parameters(UNet(1, 4, dim=3)) == 5_299_940


@dims
def test_a_sixteenth_wider_without_skips_is_as_large_as_with_them(dim):
    with_skips = parameters(UNet(1, 4, dim=dim))
    assert parameters(UNet(1, 4, dim=dim, skips=False)) < 0.9 * with_skips
    wider = parameters(UNet(1, 4, dim=dim, widths=(34, 68, 136, 272), skips=False))
    assert wider == pytest.approx(with_skips, rel=0.01)


def test_without_skips_the_fine_levels_reach_the_answer_through_the_coarsest_alone():
    for skips in (True, False):
        net = made(skips=skips).eval()
        levels = net.encode(image())
        other = net.decode([torch.randn_like(x) for x in levels[:-1]] + levels[-1:])
        assert torch.equal(net.decode(levels), other) == (not skips)


def test_the_levels_of_the_encoder_halve_and_the_steps_up_double():
    net = made(dim=3).eval()
    levels = net.encode(image(3))
    assert [tuple(x.shape[1:]) for x in levels] == [(4, 13, 9, 7), (6, 7, 5, 4), (8, 4, 3, 2)]
    answer = net(image(3))
    while len(levels) > 1:
        levels = net.merge(levels)
        assert torch.equal(net.decode(levels), answer)          # from any step on
    assert levels[0].shape == (2, 4, 13, 9, 7)


@dims
@kinds
def test_every_parameter_learns(options, dim):
    net = made(dim=dim, **options)
    answers = net(image(dim))
    answers = answers if isinstance(answers, tuple) else (answers,)
    sum(a.square().sum() for a in answers).backward()
    still = [name for name, p in net.named_parameters() if not p.grad.abs().sum() > 0]
    assert not still


@dims
def test_moving_the_image_by_the_jump_moves_the_answer(dim):
    net, x = made(dim=dim, widths=(3, 4)).eval(), torch.randn(1, 1, *[32] * dim)
    inner = (..., *[slice(13, -13)] * dim)                      # far enough from what rolls over the border
    there_and_back = {shift: net(x.roll(shift, dims=2)).roll(-shift, dims=2)[inner] for shift in (0, 1, 2)}
    assert torch.allclose(there_and_back[2], there_and_back[0], atol=1e-5)
    assert not torch.allclose(there_and_back[1], there_and_back[0], atol=1e-5)


def test_a_volume_of_one_layer_gets_the_answer_of_its_slice():
    flat, solid = made(residual=True), made(dim=3, residual=True)
    weights = solid.state_dict()
    for name, value in flat.state_dict().items():
        if weights[name].ndim == 5:                             # 2D kernels, in the middle layer of 3D ones
            weights[name].zero_()
            weights[name][:, :, weights[name].shape[2] // 2] = value
        else:
            weights[name].copy_(value)
    assert torch.allclose(solid.eval()(image()[:, :, None])[:, :, 0], flat.eval()(image()), atol=1e-5)


@dims
def test_a_deeply_supervised_network_answers_at_each_level_while_it_trains(dim):
    net = made(classes=3, dim=dim, deep_supervision=True, widths=(4, 6, 8, 10))
    fine, middle, coarse = net(image(dim))
    sizes = [(13, 9, 7), (7, 5, 4), (4, 3, 2)]
    assert [tuple(a.shape) for a in (fine, middle, coarse)] == [(2, 3, *size[:dim]) for size in sizes]
    net.eval().heads[1] = nn.Module()                           # it has no answer, and is not asked
    assert net(image(dim)).shape == (2, 3, *sizes[0][:dim])
    assert len(made(deep_supervision=True, widths=(4,))(image())) == 1


@dims
@kinds
def test_a_folded_network_answers_as_before(options, dim):
    net = made(dim=dim, **options)
    for seed in range(3):
        net(image(dim, seed=seed))
    net.eval()
    assert torch.allclose(folded(net)(image(dim)), net(image(dim)), atol=1e-5)


# dropout

def active(net):
    return [d.p for d in net.dropout]


def test_dropout_is_where_it_was_asked_for():
    assert active(UNet()) == [0, 0, 0, 0]
    assert active(UNet(dropout=0.3)) == [0, 0, 0, 0.3]
    assert active(UNet(dropout=(0.1, 0, 0.2, 0))) == [0.1, 0, 0.2, 0]


@pytest.mark.parametrize("level", range(3))
def test_chance_begins_at_the_level_that_drops(level):
    net = made(dropout=[0.5 if i == level else 0.0 for i in range(3)]).eval()
    net.dropout.train()                                         # and the norms rest
    levels, again = net.encode(image()), net.encode(image())
    while len(levels) > level + 1:
        levels, again = net.merge(levels), net.merge(again)
    assert all(torch.equal(a, b) for a, b in zip(levels, again, strict=True))
    assert not torch.equal(net.decode(levels), net.decode(levels))


def test_dropout_rests_in_evaluation_and_follows_the_seed_in_training():
    net = made(dropout=(0.5, 0.5, 0.5))
    def run():
        torch.manual_seed(7)
        return net(image())
    assert torch.equal(run(), run()) and not torch.equal(run(), net(image()))
    net.eval()
    assert torch.equal(net(image()), net(image()))


# precision, memory, state

@dims
def test_autocast_changes_the_answer_by_rounding_only(dim):
    net = made(dim=dim, residual=True).eval()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image(dim))
    exact = net(image(dim))
    assert rounded.dtype == torch.bfloat16
    assert torch.allclose(rounded.float(), exact, atol=0.05 * exact.abs().max().item())


def test_the_same_seed_gives_the_same_network_and_the_same_gradients():
    def step():
        net = made()
        net(image()).square().sum().backward()
        return [p.grad for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(step(), step(), strict=True))


def test_a_saved_network_comes_back_whole(tmp_path):
    net, other = made(), UNet(widths=SMALL)
    net(image())
    torch.save(net.state_dict(), tmp_path / "net.pt")
    other.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert torch.equal(net.eval()(image()), other.eval()(image()))


@dims
def test_the_weights_lie_channels_last(dim):
    memory_format = {2: torch.channels_last, 3: torch.channels_last_3d}[dim]
    net = made(dim=dim)
    assert net.up[0][0][0].weight.is_contiguous(memory_format=memory_format)
    assert net.encode(image(dim))[-1].is_contiguous(memory_format=memory_format)


def test_an_empty_batch_gets_an_empty_answer():
    for net in (made().eval(), made(dim=3, residual=True).eval()):
        assert len(net(torch.zeros(0, 1, *[44] * net.dim))) == 0


COMPILED = """
import torch
from medlearn.nets.unet import UNet

torch.manual_seed(0)
net, x = UNet(widths=(4, 6), residual=True, deep_supervision=True, dropout=0.1), torch.randn(2, 1, 13, 9)
fused, gradients = torch.compile(net, fullgraph=True, backend="eager"), []
for run in (net, fused):
    torch.manual_seed(1)
    net.zero_grad()
    sum(answer.square().mean() for answer in run(x)).backward()
    gradients.append([p.grad.clone() for p in net.parameters()])
torch.testing.assert_close(*gradients)
fused.eval()
torch.compiler.reset()                          # torch 2.11 does not notice that it answers now
torch.testing.assert_close(fused(x), net(x))
print("the same")
"""


def test_the_compiled_network_is_in_one_piece_and_learns_and_answers_the_same():
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "the same\n", done.stderr[-2000:]


@pytest.mark.gpu
def test_it_answers_on_a_gpu_as_on_the_cpu():
    net = made(dim=3, residual=True).eval()
    here = net(image(3))
    assert torch.allclose(net.cuda()(image(3).cuda()).cpu(), here, atol=1e-3)


# what is refused

def test_a_network_that_cannot_be_is_refused(refused):
    for options, message in [({"in_channels": 0}, "in_channels: expected a whole number"),
                             ({"classes": 1.5}, "classes: expected a whole number"),
                             ({"dim": 1}, "dim: expected 2 or 3, got 1"), ({"dim": True}, "dim: expected 2 or 3"),
                             ({"widths": ()}, "widths: expected at least one"),
                             ({"widths": (4, 0)}, r"widths\[1\]: expected a whole number, 1 or more, got 0"),
                             ({"dropout": 1.5}, "dropout: expected 0..1, got 1.5"),
                             ({"dropout": "half"}, "dropout: expected a number, got .half."),
                             ({"dropout": None}, "dropout: expected a number, got None"),
                             ({"dropout": (0.1, 0.2)}, "each of 4 levels, got 2"),
                             ({"dropout": (0, 0, -0.1, 0)}, r"dropout\[2\]: expected 0..1")]:
        with refused(message):
            UNet(**options)


def test_an_image_that_does_not_fit_is_refused(refused):
    net, good = made(in_channels=2), torch.zeros(1, 2, 44, 44)
    for bad, message in [(good.int(), "float tensor, got torch.int32"), (good[0], r"got shape \(2, 44, 44\)"),
                         (good[:, :1], r"\(B, 2, \*S\) with 2 axes of space, got shape \(1, 1,"),
                         (good[..., :0], "got shape"), (good[..., None], "got shape")]:
        with refused(f"image: expected .*{message}"):
            net(bad)


def test_levels_of_another_network_are_refused(refused):
    net = made().eval()
    levels = net.encode(image())
    with refused("levels: expected 2 to 3 maps, got 1"):
        net.merge(levels[:1])
    for bad in ([], levels * 2):
        with refused(f"levels: expected 1 to 3 maps, got {len(bad)}"):
            net.decode(bad)
