r"""What the maps of `TaskNet` should be: a class for each voxel, and things as a heatmap and arrows (chapter 1)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from medlearn.base.validation import check_finite, check_labels, check_number, check_same, check_tensor, check_whole

TISSUE_CLASSES = 4          # of the book's cohort: background, CSF, grey and white matter
SIGMA = 1.0                 # width of the bump at a centre, in voxels; those of touching lesions stay apart
CUT = 4                     # a bump ends after this many sigmas, where it is down to 3e-4
SIGMAS = (1e-3, 1e6)        # voxels; the square of a sigma far outside is 0 or infinite in float32
CLASSES = 2**31             # more of them than any map has; their sums stay far from what int64 holds
CHUNK = 2**22               # voxels of bumps held at a time


class InstanceTargets(NamedTuple):
    r"""What the maps of `TaskAnswers` should be, and the voxels that are inside a thing, where an offset is known.

    Shapes: `centre (B, 1, *S)`, `offset (B, dim, *S)` in voxels, `inside (B, *S)`, as in `instance_targets`. Chapter 1.

    >>> instance_targets(torch.tensor([[[0, 4, 4, 4]]])).inside
    tensor([[[False,  True,  True,  True]]])
    """

    centre: Float[Tensor, "b 1 *s"]
    offset: Float[Tensor, "b dim *s"]
    inside: Bool[Tensor, "b *s"]


def semantic_target(tissue: Int64[Tensor, "b *s"], lesion: Int64[Tensor, "b *s"], *,
                    tissues: int = TISSUE_CLASSES) -> Int64[Tensor, "b *s"]:
    r"""One class for each voxel: $T - 1 + \mathrm{lesion}$ where there is a lesion, and the tissue's elsewhere.

    Shapes: all `(B, *S)`. `tissue` and `lesion` are maps of classes, 0 where there is none. `tissues` is T, the number
    of classes of `tissue` with its background. It is 4 for the book's `BrainCohort`, whose classes are then
    0 background, 1 CSF, 2 grey, 3 white matter, 4 plaque, 5 mass. Empty maps give an empty map.
    Errors: TypeError for maps that are not int64; ValueError for different shapes, a tissue outside 0..T-1, a lesion or
    T that is negative or above $2^{31}$. Chapter 1.

    >>> semantic_target(torch.tensor([[[0, 3, 3]]]), torch.tensor([[[0, 0, 2]]]))
    tensor([[[0, 3, 5]]])
    """
    tissues = check_whole("tissues", tissues, least=1, most=CLASSES)
    for name, labels, classes in (("tissue", tissue, tissues), ("lesion", lesion, None)):
        check_labels(name, check_tensor(name, labels, dtype="int64", shape="(B, *S)"), classes=classes)
    check_finite("lesion", lesion, most=CLASSES)
    check_same("lesion", lesion, like=tissue, whose="tissue")
    return torch.where(lesion > 0, tissues - 1 + lesion, tissue)


def instance_targets(instance: Int64[Tensor, "b *s"], *, sigma: float = SIGMA) -> InstanceTargets:
    r"""Things as two maps: $\max_i e^{-|x - c_i|^2 / 2 \sigma^2}$, and the arrow $c_i - x$ at each voxel x of thing i.

    Shapes: `instance (B, *S)`, ids above 0 with or without gaps; `centre (B, 1, *S)`, `offset (B, dim, *S)`.
    Units: voxels, of `sigma` too. $c_i$ is the centre of mass, which need not fall on a voxel; so a bump reaches 1 only
    where it does. A bump ends after four sigmas; an offset is 0 outside of all things. No thing gives zeros.
    Errors: TypeError for a map that is not int64; ValueError for another number of axes, a negative id, a sigma
    outside 0.001..1e6. Source: Cheng et al. 2020, sec. 3.2, doi:10.1109/CVPR42600.2020.01249. Chapter 1.

    >>> targets = instance_targets(torch.tensor([[[0, 4, 4, 4]]]))
    >>> targets.centre[0, 0].numpy().round(2), targets.offset[0, 1]     # arrows along the second axis
    (array([[0.14, 0.61, 1.  , 0.61]], dtype=float32), tensor([[ 0.,  1.,  0., -1.]]))
    """
    check_labels("instance", check_tensor("instance", instance, dtype="int64", shape="(B, *S)"))
    sigma = check_number("sigma", sigma, least=SIGMAS[0], most=SIGMAS[1], unit="voxels")
    batch, *space = instance.shape
    inside = instance > 0
    place = inside.nonzero()
    image, voxel = place[:, 0], place[:, 1:]
    ids, rank = instance[inside].unique(return_inverse=True)
    pairs, thing = (image * len(ids) + rank).unique(return_inverse=True)    # a row for each id of each image

    voxels = torch.bincount(thing, minlength=len(pairs))
    total = voxel.new_zeros(len(pairs), len(space)).index_add_(0, thing, voxel)     # exact: whole numbers
    mass_centre = total.float() / voxels[:, None]
    offset = torch.zeros(batch, *space, len(space), device=instance.device)
    offset[inside] = mass_centre[thing] - voxel

    image_of_thing = pairs.div(max(1, len(ids)), rounding_mode="floor")
    centre = _bumps(mass_centre, image_of_thing, (batch, *space), sigma)
    return InstanceTargets(centre[:, None], offset.movedim(-1, 1), inside)


def _bumps(centres: Float[Tensor, "n dim"], image: Int64[Tensor, "n"], shape: Sequence[int],
           sigma: float) -> Float[Tensor, "b *s"]:
    """The heatmap: at each voxel the highest of the bumps, each made in its own window, a few at a time."""
    batch, *space = shape
    reach = [min(math.ceil(CUT * sigma), n) for n in space]             # no window is wider than it takes to see all
    steps = [torch.arange(-r, r + 1, device=centres.device) for r in reach]
    window = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1).reshape(-1, len(space))
    heatmap = torch.zeros(math.prod(shape), device=centres.device)
    few = max(1, CHUNK // len(window))
    for centre, index in zip(centres.split(few), image[:, None].split(few)):
        voxel = centre.round().long()[:, None] + window
        height = torch.exp(-(voxel - centre[:, None]).square().sum(dim=-1) / (2 * sigma ** 2))
        on_grid = ((voxel >= 0) & (voxel < torch.tensor(space, device=centres.device))).all(dim=-1)
        for axis, n in enumerate(space):
            index = index * n + voxel[..., axis]
        heatmap.scatter_reduce_(0, index[on_grid], height[on_grid], "amax")
    return heatmap.view(tuple(shape))
