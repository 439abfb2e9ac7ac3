"""Deformations: the grid's fast sum is the formula, nobody is the template, and nothing is folded."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.data.deformation import WAVES, Deformation, displace
from medlearn.data.scan import CENTRE_MM, FIELD_OF_VIEW_MM, grid_axes


def drawn(seed):
    return Deformation.draw(np.random.default_rng(seed))


def formula(deformation, points):
    """T at points (n, 3), term by term."""
    centre = np.array(CENTRE_MM)
    place = (points - centre) / FIELD_OF_VIEW_MM + 0.5
    out = centre + (points - centre) @ deformation.linear.T + deformation.shift
    for k in np.ndindex(WAVES, WAVES, WAVES):
        out = out + deformation.waves[:, *k] * np.sin(np.pi * place * (np.array(k) + 1)).prod(1, keepdims=True)
    return out


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.sampled_from([2, 3]))
def test_a_grid_is_displaced_as_the_formula_says(seed, dim):
    axes = grid_axes(32, dim, 15.0)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    expected = formula(drawn(seed), grid.reshape(-1, 3)).reshape(grid.shape)
    np.testing.assert_allclose(np.moveaxis(drawn(seed)(axes), 0, -1), expected, atol=1e-9)
    np.testing.assert_allclose(displace([drawn(seed)], axes)[0].movedim(0, -1), expected, atol=1e-3)


def test_each_subject_has_its_own_height_and_nobody_none():
    x, y, _ = grid_axes(32, 2, 0.0)
    both = displace([drawn(1), drawn(2)], (x, y, np.array([[5.0], [30.0]])))
    assert torch.equal(both[1:], displace([drawn(2)], (x, y, np.array([30.0]))))
    assert displace([], (x, y, np.zeros((0, 1)))).shape == (0, 3, 32, 32, 1)


def jacobian(seed, size=52):
    """Determinants of the derivative on a 4 mm grid, by central differences of 0.01 mm."""
    axes = grid_axes(size, 3)
    columns = []
    for d in range(3):
        ahead, behind = (tuple(axis + sign * 0.005 * (e == d) for e, axis in enumerate(axes)) for sign in (1, -1))
        columns.append((drawn(seed)(ahead) - drawn(seed)(behind)) / 0.01)
    return np.linalg.det(np.stack(columns).transpose(2, 3, 4, 0, 1))


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_folded(seed):
    volume = jacobian(seed)
    assert volume.min() > 0.15
    assert 0.7 < volume.mean() < 1.4


def test_nobody_is_the_template_and_everybody_is_near_it():
    axes = grid_axes(32, 3)
    still = np.stack(np.meshgrid(*axes, indexing="ij"))
    moved = [np.sqrt(((drawn(seed)(axes) - still) ** 2).sum(0)) for seed in range(200)]
    mean = np.array([m.mean() for m in moved])
    assert mean.min() > 2 and 5 < mean.mean() < 12
    assert max(m.max() for m in moved) < 60


def test_the_waves_bend_by_a_few_millimetres_and_rest_at_the_border_of_the_field_of_view():
    waves = np.array([drawn(seed).waves for seed in range(300)])
    assert np.sqrt((waves ** 2).sum((2, 3, 4)).mean() / 8) == pytest.approx(2.5, rel=0.05)
    one, corner = drawn(0), np.array(CENTRE_MM) + FIELD_OF_VIEW_MM / 2
    still = np.array(CENTRE_MM) + one.linear @ (corner - CENTRE_MM) + one.shift
    np.testing.assert_allclose(one(tuple(corner[:, None])).ravel(), still, atol=1e-9)
