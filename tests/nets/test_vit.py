"""The vision transformer, beside PyTorch's own layer, numpy and scipy's zoom."""
import math
from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn
from torch.nn import functional as F

from medlearn.nets.attention import attention_rollout, to_map, to_tokens
from medlearn.nets.vit import Transformer, TransformerBlock, ViTSegmenter, grid_of, resize_positions


def small(grid=(2, 3), **arguments):
    torch.manual_seed(0)
    return Transformer(8, 2, depth=3, hidden=12, grid=grid, **arguments)


def test_a_block_is_that_of_pytorch():
    torch.manual_seed(0)
    ours, tokens = TransformerBlock(8, 2, hidden=12), torch.randn(2, 7, 8)
    theirs = nn.TransformerEncoderLayer(8, 2, 12, dropout=0, activation="gelu", layer_norm_eps=1e-6, batch_first=True,
                                        norm_first=True)
    pairs = {"norm1": ours.norm1, "norm2": ours.norm2, "linear1": ours.mlp[0], "linear2": ours.mlp[3],
             "self_attn.out_proj": ours.attention.out}
    for name, module in pairs.items():
        theirs.get_submodule(name).load_state_dict(module.state_dict())
    theirs.self_attn.in_proj_weight.data, theirs.self_attn.in_proj_bias.data = (
        ours.attention.qkv.weight.data, ours.attention.qkv.bias.data)
    torch.testing.assert_close(ours(tokens), theirs(tokens), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("convention", ["pytorch", "jax"])
def test_the_mlp_has_the_gelu_of_its_convention(convention):
    block = TransformerBlock(4, 1, hidden=6, convention=convention).double()
    x = torch.linspace(-4, 4, 41).double()
    tanh = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))
    exact = 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    torch.testing.assert_close(block.mlp[1](x), exact if convention == "pytorch" else tanh, rtol=1e-12, atol=1e-12)
    assert (exact - tanh).abs().max() > 1e-4


def test_the_transformer_is_positions_blocks_and_norm():
    net, map_ = small(), torch.randn(2, 8, 2, 3)
    tokens = to_tokens(map_) + net.positions
    for block in net.blocks:
        tokens = block(tokens)
    expected = F.layer_norm(tokens, (8,), net.norm.weight, net.norm.bias, 1e-6)
    torch.testing.assert_close(net(map_), to_map(expected, (2, 3)))


def test_only_the_positions_tell_the_places_apart():
    net, map_ = small(), torch.randn(2, 8, 2, 3)
    assert not torch.allclose(net(map_.flip(3)), net(map_).flip(3), atol=1e-3)
    nn.init.zeros_(net.positions)
    torch.testing.assert_close(net(map_.flip(3)), net(map_).flip(3))


def test_the_weights_of_the_layers_can_be_rolled_out():
    net, map_ = small().eval(), torch.randn(2, 8, 2, 3)
    layers = net.weights(map_)
    first = net.blocks[0]
    torch.testing.assert_close(layers[0], first.attention.weights(first.norm1(to_tokens(map_) + net.positions)))
    assert [tuple(w.shape) for w in layers] == [(2, 2, 6, 6)] * 3
    assert attention_rollout(layers).shape == (2, 6, 6)


@pytest.mark.parametrize(("grid", "size"), [((4, 4), (7, 7)), ((6, 6), (3, 3)), ((3, 5), (6, 2)), ((2, 2), (2, 5)),
                                            ((5, 4), (1, 3)), ((1, 1), (3, 2))], ids=str)
def test_positions_are_resized_as_scipys_zoom_does(grid, size):
    torch.manual_seed(0)
    positions = torch.randn(1, grid[0] * grid[1], 3)
    zoom = (size[0] / grid[0], size[1] / grid[1], 1)
    expected = ndimage.zoom(positions.view(*grid, 3).numpy(), zoom, order=1, mode="nearest")
    found = resize_positions(positions, grid, size).view(*size, 3)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("grid", [(2, 3), (14, 14), (1, 5), (1, 1)], ids=str)
def test_positions_at_their_own_size_are_the_same_numbers_with_the_same_gradient(grid, dtype):
    torch.manual_seed(0)
    positions = torch.randn(1, grid[0] * grid[1], 3).to(dtype).requires_grad_()
    same, push = resize_positions(positions, grid, grid), torch.randn_like(positions)
    assert torch.equal(same, positions)
    assert torch.equal(torch.autograd.grad(same, positions, push)[0], push)


def test_positions_at_another_size_keep_their_corners():
    positions = torch.randn(1, 6, 3)
    square = resize_positions(positions, (2, 3), (3, 5)).view(3, 5, 3)
    corners = positions.view(2, 3, 3)
    for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(square[i, j], corners[i, j])


def test_dropout_acts_in_training_only():
    net, map_ = small(dropout=0.5), torch.randn(1, 8, 2, 3)
    assert not torch.equal(net(map_), net(map_))
    net.eval()
    assert torch.equal(net(map_), net(map_))
    sure = small()
    sure.load_state_dict(net.state_dict())
    assert torch.equal(net(map_), sure(map_))


def test_checkpointing_changes_neither_answers_nor_gradients_also_with_dropout_and_keeps_less():
    found, kept, map_ = [], [], torch.randn(2, 8, 2, 3)
    for checkpointing in (False, True):
        net, sizes = small(dropout=0.3, checkpointing=checkpointing), []
        torch.manual_seed(1)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            loss = net(map_).square().mean()
        found.append([loss, *torch.autograd.grad(loss, list(net.parameters()))])
        kept.append(sum(sizes))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)
    assert kept[1] < kept[0] / 3


# the segmenter

@pytest.mark.parametrize("size", [(16, 16), (8, 40), (24, 16)], ids=str)
def test_a_segmenter_has_a_logit_for_each_pixel_of_any_size_that_the_patch_divides(size):
    torch.manual_seed(0)
    net = ViTSegmenter(classes=3, image_size=(16, 24), channels=8, heads=2, depth=1, hidden=8, in_channels=2)
    assert net(torch.randn(2, 2, *size)).shape == (2, 3, *size)
    assert net.eval()(torch.randn(0, 2, *size)).shape == (0, 3, *size)


def test_the_segmenter_is_patches_transformer_and_a_class_for_each_patch():
    torch.manual_seed(0)
    net = ViTSegmenter(classes=3, image_size=16, channels=8, heads=2, depth=2, hidden=8).eval()
    image = torch.randn(2, 1, 16, 16)
    patches = image.unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)[:, 0]            # (B, 2, 2, 64)
    map_ = (patches @ net.embedding.weight.flatten(1).T + net.embedding.bias).movedim(-1, 1)
    coarse = net.head(net.transformer(map_))
    expected = F.interpolate(coarse, size=(16, 16), mode="bilinear")
    torch.testing.assert_close(net(image), expected)


def test_one_pixel_changes_the_answer_everywhere():
    torch.manual_seed(0)
    net = ViTSegmenter(classes=2, image_size=32, channels=8, heads=2, depth=1, hidden=8).eval()
    image = torch.randn(1, 1, 32, 32)
    other = image.clone()
    other[0, 0, 0, 0] += 5
    assert (net(image) - net(other)).abs().amin() > 0


def test_every_parameter_of_the_segmenter_learns():
    torch.manual_seed(0)
    net = ViTSegmenter(classes=2, image_size=16, channels=8, heads=2, depth=2, hidden=8)
    net(torch.randn(2, 1, 16, 16)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_autocast_changes_the_answers_by_rounding_only():
    torch.manual_seed(0)
    net = ViTSegmenter(classes=2, image_size=16, channels=16, heads=2, depth=2, hidden=16).eval()
    image = torch.randn(2, 1, 16, 16)
    exact = net(image)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = net(image)
    assert torch.allclose(exact, rounded.float(), atol=0.05 * exact.abs().max().item())


def test_what_cannot_be_built_is_refused(refused):
    make = partial(Transformer, 8, 2, depth=1, hidden=4, grid=(2, 2))
    for build, message in [(lambda: TransformerBlock(8, 3, hidden=4), "heads: expected a number that divides"),
                           (lambda: TransformerBlock(8, 2, hidden=0), "hidden: expected a whole number"),
                           (lambda: TransformerBlock(8, 2, hidden=4, dropout=2), "dropout: expected 0..1"),
                           (lambda: TransformerBlock(8, 2, hidden=4, convention="flax"), "convention: expected"),
                           (lambda: make(depth=0), "depth: expected a whole number"),
                           (lambda: make(grid=(2, 0)), r"grid\[1\]: expected a whole number"),
                           (lambda: ViTSegmenter(classes=0), "classes: expected a whole number"),
                           (lambda: ViTSegmenter(image_size=20), "image_size: expected one or two multiples of 8"),
                           (lambda: ViTSegmenter(classes=2, patch=0), "patch: expected a whole number")]:
        with refused(message):
            build()


def test_a_grid_is_the_size_in_tokens_and_nothing_else_passes(refused):
    assert grid_of(224, 16) == (14, 14) and grid_of((32, 64), 16) == (2, 4)
    for size in (0, -16, 17, 16.0, True, (16,), (16, 16, 16), (16, 8)):
        with refused("image_size: expected one or two multiples of 16, got"):
            grid_of(size, 16)


def test_what_is_no_image_or_map_is_refused(refused):
    net = ViTSegmenter(classes=2, image_size=16, channels=8, heads=2, depth=1, hidden=8)
    for image, message in [(torch.zeros(1, 2, 16, 16), "got shape"),
                           (torch.zeros(1, 1, 16, 12), "sides that 8 divides"),
                           (torch.zeros(1, 1, 16, 16).long(), "float tensor"), (torch.zeros(1, 1, 0, 16), "got shape")]:
        with refused(f"image: expected .*{message}"):
            net(image)
    with refused(r"map: expected \(B, 8, h, w\), got shape \(1, 4, 2, 2\)"):
        net.transformer(torch.zeros(1, 4, 2, 2))
    with refused(r"tokens: expected \(B, 6, C\)"):
        resize_positions(torch.zeros(1, 5, 3), (2, 3), (4, 4))
