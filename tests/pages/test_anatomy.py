"""What a chapter's markup becomes on its page: folds, figures, predictions, instruments; a tiny book, in a real browser."""
import json

import pytest
from browser import serving
from helpers.chromium import Page, needs_browser
from helpers.tiny_book import SHOWS_ALL_CLAIMS, Book, cell, pages

pytestmark = needs_browser
DRAW = ('fig, ax = plt.subplots(figsize=(3, 2))\nax.plot([0, 1], [0, 1])\nax.set_title("a line")\nplt.show()')
FIGURE = ':mystnb: {figure: {name: fig-line, caption: "The line $y = x$."}, image: {alt: "A line that rises."}}'
CHAPTER = [
    "(one)=\n# One\n\nA woman asks: is it *large*?\n\n*About 7 minutes to read.*\n",
    cell("import math\n\nimport matplotlib.pyplot as plt\nimport torch"),
    SHOWS_ALL_CLAIMS,
    f"```{{code-cell}} ipython3\n{FIGURE}\n\n{DRAW}\n```\n",
    '```{code-cell} ipython3\n:mystnb: {image: {alt: "Another line."}}\n\n' + DRAW + "\nkept = 1\n```\n",
    cell("print(kept)\nprint(math.pi)\nprint(torch.ones(1))", "repeat"),
    "See {numref}`fig-line`.\n",
    "::::{predict}\nWhich is it?\n\n- [ ] the *first*\n- [x] the second, $x$\n\n---\n\nThe second, as you see.\n::::\n",
    ":::{predict}\n:number: 0.25\n:unit: mm\n\nHow much?\n\n---\n\nA quarter.\n:::\n",
    "**Predict.** what do you think?\n",
    "::::{predict}\nWhich two?\n\n- [x] a\n- [ ] b\n- [x] c\n\n---\n\nThe outer ones.\n::::\n",
    "## Exercises\n\n::::{exercise} Double\n:label: one-double\nWrite it.\n::::\n",
    ":::{admonition} Hint\n:class: dropdown\nAdd it to itself.\n:::\n",
    cell('def double(x):\n    return 2 * x', "solution", "hide-cell"),
    "::::{solution} one-double\n:class: dropdown\nSo.\n::::\n",
    ":::{live} softmax\nMove $z$.\n:::\n",
    "## Three questions\n\n**1. Which is it?**\n",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    book = Book(tmp_path_factory.mktemp("anatomy"))
    book.chapter("01_one", *CHAPTER)
    contents = json.loads((book.root / "_toc.yml").read_text())
    contents["parts"][0]["numbered"] = True
    book.put("_toc.yml", json.dumps(contents))
    done = pages(book)
    assert done.returncode == 0, done.stdout + done.stderr
    with serving(book.root / "_build/html") as address:
        yield book.root / "_build/html", address + "book/principles/01_one.html"


@pytest.fixture
def page(site):
    with Page(width=1280, offline=True) as page:
        page.open(site[1])
        yield page


def test_machinery_is_folded_under_a_name_and_an_idea_stands_open(page):
    folds = page.run("Array.from(document.querySelectorAll('details.fold > summary'), e => [e.innerText, e.parentNode.open])")
    assert folds == [["Set-up, 3 lines", False], ["The code of this figure, 4 lines", False], ["The same again, 3 lines", False],
                     ["The answer", False], ["The answer", False], ["The answer", False], ["Hint", False], ["Solution", False],
                     ["Solution to Exercise 1.1 (Double)", False]]
    shown = page.run("Array.from(document.querySelectorAll('.cell_input'), e => e.checkVisibility())")
    assert shown == [False, True, False, True, False, False]


def test_figures_have_numbers_captions_and_names(page):
    captions = page.run("Array.from(document.querySelectorAll('figcaption'), e => e.innerText.replace('#', '').trim())")
    assert [text.split(" ", 2)[1] for text in captions] == ["1.1", "1.2", "1.3"]
    assert "The line" in captions[0] and "Another line." in captions[1]
    assert page.run("document.querySelector('a[href$=\"#fig-line\"] .std-numref').innerText") == "Figure 1.1"


def test_before_exercises_and_questions_a_chapter_shows_its_pictures_once_more(page):
    links = page.tab.locator(".recap a:has(img)")
    assert page.run("Array.from(document.querySelectorAll('.recap'), e => e.closest('section').id)") == [
        "exercises", "three-questions"]
    assert [text.partition(":")[0].strip() for text in links.all_inner_texts()] == ["Figure 1.1", "Figure 1.2"]
    assert links.nth(1).get_attribute("href") == "#figure-2" and "Another line." in links.nth(1).text_content()
    links.nth(0).click()
    assert page.run("document.querySelector('#fig-line').getBoundingClientRect().top") < 400


def test_a_figure_has_a_twin_for_the_dark(page):
    shown = "Array.from(document.querySelectorAll('figure img')).filter(e => e.checkVisibility()).map(e => e.className)"
    assert set(page.run(shown)) == {"only-light"}
    page.run("document.documentElement.dataset.theme = 'dark'")
    assert set(page.run(shown)) == {"only-dark"}


def test_a_choice_commits_before_the_answer_opens_and_is_remembered(page, site):
    answer = "document.querySelector('.predict .fold-answer').checkVisibility()"
    assert page.run(answer) is False
    page.tab.click(".predict button[type=submit]")                      # nothing chosen
    assert page.run(answer) is False
    page.tab.check(".predict label:nth-of-type(1) input")
    page.tab.click(".predict button[type=submit]")
    assert page.run(answer) is True and "otherwise" in page.tab.inner_text(".predict .predict-said >> nth=0")
    assert page.run("[...document.querySelectorAll('.predict label')].slice(0, 2).map(e => e.className)") == ["wrong", "right"]
    page.open(site[1])
    assert page.run(answer) is True
    page.tab.click("text=Think again >> nth=0")
    assert page.run(answer) is False


def test_a_number_and_some_words_commit_too(page):
    second = page.tab.locator(".predict").nth(1)
    second.locator("input").fill("0.26")
    second.locator("button[type=submit]").click()
    assert "You saw it coming: it is 0.25 mm." in second.inner_text()
    third = page.tab.locator(".predict").nth(2)
    assert third.inner_text().startswith("PREDICT\n\nWhat do you think?") or "What do you think?" in third.inner_text()
    third.locator("textarea").fill("large")
    third.locator("button[type=submit]").click()
    assert "Kept in this browser only." in third.inner_text()


def test_where_several_are_right_one_of_them_is_not_enough(page, site):
    fourth = page.tab.locator(".predict").nth(3)
    for ticked, verdict, classes in (((0,), "otherwise", ["right", "", "right"]), ((0, 2), "You saw it", ["right", "", "right"]),
                                     ((0, 1, 2), "otherwise", ["right", "wrong", "right"])):
        for k in range(3):
            fourth.locator("input").nth(k).set_checked(k in ticked)
        fourth.locator("button[type=submit]").click()
        assert verdict in fourth.locator(".predict-said").inner_text()
        assert [label.get_attribute("class") or "" for label in fourth.locator("label").all()] == classes
        page.open(site[1])
        assert [box.is_checked() for box in fourth.locator("input").all()] == [k in ticked for k in range(3)]
        fourth.get_by_text("Think again").click()


def test_without_javascript_an_answer_is_a_fold_and_the_choices_a_list(site):
    with Page(width=390, script=False) as page:
        page.open(site[1])
        assert page.tab.locator(".predict li").all_inner_texts()[0] == "the first"
        assert page.tab.locator(".predict .fold-answer summary").first.is_visible()
        assert not page.tab.get_by_text("The second, as you see.").is_visible()
        assert page.tab.locator(".predict form").count() == 0


def test_the_notebook_hides_nothing_and_keeps_the_numbers(site):
    notebook = json.loads((site[0] / "_sources/book/principles/01_one.ipynb").read_text())
    text = "\n".join("".join(one["source"]) for one in notebook["cells"])
    assert "**Exercise 1.1. Double**" in text and "[Figure 1.1](" in text
    assert "- the *first*\n> - the second, $x$" in text and "<summary>The answer</summary>" in text
    assert "import matplotlib.pyplot as plt" in text


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_a_caption_is_seen_in_both_modes(page, mode):
    page.run(f"document.documentElement.dataset.theme = '{mode}'")
    seen = page.run("Array.from(document.querySelectorAll('figure > figcaption'), e => e.getClientRects().length > 0)")
    assert seen and all(seen)
