r"""What a training step keeps in memory for the way back, counted before anything is computed."""
from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from medlearn.base.validation import check_whole, kind_of


def saved_bytes(net: nn.Module, shape: Sequence[int]) -> int:
    r"""The bytes that autograd keeps between `net(image)` and its gradients, weights and buffers left aside.

    It grows with the batch and with the voxels of a patch, and decides with them what fits on a GPU. Nothing is
    computed: the network is copied to the meta device, where tensors have a shape and no contents, so any size can be
    asked for. What several layers keep in common is counted once. What the loss keeps is not in it, nor what a layer
    needs while it computes.
    Shapes: `shape` is that of an image `(B, C, *S)` in float32. Units: bytes. The `net` is counted in training,
    whatever it is in, and stays as it is.
    Errors: TypeError for anything but a network, ValueError for an axis without a voxel, and as the network's own.
    Source: PyTorch's hooks for saved tensors, docs.pytorch.org/docs/stable/autograd.html. Chapter 20.

    >>> net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU())
    >>> saved_bytes(net, (2, 1, 8, 8, 8)) == 4 * 2 * 8**3 * (1 + 4)             # the image, and what ReLU gave
    True
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"net: expected an nn.Module, got {kind_of(net)}")
    if isinstance(shape, (str, int)):
        raise TypeError(f"shape: expected (B, C, *S), got {shape!r}")
    sizes = [check_whole(f"shape[{i}]", n, least=1) for i, n in enumerate(shape)]
    net = deepcopy(net).to("meta").train()
    own = {id(part.untyped_storage()) for part in (*net.parameters(), *net.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}              # alive while they are counted, so that ids stay apart

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(storage) not in own:
            kept[id(storage)] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        answer = net(torch.empty(sizes, device="meta"))     # held, or the graph would be gone
    del answer
    return sum(storage.nbytes() for storage in kept.values())
