"""The dark twin of a figure: paper turns to glass, ink to light, a scan stays."""
import sys

import numpy as np
from chapters import ROOT
from PIL import Image

sys.path.insert(0, str(ROOT / "book/_ext"))
from dark import panels, size_on_page, twin  # noqa: E402


def figure() -> np.ndarray:
    """White paper with a scan of many greys, a black line and a red one."""
    rgb = np.full((100, 200, 3), 255, np.uint8)
    rgb[10:90, 10:90] = (np.arange(6400).reshape(80, 80) % 200)[..., None]
    rgb[50, 110:190], rgb[60, 110:190] = 0, (213, 94, 0)
    return rgb


def test_a_scan_is_found_and_a_line_is_none():
    kept = panels(figure())
    assert kept[10:90, 10:90].all() and kept.sum() == 6400


def test_paper_is_glass_ink_is_light_and_the_scan_is_itself():
    made = np.asarray(twin(Image.fromarray(figure())))
    assert (made[5, 5] == 0)[3] and made.shape == (100, 200, 4)
    assert (made[50, 150] == 255).all()                                  # black ink
    assert made[60, 150][0] > made[60, 150][2] and made[60, 150][3] == 255    # red stays reddish
    assert (made[10:90, 10:90, :3] == figure()[10:90, 10:90]).all()


def test_a_sharper_figure_is_no_larger_on_the_page(tmp_path):
    for dpi, size in ((110, (660, 440)), (220, (1320, 880))):
        Image.new("RGB", size).save(tmp_path / "one.png", dpi=(dpi, dpi))
        with Image.open(tmp_path / "one.png") as figure:
            assert size_on_page(figure) == (660, 440)
    assert size_on_page(Image.new("RGB", (30, 20))) == (30, 20)          # a picture that says nothing of its size
