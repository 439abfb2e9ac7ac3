"""HD95, ASSD and NSD together in a volume of 256^3 voxels, beside MONAI's three calls and DeepMind's surface-distance.

A small lesion (radius 6 voxels) and a large organ (80) against an answer that is 2.5 % smaller and a voxel off along
each axis, with and without a far false positive. Each peer is met under its own convention: MONAI counts voxels,
DeepMind weighs areas.
"""
from itertools import product

import numpy as np
from harness import Case, Setting, Side, main

SIZE, SMALL, TOLERANCE_MM = 256, 64, 1.0
RADII = {"lesion": 6, "organ": 80}
SPACINGS_MM = ((1.0, 1.0, 1.0), (2.5, 0.8, 0.8))


def masks(size: int, radius: float, far: bool) -> tuple[np.ndarray, np.ndarray]:
    m = size // 2
    truth, answer = ball(size, (m, m, m), radius), ball(size, (m + 1, m - 1, m + 1), 0.975 * radius)
    return truth, answer | ball(size, (size // 12,) * 3, 3) if far else answer


def ball(size: int, centre: tuple[int, int, int], radius: float) -> np.ndarray:
    offsets = (np.arange(size) - c for c in centre)
    return sum(o**2 for o in np.ix_(*offsets)) < radius**2


def medlearn(measure, spacing_mm, **which):
    import torch

    from medlearn.metrics.surface import assd, hausdorff95, nsd, surface_distances

    truth, answer = map(torch.from_numpy, masks(**which))

    def call():
        distances = surface_distances(answer, truth, spacing_mm=spacing_mm, measure=measure)
        return numbers(hausdorff95(distances), assd(distances), nsd(distances, TOLERANCE_MM))

    return call


def monai(spacing_mm, **which):
    import warnings

    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    warnings.filterwarnings("ignore", category=FutureWarning)       # about its own arguments
    # one-hot float, as its functions would make of a bool mask
    truth, answer = (torch.from_numpy(mask).float()[None, None] for mask in masks(**which))
    options = dict(include_background=True, spacing=spacing_mm)
    return lambda: numbers(compute_hausdorff_distance(answer, truth, percentile=95, **options),
                           compute_average_surface_distance(answer, truth, symmetric=True, **options),
                           compute_surface_dice(answer, truth, [TOLERANCE_MM], **options))


def deepmind(spacing_mm, **which):
    import surface_distance as peer

    truth, answer = masks(**which)

    def call():
        found = peer.compute_surface_distances(truth, answer, spacing_mm)
        sides = peer.compute_average_surface_distance(found)        # two means, which areas make into one
        areas = [found[side].sum() for side in ("surfel_areas_gt", "surfel_areas_pred")]
        return numbers(peer.compute_robust_hausdorff(found, 95), np.average(sides, weights=areas),
                       peer.compute_surface_dice_at_tolerance(found, TOLERANCE_MM))

    return call


def numbers(*values) -> list[float]:
    return [round(float(value), 3) for value in values]             # MONAI's are float32


def cases(setting: Setting):
    size = SMALL if setting.smoke else SIZE
    for (what, radius), far, spacing_mm in product(RADII.items(), (False, True), SPACINGS_MM):
        which = {"spacing_mm": spacing_mm, "size": size, "radius": min(radius, size // 3), "far": far}
        for package, peer, measure, faster in (
                ("monai", "monai", "voxels", 10.0),
                ("surface-distance", "deepmind", "area", 1.4 if what == "lesion" and not far else 7.0)):
            title = f"{what}{' and a far false positive' * far}, {' x '.join(f'{mm:g}' for mm in spacing_mm)} mm"
            yield Case(f"{title}, beside {package}", Side("medlearn", "medlearn", {"measure": measure} | which),
                       Side(package, peer, which), faster)


if __name__ == "__main__":
    main(__file__, "Surfaces", __doc__, cases, "pip install monai==1.6.1 surface-distance==0.1")
