"""Sliders that draw anew: ipywidgets 7.7 and later, with a kernel."""
from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

from medlearn.viz.axes import Axis
from medlearn.viz.explorer import caption
from medlearn.viz.frames import data_uri, render


def live_box(draw: Callable[..., Any], axes: list[Axis], alt: str, width: int | None, dpi: int) -> Any:
    """An ipywidgets box: a slider for each axis, and below them the picture that `draw` makes of their values."""
    import ipywidgets

    sliders = [ipywidgets.SelectionSlider(options=[(text, i) for i, text in enumerate(axis.texts)],
                                          description=axis.label, continuous_update=False,
                                          style={"description_width": "initial"})
               for axis in axes]
    shown = ipywidgets.HTML()

    def redraw(_: Any = None) -> None:
        at = [slider.value for slider in sliders]
        picture = render(draw, {axis.name: axis.values[i] for axis, i in zip(axes, at)}, dpi).picture
        words = caption(alt, axes, tuple(axis.texts[i] for axis, i in zip(axes, at)))
        shown.value = (f'<img src="{data_uri(picture, quality=90)}" alt="{escape(words)}" '
                       f'style="width:100%;max-width:{width or round(picture.width / dpi * 100)}px">')

    for slider in sliders:
        slider.observe(redraw, names="value")
    redraw()
    return ipywidgets.VBox([*sliders, shown])
