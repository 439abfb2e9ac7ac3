"""A figure's twin for the dark theme: paper turned to glass, ink turned light, scans left as they are.

A picture (PNG) is turned pixel by pixel, a drawing (SVG) colour by colour.
"""
from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
from docutils import nodes
from PIL import Image
from scipy import ndimage
from sphinx.transforms.post_transforms import SphinxPostTransform

from phone import readable

DPI = 110                 # of the style's figures on a page
WHITE = 250               # from here on a pixel is paper
PANEL = 0.01              # of the figure's area, at least, and
FULL, MOSTLY = 0.97, 0.6  # filled like a picture: altogether, or mostly and in many colours
COLOURS = 256
STICKS_OUT = 0.1          # of a panel's side: what is less filled is a tick
PATCH = 8                 # pixels a side of the smallest rectangle that may explain a map's colours
GRIDS = (0, 4)            # of cells of alike colours: two that one grid parts, the other may join
GREY = 30                 # how far the channels of a grey differ at most
PAPER = (16 / 255, 22 / 255, 27 / 255)  # --paper of the dark, in book.css
SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt"')
CARD = re.compile(r'(id="patch_\d+">\s*<path [^>]*style="fill: )#ffffff')  # a figure's paper, and its axes'
# turns every hue by half a circle, as CSS does: after an inversion each colour is itself again, light for dark
HALF_TURN = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]], np.float32)


class AddDarkTwins(SphinxPostTransform):
    """Beside each figure that code has drawn, the one for the dark theme; the page shows one of the two."""

    default_priority = 250  # when a figure is one image
    formats = ("html",)

    def run(self) -> None:
        root = Path(self.env.srcdir)
        images = [image for image in self.document.findall(nodes.image) if has_twin(image)]
        drawn = list(dict.fromkeys(root / image["uri"] for image in images))
        with ThreadPoolExecutor() as pool:      # numpy and Pillow compute side by side
            twins = dict(zip(drawn, pool.map(lambda light: ADD_TWIN[light.suffix](light), drawn)))
        for image in images:
            dark, size = twins[root / image["uri"]]
            image["width"], image["height"] = map(str, size)        # nothing moves while it loads
            other = image.deepcopy()
            other["uri"] = dark.relative_to(root).as_posix()
            other["candidates"] = {"*": other["uri"]}
            self.env.images.add_file(self.env.docname, other["uri"])
            image["classes"], other["classes"] = [*image["classes"], "only-light"], [*other["classes"], "only-dark"]
            image["loading"] = other["loading"] = "lazy"
            image.parent.insert(image.parent.index(image) + 1, other)


def has_twin(image: nodes.image) -> bool:
    """Whether it is a figure that code has drawn, as it looks by day."""
    path = Path(image["uri"])
    return path.suffix in ADD_TWIN and "jupyter_execute" in path.parts


def of_picture(light: Path) -> tuple[Path, tuple[int, int]]:
    """A picture's twin, and its width and height in the page's own pixels, of which the style puts 110 to an inch."""
    dark = light.with_name(f"{light.stem}-dark.webp")
    with Image.open(light) as figure:
        if not dark.exists():
            twin(figure).save(dark, quality=85, method=2)
        dots = figure.info.get("dpi", (DPI, DPI))
        width, height = (max(1, round(size * DPI / dot)) for size, dot in zip(figure.size, dots))
    return dark, (width, height)


def of_drawing(light: Path) -> tuple[Path, tuple[int, int]]:
    """The same of a drawing, whose size is given in points, 72 to an inch; its labels become readable on a phone."""
    drawn, dark = light.read_text(encoding="utf-8"), light.with_name(f"{light.stem}-dark.svg")
    text = readable(drawn)
    if text != drawn or not dark.exists():
        light.write_text(text, encoding="utf-8")
        dark.write_text(recolour(text), encoding="utf-8")
    width, height = (round(float(size) * DPI / 72) for size in SIZE.search(text).groups())
    return dark, (width, height)


ADD_TWIN = {".png": of_picture, ".svg": of_drawing}


def recolour(drawing: str) -> str:
    """A drawing in the colours of the dark: cards are gone, each hue is its light self, what has no colour is ink."""
    drawing = CARD.sub(r"\1none", drawing)
    return re.sub(r"#[0-9a-f]{6}\b", lambda found: on_dark(found[0]), drawing).replace(
        "<svg ", f'<svg fill="{on_dark("#000000")}" ', 1)


@cache
def on_dark(colour: str) -> str:
    """What a colour of light paper becomes on dark paper, as `twin` turns a pixel: `#0072b2` to a light blue."""
    light = np.array([int(colour[i:i + 2], 16) for i in (1, 3, 5)], np.float32) / 255
    turned, ink = turn(light)
    mixed = ink * turned + (1 - ink) * np.array(PAPER, np.float32)
    return "#" + "".join(f"{round(255 * float(x)):02x}" for x in np.clip(mixed, 0, 1))


def twin(figure: Image.Image) -> Image.Image:
    """The figure as it looks on dark paper."""
    paper = Image.new("RGBA", figure.size, "white")
    rgb = np.asarray(Image.alpha_composite(paper, figure.convert("RGBA")).convert("RGB"))
    kept = panels(rgb)
    drawn = ~kept & (darkest(rgb) < 255)                                  # most of a figure is paper
    made = np.dstack([rgb, np.full_like(kept, 255, np.uint8)]) * kept[..., None]
    made[drawn] = (np.concatenate(turn(rgb[drawn] / np.float32(255)), axis=1) * 255).round()
    return Image.fromarray(made)


def darkest(colours: np.ndarray) -> np.ndarray:
    """The least of each pixel's three channels; faster than a minimum along so short an axis."""
    red, green, blue = np.moveaxis(colours, -1, 0)
    return np.minimum(np.minimum(red, green), blue)


def turn(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colours (..., 3) of 0 to 1 on white paper: what they are on dark paper, and how much of each is not paper."""
    ink = 1 - light.min(axis=-1, keepdims=True)
    colour = np.where(ink > 0, (light - (1 - ink)) / np.maximum(ink, 1e-6), 0)
    return np.clip((1 - colour) @ HALF_TURN.T, 0, 1), ink


def panels(rgb: np.ndarray) -> np.ndarray:
    """Where a scan or a map lies, whose greys mean something: large, filled, in many colours or a full rectangle.

    A line around something in it, which may be white, parts it and leaves a hole.
    With it what explains its colours: a rectangle in them, as a legend or a colour bar has.
    """
    things, _ = ndimage.label(darkest(rgb) < WHITE)
    kept, others = np.zeros(rgb.shape[:2], bool), []
    for number, box in enumerate(ndimage.find_objects(things), 1):
        inside = things[box] == number
        large, filled = inside.size >= PANEL * things.size, inside.mean()
        if filled < (MOSTLY if large else FULL):
            continue
        if large:
            panel, whole = trimmed(inside), ndimage.binary_fill_holes(inside)
            if whole[panel].mean() >= FULL or len(np.unique(rgb[box] // 4 @ (1, 64, 4096))) >= COLOURS:
                kept[box][panel] = True
                continue
        if min(inside.shape) >= PATCH and (np.ptp(rgb[box], axis=2) > GREY).mean() >= MOSTLY:
            others.append((box, inside))
    shown = {shift: np.unique(numbered(rgb[kept], shift)) for shift in GRIDS if others}
    for box, inside in others:
        found = [np.isin(numbered(rgb[box][inside], shift), shown[shift]) for shift in GRIDS]
        if np.any(found, axis=0).mean() >= MOSTLY:
            kept[box] |= inside
    return kept


def trimmed(inside: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns that belong to a panel, without the ticks that stick out of it."""
    ends = [np.flatnonzero(inside.mean(axis=axis) >= STICKS_OUT)[[0, -1]] for axis in (1, 0)]
    return tuple(slice(first, last + 1) for first, last in ends)


def numbered(rgb: np.ndarray, shift: int) -> np.ndarray:
    """One number for all colours of a cell of 8 levels a side, on a grid that is shifted by so many."""
    red, green, blue = np.moveaxis((rgb.astype(np.int32) + shift) >> 3, -1, 0)
    return red << 12 | green << 6 | blue
