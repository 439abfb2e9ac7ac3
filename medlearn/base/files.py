r"""Files that hold numbers and no code, weights and facts: written whole or not at all, checked when read."""
from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from medlearn.base.atomic import written_whole


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, object]) -> None:
    """One safetensors file with a checksum and plain facts, as JSON can hold; until it is whole it has another name."""
    from safetensors.torch import save

    tensors = {name: tensor.detach().clone(memory_format=torch.contiguous_format).cpu()
               for name, tensor in tensors.items()}
    told = json.dumps(facts)
    with written_whole(path) as aside:
        aside.write_bytes(save(tensors, {"medlearn": told, "crc32": _crc32(told, tensors)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    """What `write_tensors` wrote, tensors and facts. Errors: OSError for one that cannot be opened,
    and ValueError for one that is damaged or another."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}
            told = file.metadata() or {}
        if told["crc32"] != _crc32(told["medlearn"], tensors):
            raise ValueError("its checksum is another")
        return tensors, json.loads(told["medlearn"])
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is damaged or no checkpoint ({type(error).__name__}: {error})") from error


def read_json(path: Path) -> dict:
    """The object in a JSON file. Errors: OSError for one that cannot be opened, and ValueError, which begins with the
    file, for anything but JSON, and for JSON that is not an object."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON: {error}") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path}: expected an object in JSON, got {type(told).__name__}")
    return told


def put_weights(net: nn.Module, weights: Mapping[str, Tensor], source: str | os.PathLike) -> None:
    """Writes the weights into a network, after a look at every name, shape and dtype."""
    here = net.state_dict()
    for name in dict.fromkeys([*here, *weights]):           # in the network's own order
        if (kept := _describe(weights.get(name))) != (wanted := _describe(here.get(name))):
            raise ValueError(f"{source}: the checkpoint of another network: {name!r} is {kept} in it "
                             f"and {wanted} in this one")
    net.load_state_dict(weights)


def _crc32(facts: str, tensors: Mapping[str, Tensor]) -> str:
    crc = zlib.crc32(facts.encode())
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].reshape(-1).view(torch.uint8).numpy().data, zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _describe(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
