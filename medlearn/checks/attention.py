r"""Chapter 9, attention: several heads, elements that are not to be asked, and keys that come block by block."""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any
from weakref import ref

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.private import TorchDispatchMode
from medlearn.checks.engine import Case, Check


def multi_head(tokens: Float[Tensor, "b n c"], w_qkv: Float[Tensor, "c three_c"], w_out: Float[Tensor, "c c"],
               heads: int) -> Float[Tensor, "b n c"]:
    r"""$\mathrm{softmax}(Q_h K_h^\top / \sqrt{d})\,V_h$ of each head $h$ of $d = C / \text{heads}$ channels; `w_out`.

    Chapter 9.
    """
    d = tokens.shape[2] // heads
    q, k, v = (tokens @ w_qkv).split(tokens.shape[2], dim=2)
    found = []
    for channels in (slice(h * d, (h + 1) * d) for h in range(heads)):
        score = torch.einsum("bid,bjd->bij", q[..., channels], k[..., channels]) / math.sqrt(d)
        found.append(torch.einsum("bij,bjd->bid", score.softmax(2), v[..., channels]))
    return torch.cat(found, dim=2) @ w_out


def masked_attention(q: Float[Tensor, "b n d"], k: Float[Tensor, "b n d"], v: Float[Tensor, "b n d"],
                     keep: Bool[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
    r"""Attention whose weights are 0 where `keep` is false, and whose answers are 0 where it is false throughout.

    Chapter 9.
    """
    score = torch.einsum("bid,bjd->bij", q, k) / math.sqrt(q.shape[2])
    # shifted by what is kept alone, so that no exponential overflows and no row is divided by 0
    kept = torch.where(keep[:, None], score, torch.finfo(score.dtype).min)
    e = torch.where(keep[:, None], torch.exp(kept - kept.amax(2, keepdim=True).detach()), 0)
    total = e.sum(2, keepdim=True)
    return torch.einsum("bij,bjd->bid", e / torch.where(total > 0, total, 1), v)


def streamed(q: Float[Tensor, "b n d"], blocks: Iterable[tuple[Tensor, Tensor]]) -> Float[Tensor, "b n d"]:
    r"""Attention over all blocks $(K_i, V_i)$, each seen once: running answers, joined by their log-sum-exp. Chapter 9.

    Source: Rabe and Staats 2021, sec. 2, arXiv:2112.05682.
    """
    answer, log_total = torch.zeros_like(q), torch.full_like(q[..., 0], -torch.inf)
    for k, v in blocks:
        score = torch.einsum("bid,bjd->bij", q, k) / math.sqrt(q.shape[2])
        grown = torch.logaddexp(log_total, score.logsumexp(2))
        answer = answer * (log_total - grown).exp()[..., None] + (score - grown[..., None]).exp() @ v
        log_total = grown
    return answer


# ---------------------------------------------------------------------------------------------------------------------
# How the answers are asked

class _Held(TorchDispatchMode):
    """Remembers the most numbers that were held at one time, by all arrays that operations made of the inputs."""

    def __init__(self, *inputs: Tensor):
        super().__init__()
        self.inputs = {x.untyped_storage().data_ptr() for x in inputs}
        self.made: list[ref[Tensor]] = []
        self.numbers = 0

    def __torch_dispatch__(self, operation: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = operation(*args, **(kwargs or {}))
        several = made if isinstance(made, (tuple, list)) else (made,)
        self.made += [ref(one) for one in several if isinstance(one, Tensor)]
        alive = [(one.untyped_storage(), one.element_size()) for known in self.made if (one := known()) is not None]
        sizes = {storage.data_ptr(): storage.nbytes() // bytes_each for storage, bytes_each in alive}
        self.numbers = max(self.numbers, sum(size for at, size in sizes.items() if at not in self.inputs))
        return made


def _stream(answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, block: int) -> Tensor:
    return answer(q, zip(k.split(block, dim=1), v.split(block, dim=1)))


def _stream_frugally(answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, block: int) -> tuple[Tensor, str]:
    """The answer, and whether it held fewer numbers at a time than all scores together."""
    blocks = zip(k.split(block, dim=1), v.split(block, dim=1))
    with _Held(q, k, v) as held:
        found = answer(q, blocks)
    scores = q.shape[0] * q.shape[1] * k.shape[1]
    return found, "one block at a time" if held.numbers < scores else "many blocks at a time"


def _finite_gradients(answer: Callable[..., Tensor], q: Tensor, k: Tensor, v: Tensor, keep: Tensor) -> Tensor:
    """Where the gradients by q, k and v are numbers."""
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    return torch.stack(torch.autograd.grad(answer(*leaves, keep).sum(), leaves)).isfinite()


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _random(*shape: int, seed: int, spread: float = 1.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _qkv(*shape: int, seed: int, spread: float = 1.0) -> dict[str, Tensor]:
    return {name: _random(*shape, seed=seed + i, spread=spread) for i, name in enumerate("qkv")}


def _tokens(batch: int, n: int, channels: int, seed: int) -> dict[str, Tensor]:
    return dict(tokens=_random(batch, n, channels, seed=seed),
                w_qkv=_random(channels, 3 * channels, seed=seed + 1, spread=channels ** -0.5),
                w_out=_random(channels, channels, seed=seed + 2, spread=channels ** -0.5))


_SOME = torch.tensor([[True, True, False, True, False]])
_PADDED = torch.tensor([[True] * 5, [True, True, False, False, False], [False, True, False, False, True]])
_NOBODY = torch.tensor([[False] * 5, [True, False, True, True, True]])

# ---------------------------------------------------------------------------------------------------------------------
# Cases

_MULTI_HEAD = (
    Case("one head", dict(**_tokens(1, 5, 4, seed=0), heads=1),
         "It is softmax(Q K^T / sqrt(d)) V, then the last product. Softmax runs over the elements that are asked."),
    Case("two heads", dict(**_tokens(1, 5, 8, seed=3), heads=2),
         "Each head has its own neighbouring channels of Q, K and V, and its own weights. Its d is the channels of "
         "one head."),
    Case("several images", dict(**_tokens(3, 7, 12, seed=6), heads=4), "No image asks another: the batch stays apart."),
    Case("one element", dict(**_tokens(2, 1, 6, seed=9), heads=3),
         "One element has only itself to ask, so its weight is 1. Is the shape still (B, 1, C)?"),
    Case("large scores", dict(**{name: 30 * x for name, x in _tokens(1, 4, 4, seed=12).items()}, heads=2),
         "The exponential of a large score overflows. Subtract the row's largest first, or leave it to torch's "
         "softmax."),
    Case("elements of zeros", dict(**_tokens(1, 5, 4, seed=15) | dict(tokens=torch.zeros(1, 5, 4)), heads=2),
         "Where there is nothing to say, the answer is zero."),
    Case("the gradient", dict(**{name: x.double() for name, x in _tokens(2, 5, 8, seed=18).items()}, heads=2),
         "The gradient goes through the weights as well as through the values.", gradient=("tokens", "w_qkv", "w_out")),
)

_MASKED = (
    Case("all may be asked", dict(**_qkv(2, 5, 4, seed=0), keep=torch.ones(2, 5, dtype=torch.bool)),
         "Without a mask it is plain attention: softmax(Q K^T / sqrt(d)) V."),
    Case("some may not be asked", dict(**_qkv(1, 5, 4, seed=3), keep=_SOME),
         "Who is not to be asked gets no weight, and the weights of the others sum to 1 again. All rows get an "
         "answer."),
    Case("another mask for each image", dict(**_qkv(3, 5, 4, seed=6), keep=_PADDED),
         "The mask, (B, N), is about the elements that are asked: the last axis of the scores (B, N, N)."),
    Case("a loud one that may not be asked",
         dict(q=torch.ones(1, 5, 4), k=torch.full((1, 5, 4), -20.0) + 40.0 * ~_SOME[..., None],
              v=_random(1, 5, 4, seed=12), keep=_SOME),
         "However well a masked element matches, it must not count. A large negative constant may not do."),
    Case("large scores", dict(**_qkv(1, 5, 4, seed=9, spread=30.0), keep=_SOME),
         "Subtract the largest score that is kept, or leave it to torch's softmax, with minus infinity at the others."),
    Case("nobody to ask", dict(**_qkv(2, 5, 4, seed=15), keep=_NOBODY),
         "Softmax over nothing but minus infinity is NaN. The answer is zero there, and the other image is as ever."),
    Case("zeros to ask", dict(q=torch.zeros(1, 5, 4), k=torch.zeros(1, 5, 4), v=_random(1, 5, 4, seed=18), keep=_SOME),
         "Where all match alike, the answer is the plain mean of those that may be asked."),
    Case("the gradient", dict(**{name: x.double() for name, x in _qkv(3, 5, 4, seed=21).items()}, keep=_PADDED),
         "The gradient goes through the weights as well as through the values.", gradient=("q", "k", "v")),
    Case("the gradient where nobody is to be asked", dict(**_qkv(2, 5, 4, seed=24), keep=_NOBODY),
         "A NaN in a branch that `torch.where` or `nan_to_num` throws away still spoils the gradient. Let none arise.",
         run=_finite_gradients),
)

_STREAMED = (
    Case("a single block", dict(**_qkv(1, 6, 4, seed=0), block=6),
         "With one block it is plain attention: softmax(Q K^T / sqrt(d)) V.", run=_stream),
    Case("three blocks", dict(**_qkv(2, 6, 4, seed=3), block=2),
         "The denominator runs over all blocks together. When the largest score grows, what was summed before must "
         "shrink.",
         run=_stream),
    Case("a shorter last block", dict(**_qkv(1, 7, 3, seed=6), block=3), "Blocks need not have the same length.",
         run=_stream),
    Case("large scores", dict(**_qkv(1, 8, 4, seed=9, spread=30.0), block=2),
         "Every exponential has to be of a score minus the largest so far; nothing else is sure not to overflow.",
         run=_stream),
    Case("very negative scores", dict(q=torch.full((1, 4, 4), 20.0), k=_random(1, 6, 4, seed=12) - 20.0,
                                      v=_random(1, 6, 4, seed=13), block=2),
         "Scores may all be far below zero: the largest so far does not start at zero.", run=_stream),
    Case("values of zeros", dict(**_qkv(1, 6, 4, seed=15) | dict(v=torch.zeros(1, 6, 4)), block=2),
         "An average of zeros is zero.", run=_stream),
    Case("no more than a block", dict(**_qkv(1, 96, 4, seed=18), block=8),
         "As much was held at once as all scores take. Are the blocks put together again, or their scores kept?",
         run=_stream_frugally),
    Case("the gradient", dict(**{name: x.double() for name, x in _qkv(2, 6, 4, seed=21).items()}, block=2),
         "The gradient goes through the running sums as well. Steps in place would cut it, or be refused.", run=_stream,
         gradient=("q", "k", "v")),
)

CHECKS = (
    Check("attention.multi_head", multi_head, _MULTI_HEAD),
    Check("attention.masked", masked_attention, _MASKED),
    Check("attention.streamed", streamed, _STREAMED),
)
