r"""Labels that overlap: a whole tumour, its core, the part that enhances; each a question of its own."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from medlearn.base.validation import check_tensor, check_whole, kind_of

BITS = 2 ** 63                  # labels are int64


@dataclass(frozen=True)
class LabelRegion:
    r"""A region that a network is asked for: its `name`, the `labels` in it, and the number that it is `written` as.

    Where several regions are found in a voxel, the number of the last one stands: the whole comes before its parts.
    Errors: TypeError for anything but whole numbers; ValueError for one that int64 does not hold, and for `written`
    below 0.
    Source: nnU-Net's `regions_class_order`, Isensee et al. 2021, doi:10.1038/s41592-020-01008-z.

    >>> LabelRegion("whole tumour", (1, 2, 3), written=1).labels
    (1, 2, 3)
    """

    name: str
    labels: tuple[int, ...]
    written: int

    def __post_init__(self):
        if isinstance(self.labels, str) or not isinstance(self.labels, Iterable):
            raise TypeError(f"labels: expected whole numbers, as a tuple, got {self.labels!r}")
        object.__setattr__(self, "labels", tuple(check_whole("labels", label, least=-BITS, most=BITS - 1)
                                                 for label in self.labels))
        object.__setattr__(self, "written", check_whole("written", self.written, most=BITS - 1))


def region_masks(labels: Int64[Tensor, "b *s"], regions: Sequence[LabelRegion]) -> Bool[Tensor, "b k *s"]:
    r"""$m_k = [y \in R_k]$: labels as the bool maps that the losses take for regions, one for each of the `regions`.

    Shapes: `labels (B, *S)` to `(B, K, *S)`, K the number of regions. Units: labels, whole numbers; one that lies in no
    region, as the background, is False in all. No image gives none. Errors: TypeError for no int64 tensor, and for
    regions that are no row of `LabelRegion`; ValueError for no region, and for labels without an axis.

    >>> whole, core = LabelRegion("whole", (1, 2), written=1), LabelRegion("core", (2,), written=2)
    >>> region_masks(torch.tensor([[0, 1, 2]]), [whole, core]).int().tolist()
    [[[0, 1, 1], [0, 0, 1]]]
    """
    check_tensor("labels", labels, dtype="int64")
    if not labels.ndim:
        raise ValueError("labels: expected (B, *S), got one number")
    if not isinstance(regions, Iterable):
        raise TypeError(f"regions: expected a row of LabelRegion, got {kind_of(regions)}")
    regions = list(regions)
    for one in regions:
        if not isinstance(one, LabelRegion):
            raise TypeError(f"regions: expected a row of LabelRegion, got one with {one!r}")
    if not regions:
        raise ValueError("regions: expected at least one, got none")
    return torch.stack([torch.isin(labels, labels.new_tensor(region.labels)) for region in regions], dim=1)
