"""What is asked of a page in a browser: each question is a function that returns what is wrong."""
from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urldefrag

from helpers.chromium import Page

PICTURES = re.compile(rb'data:image/[a-z+]+;base64,[A-Za-z0-9+/=]+|"[A-Za-z0-9+/=]{2000,}"')
SCANS = ("slices.js", "volume-")  # pictures for the instruments


def leaving(page: Page, home: str) -> list[str]:
    """Addresses off the site that the page asked for by itself."""
    return [address[:200] for address in page.requests if not address.startswith((home, "data:", "blob:", "about:"))]


def nameless(page: Page) -> list[str]:
    """Images without alt text that are no ornaments of a link; a page without a title."""
    images = page.run("""Array.from(document.images).filter(
        i => !i.alt.trim() && !i.closest('a, [aria-hidden=true]')).map(i => i.src)""")
    return [f"no alt: {source[:100]}" for source in images] + ([] if page.run("document.title.trim()")
                                                               else ["no title"])


def headings(page: Page) -> list[str]:
    """The header and the main heading that the reader sees are one each."""
    seen = """(what) => Array.from(document.querySelectorAll(what)).filter(
        e => e.checkVisibility({visibilityProperty: true}) && e.getBoundingClientRect().height > 0).length"""
    found = {what: page.run(f"({seen})({what!r})") for what in ("header, .bd-header-article", "h1")}
    return [f"{what}: {count}" for what, count in found.items() if count != 1]


def overhang(page: Page) -> list[str]:
    """What makes the page wider than its window."""
    limit = page.tab.viewport_size["width"] + 1     # a phone's own innerWidth grows with what it has to show
    width = page.run("document.scrollingElement.scrollWidth")
    if width <= limit:
        return []
    wide = page.run(f"""Array.from(document.querySelectorAll('body *')).filter(
        e => e.getBoundingClientRect().right > {limit}).map(e => e.tagName + '.' + e.className)""")
    return [f"{width} px wide", *wide[:5]]


def dead_links(page: Page, home: str, site: Path) -> list[str]:
    """Links within the site to pages or places that are not there."""
    links = dict.fromkeys(page.run("Array.from(document.querySelectorAll('a[href]'), a => a.href)"))
    return [link for link in links if dead(link, home, site)]


def dead(link: str, home: str, site: Path) -> bool:
    """Whether it leads to this machine, and nowhere on the site."""
    address, place = urldefrag(link)
    file = site / unquote(address.partition("?")[0].removeprefix(home))
    lives = address.startswith(home) and file.is_file() and (not place or unquote(place) in places(file))
    return address.startswith(home.removesuffix(f"{site.name}/")) and not lives


@cache
def places(file: Path) -> frozenset[str]:
    """The ids of a page."""
    return frozenset(re.findall(r"""\sid=["']?([^\s"'>]+)""", file.read_text(encoding="utf-8")))


def unset_formulas(page: Page) -> list[str]:
    """Formulas that are still TeX, or that MathJax could not read."""
    return page.run("""Array.from(document.querySelectorAll('.math')).filter(
        e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror')
    ).map(e => e.textContent.slice(0, 80))""")


def formulas_on_the_way(page: Page) -> list[str]:
    """Formulas at which the Tab key stops."""
    return page.run("Array.from(document.querySelectorAll('mjx-container[tabindex]'), e => e.textContent.slice(0, 80))")


def cut_formulas(page: Page) -> list[str]:
    """Formulas of their own line that are wider than the column, so that they have to be pushed aside to be read."""
    return page.run("""Array.from(document.querySelectorAll('div.math')).filter(
        e => [e, ...e.querySelectorAll('mjx-container')].some(box => box.scrollWidth > box.clientWidth + 2)
    ).map(e => e.textContent.slice(0, 80))""")


def stuck_formulas(page: Page) -> list[str]:
    """Formulas that are wider than the column and cannot be pushed aside, or not with the keyboard."""
    return page.run("""Array.from(document.querySelectorAll('div.math mjx-container')).filter(e => {
        if (e.scrollWidth <= e.clientWidth + 2) return false;
        e.scrollLeft = 20;
        const moves = e.scrollLeft > 0;
        e.scrollLeft = 0;
        return !moves || e.tabIndex < 0;
    }).map(e => e.textContent.slice(0, 80))""")


def cut_code(page: Page) -> list[str]:
    """Code that is wider than the column, so that the ends of its lines are hidden."""
    return page.run("""Array.from(document.querySelectorAll('.highlight pre')).filter(
        e => e.checkVisibility() && e.scrollWidth > e.clientWidth + 2).map(e => e.textContent.slice(0, 80))""")


def white_cards(page: Page) -> list[str]:
    """Figures that a dark page shows on white."""
    pictures = page.run("""Array.from(document.querySelectorAll('figure.drawn > * img, figure.drawn > img')).filter(
        e => e.checkVisibility() && !e.closest('.medlearn-frame') && !e.classList.contains('only-dark')
    ).map(e => e.src)""")
    frames = page.run("""Array.from(document.querySelectorAll('.medlearn-frame')).filter(e => e.checkVisibility() && !(
            getComputedStyle(e, '::before').backdropFilter.startsWith('invert(1)')
            && getComputedStyle(e, '::before').clipPath.startsWith('polygon(evenodd'))
    ).map(e => e.querySelector('img').alt)""")
    return pictures + frames


def see_through(page: Page) -> list[str]:
    """Frames of an explorer that mix with what they lie over, instead of hiding it."""
    return page.run("""Array.from(document.querySelectorAll('.medlearn-frame img')).filter(
        e => getComputedStyle(e).mixBlendMode !== 'normal').map(e => e.parentNode.querySelector('img').alt)""")


def stretched(page: Page) -> list[str]:
    """Pictures that are not shown in their own proportions."""
    return page.run("""Promise.all(Array.from(document.querySelectorAll('figure img'), async (e) => {
        if (!e.checkVisibility()) return null;
        e.loading = 'eager';
        await e.decode();
        const box = e.getBoundingClientRect(), off = box.width / box.height / (e.naturalWidth / e.naturalHeight);
        return Math.abs(off - 1) > 0.03 ? e.src.slice(0, 100) : null;
    })).then((all) => all.filter(Boolean))""")


def lame_explorers(page: Page) -> list[str]:
    """Explorers whose sliders do not answer to an arrow with another text, another alt text and a picture."""
    page.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    lame = []
    for k in range(page.run("document.querySelectorAll('.medlearn-explorer input').length")):
        slider = f"document.querySelectorAll('.medlearn-explorer input')[{k}]"
        state = f"""(async () => {{
            const slider = {slider}, image = slider.closest('.medlearn-explorer').querySelector('img');
            await image.decode();
            return [slider.parentNode.querySelector('b').textContent, image.alt, String(image.naturalWidth > 0)];
        }})()"""
        page.run(f"{slider}.focus()")
        page.press("Home")
        before = page.run(state)
        page.press("ArrowRight")
        after = page.run(state)
        moves = page.run(f"{slider}.max") == "0" or before[0] != after[0] and before[1] != after[1]
        if not (moves and before[2] == after[2] == "true" and page.run(f"document.activeElement === {slider}")):
            lame.append(f"slider {k}: {before} to {after}")
        page.press("Home")
    return lame


def barriers(page: Page) -> list[str]:
    """What axe calls serious or critical for a reader with other eyes or hands."""
    from axe_playwright_python.sync_playwright import Axe
    found = Axe().run(page.tab, options={"resultTypes": ["violations"]}).response["violations"]
    return [f"{fault['id']}: {node['target'][0]} {node['html'][:100]}" for fault in found
            if fault["impact"] in ("serious", "critical") for node in fault["nodes"]]


def weight(page: Page) -> int:
    """Bytes, gzipped, of all that the page has loaded, without its pictures and the scans of its instruments."""
    total = 0
    for answer in page.answers:
        shown = answer.request.resource_type == "image" or answer.url.rpartition("/")[2].startswith(SCANS)
        if answer.url.startswith("http") and not shown:
            total += len(gzip.compress(PICTURES.sub(b"", answer.body())))
    return total


def heavy_explorers(file: Path, limit: int) -> list[str]:
    """Explorers of more bytes than allowed."""
    found = re.findall(r'<div class="medlearn-explorer".*?</script>\s*</div>', file.read_text(encoding="utf-8"),
                       re.DOTALL)
    return [f"explorer {k}: {len(one.encode())} bytes" for k, one in enumerate(found) if len(one.encode()) > limit]
