"""The dark twin of a figure: paper turns to glass, ink to light, a scan stays; and which figure is a drawing."""
import re
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from chapters import ROOT
from PIL import Image

sys.path[:0] = [str(ROOT / "book/_ext"), str(ROOT / "tools/kernel")]
from dark import PAPER, of_drawing, of_picture, on_dark, panels, twin  # noqa: E402
from svg_figures import drawing  # noqa: E402


def figure() -> np.ndarray:
    """White paper with a scan of many greys, a black line and a red one."""
    rgb = np.full((100, 200, 3), 255, np.uint8)
    rgb[10:90, 10:90] = (np.arange(6400).reshape(80, 80) % 200)[..., None]
    rgb[50, 110:190], rgb[60, 110:190] = 0, (213, 94, 0)
    return rgb


def test_a_scan_is_found_and_a_line_is_none():
    kept = panels(figure())
    assert kept[10:90, 10:90].all() and kept.sum() == 6400


def test_what_explains_a_maps_colours_keeps_them_and_other_ink_does_not():
    rgb = figure()
    rgb[30:40, 30:40] = 240, 228, 66                                    # a tissue on the scan
    rgb[10:20, 110:122] = 240, 228, 66                                  # its patch in the legend
    rgb[25:35, 110:122] = 0, 158, 115                                   # of a tissue that is not in the picture
    rgb[70:80, 110:122] = 40, 40, 40                                    # a bar in the grey of the scan
    rgb[90:92, 110:190] = 240, 228, 66                                  # a line in its colour
    kept = panels(rgb)
    assert kept[10:20, 110:122].all() and kept.sum() == 6400 + 120


def test_a_colour_bar_with_ticks_keeps_its_colours():
    rgb = figure()
    rgb[30:40, 30:40], rgb[40:50, 30:40] = (53, 183, 121), (253, 231, 37)
    rgb[10:50, 95:105], rgb[50:90, 95:105] = (53, 184, 122), (253, 231, 37)    # as a map's rounding has it
    rgb[30, 105:108] = rgb[70, 105:108] = 0                             # ticks
    assert panels(rgb)[10:90, 95:105].all()


@pytest.mark.parametrize("grey", [255, 20])
def test_a_white_outline_does_not_part_a_scan(grey):
    rgb = figure()
    rgb[10:90, 10:90] = 90                                              # of one grey, as a map may be
    rgb[20:70, 20:70] = 255                                             # an outline, 2 pixels wide, around a lesion
    rgb[22:68, 22:68] = grey
    kept = panels(rgb)
    assert kept[10:90, 10:90].all() and kept.sum() == 6400


def test_the_paper_between_the_ticks_of_a_panel_is_not_the_panels():
    rgb = figure()
    rgb[20:90:20, 90:94] = 0                                            # ticks that hang on it
    kept = panels(rgb)
    assert kept[10:90, 10:90].all() and kept.sum() == 6400


def test_the_frame_of_a_plot_is_no_panel():
    rgb = figure()
    rgb[10:90, 110:190] = 0
    rgb[12:88, 112:188] = 255
    assert panels(rgb).sum() == 6400


def test_paper_is_glass_ink_is_light_and_the_scan_is_itself():
    made = np.asarray(twin(Image.fromarray(figure())))
    assert (made[5, 5] == 0)[3] and made.shape == (100, 200, 4)
    assert (made[50, 150] == 255).all()                                  # black ink
    assert made[60, 150][0] > made[60, 150][2] and made[60, 150][3] == 255    # red stays reddish
    assert (made[10:90, 10:90, :3] == figure()[10:90, 10:90]).all()


@pytest.mark.parametrize("told, size", [({"dpi": (110, 110)}, (660, 440)), ({"dpi": (220, 220)}, (1320, 880)),
                                        ({}, (660, 440))])
def test_a_sharper_figure_is_no_larger_on_the_page(tmp_path, told, size):
    Image.new("RGB", size).save(tmp_path / "one.png", **told)
    assert of_picture(tmp_path / "one.png") == (tmp_path / "one-dark.webp", (660, 440))


# Drawings ------------------------------------------------------------------------------------------------------------

@pytest.fixture
def plot():
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot([0, 1], [1, 0], color="#0072b2")
    yield figure
    plt.close(figure)


def test_a_plot_is_a_drawing_each_time_the_same(plot):
    assert drawing(plot) == drawing(plot) and "#0072b2" in drawing(plot)


def test_an_image_or_ten_thousand_dots_are_a_picture(plot):
    plot.axes[0].plot(np.arange(20_000) % 97, "o")
    assert drawing(plot) is None
    other, axes = plt.subplots()
    axes.imshow(np.eye(3))
    assert drawing(other) is None
    plt.close(other)


def test_a_drawing_in_the_dark_has_no_card_and_light_ink(plot, tmp_path):
    (tmp_path / "one.svg").write_text(drawing(plot))
    dark, (width, _) = of_drawing(tmp_path / "one.svg")
    made = dark.read_text()
    assert made.count("fill: none") == drawing(plot).count("fill: none") + 2     # the figure's card and the axes'
    assert on_dark("#0072b2") in made and abs(width - 420) < 30
    assert f'<svg fill="{on_dark("#000000")}"' in made                   # matplotlib does not write what is black


def test_a_drawing_and_a_picture_agree_on_the_dark():
    css = (ROOT / "book/_static/book.css").read_text()
    paper = "#" + "".join(f"{round(255 * x):02x}" for x in PAPER)
    assert re.findall(r"--paper: (#\w+)", css)[1] == paper == on_dark("#ffffff")
    for colour in ((0, 114, 178), (213, 94, 0), (128, 128, 128), (240, 228, 66)):
        line = np.full((40, 40, 3), 255, np.uint8)
        line[20, 20] = colour
        red, green, blue, ink = np.asarray(twin(Image.fromarray(line)))[20, 20] / 255
        mixed = np.array([red, green, blue]) * ink + np.array(PAPER) * (1 - ink)
        found = on_dark("#%02x%02x%02x" % colour)
        assert np.allclose([int(found[i:i + 2], 16) / 255 for i in (1, 3, 5)], mixed, atol=3 / 255)
