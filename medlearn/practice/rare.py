r"""A lesion of one voxel in a thousand, a small network that sees each voxel's surroundings, and little time."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_tensor, check_whole, kind_of
from medlearn.data import BrainCohort, LesionSpec, Scan, standardise
from medlearn.metrics import confusion_counts
from medlearn.nets.blocks import lay_channels_last
from medlearn.practice._loss import checked_loss

Loss = Callable[[Tensor, Tensor], Tensor]

RARE = LesionSpec(diagnosis=(0.2, 0.8, 0), plaques=(1, 2), plaque_mm=(7, 14), touching=0, prevalence=0.001)
LEARNT, TEST = 64, 48       # patients of a clinic, a slice each
STEPS, BATCH, RATE = 100, 16, 0.02
BLURS = (1, 2, 4, 8)        # half widths in voxels of the boxes that blur, twice each


class Trial(NamedTuple):
    r"""How a loss did: Dice over all voxels of the test together, and the shares of ill and healthy that were marked.

    `dice`, `found` (of the ill, those with a true voxel marked), `alarms` (of the healthy, those with any). Chapter
    "Design the loss".

    >>> print(Trial(0.25, 0.75, 0.5))
    Dice 0.25, found 0.75, false alarms 0.50
    """

    dice: float
    found: float
    alarms: float

    def __str__(self) -> str:
        return f"Dice {self.dice:.2f}, found {self.found:.2f}, false alarms {self.alarms:.2f}"


def trial(loss: Loss, *, seed: int = 0) -> Trial:
    r"""What becomes of a network that is trained with `loss`, in 100 steps, at the clinic of this `seed`.

    Shapes: `loss(logits (B, 2, X, Y), labels (B, X, Y))` is one number with a gradient. All else is given: the
    patients, the start, the order, the steps. Errors: TypeError or ValueError where the loss is no such number.
    Chapter "Design the loss".

    >>> trial(nn.functional.cross_entropy)                      # it marks nothing at all
    Trial(dice=0.0, found=0.0, alarms=0.0)
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function of logits and labels, got {kind_of(loss)}")
    seed = check_whole("seed", seed, most=2 ** 63 - 1)         # torch's generators take no more
    learnt, test = clinic(seed)
    net = _network(seed)
    optimizer, generator = torch.optim.AdamW(net.parameters(), lr=RATE), torch.Generator().manual_seed(seed)
    (seen, unseen), labels = _views(seed), (learnt.lesion > 0).long()
    for step in range(STEPS):
        some = torch.randint(LEARNT, (BATCH,), generator=generator)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        value = checked_loss(loss(net(seen[some]), labels[some]), source="network")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    with torch.no_grad():
        answer = net(unseen).argmax(1) == 1
    truth = test.lesion > 0
    ill, hit, marked = (mask.flatten(1).any(1) for mask in (truth, truth & answer, answer))
    dice = confusion_counts(answer.flatten(0, 1)[None], truth.flatten(0, 1)[None], classes=2).foreground().dice.item()
    return Trial(dice, hit[ill].double().mean().item(), marked[~ill].double().mean().item())


def clinic(seed: int) -> tuple[Scan, Scan]:
    r"""The patients that are learnt from at the clinic of this `seed`, and those of its test.

    A slice of each, 96 voxels a side. Errors: TypeError for anything but a whole number; ValueError for a seed below 0.
    Chapter "Design the loss".

    >>> learnt, test = clinic(0)
    >>> len(learnt), len(test), round((learnt.lesion > 0).double().mean().item(), 4)
    (64, 48, 0.001)
    """
    return _clinic(check_whole("seed", seed))


def views(scan: Scan) -> Float[Tensor, "b 9 x y"]:
    r"""Nine pictures of each scan, so that a voxel's nine numbers say what lies around it.

    Shapes: a `scan` of B slices gives `(B, 9, X, Y)`: the standardised image; it blurred over 3, 5, 9 and 17 voxels,
    twice each; the spread within 5; the difference to the other side of the head; the brightest and the darkest value
    within 9. Units: none. Errors: TypeError for anything but a `Scan`; ValueError for one in 3D.
    Chapter "Design the loss".

    >>> views(BrainCohort(size=32).batch([0])).shape
    torch.Size([1, 9, 32, 32])
    """
    if not isinstance(scan, Scan):
        raise TypeError(f"scan: expected a Scan, got {kind_of(scan)}")
    image = standardise(check_tensor("scan.image", scan.image, dtype="float", shape="(B, 1, X, Y)"))
    blurred = [_blur(image, half) for half in BLURS]
    spread = (_blur(image ** 2, 2) - blurred[1] ** 2).clamp_min(0).sqrt()
    brightest, darkest = F.max_pool2d(image, 9, 1, 4), -F.max_pool2d(-image, 9, 1, 4)
    return torch.cat([image, *blurred, spread, blurred[0] - blurred[0].flip(2), brightest, darkest], dim=1)


@lru_cache(maxsize=4)
def _clinic(seed: int) -> tuple[Scan, Scan]:
    cohort = BrainCohort(seed=1000 + seed, size=96, lesions=RARE)
    return cohort.batch(range(LEARNT)), cohort.batch(range(LEARNT, LEARNT + TEST))


@lru_cache(maxsize=4)
def _views(seed: int) -> tuple[Tensor, Tensor]:
    """The views of both groups of a clinic, each over its spread among those that are learnt from."""
    learnt, test = map(views, clinic(seed))
    mean, spread = learnt.mean((0, 2, 3), keepdim=True), learnt.std((0, 2, 3), keepdim=True)
    return ((learnt - mean) / spread).contiguous(memory_format=torch.channels_last), (test - mean) / spread


def _blur(image: Tensor, half: int) -> Tensor:
    for _ in range(2):
        image = F.avg_pool2d(image, 2 * half + 1, 1, half)
    return image


def _network(seed: int) -> nn.Module:
    """Of each voxel's nine numbers two logits, by two layers of sixteen: kernels of one voxel."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(9, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.ReLU(), nn.Conv2d(16, 2, 1))
    lay_channels_last(net, dim=2)
    return net
