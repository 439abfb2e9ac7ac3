r"""The vision transformer: an image as a row of tokens that look at each other, layer upon layer (chapter 10)."""
from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.nets.attention import SelfAttention, to_map, to_tokens
from medlearn.nets.blocks import check_counts, check_image, check_probability, check_row
from medlearn.nets.checkpointing import run_in_turn
from medlearn.nets.resnetv2 import Convention, check_convention, check_sides

EPS = 1e-6                  # of layer norm


class TransformerBlock(nn.Module):
    r"""$z' = z + \mathrm{MSA}(\mathrm{LN}(z))$, then $z' + \mathrm{MLP}(\mathrm{LN}(z'))$: attention, then an MLP.

    Shapes: `tokens (B, N, channels)` to the same. MSA is the attention of `heads` heads. The MLP has `hidden` units and
    GELU: the exact one with `convention="pytorch"`, its tanh approximation with "jax". `dropout` is the probability
    with which the MLP leaves a value out, in training only. An empty batch gives an empty batch.
    Errors: as `SelfAttention`; ValueError for another convention.
    Source: Dosovitskiy et al. 2021, eq. 2 and 3, arXiv:2010.11929. Chapter 10.

    >>> TransformerBlock(8, 2, hidden=16)(torch.rand(1, 5, 8)).shape
    torch.Size([1, 5, 8])
    """

    def __init__(self, channels: int, heads: int, *, hidden: int, dropout: float = 0.0,
                 convention: Convention = "pytorch"):
        super().__init__()
        channels, hidden = check_counts(channels=channels, hidden=hidden)
        check_convention(convention)
        dropout = check_probability("dropout", dropout)
        self.norm1 = nn.LayerNorm(channels, eps=EPS)
        self.attention = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels, eps=EPS)
        widen, narrow = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.mlp = nn.Sequential(widen, nn.GELU("none" if convention == "pytorch" else "tanh"), nn.Dropout(dropout),
                                 narrow, nn.Dropout(dropout))
        for layer in (widen, narrow):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Transformer(nn.Module):
    r"""$z_0 = x + p$, then `depth` blocks and a last norm: each place of a map has heard from every other one.

    Shapes: map `(B, channels, h, w)` to the same; each place is a token, with a position p that is learned. There is
    no class token. `grid` is the (h, w) of the positions that are learned; a map of another size gets theirs
    interpolated, see `resize_positions`. Without positions the places could be exchanged and nothing would notice.
    `dropout` acts behind the positions and in the MLPs, in training only. `checkpointing` keeps only what passes
    between the blocks, and computes the rest again on the way back. An empty batch gives an empty batch.
    Errors: as `TransformerBlock`; ValueError for a map of another shape. Source: as `TransformerBlock`. Chapter 10.
    """

    def __init__(self, channels: int, heads: int, *, depth: int, hidden: int, grid: tuple[int, int],
                 dropout: float = 0.0, convention: Convention = "pytorch", checkpointing: bool = False):
        super().__init__()
        channels, depth = check_counts(channels=channels, depth=depth)
        self.channels, self.grid, self.checkpointing = channels, check_row("grid", grid), checkpointing
        self.positions = nn.Parameter(torch.zeros(1, grid[0] * grid[1], channels))
        nn.init.normal_(self.positions, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, hidden=hidden, dropout=dropout,
                                                     convention=convention)
                                    for _ in range(depth))
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(self, map_: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        tokens = run_in_turn(self.blocks, self.tokens(map_), self.checkpointing)
        return to_map(self.norm(tokens), map_.shape[2:])

    def weights(self, map_: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b heads n n"]]:
        r"""Who looks at whom, `(B, heads, N, N)` for each block, the first block first: for `attention_rollout`."""
        found, tokens = [], self.tokens(map_)
        for block in cast(Sequence[TransformerBlock], self.blocks):
            found.append(block.attention.weights(block.norm1(tokens)))
            tokens = block(tokens)
        return found

    def tokens(self, map_: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n c"]:
        r"""$z_0 = x + p$: what the first block sees."""
        if map_.ndim != 4 or map_.shape[1] != self.channels:
            raise ValueError(f"map: expected (B, {self.channels}, h, w), got shape {tuple(map_.shape)}")
        return self.dropout(to_tokens(map_) + resize_positions(self.positions, self.grid, map_.shape[2:]))


class ViTSegmenter(nn.Module):
    r"""A pure transformer that segments: patches, `Transformer`, a class for each patch, and bilinear interpolation.

    Shapes: `image (B, in_channels, H, W)` to logits `(B, classes, H, W)`; `patch`, the pixels of a patch along
    each axis, must divide H and W. Other sizes than `image_size`, an int or (H, W), get interpolated positions. It sees
    far, and answers on a grid as coarse as its patches: nothing but the interpolation says where between them a border
    runs. The transformer has `channels`, `heads`, `depth`, `hidden` and `dropout` as in `TransformerBlock` and
    `Transformer`; with the defaults there are half a million parameters.
    An empty batch gives empty logits in evaluation; in training the head's norm refuses it.
    Errors: TypeError for an image that is not float; ValueError for one of another shape, for sizes that the patch
    does not divide, and as `Transformer`.
    Source: Zheng et al. 2021 ("SETR-Naive"), sec. 3.2, arXiv:2012.15840. Chapter 10.

    >>> net = ViTSegmenter(classes=2, image_size=32, channels=8, heads=2, depth=1, hidden=8)
    >>> net(torch.rand(2, 1, 32, 32)).shape, net(torch.rand(2, 1, 48, 64)).shape
    (torch.Size([2, 2, 32, 32]), torch.Size([2, 2, 48, 64]))
    """

    def __init__(self, in_channels: int = 1, classes: int = 2, *, image_size: int | tuple[int, int] = 64,
                 patch: int = 8, channels: int = 128, heads: int = 4, depth: int = 4, hidden: int = 256,
                 dropout: float = 0.0):
        super().__init__()
        in_channels, classes, patch = check_counts(in_channels=in_channels, classes=classes, patch=patch)
        self.in_channels, self.patch = in_channels, patch
        self.embedding = nn.Conv2d(in_channels, channels, kernel_size=patch, stride=patch)
        self.transformer = Transformer(channels, heads, depth=depth, hidden=hidden, grid=grid_of(image_size, patch),
                                       dropout=dropout)
        self.head = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels),
                                  nn.ReLU(inplace=True), nn.Conv2d(channels, classes, 1))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        check_image(image, self.in_channels, dim=2, weight=self.embedding.weight)
        check_sides(image, self.patch)
        logits = self.head(self.transformer(self.embedding(image)))
        return F.interpolate(logits, scale_factor=self.patch, mode="bilinear", align_corners=False)


def resize_positions(positions: Float[Tensor, "1 n c"], grid: Sequence[int], size: Sequence[int]
                     ) -> Float[Tensor, "1 m c"]:
    r"""The positions of a grid for another size of map: linear between them, the corners staying on the corners.

    Shapes: `positions (1, h * w, C)` of a `grid` (h, w) to `(1, size[0] * size[1], C)`. It is the order-1 zoom by which
    the official weights are brought to other grids. It serves there and for every size of image that comes later, so
    that a network loaded at one size answers at another as one that was loaded for it.
    The grid's own size gives the same numbers. It is computed like any other size, so that a network exported or traced
    at one size answers at others.
    Errors: ValueError for another number of positions than the grid has. Chapter 10.

    >>> resize_positions(torch.tensor([[[0.], [1.]]]), (1, 2), (1, 3))
    tensor([[[0.0000],
             [0.5000],
             [1.0000]]])
    """
    return to_tokens(F.interpolate(to_map(positions, grid), tuple(size), mode="bilinear", align_corners=True))


def grid_of(image_size: int | tuple[int, int], stride: int) -> tuple[int, int]:
    """How many tokens an image has along its two axes; refuses sizes that are no multiple."""
    sides = tuple(image_size) if isinstance(image_size, (tuple, list)) else (image_size, image_size)
    whole = all(isinstance(n, Integral) and not isinstance(n, bool) for n in sides)
    if len(sides) != 2 or not whole or any(n < 1 or n % stride for n in sides):
        raise ValueError(f"image_size: expected one or two multiples of {stride}, got {image_size!r}")
    return int(sides[0]) // stride, int(sides[1]) // stride
