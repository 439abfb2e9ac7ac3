"""What a chapter is, which there are, and where the book lives."""
import subprocess

import pytest
from chapters import ROOT, Repository, cells, chapters, documents, home, name_of, orphans, read, repository
from helpers.tiny_book import FRONT, cell
from references import Place, References


def test_a_chapter_is_a_listed_page_that_runs(book):
    book.chapter("02_two", "# Two")
    book.chapter("01_one", "# One")
    assert documents(book.root) == ["book/intro", "book/principles/02_two", "book/principles/01_one",
                                    "book/reference/claims", "book/reference/glossary", "book/reference/bibliography"]
    assert [name_of(path, book.root) for path in chapters(book.root)] == ["book/principles/02_two",
                                                                          "book/principles/01_one"]
    assert orphans(book.root) == []


def test_what_contents_and_folders_do_not_agree_on_is_named(book):
    book.chapter("01_one", "# One")
    book.chapter("02_lost", "# Lost", listed=False)
    book.put("book/practice/capstone.md", "# A page without code")
    book.names.append("book/principles/09_later")
    book.contents()
    assert orphans(book.root) == ["book/practice/capstone.md: not in _toc.yml",
                                  "book/principles/02_lost.md: not in _toc.yml",
                                  "_toc.yml: no file book/principles/09_later.md"]


def test_cells_know_where_their_source_begins(book):
    path = book.chapter("01_one", "# One\n\ntext\n", cell("x = 1\n\ny = 2", "solution", "hide-cell"), "more\n",
                        "```{code-cell} ipython3\n:mystnb: {image: {alt: \"A: b\"}}\n\nx = 3\n```\n")
    lines = path.read_text().splitlines()
    found = cells(path)
    assert [one.kind for one in found] == ["markdown", "code", "markdown", "code"]
    assert [lines[one.line - 1] for one in found] == ["# One", "x = 1", "more", "x = 3"]
    assert found[1].tags == ("solution", "hide-cell") and found[0].tags == ()
    assert [one.source for one in read(path).cells] == [one.source for one in found]
    assert found[3].metadata["mystnb"] == {"image": {"alt": "A: b"}}


def test_an_empty_chapter_has_no_cells(book):
    assert cells(book.chapter("01_one", "")) == []
    assert FRONT.count("\n") == 11


# Addresses -----------------------------------------------------------------------------------------------------------

def test_the_address_is_that_of_the_settings(book):
    at = repository(book.root)
    assert at == home(book.root) == Repository("https://github.com/someone/brains", "trunk",
                                               "https://someone.github.io/brains/")
    assert at.page("book/intro") == "https://someone.github.io/brains/book/intro.html"
    assert at.colab("book/a.ipynb") == "https://colab.research.google.com/github/someone/brains/blob/trunk/book/a.ipynb"
    assert at.install == "medlearn[dicom] @ git+https://github.com/someone/brains@trunk"


@pytest.mark.parametrize("origin, url", [
    ("https://github.com/other/clone.git", "https://github.com/other/clone"),
    ("git@github.com:other/clone.git", "https://github.com/other/clone"),
    ("https://user:secret@github.com/other/clone", "https://github.com/other/clone"),
    ("/home/someone/clone", "https://github.com/someone/brains"),
    ("https://git.hospital.example/clone.git", "https://github.com/someone/brains"),
])
def test_a_clone_knows_its_origin(book, origin, url):
    subprocess.run(["git", "init", "-q", book.root], check=True)
    subprocess.run(["git", "-C", book.root, "remote", "add", "origin", origin], check=True)
    assert repository(book.root).url == url
    assert home(book.root).url == "https://github.com/someone/brains"


def test_where_no_address_is_known_nothing_links_there(book):
    config = book.root / "_config.yml"
    config.write_text(config.read_text().replace("https://github.com/someone/brains", "''"))
    at = repository(book.root)
    assert at == Repository("", "trunk", "") and not at.known and at.raw("book/a.svg") == "book/a.svg"
    assert References(book.root, at).link(Place("book/intro", "", "Front page")) == "Front page"


def test_the_environment_overrules_the_rest(book, monkeypatch):
    monkeypatch.setenv("GITHUB_REPOSITORY", "Runner/Name")
    assert repository(book.root) == Repository("https://github.com/Runner/Name", "trunk",
                                               "https://runner.github.io/Name/")
    monkeypatch.setenv("MEDLEARN_REPO_URL", "https://git.hospital.example/brains.git/")
    with pytest.raises(ValueError, match="expected MEDLEARN_BOOK_URL .* https://git.hospital.example/brains"):
        repository(book.root)
    monkeypatch.setenv("MEDLEARN_BOOK_URL", "https://book.example")
    monkeypatch.setenv("MEDLEARN_REPO_BRANCH", "next")
    assert repository(book.root) == Repository("https://git.hospital.example/brains", "next", "https://book.example/")


def test_this_book_agrees_with_its_folders():
    assert orphans(ROOT) == []
