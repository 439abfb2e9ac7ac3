"""Claims on the pages: a box where a chapter shows one, with what was checked folded into it; and the list of all.

What the run printed decides whether a claim held on the machine that made the page; the study's record says in how many
other runs it did, and by how much.
"""
from __future__ import annotations

import html
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from claim_calls import call_in, claims_in
from studies import Spread, Study, Trial, studies

from medlearn.claims import claims, kinds

PRINTED = re.compile(r"^Claim (\S+) (holds|DOES NOT HOLD HERE): (.*)\n?((?:^  .*\n?)*)", re.MULTILINE)
WIDTH, ROW = 260, 16  # of a strip of dots, in CSS pixels


def anchor(claim: str) -> str:
    """`tasks.simplex` to the id of the cell that shows it."""
    return "claim-" + claim.replace(".", "-")


def code_cells(doctree: nodes.document):
    """The code cells of a page."""
    return doctree.findall(lambda n: isinstance(n, nodes.container) and n.get("nb_element") == "cell_code")


# In a chapter --------------------------------------------------------------------------------------------------------

def box_claims(app: Sphinx, doctree: nodes.document) -> None:
    """Give each cell that shows a claim an id, remember the page, and make a box of the line that the claim printed."""
    found = recorded(app)
    for cell in code_cells(doctree):
        source = cell.next_node(nodes.literal_block)
        shows = [claim for claim, _ in claims_in(source.astext())] if source else []
        for claim in shows:
            cell["ids"].append(anchor(claim))
            shown(app.env)[claim] = app.env.docname
        if shows:
            for output in list(cell.findall(nodes.literal_block))[1:]:
                if PRINTED.search(output.astext()):
                    output.parent.replace(output, list(boxed(output, source.astext(), found)))


def boxed(output: nodes.literal_block, source: str, found: dict[str, tuple[Trial, Study]]):
    """What a cell printed, with its claims as boxes."""
    text, end = output.astext(), 0
    for line in PRINTED.finditer(text):
        yield from plain(output, text[end:line.start()])
        yield nodes.raw("", box(line, source, found.get(line[1])), format="html")
        end = line.end()
    yield from plain(output, text[end:])


def plain(output: nodes.literal_block, text: str):
    if text.strip():
        copy = output.deepcopy()
        copy.children = []
        copy.rawsource = text.strip("\n")
        copy += nodes.Text(text.strip("\n"))
        yield copy


def box(line: re.Match, source: str, record: tuple[Trial, Study] | None) -> str:
    """One claim: its sentence, what the study says of it, and folded, the condition and the numbers."""
    claim, verdict, sentence, evidence = line.groups()
    holds, escape = verdict == "holds", html.escape
    parts = [f'<div class="claim {"claim-holds" if holds else "claim-fails"}" role="group" '
             f'aria-label="Claim {escape(claim)}">',
             f'<p class="claim-head"><span class="claim-badge">{"Claim" if holds else "Does not hold here"}</span> '
             f'<code>{escape(claim)}</code></p>', f"<p>{escape(sentence)}</p>"]
    if not holds:
        parts.append(f"<pre>{escape(evidence)}</pre>")
    parts.append(f'<details><summary>What was checked ({escape(standing(claim, record))})</summary>'
                 f'<pre>{escape(call_in(source, claim))}</pre>{numbers(claim, record)}</details></div>')
    return "\n".join(parts)


def standing(claim: str, record: tuple[Trial, Study] | None) -> str:
    """A line about a claim in its study."""
    kind = "exact" if kinds().get(claim) == "exact" else "measured"
    if record is None:
        return f"{kind}; not yet in a study"
    trial, study = record
    failed = ", control failed in all" if not trial.passed else f", control passed in {trial.passed}"
    control = failed if trial.control else ""
    also = "".join(f", {told} as well" if trial.stands else f", not {told}"
                   for told, trial in study.elsewhere(claim).items())
    return f"{kind}: held in {trial.held} of {trial.runs} runs{control}{also}"


def numbers(claim: str, record: tuple[Trial, Study] | None) -> str:
    """The effect and the controls over the runs, as a table with a strip of dots each."""
    if record is None or not record[0].effect:
        return ""
    trial, study, elsewhere = record[0], record[1].usual, record[1].elsewhere(claim)
    rows = []
    for part in trial.effect:
        measured = [(part or "effect", trial.effect[part], "effect")]
        measured += [(told, other.effect[part], "effect") for told, other in elsewhere.items() if part in other.effect]
        measured += [(f"control: {name}", parts[part], "null")
                     for name, parts in trial.control.items() if part in parts]
        reach = max(abs(x) for _, spread, _ in measured for x in spread.values) or 1.0
        for label, spread, kind in measured:
            rows.append(f"<tr class=\"{kind}\"><td>{html.escape(label)}</td><td>{strip(spread, reach, kind)}</td>"
                        f"<td>{html.escape(spread.text('+.2g'))}</td></tr>")
    return ('<table class="claim-study"><caption>Distance from the bar, one dot a run; the line is the bar. '
            "Grey: what must fail.</caption>" + "".join(rows) + "</table><p class=\"claim-where\">Settings: "
            f'{html.escape("; ".join(study.settings))}. Machines: {html.escape("; ".join(study.machines))}.</p>')


def strip(spread: Spread, reach: float, kind: str) -> str:
    """Dots on a line from -reach to reach, the bar in the middle."""
    dots = "".join(f'<circle cx="{WIDTH / 2 + x / reach * (WIDTH / 2 - 5):.1f}" cy="{ROW / 2}" r="3.5"/>'
                   for x in spread.values)
    return (f'<svg class="{kind}" width="{WIDTH}" height="{ROW}" viewBox="0 0 {WIDTH} {ROW}" role="img" '
            f'aria-label="{spread.text("+.2g")}">'
            f'<line x1="{WIDTH / 2}" x2="{WIDTH / 2}" y1="0" y2="{ROW}"/>{dots}</svg>')


def recorded(app: Sphinx) -> dict[str, tuple[Trial, Study]]:
    """Claim to its trial and the study that holds it."""
    return {claim: (trial, study) for study in studies(Path(app.srcdir)).values()
            for claim, trial in study.usual.trials().items()}


# All of them ---------------------------------------------------------------------------------------------------------

def shown(env) -> dict[str, str]:
    """Claim to the page that shows it."""
    if not hasattr(env, "medlearn_claims"):
        env.medlearn_claims = {}
    return env.medlearn_claims


def forget_claims(app: Sphinx, env, docname: str) -> None:
    env.medlearn_claims = {claim: page for claim, page in shown(env).items() if page != docname}


def merge_claims(app: Sphinx, env, docnames, other) -> None:
    shown(env).update({claim: page for claim, page in shown(other).items() if page in docnames})


class ClaimsList(nodes.General, nodes.Element):
    """Stands for the list until every page has been read."""


class Claims(SphinxDirective):
    """All claims by chapter, each with a link to the cell that shows it and with what its study says."""

    def run(self) -> list[nodes.Node]:
        return [ClaimsList()]


def write_claims(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for place in list(doctree.findall(ClaimsList)):
        sentences, where, found = claims(), shown(app.env), recorded(app)
        pages = dict.fromkeys(where[claim] for claim in sentences if claim in where)
        place.replace_self([node for page in pages for node in
                            claims_of(app, docname, page, {c: s for c, s in sentences.items() if where.get(c) == page},
                                      found)])


def claims_of(app: Sphinx, here: str, page: str, sentences: dict[str, str], found: dict) -> list[nodes.Node]:
    """A chapter's title, and its claims as a list of links, each over its trial."""
    def link(text: str, target: str = "") -> nodes.reference:
        uri = app.builder.get_relative_uri(here, page) + (f"#{target}" if target else "")
        return nodes.reference("", "", nodes.literal("", text) if target else nodes.Text(text), refuri=uri,
                               internal=True)

    def item(claim: str, sentence: str) -> nodes.list_item:
        folded = f'<details class="claim-row"><summary>{html.escape(standing(claim, found.get(claim)))}</summary>' \
                 f"{numbers(claim, found.get(claim))}</details>"
        return nodes.list_item("", nodes.paragraph("", "", link(claim, anchor(claim)), nodes.Text("  " + sentence)),
                               nodes.raw("", folded, format="html"))

    title = nodes.rubric("", "", link(app.env.titles[page].astext()))
    return [title, nodes.bullet_list("", *[item(c, s) for c, s in sentences.items()], classes=["claims"])]

