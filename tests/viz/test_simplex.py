"""The triangle of three classes: corners, centre, regions, and points that are none."""
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.path import Path

from medlearn.viz import COLOURS, simplex_triangle
from medlearn.viz.simplex import CORNERS

NAMES = ("none", "plaque", "mass")


@pytest.fixture
def ax():
    yield plt.figure().subplots()
    plt.close("all")


def points(ax):
    return np.concatenate([np.asarray(one.get_offsets()) for one in ax.collections])


def test_certainty_is_a_corner_and_ignorance_the_centre(ax):
    simplex_triangle(ax, torch.cat([torch.eye(3), torch.full((1, 3), 1 / 3)]), names=NAMES)
    assert np.allclose(points(ax), [*CORNERS, CORNERS.mean(0)], atol=1e-6)
    assert np.allclose(np.linalg.norm(CORNERS - np.roll(CORNERS, 1, 0), axis=1), 1)     # all sides are alike
    written = {text.get_text(): np.array(text.get_position()) for text in ax.texts}
    assert list(written) == list(NAMES)
    assert all(np.abs(written[name] - corner).max() < 0.05 for name, corner in zip(NAMES, CORNERS))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_points_lie_inside_and_nearest_to_the_most_probable_corner(seed):
    p = torch.randn(20, 3, generator=torch.Generator().manual_seed(seed)).softmax(1)
    ax = plt.figure().subplots()
    try:
        simplex_triangle(ax, p, names=NAMES)
        shown = points(ax)
    finally:
        plt.close("all")
    assert Path(CORNERS).contains_points(shown).all()
    distance = np.linalg.norm(shown[:, None] - CORNERS, axis=-1)
    assert np.array_equal(distance.argmin(1), p.argmax(1))


def test_the_true_class_is_told_by_colour_and_by_shape(ax):
    simplex_triangle(ax, torch.eye(3), labels=torch.tensor([2, 1, 1]), names=NAMES)
    assert [to_hex(one.get_facecolor()[0][:3]).upper() for one in ax.collections] == [COLOURS[name] for name in NAMES]
    assert [len(one.get_offsets()) for one in ax.collections] == [0, 2, 1]
    assert np.allclose(ax.collections[2].get_offsets(), CORNERS[:1])
    assert len({one.get_paths()[0].vertices.tobytes() for one in ax.collections}) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(NAMES)


@pytest.mark.parametrize("labels", [None, torch.zeros(0, dtype=torch.int64)], ids=["without labels", "with labels"])
def test_no_answers_leave_the_triangle_alone(ax, labels):
    simplex_triangle(ax, torch.zeros(0, 3), labels=labels, names=NAMES)
    assert len(points(ax)) == 0 and len(ax.patches) == 1
    ax.figure.canvas.draw()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_softmaxes_of_every_precision_are_on_the_simplex(ax, dtype):
    simplex_triangle(ax, torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).to(dtype).softmax(1),
                     names=NAMES)


@pytest.mark.parametrize("p, labels, names, why", [
    ([[1, 0, 0]], None, NAMES, "p: expected a torch tensor or a numpy array, got list"),
    (torch.ones(3) / 3, None, NAMES, r"p: expected shape \(B, 3\), got \(3,\)"),
    (torch.ones(5, 4) / 4, None, NAMES, r"p: expected shape \(B, 3\), got \(5, 4\)"),
    (torch.ones(1, 3), None, NAMES, "p: expected probabilities"),
    (torch.tensor([[1.5, -0.5, 0.0]]), None, NAMES, "p: expected probabilities"),
    (torch.tensor([[torch.nan, 0.5, 0.5]]), None, NAMES, "p: expected probabilities"),
    (torch.eye(3, dtype=torch.complex64), None, NAMES, "p: expected real numbers"),
    (torch.eye(3), torch.tensor([0, 1]), NAMES, r"labels: expected shape \(3,\) .* got shape \(2,\)"),
    (torch.eye(3), torch.tensor([0, 1, 3]), NAMES, "labels: expected .* classes 0 to 2, got"),
    (torch.eye(3), torch.tensor([0, -1, 2]), NAMES, "labels: expected .* classes 0 to 2, got"),
    (torch.eye(3), torch.tensor([0.0, 1.0, 2.0]), NAMES, "labels: expected integers, got float32"),
    (torch.eye(3), None, NAMES[:2], "names: expected three, got 2"),
    (torch.eye(3), None, "abc", "names: expected a list of names, got the text 'abc'"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_bad_input_is_refused(ax, p, labels, names, why, refused):
    with refused(why):
        simplex_triangle(ax, p, labels=labels, names=names)
