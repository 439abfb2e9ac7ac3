"""Files of weights: what was written comes back, whole or not at all, and damage is noticed."""
import os

import pytest
import torch
from torch import nn

from medlearn.base.files import put_weights, read_tensors, write_tensors

TENSORS = {"weight": torch.arange(6.0).reshape(2, 3).T, "half": torch.ones(2).bfloat16(), "none": torch.zeros(0, 3),
           "count": torch.tensor(7), "mask": torch.tensor([True, False])}


def test_tensors_and_facts_come_back(tmp_path):
    write_tensors(tmp_path / "a.safetensors", TENSORS, {"step": 3, "name": "ä", "rows": [{"loss": 0.1}]})
    tensors, facts = read_tensors(tmp_path / "a.safetensors")
    assert facts == {"step": 3, "name": "ä", "rows": [{"loss": 0.1}]} and {*tensors} == {*TENSORS}
    assert all(torch.equal(tensors[name], value) and tensors[name].dtype == value.dtype
               for name, value in TENSORS.items())
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_until_it_is_whole_the_old_file_stands(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_tensors(path, TENSORS, {"step": 1})

    def full(*_):
        raise OSError("No space left on device")
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(os, "replace", full)
        write_tensors(path, TENSORS, {"step": 2})
    assert read_tensors(path)[1] == {"step": 1}


@pytest.mark.parametrize("place", ["head", "facts", "last tensor"])
def test_one_turned_bit_is_noticed(tmp_path, place, refused):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"weight": torch.ones(5)}, {"step": 1234})
    content = bytearray(path.read_bytes())
    content[{"head": 12, "facts": content.index(b"1234"), "last tensor": -2}[place]] ^= 1
    path.write_bytes(content)
    with refused("a.safetensors is damaged or no checkpoint"):
        read_tensors(path)


def test_a_file_of_somebody_else_and_none(tmp_path, refused):
    from safetensors.torch import save_file

    save_file({"weight": torch.ones(2)}, tmp_path / "other.safetensors")
    with refused("other.safetensors is damaged or no checkpoint .KeyError: 'crc32'"):
        read_tensors(tmp_path / "other.safetensors")
    with pytest.raises(OSError):
        read_tensors(tmp_path / "nowhere.safetensors")


@pytest.mark.parametrize("weights, words", [
    ({"weight": torch.ones(2, 3)}, r"'bias' is missing in it and float32 \(2,\) in this one"),
    ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, r"'weight' is float32 \(3, 2\) in it and float32 \(2, 3\)"),
    ({"weight": torch.ones(2, 3).double(), "bias": torch.ones(2)}, "'weight' is float64"),
    ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "more": torch.ones(1)}, "'more' is .* missing in this one"),
], ids=["fewer", "shape", "dtype", "more"])
def test_weights_of_another_network_are_refused_whole(weights, words, refused):
    net = nn.Linear(3, 2)
    before = net.weight.clone()
    with refused(f"x: the checkpoint of another network: {words}"):
        put_weights(net, weights, "x")
    assert torch.equal(net.weight, before)


def test_weights_are_put_into_their_network():
    net, other = nn.Linear(3, 2), nn.Linear(3, 2)
    put_weights(net, other.state_dict(), "x")
    assert torch.equal(net.weight, other.weight) and torch.equal(net.bias, other.bias)
