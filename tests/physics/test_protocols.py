"""Scanners' settings as data, and what scans become under them."""
import math

import pytest
import torch
from scipy import stats

from medlearn.physics import (CT_PROTOCOLS, MR_PROTOCOLS, ULTRASOUND_PROTOCOLS, CTProtocol, MRProtocol,
                              UltrasoundProtocol, acquire, low_dose, relaxation_at, scan_ct, scan_ultrasound)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("protocols", [MR_PROTOCOLS, CT_PROTOCOLS, ULTRASOUND_PROTOCOLS])
def test_every_protocol_says_where_its_numbers_are_from(protocols):
    assert all(len(one.source) > 10 for one in protocols.values())
    assert len(set(protocols.values())) == len(protocols)


@pytest.mark.parametrize("kind, wrong", [(MRProtocol, dict(field_t=0.0)), (MRProtocol, dict(snr=0.0)),
                                         (MRProtocol, dict(bias=3.0)), (MRProtocol, dict(voxel_mm=0.0)),
                                         (MRProtocol, dict(flip_deg=200.0)), (CTProtocol, dict(dose_fraction=0.0)),
                                         (CTProtocol, dict(blur_mm=-1.0)), (UltrasoundProtocol, dict(gain_db=1e3)),
                                         (UltrasoundProtocol, dict(dynamic_range_db=0.0))])
def test_settings_that_cannot_be_are_refused(refused, kind, wrong):
    with refused(f"{next(iter(wrong))}: expected .* got"):
        kind(source="nowhere", **wrong)


def test_from_one_and_a_half_to_half_a_tesla_times_change_as_measured():
    t1, t2star = torch.tensor([800.0]), torch.tensor([45.0])
    high, low = (relaxation_at(t1, t2star, field_t=field) for field in (1.5, 0.55))
    assert (low[0] / high[0]).item() == pytest.approx(0.68, abs=0.005)
    assert (low[1] / high[1]).item() == pytest.approx(1.40, abs=0.01)
    assert torch.equal(relaxation_at(t1, t2star, field_t=3.0)[0], t1)


def test_times_that_cannot_be_are_refused(refused):
    with refused("t1_ms: expected a time above 0, got 0"):
        relaxation_at(torch.zeros(1), torch.ones(1), field_t=1.5)
    with refused("field_t: expected .* got 0"):
        relaxation_at(torch.ones(1), torch.ones(1), field_t=0)


def test_voxels_of_the_grid_leave_rices_distribution():
    stored = acquire(torch.full((1, 1, 128, 128), 2.0), 1.0, voxel_mm=1.0, spacing_mm=1.0, generator=seeded())
    assert stats.kstest(stored.flatten().numpy(), stats.rice(2.0).cdf).statistic < 1.6 / 128


@pytest.mark.parametrize("width", [1.5, 2.0, 4.0])
def test_the_noise_of_the_picture_is_sigma_whatever_the_voxels(width):
    air = acquire(torch.zeros(8, 1, 64, 64), 3.0, voxel_mm=width, spacing_mm=1.0, generator=seeded())
    assert (air.square().mean() / 2).sqrt().item() == pytest.approx(3.0, rel=0.05)


def test_larger_voxels_keep_slow_waves_and_lose_fast_ones():
    x = torch.arange(64) * (2 * math.pi / 64)
    slow, fast = (2 + torch.cos(n * x)[:, None].expand(64, 64)[None, None] for n in (3, 20))
    coarse = [acquire(image, 0.0, voxel_mm=4.0, spacing_mm=1.0, generator=seeded()) for image in (slow, fast)]
    assert torch.allclose(coarse[0], slow, atol=1e-4)
    assert torch.allclose(coarse[1], torch.full_like(fast, 2.0), atol=1e-4)


def test_each_image_has_its_own_voxels_and_its_own_noise():
    image, ones = torch.rand(2, 1, 16, 16, generator=seeded()), [seeded(1), seeded(2)]
    both = acquire(image, torch.tensor([0.0, 0.1]), voxel_mm=torch.tensor([1.0, 3.0]), spacing_mm=1.0, generator=ones)
    second = acquire(image[1:], 0.1, voxel_mm=3.0, spacing_mm=1.0, generator=[seeded(2)])
    assert torch.allclose(both[0], image[0], atol=1e-5) and torch.allclose(both[1:], second, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, 1, 16, 16), (1, 1, 8, 9, 10)])
def test_shapes_stay(shape):
    assert acquire(torch.ones(shape), 0.1, voxel_mm=2.0, spacing_mm=1.0, generator=seeded()).shape == shape


def test_what_is_no_width_is_refused(refused):
    with refused("voxel_mm: expected .* got 0"):
        acquire(torch.ones(1, 1, 8, 8), 0.1, voxel_mm=0.0, spacing_mm=1.0, generator=seeded())


def test_ct_is_dose_and_kernel():
    water = torch.zeros(1, 1, 32, 32)
    quarter = scan_ct(water, CT_PROTOCOLS["quarter dose"], pixel_mm=8.0, generator=seeded())
    assert torch.equal(quarter, low_dose(water, 0.25, pixel_mm=8.0, generator=seeded()))
    both = CTProtocol(dose_fraction=0.25, blur_mm=16.0, source="a test")
    assert 0 < scan_ct(water, both, pixel_mm=8.0, generator=seeded()).std() < quarter.std() / 2
    assert torch.equal(scan_ct(water, CT_PROTOCOLS["full dose"], pixel_mm=8.0, generator=seeded()), water)


def test_gain_saturates_and_lifts_what_was_below_the_range():
    amplitude = torch.tensor([[[[1.0, 0.5, 1e-2, 10 ** -3.5]]]])
    plain, bright, narrow = (scan_ultrasound(amplitude, ULTRASOUND_PROTOCOLS[name]).flatten().tolist()
                             for name in ("as it is", "high gain", "narrow range"))
    assert plain == pytest.approx([0, -6.02, -40, -60], abs=0.01)
    assert bright == pytest.approx([0, 0, -25, -55], abs=0.01)
    assert narrow == pytest.approx([0, -6.02, -40, -40], abs=0.01)


@pytest.mark.parametrize("gain, shown", [(100.0, 200.0), (15.0, 190.0), (0.0, 60.0), (-10.0, 60.0)])
def test_black_is_black(gain, shown):
    protocol = UltrasoundProtocol(gain_db=gain, dynamic_range_db=shown, source="x")
    assert scan_ultrasound(torch.tensor([[[[1.0, 0.0]]]]), protocol)[..., 1].item() == -shown


def test_a_kernel_stays_within_its_slice():
    image = torch.zeros(1, 1, 9, 9, 5)
    image[..., 2] = 100
    kernel = CTProtocol(blur_mm=8.0, source="x")
    torch.testing.assert_close(scan_ct(image, kernel, pixel_mm=8.0, generator=seeded()), image)


def test_the_wave_at_the_edge_is_kept():
    wave = torch.cos(2 * math.pi * 3 / 10 * torch.arange(10.0)).expand(1, 1, 10, 10).contiguous()
    kept = acquire(wave, 0.0, voxel_mm=1.5, spacing_mm=0.9, generator=seeded())
    torch.testing.assert_close(kept, wave.abs())


def test_whole_numbers_are_a_sigma(unchecked):
    air, chosen = torch.zeros(2, 1, 8, 8), dict(voxel_mm=2.0, spacing_mm=1.0)
    whole, real = (acquire(air, sigma, generator=seeded(), **chosen)
                   for sigma in (torch.tensor([1, 2]), torch.tensor([1.0, 2.0])))
    assert torch.equal(whole, real)


@pytest.mark.parametrize("flip", [0, 180])
def test_a_flip_without_signal_is_refused(refused, flip):
    with refused("flip_deg: expected .* got"):
        MRProtocol(flip_deg=flip, source="nowhere")


@pytest.mark.parametrize("wrong", [None, "quarter dose", 3, torch.tensor(True)])
def test_other_kinds_are_refused(refused, wrong):
    image, one = torch.zeros(1, 1, 8, 8), torch.tensor(1.0)
    for call in (lambda: relaxation_at(wrong, one, field_t=1.5), lambda: scan_ultrasound(image, wrong),
                 lambda: scan_ct(image, wrong, pixel_mm=8.0, generator=seeded())):
        with refused("expected .* got"):
            call()
    with refused("expected .* got"):
        acquire(wrong, 1.0, voxel_mm=2.0, spacing_mm=1.0, generator=seeded())
