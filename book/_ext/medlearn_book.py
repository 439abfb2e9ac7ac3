"""The book's own Sphinx extension (loaded by _config.yml): it joins what the files beside it do.

Whatever it finds wrong it says as a warning with file and line, and the build counts warnings as errors.
"""
from __future__ import annotations

import sys
import typing
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
typing.GENERATING_DOCUMENTATION = "medlearn"  # jaxtyping then writes Float[Tensor, 'b k *s'] without its module

sys.path.insert(0, str(Path(__file__).parent))

from chapters import orphans, repository  # noqa: E402
from claim_boxes import (  # noqa: E402
    Claims, ClaimsList, box_claims, forget_claims, merge_claims, write_claims)
from dark import AddDarkTwins  # noqa: E402
from docstrings import as_rst, named_default, says_nothing  # noqa: E402
from execute import cache_path  # noqa: E402
from figures import Live, NumberFigures, frame_once, notebooks  # noqa: E402
from folds import Fold, FoldAsides, depart_fold, fold_cells, visit_fold  # noqa: E402
from front import Hero, Part, Place, fill, gather  # noqa: E402
from lint import claim_problems  # noqa: E402
from numbered import FigureReferences  # noqa: E402
from page_head import surround  # noqa: E402
from predict import Predict, Prediction, box_predictions, depart_prediction, visit_prediction  # noqa: E402
from recap import AddRecap  # noqa: E402
from schematics import Architecture, Chain  # noqa: E402
from studies import all_quantities, quoted  # noqa: E402
from whole_site import more_pages, no_index, write_files  # noqa: E402

log = logging.getLogger(__name__)
MATHJAX = "vendor/mathjax/tex-mml-chtml.js"


def configure(app: Sphinx, config) -> None:
    """What cannot stand in _config.yml because it depends on the machine."""
    root, theme = Path(app.srcdir), config.html_theme_options
    at = repository(root)
    if at.known:
        theme.update(repository_url=at.url, repository_branch=at.branch, use_repository_button=True,
                     use_issues_button=True)
    else:  # no button leads to a place that is not there
        theme["launch_buttons"] = {}
    theme["footer_content_items"] = ["stamp.html", "author.html", "copyright.html"]
    config.nb_execution_cache_path = str(cache_path(root))
    if (root / "book/_static" / MATHJAX).exists():  # else Sphinx's default, which is a CDN
        config.mathjax_path = MATHJAX


def fill_addresses(app: Sphinx, docname: str, text: list[str]) -> None:
    """`{{ repository }}` in a page is the address of the source, which is known in one place."""
    text[0] = text[0].replace("{{ repository }}", repository(Path(app.srcdir)).url or "ADDRESS-OF-THIS-REPOSITORY")


def the_book_is_whole(app: Sphinx, env, docnames) -> None:
    """A page that nobody can reach, or a claim that no chapter shows or two do, is a mistake."""
    for text in [*orphans(Path(app.srcdir)), *claim_problems(Path(app.srcdir))]:
        log.warning(text)


# Cells --------------------------------------------------------------------------------------------------------------

def every_figure_has_alt_text(app: Sphinx, doctree: nodes.document) -> None:
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            log.warning('figure without alt text; a code cell takes it as :mystnb: {image: {alt: "..."}}',
                        location=placed(image))


def one_document(app: Sphinx, doctree: nodes.document) -> None:
    """Parts of a page that were read as another document forget it: it would be kept with all that Sphinx knows."""
    for node in doctree.findall():
        node.document = doctree


def own_ids(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """sphinx-exercise gives the inside of every exercise the same id: on a page each needs its own."""
    for number, section in enumerate(doctree.findall(nodes.section)):
        if section["ids"] in (["exercise-content"], ["solution-content"]):
            section["ids"] = [f"{section['ids'][0]}-{number}"]


def placed(node: nodes.Node) -> nodes.Node:
    """The node, or the nearest around it, whose line is known."""
    while not node.line and node.parent is not None:
        node = node.parent
    return node


# Numbers ------------------------------------------------------------------------------------------------------------

quantities = cache(all_quantities)  # the records do not change while a book is built


def study_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """{study}`name .2f`: a number with its range over the runs of a study."""
    try:
        return [nodes.inline(rawtext, quoted(text, quantities(Path(inliner.document.settings.env.srcdir))),
                             classes=["study"])], []
    except LookupError as missing:
        return [nodes.problematic(rawtext, rawtext)], [inliner.reporter.warning(str(missing.args[0]), line=lineno)]


def exact_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """{exact}`0.1 %`: a number that no run can change; it is shown as it stands."""
    return [nodes.Text(text)], []


def setup(app: Sphinx) -> dict:
    notebooks.create_figure_context = frame_once
    app.add_domain(FigureReferences, override=True)
    app.add_node(ClaimsList)
    app.add_node(Place)
    app.add_node(Fold, html=(visit_fold, depart_fold))
    app.add_node(Prediction, html=(visit_prediction, depart_prediction))
    for name, directive in {"claims": Claims, "predict": Predict, "live": Live, "architecture": Architecture,
                            "chain": Chain, "hero": Hero, "book": Part}.items():
        app.add_directive(name, directive)
    app.add_role("study", study_role)
    app.add_role("exact", exact_role)
    app.add_transform(NumberFigures)
    app.add_post_transform(FoldAsides)
    app.add_post_transform(AddDarkTwins)
    app.add_post_transform(AddRecap)
    app.add_css_file("icons.css")
    app.add_css_file("book.css")
    app.add_js_file("book.js", loading_method="defer")
    for event, handlers in {
        "config-inited": [configure],
        "builder-inited": [no_index],
        "env-before-read-docs": [the_book_is_whole],
        "source-read": [fill_addresses],
        "doctree-read": [every_figure_has_alt_text, gather, box_claims, fold_cells, box_predictions, one_document],
        "env-purge-doc": [forget_claims],
        "env-merge-info": [merge_claims],
        "doctree-resolved": [write_claims, fill, own_ids],
        "autodoc-process-docstring": [as_rst],
        "autodoc-process-signature": [named_default],
        "autodoc-skip-member": [says_nothing],
        "html-collect-pages": [more_pages],
        "build-finished": [write_files],
    }.items():
        for handler in handlers:
            app.connect(event, handler)
    app.connect("html-page-context", surround, priority=900)  # after the theme's buttons
    return {"version": "1", "env_version": 1, "parallel_read_safe": False, "parallel_write_safe": False}
