"""Panoptic quality of 200 lesions against 200 in a volume of 256^3 voxels, beside panoptica."""
import numpy as np
from harness import ROOT, Case, Setting, Side, main

SIZE, LESIONS, FEW = 256, 200, 8
PEER = ROOT / "_build/peers/panoptica"
INSTALL = f"python3 -m venv {PEER.relative_to(ROOT)} && {PEER.relative_to(ROOT)}/bin/pip install panoptica==2.1.7"


def lesions(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two maps of balls that do not touch: the second's are moved, resized and renamed. 3 % of the volume is lesion."""
    random = np.random.default_rng(0)
    truth, answer = np.zeros((2, *[SIZE] * 3), np.uint16)
    places = np.stack(np.meshgrid(*[np.arange(20, 250, 36)] * 3), axis=-1).reshape(-1, 3)
    names = random.permutation(count) + 1
    for i, place in enumerate(random.permutation(places)[:count]):
        radius = random.uniform(3, 12)
        draw(truth, place, radius, i + 1)
        draw(answer, place + random.integers(-2, 3, 3), radius * random.uniform(0.8, 1.2), names[i])
    return truth, answer


def draw(volume: np.ndarray, centre: np.ndarray, radius: float, name: int) -> None:
    around = tuple(slice(max(c - 16, 0), c + 17) for c in centre)
    offsets = (np.arange(s.start, min(s.stop, SIZE)) - c for s, c in zip(around, centre))
    volume[around][sum(o**2 for o in np.ix_(*offsets)) < radius**2] = name


def medlearn_maps(count, dtype="int16"):
    import torch

    from medlearn.metrics.instances import panoptic_quality

    truth, answer = (torch.from_numpy(ids.astype(dtype)) for ids in lesions(count))
    return lambda: numbers(panoptic_quality(answer, truth))


def medlearn_masks(count):
    import torch

    from medlearn.metrics.instances import panoptic_quality
    from medlearn.tasks import connected_components

    truth, answer = (torch.from_numpy((ids > 0).astype(np.uint8)) for ids in lesions(count))
    return lambda: numbers(panoptic_quality(connected_components(answer), connected_components(truth)))


def panoptica_maps(count):
    from panoptica import InputType

    return panoptica_call(InputType.UNMATCHED_INSTANCE, *lesions(count))


def panoptica_masks(count):
    from panoptica import ConnectedComponentsInstanceApproximator, InputType

    truth, answer = ((ids > 0).astype(np.uint8) for ids in lesions(count))
    return panoptica_call(InputType.SEMANTIC, truth, answer,
                          instance_approximator=ConnectedComponentsInstanceApproximator())


def panoptica_call(expected, truth, answer, **options):
    from panoptica import NaiveThresholdMatching, Panoptica_Evaluator
    from panoptica.metrics import Metric
    from panoptica.utils.citation_reminder import disable_citation_reminder

    disable_citation_reminder()
    # only what panoptic quality needs: its default metrics would take half as long again
    evaluator = Panoptica_Evaluator(expected_input=expected, instance_matcher=NaiveThresholdMatching(),
                                    instance_metrics=[Metric.IOU], global_metrics=[], **options)
    return lambda: numbers(evaluator.evaluate(answer, truth, result_all=False)["ungrouped"])


def numbers(score) -> list[float]:
    return [float(value) for value in (score.pq, score.sq, score.rq, score.tp, score.fp, score.fn)]


def cases(setting: Setting):
    count, python = {"count": FEW if setting.smoke else LESIONS}, str(PEER / "bin/python")
    maps, masks = (Side("panoptica", f"panoptica_{what}", count, python) for what in ("maps", "masks"))
    yield Case("matching two maps of instances", Side("medlearn", "medlearn_maps", count), maps, faster=20, leaner=20)
    yield Case("the same, with medlearn's maps in int64",
               Side("medlearn", "medlearn_maps", count | {"dtype": "int64"}), maps)
    yield Case("from two masks, components included", Side("medlearn", "medlearn_masks", count), masks, faster=10)


if __name__ == "__main__":
    main(__file__, "Instances", __doc__, cases, INSTALL)
