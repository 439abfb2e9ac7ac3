"""The one style of the book's figures, and the fixed colours of tissues and lesions."""
from __future__ import annotations

from importlib.resources import as_file, files

# Okabe and Ito's colour-blind-safe set, in the order of the style's cycle.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")

COLOURS = {
    "CSF": "#56B4E9",
    "grey matter": "#009E73",
    "white matter": "#F0E442",
    "plaque": "#D55E00",
    "mass": "#CC79A7",
    "lesion": "#D55E00",
    "none": "#0072B2",
}


def use_style() -> None:
    r"""Sets matplotlib to the book's style: a colour-blind-safe cycle, readable type, white cards, constrained layout.

    It stays in force until matplotlib is told otherwise (`matplotlib.rcdefaults()`), or to the end of a
    `with matplotlib.rc_context():` around it.

    Colours: M. Okabe and K. Ito, Color Universal Design (2008). Chapter: every one.
    """
    import matplotlib.style

    with as_file(files("medlearn.viz") / "medlearn.mplstyle") as path:
        matplotlib.style.use(path)


def colour_of(name: str, index: int = 0) -> str:
    r"""The colour of a class: its own where `COLOURS` names it, else the `index`-th of the style's cycle.

    Chapter: every one.
    """
    return COLOURS.get(name, CYCLE[index % len(CYCLE)])
