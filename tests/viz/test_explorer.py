"""Explorers: what they hold, what they refuse, and how they answer to hands and keys in a real browser."""
import html
import json
import re
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers.chromium import Page, needs_browser

from medlearn.viz import Explorer, explore
from medlearn.viz.explorer import MAX_BYTES, MAX_FRAMES

ALT = "A square"


def draw(**values):
    """A figure of one colour for each frame, told apart by reading one pixel."""
    figure = plt.figure(figsize=(2, 1))
    figure.set_facecolor((0.1 * values.get("level", 0), 0.2 * values.get("other", 0), 0.5))
    return figure


def colour(level, other=0):
    return [round(25.5 * level), round(51 * other), 128]


def noisy(level):
    """Nothing compresses it: 160 kB a frame at the best quality."""
    figure = plt.figure(figsize=(4, 3))
    figure.figimage(np.random.default_rng(level).random((300, 400, 3)))
    return figure


def quick(*axes, **options):
    return explore(draw, alt=ALT, dpi=50, **options)


# ---------------------------------------------------------------------------------------------------------------------
# What it is

def test_the_result_names_its_axes_and_weighs_what_it_says():
    explorer = quick(level=[0, 1, 2], other=[0, 1])
    assert isinstance(explorer, Explorer) and explorer.names == ("level", "other") and explorer.frames == 6
    assert repr(explorer) == "<Explorer: level, other, 6 frames>"
    assert explorer._repr_html_() == explorer.html and explorer.nbytes == len(explorer.html.encode())


def test_the_same_drawing_gives_the_same_html():
    assert quick(level=[0, 1]).html == quick(level=[0, 1]).html
    ids = [re.search('data-explorer="(.*?)"', quick(level=levels).html)[1] for levels in ([0, 1], [1, 1], [0, 2])]
    assert len(set(ids)) == 3


def test_every_combination_is_drawn_once_the_last_axis_fastest():
    seen = []
    explore(lambda **values: (seen.append(values), draw())[1], alt=ALT, dpi=50, a=[1, 2], b={"low": None, "high": "x"})
    assert seen == [{"a": 1, "b": None}, {"a": 1, "b": "x"}, {"a": 2, "b": None}, {"a": 2, "b": "x"}]


def test_importing_viz_draws_nothing_and_loads_no_matplotlib():
    code = "import sys, medlearn.viz; print(sorted({'matplotlib', 'ipywidgets', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# ---------------------------------------------------------------------------------------------------------------------
# Weight

def test_heavy_figures_are_made_to_fit():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer = explore(noisy, alt=ALT, level=range(4), dpi=100)
    assert 0.5 * MAX_BYTES < explorer.nbytes <= MAX_BYTES


def test_long_texts_count_too():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explorer = explore(noisy, alt="word " * 4000, level=range(4), dpi=100)
    assert 4 * len("word " * 4000) < explorer.nbytes <= MAX_BYTES


# ---------------------------------------------------------------------------------------------------------------------
# Refusals

@pytest.mark.parametrize("arguments, why", [
    (dict(level=[]), "level: expected at least one value, got none"),
    (dict(), "axes: expected one or two, .* got 0"),
    (dict(a=[1], b=[1], c=[1]), "axes: expected one or two, .* got 3"),
    (dict(level=range(MAX_FRAMES + 1)), "axes: expected at most 200 frames, got 201"),
    (dict(level=range(20), other=range(11)), "axes: expected at most 200 frames, got 20 x 11 = 220"),
    (dict(level=[1], alt=""), "alt: expected a text"),
    (dict(level=[1], alt="  "), "alt: expected a text"),
    (dict(level=[1], alt=None), "alt: expected a text"),
    (dict(level=[1], width=0), "width: expected a whole number, 1 or more, got 0"),
    (dict(level=[1], dpi=-1), "dpi: expected a whole number, 1 or more, got -1"),
    (dict(level=[1], dpi=None), "dpi: expected a whole number, got None"),
], ids=str)
def test_bad_input_is_refused_before_anything_is_drawn(arguments, why, refused):
    def never(**values):
        raise AssertionError("drawn")

    with refused(why):
        explore(never, **{"alt": ALT, **arguments})


def test_what_cannot_draw_is_refused(refused):
    with refused("draw: expected a function, got None"):
        explore(None, alt=ALT, level=[0, 1])
    with refused("draw: expected figures of one size, got .200, 100. and .300, 100."):
        explore(lambda level: plt.figure(figsize=(2 + level, 1)), alt=ALT, dpi=100, level=[0, 1])
    assert plt.get_fignums() == []


# ---------------------------------------------------------------------------------------------------------------------
# In a browser

@pytest.fixture
def opened(tmp_path):
    """Opens a page with explorers on it: `opened(explorer, explorer, width=390)`."""
    tabs = []

    def open_with(*explorers, body="", **view):
        file = tmp_path / "page.html"
        file.write_text('<!doctype html><html lang="en"><meta charset="utf-8"><title>t</title>'
                        '<meta name="viewport" content="width=device-width"><body>' + body
                        + "\n".join(explorer.html for explorer in explorers), encoding="utf-8")
        tabs.append(Page(**view))
        tabs[-1].open(file)
        return tabs[-1]

    yield open_with
    for tab in tabs:
        assert tab.complaints == []
        asked = {address for address in tab.requests if not address.startswith(("data:", "about:"))}
        assert asked <= {(tmp_path / "page.html").as_uri()}
        tab.tab.context.close()


def texts(page):
    return page.run("Array.from(document.querySelectorAll('.medlearn-sliders b'), b => b.textContent)")


def pixel(page, copy=0):
    return page.run(f"""(async () => {{
        const box = document.querySelectorAll('.medlearn-frame')[{copy}], canvas = document.createElement('canvas');
        for (const image of box.querySelectorAll('img:not([hidden])')) {{
            await image.decode();
            canvas.getContext('2d').drawImage(image, 0, 0);
        }}
        return Array.from(canvas.getContext('2d').getImageData(5, 5, 1, 1).data).slice(0, 3);
    }})()""")


def focus(page, slider=0):
    page.run(f"document.querySelectorAll('input[type=range]')[{slider}].focus()")


def picture(page, share):
    """The point of the first picture at a share of its width."""
    x, y, width, height = page.run("""(box => [box.x, box.y, box.width, box.height])(
        document.querySelector('.medlearn-explorer img').getBoundingClientRect())""")
    return x + share * width, y + height / 2


def near(got, want):
    return np.abs(np.subtract(got, want)).max() <= 6        # AVIF is lossy


@needs_browser
def test_keys_move_a_slider_its_text_and_its_picture(opened):
    page = opened(quick(level=[1, 2, 3, 4]))
    assert texts(page) == ["1"] and near(pixel(page), colour(1))
    focus(page)
    for key, level in (("ArrowRight", 2), ("ArrowUp", 3), ("ArrowLeft", 2), ("End", 4), ("ArrowRight", 4), ("Home", 1)):
        page.press(key)
        assert texts(page) == [str(level)] and near(pixel(page), colour(level)), key
    page.press("End")
    image = "document.querySelector('.medlearn-explorer img')"
    assert page.run(f"{image}.alt") == "A square (level 4)"
    assert page.run("document.activeElement.getAttribute('aria-valuetext')") == "4"


@needs_browser
def test_tab_reaches_each_slider_and_the_first_frame_comes_back(opened):
    page = opened(quick(level=[1, 2], other=[0, 1, 2]))
    page.press("Tab", "ArrowRight", "Tab", "End")
    assert texts(page) == ["2", "2"] and near(pixel(page), colour(2, 2))
    page.press("ArrowLeft")
    assert texts(page) == ["2", "1"] and near(pixel(page), colour(2, 1))
    page.press("Home")
    focus(page)
    page.press("Home")
    assert texts(page) == ["1", "0"] and near(pixel(page), colour(1, 0))


@needs_browser
def test_the_pages_own_keys_are_left_alone_while_a_slider_has_the_focus(opened):
    body = "<script>heard = 0; document.addEventListener('keydown', () => heard++)</script>"
    page = opened(quick(level=[1, 2]), body=body)
    focus(page)
    page.press("ArrowRight")
    assert texts(page) == ["2"] and page.run("heard") == 0


@needs_browser
def test_a_drag_over_the_picture_moves_the_first_axis(opened):
    page = opened(quick(level=[1, 2, 3, 4, 5], other=[0, 1]))
    page.drag(picture(page, 0.1), picture(page, 0.6))
    assert texts(page) == ["3", "0"] and near(pixel(page), colour(3))
    page.drag(picture(page, 0.05), picture(page, 0.95))
    assert texts(page) == ["5", "0"]
    page.drag(picture(page, 0.9), picture(page, 0.6))
    assert texts(page) == ["4", "0"]


@needs_browser
def test_a_finger_does_the_same(opened):
    page = opened(quick(level=[1, 2, 3, 4, 5]), width=390, height=800, touch=True)
    page.swipe(picture(page, 0.1), picture(page, 0.6))
    page.wait_for("document.querySelector('.medlearn-sliders b').textContent === '3'")
    assert near(pixel(page), colour(3))


@needs_browser
def test_two_copies_on_a_page_move_apart(opened):
    explorer = quick(level=[1, 2, 3])
    page = opened(explorer, explorer, quick(level=[1, 3]))
    focus(page, 1)
    page.press("End")
    assert texts(page) == ["1", "3", "1"]
    assert near(pixel(page, 0), colour(1)) and near(pixel(page, 1), colour(3)) and near(pixel(page, 2), colour(1))
    focus(page, 0)
    page.press("ArrowRight")
    assert texts(page) == ["2", "3", "1"] and near(pixel(page, 0), colour(2))


@needs_browser
def test_a_copy_that_comes_later_leaves_the_first_where_it_is(opened):
    """As when a cell is run again in a notebook."""
    explorer = quick(level=[1, 2, 3])
    page = opened(explorer)
    focus(page)
    page.press("End")
    page.run(f"document.body.append(document.createRange().createContextualFragment({json.dumps(explorer.html)}))")
    assert texts(page) == ["3", "1"] and near(pixel(page, 0), colour(3)) and near(pixel(page, 1), colour(1))
    page.press("Home")
    assert texts(page) == ["1", "1"] and near(pixel(page, 0), colour(1))
    focus(page, 1)
    page.press("End")
    assert texts(page) == ["1", "3"] and near(pixel(page, 1), colour(3))


@needs_browser
def test_without_javascript_the_first_frame_is_there_and_no_dead_slider(opened):
    page = opened(quick(level=[1, 2]), script=False)
    image = "document.querySelector('.medlearn-explorer img')"
    assert page.run(f"{image}.complete && {image}.naturalWidth") == 100
    assert page.run("getComputedStyle(document.querySelector('.medlearn-sliders')).display") == "none"
    said = page.run("document.querySelector('noscript').textContent")
    assert said == "The first of 2 frames: the sliders need JavaScript."


NASTY = '</script><script>window.broken = 1</script> "<b>" & \'$js\' \\ \u2028 é'


@needs_browser
def test_labels_and_alt_texts_are_text_whatever_they_hold(opened):
    page = opened(explore(draw, alt=NASTY, dpi=50, level={NASTY: 1, "plain": 2}))
    assert page.run("window.broken") is None
    assert texts(page) == [NASTY]
    assert page.run("document.querySelector('img').alt") == f"{NASTY} (level {NASTY})"
    assert page.run("document.querySelector('.medlearn-explorer').getAttribute('aria-label')") == NASTY
    focus(page)
    page.press("End", "Home")
    assert texts(page) == [NASTY] and near(pixel(page), colour(1))


@needs_browser
def test_long_labels_do_not_widen_a_phone(opened):
    page = opened(explore(draw, alt=ALT, level={"a long answer " * 8: 1, "short": 2}), width=390, height=800,
                  touch=True)
    assert page.run("document.scrollingElement.scrollWidth") <= 390


@needs_browser
def test_the_text_has_its_room_so_that_nothing_moves(opened):
    page = opened(explore(draw, alt=ALT, level={"a": 1, "a longer answer": 2}), width=800)
    where = "(r => [r.x, r.width])(document.querySelector('input').getBoundingClientRect())"
    before = page.run(where)
    focus(page)
    page.press("End")
    assert page.run(where) == before


def test_the_page_holds_its_data_once():
    explorer = quick(level=[1, 2, 3])
    data = re.search(r"\)\(\"[0-9a-f]{12}\", (.*)\);</script>", explorer.html)[1]
    frames = json.loads(data)["frames"]
    assert frames[0][:2] == ["", "A square (level 1)"] and all(uri.startswith("data:image/") for uri, *_ in frames[1:])
    first = re.search('<img src="(.*?)"', explorer.html)[1]
    assert explorer.html.count(first) == 1 and html.unescape(first) == first


@needs_browser
def test_a_frame_lies_over_the_first_one_to_the_pixel(opened):
    page = opened(quick(level=[1, 2]), width=700)
    focus(page)
    page.press("End")
    places = page.run("""Array.from(document.querySelectorAll('.medlearn-frame img'),
        image => (box => [box.x, box.y, box.width, box.height])(image.getBoundingClientRect()))""")
    assert len(places) == 2 and places[0] == places[1]


def test_a_dark_page_is_told_where_the_paper_is():
    def scan(level):
        figure, ax = plt.subplots(figsize=(2, 1))
        ax.set_position((0.25, 0.5, 0.5, 0.25 * level))
        ax.imshow(np.eye(2), aspect="auto")
        return figure

    explorer = explore(scan, alt=ALT, level=[1, 2], dpi=50)
    papers = [re.findall(r"[\d.]+%", paper) for *_, paper in json.loads(
        re.search(r"\)\(\"[0-9a-f]{12}\", (.*)\);</script>", explorer.html)[1])["frames"]]
    sheet = "0.00% 0.00% 0.00% 0.00% 100.00% 0.00% 100.00% 100.00% 0.00% 100.00% 0.00% 0.00% 0.00% 0.00%".split()
    for got, top in zip(papers, ("25.00%", "0.00%")):
        assert got == [*sheet, "25.00%", top, "75.00%", top, "75.00%", "50.00%", "25.00%", "50.00%", "25.00%", top]
    assert explorer.html.count("--paper-only:polygon(evenodd,") == 1
