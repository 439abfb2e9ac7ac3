"""Parameters: numbers of Python and numpy are welcome, text, True and None are told what they are, whoever is asked."""
import math

import numpy as np
import pytest
import torch

from medlearn.base.grid import Grid
from medlearn.physics import (
    ParallelBeam,
    Pulse,
    background_sigma,
    bias_field,
    cartesian_mask,
    complex_noise,
    expected_counts,
    gaussian_filter,
    homomorphic_filter,
    hu_to_attenuation,
    k_logpdf,
    lee_filter,
    log_compress,
    log_transform,
    low_dose,
    median_filter,
    noise_power_spectrum,
    photon_counts,
    radial_profile,
    radio_frequency,
    rayleigh_logpdf,
    rice_mean,
    rician_nll,
    rician_noise,
    speckle_noise,
    spin_echo,
    spoiled_gradient_echo,
)
from medlearn.physics._parameters import common_dtype, numbers, per_image

IMAGE = torch.ones(2, 1, 16, 16)
AIR = torch.ones(2, 16, 16, dtype=torch.bool)
HU = -1000 * IMAGE


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# name of the parameter, a value that it may have, and a call with it
CALLS = {
    "mu_water_per_mm": (0.02, lambda v: hu_to_attenuation(HU, v)),
    "i0": (1e4, lambda v: expected_counts(IMAGE, v)),
    "electronic_sd": (2.0, lambda v: photon_counts(IMAGE, 100.0, electronic_sd=v, generator=seeded())),
    "i0 of a logarithm": (1e4, lambda v: log_transform(IMAGE, v).line_integrals),
    "dose_fraction": (0.5, lambda v: low_dose(HU, v, pixel_mm=4.0, generator=seeded())),
    "pixel_mm": (4.0, lambda v: low_dose(HU, 0.5, pixel_mm=v, generator=seeded())),
    "pixel_mm of a beam": (4.0, lambda v: ParallelBeam(16, [0], pixel_mm=v).project(IMAGE)),
    "pixel_mm of a spectrum": (4.0, lambda v: noise_power_spectrum(IMAGE, v)),
    "pixel_mm of a profile": (4.0, lambda v: radial_profile(IMAGE[0, 0], v).at),
    "size": (16, lambda v: ParallelBeam(v, [0]).project(IMAGE)),
    "bins": (4, lambda v: radial_profile(IMAGE[0, 0], 1.0, bins=v).at),
    "flip_deg": (25.0, lambda v: spoiled_gradient_echo(1.0, t1_ms=900.0, t2star_ms=50.0, tr_ms=20.0, te_ms=4.0,
                                                        flip_deg=v)),
    "t2_ms": (80.0, lambda v: spin_echo(1.0, t1_ms=900.0, t2_ms=v, tr_ms=500.0, te_ms=10.0)),
    "strength": (0.1, lambda v: bias_field((2, 8, 8), v, generator=seeded())),
    "order": (2, lambda v: bias_field((2, 8, 8), 0.1, order=v, generator=seeded())),
    "shape[0]": (2, lambda v: bias_field((v, 8, 8), 0.1, generator=seeded())),
    "shape[2]": (8, lambda v: cartesian_mask((2, 8, v), 0.5, generator=seeded())),
    "fraction": (0.5, lambda v: cartesian_mask((2, 8, 8), v, generator=seeded())),
    "centre": (0.25, lambda v: cartesian_mask((2, 8, 8), 0.5, centre=v, generator=seeded())),
    "sigma": (0.1, lambda v: rician_noise(IMAGE, v, generator=seeded())),
    "sigma of both channels": (0.1, lambda v: complex_noise(IMAGE, v, generator=seeded())),
    "sigma of a loss": (0.1, lambda v: rician_nll(IMAGE, IMAGE, sigma=v)),
    "sigma of a mean": (0.1, lambda v: rice_mean(1.0, v)),
    "coils": (1, lambda v: background_sigma(IMAGE, AIR, coils=v)),
    "width_voxels": (1.0, lambda v: gaussian_filter(IMAGE, v)),
    "floor_db": (-60.0, lambda v: homomorphic_filter(IMAGE, 1.0, floor_db=v)),
    "window": (3, lambda v: median_filter(IMAGE, v)),
    "variation": (0.5, lambda v: lee_filter(IMAGE, 3, variation=v)),
    "axial_mm": (0.3, lambda v: Pulse(axial_mm=v).on_grid((0.04, 0.1))),
    "spacing_mm": (0.04, lambda v: radio_frequency(IMAGE, Pulse(), spacing_mm=v)),
    "angles_deg": (10.0, lambda v: radio_frequency(IMAGE, Pulse(), spacing_mm=0.04, angles_deg=[v])),
    "dynamic_range_db": (60.0, lambda v: log_compress(IMAGE, v)),
    "strength of speckle": (0.5, lambda v: speckle_noise(IMAGE, v, generator=seeded())),
    "sigma of speckle": (1.0, lambda v: rayleigh_logpdf(1.0, v)),
    "alpha": (2.0, lambda v: k_logpdf(1.0, v, 1.0)),
}


@pytest.mark.parametrize("asked", CALLS)
def test_text_true_and_none_are_no_numbers(refused, asked):
    _, call = CALLS[asked]
    name = asked.split(" of ")[0].replace("[", r"\[").replace("]", r"\]")
    for wrong in ("0.5", True, None):
        with refused(f"^{name}: expected .* got ({wrong!r}|{type(wrong).__name__})"):
            call(wrong)


@pytest.mark.parametrize("asked", CALLS)
def test_numbers_of_numpy_are_numbers(asked):
    value, call = CALLS[asked]
    theirs = np.int32(value) if isinstance(value, int) else np.float64(value)
    assert torch.equal(call(theirs), call(value))
    if isinstance(value, float):
        assert call(np.float32(value)).shape == call(value).shape


def test_one_for_each_image_may_be_whole_numbers_but_no_truth_values(refused):
    assert per_image("i0", torch.tensor([10, 20]), 2).tolist() == [10, 20]
    assert all(per_image("i0", whole, 2).is_floating_point() for whole in (3, np.int16(3), torch.tensor([10, 20])))
    assert per_image("i0", 3, 2).tolist() == [3, 3] and per_image("i0", torch.tensor(3.0), 0).shape == (0,)
    for wrong in (torch.tensor([True, False]), torch.tensor([1j, 2j])):
        with refused("i0: expected a number or a float tensor, got torch"):
            per_image("i0", wrong, 2)
    with refused("i0: expected 0..5, got 6"):
        per_image("i0", torch.tensor([1.0, 6.0]), 2, least=0, most=5)
    with refused("i0: expected above 0, got 0"):
        per_image("i0", torch.tensor([1.0, 0.0]), 2, above=0)


def test_numbers_have_the_precision_of_the_tensors_but_never_less_than_single(refused):
    half, double = torch.ones(2).half(), torch.ones(2).double()
    assert {v.dtype for v in numbers(a=half, b=1e-9).values()} == {torch.float32} and numbers(a=half, b=1e-9)["b"] > 0
    assert {v.dtype for v in numbers(a=double, b=1, c=half).values()} == {torch.float64}
    assert common_dtype(half, 2.0) == torch.float16 and common_dtype(1.0) == torch.float32
    with refused("b: expected a finite number, got inf"):
        numbers(a=half, b=math.inf)


# Upper bounds

@pytest.mark.parametrize("name, call", [
    ("pixel_mm", lambda: low_dose(HU, 0.5, pixel_mm=0.0007, generator=seeded())),
    ("pixel_mm", lambda: low_dose(HU, 0.5, pixel_mm=torch.tensor([4.0, 4000.0]), generator=seeded())),
    ("i0", lambda: low_dose(HU, 0.5, pixel_mm=4.0, i0=1e30, generator=seeded())),
    ("i0", lambda: expected_counts(IMAGE, 1e30)), ("i0", lambda: log_transform(IMAGE, torch.tensor([1e5, 1e30]))),
    ("electronic_sd", lambda: photon_counts(IMAGE, 1e5, electronic_sd=1e30, generator=seeded())),
    ("strength", lambda: bias_field((2, 8, 8), 1e30, generator=seeded())),
    ("strength", lambda: bias_field((2, 8, 8), torch.tensor([0.1, 1e30]), generator=seeded())),
    ("proton_density", lambda: spin_echo(math.inf, t1_ms=900.0, t2_ms=80.0, tr_ms=500.0, te_ms=10.0)),
    ("t1_ms", lambda: spin_echo(1.0, t1_ms=torch.tensor(math.inf), t2_ms=80.0, tr_ms=500.0, te_ms=10.0)),
], ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_too_large_to_be_is_refused(refused, name, call):
    with refused(f"{name}: expected .* got"):
        call()


# A grid instead of a number

def test_a_grid_will_do_for_a_spacing(refused):
    square = Grid.from_spacing((16, 16), (4.0, 4.0))
    for asked in ("pixel_mm", "pixel_mm of a beam", "pixel_mm of a spectrum", "pixel_mm of a profile"):
        value, call = CALLS[asked]
        assert torch.equal(call(square), call(4.0))
        for wrong in (Grid.from_spacing((16, 16), (4.0, 5.0)), Grid.from_spacing((16, 17), (4.0, 4.0))):
            with refused("pixel_mm: expected .* Grid"):
                call(wrong)
    _, call = CALLS["spacing_mm"]
    fine = Grid.from_spacing((16, 16), (0.04, 0.1))
    assert torch.equal(call(fine), call((0.04, 0.1))) and torch.equal(call(fine), call(np.array([0.04, 0.1])))
    assert torch.equal(Pulse().on_grid(fine), Pulse().on_grid((0.04, 0.1)))
    with refused("spacing_mm: expected a Grid of shape"):
        call(Grid.from_spacing((16, 17), (0.04, 0.1)))
    flat = Grid.from_spacing((8, 8, 8), (4.0, 4.0, 5.0))
    with refused("pixel_mm: expected the same width along every axis"):
        noise_power_spectrum(torch.ones(1, 1, 8, 8, 8), flat)
