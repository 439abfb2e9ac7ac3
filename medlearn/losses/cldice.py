r"""clDice: whether the centre lines of vessels are found, and whether those found are vessels (chapter 4)."""
from __future__ import annotations

from functools import reduce

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medlearn.base.labelled import look_at_values
from medlearn.base.precision import at_least_float32
from medlearn.base.validation import Number, check_finite, check_number, check_tensor, check_whole
from medlearn.losses._answers import Truth, check_background, check_truth, probabilities
from medlearn.losses._inputs import counted_logits
from medlearn.losses.overlap import _mean, _not_zero, _share_of_wrong

_POOL = {2: F.max_pool2d, 3: F.max_pool3d}


def soft_skeleton(probability: Float[Tensor, "b k *s"], *, iterations: int = 3) -> Float[Tensor, "b k *s"]:
    r"""What openings take away: $S \leftarrow S + (1 - S)\,(I - I \circ B)_+$, then $I \leftarrow I \ominus B$, again.

    Shapes: `probability (B, K, *S)`, two or three axes of space; the skeleton has the same. Units: none, 0..1.
    A soft erosion takes the least of a voxel and its neighbours along the axes, a soft dilation the greatest of the
    3 x 3 (x 3) voxels around it, and an opening is one after the other. n erosions find the centre line of what is
    2 n + 1 voxels wide: `iterations` is how many there are, at least the radius of the widest vessel, in voxels. Of a
    mask of 0 and 1 the skeleton is one too. Float32 or better, under autocast too.
    An empty image gives an empty skeleton, and zeros give zeros.
    Errors: TypeError for what is not a float tensor, or no whole number; ValueError for another number of axes, a
    probability outside 0..1, fewer than 0 iterations.
    Source: Shit et al. 2021, algorithm 1, arXiv:2003.07311. Chapter 4.

    >>> bar = torch.zeros(1, 1, 5, 7)
    >>> bar[..., 1:4, 1:6] = 1                  # three voxels wide
    >>> soft_skeleton(bar)[0, 0].sum(1).tolist()
    [0.0, 0.0, 3.0, 0.0, 0.0]
    """
    check_tensor("probability", probability, dtype="float", shape="(B, K, *S)")
    if look_at_values(probability):
        check_finite("probability", probability, least=0, most=1)
    iterations, image = check_whole("iterations", iterations), at_least_float32(probability)
    if not image.numel():
        return image
    skeleton = F.relu(image - _opened(image))
    for _ in range(iterations):
        image = _eroded(image)
        skeleton = skeleton + F.relu((1 - skeleton) * F.relu(image - _opened(image)))
    return skeleton


def cldice_loss(logits: Float[Tensor, "b k *s"], labels: Truth, *, iterations: int = 3,
                ignore_index: int | None = None, where: Bool[Tensor, "b k *s"] | None = None,
                include_background: bool = True, batch: bool = False, smooth: Number = 1e-5) -> Float[Tensor, ""]:
    r"""$1 - 2 P S / (P + S)$, with $P = \sum s_p\,y / \sum s_p$, $S = \sum s_y\,p / \sum s_y$ and skeletons $s_p, s_y$.

    Shapes: logits `(B, K, *S)` with two or three axes of space, labels `(B, *S)` or bool regions `(B, K, *S)`: as in
    `cross_entropy`, with `ignore_index` and `where`; a scalar: the mean over images and classes. Units: none, 0..1.
    P is the part of the answer's centre line that lies in a true vessel, S the part of the true centre line that is
    found. A gap costs as much in a thin vessel as in a wide one; Dice hardly sees it. The width of a vessel counts for
    nothing: add the loss to `dice_loss`, as its authors do.
    `iterations`: as in `soft_skeleton`. `smooth` is added to numerator and denominator of P and S; `batch` sums over
    the batch before it divides; `include_background=False` leaves out class 0, which has no vessels: use it for
    classes, while for regions it has to be True. What does not count is as if nothing were there, in answer and truth.
    A class that is neither in the truth nor in the answer has loss 0; one that is in one of the two only has loss 1 (to
    within `smooth`). No image, or nothing that counts, gives 0.
    Errors: as `cross_entropy`; ValueError for fewer than 0 iterations, a negative `smooth`, another number of axes of
    space, `include_background=False` with regions.
    Source: Shit et al. 2021, eq. 1 and 2, algorithm 2, arXiv:2003.07311. Chapter 4.

    >>> vessel = torch.zeros(1, 1, 5, 12, dtype=torch.bool)
    >>> vessel[..., 2, :] = True
    >>> broken = torch.where(vessel, 20.0, -20.0)
    >>> broken[..., 4:8] = -20.0                # a third of it is missed: P = 1, S = 2/3
    >>> round(cldice_loss(broken, vessel).item(), 3)
    0.2
    """
    check_truth(logits, labels, ignore_index=ignore_index, where=where)
    check_background(labels, include_background)
    check_tensor("logits", logits, dtype="float", shape="(B, K, *S)")
    smooth = check_number("smooth", smooth, least=0)
    p, hit = probabilities(counted_logits(logits, labels, ignore_index, where), labels, ignore_index=ignore_index,
                           where=where)
    p, y = (x if include_background else x[:, 1:] for x in (p, hit.to(p.dtype)))
    false_alarms = _share_outside(soft_skeleton(p, iterations=iterations), y, batch, smooth)
    missed = _share_outside(soft_skeleton(y, iterations=iterations), p, batch, smooth)
    precision, sensitivity = 1 - false_alarms, 1 - missed
    return _mean(1 - 2 * precision * sensitivity / _not_zero(precision + sensitivity))


def _share_outside(skeleton: Tensor, mask: Tensor, batch: bool, smooth: float) -> Tensor:
    """The part of each skeleton that is not in the mask: 0 of none."""
    axes = (0, *range(2, mask.ndim)) if batch else tuple(range(2, mask.ndim))
    wrong, right = ((skeleton * part).sum(axes, keepdim=True).flatten(1) for part in (1 - mask, mask))
    return _share_of_wrong(wrong, right, 2 * smooth)


def _eroded(image: Tensor) -> Tensor:
    """The least of a voxel and its neighbours along the axes; what lies outside the image takes nothing away."""
    dim = image.ndim - 2
    lines = [[3 if other == axis else 1 for other in range(dim)] for axis in range(dim)]
    return reduce(torch.minimum, [-_POOL[dim](-image, line, 1, [n // 2 for n in line]) for line in lines])


def _opened(image: Tensor) -> Tensor:
    return _POOL[image.ndim - 2](_eroded(image), 3, 1, 1)
