"""The book's own Sphinx extension (loaded by _config.yml): where things are, the claims page, figures and solutions.

Whatever it finds wrong it says as a warning with file and line, and the build counts warnings as errors.
"""
from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
typing.GENERATING_DOCUMENTATION = "medlearn"  # jaxtyping then writes Float[Tensor, 'b k *s'] without its module

from chapters import orphans, repository  # noqa: E402
from execute import cache_path  # noqa: E402
from lint import claim_problems  # noqa: E402

log = logging.getLogger(__name__)
MATHJAX = "vendor/mathjax/tex-mml-chtml.js"


def configure(app: Sphinx, config) -> None:
    """What cannot stand in _config.yml because it depends on the machine."""
    root, theme = Path(app.srcdir), config.html_theme_options
    theme["repository_url"], theme["repository_branch"] = repository(root).url, repository(root).branch
    config.nb_execution_cache_path = str(cache_path(root))
    if (root / "book/_static" / MATHJAX).exists():  # else Sphinx's default, which is a CDN
        config.mathjax_path = MATHJAX


def the_book_is_whole(app: Sphinx, env, docnames) -> None:
    """A page that nobody can reach, or a claim that no chapter shows or two do, is a mistake."""
    for text in [*orphans(Path(app.srcdir)), *claim_problems(Path(app.srcdir))]:
        log.warning(text)


# Cells --------------------------------------------------------------------------------------------------------------

def cells(doctree: nodes.document):
    """The code cells of a page."""
    return doctree.findall(lambda n: isinstance(n, nodes.container) and n.get("nb_element") == "cell_code")


def name_solutions(app: Sphinx, doctree: nodes.document) -> None:
    """A folded solution says so, instead of 'Show code cell content'."""
    for cell in cells(doctree):
        if "tag_solution" in cell["classes"]:
            cell["prompt_show"] = cell["prompt_hide"] = "Solution"


def every_figure_has_alt_text(app: Sphinx, doctree: nodes.document) -> None:
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            log.warning('figure without alt text; a code cell takes it as :mystnb: {image: {alt: "..."}}',
                        location=placed(image))


def placed(node: nodes.Node) -> nodes.Node:
    """The node, or the nearest around it, whose line is known."""
    while not node.line and node.parent is not None:
        node = node.parent
    return node


# Claims -------------------------------------------------------------------------------------------------------------

def anchor(claim: str) -> str:
    """`tasks.simplex` to the id of the cell that shows it."""
    return "claim-" + claim.replace(".", "-")


def shown(env) -> dict[str, str]:
    """Claim to the page that shows it."""
    if not hasattr(env, "medlearn_claims"):
        env.medlearn_claims = {}
    return env.medlearn_claims


def find_claims(app: Sphinx, doctree: nodes.document) -> None:
    """Give each cell that shows a claim an id, and remember the page."""
    from medlearn.claims import claims_in
    for cell in cells(doctree):
        source = cell.next_node(nodes.literal_block)
        for claim, _ in claims_in(source.astext()) if source else ():
            cell["ids"].append(anchor(claim))
            shown(app.env)[claim] = app.env.docname


def forget_claims(app: Sphinx, env, docname: str) -> None:
    env.medlearn_claims = {claim: page for claim, page in shown(env).items() if page != docname}


def merge_claims(app: Sphinx, env, docnames, other) -> None:
    shown(env).update({claim: page for claim, page in shown(other).items() if page in docnames})


class ClaimsList(nodes.General, nodes.Element):
    """Stands for the list until every page has been read."""


class Claims(SphinxDirective):
    """All claims by chapter, each with a link to the cell that shows it."""

    def run(self) -> list[nodes.Node]:
        return [ClaimsList()]


def write_claims(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    from medlearn.claims import claims
    for place in list(doctree.findall(ClaimsList)):
        sentences, where = claims(), shown(app.env)
        pages = dict.fromkeys(where[claim] for claim in sentences if claim in where)
        place.replace_self([node for page in pages for node in
                            claims_of(app, docname, page, {c: s for c, s in sentences.items() if where.get(c) == page})])


def claims_of(app: Sphinx, here: str, page: str, sentences: dict[str, str]) -> list[nodes.Node]:
    """A chapter's title, and its claims as a list of links."""
    def link(text: str, target: str = "") -> nodes.reference:
        uri = app.builder.get_relative_uri(here, page) + (f"#{target}" if target else "")
        return nodes.reference("", "", nodes.literal("", text) if target else nodes.Text(text), refuri=uri, internal=True)

    def item(claim: str, sentence: str) -> nodes.list_item:
        return nodes.list_item("", nodes.paragraph("", "", link(claim, anchor(claim)), nodes.Text("  " + sentence)))

    title = nodes.rubric("", "", link(app.env.titles[page].astext()))
    return [title, nodes.bullet_list("", *[item(c, s) for c, s in sentences.items()], classes=["claims"])]


# Reference ----------------------------------------------------------------------------------------------------------

FIELDS = re.compile(r"(?<=[.:)])\s(?=(?:Shapes|Units|Errors|Source|Sources): )|(?<=\.)\s(?=Chapters? \d)|"
                    r"^(?=(?:Shapes|Units|Errors|Source|Sources): )", re.MULTILINE)


def as_rst(app: Sphinx, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are written for `help()`: their code, formulas and fields become reST's."""
    text = FIELDS.sub("\n\n", "\n".join(lines))
    text = re.sub(r"(?<![`:])`([^`\n]+)`(?![`_])", r"``\1``", text)
    text = re.sub(r"\$([^$]+)\$", lambda found: f":math:`{' '.join(found[1].split())}`", text)
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> dict:
    app.add_node(ClaimsList)
    app.add_directive("claims", Claims)
    app.add_css_file("book.css")
    app.connect("config-inited", configure)
    app.connect("env-before-read-docs", the_book_is_whole)
    for handler in (name_solutions, every_figure_has_alt_text, find_claims):
        app.connect("doctree-read", handler)
    app.connect("env-purge-doc", forget_claims)
    app.connect("env-merge-info", merge_claims)
    app.connect("doctree-resolved", write_claims)
    app.connect("autodoc-process-docstring", as_rst)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
