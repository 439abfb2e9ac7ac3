"""The book's own Sphinx extension (loaded by _config.yml): where things are, the claims page, figures and solutions.

Whatever it finds wrong it says as a warning with file and line, and the build counts warnings as errors.
"""
from __future__ import annotations

import sys
import typing
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
typing.GENERATING_DOCUMENTATION = "medlearn"  # jaxtyping then writes Float[Tensor, 'b k *s'] without its module

sys.path.insert(0, str(Path(__file__).parent))

from chapters import orphans, repository  # noqa: E402
from claim_boxes import (  # noqa: E402
    Claims, ClaimsList, box_claims, code_cells, forget_claims, merge_claims, write_claims)
from docstrings import as_rst  # noqa: E402
from execute import cache_path  # noqa: E402
from lint import claim_problems  # noqa: E402
from studies import all_quantities, quoted  # noqa: E402

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

def name_solutions(app: Sphinx, doctree: nodes.document) -> None:
    """A folded solution says so, instead of 'Show code cell content'."""
    for cell in code_cells(doctree):
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


# Numbers ------------------------------------------------------------------------------------------------------------

def study_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """{study}`name .2f`: a number with its range over the runs of a study."""
    try:
        return [nodes.inline(rawtext, quoted(text, all_quantities(Path(inliner.document.settings.env.srcdir))), classes=["study"])], []
    except LookupError as missing:
        return [nodes.problematic(rawtext, rawtext)], [inliner.reporter.warning(str(missing.args[0]), line=lineno)]


def exact_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """{exact}`0.1 %`: a number that no run can change; it is shown as it stands."""
    return [nodes.Text(text)], []


def setup(app: Sphinx) -> dict:
    app.add_node(ClaimsList)
    app.add_directive("claims", Claims)
    app.add_role("study", study_role)
    app.add_role("exact", exact_role)
    app.add_css_file("book.css")
    app.connect("config-inited", configure)
    app.connect("env-before-read-docs", the_book_is_whole)
    for handler in (name_solutions, every_figure_has_alt_text, box_claims):
        app.connect("doctree-read", handler)
    app.connect("env-purge-doc", forget_claims)
    app.connect("env-merge-info", merge_claims)
    app.connect("doctree-resolved", write_claims)
    app.connect("autodoc-process-docstring", as_rst)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}
