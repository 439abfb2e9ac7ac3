"""The scanner of chapter 11 against squares cut into strips, analytic ellipses, scikit-image and its own adjoint."""
import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import iradon, radon

from medlearn.data.phantoms import Ellipses, random_ellipses, shepp_logan
from medlearn.physics import projection
from medlearn.physics.projection import WINDOWS, ParallelBeam, ramp_filter

ANGLES = st.lists(st.floats(-720, 720), min_size=1, max_size=6)
EVERY_EIGHTH = [0, 10, 45, 60, 90, 100, 135, 170, 180, 190, 225, 260, 270, 300, 315, 350, -10]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def disc(radius_mm=30.0, centre_mm=(0.0, 0.0), value=0.02):
    return Ellipses(torch.tensor([[value]]), torch.full((1, 1, 2), radius_mm), torch.tensor([[centre_mm]]),
                    torch.zeros(1, 1))


def half_turn(views):
    return torch.arange(views) * 180 / views


# Projection

@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 6), angle=st.sampled_from(EVERY_EIGHTH) | st.floats(-400, 400), seed=st.integers(0, 99))
def test_a_ray_sums_the_area_of_each_pixel_within_its_strip(size, angle, seed):
    image = torch.rand(1, 1, size, size, generator=seeded(seed))
    beam = ParallelBeam(size, [angle], pixel_mm=0.7)
    fine = 150
    at = (np.arange(size * fine) + 0.5) / fine - size / 2
    s = np.add.outer(at * math.cos(math.radians(angle)), at * math.sin(math.radians(angle)))
    detector = np.floor(s + beam.detectors / 2).astype(int)
    weights = np.kron(image[0, 0].double().numpy(), np.ones((fine, fine))) / fine ** 2 * 0.7
    expected = np.bincount(detector.ravel(), weights.ravel(), minlength=beam.detectors)
    np.testing.assert_allclose(beam.project(image)[0, 0, 0].numpy(), expected, atol=0.02)


def test_views_along_the_axes_are_the_sums_of_columns_and_rows():
    image = torch.rand(1, 1, 8, 8, generator=seeded())
    along_y, along_x, back, up = ParallelBeam(8, [0, 90, 180, 270]).project(image)[0, 0]
    inside = slice(2, 10)
    torch.testing.assert_close(along_y[inside], image[0, 0].sum(1))
    torch.testing.assert_close(along_x[inside], image[0, 0].sum(0))
    torch.testing.assert_close(back, along_y.flip(0))
    torch.testing.assert_close(up, along_x.flip(0))


@settings(max_examples=15, deadline=None)
@given(size=st.integers(1, 20), angles=ANGLES, pixel=st.floats(0.1, 5))
def test_every_view_keeps_the_mass(size, angles, pixel):
    image = torch.rand(2, 1, size, size, dtype=torch.float64, generator=seeded())
    mass = ParallelBeam(size, angles, pixel_mm=pixel).project(image).sum(-1) * pixel
    expected = (image.sum((2, 3)) * pixel ** 2)[..., None].expand_as(mass)
    torch.testing.assert_close(mass, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("phantom", [
    shepp_logan(192.0), shepp_logan(192.0, visible=True), random_ellipses(1, width_mm=192.0, generator=seeded()),
    random_ellipses(1, width_mm=192.0, generator=seeded(1)),
], ids=["head", "visible head", "ellipses", "other ellipses"])
def test_the_sinogram_of_ellipses_is_the_analytic_one_as_near_as_scikit_images(phantom):
    size, pixel, angles = 128, 1.5, half_turn(36)
    image, beam = phantom.image(size, pixel), ParallelBeam(size, angles, pixel_mm=pixel)
    error = lambda got, truth: ((got - truth).norm() / truth.norm()).item()
    ours = error(beam.project(image), phantom.line_integrals(beam))
    # scikit-image turns about the pixel size // 2, half a pixel from the middle, and has a detector there
    theirs = torch.from_numpy(radon(image[0, 0].T.double().numpy(), -angles.numpy()).T * pixel)
    odd = ParallelBeam(size + 1, angles, pixel_mm=pixel)
    first = odd.detectors // 2 - size // 2
    moved = replace(phantom, centre_mm=phantom.centre_mm - pixel / 2)
    at = lambda phantom: phantom.line_integrals(odd)[0, 0, :, first:first + size]
    assert ours < 0.03
    assert ours <= 1.15 * error(theirs, at(moved))              # both are as near as pixels can be
    assert ours <= error(theirs, at(phantom))                   # where the middle is thought to be the middle


@settings(max_examples=8, deadline=None)
@given(x=st.floats(-20, 20), y=st.floats(-20, 20), radius=st.floats(8, 20), angles=ANGLES)
def test_a_disc_casts_its_shadow_where_it_should(x, y, radius, angles):
    phantom, beam = disc(radius, (x, y)), ParallelBeam(64, angles, pixel_mm=1.25)
    truth = phantom.line_integrals(beam)
    assert (beam.project(phantom.image(64, 1.25)) - truth).norm() < 0.05 * truth.norm()


# Adjoint

@settings(max_examples=20, deadline=None)
@given(size=st.integers(1, 24), angles=ANGLES, dtype=st.sampled_from([torch.float32, torch.float64]))
def test_the_adjoint_is_exact(size, angles, dtype):
    beam = ParallelBeam(size, angles, pixel_mm=0.8)
    image = torch.randn(2, 3, size, size, generator=seeded(), dtype=dtype)
    sinogram = torch.randn(2, 3, len(angles), beam.detectors, generator=seeded(1), dtype=dtype)
    there, back = (beam.project(image) * sinogram).sum(), (image * beam.adjoint(sinogram)).sum()
    scale = beam.project(image).norm() * sinogram.norm()
    assert (there - back).abs() <= scale * (1e-5 if dtype == torch.float32 else 1e-13)


def test_a_view_given_twice_counts_twice_and_order_is_kept():
    beam, once = ParallelBeam(9, [70, 20, 250, 20]), ParallelBeam(9, [70])
    image = torch.rand(1, 1, 9, 9, generator=seeded())
    views = beam.project(image)
    torch.testing.assert_close(views[:, :, :1], once.project(image))
    torch.testing.assert_close(views[:, :, 2], views[:, :, 0].flip(-1))          # from the other side
    assert torch.equal(views[:, :, 1], views[:, :, 3])
    one, two = torch.zeros_like(views), torch.zeros_like(views)
    one[:, :, 1], two[:, :, [1, 3]] = 1, 1
    torch.testing.assert_close(beam.adjoint(two), 2 * beam.adjoint(one))


@pytest.mark.parametrize("name", ["project", "adjoint", "fbp"])
def test_gradients_are_right_also_the_second_ones(name):
    beam = ParallelBeam(5, [0, 30, 45, 80, 100, 200], pixel_mm=0.7)
    shape = (5, 5) if name == "project" else (6, beam.detectors)
    x = torch.randn(1, 2, *shape, dtype=torch.float64, generator=seeded(), requires_grad=True)
    assert torch.autograd.gradcheck(getattr(beam, name), x)
    assert torch.autograd.gradgradcheck(lambda x: getattr(beam, name)(x).square(), x)


def test_the_gradient_of_a_projection_is_the_adjoint():
    beam = ParallelBeam(12, half_turn(7), pixel_mm=1.3)
    image = torch.rand(2, 1, 12, 12, generator=seeded(), requires_grad=True)
    g = torch.randn(2, 1, 7, beam.detectors, generator=seeded(1))
    gradient, = torch.autograd.grad(beam.project(image), image, g)
    torch.testing.assert_close(gradient, beam.adjoint(g))


# Filtered back-projection

@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("angles", [half_turn(90), torch.arange(120) * 3.0], ids=["half turn", "full turn"])
def test_the_attenuation_of_a_disc_comes_back_in_its_unit(window, angles):
    for pixel in (0.5, 2.0):
        phantom = disc(20 * pixel, (4 * pixel, -6 * pixel))
        beam = ParallelBeam(64, angles, pixel_mm=pixel)
        image = beam.fbp(phantom.line_integrals(beam), window)
        inside = phantom.image(64, pixel) == phantom.value.item()
        inside = (disc(15 * pixel, (4 * pixel, -6 * pixel)).image(64, pixel) > 0) & inside
        assert image[inside].mean().item() == pytest.approx(0.02, rel=0.01)
        outside = disc(26 * pixel, (4 * pixel, -6 * pixel)).image(64, pixel) == 0
        assert abs(image[outside].mean().item()) < 0.02 * 0.02


def test_reconstruction_is_no_further_from_the_truth_than_scikit_images():
    size, angles = 96, half_turn(120)
    phantom = shepp_logan(96.0, visible=True)
    image, beam = phantom.image(size, 1.0), ParallelBeam(size, angles)
    ours = (beam.fbp(beam.project(image)) - image).norm()
    rows = image[0, 0].T.double().numpy()
    theirs = iradon(radon(rows, angles.numpy()), angles.numpy())
    assert ours <= np.linalg.norm(theirs - rows)


def test_more_views_reconstruct_better():
    phantom = shepp_logan(64.0, visible=True)
    image = phantom.image(64, 1.0)
    errors = []
    for views in (10, 30, 90):
        beam = ParallelBeam(64, half_turn(views))
        errors.append((beam.fbp(beam.project(image)) - image).norm().item())
    assert errors == sorted(errors, reverse=True)


def test_each_window_lets_less_noise_through():
    beam = ParallelBeam(64, half_turn(60))
    noise = torch.randn(1, 1, 60, beam.detectors, generator=seeded())
    spread = [beam.fbp(noise, window).std().item() for window in ("ramp", "shepp-logan", "cosine", "hamming", "hann")]
    assert spread == sorted(spread, reverse=True)


@pytest.mark.parametrize("detectors", [1, 2, 5, 64])
def test_the_ramp_is_kak_and_slaneys_convolution(detectors):
    sinogram = torch.randn(1, 1, 2, detectors, dtype=torch.float64, generator=seeded())
    n = np.arange(-detectors, detectors + 1)
    h = np.zeros(len(n))
    h[n % 2 == 1] = -1 / (np.pi * n[n % 2 == 1]) ** 2
    h[n == 0] = 1 / 4
    expected = [np.convolve(view, h)[detectors:2 * detectors] for view in sinogram[0, 0].numpy()]
    np.testing.assert_allclose(ramp_filter(sinogram)[0, 0].numpy(), expected, atol=1e-12)


# In a program

def test_images_of_a_batch_and_channels_do_not_touch_each_other():
    beam = ParallelBeam(10, [5, 50, 100])
    images = torch.rand(3, 2, 10, 10, generator=seeded())
    together = beam.project(images)
    back = beam.fbp(together)
    for b in range(3):
        for c in range(2):
            torch.testing.assert_close(beam.project(images[b:b + 1, c:c + 1])[0, 0], together[b, c])
            torch.testing.assert_close(beam.fbp(together[b:b + 1, c:c + 1])[0, 0], back[b, c])


def test_no_image_has_no_sinogram():
    beam = ParallelBeam(6, [0, 30])
    assert beam.project(torch.zeros(0, 1, 6, 6)).shape == (0, 1, 2, beam.detectors)
    assert beam.fbp(torch.zeros(2, 0, 2, beam.detectors)).shape == (2, 0, 6, 6)


def test_a_sum_over_an_image_is_float32_under_autocast_and_in_half_precision():
    beam = ParallelBeam(16, [10, 100])
    image = torch.rand(1, 1, 16, 16, generator=seeded())
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(beam.project(image), beam.project(image.clone()), rtol=0, atol=0)
        sinogram = beam.project(image)
    assert sinogram.dtype == torch.float32
    torch.testing.assert_close(sinogram, ParallelBeam(16, [10, 100]).project(image), rtol=0, atol=0)
    half = beam.project(image.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, beam.project(image.bfloat16().float()))
    assert beam.fbp(sinogram.half()).dtype == torch.float32


def test_the_matrix_is_built_once_and_for_an_eighth_of_the_turn(monkeypatch):
    asked = []
    build = projection._matrices
    monkeypatch.setattr(projection, "_matrices", lambda *args: asked.append(args[2]) or build(*args))
    beam = ParallelBeam(8, torch.arange(360.0))
    for _ in range(2):
        beam.fbp(beam.project(torch.rand(1, 1, 8, 8)))
    assert asked == [tuple(float(angle) for angle in range(46))]


@pytest.mark.parametrize("size, views", [(16, 20), (32, 20), (32, 40)])
def test_memory_is_linear_in_views_and_pixels(size, views):
    beam = ParallelBeam(size, half_turn(views))
    beam.project(torch.zeros(1, 1, size, size))
    (pair,) = beam._built.values()
    angles = views / 4 + 1
    for matrix in pair:
        assert len(matrix.values) == len(matrix.columns) <= 2.4 * size ** 2 * angles
        assert matrix.columns.dtype == matrix.starts.dtype == torch.int32
        assert len(matrix.starts) <= max(size ** 2, angles * beam.detectors) + 1


def test_scanners_with_the_same_settings_are_equal():
    a, b = ParallelBeam(8, [0, 1.5]), ParallelBeam(8, torch.tensor([0, 1.5]))
    assert a == b and hash(a) == hash(b) and a != ParallelBeam(8, [0, 1.5], pixel_mm=2.0)
    assert repr(a) == "ParallelBeam(size=8, 2 views of 0..1.5 degrees, pixel_mm=1)"
    with pytest.raises(AttributeError):
        a.size = 9
    assert np.array_equal(a.detector_mm.numpy(), np.arange(12) - 5.5)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda beam: pickle.loads(pickle.dumps(beam))],
                         ids=["copy", "pickle"])
def test_a_scanner_travels_without_its_matrix(again):
    beam = ParallelBeam(16, EVERY_EIGHTH, pixel_mm=0.7)
    image = torch.rand(1, 1, 16, 16, generator=seeded())
    expected = beam.fbp(beam.project(image))
    other = again(beam)
    assert other == beam and repr(other) == repr(beam) and not other._built and beam._built
    assert len(pickle.dumps(beam)) < 10_000
    assert torch.equal(other.fbp(other.project(image)), expected)


def test_a_scanner_forgets_its_matrices_and_builds_them_again():
    beam, image = ParallelBeam(16, [0, 30]), torch.rand(1, 1, 16, 16, generator=seeded())
    expected = beam.project(image)
    beam.project(image.double())
    assert len(beam._built) == 2
    beam.forget()
    assert not beam._built and torch.equal(beam.project(image), expected)


def test_every_part_of_the_square_is_seen():
    for size in range(1, 40):
        detectors = ParallelBeam(size, [45]).detectors
        assert detectors >= size * math.sqrt(2) and (detectors - size) % 2 == 0


# What is refused

@pytest.mark.parametrize("size, angles, pixel, name", [
    (0, [0], 1.0, "size"), (2.5, [0], 1.0, "size"), (True, [0], 1.0, "size"), (8, [], 1.0, "angles_deg"),
    (8, [0, math.nan], 1.0, "angles_deg"), (8, [math.inf], 1.0, "angles_deg"), (8, [[0, 1]], 1.0, "angles_deg"),
    (8, [0], 0.0, "pixel_mm"), (8, [0], -1.0, "pixel_mm"), (8, [0], math.nan, "pixel_mm"), (8, [0], "1", "pixel_mm"),
    (8, "45", 1.0, "angles_deg"), (8, ["45"], 1.0, "angles_deg"), (8, [True], 1.0, "angles_deg"),
    (8, None, 1.0, "angles_deg"), (8, 45.0, 1.0, "angles_deg"),
])
def test_a_scanner_that_cannot_be_is_refused(refused, size, angles, pixel, name):
    with refused(f"{name}: expected .* got"):
        ParallelBeam(size, angles, pixel_mm=pixel)


def test_a_matrix_that_its_indices_cannot_count_is_refused(refused):
    with refused("angles_deg: expected fewer than 682 after folding .* got 700"):
        ParallelBeam(1024, torch.arange(700) / 20).project(torch.zeros(1, 1, 1024, 1024))


@pytest.mark.parametrize("image", [
    torch.zeros(8, 8), torch.zeros(1, 8, 8), torch.zeros(1, 1, 8, 9), torch.zeros(1, 1, 1, 8, 8),
    torch.zeros(1, 1, 8, 8, dtype=torch.int64), torch.full((1, 1, 8, 8), math.nan), torch.full((1, 1, 8, 8), math.inf),
    np.zeros((1, 1, 8, 8)),
], ids=["no batch", "no channel", "not square", "volume", "integer", "nan", "inf", "array"])
def test_an_image_that_does_not_fit_is_refused(refused, image):
    with refused("image: expected .* got"):
        ParallelBeam(8, [0]).project(image)


@pytest.mark.parametrize("name", ["adjoint", "fbp"])
@pytest.mark.parametrize("sinogram", [
    torch.zeros(1, 1, 2, 8), torch.zeros(1, 1, 12, 2), torch.zeros(2, 12), torch.full((1, 1, 2, 12), math.nan),
    torch.zeros(1, 1, 2, 12, dtype=torch.int64),
], ids=["detectors", "transposed", "no batch", "nan", "integer"])
def test_a_sinogram_that_does_not_fit_is_refused(refused, name, sinogram):
    with refused("sinogram: expected .* got"):
        getattr(ParallelBeam(8, [0, 10]), name)(sinogram)


def test_a_filter_of_no_sinogram_is_refused(refused):
    for wrong in (torch.tensor(1.0), torch.zeros(3, 12), torch.zeros(1, 1, 3, 12).long(), None):
        with refused("sinogram: expected .*B, C, V, D.* got"):
            ramp_filter(wrong)


def test_a_window_that_is_not_there_is_refused(refused):
    with refused("window: expected \"ramp\", .* or \"hann\", got 'box'"):
        ParallelBeam(8, [0]).fbp(torch.zeros(1, 1, 1, 12), "box")


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    beam = ParallelBeam(32, half_turn(30))
    image = torch.rand(2, 1, 32, 32, generator=seeded())
    there = beam.project(image.cuda())
    assert there.is_cuda
    torch.testing.assert_close(there.cpu(), beam.project(image), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(beam.fbp(there).cpu(), beam.fbp(beam.project(image)), rtol=1e-3, atol=1e-4)
