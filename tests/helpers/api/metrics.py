import math

import numpy as np
import torch

from helpers.api.losses import instance
from helpers.api.places import call, normal_numbers, random_labels
from helpers.thing_examples import as_set
from medlearn import metrics, tasks
from medlearn.tasks import InstanceSet

ANSWER, TRUTH = random_labels(3, 2, 9, 8, 6), random_labels(3, 2, 9, 8, 6, seed=1)
SEEN, REAL = instance[0], instance[1].roll(1, 1)
AFFINE = torch.diag(torch.tensor([1.0, 1.0, 2.0, 1.0]))


def ratios(counts):
    return [getattr(counts, name) for name in ("dice", "iou", "sensitivity", "specificity", "precision")] + [
        counts.over_batch(), counts.foreground()]


def of_sets(function, **options):
    return lambda place: function(as_set(place(SEEN)), as_set(place(REAL)), **place(options))


def uses_of_a_set(place):
    things = as_set(place(SEEN))
    scored = InstanceSet(things.masks, things.classes, torch.linspace(0, 1, len(things), device=place.device))
    picked = [things[1], things[[0, 2]], things[things.scores > 0.5], things[torch.tensor([0, 1])],
              scored[place(torch.tensor([0, 1]))]]
    return ([things.to_semantic(), things.to_map(), InstanceSet.from_semantic(place((SEEN > 0).long())), picked],
            things == things, len(scored), repr(things), things.to("cpu").masks.sum().item())


CALLS = {
    "metrics.confusion_counts": {"ratios": lambda place: ratios(metrics.confusion_counts(*place((ANSWER, TRUTH)),
                                                                                         classes=3))},
    "metrics.surface_distances": {
        measure: call(metrics.surface_distances, ANSWER[0] == 1, TRUTH[0] == 1, spacing_mm=(1, 1, 2), measure=measure)
        for measure in ("voxels", "area")} | {
        "spacing there": call(metrics.surface_distances, ANSWER[0] == 1, TRUTH[0] == 1,
                              spacing_mm=torch.tensor([1.0, 1, 2]))},
    "metrics.surface_report": {"3D": call(metrics.surface_report, ANSWER, TRUTH, classes=3, spacing_mm=(1, 1, 2),
                                          tolerance_mm=1.0)},
    "metrics.volumes_ml": {"spacing there": call(metrics.volumes_ml, ANSWER, classes=3,
                                                 spacing_mm=torch.tensor([1.0, 1, 2]))},
    "metrics.summarise": {"with NaN": call(metrics.summarise, torch.tensor([0.1, 0.2, math.nan, math.inf]))},
    "metrics.panoptic_quality": {"maps": call(metrics.panoptic_quality, SEEN, REAL),
                                 "sets": of_sets(metrics.panoptic_quality)},
    "metrics.panoptic_quality_per_class": {"sets": of_sets(metrics.panoptic_quality_per_class)},
    "metrics.detection_f1": {"maps": call(metrics.detection_f1, SEEN, REAL, iou=0.3),
                             "sets": of_sets(metrics.detection_f1, distance_mm=3.0, affine=torch.eye(4))},
    "tasks.check_simplex": {"4 classes": call(tasks.check_simplex, normal_numbers(2, 4, 3).softmax(1))},
    "tasks.connected_components": {"labels": call(tasks.connected_components, ANSWER[0]),
                                   "mask": call(tasks.connected_components, ANSWER[0] == 1)},
    "tasks.region_measures": {"affine there": call(tasks.region_measures, ANSWER[0], AFFINE),
                              "affine of numpy": call(tasks.region_measures, SEEN, np.eye(4))},
    "tasks.InstanceSet": {"all uses": uses_of_a_set},
}
