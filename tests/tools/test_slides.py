"""Slides: what of a page is one, in its order, and nothing that would need the network or the book's own scripts."""
import re

import pytest
import slides as making
from chapters import ROOT
from helpers.chromium import Page, needs_browser
from slides import main, slides, write
from vendor import MATHJAX, REVEAL

FRONT = '---\nquestion: "Is it <one>?"\njupytext:\n  text_representation:\n    format_name: myst\n---\n\n# One\n'
ARTICLE = """<html><article class="bd-article"><section>
<h1><span class="section-number">1 </span>One<a class="headerlink" href="#x">#</a></h1>
<p>Left out.</p>
<h2>First</h2>
<figure id="f"><img class="only-light" src="../../_images/a%20b.png" loading="lazy">
<img class="only-dark" src="../../_images/dark.png">
<figcaption><p>Seen. <a class="reference internal" href="two.html">there</a></p></figcaption></figure>
<figure class="live"><div class="ml-live"></div><figcaption>Played with.</figcaption></figure>
<div class="predict"><p>Which?</p><details class="fold-answer"><summary>The answer</summary><p>This, by
<span class="math">\\(x^2\\)</span>.</p></details></div>
<details><summary>Hint</summary><figure><figcaption>Folded.</figcaption></figure></details>
<div class="cell tag_slide"><pre>code = 1</pre><figure><figcaption>Within.</figcaption></figure></div>
<div class="cell"><pre>other = 2</pre></div>
<div class="claim"><p>It holds.</p><details><summary>What was checked</summary></details></div>
<section id="summary"><h2>Summary</h2>
<ul><li>one</li><li>two</li><li>three</li><li>four</li><li>five</li></ul></section></section></article></html>"""


def test_a_page_becomes_slides_in_its_order():
    made = list(slides(ARTICLE, "Why <so>?"))
    assert made[0] == '<section class="title"><h1>One</h1><p>Why &lt;so&gt;?</p></section>'
    assert [re.search("Seen|Which|code = 1|It holds|<li>one|<li>five", one)[0] for one in made[1:]] == [
        "Seen", "Which", "code = 1", "It holds", "<li>one", "<li>five"]
    assert all(one.startswith("<section><h2>First</h2>") for one in made[1:5])
    whole = "".join(made)
    for gone in ("Left out", "dark.png", "two.html", "Played with", "Folded", "other = 2", "What was checked",
                 "headerlink", "<summary"):
        assert gone not in whole
    assert whole.count("Within.") == 1 and 'class="fragment answer"' in made[2] and "five" not in made[-2]


def test_what_cannot_be_shown_is_said(book, capsys):
    book.chapter("01_one", "# One\n")
    assert main(["99"], book.root) == 2 and "01_one" in capsys.readouterr().err
    assert main([], book.root) == 1 and "make book" in capsys.readouterr().err


def test_without_its_package_there_are_none(book, capsys, monkeypatch):
    book.chapter("01_one", "# One\n")
    (book.root / "_build/html").mkdir(parents=True)
    (book.root / "_build/html/.built-from").touch()
    monkeypatch.setattr("vendor.shutil.which", lambda name: None)
    assert main([], book.root) == 1 and "npm is not installed" in capsys.readouterr().err


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """Slides of one page, in a folder of their own."""
    if not all((ROOT / package.target / "VERSION").exists() for package in (REVEAL, MATHJAX)):
        pytest.skip("reveal.js or MathJax is not at hand: make vendor")
    monkeypatch.setattr(making, "vendor", lambda package, root: ROOT / package.target)
    chapter, site = tmp_path / "book/principles/01_one.md", tmp_path / "site"
    chapter.parent.mkdir(parents=True)
    chapter.write_text(FRONT)
    page = site / "book/principles/01_one.html"
    page.parent.mkdir(parents=True)
    page.write_text(ARTICLE)
    (site / "_images").mkdir()
    (site / "_images/a b.png").write_bytes((ROOT / "book/_static/readme.png").read_bytes())
    assert write(site, [chapter], tmp_path / "slides", tmp_path) == ["01_one.html"]
    return tmp_path / "slides"


@needs_browser
def test_they_open_from_a_file_with_the_network_shut_and_keys_turn_them(shown):
    with Page(width=1280, height=800, offline=True) as page:
        page.open(shown / "01_one.html")
        page.wait_for("window.Reveal && Reveal.isReady()")
        assert page.complaints == [] and all(address.startswith(("file:", "data:")) for address in page.requests)
        where = "[Reveal.getIndices().h, Reveal.getIndices().f ?? -1]"
        page.press("ArrowRight")
        assert page.run(where) == [1, -1]
        assert page.run("""(() => { const image = Reveal.getCurrentSlide().querySelector('img');
                                    return image.naturalWidth > 0 && image.getBoundingClientRect().width > 100 })()""")
        page.press("ArrowRight")
        answer = "getComputedStyle(Reveal.getCurrentSlide().querySelector('.answer')).visibility"
        assert page.run(answer) == "hidden" and page.run("document.querySelector('.answer mjx-container') !== null")
        page.press("ArrowRight")
        assert page.run(where) == [2, 0]
        page.wait_for(f"{answer} === 'visible'")
        page.press("ArrowLeft", "ArrowLeft")
        assert page.run(where)[0] == 1
    with Page(offline=True) as page:
        page.open(shown / "index.html")
        assert page.run("document.querySelector('a').getAttribute('href')") == "01_one.html"
