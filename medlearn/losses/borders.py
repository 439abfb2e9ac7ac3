r"""Weights of voxels that make a network learn the thin gap between two things (chapter 7)."""
from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.base.validation import Number, check_labels, check_number, check_tensor

NEGLIGIBLE = 1e-6               # border weights below this part of w0 are set to 0


def border_weights(instance: Int64[Tensor, "b *s"], *, w0: Number = 10.0, sigma: Number = 5.0) -> Float[Tensor, "b *s"]:
    r"""$w = w_c + w_0 \, e^{-(d_1 + d_2)^2 / 2 \sigma^2}$, with the distances to the borders of the two nearest things.

    Shapes: `instance (B, *S)`, 0 background, else the id of a thing; weights `(B, *S)`, float32, on its device (they
    are computed on the CPU). Multiply them into the loss of each voxel, `cross_entropy(..., reduction="none")`. `w0` is
    the extra weight where the borders of two things meet, `sigma` how fast it falls with the distance from them.
    Units: `sigma` and distances in voxels. From a voxel outside a thing, the distance to its border is that to its
    nearest voxel; from a voxel inside, that to the nearest voxel outside.
    $w_c$ balances things and background in each image: where one of the two has n of N voxels, each of them weighs
    N / 2n, so that both have half of the weight, and the mean is 1.
    With one thing there is no second border, and with none no border: $w = w_c$. An image that is all background, or
    all thing, has $w_c = 1$. An empty batch gives empty weights.
    Errors: TypeError for a map that is not int64; ValueError for another number of axes, a negative id, `w0` below 0, a
    `sigma` that is not positive.
    Source: Ronneberger et al. 2015, eq. 2, doi:10.1007/978-3-319-24574-4_28; the paper leaves open how w_c balances.
    Chapter 7.

    >>> [round(w, 1) for w in border_weights(torch.tensor([[[1, 1, 0, 2, 2]]]), sigma=1.0).flatten().tolist()]
    [0.6, 0.7, 3.9, 0.7, 0.6]
    """
    check_tensor("instance", instance, dtype="int64", shape="(B, *S)")
    check_labels("instance", instance)
    w0, sigma = check_number("w0", w0, least=0), check_number("sigma", sigma, above=0)
    weights = np.empty(instance.shape, np.float32)
    for weight, ids in zip(weights, instance.cpu().numpy()):
        weight[...] = _balance(ids > 0) + w0 * np.exp(-_distance_to_two(ids, sigma) ** 2 / (2 * sigma ** 2))
    return torch.from_numpy(weights).to(instance.device)


def _balance(inside: np.ndarray) -> np.ndarray | float:
    share = inside.mean() if inside.size else 0.0
    return np.where(inside, 0.5 / share, 0.5 / (1 - share)) if 0 < share < 1 else 1.0


def _distance_to_two(ids: np.ndarray, sigma: float) -> np.ndarray:
    """d1 + d2, measured in a box of a few sigmas around each thing; infinite where the weight would be negligible."""
    from scipy import ndimage

    reach = math.ceil(sigma * math.sqrt(-2 * math.log(NEGLIGIBLE)))
    nearest, second = np.full((2, *ids.shape), np.inf, np.float32)
    if not ids.any():
        return nearest
    _, ranks = np.unique(np.append(0, ids), return_inverse=True)    # the 0 in front: background is the first rank
    ranks = ranks[1:].reshape(ids.shape)
    for rank, box in enumerate(ndimage.find_objects(ranks), start=1):
        box = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        inside = ranks[box] == rank
        distance = ndimage.distance_transform_edt(inside) + ndimage.distance_transform_edt(~inside)     # one is 0
        second[box] = np.minimum(second[box], np.maximum(nearest[box], distance))
        nearest[box] = np.minimum(nearest[box], distance)
    return nearest + second
