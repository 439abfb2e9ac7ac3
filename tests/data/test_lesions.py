"""Lesions: what is asked for is drawn, touching ones touch and others do not, and each voxel has one owner."""
import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation
from scipy.special import eval_legendre

from medlearn.data.lesions import (
    CLOSENESS,
    GAP_MM,
    LESIONS,
    MASS,
    NO_LESIONS,
    PLAQUE,
    Blobs,
    LesionSpec,
    Room,
    draw,
    place,
)
from medlearn.data.scan import CENTRE_MM, FIELD_OF_VIEW_MM, grid_axes

DIMS = pytest.mark.parametrize("dim", [2, 3])


@cache
def roomy(dim):
    """White matter everywhere about the centre of the field of view, with a place every 4 mm in 3D and 2 mm in 2D."""
    points = np.random.default_rng(0).uniform(-40, 40, (8000 if dim == 3 else 1600, 3)) + CENTRE_MM
    if dim == 2:
        points[:, 2] = 0.0
    return Room(points, np.full(len(points), 20.0))


def placed(spec, dim, seed):
    return place(spec, roomy(dim), dim, np.random.default_rng(seed))


def drawn(blobs, dim, size=64, tissue=3, prevalence=None, rounding=0.5):
    axes = tuple(torch.as_tensor(axis, dtype=torch.float32) for axis in grid_axes(size, dim, 0.0))
    tissue = torch.full((len(blobs), *[size] * dim), tissue)
    return draw(blobs, axes, tissue, prevalence, [rounding] * len(blobs))


def balls(*specs):
    """Plain balls or discs: (class, centre relative to the field of view's, radius)."""
    n = len(specs)
    return Blobs(np.array([s[0] for s in specs]), np.array([s[1] for s in specs], dtype=float) + CENTRE_MM,
                 np.array([s[2] for s in specs], dtype=float), np.zeros((n, 3)), np.ones((n, 3, 3)) / math.sqrt(3))


# ---------------------------------------------------------------------------------------------------------------------
# What is wished for

@pytest.mark.parametrize("wrong, name", [
    (dict(diagnosis=(0.5, 0.5)), "diagnosis"), (dict(diagnosis=(0.5, 0.5, 0.5)), "diagnosis"),
    (dict(diagnosis=1.0), "diagnosis"),
    (dict(diagnosis=(1.5, -0.5, 0.0)), "diagnosis"), (dict(diagnosis=(math.nan, 0.5, 0.5)), "diagnosis"),
    (dict(plaques=(0, 3)), "plaques"), (dict(plaques=(4, 3)), "plaques"), (dict(plaques=(1.0, 3)), "plaques"),
    (dict(plaques=3), "plaques"), (dict(masses=(1, 2, 3)), "masses"), (dict(masses=("1", "2")), "masses"),
    (dict(plaque_mm=(0.0, 5.0)), "plaque_mm"), (dict(plaque_mm=(9.0, 5.0)), "plaque_mm"),
    (dict(mass_mm=(20.0, 500.0)), "mass_mm"), (dict(mass_mm=(math.nan, 30.0)), "mass_mm"),
    (dict(touching=-0.1), "touching"), (dict(touching=1.1), "touching"), (dict(touching=math.nan), "touching"),
    (dict(touching=None), "touching"), (dict(prevalence=0.0), "prevalence"), (dict(prevalence=0.5), "prevalence"),
    (dict(prevalence=math.nan), "prevalence"), (dict(prevalence="1%"), "prevalence"),
    (dict(prevalence=True), "prevalence"), (dict(touching=True), "touching"), (dict(touching="0.3"), "touching"),
    (dict(diagnosis=(True, False, False)), "diagnosis"), (dict(diagnosis="100"), "diagnosis"),
    (dict(masses=(True, True)), "masses"), (dict(plaque_mm=("1", "2")), "plaque_mm"), (dict(plaques=None), "plaques"),
    (dict(prevalence=0.001, diagnosis=(1.0, 0.0, 0.0)), "prevalence"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_a_wish_that_cannot_be_met_is_refused(refused, wrong, name):
    with refused(f"{name}: expected .* got"):
        LesionSpec(**wrong)


def test_a_spec_is_fixed_and_compares_by_value():
    assert LesionSpec(touching=0.8) == LesionSpec(touching=0.8) != LesionSpec()
    with pytest.raises(AttributeError):
        LesionSpec().touching = 1.0
    assert LESIONS[PLAQUE] == "plaque" and LESIONS[MASS] == "mass"


def test_diagnoses_come_in_the_shares_asked_for():
    spec, grave = LesionSpec(diagnosis=(0.2, 0.5, 0.3)), []
    for seed in range(300):
        kind = placed(spec, 2, seed).kind
        grave.append(kind.max() if len(kind) else 0)
    assert np.allclose(np.bincount(grave, minlength=3) / 300, (0.2, 0.5, 0.3), atol=0.09)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), dim=st.sampled_from([2, 3]), few=st.integers(1, 3), more=st.integers(0, 4),
       touching=st.floats(0, 1))
def test_numbers_and_sizes_are_those_asked_for(seed, dim, few, more, touching):
    spec = LesionSpec(diagnosis=(0, 1, 0), plaques=(few, few + more), plaque_mm=(6.0, 9.0), touching=touching)
    blobs = placed(spec, dim, seed)
    assert few <= len(blobs) <= few + more
    assert (blobs.kind == PLAQUE).all() and (blobs.radius >= 3).all() and (blobs.radius <= 4.5).all()


@DIMS
def test_the_mass_comes_first_and_is_the_largest(dim):
    spec = LesionSpec(diagnosis=(0, 0, 1), masses=(1, 2))
    for seed in range(20):
        blobs = placed(spec, dim, seed)
        assert blobs.kind[0] == MASS and (np.diff(blobs.kind) <= 0).all()
        assert blobs.radius[blobs.kind == MASS].min() > blobs.radius[blobs.kind == PLAQUE].max(initial=0)


@DIMS
def test_the_same_generator_places_the_same_lesions(dim):
    a, b = (placed(LesionSpec(touching=0.8), dim, 3) for _ in range(2))
    assert np.array_equal(a.centre, b.centre) and np.array_equal(a.axis, b.axis)


def test_nobody_is_ill_without_lesions_and_nothing_fits_without_room():
    assert len(placed(NO_LESIONS, 2, 0)) == 0
    nowhere = Room(np.zeros((0, 3)), np.zeros(0))
    assert len(place(LesionSpec(diagnosis=(0, 1, 0)), nowhere, 2, np.random.default_rng(0))) == 0


# ---------------------------------------------------------------------------------------------------------------------
# Touching, or not

def closeness(blobs):
    """Distance of each pair of centres, where 1 is border to border; and what it leaves between the borders in mm."""
    offset = blobs.centre[:, None] - blobs.centre
    distance = np.linalg.norm(offset, axis=-1)
    direction = offset / np.maximum(distance, 1e-9)[..., None]
    reach = blobs.border(direction) + blobs.border(-direction.transpose(1, 0, 2)).T
    other = ~np.eye(len(blobs), dtype=bool)
    return (distance / reach)[other].reshape(len(blobs), -1), (distance - reach)[other].reshape(len(blobs), -1)


@DIMS
def test_every_plaque_has_a_neighbour_where_all_touch_and_none_where_none_does(dim):
    for seed in range(15):
        close, _ = closeness(placed(LesionSpec(diagnosis=(0, 1, 0), touching=1.0), dim, seed))
        if close.size:
            assert (close.min(1) <= CLOSENESS[1] + 1e-9).all() and close.min() >= CLOSENESS[0] - 1e-9
        _, gap = closeness(placed(LesionSpec(touching=0.0, diagnosis=(0, 0.5, 0.5)), dim, seed))
        assert gap.size == 0 or gap.min() >= GAP_MM - 1e-9


def test_the_share_that_touches_is_near_the_one_asked_for():
    for touching in (0.3, 0.8):
        spec = LesionSpec(diagnosis=(0, 1, 0), plaques=(6, 8), touching=touching)
        share = [(closeness(placed(spec, 3, seed))[0].min(1) < 1).mean() for seed in range(60)]
        assert touching - 0.1 < np.mean(share) < touching + 0.2


@DIMS
def test_touching_lesions_have_neighbouring_voxels_and_both_live(dim):
    for seed in range(10):
        blobs = placed(LesionSpec(diagnosis=(0, 1, 0), plaques=(2, 2), touching=1.0), dim, seed)
        instance = drawn([blobs], dim).instance[0].numpy()
        assert len(blobs) == 2 and instance.max() == 2
        first, second = instance == 1, instance == 2
        assert (binary_dilation(first, np.ones([3] * dim)) & second).any()
        voxel = FIELD_OF_VIEW_MM / 64
        ball = math.pi * blobs.radius ** dim * (4 / 3 if dim == 3 else 1) / voxel ** dim
        assert first.sum() > 0.6 * ball[0] and second.sum() > 0.6 * ball[1]


# ---------------------------------------------------------------------------------------------------------------------
# On the grid

@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_border_is_the_sum_of_legendres_harmonics(seed):
    blobs = placed(LesionSpec(diagnosis=(0, 1, 0)), 3, seed)
    n = np.random.default_rng(seed).standard_normal((5, 1, 3))
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    waves = [blobs.amplitude[:, i] * eval_legendre(i + 2, (n * blobs.axis[:, i]).sum(-1)) for i in range(3)]
    np.testing.assert_allclose(blobs.border(n), blobs.radius * (1 + sum(waves)))


@DIMS
def test_the_grid_agrees_with_every_lesion_at_every_voxel(dim):
    size = 48
    blobs = [placed(LesionSpec(diagnosis=(0, 0.5, 0.5), touching=0.8), dim, seed) for seed in range(3)]
    got = drawn(blobs, dim, size)
    grid = np.stack(np.meshgrid(*grid_axes(size, dim, 0.0), indexing="ij"), axis=-1).reshape(-1, 1, 3)
    for b, one in enumerate(blobs):
        offset = grid - one.centre
        distance = np.linalg.norm(offset, axis=-1)
        nearness = distance / one.border(offset / np.maximum(distance, 1e-3)[..., None])
        owner, least = nearness.argmin(1), nearness.min(1)
        clear = (abs(least - 1) > 1e-4) & (np.sort(nearness, 1)[:, :2] @ [-1, 1] > 1e-4 if len(one) > 1 else True)
        expected = np.where(least < 1, owner + 1, 0)
        assert np.array_equal(got.instance[b].numpy().ravel()[clear], expected[clear]) and clear.mean() > 0.99
        assert torch.equal(got.lesion[b], torch.as_tensor(np.append(0, one.kind))[got.instance[b]])


@DIMS
def test_a_ball_has_a_balls_volume_and_depth(dim):
    got = drawn([balls((PLAQUE, (1.0, 2.0, 3.0), 20.0))], dim, size=80)
    radius = 20.0
    volume = (got.lesion > 0).sum().item() * (FIELD_OF_VIEW_MM / 80) ** dim
    assert volume == pytest.approx(math.pi * radius ** dim * (4 / 3 if dim == 3 else 1), rel=0.02)
    assert 18 < got.depth_mm.max() <= 20 and torch.equal(got.depth_mm > 0, got.lesion > 0)


def test_a_plaque_keeps_to_white_matter_and_a_mass_to_the_brain():
    kinds = [balls((PLAQUE, (0, 0, 0), 20)), balls((MASS, (0, 0, 0), 20))]
    for tissue, expected in enumerate([(False, False), (False, True), (False, True), (True, True)]):
        got = drawn(kinds, 2, tissue=tissue)
        assert tuple((got.lesion > 0).flatten(1).any(1).tolist()) == expected


@DIMS
def test_a_lesion_on_the_edge_of_the_grid_is_cut_off_there(dim):
    got = drawn([balls((PLAQUE, (FIELD_OF_VIEW_MM / 2, 0, 0), 20.0))], dim, size=32)
    assert got.lesion[0, -1].any() and not got.lesion[0, :16].any()


def test_a_lesion_between_the_voxels_has_no_number():
    spacing = FIELD_OF_VIEW_MM / 32
    got = drawn([balls((PLAQUE, (20, 0, 0), 10), (PLAQUE, (0, 0, 0), 0.1 * spacing), (PLAQUE, (-30, 0, 0), 10))], 2, 32)
    assert got.instance.unique().tolist() == [0, 1, 2]


@DIMS
def test_subjects_do_not_mix_and_numbers_start_anew(dim):
    spec = LesionSpec(diagnosis=(0, 0.5, 0.5), touching=0.8)
    blobs = [placed(spec, dim, 0), Blobs.join([]), placed(spec, dim, 1), placed(spec, dim, 2)]
    together = drawn(blobs, dim, 32)
    for b, one in enumerate(blobs):
        alone = drawn([one], dim, 32)
        assert torch.equal(together.instance[b], alone.instance[0])
        assert torch.equal(together.lesion[b], alone.lesion[0])
        assert together.instance[b].unique().tolist() == list(range(together.instance[b].max() + 1))
    assert not together.lesion[1].any()


@DIMS
def test_no_subject_gives_no_lesions(dim):
    for prevalence in (None, 0.001):
        got = drawn([], dim, 32, prevalence=prevalence)
        assert got.lesion.shape == got.depth_mm.shape == (0, *[32] * dim)


@DIMS
@pytest.mark.parametrize("prevalence", [0.0003, 0.001, 0.01])
def test_a_prevalence_is_met_to_the_voxel(dim, prevalence):
    spec = LesionSpec(diagnosis=(0, 0.7, 0.3), prevalence=prevalence)
    blobs = [placed(spec, dim, seed) for seed in range(4)]
    got = drawn(blobs, dim, 48, prevalence=spec.prevalence_of_the_ill, rounding=0.0)
    count = (got.lesion > 0).flatten(1).sum(1)
    assert (count - int(prevalence * 48 ** dim)).abs().max() <= 1          # two voxels may be equally near


def test_prevalence_is_right_on_average_even_below_a_voxel():
    rng, counts = np.random.default_rng(0), []
    for seed in range(60):
        got = drawn([placed(LesionSpec(diagnosis=(0, 1, 0), prevalence=0.0005), 2, seed)], 2, 32, prevalence=0.0005,
                    rounding=rng.uniform())
        counts.append((got.lesion > 0).sum().item())
    assert set(counts) == {0, 1} and np.mean(counts) == pytest.approx(0.0005 * 32 ** 2, abs=0.15)
