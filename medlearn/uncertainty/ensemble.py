r"""Networks that learned the same from different beginnings: where they disagree, nobody knows (chapter 15)."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from os import PathLike
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from medlearn.base.files import put_weights, read_tensors, write_tensors
from medlearn.base.random import seeded
from medlearn.base.validation import check_whole, kind_of
from medlearn.uncertainty.dropout import active_dropouts


class Ensemble(nn.Module):
    r"""$f_{\theta_1}(x), \dots, f_{\theta_M}(x)$: M networks of one construction that start from different weights.

    Shapes: `image (B, C, *S)` to `(M, B, K, *S)`, the members first. `stream(image)` gives them one by one, so that no
    more than one answer need be held::

        answer = RunningProbabilities()
        for logits in ensemble.stream(image):
            answer.add(logits.softmax(dim=1))

    `make()` makes a network. It is called M times, with torch's, NumPy's and Python's generators at seeds `seed`,
    `seed + 1`, ...; after that they go on as if nothing had been drawn. `members` are networks like any other. Trained
    one by one, each sees the samples in an order of its own::

        for seed, member in enumerate(ensemble.members):
            fit(member, data, loss=loss, recipe=Recipe(seed=seed))

    Trained together, by the sum of their losses over the stream, they see the same batches, and differ in where they
    began alone. `folded(ensemble)` folds each member. `Ensemble.of(nets)` takes networks that exist already.
    `vectorised(image)` gives the answers of `ensemble(image)`, to rounding, by one call for all. On a CPU that is
    slower, up to twofold and more, but for many small networks and an image of 32 pixels a side; a GPU, which small
    operations leave idle, is where it is meant for. bench_ensemble.py tells for yours.
    Errors: ValueError for less than one member, members of different construction or with the same weights; TypeError
    where `make` makes no network.
    Source: Lakshminarayanan et al. 2017, sec. 2.4, arXiv:1612.01474. Chapter 15.

    >>> ensemble = Ensemble(lambda: nn.Conv2d(1, 2, 3), members=4)
    >>> ensemble(torch.zeros(1, 1, 8, 8)).shape
    torch.Size([4, 1, 2, 6, 6])
    """

    def __init__(self, make: Callable[[], nn.Module], members: int = 5, *, seed: int = 0):
        super().__init__()
        check_whole("members", members, least=1)
        check_whole("seed", seed, least=-2**63)
        self.members = nn.ModuleList(_made(make, seed + number) for number in range(members))
        _check_alike("make", list(self.members))

    @classmethod
    def of(cls, nets: Iterable[nn.Module]) -> Ensemble:
        r"""The ensemble of networks `nets` that exist already, trained ones say: they are its members, and no copies.

        Errors: as for members that `make` makes; TypeError for anything but a network.

        >>> Ensemble.of([nn.Linear(3, 2), nn.Linear(3, 2)])(torch.zeros(5, 3)).shape
        torch.Size([2, 5, 2])
        """
        if isinstance(nets, Tensor):                            # not each kind of tensor can be taken apart
            raise TypeError(f"nets: expected networks in a row, got {kind_of(nets)}")
        nets = list(nets) if isinstance(nets, Iterable) else [nets]
        for number, net in enumerate(nets):
            if not isinstance(net, nn.Module):
                raise TypeError(f"nets[{number}]: expected an nn.Module, got {kind_of(net)}")
        if not nets:
            raise ValueError("nets: expected one network or more, got none")
        _check_alike("nets", nets)
        ensemble = cls.__new__(cls)
        nn.Module.__init__(ensemble)
        ensemble.members = nn.ModuleList(nets)
        return ensemble

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
        """All members in a file `path` that holds numbers and no code (safetensors), written whole or not at all."""
        write_tensors(Path(path), self.state_dict(), {"members": len(self.members)})

    @classmethod
    def load(cls, path: str | PathLike, make: Callable[[], nn.Module]) -> Ensemble:
        r"""The ensemble that `save` wrote, on the CPU and in evaluation, with as many members; `make` as it was then.

        Errors: FileNotFoundError where there is none; ValueError for a file that is damaged or no ensemble, and for
        members of another construction than `make` gives, with the first that is different.
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


def _check_alike(name: str, members: Sequence[nn.Module]) -> None:
    """Refuses members that could not stand side by side, and those that would never disagree."""
    kinds = [{key: f"shape {tuple(x.shape)} {x.dtype} on {x.device}" for key, x in member.state_dict().items()}
             for member in members]
    for number, kind in enumerate(kinds):
        for key in kinds[0].keys() | kind.keys():
            if kind.get(key) != kinds[0].get(key):
                raise ValueError(f"{name}: expected members of one construction, got {key!r} of {kinds[0].get(key)} "
                                 f"in member 0 and {kind.get(key)} in member {number}")
    weights = [list(member.parameters()) for member in members]
    for one, other in combinations(range(len(members)), 2):
        if all(torch.equal(a, b) for a, b in zip(weights[one], weights[other])):
            hint = ". A `make` that sets a seed makes one network again and again" if name == "make" else ""
            raise ValueError(f"{name}: expected members with weights of their own, got the same in {one} and "
                             f"{other}{hint}")
