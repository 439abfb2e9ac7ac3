"""The book as one PDF."""
from contextlib import nullcontext

import browser
import pdf
import pytest
from helpers.chromium import needs_browser, the_browser

PAGE = ('<!doctype html><html data-content_root="../"><title>t</title>'
        '<body><article class="bd-article">{}</article></body></html>')


@pytest.fixture
def site(tmp_path):
    def made(first, second):
        folder = tmp_path / "html/book"
        folder.mkdir(parents=True)
        for name, text in {"one": first, "two": second}.items():
            (folder / f"{name}.html").write_text(PAGE.format(text), encoding="utf-8")
        return tmp_path / "html"
    return made


FOLDED = '<h1 id="b">Two</h1><details class="fold fold-solution"><summary>Solution</summary>So.</details>'


@pytest.fixture
def one_browser(monkeypatch):
    """The browser that other tests of this process may have open: Playwright runs no second one beside it."""
    monkeypatch.setattr(pdf, "chromium", lambda: nullcontext(the_browser()))


@needs_browser
def test_links_between_pages_become_places(one_browser, site, tmp_path):
    where = site('<h1 id="a">One</h1><a href="two.html#b">there</a> <a href="two.html">its top</a>', FOLDED)
    assert pdf.pdf(where, ["book/one", "book/two"], tmp_path / "book.pdf") == []
    assert (tmp_path / "book.pdf").read_bytes().startswith(b"%PDF")


@needs_browser
def test_a_link_to_no_place_is_told(one_browser, site, tmp_path):
    where = site('<h1>One</h1><a href="two.html#none">nowhere</a>', FOLDED)
    assert pdf.pdf(where, ["book/one", "book/two"], tmp_path / "book.pdf") == ["book-two--none"]


def test_a_book_that_is_not_built_is_said(tmp_path, capsys):
    assert pdf.main(tmp_path) == 1 and "make book" in capsys.readouterr().err


def test_a_missing_browser_is_said(monkeypatch):
    monkeypatch.setattr(browser, "executable", lambda: None)
    with pytest.raises(RuntimeError, match="apt install chromium"), browser.chromium():
        pass


def test_solutions_of_problems_are_printed_last():
    pages = pdf.in_print()
    solved = [name.endswith("_solution") for name in pages]
    assert any(solved) and solved == sorted(solved)
