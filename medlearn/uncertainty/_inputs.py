"""What the measures of uncertainty refuse at the door."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from medlearn.losses._inputs import check_inputs
from medlearn.physics._inputs import at_least_float32, check_finite, check_float, check_holds, check_number


def check_numbers(name: str, value: Tensor) -> None:
    """Refuses what is no float tensor of finite numbers."""
    check_float(name, value)
    if value.numel():
        check_finite(name, *value.detach().aminmax())


def check_variances(name: str, value: Tensor, *, like: Tensor) -> None:
    """Refuses what is no finite variance of 0 or more for each number of another tensor."""
    check_numbers(name, value)
    check_same(name, value, like=like)
    if value.numel() and (low := value.detach().amin()) < 0:
        raise ValueError(f"{name}: expected variances of 0 or more, got a minimum of {low.item():.4g}. "
                         "A network that predicts log-variances needs .exp() here")


def check_same(name: str, value: Tensor, *, like: Tensor) -> None:
    """Refuses what has not the shape of another tensor, or lies on another device."""
    if value.shape != like.shape or value.device != like.device:
        raise ValueError(f"{name}: expected shape {tuple(like.shape)} on {like.device}, "
                         f"got {tuple(value.shape)} on {value.device}")


def check_members(name: str, value: Tensor) -> None:
    """Refuses what has no member: no first axis, or one of length 0."""
    check_float(name, value)
    if value.ndim == 0 or len(value) == 0:
        raise ValueError(f"{name}: expected at least one member along the first axis, got shape {tuple(value.shape)}")


def check_probabilities(probabilities: Tensor, *, axes_before: int = 0) -> None:
    """Refuses what are no probabilities `(B, K, *S)` of K classes, with so many axes more in front."""
    check_float("probabilities", probabilities)
    if not 2 <= probabilities.ndim - axes_before <= 5:
        shape = "(M, B, K, *S)" if axes_before else "(B, K, *S)"
        raise ValueError(f"probabilities: expected {shape} with at most 3 axes of space, "
                         f"got shape {tuple(probabilities.shape)}")
    p = probabilities.detach()
    check_holds("probabilities", p, p >= 0, "values of 0 or more")
    total = at_least_float32(p).sum(1 + axes_before)
    # looser than `tasks.check_simplex`: a mean of many members has the rounding of all of them
    rounding = max(1e-4, 4 * torch.finfo(p.dtype).eps * p.shape[1 + axes_before]**0.5)
    check_holds("probabilities", total, (total - 1).abs() <= rounding, "sums of 1 over the classes")


def check_log_variance(log_variance: Tensor, *, like: Tensor) -> None:
    """Refuses what is no log-variance for each number of another tensor. Beyond +-80 float32 loses its exponential."""
    check_float("log_variance", log_variance)
    check_same("log_variance", log_variance, like=like)
    if log_variance.numel() and not (low_high := torch.stack(log_variance.detach().aminmax())).abs().max() <= 80:
        low, high = low_high.tolist()
        raise ValueError(f"log_variance: expected numbers within -80..80, got a range of {low:.4g} to {high:.4g}")


def check_samples(samples: int) -> None:
    """Refuses what is no even number of samples: they are drawn in pairs."""
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise TypeError(f"samples: expected how many to draw, got {samples!r}")
    if samples < 2 or samples % 2:
        raise ValueError(f"samples: expected an even number of 2 or more, since they come in pairs, got {samples}")


def check_share(name: str, value: float, *, inside: bool = False) -> None:
    """Refuses what is no number in 0..1; `inside` refuses the two ends as well."""
    check_number(name, value, 0, 1)
    if inside and value in (0, 1):
        raise ValueError(f"{name}: expected a number between 0 and 1, got {value}")


def least_count(share: float, n: int) -> int:
    r"""$\lceil s n \rceil$, where rounding does not make 8 of 0.07 times 100, which is 7.000000000000001."""
    return math.ceil(round(share * n, 9))


def check_cases(name: str, values: Tensor) -> None:
    """Refuses what are no finite numbers `(n,)`, one a case."""
    check_numbers(name, values)
    if values.ndim != 1:
        raise ValueError(f"{name}: expected one number a case (n,), got shape {tuple(values.shape)}")


def labelled_cases(probabilities: Tensor, labels: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Probabilities `(n, K)` and labels `(n,)` of all voxels with a label, after a look at both."""
    check_probabilities(probabilities)
    check_inputs(probabilities, labels, ignore_index)
    return voxels_in_a_row(at_least_float32(probabilities), labels, ignore_index)


def voxels_in_a_row(values: Tensor, labels: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """`(B, K, *S)` to `(n, K)` and labels `(B, *S)` to `(n,)`, without the ignored ones."""
    rows, labels = values.movedim(1, -1).flatten(0, -2), labels.flatten()
    if ignore_index is None:
        return rows, labels
    valid = labels != ignore_index
    return rows[valid], labels[valid]


def sums_to_1(p: Tensor) -> Tensor:
    """A sum of probabilities `(B, K, *S)` over members divided by their number, which is its sum but for rounding."""
    return p / p.sum(1, keepdim=True)
