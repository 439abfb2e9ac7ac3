"""Figures to play with: frames drawn beforehand, sliders that need no kernel and no network."""
from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from itertools import product
from math import prod
from string import Template
from typing import Any

from medlearn.base.validation import check_whole
from medlearn.viz.axes import Axis
from medlearn.viz.frames import Frame, encode, render, same_size

MAX_BYTES = 400_000
MAX_FRAMES = 200


@dataclass(frozen=True)
class Explorer:
    r"""A figure with sliders, made by `explore`: `html` that needs nothing else, shown by a notebook's last line.

    `names` are the axes', one for each slider; `frames` is the number of pictures. Units: `nbytes`, the weight of the
    HTML, in bytes. Every chapter.

    >>> Explorer("<p>twelve pictures</p>", names=("z_mm",), frames=12)
    <Explorer: z_mm, 12 frames>
    """

    html: str
    names: tuple[str, ...]
    frames: int

    @property
    def nbytes(self) -> int:
        return len(self.html.encode())

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return f"<Explorer: {', '.join(self.names)}, {self.frames} frames>"


def explore(draw: Callable[..., Any], /, *, alt: str, live: bool = False, width: int | None = None, dpi: int = 200,
            **axes: Any) -> Any:
    r"""A figure with one or two sliders: `draw(**values)` for every combination of the axes' values.

    The frames are drawn now, and kept in the page: `explore(draw, alt="...", z_mm=range(0, 60, 5))` works in the
    built page, in Colab, JupyterLab and VS Code, with no kernel and no network, by mouse, touch and keyboard.
    A drag over the picture moves the first axis. With `live=True` ipywidgets sliders call `draw` anew instead; they
    need a kernel.

    `draw` returns a matplotlib Figure, always of one size, or draws on `plt.gcf()`; its figures are closed. `alt` says
    what the picture shows to readers who do not see it; the values are added to it frame by frame. An axis is a list
    of values, or a dict of label to value. The frames are AVIF (WebP where Pillow has none), or PNG where that is
    smaller, and hold only what differs from the first. An explorer above 400 kB loses quality, then pixels, until it
    fits; its `nbytes` says what it weighs. The book's dark pages turn the paper dark, and leave images and maps.
    Units: a unit in an axis's name is written beside its values (`dose_percent` reads "dose: 5 %"); `width` is the
    greatest width on the page in px, the figure's own where not given; `dpi` the drawing's pixels per inch.
    An axis without values is refused.
    Errors: TypeError for a draw that is no function or returns no Figure, an axis that is no list, a width or dpi that
    is no whole number; ValueError for no axis or more than two, no alt text, more than 200 frames, figures that differ
    in size, a width or dpi below 1. A warning where even the smallest frames are too heavy. Every chapter.

    >>> from matplotlib.figure import Figure
    >>> def draw(level):
    ...     figure = Figure(figsize=(1, 1))
    ...     figure.subplots().imshow([[level]], vmin=0, vmax=2)
    ...     return figure
    >>> explore(draw, alt="One pixel", level=[0, 1, 2])
    <Explorer: level, 3 frames>
    """
    if not callable(draw):
        raise TypeError(f"draw: expected a function, got {draw!r}")
    if not (isinstance(alt, str) and alt.strip()):
        raise ValueError(f"alt: expected a text that says what the picture shows, got {alt!r}")
    if not 1 <= len(axes) <= 2:
        raise ValueError(f"axes: expected one or two, such as z_mm=[0, 10, 20]; got {len(axes)}")
    width = None if width is None else check_whole("width", width, least=1)
    dpi = check_whole("dpi", dpi, least=1)
    sliders = [Axis.of(name, given) for name, given in axes.items()]
    if live:
        from medlearn.viz.live import live_box

        return live_box(draw, sliders, alt, width, dpi)
    count = prod(len(axis.values) for axis in sliders)
    if count > MAX_FRAMES:
        raise ValueError(f"axes: expected at most {MAX_FRAMES} frames, got "
                         f"{' x '.join(str(len(axis.values)) for axis in sliders)} = {count}")
    frames = [render(draw, dict(zip(axes, values)), dpi) for values in product(*(axis.values for axis in sliders))]
    pictures = [frame.picture for frame in frames]
    size = same_size(pictures)

    def html(uris: list[str]) -> str:
        return _html(uris, frames, sliders, alt, width or round(size[0] / dpi * 100))

    room = MAX_BYTES - len(html([""] * count).encode())
    return Explorer(html(encode(pictures, room)), tuple(axes), count)


def caption(alt: str, axes: list[Axis], texts: tuple[str, ...]) -> str:
    """The alt text of one frame: what it shows, and at which values."""
    return f"{alt} ({', '.join(f'{axis.label} {text}' for axis, text in zip(axes, texts))})"


def paper(frame: Frame) -> str:
    """All of a frame but its images and maps, as a CSS polygon: what a dark page may turn dark."""
    def corners(left: float, top: float, right: float, bottom: float) -> str:
        points = ((0, 0), (left, top), (right, top), (right, bottom), (left, bottom), (left, top))
        return ",".join(f"{x:.2%} {y:.2%}" for x, y in points)

    return f"polygon(evenodd,{','.join(corners(*box) for box in ((0, 0, 1, 1), *frame.pictures_at))})"


def _html(uris: list[str], drawn: list[Frame], axes: list[Axis], alt: str, width: int) -> str:
    alts = [caption(alt, axes, texts) for texts in product(*(axis.texts for axis in axes))]
    papers = [paper(frame) for frame in drawn]
    size = drawn[0].picture.size
    told = [papers[0], *("" if one == papers[0] else one for one in papers[1:])]     # most frames lie as the first
    # The first frame is in the page already. "<" is written as an escape, so that no label can end the script.
    data = json.dumps({"frames": list(zip(["", *uris[1:]], alts, told)), "texts": [axis.texts for axis in axes]},
                      ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return Template(_template("explore.html")).substitute(
        id=sha256((uris[0] + data).encode()).hexdigest()[:12],
        css=_template("explore.css"), js=_template("explore.js"), data=data, alt=escape(alt), first=uris[0],
        first_alt=escape(alts[0]), paper=papers[0], frames=len(uris), pixels_x=size[0], pixels_y=size[1], width=width,
        # room for the longest text, so that nothing moves with the value
        sliders="\n".join(_slider(axis, max(map(_room, axes))) for axis in axes))


def _room(axis: Axis) -> int:
    return len(axis.label) + max(map(len, axis.texts)) + 2


def _slider(axis: Axis, room: int) -> str:
    label, text = escape(axis.label), escape(axis.texts[0])
    return (f'<label><span style="min-width:min(100%,{room}ch)">{label}: <b>{text}</b></span>'
            f'<input type="range" min="0" max="{len(axis.values) - 1}" step="1" value="0" autocomplete="off" '
            f'aria-label="{label}" aria-valuetext="{text}"></label>')


def _template(name: str) -> str:
    return (files("medlearn.viz") / name).read_text(encoding="utf-8").strip()
