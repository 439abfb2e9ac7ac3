"""An IPython extension: figures without an image become drawings (SVG), sharp at any size, beside their pictures (PNG).

tools/execute.py loads it into the kernels of the chapters, whose outputs the pages show. Notebooks keep to pictures.
"""
from __future__ import annotations

from IPython.core.formatters import SVGFormatter
from IPython.core.pylabtools import print_figure
from matplotlib import rc_context
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

MOST_BYTES = 150_000  # a drawing of more, such as one of ten thousand dots, is better a picture


class Drawings(SVGFormatter):
    """Keeps drawing figures when a chapter says in which formats it wants its pictures."""

    def pop(self, typ, default=None):
        return default


def drawing(figure: Figure) -> str | None:
    """The figure as SVG, each time the same; None where it holds an image, or too much."""
    if any(figure.findobj(kind) for kind in (AxesImage, QuadMesh)):
        return None
    with rc_context({"svg.hashsalt": "medlearn"}):
        text = print_figure(figure, fmt="svg", bbox_inches="tight", metadata={"Date": None})
    return text if len(text.encode()) <= MOST_BYTES else None


def load_ipython_extension(shell) -> None:
    formatter = Drawings(parent=shell.display_formatter)
    formatter.for_type(Figure, drawing)
    shell.display_formatter.formatters[formatter.format_type] = formatter
