r"""Boundary loss: what lies on the wrong side of a border costs its distance from it (chapter 4)."""
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.grid import Grid, Spacing, as_spacing
from medlearn.base.labelled import look_at_values
from medlearn.base.validation import check_finite, check_labels, check_same, check_tensor, check_whole, kind_of
from medlearn.losses._answers import (Truth, are_regions, check_background, check_truth, counted_truth, one_hot,
                                      probabilities, total_weight)
from medlearn.losses._inputs import counted_logits


def signed_distance_mm(labels: Truth, *, spacing_mm: Spacing | Grid,
                       classes: int | None = None) -> Float[Tensor, "b k *s"]:
    r"""$\phi(v)$: the distance to the nearest voxel inside, or minus that to the nearest voxel outside.

    Shapes: labels `(B, *S)` of int64, of which `classes` says how many there may be, K; or bool regions `(B, K, *S)`,
    whose K is known; distances `(B, K, *S)`, float32, on their device (they are computed on the CPU).
    Units: mm; `spacing_mm` along each axis of space, or the `Grid` of the image. Distances are from centre to centre of
    voxels, so they never are 0: from the border itself they are half a voxel less.
    A class that is nowhere, or everywhere, has no border: its distances are 0. An empty batch gives an empty map.
    Errors: TypeError for labels that are neither int64 nor bool; ValueError for another number of axes, a label out of
    range, a spacing that cannot be, `classes` left out for int64 labels or given with bool ones.
    Source: Kervadec et al. 2021, section 2, doi:10.1016/j.media.2020.101851; the authors' code has one voxel less
    inside, so that the outermost voxels of a thing have 0. Chapter 4.

    >>> signed_distance_mm(torch.tensor([[[0, 0, 1, 1]]]), spacing_mm=(1.0, 0.5), classes=2)[0, 1, 0].tolist()
    [1.0, 0.5, -0.5, -1.0]
    """
    regions = _as_regions(labels, classes)
    spacing = as_spacing(spacing_mm, regions.ndim - 2)
    inside = regions.cpu().numpy()
    distance = np.zeros(inside.shape, np.float32)
    for place in np.ndindex(inside.shape[:2]):
        if inside[place].any() and not inside[place].all():
            distance[place] = _to_the_other_side(inside[place], spacing)
    return torch.from_numpy(distance).to(labels.device)


def boundary_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, distance_mm: Float[Tensor, "b k *s"],
                  ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                  include_background: bool = True) -> Float[Tensor, ""]:
    r"""The mean of $p_v\,\phi_v$: a voxel's probability times its signed distance from the true border.

    Shapes: logits `(B, K, *S)`, labels `(B, *S)` or bool regions `(B, K, *S)`: as in `cross_entropy`, with
    `ignore_index` and `where`; `distance_mm (B, K, *S)` from `signed_distance_mm`; a scalar: the mean over voxels and
    classes. Units: mm. Computed in float32 or better, under autocast too.
    The map belongs to the truth alone. Make it once for every case, after whatever moves the voxels: it takes longer
    than the loss. `labels` say whether softmax or sigmoid answers, and what counts; `include_background=False` leaves
    out class 0, and has to be True for regions.
    The loss is negative where the answer is good, and least when everything inside is found and nothing outside. Its
    gradient is largest far from the border, so that a distant false alarm costs most. An answer without any foreground
    has 0, from which it hardly learns: add it to an overlap loss, with little weight at first, as its authors do.
    No voxel that counts, and a class without a border, give 0 with gradient 0.
    Errors: as `cross_entropy`; TypeError or ValueError for a `distance_mm` that is no finite float tensor of the
    logits' shape on their device, ValueError for `include_background=False` with regions.
    Source: Kervadec et al. 2021, section 2, doi:10.1016/j.media.2020.101851. Chapter 4.

    >>> labels = torch.tensor([[[0, 0, 1, 1]]])
    >>> distance_mm = signed_distance_mm(labels, spacing_mm=(1.0, 0.5), classes=2)
    >>> z = torch.tensor([-9.0, 9.0, 9.0, 9.0]).expand(1, 1, 1, 4)      # one voxel too many, 0.5 mm outside
    >>> round(boundary_loss(torch.cat([-z, z], 1), labels, distance_mm=distance_mm, include_background=False).item(), 3)
    -0.25
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    check_background(labels, include_background)
    check_same("distance_mm", check_tensor("distance_mm", distance_mm, dtype="float"), like=logits, whose="logits")
    if look_at_values(distance_mm):
        check_finite("distance_mm", distance_mm)
    first = 0 if include_background else 1
    p, _ = probabilities(counted_logits(logits, labels, ignore_index, where), labels, ignore_index=ignore_index,
                         where=where)
    total = (p * distance_mm)[:, first:].sum()
    y, valid = counted_truth(labels, ignore_index, where)
    answers = total_weight(y, valid=valid, weight=None, dtype=total.dtype)
    return total / (answers if are_regions(labels) else answers * (logits.shape[1] - first))


def _as_regions(labels: Tensor, classes: int | None) -> Tensor:
    """The door of `signed_distance_mm`, which sees no logits."""
    if are_regions(labels):
        if classes is not None:
            raise ValueError(f"classes: expected None for bool labels, which have an axis for them, got {classes!r}")
        return check_tensor("labels", labels, dtype="bool", shape="(B, K, *S)")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError("labels: expected an int64 tensor (B, *S) of classes, or a bool tensor (B, K, *S) of regions, "
                        f"got {kind_of(labels)}")
    if classes is None:
        raise ValueError("classes: expected the number of them for int64 labels, got None")
    classes = check_whole("classes", classes, least=2)
    return one_hot(check_labels("labels", check_tensor("labels", labels, dtype="int64", shape="(B, *S)"),
                                classes=classes), classes)


def _to_the_other_side(inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    outward, inward = (ndimage.distance_transform_edt(side, sampling=spacing) for side in (~inside, inside))
    return outward - inward                                 # one of the two is 0
