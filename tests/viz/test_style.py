"""The style: colours that colour-blind readers tell apart, and settings that end where they should."""
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex, to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from medlearn.viz import COLOURS, colours_of, use_style
from medlearn.viz.style import BLACK, CYCLE

# How a reader without one kind of cone sees linear RGB: Machado et al. 2009, doi:10.1109/TVCG.2009.113, severity 1.
EYES = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
APART = 10                                                  # in CIEDE2000; 2 is what an eye just notices


def seen(colour, eye):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(EYES[eye]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_colours_apart(eye):
    for one, other in combinations(CYCLE, 2):
        assert deltaE_ciede2000(seen(one, eye), seen(other, eye)) > APART, (one, other)


def test_matplotlibs_own_cycle_would_not_pass():
    """So the measure can say no."""
    assert deltaE_ciede2000(seen("tab:orange", "protanopia"), seen("tab:green", "protanopia")) < APART / 5
    assert deltaE_ciede2000(seen("tab:red", "deuteranopia"), seen("tab:green", "deuteranopia")) < APART / 2


def test_tissues_and_lesions_have_colours_of_the_set():
    assert set(COLOURS.values()) <= set(CYCLE) - {BLACK}
    alike = [pair for pair in combinations(COLOURS, 2) if COLOURS[pair[0]] == COLOURS[pair[1]]]
    assert alike == [("plaque", "lesion")]                  # a plaque is a lesion where kinds are not told apart


def test_the_style_cycles_through_the_set():
    with plt.rc_context():
        use_style()
        assert tuple(to_hex(c).upper() for c in matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]) == CYCLE


def test_the_style_ends_with_its_context():
    before = dict(matplotlib.rcParams)
    with plt.rc_context():
        use_style()
        assert matplotlib.rcParams["figure.constrained_layout.use"] and dict(matplotlib.rcParams) != before
        once = dict(matplotlib.rcParams)
        use_style()
        assert dict(matplotlib.rcParams) == once
    assert dict(matplotlib.rcParams) == before


def test_a_figure_stays_a_white_card_on_a_dark_page():
    with plt.rc_context({"figure.facecolor": "black", "savefig.facecolor": "none"}):
        use_style()
        assert {matplotlib.rcParams[key]
                for key in ("figure.facecolor", "axes.facecolor", "savefig.facecolor")} == {"white"}


def test_named_classes_have_their_colour_wherever_they_stand():
    assert colours_of(["CSF", "mass"]) == [COLOURS["CSF"], COLOURS["mass"]]
    assert colours_of(["mass", "CSF"]) == [COLOURS["mass"], COLOURS["CSF"]]
    assert colours_of([]) == []


@given(st.lists(st.sampled_from([*COLOURS.keys() - {"lesion"}, "a", "b", "c"]), unique=True, max_size=7))
def test_no_two_classes_of_a_picture_are_alike(names):
    colours = colours_of(names)
    assert len(set(colours)) == len(names) and set(colours) <= set(CYCLE) - {BLACK}


def test_more_classes_than_colours_begin_again():
    colours = colours_of([f"class {k}" for k in range(20)])
    assert colours[:7] == colours[7:14] and BLACK not in colours


def test_a_text_is_no_list_of_names(refused):
    with refused("names: expected a list of names, got the text 'CSF'"):
        colours_of("CSF")
