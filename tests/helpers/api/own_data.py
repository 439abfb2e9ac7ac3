"""Augmentation, windows, prediction and its score: what becomes of the reader's own scans."""
import numpy as np
import torch

from helpers.api.nets import made
from helpers.api.places import GENERATOR, call, normal_numbers, random_labels, random_numbers
from medlearn import data, evaluate, inference
from medlearn.base.grid import Grid
from medlearn.nets import UNet

IMAGE, SOLID = 0.1 + random_numbers(2, 1, 12, 10), 0.1 + random_numbers(2, 1, 8, 7, 6)
HU = 300 * normal_numbers(2, 1, 16, 16)
VOLUME = data.Volume(normal_numbers(12, 10, 9).numpy(), Grid.from_spacing((12, 10, 9), (1.0, 1.0, 2.0)))


def changed(transform, *images):
    """In 2D, and in 3D where the transform knows it."""
    return {f"{image.ndim - 2}D": call(data.augment_batch, image, random_labels(3, len(image), *image.shape[2:]),
                                       transforms=[transform], generator=GENERATOR) for image in images}


def augmented(place):
    torch.manual_seed(0)                                    # its numbers come from torch's generator of the CPU
    pair = place((IMAGE[0], random_labels(3, 12, 10)))
    return [*data.Augmented([pair], [data.Flip((0, 1)), data.Warp()])[0]]


def blended(place):
    net = place(made(lambda: UNet(1, 3, widths=(2, 4))))
    with torch.no_grad():
        planes = inference.blended_planes(lambda windows: iter([net(windows)]), place(IMAGE[0]), patch=(8, 8))
        return [logits for _, logits in planes]


def predicted(place):
    net = place(made(lambda: UNet(1, 3, dim=3, widths=(2, 4))))
    said = inference.predict_volume(net, VOLUME, patch=8, flips=(0,), probabilities=True)
    return np.asarray(said.probabilities.array)


def drift(place, chart):
    found = chart.follow(place(random_numbers(30, seed=1)))
    return found.high, found.low


CALLS = {
    "data.Flip": changed(data.Flip((0, 1)), IMAGE, SOLID), "data.Intensity": changed(data.Intensity(), IMAGE, SOLID),
    "data.Warp": changed(data.Warp(), IMAGE, SOLID), "data.BiasField": changed(data.BiasField(), IMAGE, SOLID),
    "data.RicianNoise": changed(data.RicianNoise(), IMAGE, SOLID), "data.Speckle": changed(data.Speckle(), IMAGE),
    "data.LowDose": changed(data.LowDose(), HU), "data.Standardise": changed(data.Standardise(), IMAGE),
    "data.augment_batch": changed(data.Flip((0,)), IMAGE), "data.Augmented": augmented,
    "data.hu_window": call(data.hu_window, HU),
    "data.region_masks": call(data.region_masks, random_labels(3, 2, 12, 10),
                              regions=[data.LabelRegion("both", (1, 2), 1), data.LabelRegion("core", (2,), 2)]),
    "evaluate.DriftChart": lambda place: drift(place, evaluate.DriftChart(mean=0.5, sd=0.3, allowance=0.5, limit=2.0)),
    "evaluate.drift_chart": lambda place: drift(place, evaluate.drift_chart(
        place(random_numbers(20)), patients=10, generator=torch.Generator().manual_seed(0), draws=50)),
    "evaluate.bootstrap_interval": call(evaluate.bootstrap_interval, random_numbers(12), list("aabbccddeeff"),
                                        generator=GENERATOR, draws=50),
    "inference.blended_planes": blended, "inference.predict_volume": predicted, "inference.predict_file": predicted,
}
