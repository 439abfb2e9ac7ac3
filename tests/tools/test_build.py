"""The pages are built whole and without a warning, or not at all; a notebook's links lead to places that exist."""
import re
import shutil

import build as building
import pytest
from chapters import home, repository
from helpers.tiny_book import SHOWS_ALL_CLAIMS, Book, cell, pages
from markup import Translator
from references import References

REFERS = """\
(one)=
# One

{cite:p}`long2015fully` and {cite:t}`gudbjartsson1995rician`
on a {term}`voxel`, {term}`IoU`, {term}`probability simplex`.
See {doc}`02_two`, {doc}`/book/intro`, {ref}`two`, {ref}`a-part`,
{eq}`eq-a`, {eq}`eq-b`, {ref}`one-double`, {numref}`fig-brain`.

$$
a = 1
$$ (eq-a)

```{math}
:label: eq-b
b = 2
```

:::{figure} /book/_static/brain.svg
:name: fig-brain
:alt: A brain
A brain
:::

::::{exercise} Double
:label: one-double
Write it.
::::

::::{solution} one-double
:class: dropdown
So.
::::
"""


DRAWS = cell("""\
import matplotlib.pyplot as plt
from medlearn import viz

plt.plot([0, 1])
plt.show()
viz.table([("one", 2)], columns=["name", "number"])""").replace(
    "ipython3\n", 'ipython3\n:mystnb: {figure: {name: fig-line, caption: "A line."}, image: {alt: "A line"}}\n\n')

SCHEMATICS = """
:::{architecture} attention
:name: fig-drawn
Drawn.
:::

:::{chain}
:name: fig-way
- tube | Tube | It sends.
- body | Body | It takes.

- coil | Coil | It hears.

The way.
:::

{numref}`fig-line`, {numref}`fig-drawn`, {numref}`fig-way`.
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A book that was built."""
    book = Book(tmp_path_factory.mktemp("book"))
    book.put("book/_static/brain.svg", '<svg xmlns="http://www.w3.org/2000/svg"/>')
    book.chapter("01_one", REFERS, SHOWS_ALL_CLAIMS)
    book.chapter("02_two", "(two)=\n# Two\n\n(a-part)=\n## A part\n", cell("print('two')"), DRAWS, SCHEMATICS)
    done = pages(book)
    assert done.returncode == 0, done.stdout + done.stderr
    return book


def test_the_links_of_a_notebook_lead_to_places_that_exist(built):
    translator = Translator("book/principles/01_one", References(built.root, repository(built.root)))
    links = re.findall(rf"\({re.escape(home(built.root).book)}([^)#]*)#?([^)]*)\)", translator.translate(REFERS))
    assert len(links) == 13
    for page, anchor in links:
        html = (built.root / "_build/html" / page).read_text()
        assert not anchor or f'id="{anchor}"' in html, (page, anchor)


def test_claims_are_listed_with_links_to_their_cells(built):
    listed = (built.root / "_build/html/book/reference/claims.html").read_text()
    assert 'href="../principles/01_one.html#claim-tasks-simplex"' in listed
    assert 'id="claim-tasks-simplex"' in (built.root / "_build/html/book/principles/01_one.html").read_text()


def test_a_table_behind_a_picture_stands_by_itself(built):
    html = (built.root / "_build/html/book/principles/02_two.html").read_text()
    figures = re.findall(r"<figure.*?</figure>", html, re.DOTALL)
    assert html.count('<table class="dataframe">') == 1 and not any("dataframe" in figure for figure in figures)
    assert sum('id="fig-line"' in figure for figure in figures) == 1


def test_schematics_are_numbered_figures_whose_parts_speak(built):
    html = (built.root / "_build/html/book/principles/02_two.html").read_text()
    said = re.findall(r'data-says="([^"]+)"', html)
    assert "Tube: It sends." in said and any(text.startswith("weights: shape 4 heads") for text in said)
    assert html.count("<figcaption>") == html.count("<figure") == 3


def test_rows_of_steps_stand_one_below_the_other(built):
    html = (built.root / "_build/html/book/principles/02_two.html").read_text()
    rows = re.findall(r'<ol class="chain"[^>]*>(.*?)</ol>', html)
    assert [re.findall(r"<span>(\w+)</span>", row) for row in rows] == [["Tube", "Body"], ["Coil"]]


def test_pages_know_where_the_repository_is(built):
    html = (built.root / "_build/html/book/principles/01_one.html").read_text()
    assert "https://github.com/someone/brains/issues/new" in html
    assert "https://colab.research.google.com/github/someone/brains/blob/trunk/book/principles/01_one" in html


def test_a_second_build_does_nothing_and_a_changed_one_all(built, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(building, "pages", lambda root: asked.append(root) or 1)
    stamp = built.root / "_build/html/.built-from"
    assert stamp.read_text() == building.digest(built.root)
    assert building.build(built.root) == 0 and asked == []
    assert "nothing has changed" in capsys.readouterr().out

    kept = shutil.copytree(built.root / "_build/html", built.root / "_build/kept")
    intro = built.root / "book/intro.md"
    before = intro.read_text()
    intro.write_text("# Other words\n")
    assert building.build(built.root) == 1 and asked == [built.root]
    assert not stamp.exists()  # a failed build leaves no trace of success, so the next one is made again
    intro.write_text(before)
    shutil.rmtree(built.root / "_build/html", ignore_errors=True)
    kept.rename(built.root / "_build/html")


@pytest.mark.parametrize("change", ["text", "settings", "contents", "static", "package", "address", "outputs"])
def test_a_build_depends_on(book, monkeypatch, change):
    before = building.digest(book.root)
    match change:
        case "text": book.put("book/intro.md", "# Other words\n")
        case "settings": book.put("_config.yml", (book.root / "_config.yml").read_text() + "\n")
        case "contents": book.chapter("01_one", "# One\n")
        case "static": book.put("book/_static/book.css", "a {}")
        case "package": book.put("medlearn/room.py", "x = 1\n")
        case "address": monkeypatch.setenv("GITHUB_REPOSITORY", "fork/brains")
        case "outputs":                                     # the same code, run anew
            book.put(f"_build/.jupyter_cache/{building.cache_path(book.root).name}/executed/a/base.ipynb", "{}")
    assert building.digest(book.root) != before


def test_a_build_does_not_depend_on_the_notebooks(book):
    before = building.digest(book.root)
    book.put("book/principles/01_one.ipynb", "{}")
    assert building.digest(book.root) == before


def test_without_an_address_no_button_leads_off_the_site(tmp_path):
    book = Book(tmp_path)
    config = book.root / "_config.yml"
    config.write_text(config.read_text().replace("https://github.com/someone/brains", "''"))
    book.put("book/setup.md", "# Setting up\n\n```bash\ngit clone {{ repository }}\n```\n")
    book.put("book/intro.md", "# Front page\n\n:::{hero}\nWelcome.\n:::\n\n```{book} cards\n```\n")
    book.names.append("book/setup")
    book.chapter("01_one", "# One\n\nIs it?\n", SHOWS_ALL_CLAIMS)
    done = pages(book)
    assert done.returncode == 0, done.stdout + done.stderr
    site = book.root / "_build/html"
    for page in ("book/intro", "book/principles/01_one", "book/setup"):
        assert "github" not in (site / f"{page}.html").read_text().lower().replace("fa-github", ""), page
    assert "ADDRESS-OF-THIS-REPOSITORY" in (site / "book/setup.html").read_text()
    assert not (site / "sitemap.xml").exists() and "og:image" not in (site / "index.html").read_text()
    assert (site / "_sources/book/principles/01_one.ipynb").exists()
    assert "Set it up" in (site / "book/intro.html").read_text()
