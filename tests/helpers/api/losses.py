import inspect

import torch

from helpers.api.places import OnCpu, call, normal_numbers, random_labels, random_numbers, slope
from medlearn import losses

LOGITS, LABELS = normal_numbers(2, 4, 9, 8), random_labels(4, 2, 9, 8)
SOLID = normal_numbers(2, 4, 5, 6, 4), random_labels(4, 2, 5, 6, 4)
REGIONS, KNOWN = random_numbers(2, 4, 9, 8) > 0.5, random_numbers(2, 4, 9, 8, seed=1) > 0.2
SOME_IGNORED = LABELS.clone()
SOME_IGNORED[:, 0] = 255
OPTIONS = {
    "ignore_index": {"ignore_index": 255}, "weight": {"weight": [1.0, 2.0, 3.0, 4.0]},
    "weight on the CPU": {"weight": OnCpu(torch.tensor([1.0, 2.0, 3.0, 4.0]))},
    "weight there": {"weight": torch.tensor([1.0, 2.0, 3.0, 4.0])},
    "batch": {"batch": True}, "background": {"include_background": False}, "squared": {"squared": True},
    "smoothing": {"label_smoothing": 0.1}, "each": {"reduction": "none"},
    "alpha": {"alpha": 0.25}, "alphas": {"alpha": OnCpu(torch.tensor([0.1, 0.2, 0.3, 0.4]))},
    "regions": {"where": KNOWN},
}


def needed(name, labels):
    """What a loss cannot do without."""
    if name in ("focal_loss", "FocalLoss"):
        return {"gamma": 2.0}
    distance = {"distance_mm": losses.signed_distance_mm(labels, spacing_mm=(1.0,) * (labels.ndim - 1), classes=4)}
    return distance if name == "boundary_loss" else {}


def with_distances(logits, labels, distance_mm):
    return losses.BoundaryLoss()(logits, labels, distance_mm=distance_mm)


CALLS = {}
for name in [n for n in losses.__all__ if n.endswith("_loss") or n in ("cross_entropy", "overlap_counts")]:
    function, always = getattr(losses, name), needed(name, LABELS)
    truth = {"ignore_index": SOME_IGNORED, "regions": REGIONS}
    CALLS[f"losses.{name}"] = {"2D": slope(function, LOGITS, LABELS, **always),
                               "3D": slope(function, *SOLID, **needed(name, SOLID[1]))} | {
        what: slope(function, LOGITS, truth.get(what, LABELS), **always, **options)
        for what, options in OPTIONS.items() if set(options) <= set(inspect.signature(function).parameters)}
for name in [n for n in losses.__all__ if n.endswith("Loss") and n != "BoundaryLoss"]:
    CALLS[f"losses.{name}"] = slope(getattr(losses, name)(**needed(name, LABELS)), LOGITS, LABELS)
CALLS["losses.BoundaryLoss"] = call(with_distances, LOGITS, LABELS, needed("boundary_loss", LABELS)["distance_mm"])
CALLS["losses.signed_distance_mm"] = call(losses.signed_distance_mm, LABELS, spacing_mm=(1.0, 2.0), classes=4)
CALLS["losses.soft_skeleton"] = slope(losses.soft_skeleton, random_numbers(2, 4, 9, 8))

instance = torch.zeros(2, 16, 16, dtype=torch.int64)
instance[:, 2:6, 2:6], instance[:, 8:13, 8:12], instance[0, 2:5, 8:10] = 1, 2, 3
CALLS["losses.border_weights"] = call(losses.border_weights, instance)
