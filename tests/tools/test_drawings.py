"""Boxes and arrows as SVG that can be read as XML, and a table that says the same."""
from xml.etree import ElementTree

from drawings import GLYPHS, HEIGHT, WIDTH, Arrow, Box, path, sentence, svg, table

BOXES = (Box("x_0", (0, 0), "8 × 4", {"shape": "8 × 4", "sees": "3 & <5>"}),
         Box("answer", (2, 1), "1 × 4", {"shape": "1 × 4", "sees": "all"}))
ARROWS = (Arrow("x_0", "answer"), Arrow("x_0", "answer", "skip"))
SVG = "{http://www.w3.org/2000/svg}"


def read(text):
    return ElementTree.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_each_box_is_a_button_with_its_facts_as_name_tooltip_and_text():
    parts = read(svg(BOXES, ARROWS, "one")).findall(f"{SVG}g")
    assert [part.get("data-says") for part in parts] == ["x 0: shape 8 × 4; sees 3 & <5>", sentence(BOXES[1])]
    for part in parts:
        assert part.get("role") == "button" and part.get("tabindex") == "0"
        assert part.get("aria-label") == part.find(f"{SVG}title").text == part.get("data-says")


def test_all_boxes_lie_within_the_drawing():
    drawing = read(svg(BOXES, ARROWS, "one"))
    _, _, width, height = map(float, drawing.get("viewBox").split())
    for rect in drawing.iter(f"{SVG}rect"):
        assert 0 <= float(rect.get("x")) <= width - WIDTH and 0 <= float(rect.get("y")) <= height - HEIGHT


def test_two_drawings_of_a_page_share_no_id():
    ids = [{e.get("id") for e in read(svg(BOXES, ARROWS, name)).iter() if e.get("id")} for name in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_an_arrow_goes_from_edge_to_edge_and_an_arc_over_what_lies_between():
    assert path((100, 50), (300, 50), "way") == f"M{100 + WIDTH / 2:.0f} 50 {300 - WIDTH / 2:.0f} 50"
    assert path((300, 50), (100, 50), "way") == f"M{300 - WIDTH / 2:.0f} 50 {100 + WIDTH / 2:.0f} 50"
    assert path((100, 50), (100, 150), "way") == f"M100 {50 + HEIGHT / 2:.0f} 100 {150 - HEIGHT / 2:.0f}"
    assert "Q200 0" in path((100, 50), (300, 50), "arc")


def test_the_table_says_all_that_the_boxes_say():
    text = table(BOXES)
    assert [text.count(f"<td>{cell}</td>")
            for cell in ("x 0", "8 × 4", "3 &amp; &lt;5&gt;", "answer", "all")] == [1] * 5


def test_glyphs_stay_on_their_paper():
    for name, glyph in GLYPHS.items():
        assert ElementTree.fromstring(glyph).tag == "path", name
