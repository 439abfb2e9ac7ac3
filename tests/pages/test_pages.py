"""Every page of the built book, opened in a real browser: on a desk and on a phone, in light and dark, the network shut."""
import json
import re
from pathlib import Path

import pytest
from browser import serving
from chapters import chapters, documents, repository
from helpers import page_questions as ask
from helpers.chromium import Page, needs_browser

from medlearn.claims import claims
from medlearn.viz.explorer import MAX_BYTES

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "_build/html"
VENDORED = (ROOT / "book/_static/vendor/mathjax").exists()
VIEWS = {"desk": {"width": 1280}, "phone at night": {"width": 390, "touch": True, "dark": True},
         "desk at night": {"width": 1280, "dark": True}, "phone": {"width": 390, "touch": True}}
FRONT, SEARCH = "book/intro.html", "search.html"
KB = 1000


def pages_of(site: Path) -> list[str]:
    """Every page but those that only send the reader on: the front door, and where chapters stood before."""
    found = [path.relative_to(site) for path in site.rglob("*.html") if 'http-equiv="refresh"' not in path.read_text(encoding="utf-8")[:500]]
    return sorted(path.as_posix() for path in found if not path.parts[0].startswith("_") and path.as_posix() != "index.html")


PAGES = pages_of(BOOK)
CHAPTERS = [f"{path.relative_to(ROOT).with_suffix('').as_posix()}.html" for path in chapters()]
built = pytest.mark.skipif(not PAGES, reason="the book is not built: make book")
vendored = pytest.mark.skipif(not VENDORED, reason="MathJax is not at hand: this build's pages take it from its CDN")
pytestmark = [needs_browser, built]


@pytest.fixture(scope="module")
def home():
    with serving(BOOK) as address:
        yield address


@pytest.fixture(scope="module", params=VIEWS)
def device(request):
    with Page(offline=True, **VIEWS[request.param]) as page:
        yield page


@pytest.fixture(scope="module")
def desk():
    with Page(offline=True, **VIEWS["desk"]) as page:
        yield page


def opened(page: Page, address: str) -> Page:
    """Opens it, and waits for its formulas."""
    page.open(address)
    page.run("(window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => document.fonts.ready).then(() => true)")
    return page


@pytest.fixture(scope="module", params=PAGES or ["none"])
def seen(request, device, home):
    """A page on each device."""
    yield opened(device, home + request.param)


@pytest.fixture(scope="module", params=PAGES or ["none"])
def page(request, desk, home):
    """A page on a desk."""
    yield opened(desk, home + request.param)


# On every page, on every device --------------------------------------------------------------------------------------

@vendored
def test_a_page_asks_for_nothing_off_the_site(seen, home):
    assert ask.leaving(seen, home) == []


@vendored
def test_the_console_is_silent(seen):
    assert seen.complaints == []


def test_nothing_hangs_over_the_edge(seen):
    assert ask.overhang(seen) == []


def test_pictures_keep_their_proportions(seen):
    assert ask.stretched(seen) == []


def test_it_can_be_read_and_used_by_everyone(seen):
    assert ask.barriers(seen) == []


def test_no_figure_is_a_white_card_in_the_dark(seen):
    assert seen.run("document.documentElement.dataset.theme") != "dark" or ask.white_cards(seen) == []


# On every page -------------------------------------------------------------------------------------------------------

def test_a_page_and_its_images_have_names(page):
    assert ask.nameless(page) == []


def test_there_is_one_header_and_one_heading(page, request):
    if request.node.callspec.params["page"] != "404.html":
        assert ask.headings(page) == []


def test_links_within_the_book_lead_somewhere(page, home):
    assert ask.dead_links(page, home, BOOK) == []


@vendored
def test_formulas_are_set_and_stop_no_tab_key(page):
    assert ask.unset_formulas(page) == ask.formulas_on_the_way(page) == []
    assert bool(page.run("document.querySelector('.math') !== null")) == any("mathjax" in address for address in page.requests)


def test_explorers_answer_to_keys(page):
    assert ask.lame_explorers(page) == []


def test_explorers_are_light(page, request):
    assert ask.heavy_explorers(BOOK / request.node.callspec.params["page"], MAX_BYTES) == []


@vendored
def test_a_page_is_light(page, request):
    name = request.node.callspec.params["page"]
    assert ask.weight(page) <= {FRONT: 150, SEARCH: 300}.get(name, 700) * KB


def test_figures_have_numbers_and_captions(page):
    assert page.run("""Array.from(document.querySelectorAll('figure.drawn, figure.live')).filter(
        e => !e.querySelector('figcaption .caption-number')).map(e => e.id)""") == []


def test_a_page_says_where_it_comes_from(page, request):
    name = request.node.callspec.params["page"]
    if name != "404.html":
        said = page.run("document.querySelector('.stamp').innerText")
        assert re.search(r"^medlearn \S+ · commit \w+", said)
        assert (name in CHAPTERS) == bool(re.search(r"run on \d+ \w+ \d{4} · .+Python \S+, torch \S+", said))


# The front page ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("width", [1280, 390])
def test_the_front_page_says_at_once_what_it_is(home, width):
    with Page(width=width, touch=width < 600, offline=True) as page:
        opened(page, home + FRONT)
        page.wait_for("document.querySelector('.hero .ml-live').dataset.state === 'ready'")
        low = "(e) => e.getBoundingClientRect().bottom"
        assert all(bottom < 800 for bottom in page.run(f"[...document.querySelectorAll('.hero-buttons a')].map({low})"))
        assert page.run(f"({low})(document.querySelector('.hero .ml-live canvas'))") < 800
        assert page.run("document.querySelectorAll('.hero-buttons a').length") == (3 if repository().known else 2)


def test_the_front_page_has_a_card_for_each_chapter_and_counts_what_there_is(desk, home):
    opened(desk, home + FRONT)
    cards = desk.run("""Array.from(document.querySelectorAll('.cards a'),
        a => [a.href, a.innerText, a.querySelectorAll('img').length])""")
    assert [address.removeprefix(home) for address, _, _ in cards] == CHAPTERS
    assert all("min" in said and "?" in said and pictures for _, said, pictures in cards)
    counted = [int(text) for text in desk.run("Array.from(document.querySelectorAll('.counts b'), b => b.textContent)")]
    exercises = sum(path.read_text(encoding="utf-8").count("{exercise}") for path in chapters())
    assert counted[:2] == [len(CHAPTERS), len(claims())] and exercises in counted


def test_the_front_door_leads_in(desk, home):
    desk.open(home + "index.html")
    desk.wait_for("location.pathname.endsWith('/book/intro.html')")
    door = (BOOK / "index.html").read_text(encoding="utf-8")
    assert "og:title" in door and "og:description" in door and ("og:image" in door) == repository().known


def test_every_page_of_the_contents_is_built_and_on_the_map():
    assert {f"{name}.html" for name in documents()} <= set(PAGES)
    if repository().known:
        listed = re.findall(r"<loc>(.*?)</loc>", (BOOK / "sitemap.xml").read_text())
        assert listed == [repository().page(name) for name in documents()]


# Search, notebooks, files --------------------------------------------------------------------------------------------

def test_the_search_finds_words_with_what_stands_around_them(desk, home):
    opened(desk, home + SEARCH + "?q=watershed")
    desk.wait_for("document.querySelectorAll('.search-results li').length > 1")
    found = desk.run("""Array.from(document.querySelectorAll('.search-results li'),
        e => [e.querySelector('a').href, e.innerText])""")
    assert any("01_tasks.html#" in address for address, _ in found)
    assert all("watershed" in text.lower() for _, text in found)
    for address, _ in found:
        assert ask.dead(address, home, BOOK) is False, address


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_to_download_is_the_students(name):
    address = re.search(r'href="([^"]*_sources/[^"]+\.ipynb)"', (BOOK / name).read_text(encoding="utf-8"))[1]
    notebook = json.loads(((BOOK / name).parent / address).resolve().read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any("NotImplementedError" in text for text in sources)
    assert not any(":::" in text or "{cite" in text for text in sources)


@vendored
@pytest.mark.parametrize("name", [FRONT, CHAPTERS[-1], "book/reference/nets.html", SEARCH])
def test_it_works_from_a_folder_without_a_server(desk, name):
    opened(desk, BOOK / name)
    assert desk.complaints == [] and ask.unset_formulas(desk) == []
    assert all(address.startswith((BOOK.as_uri(), "data:", "blob:", "about:")) for address in desk.requests)
