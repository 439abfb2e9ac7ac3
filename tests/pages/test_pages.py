"""Every page of the built book, opened in a real browser: on a desk and on a phone, in light and dark, the network shut."""
import json
import re
from pathlib import Path

import pytest
from browser import serving
from chapters import chapters, documents, is_solution, repository
from helpers import page_questions as ask
from helpers.chromium import Page, needs_browser

from medlearn.claims import claims
from medlearn.viz.explorer import MAX_BYTES

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "_build/html"
VENDORED = (ROOT / "book/_static/vendor/mathjax").exists()
SIZES = {"desk": {"width": 1280}, "phone": {"width": 390, "touch": True}}
FRONT, SEARCH = "book/intro.html", "search.html"
KB = 1000


def pages_of(site: Path) -> list[str]:
    """Every page but those that only send the reader on: the front door, and where chapters stood before."""
    found = [path.relative_to(site) for path in site.rglob("*.html") if 'http-equiv="refresh"' not in path.read_text(encoding="utf-8")[:500]]
    return sorted(path.as_posix() for path in found if not path.parts[0].startswith("_") and path.as_posix() != "index.html")


PAGES = pages_of(BOOK)
RUN = [f"{path.relative_to(ROOT).with_suffix('').as_posix()}.html" for path in chapters()]
CHAPTERS = [name for name in RUN if not is_solution(Path(name))]
built = pytest.mark.skipif(not PAGES, reason="the book is not built: make book")
vendored = pytest.mark.skipif(not VENDORED, reason="MathJax is not at hand: this build's pages take it from its CDN")
pytestmark = [needs_browser, built]


@pytest.fixture(scope="module")
def home():
    with serving(BOOK) as address:
        yield address


@pytest.fixture(scope="module")
def desk():
    with Page(offline=True, **SIZES["desk"]) as page:
        yield page


@pytest.fixture(scope="module")
def phone():
    with Page(offline=True, **SIZES["phone"]) as page:
        yield page


def opened(page: Page, address: str) -> Page:
    """Opens it, and waits for its formulas."""
    page.open(address)
    page.run("(window.MathJax?.startup?.promise ?? Promise.resolve()).then(() => document.fonts.ready).then(() => true)")
    return page


def shown(page: Page, address: str, light: str = "day") -> Page:
    """Opens it where it is not open yet; the light changes without another load, and its colours at once."""
    scheme = "dark" if light == "night" else "light"
    page.tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    if page.tab.url != address:
        opened(page, address)
    page.wait_for(f"(document.documentElement.dataset.theme ?? '{scheme}') === '{scheme}'")
    page.run("new Promise(requestAnimationFrame).then(() => document.getAnimations().forEach((one) => one.finish()))")
    return page


@pytest.fixture(scope="module", params=PAGES or ["none"])
def name(request):
    """Each page in its turn, so that it is loaded once on each device."""
    return request.param


@pytest.fixture(params=["desk, day", "phone, night", "desk, night", "phone, day"])
def view(request):
    return request.param.split(", ")


@pytest.fixture
def seen(name, view, desk, phone, home):
    """A page on a desk and on a phone, by day and at night."""
    device, light = view
    return shown({"desk": desk, "phone": phone}[device], home + name, light)


@pytest.fixture
def page(name, desk, home):
    """A page on a desk, by day."""
    return shown(desk, home + name)


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


@pytest.mark.parametrize("view", [("desk", "day"), ("phone", "night")])       # the slowest question: both widths, both lights
def test_it_can_be_read_and_used_by_everyone(seen):
    assert ask.barriers(seen) == []


def test_no_figure_is_a_white_card_in_the_dark(seen):
    assert seen.run("document.documentElement.dataset.theme") != "dark" or ask.white_cards(seen) == []


def test_a_frame_hides_what_it_lies_over(seen):
    assert ask.see_through(seen) == []


# On every page -------------------------------------------------------------------------------------------------------

def test_a_page_and_its_images_have_names(page):
    assert ask.nameless(page) == []


def test_there_is_one_header_and_one_heading(page, name):
    if name != "404.html":
        assert ask.headings(page) == []


def test_figures_are_sharp(page):
    """Two pixels of the picture for each one of the page. A drawing has none; another encoder may cost an explorer some."""
    assert page.run("""Promise.all(Array.from(document.querySelectorAll('figure.drawn img'), async (e) => {
        if (!e.checkVisibility() || e.src.endsWith('.svg')) return null;
        e.loading = 'eager';
        await e.decode();
        const least = e.closest('.medlearn-frame') ? 1.5 : 1.9;
        return e.naturalWidth < least * e.clientWidth ? [e.alt, e.naturalWidth, e.clientWidth] : null;
    })).then((all) => all.filter(Boolean))""") == []


def test_schematics_can_be_read_on_a_phone(name, phone, home):
    assert shown(phone, home + name).run("""Array.from(document.querySelectorAll('svg.drawing text, svg.drawing tspan'))
        .map((e) => [e.textContent, parseFloat(getComputedStyle(e).fontSize)
            * e.ownerSVGElement.getBoundingClientRect().width / e.ownerSVGElement.viewBox.baseVal.width])
        .filter(([_, height]) => height > 0 && height < 9)""") == []


def test_the_labels_of_drawings_grow_on_a_phone():
    drawings = list((BOOK / "_images").glob("*.svg"))
    assert drawings and all(".label { " in drawing.read_text(encoding="utf-8") for drawing in drawings)


def test_links_within_the_book_lead_somewhere(page, home):
    assert ask.dead_links(page, home, BOOK) == []


@vendored
def test_formulas_are_set_and_stop_no_tab_key(page):
    assert ask.unset_formulas(page) == ask.formulas_on_the_way(page) == []
    assert bool(page.run("document.querySelector('.math') !== null")) == any("mathjax" in address for address in page.requests)


@vendored
def test_what_a_phone_is_too_narrow_for_can_be_pushed_aside(name, phone, home):
    assert ask.stuck_formulas(shown(phone, home + name)) == []


@vendored
def test_a_desk_is_wide_enough_for_every_formula_and_line_of_code(page):
    assert ask.cut_formulas(page) == ask.cut_code(page) == []


def test_the_reference_repeats_no_words_of_torch_or_python(page):
    assert page.run("""['Should be overridden by all subclasses', 'Alias for field number'].filter(
        words => document.body.textContent.includes(words))""") == []


def test_words_of_a_table_stand_to_the_left_and_numbers_to_the_right(page):
    assert page.run("""Array.from(document.querySelectorAll('table.dataframe td')).filter(e =>
        getComputedStyle(e).textAlign !== (e.classList.contains('words') ? 'left' : 'right')).length""") == 0


def test_explorers_are_light(name):
    assert ask.heavy_explorers(BOOK / name, MAX_BYTES) == []


@vendored
def test_a_page_is_light(page, name):
    assert ask.weight(page) <= {FRONT: 150, SEARCH: 300}.get(name, 700) * KB


def test_figures_have_numbers_and_captions(page):
    assert page.run("""Array.from(document.querySelectorAll('figure.drawn, figure.live, figure.schematic')).filter(
        e => !e.querySelector('figcaption .caption-number')).map(e => e.id)""") == []


def test_a_chapter_begins_with_a_picture(page, name):
    """Something is seen before any code, and without scrolling."""
    first = page.run("document.querySelector('.opening img')?.getBoundingClientRect().bottom ?? null")
    expected = name in CHAPTERS and page.run("document.querySelector('figure img') !== null")
    assert (first is not None and first < 700) if expected else first is None


def test_every_part_of_a_schematic_says_what_it_is(page):
    """By pointing, by Tab and by tapping; without any of these, in a table or a tooltip."""
    for box in page.tab.query_selector_all(".schematic-box"):
        parts = box.query_selector_all(".part")
        assert len(parts) >= 4 and all(len(part.get_attribute("data-says")) > 10 for part in parts)
        for act, part in zip(("hover", "focus", "click"), parts):
            getattr(part, act)()
            assert box.query_selector(".schematic-says").inner_text() == part.get_attribute("data-says")
            shown = [one.get_attribute("data-says") for one in box.query_selector_all(".part.shown")]
            assert shown == [part.get_attribute("data-says")]


def test_a_page_says_where_it_comes_from(page, name):
    if name != "404.html":
        said = page.run("document.querySelector('.stamp').innerText")
        made = "run" if name in RUN else "built"
        assert re.search(rf"^medlearn \S+ · commit \w+\+? · {made} on \d+ \w+ \d{{4}} · .+Python \S+, torch \S+", said)


def test_no_two_parts_of_a_page_have_the_same_id(page):
    ids = page.run("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert sorted(set(ids)) == sorted(ids)


def test_explorers_answer_to_keys(page):
    assert ask.lame_explorers(page) == []


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
    desk.wait_for("document.querySelectorAll('.search-results li p').length > 1")
    assert ask.weight(desk) <= 300 * KB
    found = desk.run("""Array.from(document.querySelectorAll('.search-results li'),
        e => [e.querySelector('a').href, e.innerText])""")
    assert any("01_tasks.html#" in address for address, _ in found)
    assert all("watershed" in text.lower() for _, text in found)
    for address, _ in found:
        assert ask.dead(address, home, BOOK) is False, address


def test_the_search_shows_more_where_there_is_more(desk, home):
    opened(desk, home + SEARCH + "?q=voxel")
    places = int(desk.run("parseInt(document.querySelector('.search-count').innerText)"))
    before = desk.run("document.querySelectorAll('.search-results li').length")
    desk.run("document.querySelector('.search-more').click()")
    assert before < desk.run("document.querySelectorAll('.search-results li').length") <= places


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_notebook_to_download_is_the_students(name):
    address = re.search(r'href="([^"]*_sources/[^"]+\.ipynb)"', (BOOK / name).read_text(encoding="utf-8"))[1]
    notebook = json.loads(((BOOK / name).parent / address).resolve().read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert any("NotImplementedError" in text or "check(" in text for text in sources)
    assert not any(":::" in text or "{cite" in text for text in sources)


@vendored
@pytest.mark.parametrize("name", [FRONT, CHAPTERS[-1], "book/reference/nets.html", SEARCH])
def test_it_works_from_a_folder_without_a_server(desk, name):
    opened(desk, BOOK / name)
    assert desk.complaints == [] and ask.unset_formulas(desk) == []
    assert all(address.startswith((BOOK.as_uri(), "data:", "blob:", "about:")) for address in desk.requests)
