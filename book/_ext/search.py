"""The book's search: an index of its words, and each page's text in a file of its own, fetched where a result shows it.

Sphinx's own search loads every page that it finds; this one works from a folder of files, too.
"""
from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.addnodes import desc, desc_signature
from sphinx.application import Sphinx

from chapters import documents
from claim_boxes import anchor, shown
from medlearn.claims import claims

FOLDER = "_static/search"
PARTS = (nodes.section, desc, nodes.definition_list_item)      # what can be found: sections, functions, terms
HEADINGS = (nodes.title, desc_signature, nodes.term)
UNSAID = (*HEADINGS, nodes.raw, nodes.image, nodes.comment, nodes.system_message, nodes.literal_block)
WORD = re.compile(r"[^\W_]+")


class Part(NamedTuple):
    """A place that can be found: its anchor, its title and its prose."""

    at: str
    title: str
    text: str


def parts(app: Sphinx, page: str) -> Iterator[Part]:
    """Every section, function and term of a page, and every claim that it shows."""
    for part in app.env.get_doctree(page).findall(lambda node: isinstance(node, PARTS)):
        heading = next((child for child in part.children if isinstance(child, HEADINGS)), None)
        if heading is not None and (at := part["ids"] or heading["ids"]):
            name = heading["ids"][0] if isinstance(heading, desc_signature) else heading.astext()
            # of a function its first paragraph
            lines = said(part) if not isinstance(part, desc) else islice(said(part), 1)
            yield Part(at[0], name, " ".join(" ".join(lines).split()))
    for claim, sentence in claims().items():
        if shown(app.env).get(claim) == page:
            yield Part(anchor(claim), f"Claim {claim}", sentence)


def said(node: nodes.Element) -> Iterator[str]:
    """The prose of a part, without the parts within it and without code."""
    for child in node.children:
        if isinstance(child, (*PARTS, *UNSAID)):
            continue
        if isinstance(child, nodes.TextElement):
            yield child.astext()
        elif isinstance(child, nodes.Element):
            yield from said(child)


def words(text: str) -> set[str]:
    """The words of a text in small letters, without accents."""
    letters = (letter for letter in unicodedata.normalize("NFD", text) if not unicodedata.combining(letter))
    return set(WORD.findall("".join(letters).lower()))


def write_search(app: Sphinx) -> None:
    """`index.js`: pages, places, and where each word stands, as steps from one to the next; `<page>.js`: texts."""
    folder = Path(app.outdir, FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    pages, places, found = [], [], {}
    for page in documents(Path(app.srcdir)):
        here = list(parts(app, page))
        for part in here:
            for word in words(part.text):
                found.setdefault(word, []).append(len(places))
            places.append([len(pages), part.at, part.title])
        texts = compact([part.text for part in here])
        (folder / f"{len(pages)}.js").write_text(f"searchTexts({len(pages)}, {texts});\n", encoding="utf-8")
        pages.append([page, app.env.titles[page].astext()])
    steps = {word: [b - a for a, b in zip([0, *at], at)] for word, at in sorted(found.items())}
    index = compact({"pages": pages, "places": places, "words": steps})
    (folder / "index.js").write_text(f"window.searchIndex = {index};\n", encoding="utf-8")


def compact(data: object) -> str:
    """JSON in as few letters as it takes."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
