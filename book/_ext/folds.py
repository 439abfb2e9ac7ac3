"""One kind of fold for the whole book: a native <details>, which opens without JavaScript, too.

Code that is machinery, hints, solutions: each under a button that says what it holds.
"""
from __future__ import annotations

from html import escape

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx_exercise.nodes import solution_node

from chapters import Cell
from claim_boxes import code_cells
from exercises import SOLUTION
from folding import SHOWN_FIRST, fold_of, title


class Fold(nodes.General, nodes.Element):
    """Its children, under a button with its `title`."""


def visit_fold(self, node: Fold) -> None:
    self.body.append(self.starttag(node, "details", CLASS="fold"))
    self.body.append(f"<summary>{escape(node['title'])}</summary>\n<div class=\"fold-body\">\n")


def depart_fold(self, node: Fold) -> None:
    self.body.append("</div>\n</details>\n")


def fold_cells(app: Sphinx, doctree: nodes.document) -> None:
    """Fold machinery: set-up above its outputs, the code of a figure or table below it; a solution as a whole."""
    found = list(code_cells(doctree))
    cells = [Cell("code", source_of(cell), cell["cell_metadata"], cell.line or 0) for cell in found]
    for index, (cell, parts) in enumerate(zip(cells, found)):
        parts.attributes.pop("hide_mode", None)
        if SOLUTION in cell.tags:
            inside, parts.children = parts.children, []
            parts += Fold("", *inside, title="Solution", classes=["fold-solution"])
        elif kind := fold_of(cells, index):
            code, *outputs = parts.children
            parts.children = []
            inside = [code, *outputs] if kind == "setup" else [code]
            before = outputs if kind in SHOWN_FIRST else []
            folded = Fold("", *inside, title=title(kind, cell.source), classes=[f"fold-{kind}"])
            parts += [*before, folded] + [output for output in outputs if output not in (*inside, *before)]


def source_of(cell: nodes.container) -> str:
    """The code of a cell."""
    return cell.next_node(nodes.literal_block).astext()


class FoldAsides(SphinxPostTransform):
    """Hints and solutions of the class `dropdown`, once their titles have their numbers."""

    default_priority = 30

    def run(self) -> None:
        for aside in list(self.document.findall(lambda node: isinstance(node, (nodes.admonition, solution_node))
                                                and "dropdown" in node["classes"])):
            heading, *body = aside.children
            kind = "fold-solution" if isinstance(aside, solution_node) else "fold-hint"
            aside.replace_self(Fold("", *body, title=heading.astext(), ids=aside["ids"], classes=[kind]))
