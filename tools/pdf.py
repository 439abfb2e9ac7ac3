"""The whole book as one PDF: the built pages, printed by Chromium, with the solutions at the end.

    python tools/pdf.py     reads _build/html, writes _build/book.pdf
"""
from __future__ import annotations

import sys
from pathlib import Path

from browser import chromium, serving
from chapters import ROOT, documents, is_solution

PATIENCE_MS = 600_000
SCALE = 0.78        # a page on paper is read from nearer than a screen
MARGINS = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
FOOTER = '<div style="font: 8px sans-serif; width: 100%; text-align: center"><span class="pageNumber"></span></div>'


def pdf(site: Path, pages: list[str], into: Path) -> list[str]:
    """Print the `pages` of a built `site` as one file; the places that a link within it does not find."""
    with serving(site) as address, chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{address}{pages[0]}.html")
        dead = page.evaluate(Path(__file__).with_suffix(".js").read_text(encoding="utf-8"), pages)
        page.pdf(path=into, format="A4", scale=SCALE, margin=MARGINS, print_background=True, outline=True, tagged=True,
                 display_header_footer=True, header_template="<span></span>", footer_template=FOOTER)
    return sorted(set(dead))


def in_print(root: Path = ROOT) -> list[str]:
    """The pages in the order of the paper: those that solve a problem come last."""
    return sorted(documents(root), key=lambda name: is_solution(Path(name)))


def main(root: Path = ROOT) -> int:
    site, into = root / "_build/html", root / "_build/book.pdf"
    if not (site / ".built-from").exists():
        print("The pages are not built: say `make book`", file=sys.stderr)
        return 1
    try:
        dead = pdf(site, in_print(root), into)
    except RuntimeError as missing:
        print(missing, file=sys.stderr)
        return 1
    if dead:
        print("Links that lead nowhere:\n" + "\n".join(dead), file=sys.stderr)
        return 1
    print(f"The book: {into}   ({into.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
