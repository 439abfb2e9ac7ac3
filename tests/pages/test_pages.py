"""Every page of the built book, opened in a real browser: what it asks for, what it shows, on a desk and on a phone.

Each question is a function that returns what is wrong. The book's pages must give empty answers; pages made to be wrong
must not.
"""
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urldefrag

import pytest
from helpers.chromium import Page, needs_browser

from medlearn.viz.explorer import MAX_BYTES

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "_build/html"
VENDORED = (ROOT / "book/_static/vendor/mathjax").exists()
PHONE_PX = 390


def pages_of(site: Path) -> list[str]:
    """Every page but the front door, which only sends the reader on."""
    found = [path.relative_to(site) for path in site.rglob("*.html")]
    return sorted(path.as_posix() for path in found if not path.parts[0].startswith("_") and path.as_posix() != "index.html")


PAGES = pages_of(BOOK)
pytestmark = [needs_browser]
built = pytest.mark.skipif(not PAGES, reason="the book is not built: make book")
vendored = pytest.mark.skipif(not VENDORED, reason="MathJax is not at hand: this build's pages take it from its CDN")


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def serve():
    """`serve(folder)` is the folder's address. It lies below the server's root, as a project's pages do."""
    servers = []

    def start(site: Path) -> str:
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site.parent)))
        Thread(target=servers[-1].serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/{site.name}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def browser():
    with Page(width=1280) as page:
        yield page


def open_page(browser: Page, address: str) -> Page:
    """Opens it on a desk, and waits for its formulas."""
    browser.view(width=1280)
    browser.open(address)
    browser.run("window.MathJax?.startup?.promise.then(() => document.fonts.ready).then(() => true)")
    return browser


# ---------------------------------------------------------------------------------------------------------------------
# The questions

def leaving(page: Page, home: str) -> list[str]:
    """Addresses off the site that the page asked for by itself."""
    return [address[:200] for address in page.requests if not address.startswith((home, "data:", "blob:"))]


def nameless(page: Page) -> list[str]:
    """Images without alt text; a page without a title."""
    images = page.run("Array.from(document.images).filter(i => !i.alt.trim()).map(i => i.src)")
    return [f"no alt: {source[:100]}" for source in images] + ([] if page.run("document.title.trim()") else ["no title"])


def headings(page: Page) -> list[str]:
    """The header and the main heading that the reader sees are one each."""
    seen = """(what) => Array.from(document.querySelectorAll(what)).filter(
        e => e.checkVisibility({visibilityProperty: true}) && e.getBoundingClientRect().height > 0).length"""
    found = {what: page.run(f"({seen})({what!r})") for what in ("header, .bd-header-article", "h1")}
    return [f"{what}: {count}" for what, count in found.items() if count != 1]


def overhang(page: Page) -> list[str]:
    """What makes the page wider than a phone."""
    page.view(width=PHONE_PX, height=844, touch=True)
    try:
        width = page.run("document.scrollingElement.scrollWidth")
        if width <= PHONE_PX + 1:
            return []
        wide = page.run(f"""Array.from(document.querySelectorAll('body *')).filter(
            e => e.getBoundingClientRect().right > {PHONE_PX + 1}).map(e => e.tagName + '.' + e.className)""")
        return [f"{width} px wide", *wide[:5]]
    finally:
        page.view(width=1280)


def dead_links(page: Page, home: str, site: Path) -> list[str]:
    """Links within the site to pages or places that are not there."""
    host = home.removesuffix(f"{site.name}/")
    dead = []
    for link in dict.fromkeys(page.run("Array.from(document.querySelectorAll('a[href]'), a => a.href)")):
        address, place = urldefrag(link)
        file = site / unquote(address.partition("?")[0].removeprefix(home))
        lives = address.startswith(home) and file.is_file() and (not place or unquote(place) in places(file))
        if address.startswith(host) and not lives:
            dead.append(link)
    return dead


def places(file: Path) -> set[str]:
    """The ids of a page."""
    return set(re.findall(r"""\sid=["']?([^\s"'>]+)""", file.read_text(encoding="utf-8")))


def unset_formulas(page: Page) -> list[str]:
    """Formulas that are still TeX, or that MathJax could not read."""
    return page.run("""Array.from(document.querySelectorAll('.math')).filter(
        e => !e.querySelector('mjx-container') || e.querySelector('mjx-merror')).map(e => e.textContent.slice(0, 80))""")


def lame_explorers(page: Page) -> list[str]:
    """Explorers whose sliders do not answer to an arrow with another text, another alt text and a picture."""
    page.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    page.run("document.querySelectorAll('.toggle-hidden').forEach(e => e.classList.remove('toggle-hidden'))")
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


def heavy_explorers(file: Path) -> list[str]:
    """Explorers of more than 400 kB."""
    found = re.findall(r'<div class="medlearn-explorer".*?</script>\s*</div>', file.read_text(encoding="utf-8"), re.DOTALL)
    return [f"explorer {k}: {len(one.encode())} bytes" for k, one in enumerate(found) if len(one.encode()) > MAX_BYTES]


# ---------------------------------------------------------------------------------------------------------------------
# The book

@pytest.fixture(scope="module")
def home(serve):
    return serve(BOOK)


@pytest.fixture(scope="module", params=PAGES or ["none"])
def page(request, browser, home):
    yield open_page(browser, home + request.param)


@pytest.fixture
def file(request):
    return BOOK / request.node.callspec.params["page"]


@built
@vendored
def test_a_page_asks_for_nothing_off_the_site(page, home):
    assert leaving(page, home) == []


@built
@vendored
def test_the_console_is_silent(page):
    assert page.complaints == []


@built
def test_a_page_and_its_images_have_names(page):
    assert nameless(page) == []


@built
def test_there_is_one_header_and_one_heading(page):
    assert headings(page) == []


@built
def test_nothing_hangs_over_the_edge_of_a_phone(page):
    assert overhang(page) == []


@built
def test_links_within_the_book_lead_somewhere(page, home):
    assert dead_links(page, home, BOOK) == []


@built
@vendored
def test_formulas_are_set(page):
    assert unset_formulas(page) == []


@built
def test_explorers_answer_to_keys(page):
    assert lame_explorers(page) == []


@built
def test_explorers_are_light(page, file):
    assert heavy_explorers(file) == []


@built
def test_the_front_door_leads_in(browser, home):
    browser.open(home + "index.html")
    browser.wait_for("location.pathname.endsWith('/book/intro.html')")


@built
def test_every_page_of_the_contents_is_built():
    listed = re.findall(r"(?:root|file): *(\S+)", (ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert {f"{name}.html" for name in listed} <= set(PAGES)


# ---------------------------------------------------------------------------------------------------------------------
# Each question can be answered with a fault

GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Good</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head><body>
<header>One</header><header style="height:0;overflow:hidden">None</header><h1 id="top-of-it">Head</h1>
<a href="#top-of-it">here</a> <a href="other.html#there">there</a> <a href="https://example.org/none">elsewhere</a>
<img alt="a dot" src="data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==">
<span class="math"><mjx-container>x</mjx-container></span>
<div style="overflow-x:auto"><div style="width:2000px">wide, and in its own frame</div></div>
"""


@pytest.fixture
def look(tmp_path, browser, serve):
    """Opens a page: the good one, and what is added to it."""
    def opened(addition: str = ""):
        site = tmp_path / "site"
        site.mkdir(exist_ok=True)
        (site / "page.html").write_text(GOOD + addition, encoding="utf-8")
        (site / "other.html").write_text('<p id="there">', encoding="utf-8")
        address = serve(site)
        return open_page(browser, address + "page.html"), address, site
    return opened


@pytest.fixture(scope="module")
def explorer():
    import matplotlib.pyplot as plt

    from medlearn.viz import explore

    return explore(lambda level: plt.figure(figsize=(2, 1)), alt="nothing", dpi=50, level=[1, 2]).html


def test_the_good_page_has_no_fault(look, explorer):
    page, home, site = look(explorer)
    assert leaving(page, home) == page.complaints == nameless(page) == headings(page) == overhang(page) == []
    assert dead_links(page, home, site) == unset_formulas(page) == lame_explorers(page) == []
    assert heavy_explorers(site / "page.html") == []


@pytest.mark.parametrize("addition, question, fault", [
    ('<img alt="far" src="http://127.0.0.2:9/far.png">', leaving, "far.png"),
    ("<script>fetch('http://127.0.0.2:9/data').catch(() => 0)</script>", leaving, "data"),
    ('<img src="data:,">', nameless, "no alt"),
    ('<img alt=" " src="data:,">', nameless, "no alt"),
    ("<script>document.title = ''</script>", nameless, "no title"),
    ("<header>Two</header>", headings, "header"),
    ("<h1>Two</h1>", headings, "h1: 2"),
    ("<script>document.querySelector('header').remove()</script>", headings, "header, .bd-header-article: 0"),
    ("<table style='width:500px'><tr><td>wide</table>", overhang, "500 px wide|TABLE"),
    ("<a href='#nowhere'>x</a>", dead_links, "#nowhere"),
    ("<a href='other.html#nowhere'>x</a>", dead_links, "other.html#nowhere"),
    ("<a href='none.html'>x</a>", dead_links, "none.html"),
    ("<a href='/page.html'>x</a>", dead_links, "/page.html"),
    ("<a href='../page.html'>x</a>", dead_links, "/page.html"),
    ("<span class='math'>\\(x\\)</span>", unset_formulas, "x"),
    ("<span class='math'><mjx-container><mjx-merror>bad</mjx-merror></mjx-container></span>", unset_formulas, "bad"),
    ("<div class='medlearn-explorer'><img src='data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=='>"
     "<label><b>1</b><input type='range' max='3'></label></div>", lame_explorers, "slider 0"),
], ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "")
def test_a_fault_is_found(look, addition, question, fault):
    page, home, site = look(addition)
    more = {leaving: (home,), dead_links: (home, site)}.get(question, ())
    assert re.search(fault, "\n".join(question(page, *more)))


@pytest.mark.parametrize("addition, complaint", [
    ("<script>nothing()</script>", "nothing is not defined"),
    ("<script>console.error('broken', 3)</script>", "broken 3"),
    ("<script>console.warn('odd')</script>", "odd"),
    ("<script>Promise.reject(new Error('lost'))</script>", "lost"),
    ("<img alt='x' src='none.png'>", "404"),
])
def test_a_complaint_is_heard(look, addition, complaint):
    page, _, _ = look(addition)
    page.wait_for("new Promise(done => setTimeout(() => done(true), 50))")
    assert any(complaint in one for one in page.complaints), page.complaints


def test_a_heavy_explorer_is_found(tmp_path, explorer):
    page = tmp_path / "page.html"
    page.write_text(explorer + explorer.replace("nothing", "nothing" * MAX_BYTES, 1), encoding="utf-8")
    assert [one.split(":")[0] for one in heavy_explorers(page)] == ["explorer 1"]
