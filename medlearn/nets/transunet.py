r"""TransUNet: a ResNet sees near and fine, a transformer sees far, and a decoder brings both together (chapter 10)."""
from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from os import PathLike

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_choice
from medlearn.nets.blocks import (ConvBlock, DoubleConv, Dropout, check_counts, check_probability, check_row,
                                  lay_channels_last)
from medlearn.nets.resnetv2 import Convention, ResNetV2
from medlearn.nets.vit import Transformer, grid_of
from medlearn.nets.weights import load_official

Levels = list[Float[Tensor, "b _ _ _"]]


@dataclass(frozen=True)
class TransUNetSize:
    r"""How large a TransUNet is; as it stands, R50-ViT-B/16, the published one.

    The ResNet has `width`, `units` and `groups`; the transformer `channels`, `heads`, `depth` and `hidden` units in
    its MLPs; `decoder` lists the channels of the first convolution and of each doubling, one more than the ResNet has
    stages. Errors: ValueError for another number of them. The rest is refused where it is used. Chapter 10.

    >>> small = TransUNetSize(width=16, units=(1, 1), groups=8, channels=64, depth=2, heads=4, hidden=64,
    ...                       decoder=(48, 32, 16, 16))
    >>> TransUNet(1, 2, image_size=32, size=small).stride
    8
    """

    width: int = 64
    units: tuple[int, ...] = (3, 4, 9)
    groups: int = 32
    channels: int = 768
    heads: int = 12
    depth: int = 12
    hidden: int = 3072
    decoder: tuple[int, ...] = (512, 256, 128, 64, 16)

    def __post_init__(self):
        if len(self.decoder) != len(self.units) + 2:
            raise ValueError(f"decoder: expected {len(self.units) + 2} numbers of channels for {len(self.units)} "
                             f"stages, got {len(self.decoder)}")
        check_row("decoder", self.decoder)


R50_VIT_B16 = TransUNetSize()
TINY = {16: TransUNetSize(16, (1, 1, 1), 8, 128, 4, 4, 256, (128, 64, 32, 16, 16)),
        8: TransUNetSize(16, (1, 1), 8, 128, 4, 4, 256, (96, 48, 16, 16))}


class TransUNet(nn.Module):
    r"""Image to tokens by a ResNet, a transformer among them, and up: $y_i = U_i([\mathrm{up}(y_{i+1}), x_i])$.

    Shapes: `image (B, in_channels, H, W)` to logits `(B, classes, H, W)`. A network of three channels, as published,
    takes a grey image, too, and shows it to all three.
    `stride`, 16 for the published `size`, must divide H and W. Other sizes than `image_size`, an int or (H, W), get
    interpolated positions. The published network, for 224 x 224 and 9 classes, has 105,277,081 parameters.
    `forward` is `decode(encode(image))`, and `merge` one step of the way up, as in `UNet`.
    `dropout` acts in the transformer; `decoder_dropout` is the probability that a value on its way up is left out,
    where a step reads it, so that `encode` is never random with `dropout=0`. Both act in training only.
    `convention`: "pytorch" computes as TransUNet's authors do, "jax" as the network whose weights they start from.
    `checkpointing` stores less for the way back and computes it again, as `run_in_turn` does.
    For inference `folded(net)` standardises the weights once. An empty batch gives an empty one in evaluation.
    Errors: TypeError for an image that is not float; ValueError for one of another shape, and for numbers that do not
    go together. Source: Chen et al. 2021, fig. 1, arXiv:2102.04306. Chapter 10.

    >>> import torch
    >>> net, image = TransUNet.tiny(classes=2, image_size=32), torch.rand(2, 1, 32, 32)
    >>> net(image).shape, [tuple(level.shape) for level in net.encode(image)]
    (torch.Size([2, 2, 32, 32]), [(2, 16, 16, 16), (2, 64, 8, 8), (2, 128, 4, 4), (2, 128, 2, 2)])
    """

    def __init__(self, in_channels: int = 3, classes: int = 9, *, image_size: int | tuple[int, int] = 224,
                 size: TransUNetSize = R50_VIT_B16, dropout: float = 0.1, decoder_dropout: float = 0.0,
                 convention: Convention = "pytorch", checkpointing: bool = False):
        super().__init__()
        in_channels, classes = check_counts(in_channels=in_channels, classes=classes)
        decoder_dropout = check_probability("decoder_dropout", decoder_dropout)
        self.cnn = ResNetV2(size.width, size.units, in_channels=in_channels, groups=size.groups,
                            convention=convention, checkpointing=checkpointing)
        self.stride = self.cnn.stride
        *skips, coarsest = self.cnn.channels
        self.embedding = nn.Conv2d(coarsest, size.channels, kernel_size=1)
        self.transformer = Transformer(size.channels, size.heads, depth=size.depth, hidden=size.hidden,
                                       grid=grid_of(image_size, self.stride), dropout=dropout,
                                       convention=convention, checkpointing=checkpointing)
        self.narrow = ConvBlock(size.channels, size.decoder[0])
        widths = size.decoder[::-1]                                                 # the finest first
        self.up = nn.ModuleList(DoubleConv(coarse + skip, fine)
                                for (fine, coarse), skip in zip(pairwise(widths), (0, *skips)))
        self.dropout = nn.ModuleList(Dropout(decoder_dropout) for _ in self.up)
        self.head = nn.Conv2d(widths[0], classes, kernel_size=3, padding=1)
        lay_channels_last(self, dim=2)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return self.decode(self.encode(image))

    def encode(self, image: Float[Tensor, "b c h w"]) -> Levels:
        r"""The skips of the ResNet, the finest first, and what the transformer makes of its last map."""
        *skips, x = self.cnn(image)
        return [*skips, self.narrow(self.transformer(self.embedding(x)))]

    def merge(self, levels: Levels) -> Levels:
        r"""One step up: the coarsest map is doubled and meets the next skip, as long as there is one."""
        *skips, y = levels
        y = self.dropout[len(skips)](y)
        y = F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)
        return [*skips[:-1], self.up[len(skips)](y, *skips[-1:])]

    def decode(self, levels: Levels) -> Float[Tensor, "b k h w"]:
        r"""From the levels of `encode`, or what `merge` left of them, up to the logits of each pixel."""
        while len(levels) > 1:
            levels = self.merge(levels)
        return self.head(*self.merge(levels))

    @classmethod
    def tiny(cls, in_channels: int = 3, classes: int = 2, *, image_size: int | tuple[int, int] = 64, stride: int = 16,
             dropout: float = 0.0, decoder_dropout: float = 0.0, convention: Convention = "jax",
             checkpointing: bool = False) -> TransUNet:
        r"""A network of 1.1 million parameters, which trains on a CPU in minutes: the same construction.

        Attention is among tokens of `stride` pixels: 16, or 8 with a stage less in the ResNet.
        Errors: ValueError for another stride; else as `TransUNet`. Chapter 10.
        """
        check_choice("stride", stride, (8, 16))
        return cls(in_channels, classes, image_size=image_size, size=TINY[stride], dropout=dropout,
                   decoder_dropout=decoder_dropout, convention=convention, checkpointing=checkpointing)

    @classmethod
    def from_npz(cls, path: str | PathLike, *, in_channels: int = 3, classes: int = 9, **arguments) -> TransUNet:
        r"""A network whose ResNet and transformer have the official ViT weights; its decoder is still to be trained.

        `path` is the .npz of R50+ViT-B/16, read by its names. `arguments` are those of `TransUNet`. With
        `convention="pytorch"` it computes as TransUNet's authors do, with "jax" as the original of the weights.
        The file's first kernel reads red, green and blue; other `in_channels` share its sum evenly. That is a start and
        no copy, since the kernel is standardised: a grey image is best shown to the three channels.
        Errors: ValueError for a file that is no .npz, is truncated or holds pickled objects, and for missing,
        unexpected or wrongly shaped arrays, each named; see `load_official`. Chapter 10.
        """
        net = cls(in_channels, classes, **arguments)
        load_official(path, net.cnn, net.embedding, net.transformer)
        return net
