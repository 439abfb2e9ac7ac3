import torch

from helpers.api.places import GENERATOR, OnCpu, call, normal_numbers, random_numbers, slope
from medlearn.physics import ct, despeckle, mri, noise_power, projection, protocols, rician, stabilise, ultrasound

HU = 300 * normal_numbers(2, 1, 24, 24)
BEAM = projection.ParallelBeam(24, range(0, 360, 20), pixel_mm=8.0)
SINOGRAM = random_numbers(2, 1, 18, BEAM.detectors)
COUNTS = torch.poisson(50 * random_numbers(2, 5, 5), torch.Generator().manual_seed(0))
NOISE = normal_numbers(3, 1, 16, 16)
AMPLITUDE, SOLID = 0.1 + random_numbers(2, 1, 12, 11), 0.1 + random_numbers(1, 1, 6, 7, 5)
COILS = torch.complex(normal_numbers(2, 4, 8, 6), normal_numbers(2, 4, 8, 6, seed=1))
NU, M = 0.1 + random_numbers(2, 1, 8, 8), 0.2 + random_numbers(2, 1, 8, 8, seed=1)
TISSUE = (torch.arange(8) < 4)[:, None].expand(2, 8, 8)
ONE_EACH = [GENERATOR, GENERATOR]
PULSE, ECHO = ultrasound.Pulse(), normal_numbers(1, 1, 64, 32)


def per_image(function, *inputs, name, values, **named):
    """A number for all, and one for each image: there, and on the CPU."""
    values = torch.tensor(values)
    given = {"one number": values[0].item(), "each, there": values, "each, on the CPU": OnCpu(values)}
    return {what: call(function, *inputs, **{name: value}, **named) for what, value in given.items()}


def mask(fraction, generator):
    """A mask is where its generators are."""
    drawn = mri.cartesian_mask((2, 16, 16), fraction, generator=generator)
    assert drawn.device.type == generator[0].device.type
    return drawn.to(fraction.device)


def beam_there(angles_deg, image):
    return projection.ParallelBeam(24, angles_deg, pixel_mm=8.0).project(image)


def k_logpdf(amplitude):
    return ultrasound.k_logpdf(amplitude, 2.0, 0.5)


def whole_chain(place):
    rf = ultrasound.radio_frequency(place(ECHO), PULSE, spacing_mm=0.04, angles_deg=(0.0, 10.0))
    amplitude = ultrasound.envelope(rf)
    return [rf, amplitude, ultrasound.log_compress(amplitude), ultrasound.compound(amplitude),
            ultrasound.point_snr(amplitude)]


def spectrum_profiles(place):
    spectrum = noise_power.noise_power_spectrum(place(NOISE), 1.0)
    return spectrum, noise_power.radial_profile(spectrum, 1.0), noise_power.angular_profile(spectrum)


CALLS = {f"physics.{name}": calls for name, calls in {
    "ct.hu_to_attenuation": call(ct.hu_to_attenuation, HU),
    "ct.attenuation_to_hu": call(ct.attenuation_to_hu, 0.02 * random_numbers(2, 3)),
    "ct.expected_counts": per_image(ct.expected_counts, SINOGRAM, name="i0", values=[1e4, 1e5]),
    "ct.photon_counts": per_image(ct.photon_counts, SINOGRAM, name="i0", values=[1e4, 1e5], electronic_sd=3.0,
                                  generator=GENERATOR) | {
        "a generator each": call(ct.photon_counts, SINOGRAM, 1e4, electronic_sd=2.0, generator=ONE_EACH)},
    "ct.log_transform": per_image(ct.log_transform, COUNTS, name="i0", values=[100.0, 90.0],
                                  electronic_sd=OnCpu(torch.tensor([1.0, 2.0]))),
    "ct.poisson_nll": slope(ct.poisson_nll, 50 * random_numbers(2, 5, 5) + 1, COUNTS),
    "ct.weighted_least_squares": slope(ct.weighted_least_squares, *(random_numbers(2, 5, 5, seed=s) for s in (0, 1)),
                                       variance=random_numbers(2, 5, 5, seed=2) + 0.1),
    "ct.low_dose": per_image(ct.low_dose, HU, name="dose_fraction", values=[0.3, 0.5], pixel_mm=8.0,
                             generator=GENERATOR) | {
        "i0 there": call(ct.low_dose, HU, 0.3, pixel_mm=8.0, i0=torch.tensor([1e5, 1e6]), generator=ONE_EACH)},
    "projection.ParallelBeam": {
        "project": slope(BEAM.project, random_numbers(2, 1, 24, 24)), "adjoint": slope(BEAM.adjoint, SINOGRAM),
        "angles there": call(beam_there, torch.arange(0.0, 180, 10), random_numbers(1, 1, 24, 24)),
        **{f"fbp, {window}": call(BEAM.fbp, SINOGRAM, window) for window in projection.WINDOWS}},
    "projection.ramp_filter": call(projection.ramp_filter, SINOGRAM),
    "noise_power.noise_power_spectrum": spectrum_profiles,
    "noise_power.radial_profile": spectrum_profiles,
    "noise_power.angular_profile": spectrum_profiles,
    "despeckle.gaussian_filter": {"2D": call(despeckle.gaussian_filter, AMPLITUDE, 1.5),
                                  "3D": call(despeckle.gaussian_filter, SOLID, 1.0)},
    "despeckle.homomorphic_filter": call(despeckle.homomorphic_filter, AMPLITUDE, 1.0),
    "despeckle.lee_filter": {"2D": call(despeckle.lee_filter, AMPLITUDE), "3D": call(despeckle.lee_filter, SOLID, 3)},
    "despeckle.median_filter": {"2D": call(despeckle.median_filter, AMPLITUDE),
                                "3D": call(despeckle.median_filter, SOLID, 3)},
    "despeckle.blur": call(despeckle.blur, AMPLITUDE, despeckle.gaussian_kernel(1.0)),
    "despeckle.check_amplitude": call(despeckle.check_amplitude, AMPLITUDE),
    "mri.spoiled_gradient_echo": call(mri.spoiled_gradient_echo, torch.tensor([1.0, 0.8]),
                                      t1_ms=OnCpu(torch.tensor(1000.0)), t2star_ms=50.0, tr_ms=20.0, te_ms=4.0,
                                      flip_deg=25.0),
    "mri.inversion_recovery": call(mri.inversion_recovery, 1.0, t1_ms=torch.tensor([900.0, 4300.0]), t2_ms=80.0,
                                   tr_ms=9000.0, te_ms=100.0, ti_ms=2400.0),
    "mri.spin_echo": call(mri.spin_echo, 1.0, t1_ms=torch.tensor([900.0, 1300.0]), t2_ms=80.0, tr_ms=500.0, te_ms=10.0),
    "mri.bias_field": {
        "each, there": lambda place: mri.bias_field((2, 8, 8, 8), place(torch.tensor([0.1, 0.2])),
                                                    generator=place(ONE_EACH)),
        "each, on the CPU": lambda place: mri.bias_field((2, 16, 16), torch.tensor([0.1, 0.2]),
                                                         generator=place(GENERATOR), device=place.device)},
    "mri.to_kspace": call(mri.to_kspace, AMPLITUDE),
    "mri.from_kspace": call(mri.from_kspace, COILS),
    "mri.cartesian_mask": {"each, there": call(mask, torch.tensor([0.4, 0.5]), generator=ONE_EACH)},
    "mri.complex_noise": per_image(mri.complex_noise, COILS, name="sigma", values=[0.1, 0.2], generator=GENERATOR),
    "mri.rician_noise": per_image(mri.rician_noise, AMPLITUDE, name="sigma", values=[0.1, 0.2], generator=ONE_EACH),
    "protocols.relaxation_at": call(protocols.relaxation_at, 900 + AMPLITUDE, 40 + AMPLITUDE, field_t=1.5),
    "protocols.acquire": per_image(protocols.acquire, AMPLITUDE, name="voxel_mm", values=[2.0, 3.0], sigma=0.1,
                                   spacing_mm=1.0, generator=ONE_EACH),
    "protocols.scan_ct": call(protocols.scan_ct, HU, protocols.CT_PROTOCOLS["quarter dose"], pixel_mm=8.0,
                              generator=GENERATOR),
    "protocols.scan_ultrasound": call(protocols.scan_ultrasound, AMPLITUDE,
                                      protocols.ULTRASOUND_PROTOCOLS["high gain"]),
    "mri.magnitude": call(mri.magnitude, COILS),
    "mri.sum_of_squares": call(mri.sum_of_squares, COILS),
    "rician.rice_logpdf": {"": call(rician.rice_logpdf, M, NU, 0.3),
                           "sigma on the CPU": call(rician.rice_logpdf, 0.5, NU, OnCpu(torch.tensor(0.3)))},
    "rician.rician_nll": {"": slope(rician.rician_nll, NU, M, sigma=0.3),
                          **per_image(rician.rician_nll, NU, M, name="sigma", values=[0.3, 0.2])},
    "rician.rice_mean": call(rician.rice_mean, NU, 0.3),
    "rician.rice_variance": call(rician.rice_variance, NU, 0.3),
    "rician.koay_factor": call(rician.koay_factor, 5 * NU),
    "rician.koay_basser": call(rician.koay_basser, M + 1, 0.3 * NU),
    "rician.background_sigma": call(rician.background_sigma, M, ~TISSUE, coils=2),
    "rician.background_snr": call(rician.background_snr, M, tissue=TISSUE, air=~TISSUE),
    "stabilise.anscombe": slope(stabilise.anscombe, COUNTS + 1),
    "stabilise.inverse_anscombe": call(stabilise.inverse_anscombe, COUNTS + 1),
    "stabilise.log_speckle": call(stabilise.log_speckle, AMPLITUDE),
    "stabilise.inverse_log_speckle": call(stabilise.inverse_log_speckle, AMPLITUDE),
    **{f"ultrasound.{name}": {"": whole_chain} for name in ("radio_frequency", "envelope", "log_compress", "compound",
                                                            "point_snr")},
    "ultrasound.speckle_noise": per_image(ultrasound.speckle_noise, AMPLITUDE, name="strength", values=[0.5, 1.0],
                                          width_voxels=1.0, generator=GENERATOR),
    "ultrasound.rayleigh_logpdf": call(ultrasound.rayleigh_logpdf, AMPLITUDE, 0.4),
    "ultrasound.k_logpdf": {"": slope(k_logpdf, AMPLITUDE),
                            "shape there": call(ultrasound.k_logpdf, 0.5, torch.tensor([1.0, 2.0]), 0.5)},
    "ultrasound.k_point_snr": call(ultrasound.k_point_snr, torch.tensor([1.0, 2.0])),
}.items()}
