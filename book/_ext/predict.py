"""Predict, then see: a question to which the reader commits an answer before the book's own opens.

    ::::{predict}
    What suffers most without the skips?

    - [ ] the overlap (Dice)
    - [x] the border
    - [ ] the volume

    ---

    The border. ...
    ::::

The right choices are ticked. With `:number: 0.25` (and `:unit:`, `:within:`) the reader gives a number, and without
both some words. What they answer stays in their browser; without JavaScript the answer is a plain fold.
"""
from __future__ import annotations

import re
from html import escape

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from folds import Fold

CHOICE = re.compile(r"- \[([ x])\] ")


class Prediction(nodes.General, nodes.Element):
    """A question, and perhaps a fold with the answer."""


class Predict(SphinxDirective):
    has_content = True
    option_spec = {"number": float, "unit": directives.unchanged, "within": float}

    def run(self) -> list[nodes.Node]:
        lines = list(self.content)
        cut = next((i for i, line in enumerate(lines) if line.strip() == "---"), len(lines))
        right = [str(i) for i, mark in enumerate(filter(None, map(CHOICE.match, lines[:cut]))) if mark[1] == "x"]
        question = [CHOICE.sub("- ", line) if CHOICE.match(line) else line for line in lines[:cut]]
        kind = "choice" if question != lines[:cut] else "number" if "number" in self.options else "words"
        made = Prediction("", kind=kind, right=",".join(right),
                          **{key: str(value) for key, value in self.options.items()})
        self.set_source_info(made)
        self._parse(question, self.content_offset, made)
        if cut < len(lines):
            answer = Fold("", title="The answer", classes=["fold-answer"])
            self._parse(lines[cut + 1:], self.content_offset + cut + 1, answer)
            made += answer
        return [made]

    def _parse(self, lines: list[str], offset: int, into: nodes.Element) -> None:
        self.state.nested_parse(StringList(lines, self.content.source(0) if len(self.content) else ""), offset, into)


def visit_prediction(self, node: Prediction) -> None:
    data = {key: node[key] for key in ("kind", "right", "number", "unit", "within") if node.get(key)}
    said = "".join(f' data-{key}="{escape(value)}"' for key, value in data.items())
    self.body.append(f'<div class="predict" role="group" aria-label="Predict"{said}>\n'
                     '<p class="predict-title">Predict</p>\n')


def depart_prediction(self, node: Prediction) -> None:
    self.body.append("</div>\n")


def box_predictions(app: Sphinx, doctree: nodes.document) -> None:
    """A paragraph that begins with **Predict**, outside of the exercises, becomes a question to answer in words."""
    for text in list(doctree.findall(nodes.paragraph)):
        first, *rest = [child for child in text.children if child.astext()] or [None]
        asks = isinstance(first, nodes.strong) and first.astext().rstrip(".:") == "Predict"
        if not (asks and isinstance(text.parent, nodes.section)):
            continue
        if rest and isinstance(rest[0], nodes.Text):
            words = rest[0].lstrip(" .:,")
            rest[0] = nodes.Text(words[:1].upper() + words[1:])
        question = Prediction("", nodes.paragraph("", "", *rest), kind="words", right="")
        question.line, question.source = text.line, text.source
        text.replace_self(question)
