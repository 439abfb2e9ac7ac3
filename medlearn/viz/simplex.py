"""The triangle of three classes: a probability is a point in it."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from medlearn.viz.arrays import Array, as_array
from medlearn.viz.style import colours_of

if TYPE_CHECKING:
    import matplotlib.axes

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, np.sqrt(3) / 2]])
_MARKERS = ("o", "^", "s")                              # a shape each, for readers to whom the colours look alike


def simplex_triangle(ax: "matplotlib.axes.Axes", p: Array, *, labels: Array | None = None, names: Sequence[str],
                     ) -> None:
    r"""Draws answers `p` of a three-class classifier as the points $\sum_c p_c v_c$ of the triangle with corners $v_c$.

    It is drawn on matplotlib's `ax`. Thin lines part the regions where each class is the most probable. With `labels`,
    the true classes, points take their class's colour and shape. The three `names` stand at the corners: left, right,
    top.
    Shapes: `p (B, 3)`, `labels (B,)`, integers 0 to 2.
    No answers (B = 0) leave the triangle alone.
    Errors: TypeError or ValueError for another shape or type, points off the simplex, labels outside of 0 to 2, other
    than three names. Chapter 1.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> simplex_triangle(ax, np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]), names=["none", "plaque", "mass"])
    >>> ax.collections[0].get_offsets().round(2).tolist()
    [[0.0, 0.0], [0.75, 0.43]]
    """
    if len(names) != 3:
        raise ValueError(f"names: expected three, got {len(names)}")
    p, labels, colours = _probabilities(p), None if labels is None else _classes(labels, len(p)), colours_of(names)
    ax.fill(*CORNERS.T, facecolor="#f6f6f6", edgecolor="#555555", linewidth=1)
    centre = CORNERS.mean(0)
    for i in range(3):
        ax.plot(*np.stack([centre, (CORNERS[i] + CORNERS[i - 1]) / 2]).T, color="#bbbbbb", linewidth=1, linestyle="--")
    x, y = (p @ CORNERS).T
    if labels is None:
        ax.scatter(x, y, s=30, color="#222222", alpha=0.7, linewidths=0)
    else:
        for k, name in enumerate(names):
            ax.scatter(x[labels == k], y[labels == k], s=36, color=colours[k], marker=_MARKERS[k], alpha=0.8,
                       edgecolors="white", linewidths=0.6, label=name)
        ax.legend(title="truth", loc="upper left", alignment="left", borderaxespad=0, handletextpad=0.2)
    for k, (ha, va, dy) in enumerate((("left", "top", -0.03), ("right", "top", -0.03), ("center", "bottom", 0.03))):
        ax.text(CORNERS[k, 0], CORNERS[k, 1] + dy, names[k], ha=ha, va=va)
    ax.set(xlim=(-0.04, 1.04), ylim=(-0.13, 1.0), aspect="equal")
    ax.set_axis_off()


def _probabilities(p: Array) -> np.ndarray:
    p = as_array(p, "p").astype(np.float64)
    if p.ndim != 2 or p.shape[1] != 3:
        raise ValueError(f"p: expected shape (B, 3), got {p.shape}")
    if not (np.isfinite(p).all() and (p >= 0).all() and np.allclose(p.sum(1), 1, atol=1e-3)):
        raise ValueError("p: expected probabilities, >= 0 and each row with sum 1; got rows that are not")
    return p


def _classes(labels: Array, count: int) -> np.ndarray:
    labels = as_array(labels, "labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels: expected integers, got {labels.dtype}")
    if labels.shape != (count,) or (count and not 0 <= labels.min() <= labels.max() <= 2):
        raise ValueError(f"labels: expected shape ({count},) and classes 0 to 2, got shape {labels.shape}: {labels}")
    return labels
