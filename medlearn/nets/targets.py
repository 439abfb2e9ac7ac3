r"""What the maps of `TaskNet` should be: a class for each voxel, and things as a heatmap and arrows (chapter 1)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from medlearn.base.validation import check_labels, check_number, check_same, check_tensor, check_whole

TISSUE_CLASSES = 4          # of the book's cohort: background, CSF, grey and white matter
SIGMA = 1.0                 # width of the bump at a centre, in voxels; those of touching lesions stay apart
CUT = 4                     # a bump ends after this many sigmas, where it is down to 3e-4


class InstanceTargets(NamedTuple):
    r"""What the maps of `TaskAnswers` should be, and the voxels `inside (B, *S)` a thing, where an offset is known."""

    centre: Float[Tensor, "b 1 *s"]
    offset: Float[Tensor, "b dim *s"]
    inside: Bool[Tensor, "b *s"]


def semantic_target(tissue: Int64[Tensor, "b *s"], lesion: Int64[Tensor, "b *s"], *,
                    tissues: int = TISSUE_CLASSES) -> Int64[Tensor, "b *s"]:
    r"""One class for each voxel: $T - 1 + \mathrm{lesion}$ where there is a lesion, and the tissue's elsewhere.

    Shapes: all `(B, *S)`. `tissue` and `lesion` are maps of classes, 0 where there is none. `tissues` is T, the number
    of classes of `tissue` with its background. It is 4 for the book's `BrainCohort`, whose classes are then
    0 background, 1 CSF, 2 grey, 3 white matter, 4 plaque, 5 mass. Empty maps give an empty map.
    Errors: TypeError for maps that are not int64; ValueError for different shapes, a tissue outside 0..T-1, a negative
    lesion. Chapter 1.

    >>> semantic_target(torch.tensor([[[0, 3, 3]]]), torch.tensor([[[0, 0, 2]]]))
    tensor([[[0, 3, 5]]])
    """
    tissues = check_whole("tissues", tissues, least=1)
    for name, labels, classes in (("tissue", tissue, tissues), ("lesion", lesion, None)):
        check_labels(name, check_tensor(name, labels, dtype="int64", shape="(B, *S)"), classes=classes)
    check_same("lesion", lesion, like=tissue, whose="tissue")
    return torch.where(lesion > 0, tissues - 1 + lesion, tissue)


def instance_targets(instance: Int64[Tensor, "b *s"], *, sigma: float = SIGMA) -> InstanceTargets:
    r"""Things as two maps: $\max_i e^{-|x - c_i|^2 / 2 \sigma^2}$, and the arrow $c_i - x$ at each voxel x of thing i.

    Shapes: `instance (B, *S)`, ids above 0 with or without gaps; `centre (B, 1, *S)`, `offset (B, dim, *S)`.
    Units: voxels. $c_i$ is the centre of mass, which need not fall on a voxel; so a bump reaches 1 only where it does.
    A bump ends after four sigmas; an offset is 0 outside of all things. No thing gives zeros.
    Errors: TypeError for a map that is not int64; ValueError for another number of axes, a negative id, a sigma that
    is not positive. Source: Cheng et al. 2020, sec. 3.2, doi:10.1109/CVPR42600.2020.01249. Chapter 1.
    """
    check_labels("instance", check_tensor("instance", instance, dtype="int64", shape="(B, *S)"))
    sigma = check_number("sigma", sigma, above=0, unit="voxels")
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
