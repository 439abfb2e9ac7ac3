"""Drawings on a phone: labels that can be read, within the picture, each on its own side."""
import io
import re
import sys

import matplotlib.pyplot as plt
import pytest
from chapters import ROOT

sys.path.insert(0, str(ROOT / "book/_ext"))
from phone import LEAST_PX, PHONE_PX, growth, readable  # noqa: E402

LABEL = re.compile(r'translate\(([-\d.]+) [-\d.]+\) (rotate\(-90\) )?scale\(([\d.]+) -[\d.]+\)"[^>]*>'
                   r'<g class="label" style="--times: ([\d.]+); --from: (\d+)%">')


@pytest.fixture
def drawing():
    fig, ax = plt.subplots(figsize=(7.5, 3))
    ax.plot([0, 1], [0, 1], label="a line")
    ax.set(xlabel="steps", ylabel="loss", title="Does it fall?", yticks=[0, 1], yticklabels=["none", "all of it"])
    ax.legend()
    file = io.StringIO()
    fig.savefig(file, format="svg")
    plt.close(fig)
    return file.getvalue()


def test_every_label_is_high_enough_on_a_phone(drawing):
    width = float(re.search(r'width="([\d.]+)pt"', drawing)[1])
    labels = LABEL.findall(readable(drawing))
    assert len(labels) == drawing.count("<g transform=\"translate(")
    assert all(100 * float(size) * float(times) * PHONE_PX / width >= LEAST_PX - 0.1 for _, _, size, times, _ in labels)


def test_a_tick_grows_from_its_axis_and_a_legend_from_its_line(drawing):
    origins = [int(origin) for *_, origin in LABEL.findall(readable(drawing))]
    assert origins[-1] == 0 and max(origins) > 50 and 50 in origins


@pytest.mark.parametrize("around", ["axes", "legend", "xtick"])
@pytest.mark.parametrize("left, long", [(0, 80), (2, 80), (200, 80), (415, 80), (420, 80), (0, 400)])
def test_a_label_at_the_rim_stays_within_the_picture(around, left, long):
    times, origin = growth(left, long, 11, 500, around, turned=False)
    more = (times - 1) * long
    assert times >= 1 and 0 <= origin <= 1
    assert left - origin * more >= -1e-9 and left + long + (1 - origin) * more <= 500 + 1e-9


def test_a_drawing_is_changed_once_and_only_for_narrow_screens(drawing):
    grown = readable(drawing)
    assert readable(grown) == grown and grown.count("@media (max-width: 480px)") == 1
    assert re.sub(r'<g class="label"[^>]*>(.*?)</g></g>', r"\1</g>", grown, flags=re.S).replace(
        grown[grown.index("@media"):grown.index("</style>")], "") == drawing
