r"""One loss for the three answers of `TaskNet` (chapter 1)."""
from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.validation import check_float, check_labels, check_shape, check_tensor
from medlearn.nets.targets import SIGMA, instance_targets
from medlearn.nets.tasknet import TaskAnswers, check_answers

WEIGHTS = {"diagnosis": 0.2, "semantic": 1.0, "centre": 1.0, "offset": 0.2}


class TasksLoss(NamedTuple):
    r"""The parts of `tasks_loss`, and the sum that is trained on. Each is one number, in float32.

    `diagnosis`, `semantic`, `centre` and `offset` are the parts, in the order of `TaskAnswers`, and `total` is their
    weighted sum: `tasks_loss(answers, ...).total.backward()` trains all four heads. Chapter 1.

    >>> TasksLoss(*torch.ones(5))._fields
    ('total', 'diagnosis', 'semantic', 'centre', 'offset')
    """

    total: Float[Tensor, ""]
    diagnosis: Float[Tensor, ""]
    semantic: Float[Tensor, ""]
    centre: Float[Tensor, ""]
    offset: Float[Tensor, ""]


def tasks_loss(answers: TaskAnswers, *, diagnosis: Int64[Tensor, "b"], semantic: Int64[Tensor, "b *s"],
               instance: Int64[Tensor, "b *s"], sigma: float = SIGMA) -> TasksLoss:
    r"""How far the three answers are off: $L = 0.2 \, L_d + L_s + L_c + 0.2 \, L_o$, a part for each of `TaskAnswers`.

    Shapes: `answers` as in `TaskAnswers`; the truth is `diagnosis (B,)` of 0..D-1, `semantic (B, *S)` of 0..K-1, see
    `semantic_target`, and `instance (B, *S)` with `sigma` as in `instance_targets`; each loss is one number.
    `diagnosis` is cross-entropy. So is `semantic`, where each class weighs in with the square root of its number of
    voxels instead of the number itself, for else a small lesion would hardly count. `centre` is
    $\sum (h - h^*)^2 / \sum h^*$ over the heatmap, `offset` the mean of $|o - o^*|_1$ inside things, in voxels.
    All is computed in float32, under autocast too. Without a thing `offset` is 0 and `centre` is $\sum h^2$.
    Errors: TypeError for labels that are not int64; ValueError for no image, shapes that do not belong together,
    labels on another device or out of range, answers that are not finite.
    Source: Cheng et al. 2020, eq. 1, doi:10.1109/CVPR42600.2020.01249. Chapter 1.

    >>> labels = torch.zeros(1, 4, 4).long()
    >>> answers = TaskAnswers(*(torch.zeros(1, n, *space) for n, *space in ([3], [6, 4, 4], [1, 4, 4], [2, 4, 4])))
    >>> loss = tasks_loss(answers, diagnosis=torch.tensor([1]), semantic=labels, instance=labels)
    >>> {name: round(part.item(), 2) for name, part in loss._asdict().items()}      # log 3 and log 6: it knows nothing
    {'total': 2.01, 'diagnosis': 1.1, 'semantic': 1.79, 'centre': 0.0, 'offset': 0.0}
    """
    check_answers(answers)
    for name, answer in answers._asdict().items():
        check_float(f"answers.{name}", answer)
    batch, classes, *space = answers.semantic.shape
    if batch == 0:
        raise ValueError("answers: expected at least one image, got none")
    for name, labels, shape in (("diagnosis", diagnosis, "(B,)"), ("semantic", semantic, "(B, *S)"),
                                ("instance", instance, "(B, *S)")):
        check_tensor(name, labels, dtype="int64", shape=shape)
        expected = (batch,) if name == "diagnosis" else (batch, *space)
        check_shape(name, labels, expected, because="to go with the answers")
        if labels.device != answers.semantic.device:
            raise ValueError(f"{name}: expected labels on {answers.semantic.device}, where the answers are, "
                             f"got {labels.device}")
    check_labels("diagnosis", diagnosis, classes=answers.diagnosis.shape[1])
    check_labels("semantic", semantic, classes=classes)

    targets = instance_targets(instance, sigma=sigma)
    answers = TaskAnswers(*(answer.float() for answer in answers))
    missed = (answers.offset - targets.offset).abs().sum(dim=1)
    parts = {
        "diagnosis": F.cross_entropy(answers.diagnosis, diagnosis),
        "semantic": F.cross_entropy(answers.semantic, semantic, weight=_root_weights(semantic, classes)),
        "centre": (answers.centre - targets.centre).square().sum() / targets.centre.sum().clamp_min(1),
        "offset": (missed * targets.inside).sum() / targets.inside.sum().clamp_min(1),
    }
    nothing = parts["offset"].new_zeros(())
    total = sum((WEIGHTS[name] * part for name, part in parts.items()), start=nothing)
    return TasksLoss(total, **parts)


def _root_weights(labels: Int64[Tensor, "b *s"], classes: int) -> Float[Tensor, "k"]:
    """A voxel's weight, so that a class of n voxels counts as sqrt(n)."""
    return torch.bincount(labels.flatten(), minlength=classes).float().clamp_min(1).rsqrt()
