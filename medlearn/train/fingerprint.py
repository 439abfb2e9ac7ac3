r"""A few numbers that tell one data set from another: a training must go on with the data that it began with."""
from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from medlearn.base.private import tree_leaves
from medlearn.base.validation import kind_of
from medlearn.train.samples import Samples, first_sample

PARTS = 16
TOLERANCE = 1e-3                            # of the largest mean of a tensor: another processor rounds differently

Fingerprint = Sequence[Sequence[Any]]       # [what it is, means] of each tensor in a sample; JSON can hold it


def fingerprint(data: Samples, seed: int) -> Fingerprint | None:
    """That of the first sample, as drawn with this seed; None where it comes out differently when drawn again."""
    first, again = (_of(first_sample(data, seed)) for _ in range(2))
    return first if difference(first, again) is None else None


def difference(first: Fingerprint | None, second: Fingerprint | None) -> tuple[str, str] | None:
    """In words what each has where they differ by more than rounding; None where they do not, or one is not known."""
    if first is None or second is None:
        return None
    if [kind for kind, _ in first] != [kind for kind, _ in second]:
        return _kinds(first), _kinds(second)
    for (kind, means), (_, others) in zip(first, second):
        room = TOLERANCE * max(map(abs, [*means, *others]), default=0.0)
        for part, (a, b) in enumerate(zip(means, others), start=1):
            if not math.isclose(a, b, rel_tol=0, abs_tol=room):
                where = f"in part {part} of {len(means)} of {kind}"
                return f"a mean of {a:.6g} {where}", f"{b:.6g}"
    return None


def _of(sample: Any) -> Fingerprint:
    return [[kind_of(leaf), _means(leaf)] for leaf in tree_leaves(sample)]


def _means(leaf: Any) -> list[float]:
    """The means of parts of a tensor, one after the other, without what is not finite; a number is its own mean."""
    if not isinstance(leaf, Tensor):
        return [float(leaf)] if isinstance(leaf, Real) else []
    flat = leaf.detach().cpu().flatten().double()
    parts = torch.where(flat.isfinite(), flat, 0).tensor_split(PARTS)
    return [part.mean().item() for part in parts if part.numel()]


def _kinds(fingerprint: Fingerprint) -> str:
    return ", ".join(kind for kind, _ in fingerprint)
