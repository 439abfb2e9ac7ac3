r"""Networks that learned the same from different beginnings: where they disagree, nobody knows (chapter 13)."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from medlearn.nets.blocks import check_counts
from medlearn.base.files import put_weights, read_tensors, write_tensors
from medlearn.base.random import seeded
from medlearn.uncertainty.dropout import active_dropouts


class Ensemble(nn.Module):
    r"""$f_{\theta_1}(x), \dots, f_{\theta_M}(x)$: M networks of one construction that start from different weights.

    Shapes: `image (B, C, *S)` to `(M, B, K, *S)`, the members first. `stream(image)` gives them one by one, so that no
    more than one answer need be held::

        answer = RunningProbabilities()
        for logits in ensemble.stream(image):
            answer.add(logits.softmax(dim=1))

    `make()` makes a network. It is called M times, with torch's generators at seeds `seed`, `seed + 1`, ...; after
    that they go on as if nothing had been drawn. `members` are networks like any other. Trained one by one,
    each sees the samples in an order of its own::

        for seed, member in enumerate(ensemble.members):
            fit(member, data, loss, Recipe(seed=seed))

    Trained together, by the sum of their losses over the stream, they see the same batches, and differ in where they
    began alone. `folded(ensemble)` folds each member.
    `vectorised(image)` gives the answers of `ensemble(image)`, to rounding, by one call for all. On a CPU that is
    slower, up to twofold and more, but for many small networks and an image of 32 pixels a side; a GPU, which small
    operations leave idle, is where it is meant for. bench_ensemble.py tells for yours.
    Errors: ValueError for less than one member, members of different construction or with the same weights; TypeError
    where `make` makes no network.
    Source: Lakshminarayanan et al. 2017, sec. 2.4, arXiv:1612.01474. Chapter 13.
    """

    def __init__(self, make: Callable[[], nn.Module], members: int = 5, *, seed: int = 0):
        super().__init__()
        check_counts(members=members)
        self.members = nn.ModuleList(_made(make, seed + number) for number in range(members))
        _check_alike(self.members)

    def forward(self, image: Float[Tensor, "b ..."]) -> Float[Tensor, "m b ..."]:
        return torch.stack(list(self.stream(image)))

    def stream(self, image: Float[Tensor, "b ..."]) -> Iterator[Float[Tensor, "b ..."]]:
        """The members' answers, one after another, each computed when it is asked for."""
        return (member(image) for member in self.members)

    def vectorised(self, image: Float[Tensor, "b ..."]) -> Float[Tensor, "m b ..."]:
        """`forward` by one call, the weights of all members side by side; the gradient comes to each member's own.

        It works where torch's `vmap` does: for UNet and UNetPlusPlus, but not for TransUNet's group norms.
        Errors: ValueError in training, if the members keep count (batch norm) or draw (dropout): in one call they
        would not do so each for itself.
        """
        first = self.members[0]
        training = any(module.training for member in self.members for module in member.modules())
        if training and (list(first.buffers()) or active_dropouts(first)):
            raise ValueError("vectorised: expected members in evaluation, or without batch norm and dropout, "
                             "got some in training: call `ensemble(image)` or `ensemble.eval()`")
        states = [dict(member.named_parameters()) | dict(member.named_buffers()) for member in self.members]
        weights = {name: torch.stack([state[name] for state in states]) for name in states[0]}
        return vmap(lambda state: functional_call(first, state, (image,)))(weights)

    def save(self, path: str | PathLike) -> None:
        """All members in one file that holds numbers and no code (safetensors), written whole or not at all."""
        write_tensors(Path(path), self.state_dict(), {"members": len(self.members)})

    @classmethod
    def load(cls, path: str | PathLike, make: Callable[[], nn.Module]) -> Ensemble:
        r"""The ensemble that `save` wrote, on the CPU and in evaluation, with as many members; `make` as it was then.

        Errors: ValueError for a file that is missing, damaged, or no ensemble, and for members of another construction
        than `make` gives, with the first that is different.
        """
        weights, facts = read_tensors(Path(path))
        if "members" not in facts:
            raise ValueError(f"{path}: expected an ensemble that `save` wrote, got another file of weights")
        ensemble = cls(make, facts["members"])
        put_weights(ensemble, weights, path)
        return ensemble.eval()


def _made(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    with seeded(seed, torch.get_default_device()):
        net = make()
    if not isinstance(net, nn.Module):
        raise TypeError(f"make: expected a function that makes an nn.Module, got {type(net).__name__} from it")
    return net


def _check_alike(members: nn.ModuleList) -> None:
    """Refuses members that could not stand side by side, and those that would never disagree."""
    states = [member.state_dict() for member in members]
    shapes = [{name: tuple(x.shape) for name, x in state.items()} for state in states]
    for number, shape in enumerate(shapes):
        for name in shapes[0].keys() | shape.keys():
            if shape.get(name) != shapes[0].get(name):
                raise ValueError(f"make: expected members of one construction, got {name!r} of shape "
                                 f"{shapes[0].get(name)} in member 0 and {shape.get(name)} in member {number}")
    weights = [list(member.parameters()) for member in members]
    for number in range(1, len(members)):
        if all(torch.equal(a, b) for a, b in zip(weights[number - 1], weights[number])):
            raise ValueError(f"make: expected members with weights of their own, got the same in {number - 1} and "
                             f"{number}. A `make` that sets a seed makes one network again and again")
