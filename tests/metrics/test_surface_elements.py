"""The area of a surface within a cell, for each of its codes: against DeepMind's tables and by symmetry."""
import numpy as np
import pytest
import surface_distance as deepmind
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.metrics._surface_elements import element_areas, neighbour_codes

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
quick = settings(max_examples=30, deadline=None)


@quick
@given(st.tuples(*[st.floats(0.2, 5)] * 3))
def test_the_areas_of_all_256_cells_are_deepminds(spacing):
    tables = deepmind.lookup_tables
    np.testing.assert_allclose(element_areas(np.array(spacing)),
                               tables.create_table_neighbour_code_to_surface_area(spacing), rtol=1e-12)
    np.testing.assert_allclose(element_areas(np.array(spacing[:2])),
                               tables.create_table_neighbour_code_to_contour_length(spacing[:2]), rtol=1e-12)


def test_codes_read_the_corners_in_order():
    corner = np.zeros((2, 2, 2), bool)
    corner[1, 0, 1] = True
    assert neighbour_codes(corner).item() == 0b00000100
    assert neighbour_codes(np.array([[True, False], [False, False]])).item() == 0b1000


@pytest.mark.parametrize("dim", [2, 3])
def test_inside_and_outside_have_the_same_surface_between_them(dim):
    areas = element_areas(np.array([0.5, 1.5, 2.0])[:dim])
    np.testing.assert_allclose(areas, areas[::-1])
    assert areas[0] == 0 and (areas[1:-1] > 0).all()


def test_a_plane_through_a_cell_is_as_large_as_its_face():
    lower_half = np.zeros((2, 2, 2), bool)
    lower_half[0] = True
    assert element_areas(np.array([5.0, 2.0, 3.0]))[neighbour_codes(lower_half).item()] == pytest.approx(2.0 * 3.0)


def test_a_mask_of_one_slice_has_no_cell():
    assert neighbour_codes(np.ones((1, 4, 4), bool)).shape == (0, 3, 3)
