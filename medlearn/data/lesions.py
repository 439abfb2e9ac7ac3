r"""Lesions: which ones a subject has, where they sit in the white matter, and which voxels are theirs."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from medlearn.base.validation import check_number
from medlearn.data._ranges import check_length, check_range, check_whole_range
from medlearn.data.scan import FIELD_OF_VIEW_MM

LESIONS = ("none", "plaque", "mass")
PLAQUE, MASS = 1, 2

GAP_MM = 5.0                # between lesions that do not touch: more than a voxel's diagonal at size 64
CLOSENESS = (0.65, 0.82)    # distance of touching centres, where 1 is border to border: two lobes with a waist
WOBBLE = (0.2, 0.1, 0.07)   # largest amplitudes of the border's harmonics of order 2, 3 and 4
REACH = 1.5                 # how far beyond its border a lesion is drawn, where 1 is the border
LARGEST_MM = 60.0           # for a lesion's diameter
LARGEST_PREVALENCE = 0.02   # there is not room in white matter for more


@dataclass(frozen=True, kw_only=True)
class LesionSpec:
    r"""How many lesions there are, how large, and how often they touch.

    `diagnosis`: the shares of subjects with no lesion, with plaques only, and with a mass.
    `plaques`, `masses`: least and largest number in a subject that has them; every number between is equally likely.
    A subject with a mass may have plaques beside it, from none to the largest number.
    `plaque_mm`, `mass_mm`: smallest and largest mean diameter, in mm; of the cross-section in 2D, of the body in 3D.
    `touching`: the probability that a plaque, other than the first, is placed against an earlier one; so this is
    nearly the share of plaques that touch another. At 0 none does.
    `prevalence`: the wished share of lesion voxels among all voxels of the grid, air included, as the mean over all
    subjects, those without a lesion included. Lesions are left out and sizes scaled to meet it. None leaves both.
    Errors: ValueError for shares that do not sum to 1, a range whose ends are not in order, a number below 1 (for none
    at all there is `NO_LESIONS`), a size not in 0..60, `touching` outside 0..1, `prevalence` outside 0..0.02 or wished
    where nobody has a lesion. Chapter 1.

    >>> from medlearn.data import BrainCohort
    >>> one_mass = LesionSpec(diagnosis=(0.0, 0.0, 1.0), plaques=(1, 1), masses=(1, 1))
    >>> BrainCohort(size=32, lesions=one_mass).batch(range(3)).diagnosis
    tensor([2, 2, 2])
    """

    diagnosis: tuple[float, float, float] = (0.2, 0.5, 0.3)
    plaques: tuple[int, int] = (3, 8)
    masses: tuple[int, int] = (1, 1)
    plaque_mm: tuple[float, float] = (8.0, 16.0)
    mass_mm: tuple[float, float] = (22.0, 38.0)
    touching: float = 0.3
    prevalence: float | None = None

    def __post_init__(self):
        check_length("diagnosis", self.diagnosis, 3)
        shares = [check_number("diagnosis", share, least=0, most=1) for share in self.diagnosis]
        if abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"diagnosis: expected three shares (none, plaques only, mass) that sum to 1, "
                             f"got {self.diagnosis}")
        for name in ("plaques", "masses"):
            check_whole_range(name, getattr(self, name), least=1)
        for name in ("plaque_mm", "mass_mm"):
            check_range(name, getattr(self, name), above=0, most=LARGEST_MM)
        check_number("touching", self.touching, least=0, most=1)
        if self.prevalence is not None:
            check_number("prevalence", self.prevalence, above=0, most=LARGEST_PREVALENCE)
            if self.diagnosis[0] == 1:
                raise ValueError(f"prevalence: expected None where no subject has a lesion, got {self.prevalence}")

    @property
    def prevalence_of_the_ill(self) -> float | None:
        """The share of lesion voxels in a subject that has a lesion."""
        return None if self.prevalence is None else self.prevalence / (1 - self.diagnosis[0])


NO_LESIONS = LesionSpec(diagnosis=(1.0, 0.0, 0.0))


@dataclass(frozen=True, eq=False)
class Blobs:
    r"""Star-shaped bodies with the border $\rho(n) = r \, (1 + \sum_{l=2}^{4} a_l P_l(n \cdot v_l))$ in direction n.

    Shapes: `kind (n,)` in `LESIONS`; `centre (n, 3)`, `radius (n,)` in mm; `amplitude (n, 3)` and unit vectors
    `axis (n, 3, 3)` of the harmonics. Chapter 1.
    """

    kind: np.ndarray
    centre: np.ndarray
    radius: np.ndarray
    amplitude: np.ndarray
    axis: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, index: slice) -> Blobs:
        return Blobs(*(getattr(self, field.name)[index] for field in fields(self)))

    def border(self, direction: np.ndarray) -> np.ndarray:
        """Distance in mm from each centre to its border, in the unit directions `(..., n, 3)`."""
        return _border(self.radius, self.amplitude, self.axis, direction)

    @staticmethod
    def join(parts: Sequence[Blobs]) -> Blobs:
        return Blobs(*(np.concatenate([getattr(part, field.name) for part in [_NOTHING, *parts]])
                       for field in fields(Blobs)))


@dataclass(frozen=True)
class Room:
    """Where lesions may be centred: points `(n, 3)`, and how deep below the white matter's surface each lies, in mm."""

    points: np.ndarray
    depth: np.ndarray


@dataclass(frozen=True, eq=False)
class Drawn:
    """Lesions on a grid: class and number of each voxel's lesion, as in `Scan`.

    For the intensities, also the class `kind` of the nearest lesion, and `depth_mm` below its border: negative outside,
    -inf far away.
    """

    lesion: Int64[Tensor, "b *s"]
    instance: Int64[Tensor, "b *s"]
    kind: Int64[Tensor, "b *s"]
    depth_mm: Float[Tensor, "b *s"]


def place(spec: LesionSpec, room: Room, dim: int, rng: np.random.Generator) -> Blobs:
    r"""A subject's lesions in the order of their placing, the masses first. Where there is no room, one is left out.

    Shapes: as many as the spec draws, or none. Units: mm. Chapter 1.
    """
    wanted = _to_prevalence(_draw(spec, dim, rng), spec.prevalence_of_the_ill, dim)
    placed = _NOTHING
    for i in range(len(wanted)):
        blob, plaques = wanted[i:i + 1], np.flatnonzero(placed.kind == PLAQUE)
        against = wanted.kind[i] == PLAQUE and len(plaques) > 0 and rng.random() < spec.touching
        partners = rng.permutation(plaques).tolist() if against else [None]
        centres = (_choose_centre(blob, placed, partner, room, rng) for partner in partners)
        centre = next((c for c in centres if c is not None), None)
        if centre is not None:
            placed = Blobs.join([placed, replace(blob, centre=centre[None])])
    return placed


def draw(blobs: Sequence[Blobs], axes: tuple[Tensor, Tensor, Tensor], tissue: Int64[Tensor, "b *s"],
         prevalence: float | None, rounding: Sequence[float]) -> Drawn:
    r"""The subjects' lesions on their grid. A plaque stays within white matter, a mass within the brain.

    Where lesions overlap, a voxel is of the one in which it lies deepest, $|p - c| / \rho$ being least; of two equals,
    of the earlier. With a `prevalence`, all borders of a subject grow or shrink together until the lesions hold
    that share of its voxels, rounded down after `rounding`, a number in 0..1, was added: right on average.
    Shapes: one `Blobs` and one `rounding` for each of b subjects; axes `(X,)`, `(Y,)`, `(Z,)`. Units: mm. Chapter 1.
    """
    every, dim, device = Blobs.join(blobs), tissue.ndim - 1, tissue.device
    owner, nearness = _nearest(blobs, axes[:dim])
    kind = torch.as_tensor(np.append(every.kind, 0), device=device)[owner]
    radius = torch.as_tensor(np.append(every.radius, 1), dtype=torch.float32, device=device)[owner]
    allowed = torch.where(kind == PLAQUE, tissue == 3, tissue > 0)
    inner = torch.where(allowed, nearness, torch.inf)
    border = torch.ones(len(blobs), device=device)
    if prevalence is not None:
        wished = [int(prevalence * tissue[0].numel() + extra) for extra in rounding]
        border = torch.stack([_border_of(level, count) for level, count in zip(inner, wished)]) if wished else border
    border = border.reshape(-1, *[1] * dim)
    inside = inner < border

    # numbers run on over the batch, without the lesions of which no voxel is left; then each subject's start at 1
    present = torch.zeros(len(every) + 1, dtype=torch.int64, device=device)
    present[owner[inside]] = 1
    number = torch.cumsum(present, 0)
    first = torch.as_tensor(np.cumsum([0, *map(len, blobs)])[:-1], device=device)
    before = (number - present)[first].reshape(-1, *[1] * dim)
    return Drawn(torch.where(inside, kind, 0), torch.where(inside, number[owner] - before, 0), kind,
                 (border - nearness) * radius)


# ---------------------------------------------------------------------------------------------------------------------
# On the grid

def _nearest(blobs: Sequence[Blobs], axes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Each voxel's lesion, as its row among all the batch's or -1, and how near it is: |p - c| / rho, or inf."""
    batch, dim, space, device = len(blobs), len(axes), [len(axis) for axis in axes], axes[0].device
    every, voxels = Blobs.join(blobs), math.prod(space)
    owner = torch.full((batch * voxels,), len(every), dtype=torch.int64, device=device)
    nearest = torch.full((batch * voxels,), torch.inf, device=device)
    if len(every) > 0:
        # every lesion is drawn in a patch of the grid around it, all patches of the batch at once
        spacing = FIELD_OF_VIEW_MM / space[0]
        half = math.ceil(REACH * (1 + sum(WOBBLE)) * every.radius.max() / spacing)
        steps = torch.arange(-half, half + 1, device=device)
        centre, radius, amplitude, axis = (
            torch.as_tensor(value, dtype=torch.float32, device=device)
            for value in (every.centre, every.radius, every.amplitude, every.axis))
        subject = torch.as_tensor(np.repeat(np.arange(batch), [len(b) for b in blobs]), device=device)
        voxel, offsets = subject.reshape(-1, *[1] * dim), []
        valid = torch.ones_like(voxel, dtype=torch.bool)
        for d in range(dim):
            shape = [-1, *(len(steps) if e == d else 1 for e in range(dim))]
            index = ((centre[:, d] - axes[d][0]) / spacing).round().long()[:, None] + steps
            valid = valid & ((index >= 0) & (index < space[d])).reshape(shape)
            index = index.clamp(0, space[d] - 1)
            voxel = voxel * space[d] + index.reshape(shape)
            offsets.append((axes[d][index] - centre[:, d, None]).reshape(shape))
        offsets += [torch.zeros((), device=device)] * (3 - dim)
        offset = torch.stack(torch.broadcast_tensors(*offsets), dim=-1).flatten(1, -2)
        voxel, valid = voxel.flatten(1), valid.flatten(1)

        x, y, z = offset.unbind(-1)
        distance = (x * x + y * y + z * z).sqrt()
        direction = offset / distance.clamp_min(1e-3)[..., None]
        nearness = distance / _border(radius[:, None], amplitude[:, None], axis[:, None], direction)
        nearness = torch.where(valid & (nearness < REACH), nearness, torch.inf)
        nearest.scatter_reduce_(0, voxel.flatten(), nearness.flatten(), "amin")
        row = torch.arange(len(every), device=device)[:, None]
        row = torch.where((nearness == nearest[voxel]) & nearness.isfinite(), row, len(every))
        owner.scatter_reduce_(0, voxel.flatten(), row.flatten(), "amin")
    owner = torch.where(owner == len(every), -1, owner)
    return owner.reshape(batch, *space), nearest.reshape(batch, *space)


def _border_of(nearness: Float[Tensor, "*s"], count: int) -> Float[Tensor, ""]:
    """The nearness below which there are this many voxels; all, where there are no more."""
    finite = nearness[nearness.isfinite()]
    return finite.kthvalue(count + 1).values if count < len(finite) else nearness.new_tensor(REACH)


# ---------------------------------------------------------------------------------------------------------------------
# In the brain

def _draw(spec: LesionSpec, dim: int, rng: np.random.Generator) -> Blobs:
    """What the subject is to have, without a place yet."""
    diagnosis = rng.choice(3, p=np.asarray(spec.diagnosis) / sum(spec.diagnosis))
    if diagnosis == 0:
        return _NOTHING
    masses = int(rng.integers(spec.masses[0], spec.masses[1] + 1)) if diagnosis == 2 else 0
    plaques = int(rng.integers(0 if masses else spec.plaques[0], spec.plaques[1] + 1))
    kind = np.repeat([MASS, PLAQUE], [masses, plaques])
    low, high = np.array([(0, 0), spec.plaque_mm, spec.mass_mm])[kind].T
    n = len(kind)
    axis = rng.standard_normal((n, 3, 3))
    if dim == 2:
        axis[..., 2] = 0
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    return Blobs(kind, np.zeros((n, 3)), rng.uniform(low, high) / 2, rng.uniform(-1, 1, (n, 3)) * WOBBLE, axis)


def _to_prevalence(blobs: Blobs, share: float | None, dim: int) -> Blobs:
    """As many of the lesions as come nearest to this share of the field of view, scaled to meet it."""
    if share is None or len(blobs) == 0:
        return blobs
    ball = (4 / 3 if dim == 3 else 1) * math.pi
    content = np.cumsum(ball * blobs.radius ** dim)
    wished = share * FIELD_OF_VIEW_MM ** dim
    keep = 1 + np.abs(content - wished).argmin()
    return replace(blobs[:keep], radius=blobs.radius[:keep] * (wished / content[keep - 1]) ** (1 / dim))


def _choose_centre(blob: Blobs, placed: Blobs, partner: int | None, room: Room,
                   rng: np.random.Generator) -> np.ndarray | None:
    """A centre for the blob, against its partner or apart from all others; None where there is no such place."""
    radius = blob.radius[0]
    if len(room.points) == 0:
        return None
    # a small lesion lies mostly in white matter, a large one at least where that is deepest
    points = room.points[room.depth >= min(0.5 * radius + 1, 0.7 * room.depth.max())]
    if partner is not None:
        furthest = CLOSENESS[1] * (1 + sum(WOBBLE)) * (radius + placed.radius[partner])
        points = points[((points - placed.centre[partner]) ** 2).sum(-1) < furthest ** 2]
    if len(placed):
        offset = points[:, None] - placed.centre
        distance = np.sqrt((offset ** 2).sum(-1))
        direction = offset / np.maximum(distance, 1e-3)[..., None]
        borders = placed.border(direction) + blob.border(-direction)
        closeness, apart = distance / borders, distance >= borders + GAP_MM
        if partner is None:
            fits = apart.all(1)
        else:
            may_touch = (closeness >= CLOSENESS[0]) & (placed.kind == PLAQUE)
            fits = (apart | may_touch).all(1) & (closeness[:, partner] <= CLOSENESS[1])
        points = points[fits]
    return rng.choice(points) if len(points) else None


def _border(radius, amplitude, axis, direction):
    """r (1 + sum a_l P_l(n . v_l)) for l = 2, 3, 4, in plain arithmetic: the same for arrays and tensors."""
    wobble = 1
    for i, legendre in enumerate(_LEGENDRE):
        v = axis[..., i, :]
        cosine = direction[..., 0] * v[..., 0] + direction[..., 1] * v[..., 1] + direction[..., 2] * v[..., 2]
        wobble = wobble + amplitude[..., i] * legendre(cosine)
    return radius * wobble


_LEGENDRE = (
    lambda x: 1.5 * x * x - 0.5,
    lambda x: (2.5 * x * x - 1.5) * x,
    lambda x: (4.375 * x * x - 3.75) * x * x + 0.375,
)

_NOTHING = Blobs(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3, 3)))
