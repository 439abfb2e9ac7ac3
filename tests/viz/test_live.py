"""Sliders with a kernel: they draw anew, on the widgets that Colab has, through the door of the drawn explorer."""
import matplotlib.pyplot as plt
import pytest

from medlearn.viz import explore
from medlearn.viz.explorer import MAX_FRAMES

LAB_7_7 = {"VBox", "HTML", "SelectionSlider"}               # what ipywidgets 7.7, which Colab has, knows already


def draw(level=0, **values):
    return plt.figure(figsize=(2, 1), facecolor=(0.01 * level, 0, 0))


def test_live_sliders_draw_anew():
    drawn = []

    def heard(level_mm, other):
        drawn.append((level_mm, other))
        return draw(10 * level_mm + other)

    box = explore(heard, alt="A <square>", live=True, level_mm=[0, 5], other={"a": 1, "b": 2})
    first, second, shown = box.children
    assert {type(one).__name__ for one in (box, *box.children)} <= LAB_7_7
    assert (first.description, second.description) == ("level", "other")
    assert [text for text, _ in first.options] == ["0 mm", "5 mm"]
    assert drawn == [(0, 1)]
    before = shown.value
    first.value, second.value = 1, 1
    assert drawn[1:] == [(5, 1), (5, 2)]
    assert shown.value != before and 'alt="A &lt;square&gt; (level 5 mm, other b)"' in shown.value
    assert plt.get_fignums() == []


@pytest.mark.parametrize("width, shown", [(None, 200), (120, 120)])
def test_the_picture_is_as_wide_as_its_figure_or_as_asked_for(width, shown):
    *_, picture = explore(draw, alt="A square", live=True, width=width, dpi=50, level=[0, 1]).children
    assert f"max-width:{shown}px" in picture.value


def test_live_has_no_limit_on_frames_and_the_same_door(refused):
    assert len(explore(draw, alt="A square", live=True, level=range(MAX_FRAMES + 1)).children) == 2
    with refused("level: expected at least one value"):
        explore(draw, alt="A square", live=True, level=[])
    with refused("draw: expected a matplotlib Figure"):
        explore(lambda level: 3, alt="A square", live=True, level=[1])
