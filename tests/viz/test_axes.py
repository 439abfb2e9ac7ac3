"""The axes of an explorer: what lists values, and how the values are written."""
import numpy as np
import pytest
import torch

from medlearn.viz.axes import UNITS, Axis


@pytest.mark.parametrize("given", [range(3), (0, 1, 2), [0, 1, 2], np.arange(3), torch.arange(3),
                                   {"a": 0, "b": 1, "c": 2}], ids=["range", "tuple", "list", "array", "tensor", "dict"])
def test_an_axis_is_anything_that_lists_values(given):
    axis = Axis.of("level", given)
    assert axis.name == "level" and axis.values == (0, 1, 2)
    assert axis.texts == (("a", "b", "c") if isinstance(given, dict) else ("0", "1", "2"))


@pytest.mark.parametrize("name, values, label, texts", [
    ("dose_percent", [5, 12.5], "dose", ("5 %", "12.5 %")),
    ("z_mm", [-20, 0], "z", ("\N{MINUS SIGN}20 mm", "0 mm")),
    ("flip_deg", [90], "flip", ("90°",)),
    ("learning_rate", [1e-5], "learning rate", ("1e\N{MINUS SIGN}05",)),
    ("percent", [5], "percent", ("5",)),
    ("third", [1 / 3, True, None], "third", ("0.3333", "True", "None")),
    ("window_hu", {"lung": (-1000, 0)}, "window", ("lung",)),
    ("gap_voxels", [2, 1, 0, -1], "gap", ("2 voxels", "1 voxel", "0 voxels", "\N{MINUS SIGN}1 voxel")),
    ("photon_counts", [1, 1.5], "photon", ("1 count", "1.5 counts")),
])
def test_units_in_a_name_are_written_beside_the_values(name, values, label, texts):
    axis = Axis.of(name, values)
    assert (axis.label, axis.texts) == (label, texts)


@pytest.mark.parametrize("suffix, unit", UNITS.items())
def test_every_unit_ends_the_text_and_leaves_the_label(suffix, unit):
    axis = Axis.of(f"mean_width_{suffix}", [1.5])
    assert axis.label == "mean width" and axis.texts[0].startswith("1.5") and axis.texts[0].endswith(unit)


@pytest.mark.parametrize("given, why", [
    ([], "expected at least one value, got none"), ({}, "expected at least one value, got none"),
    (5, "expected a list of values, .* got 5"), ("abc", "expected a list of values, .* got 'abc'"),
    ({1, 2}, "expected a list of values"), (torch.tensor(1), "expected a list of values"),
    (None, "expected a list of values"),
], ids=repr)
def test_what_lists_no_values_is_refused(given, why, refused):
    with refused(f"^level: {why}"):
        Axis.of("level", given)
