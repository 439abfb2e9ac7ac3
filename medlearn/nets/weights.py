r"""The official weights of the vision transformer: named arrays in an .npz, each put where it belongs (chapter 10)."""
from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from medlearn.nets.attention import SelfAttention
from medlearn.nets.resnetv2 import ResNetV2
from medlearn.nets.vit import Transformer, TransformerBlock, resize_positions

POSITIONS = "Transformer/posembed_input/pos_embedding"
ROOT = "conv_root/kernel"
UNUSED = re.compile(r"cls|(head|pre_logits)/(kernel|bias)")     # of the classifier that the weights were trained in
GROUP_NORM = re.compile(r"gn(_\w+|\d)/")                        # stored (C,), or (1, 1, 1, C) by the first releases
SHOWN = 5                                                       # names in a refusal
LARGEST_GRID = 256                                              # positions along an axis, for 4096 pixels
HEADER = 2**14                                                  # bytes in which the header of a plain array ends


class Header(NamedTuple):
    """What a file says of an array before its numbers come."""

    shape: tuple[int, ...]
    dtype: np.dtype


def load_official(path: str | PathLike, cnn: ResNetV2, embedding: nn.Conv2d, transformer: Transformer) -> None:
    r"""Fills the three parts with the arrays of an official .npz, by name; nothing is written before all is checked.

    Names, shapes and dtypes are checked first, from the headers alone: so no array is read that does not fit, and the
    memory needed is that of the network, whatever the file claims.

    Kernels of convolutions are stored (height, width, in, out) and dense ones (in, out); group norms (C,) or
    (1, 1, 1, C). The position of the class token is dropped, and the others are brought to the transformer's grid by
    `resize_positions`. A root of other than three channels gets the sum of the three, evenly shared. The
    classifier (cls, head, pre_logits) is not read.
    Errors: ValueError for a file that is no .npz, is truncated or damaged, or holds pickled objects; for arrays that
    are missing, that have no place here, or whose shape or dtype (float32) is another than expected, and for values
    that are not finite: each named. FileNotFoundError where there is no file.
    Source: the names, Dosovitskiy et al. 2021, github.com/google-research/vision_transformer. Chapter 10.
    """
    headers = npz_headers(path)
    places = dict(official_places(cnn, embedding, transformer))
    wanted = places.keys() | {POSITIONS}
    _refuse_names(path, "are missing", wanted - headers.keys())
    _refuse_names(path, "have no place in this network",
                  {name for name in headers.keys() - wanted if not UNUSED.fullmatch(name)})
    _check_headers(path, headers, places, transformer.channels)

    arrays = read_npz(path, {name: headers[name] for name in wanted})
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    if arrays[ROOT].shape[2] != cnn.in_channels:
        arrays[ROOT] = _shared_among(arrays[ROOT], cnn.in_channels)
    positions = torch.from_numpy(arrays[POSITIONS])[:, 1:]
    side = math.isqrt(positions.shape[1])
    with torch.no_grad():
        transformer.positions.copy_(resize_positions(positions, (side, side), transformer.grid))
        for name, place in places.items():
            place.copy_(torch.from_numpy(arrays[name]).reshape(place.shape))


def npz_headers(path: str | PathLike) -> dict[str, Header]:
    r"""What an .npz says of each of its arrays, by name; no number is read, and no code is run.

    Errors: ValueError for a file that is no .npz, is truncated, or holds objects, or an array of another size than its
    header says. FileNotFoundError where there is no file. Chapter 10.
    """
    with _opened(path) as file:
        return {_name(member): _header(file, member) for member in file.infolist()}


def read_npz(path: str | PathLike, wanted: Mapping[str, Header]) -> dict[str, np.ndarray]:
    r"""The wanted arrays of an .npz by name, as the headers say that `npz_headers` gave; no other array is read.

    Errors: as `npz_headers`; ValueError for numbers that are damaged, or a file that is another one by now. Chapter 10.
    """
    with _opened(path) as file:
        members = {_name(member): member for member in file.infolist() if _name(member) in wanted}
        if {name: _header(file, member) for name, member in members.items()} != wanted:
            raise ValueError("its arrays are not those that were wanted")
        return {name: _array(file, member) for name, member in members.items()}


def official_places(cnn: ResNetV2, embedding: nn.Conv2d, transformer: Transformer) -> Iterator[tuple[str, Tensor]]:
    r"""Each official name with the parameter it fills, seen in the file's order of axes: `place.copy_(array)` loads it.

    The places are views, so writing to them writes to the network. The positions, which may need another grid, are
    not among them. Chapter 10.
    """
    yield from _convolution("conv_root", cnn.conv_root)
    yield from _norm("gn_root", cnn.gn_root)
    for s, stage in enumerate(cnn.stages, 1):
        for u, unit in enumerate(stage.children(), 1):
            for part, module in unit.named_children():
                place = _convolution if part.startswith("conv") else _norm
                yield from place(f"block{s}/unit{u}/{part}", module)
    yield from _convolution("embedding", embedding)
    yield "embedding/bias", embedding.get_parameter("bias").data
    for i, block in enumerate(cast(list[TransformerBlock], transformer.blocks)):
        name = f"Transformer/encoderblock_{i}"
        yield from _norm(f"{name}/LayerNorm_0", block.norm1)
        yield from _attention(f"{name}/MultiHeadDotProductAttention_1", block.attention)
        yield from _norm(f"{name}/LayerNorm_2", block.norm2)
        for j, layer in enumerate(m for m in block.mlp if isinstance(m, nn.Linear)):
            yield f"{name}/MlpBlock_3/Dense_{j}/kernel", layer.weight.data.T
            yield f"{name}/MlpBlock_3/Dense_{j}/bias", layer.bias.data
    yield from _norm("Transformer/encoder_norm", transformer.norm)


# the places of a layer

def _convolution(name: str, conv: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/kernel", conv.get_parameter("weight").data.permute(2, 3, 1, 0)


def _norm(name: str, norm: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield f"{name}/scale", norm.get_parameter("weight").data
    yield f"{name}/bias", norm.get_parameter("bias").data


def _attention(name: str, attention: SelfAttention) -> Iterator[tuple[str, Tensor]]:
    heads = (attention.heads, attention.channels // attention.heads)
    weights, biases = attention.qkv.weight.data.chunk(3), attention.qkv.bias.data.chunk(3)
    for part, weight, bias in zip(("query", "key", "value"), weights, biases):
        yield f"{name}/{part}/kernel", weight.T.unflatten(1, heads)
        yield f"{name}/{part}/bias", bias.unflatten(0, heads)
    yield f"{name}/out/kernel", attention.out.weight.data.T.unflatten(0, heads)
    yield f"{name}/out/bias", attention.out.bias.data


def _shared_among(kernel: np.ndarray, channels: int) -> np.ndarray:
    return (kernel.sum(axis=2, keepdims=True) / channels).repeat(channels, axis=2)


# the file

@contextmanager
def _opened(path: str | PathLike) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: expected an .npz of plain arrays, got what cannot be read so: {error}") from error


def _name(member: zipfile.ZipInfo) -> str:
    return member.filename.removesuffix(".npy")


def _header(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{_name(member)} is compressed in another way than numpy does")
    with file.open(member) as stream:
        start = io.BytesIO(stream.read(HEADER))                 # whatever size the header claims
    try:
        version = np.lib.format.read_magic(start)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(start)
    except Exception as error:                                      # it is parsed as Python, which fails in many ways
        raise ValueError(f"{_name(member)} is no array: {error}") from error
    if dtype.hasobject:
        raise ValueError(f"{_name(member)} holds objects")
    size = start.tell() + math.prod(shape) * dtype.itemsize
    if size != member.file_size:
        raise ValueError(f"{_name(member)} would be {size} bytes by its header and is {member.file_size}")
    return Header(shape, dtype)


def _array(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with file.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


# what does not fit

def _check_headers(path: str | PathLike, headers: Mapping[str, Header], places: Mapping[str, Tensor],
                   channels: int) -> None:
    for name in [*places, POSITIONS]:
        if headers[name].dtype != np.float32:
            raise ValueError(f"{path}: {name}: expected float32, got {headers[name].dtype}")
    for name, place in places.items():
        if headers[name].shape not in _shapes(name, tuple(place.shape)):
            raise ValueError(f"{path}: {name}: expected shape {tuple(place.shape)}, got {headers[name].shape}")
    shape = headers[POSITIONS].shape
    if shape not in {(1, 1 + side * side, channels) for side in range(1, LARGEST_GRID + 1)}:
        raise ValueError(f"{path}: {POSITIONS}: expected shape (1, 1 + n * n, {channels}) with n of 1..{LARGEST_GRID}, "
                         f"got {shape}")


def _shapes(name: str, shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    """The shapes in which a file may store what fills a place of this shape."""
    if name == ROOT:
        return {shape, (*shape[:2], 3, shape[3])}
    return {shape, (1, 1, 1, *shape)} if GROUP_NORM.search(name) else {shape}


def _refuse_names(path: str | PathLike, what: str, names: set[str]) -> None:
    if names:
        rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        shown = ", ".join(sorted(names)[:SHOWN])
        raise ValueError(f"{path}: expected the arrays of this network, got a file in which {shown}{rest} {what}")
