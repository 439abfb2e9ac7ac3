"""The one style of the book's figures, and the fixed colours of tissues and lesions."""
from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import as_file, files
from itertools import cycle

# Okabe and Ito's colour-blind-safe set, in the order of the style's cycle.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
BLACK = "#000000"

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

    In a notebook figures are drawn with two pixels for each one of the page, so that they are sharp on every screen.
    It stays in force until matplotlib is told otherwise (`matplotlib.rcdefaults()`), or to the end of a
    `with matplotlib.rc_context():` around it.
    Source: the colours are M. Okabe's and K. Ito's, Color Universal Design (2008). Every chapter.

    >>> import matplotlib
    >>> with matplotlib.rc_context():
    ...     use_style()
    ...     matplotlib.rcParams["axes.prop_cycle"].by_key()["color"][:2]
    ['#0072B2', '#D55E00']
    """
    import matplotlib.style

    if "ipykernel" in sys.modules:                          # this is a notebook
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("retina")
    with as_file(files("medlearn.viz") / "medlearn.mplstyle") as path:
        matplotlib.style.use(path)


def colours_of(names: Sequence[str]) -> list[str]:
    r"""The colours of the classes of one picture, by their `names`: fixed ones where `COLOURS` has them.

    The others get the rest of the style's cycle, without black, which would vanish on a scan. No two classes are alike
    as long as there are colours left, unless `COLOURS` itself gives them one colour. No names, no colours.
    Errors: TypeError for one text in place of several. Every chapter.

    >>> colours_of(["plaque", "mass", "vessel"])
    ['#D55E00', '#CC79A7', '#0072B2']
    """
    if isinstance(names, str):
        raise TypeError(f"names: expected a list of names, got the text {names!r}")
    own = {COLOURS.get(name) for name in names}
    left = cycle([colour for colour in CYCLE if colour not in own | {BLACK}])
    return [COLOURS.get(name) or next(left) for name in names]
