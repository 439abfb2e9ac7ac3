r"""One network, three answers: a diagnosis of the scan, a class of every voxel, and a set of things (chapter 1)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from medlearn.nets.blocks import (CONV, POOL, ConvBlock, check_counts, check_dim, check_image, check_widths, double,
                                  halve)
from medlearn.tasks import InstanceSet, kind_of

FIRST_LESION = 4                 # background, CSF, grey and white matter: the classes before the first lesion
SIGMA = 1.0                 # width of the bump at a centre, in voxels; those of touching lesions stay apart
CUT = 4                     # a bump ends after this many sigmas, where it is down to 3e-4
THRESHOLD = 0.3             # height from which a peak of the heatmap counts as a centre
KERNEL = 3                  # a peak is the highest voxel of a window of this size
REACH = 2.0                 # an arrow that ends further from every centre, in voxels, points at nothing
CHUNK = 2 ** 22             # distances held at a time while arrows look for their centre
WEIGHTS = {"diagnosis": 0.2, "semantic": 1.0, "centre": 1.0, "offset": 0.2}


class TaskAnswers(NamedTuple):
    r"""What `TaskNet` says: logits of the scan, logits of each voxel, and two maps that hold a set of things.

    Shapes: `diagnosis (B, D)`, `semantic (B, K, *S)`, `centre (B, 1, *S)`, `offset (B, dim, *S)`.
    Units: `centre` is about 1 at the centre of a thing and 0 far from all; `offset` in voxels, from each voxel to its
    thing's centre, along the axes of the array. Chapter 1.
    """

    diagnosis: Float[Tensor, "b d"]
    semantic: Float[Tensor, "b k *s"]
    centre: Float[Tensor, "b 1 *s"]
    offset: Float[Tensor, "b dim *s"]


class InstanceTargets(NamedTuple):
    r"""What the maps of `TaskAnswers` should be, and the voxels `inside (B, *S)` a thing, where an offset is known."""

    centre: Float[Tensor, "b 1 *s"]
    offset: Float[Tensor, "b dim *s"]
    inside: Bool[Tensor, "b *s"]


class TasksLoss(NamedTuple):
    r"""The parts of `tasks_loss`, and the sum that is trained on. Each is one number, in float32."""

    total: Float[Tensor, ""]
    diagnosis: Float[Tensor, ""]
    semantic: Float[Tensor, ""]
    centre: Float[Tensor, ""]
    offset: Float[Tensor, ""]


class TaskNet(nn.Module):
    r"""A trunk that looks at the image, down to a coarse grid and up again, and four small heads that answer.

    Shapes: `image (B, in_channels, *S)` to `TaskAnswers`; `*S` has `dim` axes of any size. An odd axis is halved
    upwards on the way down and cut on the way up, so nothing is padded.
    `widths`: channels of each level, the finest first. The diagnosis comes from the coarsest level, where the place
    is pooled away by the maximum: a lesion counts wherever it is. The other heads ask at every voxel of the finest.
    They start at zero: an untrained network claims nothing, and no loss begins so large that it drowns the others.
    An empty batch gives empty answers in evaluation.
    Errors: TypeError for an image that is not float; ValueError for another number of channels or axes, an axis
    without a voxel, another `dim` than 2 or 3, or numbers of channels or classes below 1.
    Source: trunk, Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28; heads, Cheng et al. 2020,
    doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """

    def __init__(self, in_channels: int = 1, classes: int = 6, *, diagnoses: int = 3, dim: int = 2,
                 widths: Sequence[int] = (16, 32, 48, 64)):
        super().__init__()
        check_dim(dim)
        check_counts(in_channels=in_channels, classes=classes, diagnoses=diagnoses)
        check_widths(widths)
        self.in_channels, self.dim = in_channels, dim

        self.down = nn.ModuleList(nn.Sequential(ConvBlock(above, width, dim=dim), ConvBlock(width, width, dim=dim))
                                  for above, width in pairwise((in_channels, *widths)))
        self.up = nn.ModuleList(ConvBlock(coarse + fine, fine, dim=dim) for coarse, fine in pairwise(widths[::-1]))
        self.diagnosis = nn.Linear(widths[-1], diagnoses)
        self.semantic, self.centre, self.offset = (CONV[dim](widths[0], n, kernel_size=1) for n in (classes, 1, dim))
        for head in (self.semantic, self.centre, self.offset):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        if dim == 2:
            self.to(memory_format=torch.channels_last)      # faster on a CPU; torch carries it from layer to layer

    def forward(self, image: Float[Tensor, "b c *s"]) -> TaskAnswers:
        check_image(image, self.in_channels, self.dim)
        levels = [self.down[0](image)]
        for block in self.down[1:]:
            levels.append(block(halve(levels[-1])))
        coarsest = x = levels.pop()
        for block in self.up:
            fine = levels.pop()
            x = block(torch.cat([double(x, like=fine), fine], dim=1))
        return TaskAnswers(self.diagnosis(coarsest.flatten(2).amax(dim=2)),
                           self.semantic(x), self.centre(x), self.offset(x))


def semantic_target(tissue: Int64[Tensor, "b *s"], lesion: Int64[Tensor, "b *s"]) -> Int64[Tensor, "b *s"]:
    r"""One class for each voxel: the lesion's, $3 + \mathrm{lesion}$, where there is one, and the tissue's elsewhere.

    Shapes: all `(B, *S)`. The classes are 0 background, 1 CSF, 2 grey, 3 white matter, 4 plaque, 5 mass.
    Empty maps give an empty map.
    Errors: TypeError for maps that are not int64; ValueError for different shapes, a tissue outside 0..3, a negative
    lesion. Chapter 1.
    """
    _check_labels("tissue", tissue, FIRST_LESION)
    _check_labels("lesion", lesion)
    _check_shape("lesion", lesion, tissue.shape)
    return torch.where(lesion > 0, FIRST_LESION - 1 + lesion, tissue)


def instance_targets(instance: Int64[Tensor, "b *s"], *, sigma: float = SIGMA) -> InstanceTargets:
    r"""Things as two maps: $\max_i e^{-|x - c_i|^2 / 2 \sigma^2}$, and the arrow $c_i - x$ at each voxel x of thing i.

    Shapes: `instance (B, *S)`, ids above 0 with or without gaps; `centre (B, 1, *S)`, `offset (B, dim, *S)`.
    Units: voxels. $c_i$ is the centre of mass, which need not fall on a voxel; so a bump reaches 1 only where it does.
    A bump ends after four sigmas; an offset is 0 outside of all things. No thing gives zeros.
    Errors: TypeError for a map that is not int64; ValueError for another number of axes, a negative id, a sigma that
    is not positive. Source: Cheng et al. 2020, sec. 3.2, doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """
    _check_labels("instance", instance)
    if not 0 < sigma < math.inf:
        raise ValueError(f"sigma: expected a positive number of voxels, got {sigma}")
    batch, *space = instance.shape
    inside = instance > 0
    image, *voxel = inside.nonzero(as_tuple=True)
    voxel = torch.stack(voxel, dim=1)
    ids, rank = instance[inside].unique(return_inverse=True)
    thing = image * len(ids) + rank                                     # a row for each id in each image

    voxels = thing.new_zeros(batch * len(ids)).index_add_(0, thing, torch.ones_like(thing))
    total = voxel.new_zeros(batch * len(ids), len(space)).index_add_(0, thing, voxel)   # exact: whole numbers
    mass_centre = total.float() / voxels[:, None]                       # NaN where an image lacks an id
    offset = torch.zeros(batch, *space, len(space), device=instance.device)
    offset[inside] = mass_centre[thing] - voxel

    present = voxels.nonzero()[:, 0]
    image_of_thing = present.div(max(1, len(ids)), rounding_mode="floor")
    centre = _bumps(mass_centre[present], image_of_thing, (batch, *space), sigma)
    return InstanceTargets(centre[:, None], offset.movedim(-1, 1), inside)


def group_instances(foreground: Bool[Tensor, "b *s"], *, centre: Float[Tensor, "b 1 *s"],
                    offset: Float[Tensor, "b dim *s"], threshold: float = THRESHOLD, kernel: int = KERNEL,
                    reach: float = REACH) -> Int64[Tensor, "b *s"]:
    r"""Two maps back to things: voxel x joins the peak $\arg\min_i |x + o(x) - c_i|$ that its arrow points nearest to.

    Shapes: `foreground (B, *S)`, `centre (B, 1, *S)`, `offset (B, dim, *S)`; the ids `(B, *S)` run 1..n without
    gaps in each image, in the order of the peaks in the array.
    A peak is a voxel above `threshold` and the highest in its window of `kernel` voxels along each axis; of equal
    ones the first. It may lie outside the foreground, as the centre of a ring does.
    Units: offsets and `reach` in voxels. An arrow that ends further than `reach` from every peak tells of a thing
    whose centre was not found: its voxel joins no other thing and stays 0. So without a peak there is no thing,
    however much foreground there is: nothing is claimed that no centre speaks for. A peak no arrow points to is
    no thing either. `math.inf` lets every voxel join, as in the source.
    Errors: TypeError for other dtypes; ValueError for shapes that do not belong together, numbers that are not
    finite, a `threshold` below 0, a `kernel` that is not odd or below 3, a `reach` that is not positive.
    Source: Cheng et al. 2020, sec. 3.3, doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """
    return _group(foreground, centre, offset, threshold, kernel, reach)[0]


def answers_to_instances(answers: TaskAnswers, lesion_classes: Sequence[int] = (4, 5), *,
                         threshold: float = THRESHOLD, kernel: int = KERNEL,
                         reach: float = REACH) -> list[InstanceSet]:
    r"""Things for each image: $m_i$ by `group_instances`, $c_i$ by majority of its voxels, $s_i$ the peak's height.

    Shapes: a list of B sets. Foreground is where the most probable class is one of `lesion_classes`; the first of them
    is class 1 of the sets, the second class 2, as in `Scan.lesion`. With equal votes the lower one wins.
    Units: scores 0..1, higher peaks count as 1. No foreground or no peak gives an empty set.
    Errors: as `group_instances`; ValueError for `lesion_classes` that repeat or that the network does not have.
    Source: Cheng et al. 2020, sec. 3.3, doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """
    semantic = answers.semantic
    if not isinstance(semantic, Tensor) or semantic.ndim not in (4, 5):
        raise ValueError(f"answers.semantic: expected logits (B, K, *S), got {kind_of(semantic)}")
    _check_finite("answers.semantic", semantic)
    lesion_classes, classes = list(lesion_classes), semantic.shape[1]
    if len({*lesion_classes} & {*range(classes)}) != len(lesion_classes) or not lesion_classes:
        raise ValueError(f"lesion_classes: expected different classes of 0..{classes - 1}, got {lesion_classes}")

    number = torch.zeros(classes, dtype=torch.int64, device=semantic.device)
    number[lesion_classes] = torch.arange(1, len(lesion_classes) + 1, device=semantic.device)
    lesion = number[semantic.argmax(dim=1)]
    things, heights = _group(lesion > 0, answers.centre, answers.offset, threshold, kernel, reach)
    return [_to_set(*one, len(lesion_classes)) for one in zip(things, heights, lesion)]


def tasks_loss(answers: TaskAnswers, *, diagnosis: Int64[Tensor, "b"], semantic: Int64[Tensor, "b *s"],
               instance: Int64[Tensor, "b *s"], sigma: float = SIGMA) -> TasksLoss:
    r"""How far the three answers are off: $L = 0.2 \, L_d + L_s + L_c + 0.2 \, L_o$, a part for each of `TaskAnswers`.

    Shapes: `diagnosis (B,)`, `semantic` and `instance (B, *S)`, see `semantic_target`; each loss is one number.
    `diagnosis` is cross-entropy. So is `semantic`, where each class weighs in with the square root of its number of
    voxels instead of the number itself, for else a small lesion would hardly count. `centre` is
    $\sum (h - h^*)^2 / \sum h^*$ over the heatmap, `offset` the mean of $|o - o^*|_1$ inside things, in voxels.
    All is computed in float32, under autocast too. Without a thing `offset` is 0 and `centre` is $\sum h^2$.
    Errors: TypeError for labels that are not int64; ValueError for no image, shapes that do not belong together,
    labels out of range, answers that are not finite.
    Source: Cheng et al. 2020, eq. 1, doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """
    batch, classes, *space = answers.semantic.shape
    if batch == 0:
        raise ValueError("answers: expected at least one image, got none")
    _check_labels("diagnosis", diagnosis, answers.diagnosis.shape[1], ndims=(1,))
    _check_shape("diagnosis", diagnosis, (batch,))
    _check_labels("semantic", semantic, classes)
    _check_shape("semantic", semantic, (batch, *space))
    _check_shape("instance", instance, (batch, *space))
    for name, answer in answers._asdict().items():
        _check_finite(f"answers.{name}", answer)

    targets = instance_targets(instance, sigma=sigma)
    answers = TaskAnswers(*(answer.float() for answer in answers))
    missed = (answers.offset - targets.offset).abs().sum(dim=1)
    parts = {
        "diagnosis": F.cross_entropy(answers.diagnosis, diagnosis),
        "semantic": F.cross_entropy(answers.semantic, semantic, weight=_root_weights(semantic, classes)),
        "centre": (answers.centre - targets.centre).square().sum() / targets.centre.sum().clamp_min(1),
        "offset": (missed * targets.inside).sum() / targets.inside.sum().clamp_min(1),
    }
    return TasksLoss(sum(WEIGHTS[name] * part for name, part in parts.items()), **parts)


def _bumps(centres: Float[Tensor, "n dim"], image: Int64[Tensor, "n"], shape: Sequence[int],
           sigma: float) -> Float[Tensor, "b *s"]:
    """The heatmap: at each voxel the highest of the bumps. Each bump is made in its own window, so memory is small."""
    batch, *space = shape
    steps = torch.arange(-math.ceil(CUT * sigma), math.ceil(CUT * sigma) + 1, device=centres.device)
    window = torch.stack(torch.meshgrid(*[steps] * len(space), indexing="ij"), dim=-1).reshape(-1, len(space))
    voxel = centres.round().long()[:, None] + window
    height = torch.exp(-(voxel - centres[:, None]).square().sum(dim=-1) / (2 * sigma ** 2))
    on_grid = ((voxel >= 0) & (voxel < torch.tensor(space, device=centres.device))).all(dim=-1)
    index = image[:, None]
    for axis, n in enumerate(space):
        index = index * n + voxel[..., axis]
    heatmap = torch.zeros(math.prod(shape), device=centres.device)
    return heatmap.scatter_reduce_(0, index[on_grid], height[on_grid], "amax").view(shape)


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
    heights[image, rank] = heatmap[image, 0, *peak]

    place = foreground.nonzero()
    arrow_end = place[:, 1:] + offset.detach().movedim(1, -1)[foreground].float()
    nearest, distance2 = _nearest(arrow_end, place[:, 0], peaks)
    joins = distance2 <= reach ** 2
    place, nearest = place[joins], nearest[joins]

    used = things.new_zeros(peaks.shape[:2])
    used[place[:, 0], nearest] = 1
    things[tuple(place.T)] = used.cumsum(dim=1)[place[:, 0], nearest]
    return things, [height[use > 0] for height, use in zip(heights, used)]


def _peaks(heatmap: Float[Tensor, "b 1 *s"], threshold: float, kernel: int) -> Bool[Tensor, "b *s"]:
    space = heatmap.shape[2:]
    if heatmap.numel() == 0:
        return heatmap[:, 0].bool()
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


def _root_weights(labels: Int64[Tensor, "b *s"], classes: int) -> Float[Tensor, "k"]:
    """A voxel's weight, so that a class of n voxels counts as sqrt(n)."""
    return torch.bincount(labels.flatten(), minlength=classes).float().clamp_min(1).rsqrt()


def _check_labels(name: str, labels: Tensor, classes: int | None = None, ndims: Sequence[int] = (3, 4)) -> None:
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        raise TypeError(f"{name}: expected an int64 tensor, got {kind_of(labels)}")
    if labels.ndim not in ndims:
        shape = "(B,)" if ndims == (1,) else "(B, *S) with 2 or 3 axes of space"
        raise ValueError(f"{name}: expected {shape}, got shape {tuple(labels.shape)}")
    if labels.numel() == 0:
        return
    low, high = (value.item() for value in labels.aminmax())
    if low < 0 or classes is not None and high >= classes:
        expected = "0 or more" if classes is None else f"0..{classes - 1}"
        raise ValueError(f"{name}: expected labels of {expected}, got {low}..{high}")


def _check_shape(name: str, tensor: Tensor, shape: Sequence[int]) -> None:
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"{name}: expected shape {tuple(shape)} to go with the others, got {tuple(tensor.shape)}")


def _check_finite(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise TypeError(f"{name}: expected a float tensor, got {kind_of(tensor)}")
    if not tensor.isfinite().all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")


def _check_grouping(foreground, centre, offset, threshold, kernel, reach) -> None:
    if not isinstance(foreground, Tensor) or foreground.dtype != torch.bool:
        raise TypeError(f"foreground: expected a bool tensor, got {kind_of(foreground)}")
    if foreground.ndim not in (3, 4):
        raise ValueError(f"foreground: expected (B, *S) with 2 or 3 axes of space, got shape {tuple(foreground.shape)}")
    batch, *space = foreground.shape
    for name, map_, channels in (("centre", centre, 1), ("offset", offset, len(space))):
        _check_finite(name, map_)
        _check_shape(name, map_, (batch, channels, *space))
    if not 0 <= threshold < math.inf:
        raise ValueError(f"threshold: expected a height of 0 or more, got {threshold}")
    if isinstance(kernel, bool) or not isinstance(kernel, int) or kernel < 3 or kernel % 2 == 0:
        raise ValueError(f"kernel: expected an odd number of voxels, 3 or more, got {kernel!r}")
    if not reach > 0:
        raise ValueError(f"reach: expected a positive number of voxels, got {reach}")
