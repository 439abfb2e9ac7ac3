"""Slices on the screen: what lies where, outlines to the voxel, the legend, and what is refused."""
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.image import AxesImage

from medlearn.viz import COLOURS, show_labels, show_plane, show_slice, slice_of, use_style
from medlearn.viz.slices import _outline

NAMES = ("none", "plaque", "mass")
PLANES = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
LETTERS = {"axial": ["R", "L", "P", "A"], "coronal": ["R", "L", "I", "S"], "sagittal": ["A", "P", "I", "S"]}


@pytest.fixture
def ax():
    with plt.rc_context():
        use_style()
        yield plt.figure(figsize=(4, 4), dpi=50).subplots()
        plt.close("all")


def affine_of(columns=(0, 1), signs=(1, 1), spacing=(1.0, 1.0)):
    """The affine of a slice along two axes of space."""
    affine = np.zeros((4, 4))
    for i, (axis, sign, step) in enumerate(zip(columns, signs, spacing)):
        affine[axis, i] = sign * step
    affine[3 - sum(columns), 2] = affine[3, 3] = 1
    return affine


def on_screen(ax, x, y):
    """Where a voxel lies in the figure, in pixels: to the right, and up."""
    ax.figure.canvas.draw()
    return ax.transData.transform((x, y))


def letters(ax):
    """Left, right, bottom, top."""
    found = {text.get_text(): text.get_position() for text in ax.texts if len(text.get_text()) == 1}
    return [min(found, key=lambda a: found[a][0]), max(found, key=lambda a: found[a][0]),
            min(found, key=lambda a: found[a][1]), max(found, key=lambda a: found[a][1])]


def outlines(ax):
    return [one for one in ax.collections if isinstance(one, LineCollection)]


def legends(figure):
    return [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]


# ---------------------------------------------------------------------------------------------------------------------
# What lies where

@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)], ids=str)
@pytest.mark.parametrize("plane", PLANES)
def test_every_grid_is_seen_from_the_same_side(ax, plane, signs):
    show_slice(ax, torch.zeros(4, 6), affine=affine_of(PLANES[plane], signs))
    assert letters(ax) == LETTERS[plane]
    toward = [np.sign(on_screen(ax, 3, 3)[i] - on_screen(ax, 0, 0)[i]) for i in (0, 1)]
    assert toward == [-signs[0], signs[1]]                  # R and A lie to the left, A and S at the top


def test_without_an_affine_the_axes_run_to_the_right_and_the_front(ax):
    show_slice(ax, torch.zeros(4, 6))
    assert letters(ax) == LETTERS["axial"]
    assert on_screen(ax, 3, 0)[0] < on_screen(ax, 0, 0)[0] and on_screen(ax, 0, 5)[1] > on_screen(ax, 0, 0)[1]
    assert not ax.lines                                     # no spacing, no scale bar


def test_the_patients_right_is_drawn_on_the_left(ax):
    """Read from the pixels of the figure itself."""
    image = torch.zeros(10, 10)
    image[9, 9] = 1                                         # to the right and to the front
    show_slice(ax, image)
    for text in list(ax.texts):
        text.remove()
    ax.set_position([0, 0, 1, 1])
    ax.figure.set_layout_engine("none")
    ax.figure.canvas.draw()
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())[..., 0]
    white = np.argwhere(pixels > 200)
    assert white.size and white.max() < 0.12 * len(pixels)  # the upper left corner


def test_a_voxels_own_coordinates_find_it(ax):
    image = torch.arange(12.0).reshape(3, 4)
    shown = show_slice(ax, image)
    assert isinstance(shown, AxesImage)
    assert np.array_equal(shown.get_array().T, image) and list(shown.get_extent()) == [-0.5, 2.5, -0.5, 3.5]


def test_voxels_have_their_shape_and_the_bar_its_length(ax):
    show_slice(ax, torch.zeros(40, 20), affine=affine_of(spacing=(0.5, 2.0)))
    (x0, y0), (x1, y1) = on_screen(ax, 0, 0), on_screen(ax, 1, 1)
    assert (y1 - y0) / (x0 - x1) == pytest.approx(4)
    left, right = ax.lines[0].get_xdata()
    assert (right - left) * 40 * 0.5 == pytest.approx(5) and "5 mm" in [text.get_text() for text in ax.texts]


def test_an_oblique_axis_has_the_letters_it_is_nearest_to(ax):
    turned = affine_of()
    turned[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    show_slice(ax, torch.zeros(4, 4), affine=turned)
    assert letters(ax) == LETTERS["axial"]


def test_the_window_sets_black_and_white(ax):
    image = torch.tensor([[0.0, 10.0], [20.0, 30.0]])
    assert show_slice(ax, image).get_clim() == (0, 30)
    assert show_slice(ax, image, window=(5.0, 25.0)).get_clim() == (5, 25)


@pytest.mark.parametrize("dtype",
                         [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.uint8, torch.int16,
                          torch.int64, torch.bool], ids=str)
def test_pictures_of_every_real_type_are_drawn(ax, dtype):
    show_slice(ax, torch.tensor([[0, 1], [1, 0]]).to(dtype), labels=torch.tensor([[0, 1], [1, 0]]), names=NAMES)
    ax.figure.canvas.draw()


def test_numpy_and_a_tensor_with_a_gradient_are_drawn(ax):
    show_slice(ax, np.zeros((2, 2)), labels=np.ones((2, 2), dtype=bool))
    show_slice(ax, torch.zeros(2, 2, requires_grad=True))
    ax.figure.canvas.draw()


# ---------------------------------------------------------------------------------------------------------------------
# Labels

def edges(mask):
    """Voxel by voxel: each side that has a voxel of the mask on one hand only."""
    inside = {tuple(map(int, voxel)) for voxel in np.argwhere(mask)}
    found = set()
    for x, y in inside:
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            if (x + dx, y + dy) not in inside:
                middle = np.array([x + dx / 2, y + dy / 2])
                along = np.array([dy, dx]) / 2
                found.add(tuple(sorted([tuple(middle - along), tuple(middle + along)])))
    return found


@settings(max_examples=50, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6))))
def test_an_outline_is_every_voxel_edge_between_inside_and_outside(mask):
    found = [tuple(sorted(map(tuple, edge))) for edge in _outline(mask).tolist()]
    assert len(found) == len(set(found)) and set(found) == edges(mask)


def test_classes_are_filled_outlined_and_named_once(ax):
    labels = torch.zeros(5, 5, dtype=torch.int64)
    labels[1, 1], labels[3, 3] = 1, 2
    show_slice(ax, torch.zeros(5, 5), labels=labels, names=NAMES, alpha=0.5)
    fill = ax.images[1].get_array()
    assert fill.shape == (5, 5, 4) and np.allclose(fill[0, 0], 0)
    assert np.allclose(fill[1, 1], (*to_rgb(COLOURS["plaque"]), 0.5))
    assert np.allclose(fill[3, 3], (*to_rgb(COLOURS["mass"]), 0.5))
    assert [to_hex(one.get_color()[0]).upper() for one in outlines(ax)] == [COLOURS["plaque"], COLOURS["mass"]]
    assert legends(ax.figure) == [["plaque", "mass"]]


def test_the_fill_lies_where_the_label_is(ax):
    labels = torch.zeros(3, 4, dtype=torch.int64)
    labels[2, 0] = 1
    show_slice(ax, torch.zeros(3, 4), labels=labels, names=NAMES)
    assert np.argwhere(ax.images[1].get_array()[..., 3]).tolist() == [[0, 2]]       # rows are y
    segments = np.array(outlines(ax)[0].get_segments())
    assert segments.min((0, 1)).tolist() == [1.5, -0.5] and segments.max((0, 1)).tolist() == [2.5, 0.5]


def test_alpha_zero_leaves_the_outlines(ax):
    show_slice(ax, torch.zeros(3, 3), labels=torch.eye(3, dtype=torch.int64), names=NAMES, alpha=0.0)
    assert len(ax.images) == 1 and len(outlines(ax)) == 1


def test_things_are_outlines_of_colours_of_their_own(ax):
    show_slice(ax, torch.zeros(4, 4), labels=torch.arange(16).reshape(4, 4) % 8)
    assert len(ax.images) == 1 and ax.figure.legends == []
    colours = [to_hex(one.get_color()[0]) for one in outlines(ax)]
    assert len(set(colours)) == 7 and "#000000" not in colours


def test_labels_as_high_as_integers_go_take_a_few_colours_and_no_memory(ax):
    labels = torch.tensor([[0, 1], [2**62, 2**62 + 1]])
    show_slice(ax, torch.zeros(2, 2), labels=labels)
    assert len(outlines(ax)) == 3
    show_labels(ax, labels)
    show_labels(ax, labels.numpy().astype(np.uint64) * 2)
    shown = ax.images[-2].get_array()
    assert len(np.unique(shown.reshape(-1, 4), axis=0)) == 4
    assert np.allclose(shown[0, 0, :3], 0.13)
    with pytest.raises(ValueError, match="expected 0 to 1, a name for each"):
        show_labels(ax, labels, names=["none", "lesion"])


@pytest.mark.parametrize("labels", [None, torch.zeros(3, 3, dtype=torch.int64), torch.zeros(3, 3, dtype=torch.bool)],
                         ids=["no labels", "no thing", "empty mask"])
def test_where_there_is_no_label_there_is_no_overlay(ax, labels):
    show_slice(ax, torch.zeros(3, 3), labels=labels)
    assert len(outlines(ax)) == 0 and len(ax.images) == 1


def test_one_legend_for_all_panels_with_all_names(ax):
    axes = plt.figure(figsize=(6, 3)).subplots(1, 3)
    show_slice(axes[0], torch.zeros(3, 3), labels=torch.zeros(3, 3, dtype=torch.int64), names=NAMES)
    show_slice(axes[1], torch.zeros(3, 3), labels=torch.eye(3, dtype=torch.int64), names=NAMES)
    show_slice(axes[2], torch.zeros(3, 3), labels=torch.eye(3, dtype=torch.int64), names=("none", "CSF"))
    assert legends(axes[0].figure) == [["plaque", "mass", "CSF"]]
    show_slice(axes[0], torch.zeros(3, 3), names=("none", "other"), legend=False)
    assert legends(axes[0].figure) == [["plaque", "mass", "CSF"]]


def test_the_layout_is_the_same_whether_a_class_is_there_or_not(ax):
    places = []
    for labels in (torch.zeros(3, 3, dtype=torch.int64), torch.eye(3, dtype=torch.int64)):
        figure = plt.figure(figsize=(4, 4))
        one = figure.subplots()
        show_slice(one, torch.zeros(3, 3), labels=labels, names=NAMES)
        figure.canvas.draw()
        places.append(one.get_position().bounds)
    assert places[0] == places[1]


def test_labels_alone_run_down_as_they_are_printed(ax):
    show_labels(ax, torch.tensor([[0, 1], [0, 0]]), names=NAMES)
    shown = ax.images[0].get_array()
    assert np.allclose(shown[0, 1, :3], to_rgb(COLOURS["plaque"])) and shown[0, 0, :3].max() < 0.2
    assert on_screen(ax, 0, 1)[1] < on_screen(ax, 0, 0)[1]
    assert legends(ax.figure) == [["plaque", "mass"]]
    show_labels(ax, torch.zeros(2, 2, dtype=torch.bool))
    assert ax.images[1].get_array()[..., :3].max() < 0.2


def test_nothing_warns(ax):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        show_slice(ax, torch.zeros(4, 4), labels=torch.eye(4, dtype=torch.int64), names=NAMES, affine=affine_of())
        ax.figure.canvas.draw()


# ---------------------------------------------------------------------------------------------------------------------
# Volumes

VOLUME = torch.arange(2 * 3 * 4).reshape(2, 3, 4)
AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, -20], [0, 0, -4, 30], [0, 0, 0, 1]])


@pytest.mark.parametrize("plane, at_mm, want, index", [
    ("sagittal", -8.0, VOLUME[1], (1, 0, 0)),
    ("coronal", -14.0, VOLUME[:, 2], (0, 2, 0)),
    ("axial", 22.0, VOLUME[..., 2], (0, 0, 2)),
    ("axial", 23.9, VOLUME[..., 2], (0, 0, 2)),
    ("axial", 24.1, VOLUME[..., 1], (0, 0, 1)),
], ids=lambda value: str(value) if isinstance(value, str | float) else "")
def test_a_slice_is_the_nearest_and_keeps_its_place(plane, at_mm, want, index):
    picture, on_plane = slice_of(VOLUME, plane=plane, at_mm=at_mm, affine=AFFINE)
    assert torch.equal(picture, want)
    kept = [i for i in range(3) if i != {"sagittal": 0, "coronal": 1, "axial": 2}[plane]]
    for i, j in ((0, 0), (1, 0), (0, 2)):
        voxel = np.array(index)
        voxel[kept] = i, j
        assert np.allclose(on_plane @ [i, j, 0, 1], AFFINE @ [*voxel, 1])


def test_a_plane_of_an_array_is_an_array():
    assert isinstance(slice_of(VOLUME.numpy(), plane="axial", at_mm=30.0, affine=torch.tensor(AFFINE))[0], np.ndarray)


@pytest.mark.parametrize("plane", PLANES)
def test_show_plane_is_a_slice_with_its_labels(ax, plane):
    labels = (VOLUME > 3).long()
    at_mm = {"axial": 26.0, "coronal": -17.0, "sagittal": -8.0}[plane]
    shown = show_plane(ax, VOLUME, plane=plane, at_mm=at_mm, affine=AFFINE, labels=labels, names=NAMES)
    assert letters(ax) == LETTERS[plane]
    assert np.array_equal(shown.get_array() > 3, ax.images[1].get_array()[..., 3] > 0)


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

ZEROS, ONES = torch.zeros(3, 3), torch.ones(3, 3, dtype=torch.int64)
NAN = torch.full((3, 3), torch.nan)


@pytest.mark.parametrize("image, labels, options, why", [
    ([[0, 1]], None, {}, "image: expected a torch tensor or a numpy array, got list"),
    (torch.zeros(3), None, {}, r"image: expected two axes .* got shape \(3,\)"),
    (torch.zeros(1, 3, 3), None, {}, r"image: expected two axes .* got shape \(1, 3, 3\)"),
    (torch.zeros(0, 3), None, {}, r"image: expected two axes with voxels .* got shape \(0, 3\)"),
    (NAN, None, {}, "image: expected finite numbers, got NaN"),
    (ZEROS, ZEROS, {}, "labels: expected integers or booleans, got float32"),
    (ZEROS, [[0]], {}, "labels: expected a torch tensor or a numpy array, got list"),
    (ZEROS, torch.ones(3, 4, dtype=torch.int64), {}, r"labels: expected the image's shape \(3, 3\), got \(3, 4\)"),
    (ZEROS, -ONES, {}, "labels: expected 0 or more, got -1 to -1"),
    (ZEROS, 3 * ONES, {"names": NAMES}, "labels: expected 0 to 2, a name for each, got 3 to 3"),
    (ZEROS, ONES, {"names": "plaque"}, "names: expected a list of names, got the text 'plaque'"),
    (ZEROS, None, {"affine": np.eye(3)}, r"affine: expected a real 4 x 4 matrix, got shape \(3, 3\)"),
    (ZEROS, None, {"affine": np.full((4, 4), np.nan)}, "affine: expected finite values"),
    (ZEROS, None, {"affine": np.zeros((4, 4))}, "affine: expected finite values, an inverse"),
    (ZEROS, None, {"affine": affine_of((1, 0))}, "affine: expected first two columns along x and y"),
    (ZEROS, None, {"window": (1.0, 1.0)}, "window: expected .low, high. with low < high"),
    (ZEROS, None, {"window": (float("nan"), 1.0)}, "window: expected a finite number, got nan"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_slice_is_refused(ax, image, labels, options, why, refused):
    with refused(why):
        show_slice(ax, image, labels=labels, **options)


@pytest.mark.parametrize("volume, plane, at_mm, affine, why", [
    (VOLUME.tolist(), "axial", 30.0, AFFINE, "volume: expected a torch tensor or a numpy array, got list"),
    (VOLUME[0], "axial", 30.0, AFFINE, r"volume: expected three axes \(X, Y, Z\), got shape \(3, 4\)"),
    (VOLUME, "oblique", 30.0, AFFINE, "plane: expected \"sagittal\", \"coronal\" or \"axial\", got 'oblique'"),
    (VOLUME, "axial", 33.0, AFFINE, "at_mm: expected 18 to 30 mm for this axial plane, got 33"),
    (VOLUME, "axial", float("nan"), AFFINE, "at_mm: expected a finite number, got nan"),
    (VOLUME, "axial", float("inf"), AFFINE, "at_mm: expected a finite number, got inf"),
    (VOLUME, "axial", 30.0, AFFINE[[1, 0, 2, 3]], "affine: expected a grid along x, y and z"),
    (torch.zeros(0, 3, 4), "sagittal", -10.0, AFFINE, "at_mm: expected"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_bad_volume_is_refused(volume, plane, at_mm, affine, why, refused):
    with refused(why):
        slice_of(volume, plane=plane, at_mm=at_mm, affine=affine)


def test_labels_of_another_volume_are_refused(ax, refused):
    with refused(r"labels: expected the volume's shape \(2, 3, 4\), got \(2, 3, 5\)"):
        show_plane(ax, VOLUME, plane="axial", at_mm=30.0, affine=AFFINE, labels=torch.zeros(2, 3, 5, dtype=torch.int64))
    with refused("labels: expected a torch tensor or a numpy array, got list"):
        show_plane(ax, VOLUME, plane="axial", at_mm=30.0, affine=AFFINE, labels=[0])


@pytest.mark.gpu
def test_a_slice_on_a_gpu_is_drawn(ax):
    show_plane(ax, VOLUME.cuda(), plane="axial", at_mm=30.0, affine=AFFINE, labels=(VOLUME > 3).long().cuda(),
               names=NAMES)
