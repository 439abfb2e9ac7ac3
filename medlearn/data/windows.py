r"""Windows on the Hounsfield scale: the range of values that a picture, or a network, looks at."""
from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from medlearn.base.validation import check_choice, check_float, check_number

WINDOWS_HU = {"brain": (40.0, 80.0), "soft tissue": (40.0, 400.0), "liver": (60.0, 160.0), "lung": (-600.0, 1500.0),
              "bone": (400.0, 1800.0)}      # centre and width, as at consoles
Window = str | tuple[float, float]


def hu_window(image_hu: Float[Tensor, "*s"], window: Window = "soft tissue") -> Float[Tensor, "*s"]:
    r"""$\min(\max((x - c) / w + 1/2,\ 0),\ 1)$: 0 at the window's lower end and below, 1 at its upper end and above.

    Shapes: `image_hu` of any shape. Units: HU, and of the `window` too: a name of `WINDOWS_HU`, or its centre c and
    its width w. An empty image gives an empty one.
    Errors: TypeError for anything but a float tensor; ValueError for what is not finite, another name, a width of 0 or
    less. Source: DICOM PS3.3 C.11.2.1.3.2, LINEAR_EXACT. Chapter 16.

    >>> import torch
    >>> hu_window(torch.tensor([-1000.0, 40.0, 140.0, 700.0]), "soft tissue").tolist()
    [0.0, 0.5, 0.75, 1.0]
    """
    centre, width = as_window(window)
    check_float("image_hu", image_hu)
    return ((image_hu - centre) / width + 0.5).clamp(0, 1)


def as_window(window: Window) -> tuple[float, float]:
    """Centre and width in HU."""
    if isinstance(window, str):
        return WINDOWS_HU[check_choice("window", window, list(WINDOWS_HU))]
    if not isinstance(window, tuple) or len(window) != 2:
        raise ValueError(f"window: expected a name, or (centre, width) in HU, got {window!r}")
    return check_number("window's centre", window[0]), check_number("window's width", window[1], above=0)
