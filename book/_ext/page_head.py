"""What surrounds a page: its head, its buttons, its stamp."""
from __future__ import annotations

import re
from datetime import date
from functools import cache
from pathlib import Path

from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx

import medlearn
from chapters import chapters, name_of, read, repository
from execute import cache_path
from figures import live_pages
from front import facts, pictures
from study import commit, machine

SIGNATURE = re.compile(r"<dl>\n(?:<dd>.*?</dd>\n)+</dl>", re.DOTALL)
LINE = re.compile(r'<dd>(<em class="sig-param">.*?</em>,)</dd>', re.DOTALL)
SIZE = re.compile(r'style="width: (\d+)px; height: (\d+)px;"')
SUMMARY = 200  # characters of a page's description


def surround(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Fill in what the templates ask for."""
    at = repository(Path(app.srcdir))
    context["description"] = description(doctree)
    context["canonical"] = at.page(pagename) if at.known else ""
    context["og_image"] = f"{at.book}_static/readme.png" if at.known else ""
    context["stamp"] = stamp(app, pagename)
    context["body"] = opening(app, pagename, mend(context.get("body", "")))
    if contents := context.get("generate_toctree_html"):
        context["generate_toctree_html"] = lambda *kind, **how: str(contents(*kind, **how)).replace(
            "<summary>", '<summary aria-label="Show the pages below">')
    context["header_buttons"] = buttons(context.get("header_buttons", []), context, pagename, Path(app.srcdir))
    if pagename in live_pages(app.env):
        app.add_css_file("live/live.css")
        app.add_js_file("live/kit.js", loading_method="defer")
    if doctree is None or not any(True for _ in doctree.findall(_is_math)):
        context["script_files"] = [file for file in context["script_files"] if "mathjax" not in
                                   f"{file.filename or ''} {file.attributes.get('body', '')}".lower()]



def opening(app: Sphinx, page: str, body: str) -> str:
    """A chapter's picture beside its first words, as on its card; below it stands with caption and alt text."""
    told = facts(app.env).get(page)
    if told is None or not told.picture:
        return body
    shown = f'<div class="opening" aria-hidden="true">{pictures(app, page, page, told)}</div>'
    return body.replace("</h1>", f"</h1>\n{shown}", 1)


def mend(body: str) -> str:
    """Lists that are none, in signatures and the bibliography; sizes of pictures, which a style would not shrink."""
    body = body.replace('<div role="list" class="citation-list">', '<div class="citation-list">')
    body = SIGNATURE.sub(lambda found: found[0].replace("<dl>", "<span>").replace("</dl>", "</span>"),
                         body.replace(' role="doc-biblioentry"', ""))
    body = SIZE.sub(r'width="\1" height="\2"', body)
    return LINE.sub(r'<span class="sig-line">\1</span>', body)


def _is_math(node: nodes.Node) -> bool:
    return isinstance(node, (nodes.math, nodes.math_block))


def description(doctree: nodes.document | None) -> str:
    """The beginning of a page's first paragraph, to the end of a sentence or a word."""
    first = doctree.next_node(nodes.paragraph) if doctree is not None else None
    text = " ".join(first.astext().split()) if first is not None else ""
    if len(text) <= SUMMARY:
        return text
    cut = text[:SUMMARY]
    return cut[:cut.rfind(". ") + 1] or cut.rpartition(" ")[0] + " ..."


# Buttons -------------------------------------------------------------------------------------------------------------

def buttons(given: list[dict], context: dict, page: str, root: Path) -> list[dict]:
    """The theme's own; to download there are the generated notebook, where the page is a chapter, and the print."""
    made = []
    for group in given:
        if group.get("label") == "download-buttons":
            notebook = {"type": "link", "url": f"{context['pathto']('_sources', 1)}/{page}.ipynb", "text": ".ipynb",
                        "icon": "fas fa-code", "tooltip": "Download the notebook", "label": "download-notebook-button"}
            kept = [button for button in group["buttons"] if button["label"] == "download-pdf-button"]
            group = {**group, "buttons": [*([notebook] if page in executed_on(root) else []), *kept]}
        made.append(group)
    return made


# The stamp -----------------------------------------------------------------------------------------------------------

def stamp(app: Sphinx, page: str) -> list[str]:
    """Where a page comes from: version and commit; when, where and with what it was run, or only built."""
    root = Path(app.srcdir)
    days = executed_on(root)
    made = f"run on {days[page]}" if page in days else f"built on {day_of(date.today())}"
    return [f"medlearn {medlearn.__version__}", f"commit {commit(root)}", made, machine()]


def day_of(when: date) -> str:
    return f"{when:%d %B %Y}".lstrip("0")


@cache
def executed_on(root: Path) -> dict[str, str]:
    """Chapter to the day on which its outputs were made."""
    kept, days = cache_path(root), {}
    if kept.exists():
        cache = get_cache(kept)
        for chapter in chapters(root):
            try:
                record = cache.match_cache_notebook(read(chapter))
            except KeyError:
                continue
            days[name_of(chapter, root)] = day_of(record.created)
    return days

