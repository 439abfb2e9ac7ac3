"""Answers to chapter 9's exercises."""
import math
from functools import reduce

import torch
from torch.nn import functional as F

from helpers.answers import right, wrong

# ---------------------------------------------------------------------------------------------------------------------
# attention.multi_head


def _heads(tokens, w_qkv, heads):
    return [x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (tokens @ w_qkv).chunk(3, dim=2)]


def _join(found, w_out):
    return found.transpose(1, 2).flatten(2) @ w_out


@right("attention.multi_head")
def by_the_fused_kernel(tokens, w_qkv, w_out, heads):
    return _join(F.scaled_dot_product_attention(*_heads(tokens, w_qkv, heads)), w_out)


@right("attention.multi_head")
def by_hand(tokens, w_qkv, w_out, heads):
    q, k, v = _heads(tokens, w_qkv, heads)
    score = q @ k.mT / math.sqrt(q.shape[-1])
    e = torch.exp(score - score.amax(-1, keepdim=True))
    return _join((e / e.sum(-1, keepdim=True)) @ v, w_out)


@right("attention.multi_head")
def by_the_layer_of_torch(tokens, w_qkv, w_out, heads):
    answer, _ = F.multi_head_attention_forward(
        *[tokens.transpose(0, 1)] * 3, tokens.shape[2], heads, w_qkv.T, None, None, None, False, 0.0, w_out.T, None)
    return answer.transpose(0, 1)


@wrong("attention.multi_head", at="one head")
def without_the_scale(tokens, w_qkv, w_out, heads):
    q, k, v = _heads(tokens, w_qkv, heads)
    return _join((q @ k.mT).softmax(-1) @ v, w_out)


@wrong("attention.multi_head", at="one head")
def softmax_over_who_asks(tokens, w_qkv, w_out, heads):
    q, k, v = _heads(tokens, w_qkv, heads)
    return _join((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-2) @ v, w_out)


@wrong("attention.multi_head", at="one head")
def keys_first(tokens, w_qkv, w_out, heads):
    k, q, v = _heads(tokens, w_qkv, heads)
    return _join(F.scaled_dot_product_attention(q, k, v), w_out)


@wrong("attention.multi_head", at="one head")
def without_the_last_product(tokens, w_qkv, w_out, heads):
    return _join(F.scaled_dot_product_attention(*_heads(tokens, w_qkv, heads)), torch.eye(len(w_out)).to(w_out))


@wrong("attention.multi_head", at="one head")
def with_the_way_around(tokens, w_qkv, w_out, heads):
    return by_the_fused_kernel(tokens, w_qkv, w_out, heads) + tokens


@wrong("attention.multi_head", at="two heads")
def scale_of_all_channels(tokens, w_qkv, w_out, heads):
    return _join(F.scaled_dot_product_attention(*_heads(tokens, w_qkv, heads), scale=tokens.shape[2] ** -0.5), w_out)


@wrong("attention.multi_head", at="two heads")
def one_head_for_all(tokens, w_qkv, w_out, heads):
    return by_the_fused_kernel(tokens, w_qkv, w_out, 1)


@wrong("attention.multi_head", at="two heads")
def every_other_channel(tokens, w_qkv, w_out, heads):
    q, k, v = (x.unflatten(2, (-1, heads)).movedim(3, 1) for x in (tokens @ w_qkv).chunk(3, dim=2))
    return F.scaled_dot_product_attention(q, k, v).movedim(1, 3).flatten(2) @ w_out


@wrong("attention.multi_head", at="two heads")
def joined_in_the_wrong_order(tokens, w_qkv, w_out, heads):
    found = F.scaled_dot_product_attention(*_heads(tokens, w_qkv, heads))
    return found.reshape(tokens.shape) @ w_out


@wrong("attention.multi_head", at="several images")
def one_set_for_the_batch(tokens, w_qkv, w_out, heads):
    return by_the_fused_kernel(tokens.flatten(0, 1)[None], w_qkv, w_out, heads).view_as(tokens)


@wrong("attention.multi_head", at="one element")
def loses_an_axis(tokens, w_qkv, w_out, heads):
    answer = by_the_fused_kernel(tokens, w_qkv, w_out, heads)
    return answer.squeeze(1)


@wrong("attention.multi_head", at="large scores")
def overflows(tokens, w_qkv, w_out, heads):
    q, k, v = _heads(tokens, w_qkv, heads)
    e = torch.exp(q @ k.mT / math.sqrt(q.shape[-1]))
    return _join((e / e.sum(-1, keepdim=True)) @ v, w_out)


@wrong("attention.multi_head", at="elements of zeros")
def divides_by_the_length(tokens, w_qkv, w_out, heads):
    return by_the_fused_kernel(tokens, w_qkv, w_out, heads) * tokens.norm() / tokens.norm()


@wrong("attention.multi_head", at="the gradient")
def weights_are_constants(tokens, w_qkv, w_out, heads):
    q, k, v = _heads(tokens, w_qkv, heads)
    return _join((q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1).detach() @ v, w_out)


# ---------------------------------------------------------------------------------------------------------------------
# attention.masked


def _score(q, k):
    return q @ k.mT / math.sqrt(q.shape[-1])


@right("attention.masked")
def by_scores_chosen_beforehand(q, k, v, keep):
    nobody = ~keep.any(1)[:, None, None]
    score = _score(q, k).masked_fill(~keep[:, None] & ~nobody, -torch.inf)
    return (score.softmax(-1) @ v).masked_fill(nobody, 0)


@right("attention.masked")
def image_by_image(q, k, v, keep):
    found = []
    for one, mask in zip(zip(q, k, v), keep):
        asks, match, say = one
        found.append(_score(asks, match[mask]).softmax(-1) @ say[mask] if mask.any() else 0 * (asks + match + say))
    return torch.stack(found)


@right("attention.masked")
def with_one_more_who_says_nothing(q, k, v, keep):
    """An image without anyone to ask gets a silent element, which takes all weight."""
    score = _score(q, k).masked_fill(~keep[:, None], -torch.inf)
    silent = torch.zeros_like(score[..., :1]).masked_fill(keep.any(1)[:, None, None], -torch.inf)
    return torch.cat([score, silent], -1).softmax(-1)[..., :-1] @ v


@wrong("attention.masked", at="all may be asked")
def without_a_root(q, k, v, keep):
    return by_scores_chosen_beforehand(q * q.shape[-1] ** 0.5, k, v, keep)


@wrong("attention.masked", at="all may be asked")
def the_others(q, k, v, keep):
    return by_scores_chosen_beforehand(q, k, v, ~keep)


@wrong("attention.masked", at="some may not be asked")
def no_mask(q, k, v, keep):
    return _score(q, k).softmax(-1) @ v


@wrong("attention.masked", at="some may not be asked")
def weights_do_not_sum_to_one(q, k, v, keep):
    return (_score(q, k).softmax(-1) * keep[:, None]) @ v


@wrong("attention.masked", at="some may not be asked")
def masks_who_asks(q, k, v, keep):
    return by_scores_chosen_beforehand(q, k, v, keep) * keep[..., None]


@wrong("attention.masked", at="some may not be asked")
def scores_of_zero(q, k, v, keep):
    return _score(q, k).masked_fill(~keep[:, None], 0).softmax(-1) @ v


@wrong("attention.masked", at="another mask for each image")
def the_first_mask_for_all(q, k, v, keep):
    return by_scores_chosen_beforehand(q, k, v, keep[:1].expand_as(keep))


@wrong("attention.masked", at="large scores")
def overflows_(q, k, v, keep):
    e = torch.exp(_score(q, k)) * keep[:, None]
    return e @ v / e.sum(-1, keepdim=True).clamp_min(1e-30)


@wrong("attention.masked", at="a loud one that may not be asked")
def a_small_constant(q, k, v, keep):
    score = _score(q, k) - 50.0 * ~keep[:, None]
    return (score.softmax(-1) @ v) * keep.any(1)[:, None, None]


@wrong("attention.masked", at="nobody to ask")
def softmax_of_nothing(q, k, v, keep):
    return _score(q, k).masked_fill(~keep[:, None], -torch.inf).softmax(-1) @ v


@wrong("attention.masked", at="nobody to ask")
def the_mean_of_all(q, k, v, keep):
    return _score(q, k).masked_fill(~keep[:, None], torch.finfo(q.dtype).min).softmax(-1) @ v


@wrong("attention.masked", at="zeros to ask")
def zero_is_taken_for_masked(q, k, v, keep):
    score = _score(q, k).masked_fill(~keep[:, None], 0)
    score = score.masked_fill(score == 0, torch.finfo(q.dtype).min)
    return (score.softmax(-1) @ v) * keep.any(1)[:, None, None]


@wrong("attention.masked", at="the gradient")
def constant_weights(q, k, v, keep):
    return by_scores_chosen_beforehand(q.detach(), k.detach(), v, keep) + 0 * (q + k)


@wrong("attention.masked", at="the gradient where nobody is to be asked")
def nan_to_zero_afterwards(q, k, v, keep):
    never = torch.zeros_like(q[..., 0]).masked_fill(~keep, -torch.inf)[:, None]
    return torch.where(keep.any(1)[:, None, None], (_score(q, k) + never).softmax(-1), 0) @ v


# ---------------------------------------------------------------------------------------------------------------------
# attention.streamed


@right("attention.streamed")
def with_a_running_largest(q, blocks):
    largest = q.new_full((*q.shape[:2], 1), -torch.inf)
    total, answer = torch.zeros_like(largest), torch.zeros_like(q)
    for k, v in blocks:
        score = _score(q, k)
        new = torch.maximum(largest, score.amax(-1, keepdim=True))
        e, shrink = torch.exp(score - new), torch.exp(largest - new)
        total = total * shrink + e.sum(-1, keepdim=True)
        answer, largest = answer * shrink + e @ v, new
    return answer / total


@right("attention.streamed")
def softmax_of_each_then_joined(q, blocks):
    answer = log_total = None
    for k, v in blocks:
        score = _score(q, k)
        new, here = score.softmax(-1) @ v, score.logsumexp(-1, keepdim=True)
        if answer is None:
            answer, log_total = new, here
        else:
            share = torch.sigmoid(here - log_total)             # of the new block in both
            answer, log_total = answer + share * (new - answer), torch.logaddexp(log_total, here)
    return answer


@right("attention.streamed")
def the_past_as_one_more_key(q, blocks):
    so_far, answer = q.new_full((*q.shape[:2], 1), -torch.inf), torch.zeros_like(q)
    for k, v in blocks:
        score = torch.cat([so_far, _score(q, k)], dim=-1)
        share = score.softmax(-1)
        answer = share[..., :1] * answer + share[..., 1:] @ v
        so_far = score.logsumexp(-1, keepdim=True)
    return answer


def _running(q, blocks, start=-torch.inf, shrinks_total=True, shrinks_answer=True):
    largest = q.new_full((*q.shape[:2], 1), start)
    total, answer = torch.zeros_like(largest), torch.zeros_like(q)
    for k, v in blocks:
        score = _score(q, k)
        new = torch.maximum(largest, score.amax(-1, keepdim=True))
        e, shrink = torch.exp(score - new), torch.exp(largest - new)
        total = total * (shrink if shrinks_total else 1) + e.sum(-1, keepdim=True)
        answer = answer * (shrink if shrinks_answer else 1) + e @ v
        largest = new
    return answer / total


@wrong("attention.streamed", at="a single block")
def no_scale(q, blocks):
    return with_a_running_largest(q * q.shape[-1] ** 0.5, blocks)


@wrong("attention.streamed", at="a single block")
def not_divided(q, blocks):
    return sum(torch.exp(_score(q, k)) @ v for k, v in blocks)


@wrong("attention.streamed", at="three blocks")
def mean_of_the_blocks(q, blocks):
    return torch.stack([_score(q, k).softmax(-1) @ v for k, v in blocks]).mean(0)


@wrong("attention.streamed", at="three blocks")
def the_sum_does_not_shrink(q, blocks):
    return _running(q, blocks, shrinks_total=False)


@wrong("attention.streamed", at="three blocks")
def the_answer_does_not_shrink(q, blocks):
    return _running(q, blocks, shrinks_answer=False)


@wrong("attention.streamed", at="three blocks")
def the_last_block_only(q, blocks):
    *_, (k, v) = blocks
    return _score(q, k).softmax(-1) @ v


@wrong("attention.streamed", at="a shorter last block")
def leaves_a_short_block_out(q, blocks):
    blocks = list(blocks)
    return with_a_running_largest(q, [block for block in blocks if block[0].shape == blocks[0][0].shape])


@wrong("attention.streamed", at="large scores")
def overflowing(q, blocks):
    total = answer = 0
    for k, v in blocks:
        e = torch.exp(_score(q, k))
        total, answer = total + e.sum(-1, keepdim=True), answer + e @ v
    return answer / total


@wrong("attention.streamed", at="very negative scores")
def the_largest_starts_at_zero(q, blocks):
    return _running(q, blocks, start=0.0)


@wrong("attention.streamed", at="values of zeros")
def divides_by_the_answer(q, blocks):
    answer = with_a_running_largest(q, blocks)
    return answer * answer.abs().amax() / answer.abs().amax()


@wrong("attention.streamed", at="no more than a block")
def puts_the_blocks_together(q, blocks):
    k, v = (torch.cat(parts, dim=1) for parts in zip(*blocks))
    return _score(q, k).softmax(-1) @ v


@wrong("attention.streamed", at="no more than a block")
def keeps_the_scores_of_all_blocks(q, blocks):
    kept = [(_score(q, k), v) for k, v in blocks]
    largest = reduce(torch.maximum, (score.amax(-1, keepdim=True) for score, _ in kept))
    e = [(torch.exp(score - largest), v) for score, v in kept]
    return sum(share @ v for share, v in e) / sum(share.sum(-1, keepdim=True) for share, _ in e)


@wrong("attention.streamed", at="the gradient")
def detaches_what_it_keeps(q, blocks):
    largest = q.new_full((*q.shape[:2], 1), -torch.inf)
    total, answer = torch.zeros_like(largest), torch.zeros_like(q)
    for k, v in blocks:
        score = _score(q, k)
        new = torch.maximum(largest, score.amax(-1, keepdim=True)).detach()
        e, shrink = torch.exp(score - new), torch.exp(largest - new)
        total = total.detach() * shrink + e.sum(-1, keepdim=True)
        answer, largest = answer.detach() * shrink + e @ v, new
    return answer / total
