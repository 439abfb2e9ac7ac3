"""Windows on the Hounsfield scale: linear between their ends, flat outside."""
import numpy as np
import pytest
import torch

from medlearn.data import WINDOWS_HU, hu_window


@pytest.mark.parametrize("window", [*WINDOWS_HU, (50.0, 250.0)])
def test_a_window_is_linear_between_its_ends_and_flat_outside(window):
    centre, width = WINDOWS_HU.get(window, window) if isinstance(window, str) else window
    hu = torch.linspace(-2000, 3000, 999)
    expected = np.interp(hu.numpy(), [centre - width / 2, centre + width / 2], [0, 1])
    np.testing.assert_allclose(hu_window(hu, window), expected, atol=1e-5)
    assert hu_window(torch.zeros(0, 3), window).shape == (0, 3)


@pytest.mark.parametrize("window, says", [
    ("heart", 'window: expected "brain", .* or "bone", got \'heart\''),
    ((40.0, 0.0), "window's width: expected above 0"),
    ((40.0,), "window: expected a name, or .centre, width."), (40.0, "window: expected a name"),
    ((float("nan"), 1.0), "window's centre: expected a finite number")])
def test_other_windows_are_refused(window, says, refused):
    with refused(says):
        hu_window(torch.zeros(3), window)


def test_other_images_are_refused(refused):
    with refused("image_hu: expected a float tensor"):
        hu_window(torch.zeros(3).long())
    with refused("image_hu: expected finite numbers"):
        hu_window(torch.tensor([float("nan")]))
