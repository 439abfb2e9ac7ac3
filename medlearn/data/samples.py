r"""The reader's own arrays, as what `medlearn.train.fit` trains on: the one door where files' types are converted."""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from medlearn.base.validation import as_tensor, check_labels, check_shape, check_tensor, check_whole
from medlearn.data.scan import standardise


def as_samples(images: np.ndarray | Tensor, labels: np.ndarray | Tensor, *, classes: int) -> TensorDataset:
    r"""Pairs (standardised image, labels) from arrays as files give them: int16 images, uint8 masks, float64, bool.

    Shapes: `images (N, C, *S)` and `labels (N, *S)` of N scans of one size, 2D or 3D; `samples[i]` is an image
    `(C, *S)` in float32 and its labels `(*S)` in int64. Units: of the images any, they are gone afterwards, as
    `standardise` says; labels are 0..K-1, K = `classes`. No scan gives no sample, which `fit` refuses.
    Errors: TypeError for labels that are no whole numbers, ValueError for shapes that do not go together, a label
    outside 0..K-1, and images that `standardise` refuses. Chapter 7.

    >>> images = np.array([[[[0, 100], [100, 0]]]], dtype=np.int16)
    >>> image, label = as_samples(images, images[:, 0] > 50, classes=2)[0]
    >>> image.dtype, label.tolist()
    (torch.float32, [[0, 1], [1, 0]])
    """
    check_whole("classes", classes, least=2)
    image, label = as_tensor("images", images).to(torch.float32), as_tensor("labels", labels)
    if label.is_floating_point():
        raise TypeError(f"labels: expected whole numbers or bool, got {label.dtype}")
    check_tensor("images", image, dtype="float", shape="(N, C, *S)")
    check_shape("labels", label, (len(image), *image.shape[2:]), because=f"for images {tuple(image.shape)}")
    return TensorDataset(standardise(image), check_labels("labels", label.long(), classes=classes))
