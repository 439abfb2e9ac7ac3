r"""Chapter 2, the gradient is the error: a stable loss, its gradient in closed form, smoothed targets."""
from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from medlearn.checks.engine import Case, Check


def cross_entropy(logits: Float[Tensor, "b c *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "b *s"]:
    r"""$\ln \sum_k e^{z_k} - z_y$ at every voxel, for logits of any size; no voxel gives an empty tensor. Chapter 2."""
    return logits.logsumexp(dim=1) - logits.gather(1, labels[:, None])[:, 0]


def gradient(logits: Float[Tensor, "b c *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "b c *s"]:
    r"""$(p - y) / n$, the gradient of the mean loss over $n$ voxels; no voxel gives an empty tensor. Chapter 2."""
    return (logits.softmax(dim=1) - _one_hot(labels, logits.shape[1])) / max(labels.numel(), 1)


def smooth_targets(labels: Int64[Tensor, "b *s"], classes: int, epsilon: float) -> Float[Tensor, "b c *s"]:
    r"""$(1 - \epsilon)\,y + \epsilon / C$ for each voxel, in float32. No voxel gives an empty tensor. Chapter 2."""
    return (1 - epsilon) * _one_hot(labels, classes).float() + epsilon / classes


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    return F.one_hot(labels, classes).movedim(-1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _voxel(*logits: float, true: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return dict(logits=torch.tensor([logits], dtype=dtype), labels=torch.tensor([true]))


def _random(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Logits (B, C, *S) and labels (B, *S)."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    labels = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    return dict(logits=logits.to(dtype), labels=labels)


_WORKED = torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64).log().tolist()
_LABELS = torch.tensor([2, 0, 1, 1])
_MAP = torch.tensor([[[0, 1, 2], [3, 3, 0]], [[1, 1, 1], [2, 0, 3]]])
_VOLUME = _random(2, 3, 2, 3, 4, seed=5)["labels"]
_NOBODY = dict(logits=torch.zeros(0, 3), labels=torch.zeros(0, dtype=torch.int64))

# ---------------------------------------------------------------------------------------------------------------------
# Cases


def _loss_case(name: str, inputs: dict[str, Tensor], hint: str) -> Case:
    return Case(name, inputs, hint, gradient=("logits",))


_LOSS = (
    _loss_case("the voxel of the chapter", _voxel(*_WORKED, true=1),
               "The truth had probability 0.2. The loss is minus its natural logarithm, 1.609 nats."),
    _loss_case("four voxels, one loss for each", _random(4, 3, seed=0, dtype=torch.float64),
               "Nothing is summed or averaged over the batch: labels (B,) give losses (B,)."),
    _loss_case("two slices", _random(2, 4, 3, 5, seed=1),
               "The classes are axis 1, and space comes after it. The losses have the labels' shape."),
    _loss_case("a volume", _random(1, 3, 2, 3, 4, seed=2), "The same line should serve any number of axes of space."),
    _loss_case("200 logits behind", _voxel(200.0, 0.0, true=1, dtype=torch.float32),
               "In float32 exp(200) is infinite, and exp(-200) is 0, whose logarithm is infinite. Subtract the largest "
               "logit, and do not pass through p."),
    _loss_case("200 logits ahead", _voxel(200.0, 0.0, true=0, dtype=torch.float32),
               "Right and sure: the loss is 0, and so is the gradient. Does something overflow on the way?"),
    _loss_case("all logits near -1000", _voxel(-1000.0, -1001.0, -1003.0, true=2, dtype=torch.float32),
               "A shift of all logits changes nothing. But exp(-1000) is 0: subtract the largest logit, also a "
               "negative one."),
    _loss_case("no voxel", _NOBODY, "An empty batch has losses of shape (0,)."),
)

_GRADIENT = (
    Case("the voxel of the chapter", _voxel(*_WORKED, true=1),
         "It is (0.5, -0.8, 0.3): what was said minus what is true."),
    Case("four voxels", _random(4, 3, seed=0, dtype=torch.float64),
         "Each voxel is one of four in the mean, so its part of the gradient is divided by four."),
    Case("two slices", _random(2, 4, 3, 5, seed=1),
         "The mean is over all voxels of both slices, 30 of them, and the classes are axis 1."),
    Case("a volume", _random(1, 3, 2, 3, 4, seed=2), "The same line should serve any number of axes of space."),
    Case("a class that no voxel has",
         dict(logits=_random(2, 5, seed=3)["logits"], labels=torch.zeros(2, dtype=torch.int64)),
         "The number of classes is that of the logits, whichever labels occur: tell `one_hot` how many there are."),
    Case("200 logits behind", _voxel(200.0, 0.0, true=1, dtype=torch.float32),
         "In float32 exp(200) is infinite. Does your softmax subtract the largest logit?"),
    Case("no voxel", _NOBODY, "An empty batch has a gradient of shape (0, 3)."),
)


def _smooth_case(name: str, labels: Tensor, classes: int, epsilon: float, hint: str) -> Case:
    return Case(name, dict(labels=labels, classes=classes, epsilon=epsilon), hint)


_SMOOTH = (
    _smooth_case("three classes, a tenth shared", _LABELS, 3, 0.1,
                 "All classes share epsilon alike, the true one too: it gets 1 - epsilon, and its part of what is "
                 "shared."),
    _smooth_case("no smoothing", _LABELS, 3, 0.0, "With epsilon = 0 the targets are one-hot."),
    _smooth_case("nothing but smoothing", _LABELS, 4, 1.0, "With epsilon = 1 every class gets 1 / classes."),
    _smooth_case("a class that no voxel has", _LABELS, 6, 0.3,
                 "There is a target for each of the classes asked for, whether or not a label has it."),
    _smooth_case("two slices", _MAP, 4, 0.2,
                 "The classes are axis 1 of the result: labels (B, H, W) give (B, classes, H, W)."),
    _smooth_case("a volume", _VOLUME, 3, 0.2, "The same line should serve any number of axes of space."),
    _smooth_case("no voxel", _LABELS[:0], 3, 0.1, "An empty batch has targets of shape (0, 3)."),
)

CHECKS = (
    Check("ce.cross_entropy", cross_entropy, _LOSS),
    Check("ce.gradient", gradient, _GRADIENT),
    Check("ce.smooth_targets", smooth_targets, _SMOOTH, same_dtype=False),
)
