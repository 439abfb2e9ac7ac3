"""Phantoms: areas and line integrals by numeric integration, the head as published, scatterers by their statistics."""
import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from skimage.data import shepp_logan_phantom

from medlearn.base.grid import Grid
from medlearn.data.phantoms import Ellipses, cysts, random_ellipses, scatterers, shepp_logan
from medlearn.physics.projection import ParallelBeam


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def one(value=1.0, a=20.0, b=10.0, x=0.0, y=0.0, angle=0.0):
    return Ellipses(*(torch.tensor(part, dtype=torch.float64) for part in
                      ([[value]], [[[a, b]]], [[[x, y]]], [[angle]])))


SHAPE = dict(a=st.floats(3, 25), b=st.floats(3, 25), x=st.floats(-20, 20), y=st.floats(-20, 20),
             angle=st.floats(-180, 180))


@settings(max_examples=20, deadline=None)
@given(**SHAPE)
def test_the_image_holds_the_ellipses_area_middle_and_turn(a, b, x, y, angle):
    image = one(1.0, a, b, x, y, angle).image(96, 1.0)[0, 0]
    at = torch.arange(96, dtype=torch.float64) - 47.5
    area = image.sum().item()
    middle = (image.sum(1) @ at / area).item(), (image.sum(0) @ at / area).item()
    assert area == pytest.approx(math.pi * a * b, rel=0.02)
    assert middle == pytest.approx((x, y), abs=0.1)
    u, v = at[:, None] - x, at - y
    turned = ((math.cos(math.radians(angle)) * u + math.sin(math.radians(angle)) * v).square() * image).sum() / area
    assert turned.item() == pytest.approx(a ** 2 / 4, rel=0.05, abs=0.2)


@settings(max_examples=20, deadline=None)
@given(theta=st.floats(-360, 360), **SHAPE)
def test_line_integrals_are_those_of_steps_along_the_ray(theta, a, b, x, y, angle):
    beam = ParallelBeam(32, [theta], pixel_mm=2.0)
    got = one(0.7, a, b, x, y, angle).line_integrals(beam)[0, 0, 0].numpy()
    t, phi = math.radians(theta), math.radians(angle)
    s, step = beam.detector_mm.numpy()[:, None], 0.01
    along = np.arange(-60, 60, step)
    px, py = s * math.cos(t) - along * math.sin(t) - x, s * math.sin(t) + along * math.cos(t) - y
    u, v = math.cos(phi) * px + math.sin(phi) * py, math.cos(phi) * py - math.sin(phi) * px
    inside = (u / a) ** 2 + (v / b) ** 2 <= 1
    np.testing.assert_allclose(got, 0.7 * inside.sum(1) * step, atol=0.02)


def test_a_sinograms_mass_is_the_ellipses_own():
    phantom = shepp_logan(100.0)
    mass = (phantom.value * math.pi * phantom.half_axes_mm.prod(-1)).sum().item()
    views = phantom.line_integrals(ParallelBeam(512, [0, 33, 90, 140], pixel_mm=100 / 512)).sum(-1) * 100 / 512
    assert views.numpy() == pytest.approx(mass, rel=1e-3)


def test_ellipses_add_and_phantoms_of_a_batch_do_not_touch_each_other():
    many = random_ellipses(3, 5, generator=seeded())
    beam = ParallelBeam(32, [10, 80], pixel_mm=7.0)
    for b in range(3):
        parts = [getattr(many, field.name)[b:b + 1] for field in fields(many)]
        single = Ellipses(*parts)
        torch.testing.assert_close(many.image(32, 7.0)[b:b + 1], single.image(32, 7.0))
        torch.testing.assert_close(many.line_integrals(beam)[b:b + 1], single.line_integrals(beam))
        summed = sum(Ellipses(*(part[:, i:i + 1] for part in parts)).image(32, 7.0) for i in range(6))
        torch.testing.assert_close(summed, single.image(32, 7.0), rtol=1e-4, atol=1e-5)


def test_no_phantom_and_no_ellipse_are_empty_and_zero():
    assert random_ellipses(0, generator=seeded()).image(8, 1.0).shape == (0, 1, 8, 8)
    nothing = Ellipses(torch.zeros(2, 0), torch.zeros(2, 0, 2), torch.zeros(2, 0, 2), torch.zeros(2, 0))
    assert len(nothing) == 2 and nothing.image(8, 1.0).eq(0).all()
    assert nothing.line_integrals(ParallelBeam(8, [0])).eq(0).all()


# The head

def test_the_head_has_the_attenuation_it_was_given():
    image = shepp_logan(200.0).image(256, 200 / 256)[0, 0]
    hu = 1000 * (image - 1)
    at = lambda x, y: hu[round(127.5 + 128 * x), round(127.5 + 128 * y)].item()
    assert at(0.9, 0.9) == pytest.approx(-1000) and at(0, 0.9) == pytest.approx(1000)
    assert at(0, -0.5) == pytest.approx(20, abs=0.01)
    assert at(0.22, 0) == pytest.approx(0, abs=0.01) and at(-0.22, 0) == pytest.approx(0, abs=0.01)
    assert at(0, 0.35) == pytest.approx(30, abs=0.01) and at(0, -0.1) == pytest.approx(30, abs=0.01)


def test_the_visible_head_is_scikit_images():
    theirs = torch.from_numpy(shepp_logan_phantom())                       # rows from front to back
    ours = shepp_logan(200.0, visible=True).image(400, 0.5)[0, 0].T.flip(0)
    assert ((ours - theirs).abs() < 0.02).double().mean() > 0.98
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten().float()]))[0, 1] > 0.97


# Phantoms by chance

def test_phantoms_are_repeated_by_their_generator_and_stay_within_the_square():
    a, b = (random_ellipses(5, 6, width_mm=100.0, generator=seeded(3)) for _ in range(2))
    assert all(torch.equal(getattr(a, field.name), getattr(b, field.name)) for field in fields(a))
    assert not torch.equal(a.value, random_ellipses(5, 6, width_mm=100.0, generator=seeded(4)).value)
    image = a.image(64, 100 / 64)
    edge = torch.cat([image[..., 0].flatten(), image[..., -1].flatten(), image[..., 0, :].flatten()])
    assert edge.eq(0).all() and len(a) == 5
    assert random_ellipses(2, 0, generator=seeded()).value.eq(1).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2 ** 31), inserts=st.integers(1, 12))
def test_no_insert_leaves_the_body(seed, inserts):
    phantom = random_ellipses(2, inserts, generator=seeded(seed))
    around = torch.linspace(0, 2 * math.pi, 60)
    angle = torch.deg2rad(phantom.angle_deg)[..., None]
    u, v = (phantom.half_axes_mm[..., i, None] * wave for i, wave in enumerate((around.cos(), around.sin())))
    x = phantom.centre_mm[..., :1] + angle.cos() * u - angle.sin() * v
    y = phantom.centre_mm[..., 1:] + angle.sin() * u + angle.cos() * v
    body = phantom.half_axes_mm[:, :1]
    assert ((x / body[..., :1]).square() + (y / body[..., 1:]).square() <= 1.0001).all()


# Ultrasound

def test_discs_have_their_levels():
    image = cysts(120, 0.5)[0, 0]
    middles = image[12::24, 60]
    torch.testing.assert_close(middles, torch.tensor([0, *(10 ** (db / 20) for db in (-12, -6, 6, 12))]))
    assert image[:, 0].eq(1).all() and image.min() >= 0
    width = (image[12] != 1).sum().item()
    assert width == pytest.approx(16, abs=2)
    assert cysts(8, 1.0, levels_db=[]).eq(1).all()


@pytest.mark.parametrize("per_voxel", [0.1, 2.0, 20.0])
@pytest.mark.parametrize("space", [(300, 300), (40, 50, 45)], ids=["2D", "3D"])
def test_scatterers_have_the_echos_power_whatever_their_number(per_voxel, space):
    field = scatterers(torch.full((1, 1, *space), 3.0), per_voxel, generator=seeded())
    n = field.numel()
    kurtosis = 3 / per_voxel                                            # of a Poisson number of Gaussians, beyond 3
    assert field.mean().abs() < 4 * 3 / math.sqrt(n)
    assert field.square().mean().item() == pytest.approx(9, rel=4 * math.sqrt((2 + kurtosis) / n))
    assert stats.kurtosis(field.flatten().double().numpy()) == pytest.approx(kurtosis, rel=0.25, abs=0.05)
    assert field.eq(0).double().mean().item() == pytest.approx(math.exp(-per_voxel), abs=0.01)


def test_many_scatterers_are_gaussian():
    field = scatterers(torch.ones(1, 1, 100, 100), 1e4, generator=seeded()).flatten().double().numpy()
    assert stats.kstest(field, stats.norm().cdf).pvalue > 1e-3
    assert stats.kstest(field, stats.norm(0.1).cdf).pvalue < 1e-6       # and it would tell


def test_where_there_is_no_echo_there_is_no_scatterer_and_a_seed_repeats():
    echo = cysts(60, 0.5)
    a, b = (scatterers(echo, 5.0, generator=seeded(1)) for _ in range(2))
    assert torch.equal(a, b) and a[echo == 0].eq(0).all() and a.dtype == echo.dtype
    assert scatterers(echo[:0], 5.0, generator=seeded()).shape == (0, 1, 60, 60)


def test_a_grid_and_numbers_of_numpy_will_do():
    grid = Grid.from_spacing((16, 16), (2.0, 2.0))
    assert torch.equal(one().image(16, grid), one().image(np.int64(16), np.float32(2)))
    assert torch.equal(cysts(16, grid), cysts(16, 2.0, levels_db=np.array([-math.inf, -12, -6, 6, 12])))


# What is refused

@pytest.mark.parametrize("changed, name", [
    (dict(half_axes_mm=torch.tensor([[[1.0, 0.0]]])), "half_axes_mm"),
    (dict(half_axes_mm=torch.ones(1, 1, 3)), "half_axes_mm"),
    (dict(centre_mm=torch.full((1, 1, 2), math.nan)), "centre_mm"), (dict(angle_deg=torch.zeros(1, 2)), "angle_deg"),
    (dict(value=torch.ones(1)), "value"), (dict(angle_deg=torch.zeros(1, 1).long()), "angle_deg"),
    (dict(value=None), "value"),
], ids=["flat", "three axes", "nan", "two angles", "no batch", "integer", "none"])
def test_ellipses_that_cannot_be_are_refused(refused, changed, name):
    with refused(f"{name}: expected .* got"):
        replace(one(), **changed)


@pytest.mark.parametrize("call, name", [
    (lambda: one().image(0, 1.0), "size"), (lambda: one().image(8, 0.0), "pixel_mm"),
    (lambda: one().image(8, 1.0, samples=0), "samples"),
    (lambda: shepp_logan(-1.0), "width_mm"), (lambda: random_ellipses(-1, generator=seeded()), "batch"),
    (lambda: random_ellipses(1, -1, generator=seeded()), "inserts"),
    (lambda: random_ellipses(1, generator=None), "generator"),
    (lambda: random_ellipses(1, width_mm=math.nan, generator=seeded()), "width_mm"),
    (lambda: cysts(8, 1.0, levels_db=[1e30]), "levels_db"), (lambda: cysts(8, 1.0, levels_db="6"), "levels_db"),
    (lambda: cysts(8, 1.0, levels_db=6.0), "levels_db"), (lambda: cysts(8, 1.0, levels_db=[True]), "levels_db"),
    (lambda: cysts(8, Grid.from_spacing((8, 9), (1.0, 1.0))), "pixel_mm"), (lambda: shepp_logan("200"), "width_mm"),
    (lambda: scatterers(torch.ones(1, 1, 8, 8), True, generator=seeded()), "per_voxel"),
    (lambda: cysts(8, 1.0, levels_db=[math.nan]), "levels_db"), (lambda: cysts(0, 1.0), "size"),
    (lambda: scatterers(torch.randn(1, 1, 8, 8, generator=seeded()), 1.0, generator=seeded()), "echo"),
    (lambda: scatterers(torch.full((1, 1, 8, 8), math.nan), 1.0, generator=seeded()), "echo"),
    (lambda: scatterers(torch.ones(8, 8), 1.0, generator=seeded()), "echo"),
    (lambda: scatterers(torch.ones(1, 1, 8, 8), 0.0, generator=seeded()), "per_voxel"),
    (lambda: scatterers(torch.ones(1, 1, 8, 8), 1.0, generator=3), "generator"),
], ids=["size", "pixel", "samples", "width", "batch", "inserts", "no generator", "nan width", "loud level",
        "text level", "one level", "true level", "other grid", "text width", "true density", "nan level", "no size",
        "standardised", "nan", "no batch", "no density", "number"])
def test_what_no_phantom_is_made_of_is_refused(refused, call, name):
    with refused(f"{name}: expected .* got"):
        call()


@pytest.mark.gpu
def test_a_gpu_draws_the_same():
    phantom = shepp_logan()
    torch.testing.assert_close(phantom.to("cuda").image(64, 3.0).cpu(), phantom.image(64, 3.0), rtol=0, atol=0.1)
    echo = cysts(32, 0.5)
    there, here = (scatterers(x, 2.0, generator=seeded()) for x in (echo.cuda(), echo))
    torch.testing.assert_close(there.cpu(), here)
