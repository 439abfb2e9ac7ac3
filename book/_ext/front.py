"""The front page, made from the chapters: what it is, an instrument, a card for each chapter, which rooms it uses."""
from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from shutil import copy

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from chapters import documents, front_matter, is_chapter, is_solution, repository, source
from claim_boxes import code_cells
from dark import has_twin, of_drawing, panels, twin
from docstrings import ROOMS
from exercises import SOLUTION, check_ids
from figures import instrument, live_pages
from folds import source_of
from medlearn.claims import claims

CARD_PX = 640
MINUTES = re.compile(r"About (\d+) minutes")
USES = re.compile(r"\bmedlearn(?:\.|\s+import\s+(?:\w+,\s*)*)(%s)\b" % "|".join(ROOMS))


@dataclass
class Facts:
    """What the front page tells of a chapter."""
    question: str
    minutes: str
    picture: str       # a file of the build, from the book's root
    play: int          # figures that answer
    exercises: int
    checks: int
    rooms: list[str]


def gather(app: Sphinx, doctree: nodes.document) -> None:
    """A chapter's facts, once it has been read."""
    page = app.env.docname
    path = source(page, Path(app.srcdir))
    if not (path.exists() and is_chapter(path)) or is_solution(path):
        return
    code = [(source_of(cell), cell["cell_metadata"].get("tags", ())) for cell in code_cells(doctree)]
    uses = {room for text, _ in code for room in USES.findall(text)}
    drawn = [image["uri"] for image in doctree.findall(nodes.image) if has_twin(image)]
    picture = next((uri for uri in drawn if holds_scan(Path(app.srcdir) / uri)), drawn[0] if drawn else "")
    minutes = MINUTES.search(doctree.astext())
    play = sum("medlearn-explorer" in raw.astext() or "ml-live" in raw.astext() for raw in doctree.findall(nodes.raw))
    facts(app.env)[page] = Facts(
        front_matter(path).get("question") or first_question(doctree), minutes[1] if minutes else "", picture, play,
        sum(type(node).__name__.startswith("exercise_") for node in doctree.findall(nodes.Admonition)),
        sum(len(check_ids(text)) for text, tags in code if SOLUTION in tags), [room for room in ROOMS if room in uses])


def holds_scan(path: Path) -> bool:
    if path.suffix == ".svg":
        return False
    with Image.open(path) as figure:
        return bool(panels(np.asarray(figure.convert("RGB"))).any())


def first_question(doctree: nodes.document) -> str:
    """The first sentence of a page that asks something."""
    for text in doctree.findall(nodes.paragraph):
        asked = re.findall(r"[^.?!:]*\?", " ".join(text.astext().split()))
        if asked:
            return asked[0].strip()[0].upper() + asked[0].strip()[1:]
    return ""


def facts(env) -> dict[str, Facts]:
    if not hasattr(env, "medlearn_facts"):
        env.medlearn_facts = {}
    return env.medlearn_facts


# What stands in the page -------------------------------------------------------------------------------------------

class Place(nodes.General, nodes.Element):
    """Stands for a part of the front page until every chapter has been read."""


class Hero(SphinxDirective):
    """What the book is, three buttons, how much there is of what, and beside them an instrument."""

    optional_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        text = nodes.container(classes=["hero-text"])
        self.state.nested_parse(self.content, self.content_offset, text)
        text += Place(part="buttons")
        whole = nodes.container("", text, classes=["hero"])
        if self.arguments:
            live_pages(self.env).add(self.env.docname)
            whole += instrument(self.arguments[0])
        whole += Place(part="counts")
        return [whole]


class Part(SphinxDirective):
    """`{book} cards`, `{book} rooms`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return [Place(part=self.arguments[0])]


def fill(app: Sphinx, doctree: nodes.document, page: str) -> None:
    for place in list(doctree.findall(Place)):
        told = facts(app.env)
        known = {name: told[name] for name in documents(Path(app.srcdir)) if name in told}    # in reading order
        made = {"cards": cards, "counts": counts, "rooms": rooms, "buttons": buttons}[place["part"]](app, page, known)
        place.replace_self(nodes.raw("", made, format="html"))


def buttons(app: Sphinx, page: str, known: dict[str, Facts]) -> str:
    """Start, Colab, pip; without a repository the last two lead to the page on setting up."""
    at, first = repository(Path(app.srcdir)), next(iter(known), "")
    to = lambda name: app.builder.get_relative_uri(page, name)
    made = [f'<a class="hero-start" href="{to(first)}">Start with chapter 1</a>'] if first else []
    if at.known and first:
        made.append(f'<a href="{at.colab(first + ".ipynb")}">Open it in Colab</a>')
    setup = next((name for name in app.env.all_docs if name.endswith("/setup")), "")
    if setup:
        place, says = ("#only-the-package", "pip install") if at.known else ("", "Set it up")
        made.append(f'<a href="{to(setup)}{place}">{says}</a>')
    return '<p class="hero-buttons">' + "\n".join(made) + "</p>"


def counts(app: Sphinx, page: str, known: dict[str, Facts]) -> str:
    """How much there is of what."""
    told = {"chapters": len(known), "claims, each shown by a run": len(claims()),
            "figures to play with": sum(one.play for one in known.values()),
            "exercises": sum(one.exercises for one in known.values()),
            "of them answer back": sum(one.checks for one in known.values())}
    items = "".join(f"<li><b>{n}</b> {escape(what)}</li>" for what, n in told.items() if n)
    return f'<ul class="counts">{items}</ul>'


def cards(app: Sphinx, page: str, known: dict[str, Facts]) -> str:
    """A card for each chapter."""
    return '<ol class="cards">' + "\n".join(card(app, page, name, told) for name, told in known.items()) + "</ol>"


def card(app: Sphinx, page: str, name: str, told: Facts) -> str:
    number = ".".join(map(str, app.env.toc_secnumbers.get(name, {}).get("", ())))
    play = f"{told.play} figure{'s' * (told.play > 1)} to play with" if told.play else ""
    small = " · ".join(filter(None, [f"{told.minutes} min" if told.minutes else "", play]))
    shown = pictures(app, page, name, told) if told.picture else ""
    return (f'<li><a href="{app.builder.get_relative_uri(page, name)}">{shown}<span class="card-number">{number}</span>'
            f"<strong>{escape(app.env.titles[name].astext())}</strong>"
            f'<span class="card-question">{escape(told.question)}</span>'
            f"<small>{escape(small)}</small></a></li>")


def pictures(app: Sphinx, page: str, name: str, told: Facts) -> str:
    """A chapter's picture, small, as a page shows it: the front page on a card, the chapter beside its first words."""
    above = "../" * page.count("/")
    stem = Path(app.outdir) / "_static/cards" / Path(name).name
    return "".join(f'<img class="{kind}" src="{above}{file.relative_to(app.outdir).as_posix()}" alt="" loading="lazy" '
                   'width="320" height="152">' for kind, file in small(Path(app.srcdir) / told.picture, stem))


@cache
def small(picture: Path, stem: Path) -> list[tuple[str, Path]]:
    """The files of a picture, made once a build: its scans on black, or else its plot, light and dark."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    if picture.suffix == ".svg":
        drawings = {"only-light": picture, "only-dark": of_drawing(picture)[0]}
        return [(kind, Path(copy(file, stem.with_name(f"{stem.name}-{kind}.svg")))) for kind, file in drawings.items()]
    with Image.open(picture) as opened:
        figure = opened.convert("RGB")
    kept = panels(np.asarray(figure))
    if kept.any():
        rows, columns = (np.flatnonzero(kept.any(axis=axis)) for axis in (1, 0))
        alone = Image.composite(figure, Image.new("RGB", figure.size), Image.fromarray(kept))
        made = {"scan": alone.crop((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))}
    else:
        made = {"only-light": figure, "only-dark": twin(figure)}
    files = []
    for kind, image in made.items():
        image.thumbnail((CARD_PX, CARD_PX))
        files.append((kind, stem.with_name(f"{stem.name}-{kind}.webp")))
        image.save(files[-1][1], quality=75)
    return files


def rooms(app: Sphinx, page: str, known: dict[str, Facts]) -> str:
    """Which rooms of the package each chapter uses."""
    def link(room: str) -> str:
        name = next((n for n in app.env.all_docs if n.endswith(f"/reference/{room}")), "")
        return f'<a href="{to(name)}"><code>{room}</code></a>' if name else f"<code>{room}</code>"

    to = lambda name: app.builder.get_relative_uri(page, name)
    rows = "".join(f'<tr><td><a href="{to(name)}">{escape(app.env.titles[name].astext())}</a></td>'
                   f"<td>{' '.join(map(link, told.rooms))}</td></tr>" for name, told in known.items())
    return ('<div class="table-box"><table class="table">'
            "<thead><tr><th>Chapter</th><th>Rooms of <code>medlearn</code></th>"
            f"</tr></thead><tbody>{rows}</tbody></table></div>")
