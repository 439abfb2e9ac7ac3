r"""The official weights of the vision transformer: named arrays in an .npz, each put where it belongs (chapter 8)."""
from __future__ import annotations

import math
import re
import zipfile
import zlib
from collections.abc import Iterator
from os import PathLike

import numpy as np
import torch
from torch import Tensor, nn

from medlearn.nets.resnetv2 import ResNetV2
from medlearn.nets.vit import Transformer, resize_positions

POSITIONS = "Transformer/posembed_input/pos_embedding"
ROOT = "conv_root/kernel"
UNUSED = re.compile(r"cls|(head|pre_logits)/(kernel|bias)")     # of the classifier that the weights were trained in
GROUP_NORM = re.compile(r"gn(_\w+|\d)/")                        # stored (C,), or (1, 1, 1, C) by the first releases
SHOWN = 5                                                       # names in a refusal


def load_official(path: str | PathLike, cnn: ResNetV2, embedding: nn.Conv2d, transformer: Transformer) -> None:
    r"""Fills the three parts with the arrays of an official .npz, by name; nothing is written before all is checked.

    Kernels of convolutions are stored (height, width, in, out) and dense ones (in, out); group norms (C,) or
    (1, 1, 1, C). The position of the class token is dropped, and the others are brought to the transformer's grid by
    `resize_positions`. A root of other than three channels gets the sum of the three, evenly shared. The
    classifier (cls, head, pre_logits) is ignored.
    Errors: ValueError for a file that is no .npz, is truncated or damaged, or holds pickled objects; for arrays that
    are missing, that have no place here, or whose shape or dtype (float32) is another than expected, and for values
    that are not finite: each named. FileNotFoundError where there is no file.
    Source: the names, Dosovitskiy et al. 2021, github.com/google-research/vision_transformer. Chapter 8.
    """
    arrays = read_npz(path)
    places = dict(official_places(cnn, embedding, transformer))
    if ROOT in arrays and cnn.in_channels != 3:
        arrays[ROOT] = _shared_among(arrays[ROOT], cnn.in_channels)
    wanted = places.keys() | {POSITIONS}
    _refuse_names(path, "are missing", wanted - arrays.keys())
    _refuse_names(path, "have no place in this network",
                  {name for name in arrays.keys() - wanted if not UNUSED.fullmatch(name)})
    for name in wanted:
        _check_numbers(f"{path}: {name}", arrays[name])
    for name, place in places.items():
        shape = tuple(place.shape)
        if arrays[name].shape != shape and not (GROUP_NORM.search(name) and arrays[name].shape == (1, 1, 1, *shape)):
            raise ValueError(f"{path}: {name}: expected shape {shape}, got {arrays[name].shape}")
    positions = _positions(path, arrays[POSITIONS], transformer)
    with torch.no_grad():
        transformer.positions.copy_(positions)
        for name, place in places.items():
            place.copy_(torch.from_numpy(arrays[name]).reshape(place.shape))


def read_npz(path: str | PathLike) -> dict[str, np.ndarray]:
    r"""The arrays of an .npz by name, and no code: `np.load` without pickle, with every way to fail a ValueError.

    Errors: ValueError for a file that is no .npz, is truncated or damaged, or holds objects. Chapter 8.
    """
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("it is one array without a name")
        with file:
            arrays = {name: file[name] for name in file.files}
        if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{odd[0]} is no array")
        return arrays
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path}: expected an .npz of plain arrays, got what cannot be read so: {error}") from error


def official_places(cnn: ResNetV2, embedding: nn.Conv2d, transformer: Transformer) -> Iterator[tuple[str, Tensor]]:
    r"""Each official name with the parameter it fills, seen in the file's order of axes: `place.copy_(array)` loads it.

    The places are views, so writing to them writes to the network. The positions, which may need another grid, are
    not among them. Chapter 8.
    """
    yield from _convolution("conv_root", cnn.conv_root)
    yield from _norm("gn_root", cnn.gn_root)
    for s, stage in enumerate(cnn.stages, 1):
        for u, unit in enumerate(stage, 1):
            for part, module in unit.named_children():
                place = _convolution if part.startswith("conv") else _norm
                yield from place(f"block{s}/unit{u}/{part}", module)
    yield from _convolution("embedding", embedding)
    for i, block in enumerate(transformer.blocks):
        name = f"Transformer/encoderblock_{i}"
        yield from _norm(f"{name}/LayerNorm_0", block.norm1)
        yield from _attention(f"{name}/MultiHeadDotProductAttention_1", block.attention)
        yield from _norm(f"{name}/LayerNorm_2", block.norm2)
        for j, layer in enumerate(m for m in block.mlp if isinstance(m, nn.Linear)):
            yield f"{name}/MlpBlock_3/Dense_{j}/kernel", layer.weight.data.T
            yield f"{name}/MlpBlock_3/Dense_{j}/bias", layer.bias.data
    yield from _norm("Transformer/encoder_norm", transformer.norm)


def _convolution(name: str, conv: nn.Conv2d) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/kernel", conv.weight.data.permute(2, 3, 1, 0)
    if conv.bias is not None:
        yield f"{name}/bias", conv.bias.data


def _norm(name: str, norm: nn.GroupNorm | nn.LayerNorm) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/scale", norm.weight.data
    yield f"{name}/bias", norm.bias.data


def _attention(name: str, attention: nn.Module) -> Iterator[tuple[str, Tensor]]:
    heads = (attention.heads, attention.channels // attention.heads)
    weights, biases = attention.qkv.weight.data.chunk(3), attention.qkv.bias.data.chunk(3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases):
        yield f"{name}/{part}/kernel", weight.T.unflatten(1, heads)
        yield f"{name}/{part}/bias", bias.unflatten(0, heads)
    yield f"{name}/out/kernel", attention.out.weight.data.T.unflatten(0, heads)
    yield f"{name}/out/bias", attention.out.bias.data


def _shared_among(kernel: np.ndarray, channels: int) -> np.ndarray:
    if kernel.ndim != 4 or kernel.shape[2] != 3:                    # refused by its shape, with the others
        return kernel
    return (kernel.sum(axis=2, keepdims=True) / channels).repeat(channels, axis=2)


def _positions(path: str | PathLike, array: np.ndarray, transformer: Transformer) -> Tensor:
    side = math.isqrt(max(array.shape[1] - 1, 0)) if array.ndim == 3 else 0
    if side == 0 or array.shape != (1, 1 + side * side, transformer.channels):
        raise ValueError(f"{path}: {POSITIONS}: expected shape (1, 1 + a square number, {transformer.channels}), "
                         f"got {array.shape}")
    return resize_positions(torch.from_numpy(array)[:, 1:], (side, side), transformer.grid)


def _check_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype != np.float32:
        raise ValueError(f"{name}: expected float32, got {array.dtype}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")


def _refuse_names(path: str | PathLike, what: str, names: set[str]) -> None:
    if names:
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        shown = ", ".join(sorted(names)[:SHOWN])
        raise ValueError(f"{path}: expected the arrays of this network, got a file in which {shown}{rest} {what}")
