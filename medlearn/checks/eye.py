r"""The practice chapter "Design the eye": a network that sees far and finely, within a budget."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from medlearn.checks.engine import TRAINING_LIMIT_S, Case, Check
from medlearn.checks.own import check_own
from medlearn.practice.eye import MOST_MULTIPLY_ADDS, MOST_WEIGHTS, Design, eye_cost, eye_trial, network_of

# between what a near or a coarse design and what the reference reached at hospitals 0 to 4
KIDNEY, GLAND = 0.75, 0.62
SEEN = (f"left kidney, Dice of at least {KIDNEY:.2f}", f"adrenal glands, Dice of at least {GLAND:.2f}")


def eye() -> nn.Module:
    r"""Half the resolution, so that it is cheap; rates of 1, 2, 4, 8, so that it sees far. Chapter "Design the eye"."""
    def layer(channels: int, rate: int = 1, stride: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(channels, 16, 3, padding=rate, dilation=rate, stride=stride, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(16), nn.ReLU())

    context = (layer(16, rate) for rate in (1, 2, 4, 8, 1))
    return nn.Sequential(layer(1, stride=2), *context, nn.Conv2d(16, 3, 1),
                         nn.Upsample(scale_factor=2, mode="bilinear"))


def _answers(design: Design, images: Tensor) -> dict[str, object]:
    """What must hold before anything is learnt: shape, type, one slice as in a batch, and two networks of two calls."""
    if design is not eye:
        check_own(design)
    net, other = network_of(design).eval(), network_of(design)
    with torch.no_grad():
        logits, alone = net(images), net(images[:1])
    shared = {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in other.parameters()}
    return {"shape": tuple(logits.shape), "type": logits.dtype, "weights": {p.dtype for p in net.parameters()},
            "a slice alone gives what it gives in a batch": torch.allclose(logits[:1], alone, atol=1e-4),
            "each call gives a network of its own": not shared}


def _costs(design: Design) -> dict[str, bool]:
    print(cost := eye_cost(design))
    return {f"at most {MOST_WEIGHTS:,} weights": cost.weights <= MOST_WEIGHTS,
            f"at most {MOST_MULTIPLY_ADDS:,} multiply-adds": cost.multiply_adds <= MOST_MULTIPLY_ADDS}


def _sees(design: Design, seed: int) -> dict[str, bool]:
    """Whether both bars are cleared; what was reached is printed, and so is read beside the verdict."""
    print(reached := eye_trial(design, seed=seed))
    return dict(zip(SEEN, (reached.kidney >= KIDNEY, reached.gland >= GLAND)))


def _hospital(name: str, seed: int) -> Case:
    hint = ("If the kidney failed: can a voxel of it see which side it is on? If the glands failed: is a limb of one or two "
            "voxels still there on your coarsest grid?")
    return Case(name, {}, hint, run=lambda design: _sees(design, seed), bars=SEEN)


# the second slice is darker, so that a mean over both is seen
_IMAGES = torch.rand(2, 1, 48, 32, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 0.2]).view(2, 1, 1, 1)

CHECKS = (Check("eye.design", eye, (
    Case("two slices of another size", {"images": _IMAGES},
         "Of (B, 1, X, Y) it makes (B, 3, X, Y), float32 as its weights, for every batch and for every X and Y that 8 "
         "divides.", run=_answers),
    Case("the budget", {}, "Which of your layers costs most? At half the resolution a layer costs a quarter.",
         run=_costs),
    _hospital("a hospital you have not seen", 81), _hospital("another hospital", 82),
), limit_s=TRAINING_LIMIT_S),)
