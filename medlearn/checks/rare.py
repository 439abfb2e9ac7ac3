r"""The practice chapter "Design the loss": a loss by which a small network finds one voxel in a thousand, in time."""
from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.checks.engine import TRAINING_LIMIT_S, Case, Check
from medlearn.losses import dice_loss
from medlearn.practice.rare import Loss, trial

BAR = 0.10          # half of what the reference reached at the clinics by which it was chosen
CLEARED = f"Dice of at least {BAR:.2f}"


def rare_loss(logits: Float[Tensor, "b 2 x y"], labels: Int64[Tensor, "b x y"]) -> Float[Tensor, ""]:
    r"""$1 - D$ of the lesion alone, its voxels counted over the whole batch. Chapter "Design the loss"."""
    return dice_loss(logits, labels, include_background=False, batch=True)


def _clears(loss: Loss, seed: int) -> dict[str, bool]:
    """Whether the bar is cleared; what was reached is printed, and so is read beside the verdict."""
    print(reached := trial(loss, seed=seed))
    return {CLEARED: reached.dice >= BAR}


def _case(name: str, seed: int) -> Case:
    hint = ("Try a clinic of your own. What does the first step hear of the lesion, and what of all other voxels "
            "together?")
    return Case(name, {}, hint, run=lambda loss: _clears(loss, seed), bars=(CLEARED,))


CHECKS = (Check("rare.loss", rare_loss, (_case("a clinic you have not seen", 71), _case("another one", 72)),
                limit_s=TRAINING_LIMIT_S),)
