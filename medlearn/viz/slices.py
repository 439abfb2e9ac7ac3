"""Slices of scans with labels over them, in radiological orientation.

The only place that knows how a RAS array lies on the screen: the patient's right is on the left of the picture,
as if we looked up from the feet. The axes stay in voxels, so that `ax.plot(x, y)` lands on the voxel (x, y).
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from medlearn.base.grid import as_affine, in_a_line
from medlearn.base.validation import check_choice, check_number
from medlearn.viz.arrays import Array, as_array, check_array
from medlearn.viz.style import BLACK, CYCLE, colours_of

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.image

PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}      # the axis that the plane leaves out
_ENDS = (("L", "R"), ("P", "A"), ("I", "S"))            # low and high end of the axes of RAS space
_LEFT, _TOP = ("R", "A"), ("A", "S")                    # what a radiologist expects there
_THINGS = tuple(c for c in CYCLE if c != BLACK)         # which would vanish on a scan


def show_slice(ax: "matplotlib.axes.Axes", image: Array, *, labels: Array | None = None,
               names: Sequence[str] | None = None, affine: Array | None = None, alpha: float = 0.3,
               window: tuple[float, float] | None = None, cmap: str = "gray", legend: bool = True,
               ) -> "matplotlib.image.AxesImage":
    r"""Draws a slice of a scan as a radiologist sees it, with labels over it: R at the left, A (or S) at the top.

    With `names` the labels are classes: filled at opacity `alpha` and outlined, each in its fixed colour, and named in
    one `legend` for the figure (all names, present or not: frames of an explorer keep one layout). Label 0 is the
    background and is not drawn. Without `names` they number single objects: each an outline of its own colour.
    `cmap` is matplotlib's name of the scan's colours. Returns the image, for a colour bar; the coordinates of
    matplotlib's `ax` are voxels.
    Shapes: `image (X, Y)`, numbers or booleans, axes RAS where there is no affine; `labels (X, Y)`, integers of 0 or
    more, or booleans; `affine (4, 4)`, whose first two columns are the slice's axes: they decide the letters at the
    edges, the shape of a voxel, and the scale bar, which is drawn only where there is an affine.
    Units: the affine takes voxels to mm (RAS); `window` holds the values shown black and white, the slice's own lowest
    and highest where not given.
    No labels, or none above 0: no overlay. A slice without voxels is refused.
    Errors: TypeError for no array, labels that are not integers; ValueError for other than two axes, NaN, shapes that
    differ, a label with no name, a slice in no plane, a window that does not rise. Chapter 1.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> shown = show_slice(ax, np.random.rand(4, 6), affine=np.diag([2.0, 2.0, 5.0, 1.0]))
    >>> [text.get_text() for text in ax.texts]          # at the left edge, the right, the bottom, the top; the bar
    ['R', 'L', 'P', 'A', '2 mm']
    """
    image = _values(image, "image")
    view = _view(affine)
    nx, ny = image.shape
    alpha = check_number("alpha", alpha, least=0, most=1)
    low, high = (image.min(), image.max()) if window is None else _window(window)
    shown = ax.imshow(image.T, cmap=cmap, vmin=low, vmax=high, origin="lower", aspect=view.aspect)
    if labels is not None:
        labels = _labels(labels, "labels", names)
        if labels.shape != image.shape:
            raise ValueError(f"labels: expected the image's shape {image.shape}, got {labels.shape}")
        _overlay(ax, labels, names, alpha)
    if names is not None and legend:
        _legend(ax.get_figure(), names)
    ax.set_xlim((nx - 0.5, -0.5) if view.flip_x else (-0.5, nx - 0.5))
    ax.set_ylim((ny - 0.5, -0.5) if view.flip_y else (-0.5, ny - 0.5))
    _letters(ax, view)
    if view.spacing_mm is not None:
        _scale_bar(ax, nx, view.spacing_mm)
    _bare(ax)
    return shown


def show_plane(ax: "matplotlib.axes.Axes", volume: Array, *, plane: str, at_mm: float, affine: Array,
               labels: Array | None = None, **options: Any) -> "matplotlib.image.AxesImage":
    r"""Draws one plane of a volume: `slice_of` and `show_slice` in one.

    `plane` is "axial", "coronal" or "sagittal"; `ax` and the `options` are those of `show_slice`.
    Shapes: `volume (X, Y, Z)`, `labels` likewise; `affine (4, 4)`. Units: `at_mm`, where the plane lies, is in the
    affine's mm. Errors: as `slice_of` and `show_slice`. Chapter 1.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> shown = show_plane(ax, np.random.rand(4, 5, 6), plane="coronal", at_mm=2.0, affine=np.eye(4))
    >>> [text.get_text() for text in ax.texts]
    ['R', 'L', 'I', 'S', '1 mm']
    """
    picture, on_plane = slice_of(volume, plane=plane, at_mm=at_mm, affine=affine)
    if labels is not None:
        check_array(labels, "labels")
        if tuple(labels.shape) != tuple(volume.shape):
            raise ValueError(f"labels: expected the volume's shape {tuple(volume.shape)}, got {tuple(labels.shape)}")
        labels, _ = slice_of(labels, plane=plane, at_mm=at_mm, affine=affine)
    return show_slice(ax, picture, labels=labels, affine=on_plane, **options)


def slice_of(volume: Array, *, plane: str, at_mm: float, affine: Array) -> tuple[Array, np.ndarray]:
    r"""The slice of a volume nearest to a place, and the slice's own affine $A' = A \, [e_i, e_j, e_k, o]$, origin o.

    `plane` is "axial" (the place is a z), "coronal" (y) or "sagittal" (x).
    Shapes: `volume (X, Y, Z)`; `affine (4, 4)`, voxel to mm along the axes of space (not oblique). The slice has two
    axes; its affine is `(4, 4)`, its third column the plane's normal.
    Units: `at_mm` in the affine's mm.
    Errors: TypeError for no array; ValueError for other than three axes, another plane, an oblique affine, a place
    outside of the volume. Chapter 1.

    >>> picture, affine = slice_of(np.zeros((4, 5, 6)), plane="axial", at_mm=7.0, affine=np.diag([1.0, 1.0, 3.0, 1.0]))
    >>> picture.shape, affine[:3, 3].tolist()           # index 2, where z is 6 mm
    ((4, 5), [0.0, 0.0, 6.0])
    """
    check_array(volume, "volume")
    if volume.ndim != 3:
        raise ValueError(f"volume: expected three axes (X, Y, Z), got shape {tuple(volume.shape)}")
    affine = as_affine(affine)
    axis = PLANES[check_choice("plane", plane, PLANES)]
    at_mm = check_number("at_mm", at_mm)
    step_mm = affine[axis, axis]
    if not np.allclose(affine[:3, :3], np.diag(np.diag(affine[:3, :3]))) or step_mm == 0:
        raise ValueError(f"affine: expected a grid along x, y and z, got {in_a_line(affine)}")
    place = (at_mm - affine[axis, 3]) / step_mm
    if not -0.5 <= place < volume.shape[axis] - 0.5:
        ends = sorted((affine[axis, 3], affine[axis, 3] + step_mm * (volume.shape[axis] - 1)))
        raise ValueError(f"at_mm: expected {ends[0]:g} to {ends[1]:g} mm for this {plane} plane, got {at_mm:g}")
    index = round(place)
    kept = [i for i in range(3) if i != axis]
    on_plane = affine[:, [*kept, axis, 3]].copy()
    on_plane[:, 3] += affine[:, axis] * index
    return volume[(slice(None),) * axis + (index,)], on_plane


def show_labels(ax: "matplotlib.axes.Axes", labels: Array, *, names: Sequence[str] | None = None,
                legend: bool = True) -> None:
    r"""Draws a label map without a scan, as arrays are printed: rows run down. Label 0 is dark, the others coloured.

    On `ax`; with `names` the labels are classes, named in a `legend`, without them single objects, as in `show_slice`.
    Shapes: `labels (H, W)`, integers of 0 or more, or booleans.
    A map of zeros is all dark; one without elements is refused. Errors: as `show_slice`. Chapter 1.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().subplots()
    >>> show_labels(ax, np.array([[0, 1], [0, 2]]), names=["background", "plaque", "mass"])
    >>> [text.get_text() for text in ax.figure.legends[0].get_texts()]
    ['plaque', 'mass']
    """
    labels = _labels(labels, "labels", names)
    present, at = np.unique(labels, return_inverse=True)
    colours = _colours(present, names)
    colours[present == 0] = (0.13, 0.13, 0.13, 1)
    ax.imshow(colours[at.reshape(labels.shape)], interpolation="nearest")
    if names is not None and legend:
        _legend(ax.get_figure(), names)
    _bare(ax)


@dataclass(frozen=True)
class _View:
    """How a slice lies on the screen."""
    letters: tuple[str, str, str, str]                  # left, right, bottom, top
    flip_x: bool
    flip_y: bool
    aspect: float
    spacing_mm: float | None                            # along the horizontal axis


def _view(affine: Array | None) -> _View:
    directions = np.eye(4)[:3, :2] if affine is None else as_affine(affine)[:3, :2]
    spacing = np.linalg.norm(directions, axis=0)
    axes = np.abs(directions).argmax(axis=0)            # an oblique axis gets the letters it is nearest to
    if not spacing.all() or tuple(axes) not in {(0, 1), (0, 2), (1, 2)}:
        raise ValueError(f"affine: expected first two columns along x and y, x and z, or y and z, got\n{directions}")
    (left, right), (bottom, top) = (_ENDS[a][::1 if directions[a, i] > 0 else -1] for i, a in enumerate(axes))
    flip_x, flip_y = left not in _LEFT, top not in _TOP
    if flip_x:
        left, right = right, left
    if flip_y:
        bottom, top = top, bottom
    spacing_mm = None if affine is None else float(spacing[0])
    return _View((left, right, bottom, top), flip_x, flip_y, float(spacing[1] / spacing[0]), spacing_mm)


def _overlay(ax, labels: np.ndarray, names: Sequence[str] | None, alpha: float) -> None:
    from matplotlib.collections import LineCollection

    present, at = np.unique(labels, return_inverse=True)
    colours = _colours(present, names)
    if names is not None and alpha > 0:
        fill = colours.copy()
        fill[:, 3] = alpha
        fill[present == 0] = 0
        ax.imshow(fill[at.reshape(labels.shape)].transpose(1, 0, 2), origin="lower", interpolation="nearest",
                  aspect=ax.get_aspect())
    for k, colour in zip(present, colours):
        if k > 0:
            edges = list(_outline(labels == k))
            ax.add_collection(LineCollection(edges, colors=[colour], linewidths=1.5, capstyle="round"))


def _outline(mask: np.ndarray) -> np.ndarray:
    """The edges (N, 2 ends, 2 coordinates) between the voxels inside and outside of a mask: exact, nothing smoothed."""
    inside = np.pad(mask, 1)
    x, y = np.nonzero(inside[1:, 1:-1] != inside[:-1, 1:-1])        # the edge at x - 1/2, from y - 1/2 to y + 1/2
    upright = np.stack([np.stack([x, y], 1), np.stack([x, y + 1], 1)], 1)
    x, y = np.nonzero(inside[1:-1, 1:] != inside[1:-1, :-1])
    level = np.stack([np.stack([x, y], 1), np.stack([x + 1, y], 1)], 1)
    return np.concatenate([upright, level]) - 0.5


def _colours(present: np.ndarray, names: Sequence[str] | None) -> np.ndarray:
    """A colour for each label that is there, and not up to the highest: an atlas may have numbers up to 2^62."""
    from matplotlib.colors import to_rgba_array

    if names is None:
        return to_rgba_array([_THINGS[(int(k) - 1) % len(_THINGS)] for k in present])
    return to_rgba_array(colours_of(names))[present]


def _legend(figure, names: Sequence[str]) -> None:
    """One legend for the figure, whatever its number of panels: the names so far and these.

    All of them, also where a slice lacks one, so that the layout is the same from frame to frame.
    """
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=colour, label=name) for name, colour in zip(names[1:], colours_of(names)[1:])]
    for old in [one for one in figure.legends if one.get_gid() == "medlearn"]:
        patches = [*old.get_patches(), *patches]
        old.remove()
    entries = {(patch.get_label(), patch.get_facecolor()): patch for patch in patches}
    columns = max(1, min(len(entries), int(figure.bbox.width / figure.dpi / 1.5)))
    figure.legend(handles=list(entries.values()), loc="outside lower center", ncols=columns,
                  handlelength=1, handleheight=1, columnspacing=1.2).set_gid("medlearn")


def _letters(ax, view: _View) -> None:
    places = ((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center"),
              (0.5, 0.02, "center", "bottom"), (0.5, 0.98, "center", "top"))
    for letter, (x, y, ha, va) in zip(view.letters, places):
        ax.text(x, y, letter, transform=ax.transAxes, ha=ha, va=va, **_on_scan())


def _scale_bar(ax, nx: int, spacing_mm: float) -> None:
    width_mm = nx * spacing_mm
    length_mm = max((n for n in (1, 2, 5, 10, 20, 50, 100) if n <= width_mm / 3), default=width_mm / 3)
    style = _on_scan()
    ax.plot([0.97 - length_mm / width_mm, 0.97], [0.035, 0.035], transform=ax.transAxes, color=style["color"],
            linewidth=3, solid_capstyle="butt", path_effects=style["path_effects"])
    ax.text(0.97, 0.055, f"{length_mm:g} mm", transform=ax.transAxes, ha="right", va="bottom", **style)


def _on_scan() -> dict[str, Any]:
    """White with a dark rim: readable on whatever is below."""
    from matplotlib.patheffects import withStroke

    return {"color": "white", "fontsize": 10, "path_effects": [withStroke(linewidth=2.5, foreground="#222222")]}


def _bare(ax) -> None:
    ax.set(xticks=[], yticks=[], anchor="N")            # titles of a row of panels on one line
    ax.spines[:].set_visible(False)


def _values(image: Array, name: str) -> np.ndarray:
    image = as_array(image, name)
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f"{name}: expected two axes with voxels in them, got shape {image.shape}")
    if not np.isfinite(image).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinity")
    return image


def _labels(labels: Array, name: str, names: Sequence[str] | None) -> np.ndarray:
    labels = as_array(labels, name)
    if labels.dtype.kind not in "biu":
        raise TypeError(f"{name}: expected integers or booleans, got {labels.dtype}")
    labels = _values(labels, name)
    labels = labels.astype(np.int64) if labels.dtype.kind == "b" else labels
    highest = labels.max() if names is None else len(names) - 1
    if labels.min() < 0 or labels.max() > highest:
        expected = "0 or more" if names is None else f"0 to {highest}, a name for each"
        raise ValueError(f"{name}: expected {expected}, got {labels.min()} to {labels.max()}")
    return labels


def _window(window: tuple[float, float]) -> tuple[float, float]:
    given = window.tolist() if isinstance(window, Array) else window
    if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != 2:
        raise TypeError(f"window: expected (low, high), got {window!r}")
    low, high = (check_number("window", bound.item() if isinstance(bound, Array) else bound) for bound in given)
    if not low < high:
        raise ValueError(f"window: expected (low, high) with low < high, got {window}")
    return low, high
