r"""Things from maps: peaks of a heatmap, and the voxels whose arrows point to them (chapter 1)."""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from medlearn.base.validation import check_finite, check_float, check_number, check_shape, check_tensor, check_whole
from medlearn.nets.blocks import POOL
from medlearn.nets.tasknet import TaskAnswers, check_answers
from medlearn.tasks import InstanceSet

THRESHOLD = 0.3             # height from which a peak of the heatmap counts as a centre
KERNEL = 3                  # a peak is the highest voxel of a window of this size
REACH = 2.0                 # an arrow that ends further from every centre, in voxels, points at nothing
CHUNK = 2 ** 22             # distances held at a time while arrows look for their centre


def group_instances(foreground: Bool[Tensor, "b *s"], *, centre: Float[Tensor, "b 1 *s"],
                    offset: Float[Tensor, "b dim *s"], threshold: float = THRESHOLD, kernel: int = KERNEL,
                    reach: float = REACH) -> Int64[Tensor, "b *s"]:
    r"""Two maps back to things: voxel x joins the peak $\arg\min_i |x + o(x) - c_i|$ that its arrow points nearest to.

    Shapes: `foreground (B, *S)`, `centre (B, 1, *S)`, `offset (B, dim, *S)`; the ids `(B, *S)` run 1..n without
    gaps in each image, in the order of the peaks in the array.
    A peak is a voxel above `threshold` and the highest in its window of `kernel` voxels along each axis; of equal
    ones the first. It may lie outside the foreground, as the centre of a ring does.
    Units: `threshold` a height of 0 or more; `offset` and `reach` in voxels. An arrow that ends further than `reach`
    from every peak belongs to a thing whose centre was not found: its voxel joins no other thing and stays 0. So
    without a peak in an image there is no thing in it, however much foreground there is. A peak that no arrow points to
    is no thing either. A reach of `math.inf` lets every voxel join a peak of its image, as in the source.
    Errors: TypeError for other dtypes; ValueError for shapes that do not belong together, numbers that are not
    finite, a `threshold` below 0, a `kernel` that is not odd or below 3, a `reach` that is not positive.
    Source: Cheng et al. 2020, sec. 3.3, doi:10.1109/CVPR42600.2020.01249. Chapter 1.

    >>> heatmap = torch.tensor([[[[1.0, 0.2, 0.2, 0.9]]]])
    >>> group_instances(torch.ones(1, 1, 4).bool(), centre=heatmap, offset=torch.zeros(1, 2, 1, 4))
    tensor([[[1, 1, 2, 2]]])
    """
    return _group(foreground, centre, offset, threshold, kernel, reach)[0]


def answers_to_instances(answers: TaskAnswers, lesion_classes: Sequence[int] = (4, 5), *,
                         threshold: float = THRESHOLD, kernel: int = KERNEL,
                         reach: float = REACH) -> list[InstanceSet]:
    r"""Things for each image: $m_i$ by `group_instances`, $c_i$ by majority of its voxels, $s_i$ the peak's height.

    Shapes: `answers` as in `TaskAnswers`; a list of B sets. Foreground is where the most probable class is one of
    `lesion_classes`; the first of them is class 1 of the sets, the second class 2, as in `Scan.lesion`. With equal
    votes the lower one wins.
    Units: scores 0..1, higher peaks count as 1. No foreground or no peak gives an empty set.
    `threshold`, `kernel`, `reach` and errors: as in `group_instances`; besides, ValueError for `lesion_classes` that
    repeat or that the network does not have.
    Source: Cheng et al. 2020, sec. 3.3, doi:10.1109/CVPR42600.2020.01249. Chapter 1.

    >>> semantic = torch.zeros(1, 6, 1, 4)
    >>> semantic[0, 5] = 1                                              # the most probable class of every voxel
    >>> answers = TaskAnswers(torch.zeros(1, 3), semantic, torch.tensor([[[[1, 0, 0, .5]]]]), torch.zeros(1, 2, 1, 4))
    >>> answers_to_instances(answers)
    [InstanceSet(2 of class 2, grid (1, 4))]
    """
    check_answers(answers)
    semantic = check_float("answers.semantic", answers.semantic, shape="(B, K, *S)")
    classes = semantic.shape[1]
    in_a_row = isinstance(lesion_classes, Sequence)
    if not in_a_row or not 0 < len({*lesion_classes} & {*range(classes)}) == len(lesion_classes):
        raise ValueError(f"lesion_classes: expected different classes of 0..{classes - 1}, got {lesion_classes!r}")
    lesion_classes = list(lesion_classes)

    number = torch.zeros(classes, dtype=torch.int64, device=semantic.device)
    number[lesion_classes] = torch.arange(1, len(lesion_classes) + 1, device=semantic.device)
    lesion = number[semantic.argmax(dim=1)]
    things, heights = _group(lesion > 0, answers.centre, answers.offset, threshold, kernel, reach)
    return [_to_set(*one, len(lesion_classes)) for one in zip(things, heights, lesion)]


def _group(foreground: Tensor, centre: Tensor, offset: Tensor, threshold: float, kernel: int,
           reach: float) -> tuple[Int64[Tensor, "b *s"], list[Float[Tensor, "n"]]]:
    """The map of `group_instances`, and the height of each thing's peak in the order of the ids."""
    _check_grouping(foreground, centre, offset, threshold, kernel, reach)
    batch, *space = foreground.shape
    heatmap = centre.detach().float()
    image, *peak = _peaks(heatmap, threshold, kernel).nonzero(as_tuple=True)
    things = torch.zeros_like(foreground, dtype=torch.int64)
    if len(image) == 0:
        return things, [heatmap.new_zeros(0)] * batch

    # a row of peaks for each image, as long as the longest; the rest lies infinitely far away
    count = torch.bincount(image, minlength=batch)
    rank = torch.arange(len(image), device=image.device) - (count.cumsum(0) - count)[image]
    peaks = heatmap.new_full((batch, int(count.max()), len(space)), math.inf)
    peaks[image, rank] = torch.stack(peak, dim=1).float()
    heights = heatmap.new_zeros(peaks.shape[:2])
    heights[image, rank] = heatmap[:, 0][(image, *peak)]

    place = foreground.nonzero()
    arrow_end = place[:, 1:] + offset.detach().movedim(1, -1)[foreground].float()
    nearest, distance2 = _nearest(arrow_end, place[:, 0], peaks)
    joins = (distance2 <= reach * reach) & distance2.isfinite()         # none is finite where an image has no peak
    place, nearest = place[joins], nearest[joins]

    used = things.new_zeros(peaks.shape[:2])
    used[place[:, 0], nearest] = 1
    things[place.unbind(1)] = used.cumsum(dim=1)[place[:, 0], nearest]
    return things, [height[use > 0] for height, use in zip(heights, used)]


def _peaks(heatmap: Float[Tensor, "b 1 *s"], threshold: float, kernel: int) -> Bool[Tensor, "b *s"]:
    space = heatmap.shape[2:]
    if heatmap.numel() == 0:
        return heatmap[:, 0].bool()
    kernel = min(kernel, 2 * max(space) + 1)            # such a window holds all of the image, wherever it stands
    # the window's highest voxel by its index, not its value: of equal neighbours, frequent in bfloat16, one is left
    _, index = POOL[len(space)](heatmap, kernel, stride=1, padding=kernel // 2, return_indices=True)
    itself = torch.arange(math.prod(space), device=heatmap.device).view(space)
    return ((index == itself) & (heatmap > threshold))[:, 0]


def _nearest(points: Float[Tensor, "m dim"], image: Int64[Tensor, "m"],
             peaks: Float[Tensor, "b n dim"]) -> tuple[Int64[Tensor, "m"], Float[Tensor, "m"]]:
    """The nearest peak in each point's own image and its squared distance, as many points at a time as CHUNK allows."""
    step = max(1, CHUNK // peaks.shape[1])
    found = [sum((peaks[i, :, d] - p[:, d, None]).square() for d in range(p.shape[1])).min(dim=1)
             for p, i in zip(points.split(step), image.split(step))]
    return torch.cat([f.indices for f in found]), torch.cat([f.values for f in found])


def _to_set(things: Int64[Tensor, "*s"], heights: Float[Tensor, "n"], lesion: Int64[Tensor, "*s"],
            classes: int) -> InstanceSet:
    ids = torch.arange(1, len(heights) + 1, device=things.device)
    inside = things > 0
    ballot = (things[inside] - 1) * classes + lesion[inside] - 1
    votes = torch.bincount(ballot, minlength=len(heights) * classes).view(len(heights), classes)
    return InstanceSet(things == ids.view(-1, *[1] * things.ndim), votes.argmax(dim=1) + 1, heights.clamp(0, 1))


def _check_grouping(foreground, centre, offset, threshold, kernel, reach) -> None:
    check_tensor("foreground", foreground, dtype="bool", shape="(B, *S)")
    batch, *space = foreground.shape
    for name, map_, channels in (("centre", centre, 1), ("offset", offset, len(space))):
        check_tensor(name, map_, dtype="float")
        check_shape(name, map_, (batch, channels, *space), because="to go with the foreground")
        check_finite(name, map_)
    check_number("threshold", threshold, least=0)
    if check_whole("kernel", kernel, least=3) % 2 == 0:
        raise ValueError(f"kernel: expected an odd number of voxels, got {kernel}")
    if reach != math.inf:
        check_number("reach", reach, above=0, unit="voxels")
