"""What the metrics of masks and label maps refuse at the door."""
from __future__ import annotations

import torch
from torch import Tensor

from medlearn.tasks import kind_of


def check_masks(prediction: Tensor, target: Tensor) -> None:
    """Refuses what are not two bool masks `(*S)` of one shape."""
    _check_pair(prediction, target, torch.bool, "a bool mask (*S) of one image", "one image (*S)", batch_axes=0)


def check_label_maps(prediction: Tensor, target: Tensor, classes: int) -> None:
    """Refuses what are not two int64 maps `(B, *S)` of one shape with labels in 0..classes-1."""
    if isinstance(classes, bool) or not isinstance(classes, int):
        raise TypeError(f"classes: expected how many there are, got {classes!r}")
    if classes < 2:
        raise ValueError(f"classes: expected 2 or more, background included, got {classes}")
    _check_pair(prediction, target, torch.int64, "an int64 tensor (B, *S) of class indices", "(B, *S)", batch_axes=1)
    for name, labels in {"prediction": prediction, "target": target}.items():
        if not labels.numel():
            continue
        low, high = (bound.item() for bound in labels.aminmax())
        if low < 0 or high >= classes:
            raise ValueError(f"{name}: expected labels 0..{classes - 1} for {classes} classes, "
                             f"got {low if low < 0 else high}")


def _check_pair(prediction: Tensor, target: Tensor, dtype: torch.dtype, what: str, shape: str, *,
                batch_axes: int) -> None:
    for name, value in {"prediction": prediction, "target": target}.items():
        if not isinstance(value, Tensor) or value.dtype != dtype:
            raise TypeError(f"{name}: expected {what}, got {kind_of(value)}")
        if value.ndim - batch_axes not in (2, 3):
            raise ValueError(f"{name}: expected {shape} with 2 or 3 axes of space, got shape {tuple(value.shape)}")
    if prediction.shape != target.shape or prediction.device != target.device:
        raise ValueError(f"prediction: expected shape {tuple(target.shape)} on {target.device}, as the target has, "
                         f"got {tuple(prediction.shape)} on {prediction.device}")
