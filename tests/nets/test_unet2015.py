"""The U-Net of 2015, beside its figure and its text."""
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medlearn.nets.unet import UNet
from medlearn.nets.unet2015 import UNet2015


def test_the_network_of_2015_has_its_weights_and_sizes():
    net = UNet.ronneberger2015().eval()
    assert isinstance(net, UNet2015) and sum(p.numel() for p in net.parameters()) == 31_030_658
    with torch.device("meta"):
        assert UNet.ronneberger2015(1, 2).eval()(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert [tuple(block[2].weight.shape[:2]) for block in net.down] == [(n, n) for n in (64, 128, 256, 512, 1024)]


def test_it_starts_as_the_paper_says():
    torch.manual_seed(0)
    net = UNet.ronneberger2015()
    for weight, incoming in [(net.down[1][2].weight, 9 * 128), (net.up[0][0].weight, 9 * 1024),
                             (net.up_convs[0].weight, 1024)]:
        assert weight.std().item() == pytest.approx(math.sqrt(2 / incoming), rel=0.01)
        assert abs(weight.mean().item()) < 1e-3
    assert all(p.eq(0).all() for name, p in net.named_parameters() if name.endswith("bias"))
    torch.manual_seed(0)
    x = torch.randn(1, 1, 188, 188)
    spread = [level.std().item() for level in net.eval().encode(x)]
    assert max(spread) < 4 * min(spread)                        # what the start is for: no level fades or bursts


@pytest.mark.parametrize("levels, size", [(1, 5), (2, 20), (3, 44), (4, 100), (5, 188), (5, 204)])
def test_what_it_gives_is_the_middle(levels, size):
    net = UNet2015(widths=(3, 4, 5, 6, 7)[:levels]).eval()
    x = torch.randn(1, 1, size, size + net.step, requires_grad=True)
    rim = 12 * 2 ** (levels - 1) - 8
    y = net(x)
    assert y.shape == (1, 2, size - rim, size + net.step - rim)


def positive(net):
    """The same layers with weights that cancel nothing, and pools that let every value through."""
    for p in net.parameters():
        nn.init.constant_(p, 0.01)
    return net


def test_a_value_of_its_bottleneck_looks_at_140_pixels_every_16(monkeypatch):
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)
    net = positive(UNet2015(widths=(1, 1, 1, 1, 1)).double()).eval()
    x = torch.rand(1, 1, 572, 572, dtype=torch.float64, requires_grad=True)
    coarsest = net.encode(x)[-1]
    assert coarsest.shape[2:] == (28, 28)
    seen = [torch.autograd.grad(coarsest[0, 0, 14, i], x, retain_graph=True)[0].abs().sum((0, 1, 2)).nonzero()
            for i in (14, 15)]
    assert len(seen[0]) == 140 and (seen[0][-1] - seen[0][0]).item() == 139
    assert (seen[1][0] - seen[0][0]).item() == 16


def test_up_convolution_crop_and_concatenation_are_those_of_the_figure():
    torch.manual_seed(0)
    net, x = UNet2015(widths=(3, 5)).eval(), torch.randn(1, 1, 20, 24)
    fine, coarse = net.encode(x)
    up = F.conv_transpose2d(coarse, net.up_convs[0].weight, net.up_convs[0].bias, stride=2)
    assert fine.shape[2:] == (16, 20) and up.shape[2:] == (8, 12)
    y = net.up[0](torch.cat([fine[:, :, 4:-4, 4:-4], up], dim=1))
    assert torch.equal(net(x), net.head(y))


def test_its_dropout_is_at_the_end_of_the_contracting_path_and_in_training_alone():
    torch.manual_seed(0)
    net, x = UNet2015(widths=(3, 3, 3, 3, 3)), torch.randn(1, 1, 188, 188)
    a, b = net.encode(x), net.encode(x)
    assert [torch.equal(u, v) for u, v in zip(a, b)] == [True, True, True, False, False]
    assert torch.equal(net.eval()(x), net(x))
    still = UNet2015(widths=(3, 3, 3), dropout=0)
    x = torch.randn(1, 1, 44, 44)
    assert torch.equal(still(x), still(x))


def test_an_empty_batch_gets_an_empty_answer():
    assert UNet2015(widths=(4, 6, 8)).eval()(torch.zeros(0, 1, 44, 44)).shape == (0, 2, 4, 4)


# what is refused

def test_a_network_that_cannot_be_is_refused(refused):
    for options, message in [({"in_channels": 0}, "in_channels"), ({"classes": 0}, "classes"),
                             ({"widths": ()}, "widths"), ({"dropout": 2}, "dropout: expected 0..1")]:
        with refused(message):
            UNet2015(**options)


def test_an_image_that_does_not_fit_is_refused(refused):
    net, good = UNet2015(2, widths=(4, 6, 8)), torch.zeros(1, 2, 44, 44)
    for bad, message in [(good.int(), "float tensor, got torch.int32"), (good[0], "got shape"),
                         (good[:, :1], r"\(B, 2, \*S\) with 2 axes of space, got shape \(1, 1,")]:
        with refused(f"image: expected .*{message}"):
            net(bad)


def test_a_size_that_cannot_be_halved_evenly_is_refused_and_the_nearest_are_named(refused):
    net = UNet2015(widths=(2, 2, 2, 2, 2)).eval()
    for size, message in [(512, "got 512; nearest: 508 or 524"), (573, "nearest: 572 or 588"), (187, "nearest: 188$"),
                          (1, "nearest: 188$"), (189, "nearest: 188 or 204")]:
        with refused(f"expected W of 188 .* 16 m pixels.*{message}"):
            net(torch.zeros(1, 1, 572, size))
    with refused("expected H"):
        net(torch.zeros(1, 1, 570, 572))
