"""Figures into small pictures: drawn once, then encoded to fit a weight."""
from __future__ import annotations

import io
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

# (share of the width, WebP quality): what is given up, in this order, until an explorer is light enough.
STEPS = ((1.0, 85), (1.0, 70), (1.0, 50), (0.8, 60), (0.65, 55), (0.5, 50), (0.5, 30))


def render(draw: Callable[..., Any], values: dict[str, Any], dpi: int) -> Image:
    """Calls `draw`, takes the picture of its figure, closes every figure that it opened."""
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure
    from PIL import Image

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
        buffer = io.BytesIO()
        with plt.rc_context({"savefig.bbox": "standard"}):      # a tight box would change size from frame to frame
            figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 1})
        return Image.open(buffer).convert("RGB")
    finally:
        for number in set(plt.get_fignums()) - already_open:
            plt.close(number)
        if isinstance(drawn, Figure):
            plt.close(drawn)


def data_uri(picture: Image, quality: int) -> str:
    """A picture as WebP, or as a PNG of at most 256 colours where that is smaller: flat drawings stay sharp."""
    def encoded(image: Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    webp = encoded(picture, "WEBP", quality=quality, method=4)
    png = encoded(picture.quantize(256), "PNG", optimize=True)
    kind, smaller = min(("webp", webp), ("png", png), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{b64encode(smaller).decode()}"


def encode(pictures: Sequence[Image], limit_bytes: int) -> list[str]:
    """Data URIs of the pictures, at the best of `STEPS` whose weight is within the limit; warns where none is."""
    for share, quality in STEPS:
        uris, weight = [], 0
        for picture in pictures:
            uris.append(data_uri(_scaled(picture, share), quality))
            weight += len(uris[-1])
            if weight > limit_bytes and (share, quality) != STEPS[-1]:
                break                                   # the rest could only add to it
        if weight <= limit_bytes:
            return uris
    warnings.warn(f"an explorer of {len(uris)} frames weighs {weight / 1000:.0f} kB at its smallest, more than "
                  f"{limit_bytes / 1000:.0f} kB: draw fewer frames or a smaller figure", stacklevel=3)
    return uris


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
