r"""Slices of a torso, a network that the reader designs, and a budget of weights and of multiply-adds for it."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from medlearn.base.validation import check_shape, check_tensor, check_whole, kind_of
from medlearn.data import Warp, hu_window
from medlearn.losses import dice_loss
from medlearn.metrics import confusion_counts
from medlearn.nets.blocks import lay_channels_last
from medlearn.practice.torso import MM, ORGANS, torso

Design = Callable[[], nn.Module]

CLASSES = ("none", "left kidney", "adrenal glands")
SIZE = (112, 80)            # voxels of 3 mm
MOST_WEIGHTS, MOST_MULTIPLY_ADDS = 15_000, 32_000_000
LEARNT, TEST = 64, 32       # slices of a hospital
STEPS, BATCH, RATE = 300, 6, 0.01
WEIGHTS = (1.0, 2.0, 4.0)  # of the classes in cross-entropy: without them one may stay silent for all steps
FIRST = 7                   # the lowest slice that is shown: below it there is no adrenal gland
NOISE_HU, OFFSET_HU = 10.0, 10.0
SPARE = (10, 21)            # voxels by which the window on the torso may be moved


class Slices(NamedTuple):
    r"""Axial slices of torsos: `image (B, 1, X, Y)` from 0 to 1, `labels (B, X, Y)`, whole numbers of `CLASSES`.

    Units: 0 is -160 HU and less, 1 is 240 HU and more; voxels of 3 mm. Chapter "Design the eye".

    >>> learnt, test = torsos(0)
    >>> tuple(learnt.image.shape), tuple(test.labels.shape)
    ((64, 1, 112, 80), (32, 112, 80))
    """

    image: Float[Tensor, "b 1 x y"]
    labels: Int64[Tensor, "b x y"]


class EyeCost(NamedTuple):
    r"""What a network costs: its `weights`, and the `multiply_adds` of one slice. Chapter "Design the eye".

    >>> print(EyeCost(3075, 27_000_000))
    3,075 of 15,000 weights, 27.0 of 32 million multiply-adds
    """

    weights: int
    multiply_adds: int

    def __str__(self) -> str:
        return (f"{self.weights:,} of {MOST_WEIGHTS:,} weights, {self.multiply_adds / 1e6:.1f} of "
                f"{MOST_MULTIPLY_ADDS // 1_000_000} million multiply-adds")


class EyeTrial(NamedTuple):
    r"""The Dice scores over all voxels of the test: `kidney` of the left kidney, `gland` of the adrenal glands.

    Chapter "Design the eye".

    >>> print(EyeTrial(0.5, 0.25))
    Dice of the left kidney 0.50, of the adrenal glands 0.25
    """

    kidney: float
    gland: float

    def __str__(self) -> str:
        return f"Dice of the left kidney {self.kidney:.2f}, of the adrenal glands {self.gland:.2f}"


def torsos(seed: int) -> tuple[Slices, Slices]:
    r"""The slices that are learnt from at the hospital of this `seed`, and those of its test.

    All are one person's CT, deformed, moved and with noise; labels are a program's. Training and test have no height in
    common. Errors: TypeError for anything but a whole number; ValueError for one below 0 or above 2^62.
    Chapter "Design the eye".

    >>> learnt, test = torsos(0)
    >>> len(learnt.image), len(test.image), sorted(test.labels.unique().tolist())
    (64, 32, [0, 1, 2])
    """
    return _torsos(check_whole("seed", seed, most=2 ** 62))


def eye_cost(design: Design) -> EyeCost:
    r"""Its weights, and the multiply-adds of its convolutions and matrix products for one slice of 112 x 80 voxels.

    `design` gives a network each time it is called. Errors: as `eye_trial`, but for the budget.
    Chapter "Design the eye".

    >>> eye_cost(lambda: nn.Conv2d(1, 3, 1))
    EyeCost(weights=6, multiply_adds=26880)
    """
    with torch.random.fork_rng([]), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net = network_of(design).eval()
        net(torch.zeros(1, 1, *SIZE))
    return EyeCost(sum(p.numel() for p in net.parameters()), counter.get_total_flops() // 2)


def eye_trial(design: Design, *, seed: int = 0) -> EyeTrial:
    r"""What becomes of the network that `design` gives, in 300 steps, at the hospital of this `seed`.

    Shapes: a network takes slices `(B, 1, X, Y)` to logits `(B, 3, X, Y)` of `CLASSES`. All else is given: slices, loss,
    order, steps, and the start: every layer begins as PyTorch would begin it. Errors: TypeError where the design or
    its network is none, ValueError where its logits are none, or it is over the budget. Chapter "Design the eye".

    >>> eye_trial(lambda: nn.Conv2d(1, 3, 1))                   # sees one voxel at a time, and finds nothing
    EyeTrial(kidney=0.0, gland=0.0)
    """
    seed = check_whole("seed", seed, most=2 ** 62)
    learnt, test = torsos(seed)                             # before the design is called: what it does stays its own
    cost = eye_cost(design)
    if cost.weights > MOST_WEIGHTS or cost.multiply_adds > MOST_MULTIPLY_ADDS:
        raise ValueError(f"design: over the budget: {cost}")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = trained(network_of(design), learnt, seed=seed).eval()
    with torch.no_grad():
        answer = torch.cat([_logits(net, some) for some in test.image.split(8)]).argmax(1)
    dice = confusion_counts(answer.flatten(0, 1)[None], test.labels.flatten(0, 1)[None], classes=3).dice[0, 1:].tolist()
    return EyeTrial(*dice)


def trained(net: nn.Module, learnt: Slices, *, seed: int) -> nn.Module:
    """The network after its steps: the sum of Dice, over the batch and without background, and cross-entropy."""
    for layer in net.modules():
        if callable(reset := getattr(layer, "reset_parameters", None)):
            reset()                                         # what a network has learnt elsewhere is not brought along
    lay_channels_last(net, dim=2)
    optimizer, generator = torch.optim.AdamW(net.parameters(), lr=RATE), torch.Generator().manual_seed(seed)
    weight = torch.tensor(WEIGHTS)
    net.train()
    for step in range(STEPS):
        some = torch.randint(LEARNT, (BATCH,), generator=generator)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        logits, labels = _logits(net, learnt.image[some]), learnt.labels[some]
        loss = dice_loss(logits, labels, include_background=False, batch=True) + F.cross_entropy(logits, labels, weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


@lru_cache(maxsize=4)
def _torsos(seed: int) -> tuple[Slices, Slices]:
    generator = torch.Generator().manual_seed(seed)
    heights = range(FIRST, len(torso()[0]))
    return _drawn(LEARNT, heights, generator), _drawn(TEST, heights, generator)


def _drawn(count: int, heights: range, generator: torch.Generator) -> Slices:
    hu, organs, _ = torso()
    labels = torch.zeros_like(organs)
    for k, name in enumerate(CLASSES[1:], start=1):
        labels[organs == ORGANS.index(name)] = k
    at = torch.tensor(heights)[torch.randint(len(heights), (count,), generator=generator)]
    warp = Warp(rotate_deg=8.0, scale=(0.9, 1.1), elastic_mm=4.0, spacing_mm=(MM, MM))
    image, maps = warp(hu[at, None], labels[at], generator=generator)
    corners = [torch.randint(spare + 1, (count,), generator=generator).tolist() for spare in SPARE]
    cut = [(slice(x, x + SIZE[0]), slice(y, y + SIZE[1])) for x, y in zip(*corners)]
    image = torch.stack([one[:, x, y] for one, (x, y) in zip(image, cut)])
    maps = torch.stack([one[x, y] for one, (x, y) in zip(maps, cut)])
    image = image + NOISE_HU * torch.randn(image.shape, generator=generator)
    image = image + OFFSET_HU * torch.randn(count, 1, 1, 1, generator=generator)
    return Slices(hu_window(image, "soft tissue"), maps)


def network_of(design: Design) -> nn.Module:
    """What a design gives. TypeError for a network in a design's place, and for a design that gives none."""
    if not callable(design) or isinstance(design, nn.Module):
        raise TypeError(f"design: expected a function that gives a network, got {kind_of(design)}")
    net = design()
    if not isinstance(net, nn.Module):
        raise TypeError(f"design: expected a network, an nn.Module, got {kind_of(net)}")
    return net


def _logits(net: nn.Module, image: Tensor) -> Tensor:
    logits = check_tensor("logits", net(image), dtype="float").float()
    return check_shape("logits", logits, (len(image), len(CLASSES), *image.shape[2:]), because="one for each class")
