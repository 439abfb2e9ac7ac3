"""Every picture of a chapter is a figure with a number and a visible caption; instruments and schematics are, too."""
from __future__ import annotations

import ast
import re
from contextlib import AbstractContextManager, nullcontext

from docutils import nodes
from docutils.parsers.rst import directives
from myst_nb import sphinx_ as notebooks
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from claim_boxes import code_cells
from folds import source_of

FRAMED = notebooks.create_figure_context


def frame_once(renderer, options: dict | None, line: int) -> AbstractContextManager:
    """MyST-NB would frame every output of a cell as the same figure: a table behind the picture stands by itself."""
    name = nodes.fully_normalize_name(str((options or {}).get("name", "")))
    return nullcontext() if name and name in renderer.document.nametypes else FRAMED(renderer, options, line)


class NumberFigures(SphinxTransform):
    """Make a figure of what a code cell draws: with its name, and its caption or else its alt text.

        :mystnb: {figure: {name: fig-planes, caption: "..."}, image: {alt: "..."}}
    """

    default_priority = 500  # after the parser, before the labels are collected

    def apply(self) -> None:
        draws = [(cell, drawn) for cell in code_cells(self.document) if (drawn := list(cell.findall(_is_drawing)))]
        for number, (cell, drawn) in enumerate(draws, 1):
            own = (node for node in cell.findall(nodes.figure) if drawn[0] in node.children)  # MyST-NB's
            figure = next(own, None)
            figure = figure if figure is not None else self._frame(cell, drawn)
            figure["classes"].append("drawn")
            if not figure["ids"]:
                figure["ids"].append(f"figure-{number}")

    def _frame(self, cell: nodes.container, drawn: list[nodes.Element]) -> nodes.figure:
        """A figure around what a cell drew."""
        settings = cell["cell_metadata"].get("mystnb") or {}
        told = settings.get("figure") or {}
        caption = told.get("caption") or (settings.get("image") or {}).get("alt") or explorer_alt(source_of(cell))
        figure = nodes.figure("")
        figure["names"] += [nodes.fully_normalize_name(told["name"])] if "name" in told else []
        figure.line, figure.source = cell.line, cell.source
        if figure["names"]:
            self.document.note_explicit_target(figure, figure)
        drawn[0].replace_self(figure)
        for output in drawn:
            if output is not drawn[0]:
                output.parent.remove(output)
            figure += output
        figure += nodes.caption("", "", *inline(str(caption)))
        return figure


INLINE = re.compile(r"\$([^$]+)\$|`([^`]+)`|\*([^*]+)\*")


def inline(text: str) -> list[nodes.Node]:
    """A line of text with its formulas, code and emphasis."""
    made, end = [], 0
    for found in INLINE.finditer(text):
        math, code, stressed = found.groups()
        made += [nodes.Text(text[end:found.start()]), nodes.math("", math) if math else nodes.literal("", code) if code
                 else nodes.emphasis("", stressed)]
        end = found.end()
    return [node for node in [*made, nodes.Text(text[end:])] if node.astext()]


def _is_drawing(node: nodes.Node) -> bool:
    """An output that is a picture or an explorer."""
    if not (isinstance(node, nodes.container) and node.get("nb_element") == "mime_bundle"):
        return False
    explorers = (raw for raw in node.findall(nodes.raw) if "medlearn-explorer" in raw.astext())
    return any(True for _ in node.findall(nodes.image)) or any(True for _ in explorers)


def explorer_alt(source: str) -> str:
    """What `viz.explore(..., alt="...")` says of its picture; "" where nothing is said in plain text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("explore"):
            said = (word.value for word in node.keywords if word.arg == "alt")
            return next((value.value for value in said if isinstance(value, ast.Constant)), "")
    return ""


def instrument(name: str, volume: str = "") -> nodes.raw:
    """The place of a live instrument; `volume` says which scan the three planes show, "brain" or "torso"."""
    scan = f' data-volume="{volume}"' if volume else ""
    return nodes.raw("", f'<div class="ml-live" data-instrument="{name}"{scan}><noscript>Here stands a figure that '
                         "computes in your browser, with JavaScript.</noscript></div>", format="html")


class Captioned(SphinxDirective):
    """Something in the page with a number, a name and a caption, which is the directive's text."""

    has_content = True
    option_spec = {"name": directives.unchanged}

    def figure(self, place: nodes.Node, kind: str, name: str) -> list[nodes.Node]:
        """A figure of this kind; what it is called where no `:name:` says so."""
        figure = nodes.figure("", place, classes=[kind])
        self.set_source_info(figure)
        caption = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, caption)
        figure += nodes.caption("", "", *caption[0].children)
        figure["names"].append(nodes.fully_normalize_name(self.options.get("name") or name))
        self.state.document.note_explicit_target(figure, figure)
        return [figure]


class Live(Captioned):
    """A figure that computes in the page.

        :::{live} ct-dose
        :name: fig-dose
        The caption.
        :::
    """

    required_arguments = 1
    option_spec = {**Captioned.option_spec,
                   "volume": lambda given: directives.choice(given, ("brain", "torso"))}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        place = instrument(name, self.options.get("volume", ""))
        live_pages(self.env).add(self.env.docname)
        return self.figure(place, "live", f"live-{name}") if self.content else [place]


def live_pages(env) -> set[str]:
    """The pages that hold an instrument."""
    if not hasattr(env, "medlearn_live"):
        env.medlearn_live = set()
    return env.medlearn_live
