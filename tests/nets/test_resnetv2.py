"""The ResNet of TransUNet, each piece beside its formula, in both conventions."""
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from medlearn.nets.folding import folded
from medlearn.nets.resnetv2 import Bottleneck, ResNetV2, StdConv2d

CONVENTIONS = ["pytorch", "jax"]


def standardised(weight, convention):
    """By numpy, channel by channel."""
    w = weight.detach().numpy().astype(np.float64)
    rows = [(k - k.mean()) / (np.sqrt(k.var() + 1e-5) if convention == "pytorch" else k.std() + 1e-5) for k in w]
    return torch.from_numpy(np.stack(rows))


def same(x, kernel, stride, value=0.0):
    """TensorFlow's SAME: the output has ceil(n / stride) voxels, and the odd zero comes last."""
    pads = []
    for n in reversed(x.shape[2:]):
        total = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def convolved(x, conv, kernel, stride, convention):
    w = standardised(conv.weight, convention).to(x.dtype)
    if convention == "jax":
        return F.conv2d(same(x, kernel, stride), w, stride=stride)
    return F.conv2d(x, w, stride=stride, padding=kernel // 2)


def group_normed(x, norm, groups, eps):
    b, c, h, w = x.shape
    parts = x.reshape(b, groups, -1)
    z = (parts - parts.mean(2, keepdim=True)) / (parts.var(2, correction=0, keepdim=True) + eps).sqrt()
    return z.reshape(b, c, h, w) * norm.weight[:, None, None] + norm.bias[:, None, None]


def shaken(net, seed=0):
    """Norms as after training, so that no scale of 1 and no bias of 0 hides a fault; in double, to compare digits."""
    torch.manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.GroupNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    return net.double()


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("kernel", "stride"), [(7, 2), (3, 2), (3, 1), (1, 1), (1, 2)])
def test_a_standardised_convolution_is_its_formula(convention, kernel, stride):
    torch.manual_seed(0)
    conv = StdConv2d(3, 5, kernel, stride=stride, convention=convention).double()
    with torch.no_grad():
        conv.weight.mul_(0.01).add_(1)                          # small deviations, so that the place of epsilon shows
    x = torch.randn(2, 3, 12, 8).double()
    expected = convolved(x, conv, kernel, stride, convention)
    torch.testing.assert_close(conv(x), expected, rtol=1e-9, atol=1e-9)
    assert conv(x).shape == (2, 5, 12 // stride, 8 // stride)
    torch.testing.assert_close(folded(conv)(x), expected, rtol=1e-9, atol=1e-9)


def test_the_two_conventions_are_different_networks():
    torch.manual_seed(0)
    ours, theirs = StdConv2d(3, 4, 3, stride=2), StdConv2d(3, 4, 3, stride=2, convention="jax")
    x = torch.randn(1, 3, 8, 8)
    theirs.load_state_dict(ours.state_dict())
    assert not torch.allclose(ours(x), theirs(x), atol=0.1)
    whole = [ResNetV2(4, (1, 1), groups=2, convention=c) for c in CONVENTIONS]
    whole[1].load_state_dict(whole[0].state_dict())             # the same names and shapes
    assert not torch.allclose(whole[0](x)[-1], whole[1](x)[-1], atol=0.1)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize(("channels", "stride"), [((8, 2), 1), ((8, 4), 1), ((8, 2), 2)], ids=str)
def test_a_bottleneck_is_its_formula(convention, channels, stride):
    inputs, inner = channels
    unit = shaken(Bottleneck(inputs, inner, stride=stride, groups=2, convention=convention))
    x = torch.randn(2, inputs, 6, 4).double()
    y = group_normed(convolved(x, unit.conv1, 1, 1, convention), unit.gn1, 2, 1e-6).clamp_min(0)
    y = group_normed(convolved(y, unit.conv2, 3, stride, convention), unit.gn2, 2, 1e-6).clamp_min(0)
    y = group_normed(convolved(y, unit.conv3, 1, 1, convention), unit.gn3, 2, 1e-6)
    shortcut = x
    if inputs != 4 * inner or stride == 2:
        groups, eps = (4 * inner, 1e-5) if convention == "pytorch" else (2, 1e-6)
        shortcut = group_normed(convolved(x, unit.conv_proj, 1, stride, convention), unit.gn_proj, groups, eps)
    torch.testing.assert_close(unit(x), (shortcut + y).clamp_min(0), rtol=1e-8, atol=1e-8)
    assert unit.projects == (inputs != 4 * inner or stride == 2)
    assert unit(x[:0]).shape == (0, 4 * inner, 6 // stride, 4 // stride)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_maps_are_those_of_root_pool_and_stages(convention):
    net, image = shaken(ResNetV2(4, (2, 1, 1), groups=2, convention=convention)), torch.randn(2, 3, 32, 48).double()
    x = group_normed(convolved(image, net.conv_root, 7, 2, convention), net.gn_root, 2, 1e-6).clamp_min(0)
    expected = [x]
    if convention == "jax":
        x = F.max_pool2d(same(x, 3, 2, value=-torch.inf), 3, stride=2)
    else:
        x = F.max_pool2d(x, 3, stride=2)                        # 7 x 11 of 16 x 24
    for stage in net.stages:
        x = stage(x)
        expected.append(x)
    found = net(image)
    assert [tuple(m.shape[1:]) for m in found] == [(4, 16, 24), (16, 8, 12), (32, 4, 6), (64, 2, 3)]
    assert net.channels == (4, 16, 32, 64) and net.stride == 16
    for one, other in zip(found, expected):
        h, w = other.shape[2:]
        torch.testing.assert_close(one[..., :h, :w], other, rtol=1e-8, atol=1e-8)
        assert one[..., h:, :].eq(0).all() and one[..., w:].eq(0).all()
    assert (found[1].shape[2] - expected[1].shape[2]) == (convention == "pytorch")


def test_the_published_encoder_has_its_parameters():
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNetV2().parameters()) == 11_894_848


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [(16, 16), (16, 48), (64, 32)], ids=str)
def test_every_size_that_the_stride_divides_gives_its_halves(convention, size):
    maps = ResNetV2(4, (1, 1, 1), groups=2, convention=convention)(torch.randn(1, 3, *size))
    assert [tuple(m.shape[2:]) for m in maps] == [(size[0] // n, size[1] // n) for n in (2, 4, 8, 16)]


def test_a_grey_image_is_shown_to_all_three_channels():
    torch.manual_seed(0)
    net, image = ResNetV2(4, (1, 1), groups=2), torch.randn(2, 1, 16, 16)
    for grey, colour in zip(net(image), net(image.repeat(1, 3, 1, 1))):
        torch.testing.assert_close(grey, colour)
    assert [len(m) for m in net(image[:0])] == [0, 0, 0]


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_a_folded_network_answers_the_same_and_has_no_standardised_convolution(convention):
    net = shaken(ResNetV2(4, (2, 1), groups=2, convention=convention)).float()
    before, image = {k: v.clone() for k, v in net.state_dict().items()}, torch.randn(2, 3, 16, 24)
    plain = folded(net)
    assert all(torch.equal(a, b) for a, b in zip(net(image), plain(image)))
    assert not any(isinstance(m, StdConv2d) for m in plain.modules()) and not plain.training and net.training
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(folded(plain)(image), plain(image)))


def test_half_precision_weights_are_standardised_in_single():
    torch.manual_seed(0)
    conv = StdConv2d(3, 4, 3).to(torch.bfloat16)
    expected = standardised(conv.weight.float(), "pytorch")
    assert conv.standardised().dtype == torch.bfloat16
    torch.testing.assert_close(conv.standardised().double(), expected, rtol=2 ** -8, atol=1e-6)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_checkpointing_changes_neither_answers_nor_gradients_and_keeps_less(convention):
    torch.manual_seed(0)
    net, image = ResNetV2(4, (3, 2), groups=2, convention=convention), torch.randn(2, 3, 16, 16)
    found, kept = [], []
    for checkpointing in (False, True):
        net.checkpointing = checkpointing
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            loss = net(image)[-1].square().mean()
        found.append([loss, *torch.autograd.grad(loss, list(net.parameters()))])
        kept.append(sum(sizes))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)
    assert kept[1] < kept[0] / 2


def test_autocast_changes_the_maps_by_rounding_only():
    torch.manual_seed(0)
    net, image = ResNetV2(8, (1, 1), groups=2), torch.randn(2, 3, 16, 16)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image)
    for a, b in zip(exact, rounded):
        assert torch.allclose(a, b.float(), atol=0.05 * a.abs().max().item())


def test_what_cannot_be_built_is_refused(refused):
    for arguments, message in [(dict(width=0), "width: expected a whole number"),
                               (dict(units=(1, 0)), r"units\[1\]: expected a whole number, 1 or more, got 0"),
                               (dict(units=(3,)), "units: expected two stages or more, got 1"),
                               (dict(groups=5), "groups: expected a number that divides the width of 64, got 5"),
                               (dict(convention="tf"), 'convention: expected "pytorch" or "jax", got \'tf\'')]:
        with refused(message):
            ResNetV2(**arguments)


def test_what_is_no_image_is_refused(refused):
    net = ResNetV2(4, (1, 1, 1), groups=2)
    for image, message in [(torch.zeros(1, 2, 16, 16), r"\(B, 3, \*S\) .*got shape \(1, 2, 16, 16\)"),
                           (torch.zeros(3, 16, 16), "got shape"), (torch.zeros(1, 3, 0, 16), "got shape"),
                           (torch.zeros(1, 3, 16, 24), "sides that 16 divides, got shape"),
                           (torch.zeros(1, 3, 16, 16).long(), "float tensor, got torch.int64"), (None, "NoneType")]:
        with refused(f"image: expected .*{message}"):
            net(image)
