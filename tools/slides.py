"""Slides of the chapters: what of a built page can stand on a wall, shown by reveal.js, with nothing from the network.

    python tools/slides.py [CHAPTER ...]     reads _build/html, writes _build/slides; CHAPTER is a number or a name

A slide is the chapter's question, each figure that needs no script of the book, each prediction, claim and summary,
and each cell that is tagged `slide`. An answer to a prediction waits for the next key.
"""
from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup, Tag

from chapters import ROOT, chapters, front_matter, is_solution, name_of
from vendor import MATHJAX, REVEAL, VendorError, vendor

SHOWN = "h2, figure:not(.live), div.predict, div.claim, div.cell.tag_slide, section#summary > ul"
LEFT_OUT = ".headerlink, img.only-dark, noscript, .claim details, .section-number, .copybtn"
POINTS = 4     # of a summary, on one slide
ASSETS = {"reveal.js": "dist/reveal.js", "reveal.css": "dist/reveal.css", "LICENSE-reveal.txt": "LICENSE"}
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="stylesheet" href="assets/reveal.css"><link rel="stylesheet" href="assets/slides.css">
<body><div class="reveal"><div class="slides">
{slides}
</div></div>
<script>window.MathJax = {{options: {{enableMenu: false, ignoreHtmlClass: "none", processHtmlClass: "math"}}}};</script>
<script src="assets/mathjax/tex-mml-chtml.js"></script>
<script src="assets/reveal.js"></script>
<script>
// formulas first: a slide that is not shown yet has no width to set them in
MathJax.startup.promise.then(() => Reveal.initialize({{
  hash: true, slideNumber: "c/t", transition: "none", center: false, pdfSeparateFragments: false}}));
</script>
</body></html>
"""


def slides(page: str, question: str) -> Iterator[str]:
    """The slides of a built page, in its order, each under the heading that it stands under there."""
    article = BeautifulSoup(page, "html.parser").select_one("article.bd-article")
    title, heading = _text(article.h1), ""
    yield f'<section class="title"><h1>{escape(title)}</h1><p>{escape(question)}</p></section>'
    for found in article.select(SHOWN):
        if found.name == "h2":
            heading = _text(found)
        elif not _within_another(found):
            for part in _parts(found):
                yield f'<section><h2>{escape(heading or title)}</h2>{_shown(part)}</section>'


def _within_another(found: Tag) -> bool:
    """Whether it stands on the slide of what holds it, or in a fold, whose reader has chosen to look."""
    return any(above.name in ("figure", "details") or {"predict", "tag_slide"} & set(above.get("class", ()))
               for above in found.parents
               if isinstance(above, Tag) and above.name != "[document]")


def _parts(found: Tag) -> list[Tag]:
    """A list, a few points at a time; anything else whole."""
    points = found.find_all("li", recursive=False) if found.name == "ul" else []
    if not points:
        return [found]
    parts = []
    for first in range(0, len(points), POINTS):
        part = Tag(name="ul")
        part.extend(point.extract() for point in points[first:first + POINTS])
        parts.append(part)
    return parts


def _shown(found: Tag) -> str:
    for out in found.select(LEFT_OUT):
        out.decompose()
    for image in found.select("img[src]"):
        if not image["src"].startswith("data:"):
            image["src"] = f"images/{image['src'].rpartition('/')[2]}"
        image.attrs.pop("loading", None)
    for link in found.select("a.internal, a[href^='#']"):
        link.unwrap()
    for fold in found.select("details"):
        if fold.summary is not None:
            fold.summary.decompose()
        fold.name, fold["class"] = "div", ["fragment", "answer"]
    return str(found)


def _text(heading: Tag) -> str:
    for out in heading.select(".section-number, .headerlink"):
        out.decompose()
    return " ".join(heading.get_text().split())


def write(site: Path, chosen: list[Path], into: Path, root: Path = ROOT) -> list[str]:
    """Writes the slides of the `chosen` chapters of a built `site`; their files' names."""
    assets, images = into / "assets", into / "images"
    for folder in (assets, images):
        folder.mkdir(parents=True, exist_ok=True)
    reveal, mathjax = vendor(REVEAL, root), vendor(MATHJAX, root)
    for name, source in ASSETS.items():
        shutil.copyfile(reveal / source, assets / name)
    shutil.copytree(mathjax, assets / "mathjax", dirs_exist_ok=True)
    shutil.copyfile(Path(__file__).with_suffix(".css"), assets / "slides.css")
    written, titles = [], []
    for chapter in chosen:
        page = (site / f"{name_of(chapter, root)}.html").read_text(encoding="utf-8")
        made = "\n".join(slides(page, front_matter(chapter).get("question", "")))
        for image in BeautifulSoup(made, "html.parser").select("img[src^='images/']"):
            shutil.copyfile(site / "_images" / unquote(image["src"]).rpartition("/")[2], into / unquote(image["src"]))
        title = BeautifulSoup(made, "html.parser").h1.get_text()
        (into / f"{chapter.stem}.html").write_text(PAGE.format(title=escape(title), slides=made), encoding="utf-8")
        written.append(f"{chapter.stem}.html")
        titles.append(title)
    links = "".join(f'<li><a href="{name}">{escape(title)}</a></li>' for name, title in zip(written, titles))
    (into / "index.html").write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>Slides</title>'
                                     '<link rel="stylesheet" href="assets/slides.css">'
                                     f"<h1>Slides</h1><ul>{links}</ul></html>\n",
                                     encoding="utf-8")
    return written


def main(arguments: list[str], root: Path = ROOT) -> int:
    site, into = root / "_build/html", root / "_build/slides"
    every = [chapter for chapter in chapters(root) if not is_solution(chapter)]
    chosen = [chapter for chapter in every if not arguments or chapter.stem.startswith(tuple(arguments))]
    if not chosen:
        print(f"No chapter begins with {' or '.join(arguments)}; there are {', '.join(c.stem for c in every)}",
              file=sys.stderr)
        return 2
    if not (site / ".built-from").exists():
        print("The pages are not built: say `make book`", file=sys.stderr)
        return 1
    shutil.rmtree(into, ignore_errors=True)
    try:
        written = write(site, chosen, into, root)
    except VendorError as error:
        print(f"Slides: {error}", file=sys.stderr)
        return 1
    print(f"Slides: {len(written)}, in {into}: open index.html; arrow keys turn them, f fills the screen, o shows all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
