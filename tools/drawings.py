"""Boxes and arrows as SVG, which takes its colours from the page, and what the boxes say as a table."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

COLUMN, ROW = 110, 66       # pixels from box to box
WIDTH, HEIGHT = 99, 40      # of a box
EDGE = 6
# what stands for a step of a chain, in lines on 48 x 36
GLYPHS = {name: f'<path d="{path}"/>' for name, path in {
    "tube": "M13 18a5 5 0 1 1-10 0 5 5 0 0 1 10 0M14 16 44 4M14 20 44 32M15 18H44",
    "body": "M42 18a18 13 0 1 1-36 0 18 13 0 0 1 36 0M22 18a5 6 0 1 1-10 0 5 6 0 0 1 10 0"
            "M36 18a5 6 0 1 1-10 0 5 6 0 0 1 10 0",
    "detector": "M4 10 20 18 4 26M4 18H20M28 4Q36 18 28 32M34 2Q43 18 34 34",
    "counts": "M6 32H44M10 32V24M17 32V12M24 32V5M31 32V14M38 32V25",
    "logarithm": "M6 4V32H44M9 30Q12 11 42 7",
    "ramp": "M24 4V32M5 32H43M7 6 24 32 41 6",
    "rays": "M37 18a13 13 0 1 1-26 0 13 13 0 0 1 26 0M5 5 43 31M5 31 43 5M24 1V35M2 18H46",
    "picture": "M6 4H42V32H6zM33 18a9 10 0 1 1-18 0 9 10 0 0 1 18 0",
    "magnet": "M8 32V18a16 16 0 0 1 32 0V32H30V18a6 6 0 0 0-12 0V32z",
    "coil": "M3 18c0-12 9-12 9 0s9 12 9 0 9-12 9 0 9 12 9 0 6-8 6-2",
    "k-space": "M24 2V34M4 18H44M24 14v8M20 18h8M19 13l2 2M29 13l-2 2M19 23l2-2M29 23l-2-2"
               "M10 8h2M36 8h2M10 28h2M36 28h2M14 18v.1M34 18v.1M8 18v.1M40 18v.1",
    "waves": "M3 18c5-19 9-19 14 0s9 19 14 0 9-19 14 0",
    "cloud": "M24 3V33M5 18H43M28 12v.1M33 10v.1M30 15v.1M35 14v.1M27 8v.1M32 6v.1M36 9v.1M29 10v.1M33 13v.1",
    "length": "M10 32V4M10 32H44M10 32 36 10m-7 0h7v7M22 32a14 14 0 0 0-3-8",
    "probe": "M12 3H36L32 14H16zM18 14v4M24 14v4M30 14v4M12 22Q24 29 36 22M8 27Q24 36 40 27",
    "beam": "M14 2Q23 20 14 34M34 2Q25 20 34 34M24 2V34M19 20h10",
    "points": "M8 8v.1M16 5v.1M26 9v.1M38 6v.1M12 15v.1M21 14v.1M31 17v.1M41 14v.1"
              "M7 24v.1M17 23v.1M27 25v.1M37 22v.1M12 31v.1M23 32v.1M33 30v.1M42 29v.1",
    "echo": "M2 18h6c2-19 4-19 6 0s4 19 6 0 4-12 6 0 4 8 6 0h14",
    "envelope": "M3 32C14 32 14 5 22 5S30 32 45 32M12 32c2-16 3-16 4-6s3 8 4-14 3-4 4 8 3 12 5 12",
    "network": "M6 5H14V13H6zM34 5H42V13H34zM20 24H28V32H20zM10 13V28H20M28 28H38V13M14 9H34",
    "loss": "M6 4V32H44M10 6Q14 28 42 30",
    "overlap": "M30 18a12 12 0 1 1-24 0 12 12 0 0 1 24 0M42 18a12 12 0 1 1-24 0 12 12 0 0 1 24 0",
    "back": "M44 18H6m9-9-9 9 9 9",
    "merge": "M3 5 24 18H45M3 18H24M3 31 24 18m14-6 7 6-7 6",
    "entropy": "M4 32H44M6 32Q24-14 42 32",
    "fork": "M3 18H20L42 6m-8 0h8v7M20 18 42 30m-8 0h8v-7",
    "person": "M30 11a6 6 0 1 1-12 0 6 6 0 0 1 12 0M10 34Q10 20 24 20T38 34",
    "list": "M8 8H12M8 18H12M8 28H12M18 8H40M18 18H40M18 28H40",
}.items()}


@dataclass(frozen=True)
class Box:
    """A box at a column and a row: its name (`x_0` sets the 0 low), a line below it, and what it says of itself."""
    name: str
    at: tuple[float, float]
    line: str
    said: dict[str, str]


@dataclass(frozen=True)
class Arrow:
    """From one box to another: the way itself, a skip past some of it, or an arc that skips over boxes of its row."""
    start: str
    end: str
    kind: str = "way"


def sentence(box: Box) -> str:
    """`x_0: shape 32 × 128 × 128; weights 9,728; sees 5 × 5`."""
    return f"{box.name.replace('_', ' ')}: " + "; ".join(f"{key} {value}" for key, value in box.said.items())


def svg(boxes: Sequence[Box], arrows: Sequence[Arrow], name: str) -> str:
    """The drawing, `name` apart from others of its page.

    Each box is a button that says its facts; `book.js` shows them below, and without it a tooltip does.
    """
    low = [min(box.at[axis] for box in boxes) for axis in (0, 1)]
    middle = {box.name: (EDGE + WIDTH / 2 + (box.at[0] - low[0]) * COLUMN,
                         EDGE + HEIGHT / 2 + (box.at[1] - low[1]) * ROW)
              for box in boxes}
    width, height = (round(max(at[axis] for at in middle.values()) + half / 2 + EDGE)
                     for axis, half in ((0, WIDTH), (1, HEIGHT)))
    head = f"arrow-{name}"
    ways = [(arrow.kind, path(middle[arrow.start], middle[arrow.end], arrow.kind)) for arrow in arrows]
    lines = [f'<path class="arrow {kind}" d="{way}" marker-end="url(#{head})"/>' for kind, way in ways]
    return (f'<svg class="drawing" viewBox="0 0 {width} {height}" style="max-width:{width * 1.25:.0f}px" role="group" '
            'aria-label="Boxes and arrows; each box says its shape, weights and reach">'
            f'<defs><marker id="{head}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
            f'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>{"".join(lines)}'
            f'{"".join(picture(box, *middle[box.name]) for box in boxes)}</svg>')


def picture(box: Box, x: float, y: float) -> str:
    """A box, its name and its line."""
    name, _, index = box.name.partition("_")
    low = f'<tspan class="low" dy="3">{escape(index)}</tspan>' if index else ""
    said = escape(sentence(box))
    return (f'<g class="part" tabindex="0" role="button" aria-label="{said}" data-says="{said}"><title>{said}</title>'
            f'<rect x="{x - WIDTH / 2:.0f}" y="{y - HEIGHT / 2:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
            f'<text x="{x:.0f}" y="{y - 3:.0f}">{escape(name)}{low}</text>'
            f'<text class="small" x="{x:.0f}" y="{y + 13:.0f}">{escape(box.line)}</text></g>')


def path(start: tuple[float, float], end: tuple[float, float], kind: str) -> str:
    """From the side of one box that faces the other to the other's side; a skip past others of its row is an arc."""
    (x, y), (to_x, to_y) = start, end
    if y != to_y:
        down = 1 if to_y > y else -1
        lean = max(-WIDTH / 3, min(WIDTH / 3, (to_x - x) / 3))
        return f"M{x + lean:.0f} {y + down * HEIGHT / 2:.0f} {to_x - lean:.0f} {to_y - down * HEIGHT / 2:.0f}"
    side = 1 if to_x > x else -1
    if kind == "arc":
        top = y - HEIGHT / 2
        return f"M{x + side * 30:.0f} {top:.0f} Q{(x + to_x) / 2:.0f} {top - 30:.0f} {to_x - side * 30:.0f} {top:.0f}"
    return f"M{x + side * WIDTH / 2:.0f} {y:.0f} {to_x - side * WIDTH / 2:.0f} {to_y:.0f}"


def table(boxes: Sequence[Box]) -> str:
    """What all boxes say."""
    heads = "".join(f"<th>{escape(key)}</th>" for key in ("part", *boxes[0].said))
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>"
                                    for cell in (box.name.replace("_", " "), *box.said.values())) + "</tr>"
                   for box in boxes)
    return ('<div class="table-box"><table class="table dataframe">'
            f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>")
