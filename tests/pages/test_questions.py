"""Each question that the pages are asked can be answered with a fault."""
import re

import pytest
from browser import serving
from helpers import page_questions as ask
from helpers.chromium import Page, needs_browser

from medlearn.viz.explorer import MAX_BYTES

pytestmark = needs_browser
DOT = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
GOOD = f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Good</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head><body>
<style>.medlearn-frame::before {{ content: ""; backdrop-filter: invert(1); clip-path: var(--paper-only); }}</style>
<header>One</header><header style="height:0;overflow:hidden">None</header><main><h1 id="top-of-it">Head</h1>
<a href="#top-of-it">here</a> <a href="other.html#there">there</a> <a href="https://example.org/none">elsewhere</a>
<img alt="a dot" src="{DOT}"> <a href="other.html"><img alt="" src="{DOT}">an ornament</a>
<figure class="drawn"><div><img alt="for the dark" class="only-dark" src="{DOT}"></div></figure>
<span class="math"><mjx-container>x</mjx-container></span>
<div style="overflow-x:auto" tabindex="0"><div style="width:2000px">wide, and in its own frame</div></div></main>
"""


@pytest.fixture(scope="module")
def browser():
    with Page(width=390, touch=True, offline=True) as page:
        yield page


@pytest.fixture
def look(tmp_path, browser):
    """Opens a page: the good one, and what is added to it."""
    site = tmp_path / "site"
    site.mkdir()
    with serving(site) as address:
        def opened(addition: str = ""):
            (site / "page.html").write_text(GOOD + addition, encoding="utf-8")
            (site / "other.html").write_text('<p id="there">', encoding="utf-8")
            ask.places.cache_clear()
            browser.open(address + "page.html")
            return browser, address, site
        yield opened


@pytest.fixture(scope="module")
def explorer():
    import matplotlib.pyplot as plt

    from medlearn.viz import explore

    return explore(lambda level: plt.figure(figsize=(2, 1)), alt="nothing", dpi=50, level=[1, 2]).html


def test_the_good_page_has_no_fault(look, explorer):
    page, home, site = look(explorer)
    assert ask.leaving(page, home) == ask.nameless(page) == ask.headings(page) == ask.overhang(page) == []
    assert ask.dead_links(page, home, site) == ask.unset_formulas(page) == ask.lame_explorers(page) == page.complaints == []
    assert ask.cut_formulas(page) == ask.cut_code(page) == ask.formulas_on_the_way(page) == ask.white_cards(page) == ask.stretched(page) == ask.see_through(page) == []
    assert ask.heavy_explorers(site / "page.html", MAX_BYTES) == []
    assert not [fault for fault in ask.barriers(page) if "explorer" not in fault]
    assert 500 < ask.weight(page) < 10_000


@pytest.mark.parametrize("addition, question, fault", [
    ("<img alt='x' src='https://example.org/x.png'>", ask.leaving, "https://example.org/x.png"),
    (f"<img src='{DOT}'>", ask.nameless, "no alt"),
    ("<script>document.title = ' '</script>", ask.nameless, "no title"),
    ("<h1>Another</h1>", ask.headings, "h1: 2"),
    ("<header>Two</header>", ask.headings, "header, .bd-header-article: 2"),
    ("<script>document.querySelector('h1').style.display = 'none'</script>", ask.headings, "h1: 0"),
    ("<table style='width:500px'><tr><td>wide</table>", ask.overhang, "500 px wide|TABLE"),
    ("<a href='#nowhere'>x</a>", ask.dead_links, "#nowhere"),
    ("<a href='other.html#nowhere'>x</a>", ask.dead_links, "other.html#nowhere"),
    ("<a href='none.html'>x</a>", ask.dead_links, "none.html"),
    ("<a href='../page.html'>x</a>", ask.dead_links, "/page.html"),
    ("<span class='math'>\\(x\\)</span>", ask.unset_formulas, "x"),
    ("<span class='math'><mjx-container><mjx-merror>bad</mjx-merror></mjx-container></span>", ask.unset_formulas, "bad"),
    ("<span class='math'><mjx-container tabindex='0'>stop</mjx-container></span>", ask.formulas_on_the_way, "stop"),
    ("<div class='math' style='overflow-x:auto'><div style='width:500px'>a long one</div></div>", ask.cut_formulas, "long"),
    ("<div class='math'><mjx-container tabindex='0' style='display:block'><div style='width:500px'>stuck</div></mjx-container></div>",
     ask.stuck_formulas, "stuck"),
    ("<div class='highlight'><pre style='overflow-x:auto'>a long line of code" + 90 * " x" + "</pre></div>", ask.cut_code, "a long line"),
    (f"<figure class='drawn'><div><img alt='x' src='{DOT}#white'></div></figure>", ask.white_cards, "#white"),
    (f"<div class='medlearn-frame'><img alt='a frame' src='{DOT}'></div>", ask.white_cards, "a frame"),
    (f"<div class='medlearn-frame'><img alt='a ghost' style='mix-blend-mode:multiply' src='{DOT}'></div>", ask.see_through, "a ghost"),
    (f"<figure><img alt='x' style='width:50px;height:90px' src='{DOT}#long'></figure>", ask.stretched, "data:image"),
    ("<p style='color:#aaa;background:#fff'>faint</p>", ask.barriers, "color-contrast"),
    ("<button></button>", ask.barriers, "button-name"),
    (f"<div class='medlearn-explorer'><img src='{DOT}'><label><b>1</b><input type='range' max='3'></label></div>",
     ask.lame_explorers, "slider 0"),
], ids=lambda value: value if isinstance(value, str) and len(value) < 30 else "")
def test_a_fault_is_found(look, addition, question, fault):
    page, home, site = look(addition)
    more = {ask.leaving: (home,), ask.dead_links: (home, site)}.get(question, ())
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
    page.run("new Promise(done => setTimeout(() => done(true), 50))")
    assert any(complaint in one for one in page.complaints), page.complaints


def test_weight_counts_what_is_loaded_but_no_pictures(look):
    page, _, site = look()
    bare = ask.weight(page)
    (site / "heavy.js").write_text("// " + "".join(chr(33 + i * i * 7 % 90) for i in range(20_000)))
    page, _, _ = look("<script src='heavy.js'></script>")
    assert ask.weight(page) > bare
    page, _, _ = look(f"<img alt='x' src='data:image/png;base64,{'QUJD' * 9000}'>")
    assert ask.weight(page) < bare + 200


def test_a_heavy_explorer_is_found(tmp_path, explorer):
    page = tmp_path / "page.html"
    page.write_text(explorer + explorer.replace("nothing", "nothing" * MAX_BYTES, 1), encoding="utf-8")
    assert [one.split(":")[0] for one in ask.heavy_explorers(page, MAX_BYTES)] == ["explorer 1"]
