r"""A cohort of as many subjects as are asked for: subject i of seed s is a function of (s, i), its labels exact."""
from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import product
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.validation import check_choice, check_whole, kind_of
from medlearn.data._ranges import check_range
from medlearn.data.brain import load_mni152, most_probable, sample
from medlearn.data.deformation import Deformation, displace
from medlearn.data.lesions import PLAQUE, Blobs, Drawn, LesionSpec, Room, draw, place
from medlearn.data.scan import FIELD_OF_VIEW_MM, Scan, check_grid, grid_affine, grid_axes
from medlearn.physics.mri import (LARGEST_BIAS, bias_field, inversion_recovery, rician_noise, spin_echo,
                                  spoiled_gradient_echo)
from medlearn.physics.protocols import MR_PROTOCOLS, REFERENCE_T, MRProtocol, acquire, relaxation_at

TISSUE_PARAMETERS = np.array([         # at 3 tesla, of CSF, grey matter, white matter, plaque and mass
    [1.0, 0.82, 0.70, 0.80, 0.92],                      # proton density
    [4000.0, 1331.0, 832.0, 1600.0, 2600.0],            # T1 in ms
    [500.0, 42.0, 45.0, 60.0, 80.0],                    # T2* in ms
])
T2_MS = np.array([1900.0, 110.0, 80.0, 200.0, 220.0])   # of the same five, for the spin echoes
CONTRASTS = ("T1", "T2", "FLAIR")
SPIN_ECHO = dict(tr_ms=9000.0, te_ms=100.0)             # T2-weighted; and FLAIR, with
FLUID_NULL_MS = 2400.0                                  # the inversion time at which fluid passes through 0
VARIATION = 0.04            # standard deviation of the logarithm of each, between subjects

SLICE_MM = (0.0, 40.0)      # heights of 2D slices: the lateral ventricles, and the white matter above them
EDGE_MM = 2.5               # a lesion's intensity takes this long from outside to inside
CORE_MM = (3.0, 9.0)        # between these depths a mass darkens towards its core,
CORE_LOSS = 0.35            # which has lost this share of its signal
CHUNK_VOXELS = 2 ** 20      # made at a time, which bounds the memory and stays near the cache
ROOM_SIZE = {2: 80, 3: 52}  # grid of the places where a lesion may be centred: every 2.6 mm, and every 4 mm
SHALLOWEST_MM = 2.0         # such a place lies at least this deep in the white matter
DEPTH_MM = 2                # spacing of the map of depths
DRAWN = ("tr_ms", "te_ms", "flip_deg", "bias", "noise")         # in this order, for each subject
LARGEST = {"bias": LARGEST_BIAS, "noise": 100.0}    # with more, nothing but noise is left


@dataclass(frozen=True, kw_only=True)
class Protocol:
    r"""The scanner's settings, each drawn for each subject between a lowest and a highest value.

    `tr_ms`, `te_ms`, `flip_deg` of the spoiled gradient echo; `bias`, the standard deviation of the logarithm of the
    coil's sensitivity; `noise`, the standard deviation in each channel as a share of white matter's signal.
    Three are the same for all: `field_t`, the magnet; `voxel_mm`, the width of the voxels that are measured, or None
    for those of the grid; and `contrast`, "T1" of the gradient echo, "T2" of a spin echo with TR 9000 and TE 100 ms, or
    "FLAIR", the same after an inversion 2400 ms before, which nulls fluid.
    `Protocol.of("1.5 T")` is one of `medlearn.physics.MR_PROTOCOLS`.
    Units: `tr_ms` and `te_ms` in ms, `flip_deg` in degrees, `field_t` in tesla, `voxel_mm` in mm; `bias` and `noise`
    have none.
    Errors: ValueError for a range whose ends are not in order or below 0, a bias above 2, noise above 100, another
    contrast, T2 or FLAIR in another field than 3 T, and as `medlearn.physics.MRProtocol`.
    Source: FLAIR, Hajnal et al. 1992, doi:10.1097/00004728-199211000-00001. Chapters 1, 12 and 18.

    >>> scan = BrainCohort(size=64, protocol=Protocol(noise=(0.08, 0.08))).batch([0])
    >>> round(scan.image[0, 0, :8].mean().item(), 2)            # of air: 0.08 sqrt(pi / 2)
    0.1
    """

    tr_ms: tuple[float, float] = (15.0, 25.0)
    te_ms: tuple[float, float] = (3.0, 6.0)
    flip_deg: tuple[float, float] = (22.0, 35.0)
    bias: tuple[float, float] = (0.0, 0.1)
    noise: tuple[float, float] = (0.005, 0.04)
    field_t: float = REFERENCE_T
    voxel_mm: float | None = None
    contrast: Literal["T1", "T2", "FLAIR"] = "T1"

    def __post_init__(self):
        if check_choice("contrast", self.contrast, CONTRASTS) != "T1" and self.field_t != REFERENCE_T:
            raise ValueError(f"field_t: expected {REFERENCE_T:g} T with {self.contrast}, whose relaxation times were "
                             f"measured there, got {self.field_t:g}")
        for name in DRAWN:
            check_range(name, getattr(self, name), most=LARGEST.get(name, math.inf))
        for te, flip in product(self.te_ms, self.flip_deg):         # a scanner that is refused there is refused here
            MRProtocol(field_t=self.field_t, tr_ms=self.tr_ms[0], te_ms=te, flip_deg=flip, voxel_mm=self.voxel_mm,
                       source="these settings")

    @staticmethod
    def of(settings: str | MRProtocol) -> Protocol:
        r"""The scanner with these `settings` and no others, by their name in `MR_PROTOCOLS` or themselves. Chapter 18.

        >>> Protocol.of("1.5 T").field_t, Protocol.of("1.5 T").noise
        (1.5, (0.04, 0.04))
        """
        if not isinstance(settings, MRProtocol):
            settings = MR_PROTOCOLS[check_choice("settings", settings, list(MR_PROTOCOLS))]
        return Protocol(tr_ms=(settings.tr_ms,) * 2, te_ms=(settings.te_ms,) * 2, flip_deg=(settings.flip_deg,) * 2,
                        bias=(settings.bias,) * 2, noise=(1 / settings.snr,) * 2, field_t=settings.field_t,
                        voxel_mm=settings.voxel_mm)


@dataclass(frozen=True, init=False)
class BrainCohort:
    r"""Patients made from the MNI152 brain, as many as are asked for, never the template itself.

    A subject is a smooth random deformation of the template, the signal equation's contrast with its own relaxation
    times and `protocol`, `lesions`, bias field and Rician noise. The same subject has the same anatomy and the same
    scanner whatever its lesions are, and the same lesions, up to the voxels, whatever the size.
    Shapes: `size` voxels along each of `dim` axes, 2 or 3. Units: a field of view of 208 mm; a 2D subject is one axial
    slice at a height of 0 to 40 mm. Another `seed` makes other patients.
    Errors: ValueError for a seed below 0, another `dim` or a `size` below 32.
    Source: T1, T2 and T2* of grey and white matter at 3 T as of Wansapura et al. 1999, JMRI 9:531,
    doi:10.1002/(SICI)1522-2586(199904)9:4<531::AID-JMRI4>3.0.CO;2-L; T2 of fluid about that around the brain in
    PMC10696635; those of the lesions are chosen, long as in chronic plaques and tumours. Chapter 1.

    >>> cohort = BrainCohort(seed=7, size=32)
    >>> scan = cohort.batch(range(3))
    >>> scan.image.shape, torch.equal(scan[2].image, cohort.batch([2]).image)
    (torch.Size([3, 1, 32, 32]), True)
    """

    seed: int
    size: int
    dim: int
    lesions: LesionSpec
    protocol: Protocol

    def __init__(self, *, seed: int | np.integer = 0, size: int | np.integer = 128, dim: int | np.integer = 2,
                 lesions: LesionSpec = LesionSpec(), protocol: Protocol = Protocol()) -> None:
        size, dim = check_grid(size, dim)
        for name, value in {"seed": check_whole("seed", seed), "size": size, "dim": dim, "lesions": lesions,
                            "protocol": protocol}.items():
            object.__setattr__(self, name, value)

    def earlier(self, indices: Iterable[int | np.integer] | np.ndarray | Tensor, *, new: int | np.integer,
                device: torch.device | str | None = None) -> Scan:
        r"""An earlier visit of the subjects: without the last `new` of their lesions, and with other noise.

        Anatomy, scanner and all other lesions are those of `batch`, so what `batch` has besides came between the
        visits. Who has no more lesions than `new` has none yet. The head lies as it lay: nothing is moved.
        Shapes: as `batch`. Errors: as `batch`; ValueError for a cohort whose `prevalence` is set, since all borders
        would move to meet it. Chapter 1.

        >>> cohort = BrainCohort(size=64, lesions=LesionSpec(diagnosis=(0.0, 1.0, 0.0)))
        >>> (cohort.batch([0]).instance.max() - cohort.earlier([0], new=2).instance.max()).item()
        2
        """
        if self.lesions.prevalence is not None:
            raise ValueError(f"prevalence: expected None for an earlier visit, got {self.lesions.prevalence}")
        return self._made(indices, device, new=check_whole("new", new))

    def batch(self, indices: Iterable[int | np.integer] | np.ndarray | Tensor,
              device: torch.device | str | None = None) -> Scan:
        r"""The subjects of these numbers, the `indices`, in this order, made on the `device`, the CPU when left out.

        Shapes: as `Scan`; a subject is the same bit for bit in every batch, and on another device up to rounding.
        No number gives an empty scan. Errors: ValueError for a number below 0, TypeError for anything but a whole
        number. Chapter 1.
        """
        return self._made(indices, device)

    def _made(self, indices: Iterable[int | np.integer] | np.ndarray | Tensor, device: torch.device | str | None,
              new: int = 0) -> Scan:
        if isinstance(indices, str) or not isinstance(indices, Iterable):
            raise TypeError(f"indices: expected whole numbers in a row, got {kind_of(indices)}")
        listed = indices.tolist() if isinstance(indices, (np.ndarray, Tensor)) else indices
        subjects = [check_whole("indices", i) for i in listed]
        device = torch.device(device or "cpu")
        # Apple's GPU cannot interpolate in 3D
        maker = torch.device("cpu") if device.type == "mps" else device
        step = max(1, CHUNK_VOXELS // self.size ** self.dim)
        chunks = [self._chunk(subjects[n:n + step], maker, new) for n in range(0, len(subjects) or 1, step)]
        whole = Scan(*(torch.cat([getattr(chunk, field.name) for chunk in chunks]) for field in fields(Scan)))
        return whole.to(device)

    def _chunk(self, indices: list[int], device: torch.device, new: int) -> Scan:
        subjects = [_Subject.draw(self, i, new) for i in indices]
        x, y, z = grid_axes(self.size, self.dim, 0.0)
        heights = z if self.dim == 3 else np.array([[s.z_mm] for s in subjects]).reshape(-1, 1)
        points = displace([s.deformation for s in subjects], (x, y, heights), device)
        points = points if self.dim == 3 else points[..., 0]

        values = sample(_template(device), load_mni152().affine, points)
        t1, probability = values[:, 0], values[:, 1:]
        tissue = most_probable(probability)
        axes = _float32(x, device), _float32(y, device), _float32(z, device)
        lesions = draw([s.lesions for s in subjects], axes, tissue, self.lesions.prevalence_of_the_ill,
                       [s.rounding for s in subjects])
        signal = _float32([s.signal for s in subjects], device).reshape(-1, 5, *[1] * self.dim)
        image = _contrast(t1, probability, lesions, signal)[:, None]
        image = image * bias_field((len(subjects), *image.shape[2:]), _float32([s.bias for s in subjects], device),
                                   generator=[s.coil for s in subjects], device=device)
        image = self._measured(image, _float32([s.noise for s in subjects], device), [s.thermal for s in subjects])
        affine = np.array([grid_affine(self.size, self.dim, s.z_mm) for s in subjects]).reshape(-1, 4, 4)
        return Scan(image, tissue, lesions.lesion, lesions.instance, torch.from_numpy(affine).to(device))

    def _measured(self, image: Tensor, noise: Tensor, generators: list[Generator]) -> Tensor:
        if self.protocol.voxel_mm is None:
            return rician_noise(image, noise, generator=generators)
        return acquire(image, noise, voxel_mm=self.protocol.voxel_mm, spacing_mm=FIELD_OF_VIEW_MM / self.size,
                       generator=generators)


@dataclass(frozen=True, eq=False)
class _Subject:
    """All that is drawn for a subject before its voxels are made."""

    deformation: Deformation
    z_mm: float | None
    lesions: Blobs
    rounding: float
    signal: np.ndarray              # of CSF, grey, white, plaque and mass; white matter is 1
    bias: float
    noise: float
    coil: Generator
    thermal: Generator

    @staticmethod
    def draw(cohort: BrainCohort, index: int, new: int = 0) -> _Subject:
        # a stream for each purpose: other lesions leave the anatomy and the scanner as they were
        *streams, electronics = np.random.SeedSequence([cohort.seed, index]).spawn(4)
        anatomy, scanner, disease = map(np.random.default_rng, streams)
        coil, *thermal = (Generator().manual_seed(int(seed)) for seed in electronics.generate_state(3, np.uint64))

        z_mm = anatomy.uniform(*SLICE_MM) if cohort.dim == 2 else None
        deformation = Deformation.draw(anatomy)
        tr, te, flip, bias, noise = (scanner.uniform(*getattr(cohort.protocol, name)) for name in DRAWN)
        tissue = torch.from_numpy(TISSUE_PARAMETERS * np.exp(VARIATION * scanner.standard_normal((3, 5))))
        density, t1, t2star = tissue
        if cohort.protocol.field_t != REFERENCE_T:
            solid = relaxation_at(t1[1:], t2star[1:], field_t=cohort.protocol.field_t)      # all but CSF
            t1, t2star = (torch.cat([all_[:1], part]) for all_, part in zip((t1, t2star), solid))
        if cohort.protocol.contrast == "T1":
            signal = spoiled_gradient_echo(density, t1_ms=t1, t2star_ms=t2star, tr_ms=tr, te_ms=te, flip_deg=flip)
        else:                                               # T2 differs between subjects as T2* does
            times = dict(t1_ms=t1, t2_ms=t2star * torch.from_numpy(T2_MS / TISSUE_PARAMETERS[2]), **SPIN_ECHO)
            signal = (spin_echo(density, **times) if cohort.protocol.contrast == "T2"
                      else inversion_recovery(density, ti_ms=FLUID_NULL_MS, **times).abs())
        rounding = disease.uniform()
        lesions = place(cohort.lesions, _room(deformation, z_mm, disease), cohort.dim, disease)
        lesions = lesions[:max(0, len(lesions) - new)]
        return _Subject(deformation, z_mm, lesions, rounding, (signal / signal[2]).numpy(), bias, noise, coil,
                        thermal[new > 0])                   # each visit has noise of its own


def _room(deformation: Deformation, z_mm: float | None, rng: np.random.Generator) -> Room:
    """The subject's deep white matter. It is looked up on the CPU, so that every device gets the same places."""
    dim = 3 if z_mm is None else 2
    spacing = FIELD_OF_VIEW_MM / ROOM_SIZE[dim]
    x, y, z = (axis + rng.uniform(-0.5, 0.5) * spacing * (d < dim)
               for d, axis in enumerate(grid_axes(ROOM_SIZE[dim], dim, z_mm)))
    affine, depth = _white_depth()
    index = np.rint((deformation((x, y, z)).reshape(3, -1).T - affine[:3, 3]) / DEPTH_MM).astype(int)
    depth = depth[tuple(index.clip(0, np.array(depth.shape) - 1).T)]
    deep = depth >= SHALLOWEST_MM
    return Room(np.stack(np.meshgrid(x, y, z, indexing="ij"), axis=-1).reshape(-1, 3)[deep], depth[deep])


def _contrast(t1: Float[Tensor, "b *s"], probability: Float[Tensor, "b 3 *s"], lesions: Drawn,
              signal: Float[Tensor, "b 5 *one"]) -> Float[Tensor, "b *s"]:
    """The template's own image, with each tissue's mean moved to its signal; then the lesions, with soft borders."""
    image = t1
    for k, level in enumerate(_template_levels()):
        image = image + probability[:, k] * (signal[:, k] - level)
    csf, grey, white = probability.unbind(1)
    is_plaque = lesions.kind == PLAQUE
    share = (0.5 + lesions.depth_mm / EDGE_MM).clamp(0, 1) * torch.where(is_plaque, white, csf + grey + white)
    core = 1 - CORE_LOSS * ((lesions.depth_mm - CORE_MM[0]) / (CORE_MM[1] - CORE_MM[0])).clamp(0, 1)
    lesion = torch.where(is_plaque, signal[:, 3], signal[:, 4] * core)
    return (image + share * (lesion - image)).clamp_min(0)


def _float32(values: np.ndarray | list, device: torch.device) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float32, device=device)


@lru_cache(maxsize=2)
def _template(device: torch.device) -> Float[Tensor, "4 x y z"]:
    """T1 with white matter at 1, and the three probabilities, a voxel's four values side by side in memory."""
    brain = load_mni152()
    values = torch.stack([brain.t1 / brain.white_level, *brain.probabilities], dim=-1)
    return values.to(device).movedim(-1, 0)


@lru_cache(maxsize=1)
def _template_levels() -> list[float]:
    """The template's mean intensity in each pure tissue, white matter at 1."""
    brain = load_mni152()
    return [(brain.t1[p > 0.95].mean() / brain.white_level).item() for p in brain.probabilities]


@lru_cache(maxsize=1)
def _white_depth() -> tuple[np.ndarray, np.ndarray]:
    """How deep each point of a coarser grid lies below the surface of the white matter, in mm."""
    from scipy.ndimage import distance_transform_edt

    brain = load_mni152()
    white = brain.labels[::DEPTH_MM, ::DEPTH_MM, ::DEPTH_MM].numpy() == 3
    return brain.affine, distance_transform_edt(white, sampling=DEPTH_MM)
