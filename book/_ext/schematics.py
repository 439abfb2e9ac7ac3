"""Schematics: a network drawn from its module, a chain of steps; each part says more when pointed at or tapped."""
from __future__ import annotations

import re
from html import escape
from itertools import groupby

from docutils import nodes
from docutils.statemachine import StringList

from architectures import drawn
from drawings import GLYPHS, svg, table
from figures import Captioned
from folds import Fold

STEP = re.compile(r"- (?P<glyph>\S+) \| (?P<name>[^|]+) \| (?P<says>.+)")
SAYS = ('<p class="schematic-says" aria-live="polite">'
        'Point at a part, or tap it, to see what it does.</p>')


class Architecture(Captioned):
    """A network, from the module itself: shape, weights and reach of every part.

        :::{architecture} unet
        :name: fig-unet-drawn
        The caption.
        :::
    """

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        try:
            boxes, arrows = drawn(name)
        except LookupError as missing:
            raise self.error(missing.args[0]) from missing
        drawing = f'<div class="schematic-box">{svg(boxes, arrows, name)}{SAYS}</div>'
        place = nodes.raw("", drawing, format="html")
        parts = Fold("", nodes.raw("", table(boxes), format="html"), title="All parts as a table",
                     classes=["fold-plot"])
        return [*self.figure(place, "schematic", f"architecture-{name}"), parts]


class Chain(Captioned):
    """Steps from left to right: a glyph, a name, and what the step does.

        :::{chain}
        :name: fig-ct-chain
        - tube | X-ray tube | It sends photons along each ray.
        - body | Body | Each millimetre takes its share of them.

        The caption.
        :::

    Steps behind a blank line are a row of their own: another way, to compare.
    """

    def run(self) -> list[nodes.Node]:
        found = [STEP.fullmatch(line.strip()) for line in self.content]
        rows = [[step.groupdict() for step in row] for are_steps, row in groupby(found, bool) if are_steps]
        unknown = [step["glyph"] for row in rows for step in row if step["glyph"] not in GLYPHS]
        if not rows or unknown:
            raise self.error("expected steps `- glyph | Name | What it does.` with glyphs of "
                             f"{', '.join(GLYPHS)}; got {unknown or 'none'}")
        self.content = StringList(["" if step else line for step, line in zip(found, self.content, strict=True)],
                                  self.content.source(0))
        place = nodes.raw("", f'<div class="schematic-box">{"<hr>".join(map(row_of, rows))}{SAYS}</div>', format="html")
        return self.figure(place, "schematic", f"chain-{self.lineno}")


def row_of(steps: list[dict[str, str]]) -> str:
    # no step is left alone on a second line, and none is wider than a fifth
    side_by_side = max(5, len(steps)) if len(steps) < 8 else -(-len(steps) // 2)
    return f'<ol class="chain" style="--steps: {side_by_side}">{"".join(map(step_of, steps))}</ol>'


def step_of(step: dict[str, str]) -> str:
    name, glyph = step["name"].strip(), GLYPHS[step["glyph"]]
    says = escape(f"{name}: {step['says'].strip()}")
    return (f'<li><button type="button" class="part" title="{says}" data-says="{says}">'
            f'<svg viewBox="0 0 48 36" aria-hidden="true">{glyph}</svg><span>{escape(name)}</span></button></li>')
