"""What the measures of uncertainty refuse at the door."""
from __future__ import annotations

import math

import torch
from torch import Tensor

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import check_finite, check_float, check_holds, check_same, check_tensor, check_whole


def check_variances(name: str, value: Tensor, *, like: Tensor) -> None:
    """Refuses anything but a finite variance of 0 or more for each number of another tensor."""
    check_same(name, check_tensor(name, value, dtype="float"), like=like)
    check_finite(name, value, least=0, hint="A network that predicts log-variances needs .exp() here")


def check_members(name: str, value: Tensor) -> None:
    """Refuses what has no member: no first axis, or one of length 0."""
    check_tensor(name, value, dtype="float")
    if value.ndim == 0 or len(value) == 0:
        raise ValueError(f"{name}: expected at least one member along the first axis, got shape {tuple(value.shape)}")


def check_probabilities(probabilities: Tensor, *, axes_before: int = 0) -> None:
    """Refuses what are no probabilities `(B, K, *S)` of K classes, with so many axes more in front."""
    check_tensor("probabilities", probabilities, dtype="float", shape="(M, B, K, *S)" if axes_before else "(B, K, *S)",
                 space=(0, 1, 2, 3))
    p = probabilities.detach()
    check_finite("probabilities", p, least=0)
    total = at_least_float32(p).sum(1 + axes_before)
    # looser than `tasks.check_simplex`: a mean of many members has the rounding of all of them
    rounding = max(1e-4, 4 * torch.finfo(p.dtype).eps * p.shape[1 + axes_before]**0.5)
    check_holds("probabilities", total, (total - 1).abs() <= rounding, expected="sums of 1 over the classes")


def check_log_variance(log_variance: Tensor, *, like: Tensor) -> None:
    """Refuses anything but a log-variance for each number of another tensor. Beyond +-80 its exponential is lost."""
    check_log_variance_shape(log_variance, like=like)
    check_finite("log_variance", log_variance, least=-80, most=80)


def check_log_variance_shape(log_variance: Tensor, *, like: Tensor) -> None:
    """The same without a look at the values."""
    check_same("log_variance", check_tensor("log_variance", log_variance, dtype="float"), like=like)


def check_samples(samples: int) -> None:
    """Refuses anything but an even number of samples: they are drawn in pairs."""
    if check_whole("samples", samples, least=2) % 2:
        raise ValueError(f"samples: expected an even number, since they come in pairs, got {samples}")


def least_count(share: float, n: int) -> int:
    r"""$\lceil s n \rceil$, where rounding does not make 8 of 0.07 times 100, which is 7.000000000000001."""
    return math.ceil(round(share * n, 9))


def check_cases(name: str, values: Tensor) -> None:
    """Refuses what are no finite numbers `(n,)`, one a case."""
    check_float(name, values, shape="(n,)")


def labelled_cases(probabilities: Tensor, labels: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """Probabilities `(n, K)` and labels `(n,)` of all voxels with a label, after a look at both."""
    check_logits_and_labels(probabilities, labels, ignore_index, name="probabilities")
    rows, labels = voxels_in_a_row(probabilities, labels, ignore_index)
    check_probabilities(rows)                                   # what is ignored may be anything, NaN too
    return at_least_float32(rows), labels


def voxels_in_a_row(values: Tensor, labels: Tensor, ignore_index: int | None) -> tuple[Tensor, Tensor]:
    """`(B, K, *S)` to `(n, K)` and labels `(B, *S)` to `(n,)`, without the ignored ones."""
    rows, labels = values.movedim(1, -1).flatten(0, -2), labels.flatten()
    if ignore_index is None:
        return rows, labels
    valid = labels != ignore_index
    return rows[valid], labels[valid]


def without_ignored(values: Tensor, labels: Tensor, ignore_index: int | None) -> Tensor:
    """`(B, ..., *S)` with 0 where the label is ignored: what was there, NaN too, reaches no sum and no gradient."""
    if ignore_index is None:
        return values
    ignored = (labels == ignore_index)[(slice(None), *[None] * (values.ndim - labels.ndim))]
    return values.masked_fill(ignored, 0)


def sums_to_1(p: Tensor) -> Tensor:
    """A sum of probabilities `(B, K, *S)` over members divided by their number, which is its sum but for rounding."""
    return p / p.sum(1, keepdim=True)
