"""The scanner's physics against closed theory: signal equations, the coil's field, k-space, noise."""
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from medlearn.physics.mri import (
    bias_field,
    cartesian_mask,
    complex_noise,
    from_kspace,
    magnitude,
    rician_noise,
    spin_echo,
    spoiled_gradient_echo,
    sum_of_squares,
    to_kspace,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------------------------------------------------------
# Signal

SETTINGS = dict(tr_ms=20.0, te_ms=4.0, flip_deg=25.0)
TIMES = st.floats(5.0, 5000.0)


@settings(max_examples=30, deadline=None)
@given(pd=st.floats(0, 2), t1=TIMES, t2star=TIMES, tr=st.floats(5, 1000), te=st.floats(0, 4), flip=st.floats(0, 180))
def test_the_signal_is_ernsts_formula(pd, t1, t2star, tr, te, flip):
    e1, a = math.exp(-tr / t1), math.radians(flip)
    expected = pd * math.sin(a) * (1 - e1) / (1 - math.cos(a) * e1) * math.exp(-te / t2star)
    density, t1_ms, t2star_ms = (torch.tensor(v, dtype=torch.float64) for v in (pd, t1, t2star))
    got = spoiled_gradient_echo(density, t1_ms=t1_ms, t2star_ms=t2star_ms, tr_ms=tr, te_ms=te, flip_deg=flip).item()
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_the_signal_is_the_steady_state_of_the_bloch_equation():
    t1, tr, flip = 832.0, 20.0, math.radians(25.0)
    along = 1.0
    for _ in range(2000):                                   # a pulse, then recovery; what lies across is spoiled
        along = 1 + (along * math.cos(flip) - 1) * math.exp(-tr / t1)
    expected = along * math.sin(flip) * math.exp(-4.0 / 45.0)
    assert spoiled_gradient_echo(1.0, t1_ms=t1, t2star_ms=45.0, **SETTINGS).item() == pytest.approx(expected, rel=1e-5)


@settings(max_examples=20, deadline=None)
@given(t1=st.floats(200, 4000), tr=st.floats(5, 100))
def test_no_flip_angle_beats_ernsts(t1, tr):
    angle = math.degrees(math.acos(math.exp(-tr / t1)))
    flips = torch.cat([torch.tensor([angle], dtype=torch.float64), torch.linspace(0, 180, 181, dtype=torch.float64)])
    signal = spoiled_gradient_echo(1.0, t1_ms=t1, t2star_ms=1e6, tr_ms=tr, te_ms=0.0, flip_deg=flips)
    assert signal.max().item() == pytest.approx(signal[0].item(), rel=1e-9)


def test_short_t1_is_bright():
    t1 = torch.tensor([4000.0, 1331.0, 832.0])
    csf, grey, white = spoiled_gradient_echo(torch.tensor([1.0, 0.82, 0.70]), t1_ms=t1, t2star_ms=50.0, **SETTINGS)
    assert csf < grey < white


def test_the_limits_of_the_signal():
    at = lambda **changed: spoiled_gradient_echo(0.8, t1_ms=1000.0, t2star_ms=50.0, **(SETTINGS | changed)).item()
    assert at(flip_deg=0.0) == 0 and at(flip_deg=180.0) == pytest.approx(0, abs=1e-6)
    assert at(tr_ms=1e9, te_ms=0.0, flip_deg=90.0) == pytest.approx(0.8)
    assert spoiled_gradient_echo(0.0, t1_ms=1000.0, t2star_ms=50.0, **SETTINGS) == 0


def test_parameters_broadcast_and_none_gives_none():
    signal = spoiled_gradient_echo(torch.ones(3, 1), t1_ms=torch.full((4,), 900.0), t2star_ms=50.0, **SETTINGS)
    assert signal.shape == (3, 4) and signal.unique().numel() == 1
    assert spoiled_gradient_echo(torch.ones(0), t1_ms=900.0, t2star_ms=50.0, **SETTINGS).shape == (0,)


@pytest.mark.parametrize("wrong, name", [
    (dict(proton_density=-1.0), "proton_density"), (dict(t1_ms=0.0), "t1_ms"), (dict(t2star_ms=-5.0), "t2star_ms"),
    (dict(tr_ms=0.0), "tr_ms"), (dict(te_ms=-1.0), "te_ms"), (dict(te_ms=30.0), "te_ms"), (dict(flip_deg=181.0), "flip_deg"),
    (dict(flip_deg=-1.0), "flip_deg"), (dict(t1_ms=math.nan), "t1_ms"), (dict(proton_density=math.nan), "proton_density"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_no_scanner_does_is_refused(refused, wrong, name):
    with refused(f"{name}: expected .* got"):
        spoiled_gradient_echo(**(dict(proton_density=1.0, t1_ms=900.0, t2star_ms=50.0) | SETTINGS | wrong))


@pytest.mark.parametrize("signal", [lambda t1: spoiled_gradient_echo(1.0, t1_ms=t1, t2star_ms=50.0, **SETTINGS),
                                    lambda t1: spin_echo(1.0, t1_ms=t1, t2_ms=50.0, tr_ms=500.0, te_ms=10.0)],
                         ids=["gradient echo", "spin echo"])
def test_a_t1_in_seconds_is_refused(refused, signal):
    with refused("t1_ms: expected 5 ms or more .* seconds.* got 0.832"):
        signal(0.832)


@pytest.mark.parametrize("dtype, digits", [(torch.float16, 1e-3), (torch.bfloat16, 8e-3)], ids=str)
def test_signals_in_half_precision_are_computed_in_single(dtype, digits):
    t1, t2 = torch.tensor([4000.0, 1331.0, 832.0]), torch.tensor([500.0, 42.0, 45.0])
    for signal in (lambda t1, t2: spoiled_gradient_echo(1.0, t1_ms=t1, t2star_ms=t2, **(SETTINGS | dict(flip_deg=4.0))),
                   lambda t1, t2: spin_echo(1.0, t1_ms=t1, t2_ms=t2, tr_ms=50.0, te_ms=2.0)):
        half, single = signal(t1.to(dtype), t2.to(dtype)), signal(t1.to(dtype).float(), t2.to(dtype).float())
        assert half.dtype == dtype
        torch.testing.assert_close(half.float(), single, rtol=digits, atol=0)


@settings(max_examples=20, deadline=None)
@given(t1=st.floats(100, 5000), t2=st.floats(10, 500), tr=st.floats(200, 6000), share=st.floats(0.01, 0.9))
def test_the_spin_echo_is_the_steady_state_of_the_bloch_equation(t1, t2, tr, share):
    te, along = share * tr, 1.0
    relax = lambda along, time: 1 + (along - 1) * math.exp(-time / t1)
    for _ in range(3):                                     # after the 90 degree pulse nothing is left along the field
        across, along = along, relax(-relax(0.0, te / 2), tr - te / 2)
    expected = 0.7 * across * math.exp(-te / t2)
    density, t1_ms, t2_ms = (torch.tensor(v, dtype=torch.float64) for v in (0.7, t1, t2))
    got = spin_echo(density, t1_ms=t1_ms, t2_ms=t2_ms, tr_ms=tr, te_ms=te).item()
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_short_echo_weights_by_t1_and_a_long_repetition_by_t2():
    t1, t2 = torch.tensor([4000.0, 1331.0, 832.0]), torch.tensor([1500.0, 110.0, 80.0])
    weighted_t1 = spin_echo(1.0, t1_ms=t1, t2_ms=t2, tr_ms=500.0, te_ms=10.0)
    torch.testing.assert_close(weighted_t1, -torch.expm1(-500 / t1) * torch.exp(-10 / t2), rtol=0.05, atol=0)
    csf, grey, white = weighted_t1
    assert csf < grey < white
    csf, grey, white = spin_echo(1.0, t1_ms=t1, t2_ms=t2, tr_ms=8000.0, te_ms=100.0)
    assert csf > grey > white


def test_spin_echo_parameters_broadcast_and_none_gives_none():
    assert spin_echo(torch.ones(3, 1), t1_ms=torch.full((4,), 900.0), t2_ms=80.0, tr_ms=500.0, te_ms=10.0).shape == (3, 4)
    assert spin_echo(torch.ones(0), t1_ms=900.0, t2_ms=80.0, tr_ms=500.0, te_ms=10.0).shape == (0,)


@pytest.mark.parametrize("wrong", [dict(proton_density=-1.0), dict(t1_ms=0.0), dict(t2_ms=0.0), dict(t2_ms=math.nan),
                                   dict(tr_ms=-1.0), dict(te_ms=500.0), dict(te_ms=-1.0)], ids=str)
def test_what_no_spin_echo_does_is_refused(refused, wrong):
    with refused(f"{next(iter(wrong))}: expected .* got"):
        spin_echo(**(dict(proton_density=1.0, t1_ms=900.0, t2_ms=80.0, tr_ms=500.0, te_ms=10.0) | wrong))


def test_integers_have_no_relaxation_times(refused):
    with refused("t1_ms: expected a number or a float tensor, got torch.int64"):
        spin_echo(1.0, t1_ms=torch.tensor([900]), t2_ms=80.0, tr_ms=500.0, te_ms=10.0)


# ---------------------------------------------------------------------------------------------------------------------
# Bias field

@pytest.mark.parametrize("space", [(24, 31), (9, 12, 10)])
@pytest.mark.parametrize("order", [1, 3])
def test_the_fields_logarithm_has_mean_0_and_the_strength_asked_for(space, order):
    log = bias_field((3, *space), torch.tensor([0.05, 0.2, 0.5]), order=order, generator=seeded()).log().flatten(1)
    torch.testing.assert_close(log.mean(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(log.std(1, unbiased=False), torch.tensor([0.05, 0.2, 0.5]), atol=1e-5, rtol=1e-4)


def test_the_field_is_made_of_the_lowest_cosines_alone():
    from scipy.fft import dctn

    log = bias_field((1, 16, 20), 0.3, order=2, generator=seeded()).log()[0, 0].double().numpy()
    waves = dctn(log, norm="ortho")
    low = waves[:3, :3].copy()
    waves[:3, :3] = 0
    assert abs(waves).max() < 1e-4 * abs(low).max() and abs(low[0, 0]) < 1e-4 * abs(low).max()


def test_no_strength_is_no_field_and_no_image_none():
    assert torch.equal(bias_field((2, 8, 8), 0.0, generator=seeded()), torch.ones(2, 1, 8, 8))
    assert bias_field((0, 8, 8), 0.1, generator=seeded()).shape == (0, 1, 8, 8)
    assert bias_field((0, 8, 8), 0.1, generator=[]).shape == (0, 1, 8, 8)


def test_a_field_is_repeated_by_its_generator_and_differs_between_images():
    a, b = (bias_field((2, 8, 8), 0.2, generator=seeded(4)) for _ in range(2))
    assert torch.equal(a, b) and not torch.equal(a[0], a[1])
    assert not torch.equal(a, bias_field((2, 8, 8), 0.2, generator=seeded(5)))


def test_an_images_own_generator_makes_its_field_independent_of_its_neighbours():
    together = bias_field((3, 16, 16), 0.2, generator=[seeded(n) for n in range(3)])
    for n in range(3):
        assert torch.equal(together[n:n + 1], bias_field((1, 16, 16), 0.2, generator=[seeded(n)]))


@pytest.mark.parametrize("shape, strength, order", [
    ((1, 8), 0.1, 2), ((1, 8, 8, 8, 8), 0.1, 2), ((1, 2, 8), 0.1, 2), ((1, 8, 8), 0.1, 0), ((1, 8, 8), -0.1, 2),
    ((1, 8, 8), math.nan, 2), ((2, 8, 8), torch.ones(3), 2), (8, 0.1, 2), ("188", 0.1, 2), ((-1, 8, 8), 0.1, 2),
], ids=["one axis", "four axes", "axis too short", "order 0", "negative", "nan", "wrong count", "number", "text", "-1"])
def test_a_field_that_cannot_be_is_refused(refused, shape, strength, order):
    with refused("expected .* got"):
        bias_field(shape, strength, order=order, generator=seeded())


# ---------------------------------------------------------------------------------------------------------------------
# k-space

SHAPES = st.sampled_from([(1, 1, 8, 8), (2, 3, 7, 10), (2, 1, 5, 6, 7)])


def complex_image(shape, seed=0):
    return torch.view_as_complex(torch.randn(*shape, 2, generator=seeded(seed), dtype=torch.float64))


@settings(max_examples=12, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_the_transform_is_numpys_unitary_and_its_inverse_is_its_adjoint(shape, seed):
    x, y = complex_image(shape, seed), complex_image(shape, seed + 1)
    space = tuple(range(2, len(shape)))
    expected = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(x.numpy(), space), axes=space, norm="ortho"), space)
    np.testing.assert_allclose(to_kspace(x).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(from_kspace(to_kspace(x)), x)
    torch.testing.assert_close(torch.vdot(to_kspace(x).flatten(), y.flatten()),
                               torch.vdot(x.flatten(), from_kspace(y).flatten()))


def test_a_constant_image_is_one_point_in_the_middle_of_kspace():
    kspace = to_kspace(torch.ones(1, 1, 6, 9))
    assert kspace.abs().argmax().item() == 3 * 9 + 4 and kspace[0, 0, 3, 4].real.item() == pytest.approx(math.sqrt(54))


@settings(max_examples=25, deadline=None)
@given(lines=st.integers(1, 60), fraction=st.floats(0.1, 1), centre=st.floats(0, 0.1), seed=st.integers(0, 99))
def test_the_mask_measures_as_many_whole_lines_as_asked_for_and_the_centre(lines, fraction, centre, seed):
    mask = cartesian_mask((2, 5, lines), fraction, centre=centre, generator=seeded(seed))
    kept = max(1, round(centre * lines))
    first = lines // 2 - kept // 2
    assert mask.shape == (2, 1, 5, lines) and (mask == mask[:, :, :1]).all()
    assert mask[..., first:first + kept].all()
    assert (mask[:, 0, 0].sum(1) == max(kept, round(float(torch.tensor(fraction)) * lines))).all()


def test_each_image_has_its_own_fraction_and_generator():
    fractions = torch.tensor([0.25, 0.5, 1.0])
    mask = cartesian_mask((3, 8, 9, 64), fractions, generator=[seeded(n) for n in range(3)])
    assert mask.shape == (3, 1, 8, 9, 64)
    assert torch.equal(mask.float().flatten(1).mean(1), fractions)
    assert torch.equal(mask[1:2], cartesian_mask((1, 8, 9, 64), 0.5, generator=[seeded(1)]))
    assert not torch.equal(mask[1:2], cartesian_mask((1, 8, 9, 64), 0.5, generator=seeded(7)))
    assert cartesian_mask((0, 8, 8), 0.5, generator=seeded()).shape == (0, 1, 8, 8)
    assert cartesian_mask((1, 1, 10), 0.7, centre=0.7, generator=seeded()).sum() == 7


def test_all_lines_outside_the_centre_are_as_likely():
    mask = cartesian_mask((4000, 1, 20), 0.4, centre=0.1, generator=seeded())[:, 0, 0]
    counts = mask.sum(0).double().numpy()
    outside = np.delete(counts, [9, 10])
    assert (counts[9:11] == 4000).all()
    # without replacement the counts vary less than chi-square would have it, so a small p-value is telling
    assert stats.chisquare(outside).pvalue > 0.01


def test_what_was_not_measured_takes_its_share_of_the_noise_along():
    mask = cartesian_mask((1, 256, 256), 0.25, generator=seeded())
    noise = from_kspace(mask * complex_noise(torch.zeros(1, 1, 256, 256), 0.2, generator=seeded(1)))
    assert noise.real.std().item() == pytest.approx(0.2 * math.sqrt(0.25), rel=0.02)


@pytest.mark.parametrize("shape, fraction, centre, message", [
    ((1, 8), 0.5, 0.08, "shape: expected"), ((1, 8, 0), 0.5, 0.08, "shape: expected"),
    ((1, 8, 8), 1.5, 0.08, "fraction: expected"), ((1, 8, 8), 0.05, 0.08, "fraction: expected 0.08"),
    ((1, 8, 8), math.nan, 0.08, "fraction: expected"),
    ((1, 8, 8), 0.5, 1.5, "centre: expected"), ((1, 8, 8), 0.5, math.nan, "centre: expected"),
    ((2, 8, 8), torch.full((3,), 0.5), 0.08, "fraction: expected"),
], ids=["one axis", "no line", "above 1", "below the centre", "nan", "centre above 1", "centre nan", "wrong count"])
def test_a_mask_that_cannot_be_is_refused(refused, shape, fraction, centre, message):
    with refused(f"{message}.* got"):
        cartesian_mask(shape, fraction, centre=centre, generator=seeded())


@pytest.mark.parametrize("transform", [to_kspace, from_kspace, sum_of_squares])
def test_only_images_with_space_are_transformed(refused, transform):
    for wrong in (torch.ones(1, 1, 8, dtype=torch.complex64), torch.ones(1, 1, 4, 4, dtype=torch.int64), None,
                  torch.full((1, 1, 4, 4), complex(0, math.nan))):
        with refused("expected .* got"):
            transform(wrong)
    assert transform(torch.zeros(0, 2, 4, 4, dtype=torch.complex64)).shape[0] == 0


# ---------------------------------------------------------------------------------------------------------------------
# Noise

@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.float64, torch.float16], ids=str)
def test_complex_noise_is_gaussian_in_both_channels_and_in_kspace_too(dtype):
    shape = (1, 1, 200, 200)
    noise = complex_noise(torch.zeros(shape, dtype=dtype), 0.3, generator=seeded(8))
    assert noise.dtype == (torch.complex128 if dtype == torch.float64 else torch.complex64)
    for one in (noise, to_kspace(noise)):
        for channel in (one.real, one.imag):
            assert stats.kstest(channel.flatten().numpy(), stats.norm(0, 0.3).cdf).pvalue > 0.01
        assert abs(np.corrcoef(one.real.flatten(), one.imag.flatten())[0, 1]) < 4 / 200


def test_the_magnitude_of_complex_noise_is_rician_noise():
    image, sigma = torch.rand(3, 1, 8, 9, generator=seeded()), torch.tensor([0.0, 0.1, 0.5])
    noisy = magnitude(complex_noise(image, sigma, generator=[seeded(n) for n in range(3)]))
    torch.testing.assert_close(noisy, rician_noise(image, sigma, generator=[seeded(n) for n in range(3)]))
    phase = torch.polar(torch.ones_like(image), 3 * image)
    turned = magnitude(complex_noise(image * phase.conj(), 0.1, generator=seeded()))
    torch.testing.assert_close(complex_noise(phase.conj(), 0.0, generator=seeded()), phase.conj())
    assert stats.kstest(turned.flatten(), rician_noise(image, 0.1, generator=seeded(1)).flatten()).pvalue > 0.01


@pytest.mark.parametrize("coils", [1, 4, 8])
def test_the_sum_of_squares_is_non_central_chi(coils):
    signals = torch.linspace(1, 0.2, coils).reshape(1, coils, 1, 1).expand(1, coils, 150, 150)
    image = sum_of_squares(complex_noise(signals, 0.5, generator=seeded(coils)))
    assert image.shape == (1, 1, 150, 150)
    centre = signals[0, :, 0, 0].square().sum().item() / 0.25
    values = (image / 0.5).square().flatten().double().numpy()
    assert stats.kstest(values, stats.ncx2(2 * coils, centre).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.ncx2(2 * coils, 1.2 * centre).cdf).pvalue < 1e-6


def test_one_coil_is_the_magnitude_and_both_have_gradients_at_0():
    signal = torch.zeros(1, 1, 3, 3, dtype=torch.complex64, requires_grad=True)
    (magnitude(signal).sum() + sum_of_squares(signal).sum()).backward()
    assert torch.equal(signal.grad, torch.zeros_like(signal))
    image = torch.randn(2, 1, 4, 5, dtype=torch.complex128, generator=seeded())
    torch.testing.assert_close(sum_of_squares(image), magnitude(image))


@pytest.mark.parametrize("signal, sigma", [
    (torch.full((1, 4), math.nan), 0.1), (torch.full((1, 4), complex(0, math.inf)), 0.1), (torch.ones(1, 4), -0.1),
    (torch.ones(1, 4), math.nan), (torch.ones(2, 4), torch.ones(3)), (torch.ones(1, 4, dtype=torch.int64), 0.1),
    (torch.tensor(1.0), 0.1), (None, 0.1),
], ids=["nan", "inf", "negative sigma", "nan sigma", "wrong count", "integer", "no batch", "none"])
def test_complex_noise_without_meaning_is_refused(refused, signal, sigma):
    with refused("expected .* got"):
        complex_noise(signal, sigma, generator=seeded())


def test_a_magnitude_of_no_complex_signal_and_a_sum_of_no_coil_are_refused(refused):
    with refused("signal: expected a complex tensor, got torch.float32"):
        magnitude(torch.ones(1, 4))
    with refused("coils: expected at least one"):
        sum_of_squares(torch.ones(1, 0, 4, 4))
    assert complex_noise(torch.zeros(0, 1, 4, 4), 0.1, generator=seeded()).shape == (0, 1, 4, 4)


def test_the_scanner_works_under_autocast():
    image = torch.rand(1, 1, 8, 8, generator=seeded())
    scan = lambda: sum_of_squares(from_kspace(complex_noise(to_kspace(image), 0.1, generator=seeded())))
    with torch.autocast("cpu", torch.bfloat16):
        low = scan()
    assert low.dtype == torch.float32 and torch.equal(low, scan())


@pytest.mark.gpu
def test_a_cpu_generator_gives_the_same_noise_on_a_gpu():
    image = torch.rand(2, 1, 8, 8)
    for noise in (rician_noise, complex_noise):
        here, there = (noise(image.to(d), 0.1, generator=seeded()) for d in ("cpu", "cuda"))
        torch.testing.assert_close(there.cpu(), here)
    on_gpu = complex_noise(image.cuda(), 0.1, generator=torch.Generator("cuda").manual_seed(0))
    assert on_gpu.device.type == "cuda" and magnitude(on_gpu).device.type == "cuda"


@pytest.mark.parametrize("signal, sigma", [(0.0, 0.1), (0.2, 0.1), (1.0, 0.05)])
def test_the_noise_is_rices(signal, sigma):
    values = rician_noise(torch.full((1, 200, 200), signal), sigma, generator=seeded(1)).flatten().double().numpy()
    assert stats.kstest(values, stats.rice(signal / sigma, scale=sigma).cdf).pvalue > 0.01
    assert stats.kstest(values, stats.rice(signal / sigma, scale=1.05 * sigma).cdf).pvalue < 1e-6   # and it would tell


def test_air_is_rayleighs_and_its_mean_is_not_zero():
    values = rician_noise(torch.zeros(1, 300, 300), 0.1, generator=seeded())
    assert values.mean().item() == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.01)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (2, 1, 5, 6, 7)])
def test_no_noise_leaves_the_image_and_no_image_none(shape):
    image = torch.rand(shape)
    torch.testing.assert_close(rician_noise(image, 0.0, generator=seeded()), image)
    assert rician_noise(image[:0], 0.1, generator=seeded()).shape == (0, *shape[1:])
    assert rician_noise(image, 0.1, generator=seeded()).min() >= 0


def test_each_image_has_its_own_sigma_and_generator():
    image = torch.ones(3, 1, 64, 64)
    together = rician_noise(image, torch.tensor([0.0, 0.02, 0.1]), generator=[seeded(n) for n in range(3)])
    assert torch.equal(together[0], image[0])
    assert [round(v, 2) for v in together.flatten(1).std(1).tolist()] == [0.0, 0.02, 0.1]
    assert torch.equal(together[2:], rician_noise(image[2:], 0.1, generator=[seeded(2)]))


def test_noise_keeps_the_images_precision_and_passes_gradients():
    assert rician_noise(torch.ones(1, 4, 4, dtype=torch.float16), 0.1, generator=seeded()).dtype == torch.float16
    image = torch.ones(1, 4, 4, requires_grad=True)
    rician_noise(image, 0.1, generator=seeded()).sum().backward()
    assert image.grad.isfinite().all() and (image.grad > 0).all()


@pytest.mark.parametrize("level", [1e-4, 1.0, 1000.0, 60000.0])
def test_half_precision_has_room_for_the_squares(level):
    image = torch.full((1, 1, 64, 64), level).half()
    noisy = rician_noise(image, level / 100, generator=seeded())
    assert noisy.dtype == torch.float16
    torch.testing.assert_close(noisy.float(), rician_noise(image.float(), level / 100, generator=seeded()),
                               rtol=1e-3, atol=1e-7)


def test_noise_is_refused_to_a_standardised_image(refused):
    with refused("standardised .* is not a magnitude"):
        rician_noise(torch.randn(1, 8, 8, generator=seeded()), 0.1, generator=seeded())


@pytest.mark.parametrize("image, sigma", [
    (torch.full((1, 4, 4), math.nan), 0.1), (torch.full((1, 4, 4), math.inf), 0.1), (torch.ones(1, 4, 4), -0.1),
    (torch.ones(1, 4, 4), math.nan), (torch.ones(1, 4, 4), math.inf), (torch.ones(2, 4, 4), torch.ones(3)),
    (torch.ones(1, 4, 4, dtype=torch.int64), 0.1), (torch.tensor(1.0), 0.1),
], ids=["nan", "inf", "negative sigma", "nan sigma", "inf sigma", "wrong count", "integer", "no batch"])
def test_noise_without_meaning_is_refused(refused, image, sigma):
    with refused("expected .* got"):
        rician_noise(image, sigma, generator=seeded())


@pytest.mark.parametrize("generator", [None, 0, [0], "seed"], ids=repr)
def test_randomness_must_be_given(refused, generator):
    with refused("generator: expected a torch.Generator .* got"):
        rician_noise(torch.ones(1, 4, 4), 0.1, generator=generator)


def test_a_wrong_number_of_generators_is_refused(refused):
    with refused("generator: expected one, or one for each of 3 images, got 2"):
        rician_noise(torch.ones(3, 4, 4), 0.1, generator=[seeded(), seeded()])
