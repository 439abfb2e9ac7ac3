"""The one door of the metrics: masks, label maps and maps of ids, tensors or arrays as files give them."""
from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Integer
from torch import Tensor

from medlearn.base.validation import (STORED_ONLY, as_tensor, check_labels, check_same, check_tensor, check_whole,
                                      is_unusual, kind_of)

Labels = Integer[Tensor | np.ndarray, "b *s"] | Bool[Tensor | np.ndarray, "b *s"]
Mask = Bool[Tensor | np.ndarray, "*s"]

ROUNDING = 1e-6                 # 3 steps of 0.8 mm are 2.4000000000000004 mm, and of a header's float32 2.40000004


def as_label_maps(prediction: Labels, target: Labels, classes: int,
                  ignore_index: int | None = None) -> tuple[Tensor, Tensor]:
    """Two int64 maps `(B, *S)` of one shape with labels in 0..classes-1, from any integers or bools.

    Where the target is `ignore_index` the prediction may hold anything, and becomes 0.
    """
    check_whole("classes", classes, least=2)
    maps = {name: check_tensor(name, _as_int64(name, value), dtype="int64", shape="(B, *S)")
            for name, value in {"prediction": prediction, "target": target}.items()}
    check_same("prediction", maps["prediction"], like=maps["target"], whose="the target")
    if ignore_index is not None:
        check_whole("ignore_index", ignore_index, least=torch.iinfo(torch.int64).min)
        maps["prediction"] = maps["prediction"].masked_fill(maps["target"] == ignore_index, 0)
    check_labels("prediction", maps["prediction"], classes=classes)
    check_labels("target", maps["target"], classes=classes, ignore_index=ignore_index)
    return maps["prediction"], maps["target"]


def as_masks(prediction: Mask, target: Mask, **others: Mask) -> list[np.ndarray]:
    """Two bool masks `(*S)` of one image and shape, or more, as arrays on the CPU."""
    masks = {name: as_mask(name, mask) for name, mask in {"prediction": prediction, "target": target, **others}.items()}
    for name, mask in masks.items():
        check_same(name, mask, like=masks["target"], whose="the target")
    return [mask.detach().cpu().numpy() for mask in masks.values()]


def as_ids(name: str, value: Integer[Tensor | np.ndarray, "*s"]) -> Tensor:
    """A map of ids `(*S)`; negative ids are refused later, where the ids are counted."""
    if (isinstance(value, np.ndarray) and value.dtype.kind in "iu"
            or isinstance(value, Tensor) and value.dtype in STORED_ONLY):
        value = _as_int64(name, value)
    return check_tensor(name, value, dtype="integer", shape="(*S)")


def as_mask(name: str, mask: Mask) -> Tensor:
    """A bool mask `(*S)` of one image, as a tensor."""
    mask = as_tensor(name, mask) if isinstance(mask, np.ndarray) and mask.dtype == bool else mask
    if not isinstance(mask, Tensor) or is_unusual(mask) or mask.dtype != torch.bool:
        raise TypeError(f"{name}: expected a bool mask (*S), got {_kind(mask)}; labels == c is one of class c")
    if mask.ndim not in (2, 3):
        raise ValueError(f"{name}: expected one image (*S) with 2 or 3 axes of space, got shape "
                         f"{tuple(mask.shape)}; surface_report(..., classes=2) takes a batch")
    return mask


def _as_int64(name: str, value: Tensor | np.ndarray) -> Tensor:
    if not isinstance(value, (Tensor, np.ndarray)) or not _is_whole(value):
        raise TypeError(f"{name}: expected an integer tensor or array (B, *S), got {_kind(value)}; "
                        "logits.argmax(dim=1) is one")
    return as_tensor(name, value).long()


def _is_whole(value: Tensor | np.ndarray) -> bool:
    if isinstance(value, np.ndarray):
        return value.dtype.kind in "biu"
    return not is_unusual(value) and not value.is_floating_point() and not value.is_complex()


def _kind(value: object) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else kind_of(value)
