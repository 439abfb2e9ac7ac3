"""Figures into small pictures: drawn once, then encoded to fit a weight."""
from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

# (share of the width, quality): what is given up, in this order, until an explorer is light enough.
STEPS = ((1.0, 75), (1.0, 50), (1.0, 35), (1.0, 24), (1.0, 16), (0.8, 20), (0.65, 20), (0.5, 20))
FIRST = 60      # the least quality of the first frame, of which every other one shows parts
BLOCK = 16      # pixels a side of the squares in which a frame tells what differs from the first
SAMPLE = 4      # frames whose weight says whether a step is worth a try

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """A drawn figure, and where in it pictures lie: (left, top, right, bottom), each a share of its sides."""
    picture: Image
    pictures_at: tuple[Box, ...]


def render(draw: Callable[..., Any], values: dict[str, Any], dpi: int) -> Frame:
    """Calls `draw`, takes the picture of its figure, closes every figure that it opened."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    already_open = set(plt.get_fignums())
    plt.figure()                                        # so that plt.gcf() inside of draw is a new one
    drawn = None
    try:
        drawn = draw(**values)
        figure = plt.gcf() if drawn is None else drawn
        if not isinstance(figure, Figure):
            raise TypeError(f"draw: expected a matplotlib Figure, or None after drawing on plt.gcf(); got {drawn!r}")
        if drawn is None and (figure.number in already_open or len(figure.get_children()) == 1):
            raise ValueError("draw: expected a matplotlib Figure, or None after drawing on plt.gcf(); got neither")
        return _frame_of(figure, dpi)
    finally:
        for number in set(plt.get_fignums()) - already_open:
            plt.close(number)
        if isinstance(drawn, Figure):
            plt.close(drawn)


def _frame_of(figure: Figure, dpi: int) -> Frame:
    """The figure, drawn once (`savefig` draws it twice, and packs a PNG), and given back as it was."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    before = figure.dpi, figure.canvas
    try:
        figure.dpi = dpi
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return Frame(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), _pictures_at(figure))
    finally:
        figure.dpi, figure.canvas = before


def _pictures_at(figure: Figure) -> tuple[Box, ...]:
    """The axes that show an image or a map, whose colours mean something, and a legend's patches, which say what.

    It is the whole where the figure itself is an image.
    """
    from matplotlib.collections import QuadMesh
    from matplotlib.patches import Patch

    if figure.images:
        return ((0.0, 0.0, 1.0, 1.0),)
    boxes = [ax.get_position() for ax in figure.axes
             if ax.get_visible() and (ax.images or any(isinstance(c, QuadMesh) for c in ax.collections))]
    if boxes:
        legends = [*figure.legends, *filter(None, (ax.get_legend() for ax in figure.axes))]
        boxes += [patch.get_window_extent().transformed(figure.transFigure.inverted())
                  for legend in legends for patch in legend.legend_handles if isinstance(patch, Patch)]
    return tuple((round(box.x0, 4), round(1 - box.y1, 4), round(box.x1, 4), round(1 - box.y0, 4)) for box in boxes)


def data_uri(picture: Image, quality: int, *, first: Image | None = None, kind: str = "") -> str:
    """A picture as "AVIF" ("WEBP" where Pillow has none), or as a "PNG" of few colours; the smaller where none is named.

    Where it does not differ from `first` it is left transparent: it is laid over it.
    """
    same = None if first is None else _same(picture, first)
    made = {one: _bytes(picture, one, quality, same) for one in ([kind] if kind else (lossy(), "PNG"))}
    kind, smallest = min(made.items(), key=lambda pair: len(pair[1]))
    return f"data:image/{kind.lower()};base64,{b64encode(smallest).decode()}"


def lossy() -> str:
    """The best kind of lossy picture that this Pillow can write."""
    from PIL import Image

    Image.init()
    return "AVIF" if "AVIF" in Image.SAVE else "WEBP"


def _bytes(picture: Image, kind: str, quality: int, same: np.ndarray | None) -> bytes:
    from PIL import Image

    every: dict[str, dict[str, Any]] = {"AVIF": {"quality": quality, "speed": 8, "max_threads": 1},
                                        "WEBP": {"quality": quality, "method": 4}, "PNG": {"optimize": True}}
    options = every[kind]
    if kind == "PNG":
        picture = picture.quantize(255)
        if same is not None:
            hole = int(np.asarray(picture).max()) + 1   # the first number that is no colour's
            picture.putpalette([*(picture.getpalette() or ())[:3 * hole], 255, 255, 255])
            picture.paste(hole, mask=Image.fromarray(same))
            options["transparency"] = hole
    elif same is not None:
        picture = picture.copy()
        picture.paste((255, 255, 255), mask=Image.fromarray(same))
        picture.putalpha(Image.fromarray(~same).convert("L"))
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _same(picture: Image, first: Image) -> np.ndarray:
    """Which pixels lie in a square in which nothing differs."""
    differs = _colours(picture) != _colours(first)
    height, width = differs.shape
    rows, columns = -(-height // BLOCK), -(-width // BLOCK)
    squares = np.zeros((rows * BLOCK, columns * BLOCK), bool)
    squares[:height, :width] = differs
    some = squares.reshape(rows, BLOCK, columns, BLOCK).any(axis=(1, 3))
    return ~some.repeat(BLOCK, 0).repeat(BLOCK, 1)[:height, :width]


def _colours(picture: Image) -> np.ndarray:
    """One number for each pixel, (H, W): to compare three channels takes several times as long."""
    return np.asarray(picture.convert("RGBX")).view(np.uint32)[..., 0]


def encode(pictures: Sequence[Image], limit_bytes: int) -> list[str]:
    """Data URIs of the pictures, at the best of `STEPS` whose weight is within the limit; warns where none is.

    The first is whole, each other one is laid over it. A few of them say which kind is smaller, and what is too heavy.
    """
    count = len(pictures)
    some = sorted({0, *(round(k * (count - 1) / SAMPLE) for k in range(SAMPLE + 1))})

    @cache
    def scaled(share: float) -> list[Image]:
        return [_scaled(picture, share) for picture in pictures]

    @cache
    def uri(k: int, kind: str, share: float, quality: int) -> str:
        first, *_ = scaled(share)
        return data_uri(scaled(share)[k], quality, first=first if k else None, kind=kind)

    def made(numbers: Iterable[int], kind: str, share: float, quality: int) -> dict[int, str]:
        if kind == "PNG":
            quality = 100                               # it knows none
        return {k: uri(k, kind, share, quality if k else max(quality, FIRST)) for k in numbers}

    for share, quality in STEPS:
        kind, uris = min(((kind, made(some, kind, share, quality)) for kind in (lossy(), "PNG")),
                         key=lambda pair: _weight(pair[1]))
        per_frame = (_weight(uris) - len(uris[0])) / max(1, len(some) - 1)
        last = (share, quality) == STEPS[-1]
        if len(uris[0]) + per_frame * (count - 1) > 1.2 * limit_bytes and not last:
            continue
        uris = made(range(count), kind, share, quality)
        if _weight(uris) <= limit_bytes or last:
            break
    if _weight(uris) > limit_bytes:
        warnings.warn(f"an explorer of {count} frames weighs {_weight(uris) / 1000:.0f} kB at its smallest, more than "
                      f"{limit_bytes / 1000:.0f} kB: draw fewer frames or a smaller figure", stacklevel=3)
    return [uris[k] for k in range(count)]


def _weight(uris: dict[int, str]) -> int:
    return sum(map(len, uris.values()))


def same_size(pictures: Iterable[Image]) -> tuple[int, int]:
    """The pictures' common (width, height), else an error: a slider whose figure changes size makes the page jump."""
    sizes = {picture.size for picture in pictures}
    if len(sizes) > 1:
        raise ValueError(f"draw: expected figures of one size, got {' and '.join(map(str, sorted(sizes)))} pixels")
    return sizes.pop()


def _scaled(picture: Image, share: float) -> Image:
    from PIL.Image import Resampling

    width, height = (max(1, round(n * share)) for n in picture.size)
    return picture if share == 1 else picture.resize((width, height), Resampling.LANCZOS)
