r"""Chapter 20, volumes and machines: a scaler's factors, unequal shares of a batch, and how many processes to use."""
from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.checks.engine import Case, Check


def loss_scales(overflowed: list[bool], start: float, patience: int) -> list[float]:
    r"""The factor of each step: halved after one that overflowed, at least 1, doubled after `patience` good ones."""
    scales, scale, good = [], start, 0
    for bad in overflowed:
        scales.append(scale)
        good = 0 if bad else good + 1
        if bad:
            scale = max(scale / 2, 1.0)
        elif good == patience:
            scale, good = 2 * scale, 0
    return scales


def merge(gradients: Float[Tensor, "n *s"], counts: Tensor) -> Float[Tensor, "*s"]:
    r"""$\sum_i c_i g_i / \sum_i c_i$ over the shares with $c_i > 0$; zero where there is none. Chapter 20."""
    shape = (-1, *[1] * (gradients.ndim - 1))
    share = counts.to(gradients.dtype).view(shape) / counts.sum().clamp(min=1)
    return torch.where((counts > 0).view(shape), share * gradients, 0.0).sum(0)


def fastest(compute_s: float, message_bytes: float, link_bytes_per_s: float, latency_s: float, most: int) -> int:
    r"""The n of the least $c / n + 2 (n - 1) (\ell + b / (n v))$, of equals the fewest. Chapter 20."""
    def seconds(n: int) -> float:
        return compute_s / n + 2 * (n - 1) * (latency_s + message_bytes / n / link_bytes_per_s)
    return min(range(1, most + 1), key=seconds)


# ---------------------------------------------------------------------------------------------------------------------
# Inputs

def _steps(pattern: str) -> list[bool]:
    """A step for each sign: x overflowed, . did not."""
    return [sign == "x" for sign in pattern]


def _drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _with_nan(gradients: Tensor, *rows: int) -> Tensor:
    gradients = gradients.clone()
    gradients[list(rows)] = torch.nan
    return gradients


# ---------------------------------------------------------------------------------------------------------------------
# Cases

def _scale(name: str, pattern: str, start: float, patience: int, hint: str) -> Case:
    return Case(name, dict(overflowed=_steps(pattern), start=start, patience=patience), hint)


_LOSS_SCALES = (
    _scale("one step", ".", 1024.0, 5, "The first step is computed with the factor that the scaler begins with."),
    _scale("one overflow", ".x..", 1024.0, 10,
           "The step that overflows was computed with the old factor; the next one has half of it."),
    _scale("three good steps, patience 3", "....", 64.0, 3, "After three good steps the fourth has twice the factor."),
    _scale("doubled twice", ".......", 4.0, 3, "When the factor was doubled, the counting begins anew."),
    _scale("good steps that were interrupted", "..x....", 64.0, 3,
           "An overflow sets the count of good steps back to zero: only steps in a row count."),
    _scale("at the floor", "xxxxx", 4.0, 2, "It never falls below 1, however often a step overflows."),
    _scale("patience 1", "..x.", 8.0, 1, "With a patience of one each good step doubles it."),
    _scale("a long run", "..x.........x.....x....", 2.0 ** 16, 4, "All rules together, in the order of the steps."),
    _scale("no step", "", 8.0, 2, "Without a step there is no factor: an empty list."),
)


def _shares(name: str, gradients: Tensor, counts: list[int], hint: str) -> Case:
    return Case(name, dict(gradients=gradients, counts=torch.tensor(counts)), hint)


_MERGE = (
    _shares("equal shares", _drawn(4, 5), [7, 7, 7, 7], "With equal counts it is the plain mean over the processes."),
    _shares("three voxels and one", torch.tensor([[1.0, 2.0], [5.0, 10.0]], dtype=torch.float64), [3, 1],
            "The first counts three times: (3 * 1 + 5) / 4 = 2 and (3 * 2 + 10) / 4 = 4."),
    _shares("a process without a voxel", _with_nan(_drawn(3, 4, seed=1), 1), [10, 0, 30],
            "Its gradient is NaN and its weight 0, and 0 times NaN is NaN: choose with `torch.where`."),
    _shares("no voxel anywhere", _with_nan(_drawn(2, 3, seed=2), 0, 1), [0, 0],
            "All are NaN, and the sum of the counts is 0: the answer is zero, not NaN."),
    _shares("one voxel in all", _with_nan(_drawn(2, 3, seed=6), 0), [0, 1], "A count of one is a count, too."),
    _shares("kernels of a 3D convolution", _drawn(3, 2, 1, 3, 3, 3, seed=3), [1, 2, 3],
            "Only the first axis is that of the processes; a gradient has any shape."),
    _shares("a gradient of zeros", torch.zeros(2, 2, 2, dtype=torch.float64), [4, 1], "The mean of zeros is zero."),
    _shares("a million voxels", _drawn(3, 2, seed=4).float(), [1_000_003, 17, 2_500_001],
            "Keep the gradients' dtype, float32 here."),
    _shares("a single bias", _drawn(3, seed=5), [5, 1, 2], "A gradient of no axes is a number: `gradients` is (n,)."),
)


def _plan(name: str, compute_s: float, message_bytes: float, link_bytes_per_s: float, latency_s: float, most: int,
          hint: str) -> Case:
    return Case(name, dict(compute_s=compute_s, message_bytes=message_bytes, link_bytes_per_s=link_bytes_per_s,
                           latency_s=latency_s, most=most), hint)


_FASTEST = (
    _plan("nothing to exchange", 1.0, 0.0, 1e9, 0.0, 64, "Without messages more processes are always faster."),
    _plan("a slow link", 0.1, 1e9, 1e9, 0.0, 64, "The exchange of two takes longer than one computes: stay alone."),
    _plan("long latencies", 1.0, 0.0, 1e9, 0.01, 64,
          "Here 1/n + 0.02 (n - 1) is least at n = 7: each message in the ring waits for the latency."),
    _plan("bytes and latencies", 8.0, 4e9, 2e9, 0.02, 64,
          "In each of 2 (n - 1) rounds only an n-th of the bytes travels: b / n / v."),
    _plan("a small cluster", 8.0, 4e9, 2e9, 0.02, 5, "No more than `most`, and `most` itself is allowed."),
    _plan("nobody else", 1.0, 1e9, 1e9, 0.0, 1, "With `most` of 1 there is one answer."),
    _plan("all equal", 2.0, 1e9, 1e9, 0.0, 4, "Here 2/n + 2 (n - 1)/n is 2 for every n: of equals the fewest."),
    _plan("a fast link, small messages", 0.2, 1e6, 25e9, 1e-5, 1024, "Look at every number from 1 to `most`."),
)

CHECKS = (
    Check("volumes.loss_scales", loss_scales, _LOSS_SCALES),
    Check("volumes.merge", merge, _MERGE),
    Check("volumes.fastest", fastest, _FASTEST),
)
