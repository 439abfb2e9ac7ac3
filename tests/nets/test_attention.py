"""Self-attention, beside ten plain lines and PyTorch's own module; and what flows through layers of it."""
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from medlearn.nets.attention import MapAttention, SelfAttention, attention_rollout, merge_heads, to_map, to_tokens

SPACES = [(5, 4), (3, 4, 2)]


def plain(attention, tokens):
    """One head at a time, one token at a time: the formula, read aloud."""
    d = attention.channels // attention.heads
    projected = tokens @ attention.qkv.weight.T + attention.qkv.bias
    answers = []
    for head in range(attention.heads):
        q, k, v = (projected[..., part * attention.channels + head * d:][..., :d] for part in range(3))
        answer = torch.zeros_like(q)
        for b in range(len(tokens)):
            for i in range(tokens.shape[1]):
                score = torch.stack([(q[b, i] * k[b, j]).sum() / math.sqrt(d) for j in range(tokens.shape[1])])
                share = score.exp() / score.exp().sum()
                answer[b, i] = sum(share[j] * v[b, j] for j in range(tokens.shape[1]))
        answers.append(answer)
    return torch.cat(answers, dim=-1) @ attention.out.weight.T + attention.out.bias


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2 ** 32 - 1), st.integers(1, 3), st.integers(1, 6), st.integers(1, 3), st.integers(1, 4))
def test_attention_is_its_formula_token_by_token(seed, batch, n, heads, d):
    torch.manual_seed(seed)
    attention, tokens = SelfAttention(heads * d, heads).double(), torch.randn(batch, n, heads * d).double()
    torch.testing.assert_close(attention(tokens), plain(attention, tokens), rtol=1e-10, atol=1e-12)


def test_attention_and_its_weights_are_those_of_pytorchs_own_module():
    torch.manual_seed(0)
    ours, theirs, tokens = SelfAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True), torch.randn(2, 7, 12)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight), theirs.in_proj_bias.copy_(ours.qkv.bias)
        theirs.out_proj.weight.copy_(ours.out.weight), theirs.out_proj.bias.copy_(ours.out.bias)
    answer, weights = theirs(tokens, tokens, tokens, average_attn_weights=False)
    torch.testing.assert_close(ours(tokens), answer)
    torch.testing.assert_close(ours.weights(tokens), weights)


def test_the_weights_in_view_give_what_the_fused_kernel_gives_gradients_included():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(8, 2), torch.randn(2, 9, 8, requires_grad=True)
    weights = attention.weights(tokens)
    assert weights.shape == (2, 2, 9, 9) and weights.min() >= 0
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 9))
    by_hand = attention.out(merge_heads(weights @ attention.queries_keys_values(tokens)[2]))
    fused = attention(tokens)
    torch.testing.assert_close(by_hand, fused)
    push = torch.randn_like(fused)
    torch.testing.assert_close(*(torch.autograd.grad(y, tokens, push)[0] for y in (by_hand, fused)))


def test_tokens_in_another_order_get_the_same_answers_in_that_order():
    torch.manual_seed(0)
    attention, tokens, order = SelfAttention(6, 2), torch.randn(2, 10, 6), torch.randperm(10)
    torch.testing.assert_close(attention(tokens[:, order]), attention(tokens)[:, order])
    torch.testing.assert_close(attention.weights(tokens[:, order]), attention.weights(tokens)[:, :, order][..., order])


def test_every_token_hears_every_other():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(4, 2), torch.randn(1, 6, 4, requires_grad=True)
    for i in range(6):
        gradient, = torch.autograd.grad(attention(tokens)[0, i].sum(), tokens)
        assert (gradient[0].abs().sum(-1) > 0).all()


def test_equal_keys_give_the_mean_of_the_values():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(4, 2), torch.randn(1, 5, 4)
    nn.init.zeros_(attention.qkv.weight[4:8].data), nn.init.zeros_(attention.qkv.bias[4:8].data)
    assert torch.allclose(attention.weights(tokens), torch.full((1, 2, 5, 5), 0.2))
    mean = attention.queries_keys_values(tokens)[2].mean(2, keepdim=True)
    torch.testing.assert_close(attention(tokens), attention.out(merge_heads(mean)).expand(-1, 5, -1))


def test_dropout_acts_in_training_only_and_keeps_the_mean():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(4, 2, dropout=0.5), torch.randn(1, 6, 4)
    sure = SelfAttention(4, 2)
    sure.load_state_dict(attention.state_dict())
    assert torch.equal(attention.eval()(tokens), sure(tokens))
    attention.train()
    assert not torch.equal(attention(tokens), attention(tokens))
    many = attention(tokens.expand(20000, -1, -1)).mean(0)
    assert torch.allclose(many, sure(tokens)[0], atol=0.02)
    assert torch.equal(attention.weights(tokens), sure.weights(tokens))
    attention.dropout = 1.0
    assert torch.allclose(attention(tokens), attention.out.bias.expand(1, 6, 4))


# maps

@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_map_is_its_voxels_in_a_row_with_the_last_axis_fastest(space):
    torch.manual_seed(0)
    map_, attention = torch.randn(2, 6, *space), MapAttention(6, 3)
    tokens = to_tokens(map_)
    assert torch.equal(tokens[1, space[-1] + 1], map_[1][(slice(None), *[0] * (len(space) - 2), 1, 1)])
    assert torch.equal(to_map(tokens, space), map_)
    on_tokens = SelfAttention(6, 3)
    on_tokens.load_state_dict(attention.state_dict())
    torch.testing.assert_close(attention(map_), to_map(on_tokens(tokens), space))
    torch.testing.assert_close(attention.weights(map_), on_tokens.weights(tokens))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_map_turned_over_is_answered_turned_over(space):
    torch.manual_seed(0)
    attention, map_ = MapAttention(4, 2), torch.randn(1, 4, *space)
    for axis in range(2, map_.ndim):
        torch.testing.assert_close(attention(map_.flip(axis)), attention(map_).flip(axis))


def test_no_image_and_a_single_token_are_answered():
    attention = SelfAttention(4, 2)
    assert attention(torch.zeros(0, 5, 4)).shape == (0, 5, 4) and attention.weights(torch.zeros(0, 5, 4)).shape[0] == 0
    assert MapAttention(4, 2)(torch.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)
    assert attention.weights(torch.randn(2, 1, 4)).eq(1).all()


# rollout

def test_rollout_is_the_product_of_the_layers_with_their_residual_paths():
    torch.manual_seed(0)
    layers = [torch.randn(2, 3, 5, 5).softmax(-1) for _ in range(3)]
    rollout = attention_rollout(layers)
    for b in range(2):
        seen = torch.eye(5)
        for layer in layers:
            step = 0.5 * sum(layer[b]) / 3 + 0.5 * torch.eye(5)
            seen = (step / step.sum(1, keepdim=True)) @ seen
        torch.testing.assert_close(rollout[b], seen)
    torch.testing.assert_close(rollout.sum(-1), torch.ones(2, 5))


def test_rollout_follows_a_chain_from_layer_to_layer():
    ahead = torch.zeros(1, 1, 4, 4)
    ahead[0, 0, range(4), [1, 2, 3, 3]] = 1                     # each token looks at the next one only
    rollout = attention_rollout([ahead, ahead])[0]
    assert rollout[0].tolist() == [0.25, 0.5, 0.25, 0]
    assert attention_rollout([torch.eye(4)[None, None]] * 3).equal(torch.eye(4)[None])


def test_rollout_of_no_image_is_no_image():
    assert attention_rollout([torch.zeros(0, 2, 3, 3)]).shape == (0, 3, 3)


# everything else

def test_autocast_changes_the_answers_by_rounding_only():
    torch.manual_seed(0)
    attention, tokens = SelfAttention(16, 2), torch.randn(2, 9, 16)
    exact = attention(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded, weights = attention(tokens), attention.weights(tokens)
    assert rounded.dtype == torch.bfloat16 and torch.allclose(rounded.float(), exact, atol=0.02)
    assert weights.dtype == torch.float32 and torch.allclose(weights.sum(-1), torch.ones(2, 2, 9), atol=1e-5)
    attention_rollout([weights])


def test_what_is_no_attention_is_refused(refused):
    for arguments, message in [((8, 3), r"heads: expected a number that divides the 8 channels, got 3"),
                               ((0, 1), "channels: expected a whole number, 1 or more, got 0"),
                               ((8, True), "heads: expected a whole number, got True"),
                               ((8, 2.0), "heads: expected a whole number, got 2.0")]:
        with refused(message):
            SelfAttention(*arguments)
    for dropout in (-0.1, 1.5, math.nan, "0.1"):
        with refused("dropout: expected .* got"):
            SelfAttention(8, 2, dropout=dropout)
    attention = SelfAttention(8, 2)
    for tokens, message in [(torch.zeros(2, 8), r"\(B, N, 8\), got shape \(2, 8\)"),
                            (torch.zeros(2, 3, 4), r"\(B, N, 8\), got shape \(2, 3, 4\)"),
                            (torch.zeros(2, 3, 8).double(), "torch.float32, as .* weights, got torch.float64"),
                            (torch.zeros(2, 3, 8).long(), "float tensor, got torch.int64"),
                            ([[1.0]], "float tensor, got list")]:
        for ask in (attention, attention.weights, attention.queries_keys_values):
            with refused(f"tokens: expected .*{message}"):
                ask(tokens)


def test_what_is_no_map_is_refused(refused):
    with refused(r"map: expected \(B, C, \*S\) .* got shape \(2, 4, 3\)"):
        to_tokens(torch.zeros(2, 4, 3))
    with refused(r"map: .* got shape \(1, 4, 2, 2, 2, 2\)"):
        MapAttention(4, 2)(torch.zeros(1, 4, 2, 2, 2, 2))
    with refused(r"tokens: expected \(B, 6, C\) for a map of size \(2, 3\), got shape \(1, 5, 4\)"):
        to_map(torch.zeros(1, 5, 4), (2, 3))


def test_what_cannot_be_rolled_out_is_refused(refused):
    good = torch.full((2, 1, 3, 3), 1 / 3)
    for layers, message in [([], "at least one layer, got none"),
                            ([good, good[:1]], r"weights\[1\]: expected \(2, heads, 3"),
                            ([good[:, :, :2]], r"weights\[0\]: expected \(B, heads, N, N\), got shape \(2, 1, 2, 3\)"),
                            ([good, good[..., :2, :2]], r"weights\[1\]: expected \(2, heads, 3, 3\), got shape"),
                            ([good * 2], "sums of 1"), ([good * math.nan], "expected finite"),
                            ([good.long()], "float tensor"),
                            ([good[:, 0]], r"weights\[0\]: expected")]:
        with refused(message):
            attention_rollout(layers)


@pytest.mark.gpu
def test_the_gpu_gives_the_same_answers():
    torch.manual_seed(0)
    attention, map_ = MapAttention(32, 4), torch.randn(2, 32, 6, 5)
    exact = attention(map_)
    torch.testing.assert_close(attention.cuda()(map_.cuda()).cpu(), exact, rtol=1e-3, atol=1e-4)
