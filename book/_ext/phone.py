"""Drawings on a phone: their labels grow until they can be read, where there is room.

A drawing is an image of its own width on the page, and a rule of its own style sees that width. So one file does for
every screen.
"""
from __future__ import annotations

import re

PHONE_PX, LEAST_PX = 350, 9     # how wide a drawing is on a phone, and how high a label at least
GAP_PT = 5                      # between an axis and the label of its tick
MOST = 1.6                      # times as large
RULE = ("@media (max-width: 480px) { .label { transform-box: fill-box; transform: scale(var(--times)); "
        "transform-origin: var(--from) center; } }")

WIDTH = re.compile(r'<svg [^>]*?width="([\d.]+)pt"')
PART = re.compile(r'<g id="(?P<part>[a-z]+)[^"]*"|'
                  r'(?P<open><g [^>]*?transform="translate\((?P<x>[-\d.]+) '
                  r'[^"]*?scale\((?P<size>[\d.]+) -[\d.]+\)"[^>]*>)'
                  r'(?P<glyphs>(?:(?!</?g\b).)*)</g>', re.DOTALL)
PLACE = re.compile(r'<use [^>]*?transform="translate\(([-\d.]+) ')


def readable(drawing: str) -> str:
    """A drawing of Matplotlib whose labels are `LEAST_PX` high on a phone, or as high as there is room for."""
    if RULE in drawing:
        return drawing
    width, around = float(WIDTH.search(drawing)[1]), ""

    def part(found: re.Match) -> str:
        nonlocal around
        if name := found["part"]:
            if name in ("axes", "legend") or around != "legend" and name in ("xtick", "ytick", "patch"):
                around = name
            return found[0]
        times, origin = growth(float(found["x"]), length(found), 100 * float(found["size"]), width, around,
                               turned="rotate" in found["open"])
        return (f'{found["open"]}<g class="label" style="--times: {times:.2f}; --from: {origin:.0%}">'
                f'{found["glyphs"]}</g></g>')

    return PART.sub(part, drawing).replace("</style>", f"{RULE}</style>", 1)


def growth(left: float, long: float, size: float, width: float, around: str, *, turned: bool) -> tuple[float, float]:
    """How many times as large a label becomes, and from which share of its length it grows, all in points."""
    times = min(max(1.0, LEAST_PX * width / (PHONE_PX * size)), MOST)
    if turned or times == 1:
        return times, 0.5
    if around == "legend":                              # its line stands before it
        return min(times, max(1.0, (width - left) / long)), 0.0
    if around == "ytick":                               # towards its axis first, then away
        more = max(min((times - 1) * long, left + GAP_PT), 0.1)
        return 1 + more / long, max(0.0, 1 - GAP_PT / more)
    more = (times - 1) * long
    before = min(max(more / 2, more - (width - left - long)), max(left, 0))
    return times, before / more


def length(label: re.Match) -> float:
    """About how long a label is: as far as its last glyph begins, and one more."""
    places = [float(x) for x in PLACE.findall(label["glyphs"])]
    return (max(places, default=0) + 60) * float(label["size"])
