"""Networks as drawings, taken from the modules themselves: the shape, the weights and the reach of every part.

    python tools/architectures.py unet      prints the parts of one of them

Each part is run: its shape is that of what it answers, its weights are counted, its reach is what
`medlearn.nets.receptive_field` measures. The reach is asked of a thin twin, with as many layers and fewer channels.
"""
from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from medlearn.nets import (MapAttention, TaskNet, TransUNet, TransUNetSize, UNet, UNetPlusPlus, merge_heads,
                           receptive_field, to_map)
from drawings import Arrow, Box

LARGEST = 1024  # pixels a side of the image on which a reach is measured at most
Take = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Part:
    """One box: its name (`x_0` sets the 0 low), its place by column and row, and how to get its answer."""
    name: str
    at: tuple[float, float]
    take: Take
    owns: tuple[str, ...] = ()          # the modules whose weights are its own
    share: int = 1                      # of which it has one of so many equal parts


@dataclass(frozen=True)
class Architecture:
    """A network, its thin twin, the shape of the image that it is shown, its parts and what leads where."""
    make: Callable[[], nn.Module]
    thin: Callable[[], nn.Module]
    image: tuple[int, ...]
    parts: tuple[Part, ...]
    arrows: tuple[Arrow, ...]


class _Reached(Exception):
    """What a module answered: nothing behind it need run."""


def after(path: str) -> Take:
    """What the module of this path answers."""
    def take(net: nn.Module, image: Tensor) -> Tensor:
        def stop(module, given, answer):
            raise _Reached(answer)

        hook = net.get_submodule(path).register_forward_hook(stop)
        try:
            net(image)
        except _Reached as reached:
            return reached.args[0]
        finally:
            hook.remove()
        raise LookupError(f"{path} does not run")
    return take


class _Until(nn.Module):
    def __init__(self, net: nn.Module, take: Take):
        super().__init__()
        self.net, self.take = net, take

    def forward(self, image: Tensor) -> Tensor:
        answer = self.take(self.net, image)
        return answer if answer.ndim > 2 else answer[..., None, None]      # of the whole image: one place


def itself(net: nn.Module, image: Tensor) -> Tensor:
    return image


# The networks --------------------------------------------------------------------------------------------------------

def _tasks() -> Architecture:
    depth, right, step = 3, 2.8, 0.2
    parts = [Part("image", (0, -1), itself)]
    parts += [Part(f"x_{i}", (step * i if i < depth else right / 2, i), after(f"down.{i}"), (f"down.{i}",))
              for i in range(depth + 1)]
    parts += [Part("diagnosis", (right, depth), after("diagnosis"), ("diagnosis",))]
    parts += [Part(f"y_{i}", (right - step * i, i), after(f"up.{depth - 1 - i}"), (f"up.{depth - 1 - i}",))
              for i in reversed(range(depth))]
    parts += [Part(head, (right + at, -1), after(head), (head,))
              for head, at in (("semantic", -1.6), ("centre", -0.5), ("offset", 0.6))]
    road = ["image", *(f"x_{i}" for i in range(depth + 1)), *(f"y_{i}" for i in reversed(range(depth)))]
    arrows = [Arrow(a, b) for a, b in pairwise(road)] + [Arrow(f"x_{i}", f"y_{i}", "skip") for i in range(depth)]
    arrows += [Arrow(f"x_{depth}", "diagnosis"), *(Arrow("y_0", head) for head in ("semantic", "centre", "offset"))]
    return Architecture(TaskNet, lambda: TaskNet(widths=(1,) * (depth + 1)), (1, 64, 64), tuple(parts), tuple(arrows))


def _unet() -> Architecture:
    depth, right, step = 3, 3.3, 0.45
    def at(level: int) -> float:
        return step * level if level < depth else right / 2

    parts = [Part("image", (0, -1), itself)]
    parts += [Part(f"x_{i}", (at(i), i), after(f"down.{i}"), (f"down.{i}",)) for i in range(depth + 1)]
    parts += [Part(f"y_{i}", (right - at(i), i), after(f"up.{i}"), (f"up.{i}", f"narrow.{i}"))
              for i in reversed(range(depth))]
    parts += [Part("logits", (right, -1), after("heads.0"), ("heads.0",))]
    road = ["image", *(f"x_{i}" for i in range(depth + 1)), *(f"y_{i}" for i in reversed(range(depth))), "logits"]
    arrows = [Arrow(a, b) for a, b in pairwise(road)] + [Arrow(f"x_{i}", f"y_{i}", "skip") for i in range(depth)]
    return Architecture(lambda: UNet(1, 4), lambda: UNet(1, 1, widths=(1,) * 4), (1, 128, 128), tuple(parts),
                        tuple(arrows))


def _unetpp() -> Architecture:
    thin = UNetPlusPlus(1, 1, widths=(1,) * 4)
    place = {(i, j): f"x_{i},{j}" for i, j in thin.graph}
    parts = [Part("image", (0, -1), itself)]
    parts += [Part(name, (1.1 * j, i), after(f"nodes.{i}_{j}"), (f"nodes.{i}_{j}", *([f"up.{i}_{j}"] if j else [])))
              for (i, j), name in place.items()]
    parts += [Part(f"head {d}", (1.1 * int(d), -1), after(f"heads.{d}"), (f"heads.{d}",)) for d in thin.heads]
    arrows = [Arrow("image", place[0, 0])]
    arrows += [Arrow(place[other], place[i, j], "way" if other[0] != i else "skip" if other[1] == j - 1 else "arc")
               for (i, j), others in thin.graph.items() for other in others]
    arrows += [Arrow(place[0, int(d)], f"head {d}") for d in thin.heads]
    return Architecture(lambda: UNetPlusPlus(1, 4), lambda: thin, (1, 128, 128), tuple(parts), tuple(arrows))


def _transunet() -> Architecture:
    units = TransUNetSize().units
    thin = TransUNetSize(width=4, units=units, groups=2, channels=4, heads=1, depth=1, hidden=4, decoder=(4,) * 5)
    parts = [Part("image", (0, 0), itself),
             Part("root", (0.2, 1), after("cnn.gn_root"), ("cnn.conv_root", "cnn.gn_root"))]
    parts += [Part(f"stage {s + 1}", (0.4 + 0.2 * s if s < 2 else 0, 2 + s), after(f"cnn.stages.{s}.{count - 1}"),
                   (f"cnn.stages.{s}",))
              for s, count in enumerate(units)]
    parts += [Part("tokens", (1.1, 4), after("embedding"), ("embedding",)),
              Part("transformer", (2.2, 4), after("transformer"), ("transformer",)),
              Part("narrow", (3.3, 4), after("narrow"), ("narrow",))]
    parts += [Part(f"up {4 - i}", (3.3 - 0.2 * i, i), after(f"up.{i}"), (f"up.{i}",)) for i in (3, 2, 1, 0)]
    parts += [Part("logits", (2.2, 0), after("head"), ("head",))]
    road = ["image", "root", "stage 1", "stage 2", "stage 3", "tokens", "transformer", "narrow", "up 1", "up 2", "up 3",
            "up 4", "logits"]
    arrows = [Arrow(a, b) for a, b in pairwise(road)]
    arrows += [Arrow(a, b, "skip") for a, b in (("stage 2", "up 1"), ("stage 1", "up 2"), ("root", "up 3"))]
    return Architecture(lambda: TransUNet(3, 9), lambda: TransUNet(3, 1, image_size=64, size=thin), (3, 224, 224),
                        tuple(parts), tuple(arrows))


def _attention() -> Architecture:
    def one(which: int) -> Take:
        def take(net: MapAttention, map_: Tensor) -> Tensor:
            tokens = net.queries_keys_values(map_.flatten(2).mT)[which]
            return to_map(merge_heads(tokens), map_.shape[2:])
        return take

    def weights(net: MapAttention, map_: Tensor) -> Tensor:
        return net.weights(map_)

    def averages(net: MapAttention, map_: Tensor) -> Tensor:
        v = net.queries_keys_values(map_.flatten(2).mT)[2]
        return to_map(merge_heads(net.weights(map_) @ v), map_.shape[2:])

    parts = (Part("map", (1.1, 0), itself),
             *(Part(name, (1.1 * k, 1), one(k), ("qkv",), 3) for k, name in enumerate("QKV")),
             Part("weights", (0.55, 2), weights), Part("averages", (1.1, 3), averages),
             Part("answer", (1.1, 4), after(""), ("out",)))
    arrows = tuple(Arrow(a, b)
                   for a, b in (("map", "Q"), ("map", "K"), ("map", "V"), ("Q", "weights"), ("K", "weights"),
                                ("weights", "averages"), ("V", "averages"), ("averages", "answer")))
    return Architecture(lambda: MapAttention(64, 4), lambda: MapAttention(2, 1), (64, 16, 16), parts, arrows)


ARCHITECTURES = {"tasks": _tasks, "unet": _unet, "unetpp": _unetpp, "transunet": _transunet, "attention": _attention}


# What they say of themselves -----------------------------------------------------------------------------------------

@cache
def drawn(name: str) -> tuple[tuple[Box, ...], tuple[Arrow, ...]]:
    """The boxes of a network, with what each says of itself, and its arrows; LookupError for one that is not known."""
    if name not in ARCHITECTURES:
        raise LookupError(f"no architecture {name!r}: there are {', '.join(ARCHITECTURES)}")
    net = ARCHITECTURES[name]()
    with torch.device("meta"):          # shapes without a number computed
        whole = net.make().eval()
    return tuple(box(net, whole, net.thin().eval(), part) for part in net.parts), net.arrows


def box(net: Architecture, whole: nn.Module, thin: nn.Module, part: Part) -> Box:
    """A part with its three facts."""
    with torch.no_grad():
        shape = tuple(part.take(whole, torch.empty(1, *net.image, device="meta")).shape[1:])
    pairs = part.name == "weights"
    count = sum(p.numel() for owner in part.owns for p in whole.get_submodule(owner).parameters()) // part.share
    size = " × ".join(map(str, shape))
    said = {"shape": f"{shape[0]} heads, {shape[1]:,} × {shape[2]:,} pairs" if pairs
            else " × ".join([f"{shape[0]:,}", *map(str, shape[1:])]),
            "weights": f"{count:,}" if count else "none of its own",
            "sees": "itself" if part.take is itself else reach(_Until(thin, part.take), net.image, pairs)}
    return Box(part.name, part.at, size, said)


def reach(module: nn.Module, image: Sequence[int], pairs: bool = False) -> str:
    """What one place of an answer depends on, in the words of a page: the whole image, or a square of it."""
    channels = next(p for p in module.parameters()).shape[1] if pairs or image[0] > 3 else image[0]
    side = image[1]
    first_pair: Callable[[Tensor], Tensor] | None = None
    if pairs:                           # how one place shares its attention: with the first place, say
        first_pair = lambda weights: to_map(weights[..., :1].transpose(1, 2).flatten(2), image[1:])
    while side <= LARGEST:
        with suppress(ValueError):      # the border cuts what is seen: a larger image
            field = receptive_field(module, (channels, side, side), output=first_pair)
            if prod(field.jump):
                return f"{field.size[0]} × {field.size[1]}"
            return "all of it"
        side *= 2
    raise ValueError(f"no image of up to {LARGEST} pixels shows all that {module} sees")


if __name__ == "__main__":
    for each in drawn(sys.argv[1])[0]:
        print(f"{each.name:12}", *(f"{value:>24}" for value in each.said.values()))
