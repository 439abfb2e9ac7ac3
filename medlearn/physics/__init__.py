"""How scanners measure: CT (chapter 11), MRI (chapter 12) and ultrasound (chapter 13)."""
from medlearn.physics import ct, despeckle, mri, noise_power, projection, protocols, rician, stabilise, ultrasound
from medlearn.physics.ct import (MU_WATER_PER_MM, LogCounts, attenuation_to_hu, expected_counts, forget_scanner,
                                 hu_to_attenuation, log_transform, low_dose, photon_counts, poisson_nll,
                                 weighted_least_squares)
from medlearn.physics.despeckle import gaussian_filter, homomorphic_filter, lee_filter, median_filter
from medlearn.physics.mri import (bias_field, cartesian_mask, complex_noise, from_kspace, inversion_recovery, magnitude,
                                  rician_noise, spin_echo, spoiled_gradient_echo, sum_of_squares, to_kspace)
from medlearn.physics.noise_power import Profile, angular_profile, noise_power_spectrum, radial_profile
from medlearn.physics.projection import ParallelBeam, ramp_filter
from medlearn.physics.protocols import (CT_PROTOCOLS, MR_PROTOCOLS, ULTRASOUND_PROTOCOLS, CTProtocol, MRProtocol,
                                        UltrasoundProtocol, acquire, relaxation_at, scan_ct, scan_ultrasound)
from medlearn.physics.rician import (background_sigma, background_snr, koay_basser, koay_factor, rice_logpdf, rice_mean,
                                     rice_variance, rician_nll)
from medlearn.physics.stabilise import anscombe, inverse_anscombe, inverse_log_speckle, log_speckle
from medlearn.physics.ultrasound import (FWHM, RAYLEIGH_SNR, SPEED_MM_PER_US, Pulse, compound, envelope, k_logpdf,
                                         k_point_snr, log_compress, point_snr, radio_frequency, rayleigh_logpdf,
                                         speckle_noise)

__all__ = [
    "CT_PROTOCOLS", "FWHM", "MR_PROTOCOLS", "MU_WATER_PER_MM", "RAYLEIGH_SNR", "SPEED_MM_PER_US",
    "ULTRASOUND_PROTOCOLS", "CTProtocol", "LogCounts", "MRProtocol", "ParallelBeam", "Profile", "Pulse",
    "UltrasoundProtocol", "acquire", "angular_profile", "anscombe", "attenuation_to_hu", "background_sigma",
    "background_snr", "bias_field", "cartesian_mask", "complex_noise", "compound", "ct", "despeckle", "envelope",
    "expected_counts", "forget_scanner", "from_kspace", "gaussian_filter", "homomorphic_filter", "hu_to_attenuation",
    "inverse_anscombe", "inverse_log_speckle", "inversion_recovery", "k_logpdf", "k_point_snr", "koay_basser",
    "koay_factor", "lee_filter", "log_compress", "log_speckle", "log_transform", "low_dose", "magnitude",
    "median_filter", "mri", "noise_power", "noise_power_spectrum", "photon_counts", "point_snr", "poisson_nll",
    "projection", "protocols", "radial_profile", "radio_frequency", "ramp_filter", "rayleigh_logpdf",
    "relaxation_at", "rice_logpdf", "rice_mean", "rice_variance", "rician", "rician_nll", "rician_noise", "scan_ct",
    "scan_ultrasound", "speckle_noise", "spin_echo", "spoiled_gradient_echo", "stabilise", "sum_of_squares",
    "to_kspace", "ultrasound", "weighted_least_squares",
]
