"""The live instruments as a reader meets them: they show something, answer to keys and fingers, and fit a phone."""
import gzip
import re

import pytest
from chapters import chapters
from helpers.live_page import CODE, EVERY, LIVE, opened

CODE_OF_THE_KIT = ("kit.js", "plot.js")
VALUES = "(c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
SAID = "document.querySelector('[data-instrument=paint] .ml-says').textContent"
COLOURS = "(e) => [getComputedStyle(e).color, getComputedStyle(e.closest('.ml-live')).backgroundColor]"


def test_every_instrument_shows_something_by_itself(page):
    instruments = page.query_selector_all(".ml-live")
    assert len(instruments) >= 15 and page.complaints == []
    assert all(address.startswith((LIVE.as_uri(), "blob:")) for address in page.asked)
    for one in instruments:
        name = one.get_attribute("data-instrument")
        assert one.get_attribute("data-state") == "ready", (name, one.inner_text())
        says, tries = (one.query_selector(part).inner_text() for part in (".ml-says", ".ml-try"))
        assert len(says) > 20 and len(tries) > 40, name
        for canvas in one.query_selector_all("canvas"):
            assert canvas.evaluate(VALUES) > 2, name
        for svg in one.query_selector_all("svg"):
            assert svg.evaluate("(s) => s.querySelectorAll('path, rect, circle').length") >= 2, name


def test_every_instrument_of_the_kit_is_on_the_demo_page(page):
    shown = set(page.evaluate(f"{EVERY}.map((e) => e.dataset.instrument)"))
    assert shown == set(page.evaluate("Object.keys(Live.scripts)"))


def test_pictures_say_what_they_show_and_at_which_values(page):
    for picture in page.query_selector_all(".ml-live :is(canvas, svg)"):
        label = picture.get_attribute("aria-label")
        assert picture.get_attribute("role") == "img" and len(label) > 20 and "(" in label, label


def test_arrow_keys_move_every_slider_and_the_picture_says_so(page):
    for slider in page.query_selector_all(".ml-live input[type=range]"):
        before = slider.input_value()
        key, back = ("ArrowRight", "ArrowLeft")[::-1 if before == slider.get_attribute("max") else 1]
        slider.press(key)
        assert slider.input_value() != before
        page.wait_for_function("""(slider) => slider.closest('.ml-live').querySelector('canvas, svg')
            .getAttribute('aria-label').includes(slider.getAttribute('aria-valuetext'))""", arg=slider)
        slider.press(back)


def test_an_unknown_instrument_says_so(page):
    said = page.evaluate("""async () => {
        const made = Live.node('div', {class: 'ml-live', 'data-instrument': 'none'});
        await Live.mount(made);
        return made.textContent;
    }""")
    assert "there is no instrument none" in said
    page.complaints.clear()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_it_fits_and_can_be_read(chromium, scheme):
    page = opened(chromium, color_scheme=scheme, has_touch=True, is_mobile=True, device_scale_factor=2)
    try:
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(100)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
        for selector in (".ml-title", ".ml-says", ".ml-try", "figcaption", "label span"):
            assert contrast(*page.eval_on_selector(f".ml-live {selector}", COLOURS)) >= 4.5, selector
        smallest = page.evaluate("""Math.min(...Array.from(document.querySelectorAll('.ml-live svg text'), (t) => {
            const svg = t.ownerSVGElement, scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
            return scale * parseFloat(getComputedStyle(t).fontSize);
        }))""")
        assert smallest >= 9
        assert page.complaints == []
    finally:
        page.context.close()


def contrast(ink: str, paper: str) -> float:
    def light(colour: str) -> float:
        channels = [float(c) / 255 for c in colour[colour.index("(") + 1:-1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    low, high = sorted((light(ink), light(paper)))
    return (high + 0.05) / (low + 0.05)


def test_a_finger_paints_sideways_and_scrolls_upwards(chromium):
    page = opened(chromium, has_touch=True, is_mobile=True)
    try:
        canvas = page.query_selector("[data-instrument=paint] canvas")
        canvas.scroll_into_view_if_needed()
        canvas.evaluate("(c) => c.scrollIntoView({block: 'center'})")
        finger, box = page.context.new_cdp_session(page), canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        painted = f"{SAID}.match(/painted ([0-9.]+)/)[1]"

        def swipe(dx: float, dy: float) -> tuple[float, str]:
            way = [{"x": x + dx * k / 10, "y": y + dy * k / 10} for k in range(11)]
            for kind, points in [("touchStart", way[:1]), *(("touchMove", [p]) for p in way[1:]), ("touchEnd", [])]:
                finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(1500)
            return page.evaluate("scrollY"), page.evaluate(painted)

        scrolled, area = page.evaluate("scrollY"), page.evaluate(painted)
        after = swipe(0, -150)
        assert after[0] > scrolled + 50 and after[1] == area
        page.evaluate(f"scrollTo(0, {scrolled})")
        page.wait_for_timeout(200)
        after = swipe(box["width"] / 4, 0)
        assert abs(after[0] - scrolled) < 5 and float(after[1]) > float(area)
    finally:
        page.context.close()


def test_keys_paint_too(page):
    canvas = page.query_selector("[data-instrument=paint] canvas")
    before = page.inner_text("[data-instrument=paint] .ml-says").split(" cm")[0]
    canvas.focus()
    for key in ("ArrowLeft", "ArrowUp", "Enter"):
        canvas.press(key)
    page.wait_for_function(f"!{SAID}.startsWith({before!r})")


def test_a_page_loads_little_code(page):
    """The kit, and what any chapter's instrument asks for beside it."""
    size = {path.name: len(gzip.compress(path.read_bytes())) for path in [*CODE, LIVE / "live.css"]}
    kit = sum(size[name] for name in (*CODE_OF_THE_KIT, "live.css"))
    scripts = page.evaluate("Live.scripts")
    for name, files in scripts.items():
        assert kit + sum(size[file] for file in files) <= 20_000, (name, size)
    for chapter in chapters():
        told = re.findall(r":::\{live\} (\S+)", chapter.read_text(encoding="utf-8"))
        asked = {*CODE_OF_THE_KIT, "live.css", *(file for name in told for file in scripts[name])}
        assert sum(size[name] for name in asked) <= 30_000, chapter
    assert {*CODE_OF_THE_KIT, *(file for files in scripts.values() for file in files)} == {path.name for path in CODE}
