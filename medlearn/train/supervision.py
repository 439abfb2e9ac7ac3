r"""A loss for networks that answer at several resolutions."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from medlearn.base.validation import check_number, kind_of

Loss = Callable[[Tensor, Tensor], Tensor]


def deep_supervision(loss: Loss, weights: Sequence[float] | None = None) -> Loss:
    r"""$\sum_i w_i\,\mathrm{loss}(z_i, y_i)$ over the levels of a network, with $y_i$ the labels at level i's size.

    Shapes: the new loss takes a tuple of logits `(B, K, *S_i)`, finest first, and labels `(B, *S)` of the finest.
    A single tensor of logits, as such networks give in evaluation, goes straight through.
    `weights` are divided by their sum; left out, each level counts half of the one before, $w_i \propto 2^{-i}$.
    Labels are resized by nearest neighbour, at the voxels' centres, so that they stay labels.
    Errors: TypeError for a loss that is no function, weights that are no numbers; ValueError for weights that are
    negative or all 0, labels with other axes than the logits, another number of levels than of weights, no level.
    Source: Lee et al. 2015, eq. 4, arXiv:1409.5185; the weights as in Isensee et al. 2021,
    doi:10.1038/s41592-020-01008-z. Chapter 7.

    >>> loss = deep_supervision(torch.nn.functional.cross_entropy, [2, 1])
    >>> levels = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 4, 4)
    >>> round(loss(levels, torch.zeros(1, 8, 8).long()).item(), 4)       # ln 2 at each level
    0.6931
    """
    if not callable(loss):
        raise TypeError(f"loss: expected a function, got {loss!r}")
    if weights is not None:
        if not isinstance(weights, Sequence) or isinstance(weights, str):
            raise TypeError(f"weights: expected numbers in a row, got {weights!r}")
        weights = [check_number(f"weights[{i}]", weight, least=0) for i, weight in enumerate(weights)]
        if not sum(weights):
            raise ValueError(f"weights: expected numbers of 0 or more, not all 0, got {weights}")

    return _Supervised(loss, weights)


@dataclass(frozen=True)
class _Supervised:
    """A class and no inner function, so that it can be pickled and sent to another process."""
    loss: Loss
    weights: list[float] | None

    def __call__(self, logits: Tensor | Sequence[Tensor], labels: Tensor) -> Tensor:
        if isinstance(logits, Tensor):
            return self.loss(logits, labels)
        if not isinstance(logits, (tuple, list)) or len(logits) == 0:
            raise ValueError(f"logits: expected a tensor, or a tuple of them, finest first, got {kind_of(logits)}")
        shares = [0.5 ** i for i in range(len(logits))] if self.weights is None else self.weights
        if len(shares) != len(logits):
            raise ValueError(f"logits: expected {len(shares)} levels, one for each weight, got {len(logits)}")
        parts = [share * self.loss(z, resize_labels(labels, z.shape[2:])) for share, z in zip(shares, logits) if share]
        return torch.stack(parts).sum(0) / sum(shares)


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Labels at another size, each the one whose voxel holds the new voxel's centre."""
    if not isinstance(labels, Tensor) or labels.ndim != 1 + len(size):
        raise ValueError(f"labels: expected (B, *S) with {len(size)} axes of space, got {kind_of(labels)}")
    for axis, (old, new) in enumerate(zip(labels.shape[1:], size), start=1):
        if new != old:
            index = (torch.arange(new, device=labels.device) * 2 + 1) * old // (2 * new)
            labels = labels.index_select(axis, index)
    return labels
