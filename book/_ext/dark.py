"""A figure's twin for the dark theme: paper turned to glass, ink turned light, scans left as they are."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from docutils import nodes
from PIL import Image
from scipy import ndimage
from sphinx.transforms.post_transforms import SphinxPostTransform

DPI = 110                 # of the style's figures on a page
WHITE = 250               # from here on a pixel is paper
PANEL = 0.01              # of the figure's area, at least, and
FULL, MOSTLY = 0.97, 0.6  # filled like a picture: altogether, or mostly and in many colours
COLOURS = 256
# turns every hue by half a circle, as CSS does: after an inversion each colour is itself again, light for dark
HALF_TURN = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]], np.float32)


class AddDarkTwins(SphinxPostTransform):
    """Beside each figure that code has drawn, the one for the dark theme; the page shows one of the two."""

    default_priority = 250  # when a figure is one image
    formats = ("html",)

    def run(self) -> None:
        root = Path(self.env.srcdir)
        for image in list(self.document.findall(nodes.image)):
            light = root / image["uri"]
            if light.suffix != ".png" or "jupyter_execute" not in light.parts:
                continue
            dark = light.with_name(f"{light.stem}-dark.webp")
            with Image.open(light) as figure:
                image["width"], image["height"] = map(str, size_on_page(figure))        # nothing moves while it loads
                if not dark.exists():
                    twin(figure).save(dark, quality=85, method=4)
            other = image.deepcopy()
            other["uri"] = dark.relative_to(root).as_posix()
            other["candidates"] = {"*": other["uri"]}
            self.env.images.add_file(self.env.docname, other["uri"])
            image["classes"], other["classes"] = [*image["classes"], "only-light"], [*other["classes"], "only-dark"]
            image["loading"] = other["loading"] = "lazy"
            image.parent.insert(image.parent.index(image) + 1, other)


def size_on_page(figure: Image.Image) -> tuple[int, int]:
    """Its width and height in the page's own pixels, of which the style puts 110 to an inch."""
    dots = figure.info.get("dpi", (DPI, DPI))
    width, height = (max(1, round(size * DPI / dot)) for size, dot in zip(figure.size, dots))
    return width, height


def twin(figure: Image.Image) -> Image.Image:
    """The figure as it looks on dark paper."""
    paper = Image.new("RGBA", figure.size, "white")
    rgb = np.asarray(Image.alpha_composite(paper, figure.convert("RGBA")).convert("RGB"))
    kept = panels(rgb)
    light = rgb.astype(np.float32) / 255
    ink = 1 - light.min(axis=2, keepdims=True)                           # how much of a pixel is not paper
    colour = np.where(ink > 0, (light - (1 - ink)) / np.maximum(ink, 1e-6), 0)
    colour = np.clip((1 - colour) @ HALF_TURN.T, 0, 1)
    drawn = np.concatenate([colour, ink], axis=2) * 255
    picture = np.concatenate([rgb, np.full((*rgb.shape[:2], 1), 255)], axis=2)
    return Image.fromarray(np.where(kept[..., None], picture, drawn).round().astype(np.uint8))


def panels(rgb: np.ndarray) -> np.ndarray:
    """Where a scan or a map lies, whose greys mean something: large, filled, in many colours or a full rectangle."""
    things, _ = ndimage.label(rgb.min(axis=2) < WHITE)
    kept = np.zeros(rgb.shape[:2], bool)
    for number, box in enumerate(ndimage.find_objects(things), 1):
        inside = things[box] == number
        if inside.size < PANEL * things.size or inside.mean() < MOSTLY:
            continue
        colours = len(np.unique((rgb[box] // 4).astype(np.int32) @ (1, 64, 4096)))
        kept[box] |= inside.mean() >= FULL or colours >= COLOURS
    return kept
