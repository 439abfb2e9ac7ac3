r"""Self-attention: every element of an image asks every other one, and takes the average of what they answer."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_tensor
from medlearn.nets.blocks import check_counts, check_dtype, check_probability
from medlearn.tasks import check_simplex


class SelfAttention(nn.Module):
    r"""$\mathrm{softmax}(Q K^\top / \sqrt{d})\, V$ in each of several heads, side by side, then one projection.

    Shapes: `tokens (B, N, channels)` to the same; `N` may be any number. One of the `heads` has $d$ = channels / heads
    numbers of each token.
    `attention(tokens)` is the fast way: one fused kernel, which never holds the N x N weights.
    `attention.weights(tokens)`, `(B, heads, N, N)`, is the same computation with its weights in view: row i is what
    token i takes from each token j, and sums to 1. By hand, equal to `attention(tokens)` to rounding:

        q, k, v = attention.queries_keys_values(tokens)         # each (B, heads, N, d)
        w = (q @ k.mT / d**0.5).softmax(-1)                     # this is attention.weights(tokens)
        attention.out(merge_heads(w @ v))

    `dropout` is the probability with which a weight is set to 0 in training; none is in evaluation. `weights` shows
    them all. It knows nothing of places: tokens in another order get the same answers in that order.
    An empty batch gives an empty batch.
    Errors: ValueError for a number of channels that the heads do not divide, counts below 1, a dropout outside 0..1,
    tokens of another shape; TypeError for tokens that are not float.
    Source: Vaswani et al. 2017, eq. 1 and sec. 3.2.2, arXiv:1706.03762. Chapter 9.

    >>> attention, tokens = SelfAttention(8, 2), torch.rand(1, 5, 8)
    >>> w = attention.weights(tokens)
    >>> w.shape, torch.allclose(w.sum(-1), torch.ones(1, 2, 5))
    (torch.Size([1, 2, 5, 5]), True)
    """

    def __init__(self, channels: int, heads: int, *, dropout: float = 0.0):
        super().__init__()
        channels, heads = check_counts(channels=channels, heads=heads)
        if channels % heads:
            raise ValueError(f"heads: expected a number that divides the {channels} channels, got {heads}")
        self.channels, self.heads, self.dropout = channels, heads, check_probability("dropout", dropout)
        self.qkv = nn.Linear(channels, 3 * channels)            # queries, keys and values in one product
        self.out = nn.Linear(channels, channels)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        q, k, v = self.queries_keys_values(tokens)
        found = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        return self.out(merge_heads(found))

    def weights(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b heads n n"]:
        r"""$\mathrm{softmax}(Q K^\top / \sqrt{d})$, `(B, heads, N, N)`: row i is how token i shares its attention.

        In float32 or better, under autocast too. Chapter 9.
        """
        q, k, _ = self.queries_keys_values(tokens)
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32))

    def queries_keys_values(self, tokens: Float[Tensor, "b n c"]) -> tuple[
            Float[Tensor, "b heads n d"], Float[Tensor, "b heads n d"], Float[Tensor, "b heads n d"]]:
        """What each token asks, what it answers to, and what it has to say: each `(B, heads, N, d)`."""
        check_tensor("tokens", tokens, dtype="float")
        if tokens.ndim != 3 or tokens.shape[2] != self.channels:
            raise ValueError(f"tokens: expected (B, N, {self.channels}), got shape {tuple(tokens.shape)}")
        check_dtype("tokens", tokens, self.qkv.weight)
        q, k, v = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v


class MapAttention(SelfAttention):
    r"""`SelfAttention` among the voxels of a feature map: each voxel is a token, in 2D and in 3D.

    Shapes: `map_ (B, channels, *S)` to the same, `*S` two or three axes; `weights(map_)` is `(B, heads, N, N)`, where N
    is the number of voxels, in the order of `to_tokens`: the last axis runs fastest. So what voxel (i, j) of a 2D map
    looks at is `attention.weights(map_)[b, head, i * width + j].view(height, width)`.
    Arguments, errors and source: as in `SelfAttention`; the cost grows with $N^2$. Chapter 9.

    >>> attention, map_ = MapAttention(8, 2), torch.rand(1, 8, 3, 4)
    >>> attention(map_).shape, attention.weights(map_).shape
    (torch.Size([1, 8, 3, 4]), torch.Size([1, 2, 12, 12]))
    """

    def forward(self, map_: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
        return to_map(super().forward(to_tokens(map_)), map_.shape[2:])

    def weights(self, map_: Float[Tensor, "b c *s"]) -> Float[Tensor, "b heads n n"]:
        return super().weights(to_tokens(map_))


def to_tokens(map_: Float[Tensor, "b c *s"]) -> Float[Tensor, "b n c"]:
    r"""A token for each voxel, the last axis running fastest.

    Shapes: `map_ (B, C, *S)` to `(B, N, C)`, N the product of `*S`.
    Errors: ValueError for another number of axes of space than two or three. Chapter 9.

    >>> to_tokens(torch.tensor([[[[1., 2.], [3., 4.]]]]))[0, :, 0]
    tensor([1., 2., 3., 4.])
    """
    return check_tensor("map", map_, dtype="float", shape="(B, C, *S)").flatten(2).mT


def to_map(tokens: Float[Tensor, "b n c"], size: Sequence[int]) -> Float[Tensor, "b c *s"]:
    r"""The tokens back in their places: the way back from `to_tokens`.

    Shapes: `tokens (B, N, C)` to `(B, C, *size)`; `size` are the voxels along each axis, N in all.
    Errors: ValueError for a size that has not as many voxels as there are tokens. Chapter 9.

    >>> map_ = torch.rand(1, 8, 3, 4)
    >>> torch.equal(to_map(to_tokens(map_), (3, 4)), map_)
    True
    """
    voxels = math.prod(size)
    if tokens.ndim != 3 or tokens.shape[1] != voxels:
        raise ValueError(f"tokens: expected (B, {voxels}, C) for a map of size {tuple(size)}, "
                         f"got shape {tuple(tokens.shape)}")
    return tokens.mT.unflatten(2, tuple(size))


def merge_heads(x: Float[Tensor, "b heads n d"]) -> Float[Tensor, "b n c"]:
    r"""The heads of each token side by side.

    Shapes: `x (B, heads, N, d)` to `(B, N, heads * d)`. Chapter 9.

    >>> merge_heads(torch.tensor([[[[1., 2.]], [[3., 4.]]]]))           # two heads of a single token
    tensor([[[1., 2., 3., 4.]]])
    """
    return x.transpose(1, 2).flatten(2)


def attention_rollout(weights: Sequence[Float[Tensor, "b heads n n"]]) -> Float[Tensor, "b n n"]:
    r"""$\tilde A_L \cdots \tilde A_1$ with $\tilde A = \tfrac12 (\bar A + I)$: what each token has seen after L layers.

    Shapes: the `weights` of each layer `(B, heads, N, N)`, the first layer first; `(B, N, N)`. $\bar A$ is the mean
    over the heads, and I stands for the residual path around the attention. Row i says how much of each input token has
    arrived in token i, and sums to 1. It shows which tokens could have heard which others, not what decided.
    Errors: ValueError for no layer, layers of different shapes, rows that do not sum to 1; TypeError for another dtype
    than float. Source: Abnar and Zuidema 2020, sec. 4, arXiv:2005.00928. Chapter 9.

    >>> looks_at_the_first = torch.tensor([[[[1., 0.], [1., 0.]]]])
    >>> attention_rollout([looks_at_the_first, looks_at_the_first])
    tensor([[[1.0000, 0.0000],
             [0.7500, 0.2500]]])
    """
    seen: Tensor | None = None
    for i, layer in enumerate(weights):
        check_tensor(f"weights[{i}]", layer, dtype="float")
        b, n = ("B", "N") if seen is None else seen.shape[:2]
        if layer.ndim != 4 or 0 in layer.shape[1:] or layer.shape[2] != layer.shape[3] or (
                seen is not None and layer.shape[::2] != (b, n)):
            raise ValueError(f"weights[{i}]: expected ({b}, heads, {n}, {n}), got shape {tuple(layer.shape)}")
        check_simplex(layer, dim=-1)
        step = (layer.mean(1, dtype=torch.float32) + torch.eye(layer.shape[-1], device=layer.device)) / 2
        seen = step if seen is None else step @ seen
    if seen is None:
        raise ValueError("weights: expected at least one layer, got none")
    return seen
