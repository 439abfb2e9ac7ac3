"""Signal equations and the coil's field against closed theory. Also of mri.py: test_kspace.py, test_mri_noise.py."""
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medlearn.physics.mri import (
    bias_field,
    inversion_recovery,
    spin_echo,
    spoiled_gradient_echo,
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
    (dict(tr_ms=0.0), "tr_ms"), (dict(te_ms=-1.0), "te_ms"), (dict(te_ms=30.0), "te_ms"),
    (dict(flip_deg=181.0), "flip_deg"),
    (dict(flip_deg=-1.0), "flip_deg"), (dict(t1_ms=math.nan), "t1_ms"),
    (dict(proton_density=math.nan), "proton_density"),
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


@settings(max_examples=20, deadline=None)
@given(t1=st.floats(100, 5000), t2=st.floats(10, 500), tr=st.floats(500, 9000), share=st.floats(0.01, 0.5),
       inverted=st.floats(0, 0.4))
def test_the_inversion_recovery_is_the_steady_state_of_the_bloch_equation(t1, t2, tr, share, inverted):
    te, ti, along = share * tr, inverted * tr, 1.0
    relax = lambda along, time: 1 + (along - 1) * math.exp(-time / t1)
    for _ in range(3):                              # turned over, recovered for TI, read, turned over at TE / 2
        across = relax(-along, ti)
        along = relax(-relax(0.0, te / 2), tr - ti - te / 2)
    expected = 0.7 * across * math.exp(-te / t2)
    density, t1_ms, t2_ms = (torch.tensor(v, dtype=torch.float64) for v in (0.7, t1, t2))
    got = inversion_recovery(density, t1_ms=t1_ms, t2_ms=t2_ms, tr_ms=tr, te_ms=te, ti_ms=ti).item()
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_an_inversion_nulls_fluid_and_leaves_what_has_recovered():
    fluid, white = inversion_recovery(1.0, t1_ms=torch.tensor([4300.0, 832.0]), t2_ms=100.0, tr_ms=60_000.0, te_ms=10.0,
                                      ti_ms=4300.0 * math.log(2)).tolist()
    assert abs(fluid) < 1e-5 and white > 0.8
    assert inversion_recovery(torch.ones(0), t1_ms=900.0, t2_ms=80.0, tr_ms=5000.0, te_ms=10.0,
                              ti_ms=2000.0).shape == (0,)


@pytest.mark.parametrize("ti", [-1.0, 4950.0])
def test_an_inversion_that_does_not_fit_is_refused(refused, ti):
    with refused("ti_ms: expected 0 or more, and inversion and echo before the next repetition"):
        inversion_recovery(1.0, t1_ms=900.0, t2_ms=80.0, tr_ms=5000.0, te_ms=100.0, ti_ms=ti)


def test_a_short_echo_weights_by_t1_and_a_long_repetition_by_t2():
    t1, t2 = torch.tensor([4000.0, 1331.0, 832.0]), torch.tensor([1500.0, 110.0, 80.0])
    weighted_t1 = spin_echo(1.0, t1_ms=t1, t2_ms=t2, tr_ms=500.0, te_ms=10.0)
    torch.testing.assert_close(weighted_t1, -torch.expm1(-500 / t1) * torch.exp(-10 / t2), rtol=0.05, atol=0)
    csf, grey, white = weighted_t1
    assert csf < grey < white
    csf, grey, white = spin_echo(1.0, t1_ms=t1, t2_ms=t2, tr_ms=8000.0, te_ms=100.0)
    assert csf > grey > white


def test_spin_echo_parameters_broadcast_and_none_gives_none():
    t1_ms = torch.full((4,), 900.0)
    assert spin_echo(torch.ones(3, 1), t1_ms=t1_ms, t2_ms=80.0, tr_ms=500.0, te_ms=10.0).shape == (3, 4)
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
