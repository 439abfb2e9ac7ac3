"""Where the book's cross-references lead: pages, labels, terms, equations, citations; each a link to the built book."""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import yaml
from docutils.nodes import make_id
from pybtex.database import Person, parse_file
from pybtex.richtext import Text
from sphinx_external_toc.parsing import parse_toc_yaml

from chapters import Repository, documents, front_matter, source
from myst import directives
from studies import Spread, all_quantities, quoted

REFERENCE = "book/reference"                        # a page for each room
TOGETHER = ("claims", "checks", "runtime")          # and one for what every chapter uses


@dataclass(frozen=True)
class Place:
    """A page of the book, a place in it, and what it is called there."""
    page: str
    anchor: str
    title: str


@dataclass(frozen=True)
class References:
    """All that can be referred to in the book at `root`. A look-up that fails raises LookupError: what is missing."""
    root: Path
    repository: Repository

    def link(self, place: Place, text: str = "") -> str:
        """A place as a Markdown link; its name alone where nobody knows the book's address."""
        if not self.repository.known:
            return text or place.title
        return f"[{text or place.title}]({self.repository.page(place.page, place.anchor)})"

    def document(self, name: str, page: str) -> Place:
        """A page by its name: from the root with a slash before it, else from the folder of the page that asks."""
        folder = Path() if name.startswith("/") else Path(page).parent
        found = _normal(folder / name.lstrip("/").removesuffix(".md"))
        if found not in self._titles:
            raise LookupError(f"no page {found} in _toc.yml")
        return Place(found, "", self._titles[found])

    def label(self, name: str) -> Place:
        """A section, figure or exercise."""
        return _found(self._labels, name, "label")

    def equation(self, name: str) -> Place:
        return _found(self._equations, name, "equation")

    def term(self, name: str) -> Place:
        return _found(self._terms, name, "term in the glossary")

    def citation(self, key: str) -> tuple[str, str, Place]:
        """Its authors, its year, and its place in the bibliography."""
        entry = self._works.get(key)
        if entry is None:
            raise LookupError(f"no entry {key} in {', '.join(self._bibliographies)}")
        if "year" not in entry.fields:
            raise LookupError(f"entry {key} has no year")
        page = next((page for page, found in self._directives if found.name == "bibliography"), "")
        if not page:
            raise LookupError("no page holds the bibliography")
        people = entry.persons.get("author") or entry.persons.get("editor", [])
        return _authors(people), entry.fields["year"], Place(page, f"cite-{key}", key)

    def code(self, name: str) -> Place:
        """A name of the package, on the page of its room."""
        _, room, *rest = name.split(".")
        return Place(f"{REFERENCE}/{room if rest and room not in TOGETHER else 'book'}", name, f"`{name}`")

    def quoted(self, text: str) -> str:
        """A number of a study, with its range: what the role {study} shows."""
        return quoted(text, self._quantities)

    # What there is ---------------------------------------------------------------------------------------------------

    @cached_property
    def _quantities(self) -> dict[str, Spread]:
        return all_quantities(self.root)

    @cached_property
    def _pages(self) -> dict[str, str]:
        return {name: source(name, self.root).read_text(encoding="utf-8") for name in documents(self.root)
                if source(name, self.root).exists()}

    @cached_property
    def _titles(self) -> dict[str, str]:
        return {page: _title(text) or page for page, text in self._pages.items()}

    @cached_property
    def _directives(self) -> list[tuple[str, object]]:
        return [(page, found) for page, text in self._pages.items()
                for found in directives(_body(self.root, page, text))]

    @cached_property
    def _labels(self) -> dict[str, Place]:
        found = {label: Place(page, make_id(label), title) for page, text in self._pages.items()
                 for label, title in _headings(text)}
        for kind, called in {"exercise": "Exercise", "figure": "Figure"}.items():
            for page, number, directive in self._numbered(kind):
                if name := _name_of_figure(directive) if kind == "figure" else directive.label:
                    found[name] = Place(page, make_id(name), f"{called} {number}")
        return found

    @cached_property
    def _equations(self) -> dict[str, Place]:
        labels = [(page, label) for page, text in self._pages.items() for label in _equation_labels(text)]
        return {label: Place(page, make_id(f"equation-{label}"), f"({number})")
                for page in self._pages for number, label in enumerate((name for at, name in labels if at == page), 1)}

    @cached_property
    def _terms(self) -> dict[str, Place]:
        terms = [(page, line.strip()) for page, found in self._directives if found.name == "glossary"
                 for line in found.body.splitlines() if line.strip() and not line.startswith((" ", "\t"))]
        # as Sphinx makes them, which writes é as e
        plain = {term: unicodedata.normalize("NFKD", term).encode("ascii", "ignore").decode() for _, term in terms}
        return {term.lower(): Place(page, "term-" + re.sub(r"[^A-Za-z0-9]+", "-", plain[term]).strip("-"), term)
                for page, term in terms}

    @cached_property
    def _bibliographies(self) -> list[str]:
        return yaml.safe_load((self.root / "_config.yml").read_text(encoding="utf-8")).get("bibtex_bibfiles", [])

    @cached_property
    def _works(self) -> dict:
        files = [parse_file(str(self.root / name)) for name in self._bibliographies]
        return {key: entry for file in files for key, entry in file.entries.items()}

    @cached_property
    def _chapter_numbers(self) -> dict[str, int]:
        """Chapters are counted through all parts of the contents that are numbered."""
        contents = parse_toc_yaml(self.root / "_toc.yml")
        numbered = [str(item) for tree in contents.root.subtrees if tree.numbered for item in tree.items]
        return {page.removesuffix(".md"): number for number, page in enumerate(numbered, 1)}

    def _numbered(self, kind: str) -> Iterator[tuple[str, str, object]]:
        """Exercises or figures, numbered as their page shows them: 5.2 is the second of chapter 5."""
        count: dict[str, int] = {}
        for page, found in self._directives:
            if found.name == kind or kind == "figure" and _draws(found):
                count[page] = count.get(page, 0) + 1
                chapter = self._chapter_numbers.get(page)
                yield page, f"{chapter}.{count[page]}" if chapter else str(count[page]), found


def _draws(directive) -> bool:
    """Whether a code cell, a schematic, or an instrument with a caption makes a numbered figure on its page."""
    if directive.name == "code-cell":
        return bool(_settings(directive)) or "explore(" in directive.body
    return directive.name in ("live", "architecture", "chain") and bool(directive.body)


def _normal(path: Path) -> str:
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _found(known: dict[str, Place], name: str, what: str) -> Place:
    place = known.get(name) or known.get(" ".join(name.lower().split()))
    if place is None:
        raise LookupError(f"no {what} {name!r}")
    return place


def _body(root: Path, page: str, text: str) -> str:
    """Without front matter, whose `---` and comments are no Markdown."""
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL) if front_matter(source(page, root)) else text


def _title(text: str) -> str:
    found = re.search(r"^# +(.+?)\s*$", text, re.MULTILINE)
    return found[1] if found else ""


def _headings(text: str) -> Iterator[tuple[str, str]]:
    """`(label)=` and the heading that follows it."""
    for found in re.finditer(r"^\(([^)\n]+)\)=[ \t]*\n+(?:#+ +(.+?)[ \t]*$)?", text, re.MULTILINE):
        yield found[1], found[2] or found[1]


def _equation_labels(text: str) -> list[str]:
    """`$$ ... $$ (label)` and the label of a math directive, in the order of the page."""
    found = [(m.start(), m[1]) for m in re.finditer(r"^[^\n`]*\$\$[ \t]*\(([^)\n]+)\)[ \t]*$", text, re.MULTILINE)]
    in_directive = r"^[ \t]*[`:]{3,}\{math\}[^\n]*\n(?::\w+:[^\n]*\n)*?:label:[ \t]*(\S+)"
    found += [(m.start(), m[1]) for m in re.finditer(in_directive, text, re.MULTILINE)]
    return [label for _, label in sorted(found)]


def _settings(directive) -> dict:
    """What a code cell's `:mystnb:` says of its picture."""
    settings = yaml.safe_load(directive.options.get("mystnb", "")) or {}
    return {key: settings[key] for key in ("figure", "image") if key in settings}


def _name_of_figure(directive) -> str:
    """A figure's label; a code cell gives its figure one with `:mystnb: {figure: {name: ...}}`."""
    if directive.name != "code-cell":
        return directive.label
    return _settings(directive).get("figure", {}).get("name", "")


def _authors(people: list[Person]) -> str:
    """`Long et al.`, `Gudbjartsson and Patz`."""
    names = [str(Text.from_latex(" ".join([*person.prelast_names, *person.last_names]))) for person in people]
    if len(names) > 2 or names[-1:] == ["others"]:
        return f"{names[0]} et al."
    return " and ".join(names)
