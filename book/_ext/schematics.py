"""Schematics: a network drawn from its module, a chain of steps; each part says more when it is pointed at or tapped."""
from __future__ import annotations

import re
from html import escape

from docutils import nodes
from docutils.statemachine import StringList

from architectures import drawn
from drawings import GLYPHS, svg, table
from figures import Captioned
from folds import Fold

STEP = re.compile(r"- (?P<glyph>\S+) \| (?P<name>[^|]+) \| (?P<says>.+)")
SAYS = '<p class="schematic-says" aria-live="polite">Point at a part, or tap it, to see what it does.</p>'


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
        place = nodes.raw("", f'<div class="schematic-box">{svg(boxes, arrows, name)}{SAYS}</div>', format="html")
        parts = Fold("", nodes.raw("", table(boxes), format="html"), title="All parts as a table", classes=["fold-plot"])
        return [*self.figure(place, "schematic", f"architecture-{name}"), parts]


class Chain(Captioned):
    """Steps from left to right: a glyph, a name, and what the step does.

        :::{chain}
        :name: fig-ct-chain
        - tube | X-ray tube | It sends photons along each ray.
        - body | Body | Each millimetre takes its share of them.

        The caption.
        :::
    """

    def run(self) -> list[nodes.Node]:
        lines = list(self.content)
        steps = [found.groupdict() for line in lines if (found := STEP.fullmatch(line.strip()))]
        unknown = [step["glyph"] for step in steps if step["glyph"] not in GLYPHS]
        if not steps or unknown:
            raise self.error(f"expected steps `- glyph | Name | What it does.` with glyphs of {', '.join(GLYPHS)}; got {unknown or 'none'}")
        self.content = StringList([line if not STEP.fullmatch(line.strip()) else "" for line in lines], self.content.source(0))
        place = nodes.raw("", f'<div class="schematic-box"><ol class="chain">{"".join(map(step_of, steps))}</ol>{SAYS}</div>', format="html")
        return self.figure(place, "schematic", f"chain-{self.lineno}")


def step_of(step: dict[str, str]) -> str:
    says = escape(f"{step['name'].strip()}: {step['says'].strip()}")
    return (f'<li><button type="button" class="part" title="{says}" data-says="{says}">'
            f'<svg viewBox="0 0 48 36" aria-hidden="true">{GLYPHS[step["glyph"]]}</svg><span>{escape(step["name"].strip())}</span>'
            "</button></li>")
