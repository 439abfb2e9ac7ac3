import matplotlib.pyplot as plt
import torch

from helpers.api.data import SCAN
from helpers.api.places import normal_numbers, random_labels
from medlearn import data, viz

BRAIN = data.load_mni152()


def drawn(draw):
    def run(place):
        figure, axes = plt.subplots()
        try:
            draw(axes, place)
        finally:
            plt.close(figure)
    return run


def explored(place):
    sliders = {"t_mm": place(torch.tensor([1.0, 2.0]))}
    viz.explore(lambda t_mm: plt.imshow(t_mm * SCAN.image[0, 0].numpy()) and None, alt="a slice", **sliders)


def a_slice(axes, place):
    viz.show_slice(axes, place(SCAN.image[0, 0]), labels=place(SCAN.tissue[0]), names=data.TISSUES,
                   affine=place(SCAN.affine[0]))


def a_plane(axes, place):
    viz.show_plane(axes, place(BRAIN.t1), labels=place(BRAIN.labels), names=data.TISSUES, **where(place))


def a_triangle(axes, place):
    viz.simplex_triangle(axes, place(normal_numbers(10, 3).softmax(1)), labels=place(random_labels(3, 10)),
                         names=["a", "b", "c"])


def where(place):
    return {"plane": "axial", "at_mm": 10.0, "affine": place(torch.as_tensor(BRAIN.affine))}


CALLS = {
    "viz.show_slice": drawn(a_slice), "viz.show_plane": drawn(a_plane), "viz.simplex_triangle": drawn(a_triangle),
    "viz.show_labels": drawn(lambda axes, place: viz.show_labels(axes, place(SCAN.tissue[0]))),
    "viz.slice_of": lambda place: viz.slice_of(place(BRAIN.t1), **where(place)), "viz.explore": explored,
}
