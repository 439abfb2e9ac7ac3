r"""Named settings of scanners, as data with their sources, and what a scan looks like under them (chapter 18)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Generator, Tensor

from medlearn.base.precision import at_least_float32
from medlearn.base.validation import Number, check_float, check_holds, check_number, kind_of
from medlearn.physics._parameters import PerImage, check_image, over_image, per_image
from medlearn.physics.ct import low_dose
from medlearn.physics.despeckle import gaussian_filter
from medlearn.physics.mri import LARGEST_BIAS, complex_noise, from_kspace, magnitude, spoiled_gradient_echo, to_kspace

REFERENCE_T = 3.0           # the field at which the cohort's relaxation times were measured
T1_POWER = 0.384            # of the field: from 1.5 to 0.55 T T1 shortens by 32 % on average,
T2STAR_POWER = -0.335       # and T2* lengthens by 40 %
FIELDS = ("Campbell-Washburn et al. 2019, doi:10.1148/radiol.2019190452 (relaxation); SNR chosen as growing with the "
          "field")
FIELD_T: dict = dict(least=0.01, most=20, unit="T")     # of magnets that there are
CHOSEN = "chosen, to change one thing at a time"


@dataclass(frozen=True, kw_only=True)
class MRProtocol:
    r"""One way to take an MR scan: a spoiled gradient echo on a magnet, through a coil, in voxels of a size.

    Units: `field_t` in tesla, `tr_ms` and `te_ms` in ms, `flip_deg` in degrees; `snr` is white matter's signal over the
    noise of one channel; `bias` the standard deviation of the logarithm of the coil's sensitivity; `voxel_mm` the
    width of a voxel, or None for that of the grid. `source` says where the numbers are from.
    Errors: ValueError for a number outside its range, and as `spoiled_gradient_echo`. Chapter 18.

    >>> MR_PROTOCOLS["0.55 T"].field_t, MR_PROTOCOLS["0.55 T"].snr < MR_PROTOCOLS["3 T"].snr
    (0.55, True)
    """

    field_t: float = REFERENCE_T
    tr_ms: float = 20.0
    te_ms: float = 4.5
    flip_deg: float = 28.0
    snr: float = 50.0
    bias: float = 0.05
    voxel_mm: float | None = None
    source: str

    def __post_init__(self):
        check_number("field_t", self.field_t, **FIELD_T)
        spoiled_gradient_echo(1.0, t1_ms=1000.0, t2star_ms=50.0, tr_ms=self.tr_ms, te_ms=self.te_ms,
                              flip_deg=self.flip_deg)               # refuses times that cannot be
        check_number("flip_deg", self.flip_deg, above=0, below=180, unit="degrees")     # else no signal
        check_number("snr", self.snr, above=0)
        check_number("bias", self.bias, least=0, most=LARGEST_BIAS)
        if self.voxel_mm is not None:
            check_number("voxel_mm", self.voxel_mm, above=0, unit="mm")


@dataclass(frozen=True, kw_only=True)
class CTProtocol:
    r"""One way to take a CT scan: a `dose_fraction` of a full dose, and a kernel that blurs by `blur_mm`.

    Units: the dose as a share, 0..1; `blur_mm` is the standard deviation of a Gaussian, 0 for the kernel that the
    image has. `source` says where the numbers are from.
    Errors: ValueError for a number outside its range. Chapter 18.

    >>> CT_PROTOCOLS["quarter dose"].dose_fraction
    0.25
    """

    dose_fraction: float = 1.0
    blur_mm: float = 0.0
    source: str

    def __post_init__(self):
        check_number("dose_fraction", self.dose_fraction, above=0, most=1)
        check_number("blur_mm", self.blur_mm, least=0, unit="mm")


@dataclass(frozen=True, kw_only=True)
class UltrasoundProtocol:
    r"""One setting of an ultrasound machine's knobs: `gain_db` brightens, `dynamic_range_db` is how much is shown.

    Units: dB. A gain above 0 saturates what was brightest. `source` says where the numbers are from.
    Errors: ValueError for a number outside its range. Chapter 18.

    >>> ULTRASOUND_PROTOCOLS["high gain"].gain_db
    15.0
    """

    gain_db: float = 0.0
    dynamic_range_db: float = 60.0
    source: str

    def __post_init__(self):
        check_number("gain_db", self.gain_db, least=-100, most=100, unit="dB")
        check_number("dynamic_range_db", self.dynamic_range_db, least=1, most=200, unit="dB")


MR_PROTOCOLS = {
    "3 T": MRProtocol(source="the middle of the cohort's own scanner"),
    "1.5 T": MRProtocol(field_t=1.5, snr=25.0, source=FIELDS),
    "0.55 T": MRProtocol(field_t=0.55, snr=9.0, source=FIELDS),
    "fast": MRProtocol(snr=6.0, source=CHOSEN),
    "shaded": MRProtocol(bias=0.5, source=CHOSEN),
    "coarse": MRProtocol(voxel_mm=7.0, source=CHOSEN),
    "low flip": MRProtocol(flip_deg=10.0, source=CHOSEN),
}
CT_PROTOCOLS = {
    "full dose": CTProtocol(source="the image as it is"),
    "quarter dose": CTProtocol(dose_fraction=0.25, source="the share of McCollough et al. 2017, doi:10.1002/mp.12345"),
    "smooth kernel": CTProtocol(blur_mm=1.5, source=CHOSEN),
}
ULTRASOUND_PROTOCOLS = {
    "as it is": UltrasoundProtocol(source="the image as it is"),
    "high gain": UltrasoundProtocol(gain_db=15.0, source=CHOSEN),
    "narrow range": UltrasoundProtocol(dynamic_range_db=40.0, source=CHOSEN),
}


def relaxation_at(t1_ms: Float[Tensor, "*s"], t2star_ms: Float[Tensor, "*s"], *,
                  field_t: Number) -> tuple[Float[Tensor, "*s"], Float[Tensor, "*s"]]:
    r"""Relaxation times of solid tissue in another field: $T_1 (B / 3\,\mathrm{T})^{0.384}$, $T_2^* (B / 3\,\mathrm{T})^{-0.335}$.

    Shapes: as given. Units: `t1_ms` and `t2star_ms` in ms at 3 T, `field_t` in tesla. The powers are those of one
    measured step, from 1.5 T to 0.55 T, averaged over tissues; beyond it they are a guess. Water that is free, as
    CSF, hardly changes: leave it out. Empty tensors give empty tensors.
    Errors: TypeError for anything but float tensors; ValueError for times that are not positive and finite,
    a field outside 0.01..20 T.
    Source: Campbell-Washburn et al. 2019, doi:10.1148/radiol.2019190452. Chapter 18.

    >>> t1, t2star = relaxation_at(torch.tensor(1000.0), torch.tensor(50.0), field_t=1.5)
    >>> round(t1.item()), round(t2star.item())
    (766, 63)
    """
    field_t = check_number("field_t", field_t, **FIELD_T)
    for name, times in {"t1_ms": t1_ms, "t2star_ms": t2star_ms}.items():
        check_holds(name, check_float(name, times), times > 0, expected="a time above 0")
    ratio = field_t / REFERENCE_T
    return t1_ms * ratio ** T1_POWER, t2star_ms * ratio ** T2STAR_POWER


def acquire(signal: Float[Tensor, "b c *s"] | Complex[Tensor, "b c *s"], sigma: PerImage, *, voxel_mm: PerImage,
            spacing_mm: Number, generator: Generator | Sequence[Generator]) -> Float[Tensor, "b c *s"]:
    r"""What is stored of a signal when only coarse detail is measured: $|F^{-1} M (F S + n)|$.

    M keeps the waves that voxels of `voxel_mm` can hold, $|k_d| \le 1 / 2 v$; the picture is shown on the old grid, as
    scanners do, and an edge rings a little. The noise n is Gaussian in both channels.
    Shapes: `signal (B, C, *S)`, and so the answer; `sigma` and `voxel_mm` are one number or one for each image.
    Units: `sigma`, the noise of one channel of the picture, in the signal's; mm. With voxels no larger than
    `spacing_mm`, the grid's, it is distributed as `rician_noise`. No image gives none. `generator`: one for the batch,
    or one for each image, which then does not depend on its neighbours.
    Errors: TypeError and ValueError for a signal that is no finite image, a negative sigma, a width not above 0.
    Source: Brown et al. 2014, ch. 12 and 15, doi:10.1002/9781118633953. Chapter 18.

    >>> air = torch.zeros(1, 1, 64, 64)
    >>> coarse = acquire(air, 1.0, voxel_mm=4.0, spacing_mm=2.0, generator=torch.Generator().manual_seed(0))
    >>> coarse.shape, round(coarse.square().mean().item())          # both channels, each of variance 1
    (torch.Size([1, 1, 64, 64]), 2)
    """
    spacing_mm = check_number("spacing_mm", spacing_mm, above=0, unit="mm")
    kspace = to_kspace(signal)
    sigma = per_image("sigma", sigma, len(signal), least=0)
    voxel_mm = per_image("voxel_mm", voxel_mm, len(signal), above=0, unit="mm")
    measured = _band(kspace, voxel_mm / spacing_mm)
    share = measured.flatten(1).double().mean(1).to(sigma) if len(signal) else sigma
    noisy = complex_noise(kspace, sigma / share.sqrt(), generator=generator)
    return magnitude(from_kspace(noisy * measured)).to(signal.real.dtype if signal.is_complex() else signal.dtype)


def scan_ct(image_hu: Float[Tensor, "b c *s"], protocol: CTProtocol, *, pixel_mm: Number,
            generator: Generator) -> Float[Tensor, "b c *s"]:
    r"""A CT image under another `protocol`: its dose by `low_dose`, then its kernel as a Gaussian blur.

    Shapes: `image_hu (B, C, *S)`, and so the answer. Units: HU; `pixel_mm` is the width of a pixel. A kernel sharper
    than the image's cannot be had, and it blurs within a slice, not across. No image gives none. `generator`: one for
    the batch. Errors: as `low_dose`; TypeError for anything but a `CTProtocol`.
    Source: Yu et al. 2012, doi:10.1097/RCT.0b013e318258e891. Chapter 18.

    >>> water = torch.zeros(1, 1, 32, 32)
    >>> scanned = scan_ct(water, CT_PROTOCOLS["quarter dose"], pixel_mm=8.0, generator=torch.Generator().manual_seed(0))
    >>> scanned.std().item() > 0
    True
    """
    pixel_mm = check_number("pixel_mm", pixel_mm, above=0, unit="mm")
    _check_protocol(protocol, CTProtocol)
    noisy = low_dose(image_hu, protocol.dose_fraction, pixel_mm=pixel_mm, generator=generator)
    if noisy.ndim < 5 or noisy.numel() == 0:
        return gaussian_filter(noisy, protocol.blur_mm / pixel_mm)
    slices = noisy.movedim(-1, 2)
    blurred = gaussian_filter(slices.flatten(1, 2), protocol.blur_mm / pixel_mm)
    return blurred.reshape(slices.shape).movedim(2, -1)


def scan_ultrasound(amplitude: Float[Tensor, "b c *s"], protocol: UltrasoundProtocol) -> Float[Tensor, "b c *s"]:
    r"""What a screen shows of an `amplitude` under a `protocol`: $\min(20 \log_{10} (a / \max a) + g, 0)$ dB, cut off below.

    Shapes: `amplitude (B, C, *S)`, and so the answer. Units: dB, from minus the dynamic range to 0. A gain g above 0
    makes all within g of the maximum alike: that is lost. No image gives none.
    Errors: as `log_compress`; TypeError for anything but an `UltrasoundProtocol`. Chapter 18.

    >>> amplitude = torch.tensor([[[[10.0, 1.0, 0.001]]]])
    >>> scan_ultrasound(amplitude, ULTRASOUND_PROTOCOLS["high gain"]).round()
    tensor([[[[  0.,  -5., -60.]]]])
    """
    check_image("amplitude", amplitude, least=0)
    _check_protocol(protocol, UltrasoundProtocol)
    shown = protocol.dynamic_range_db
    if amplitude.numel() == 0:
        return amplitude
    a = at_least_float32(amplitude)
    peak = a.flatten(1).amax(1).clamp_min(torch.finfo(a.dtype).tiny)
    black = 10 ** (-(shown + max(protocol.gain_db, 0.0) + 1) / 20)         # a dB below what is shown
    share = (a / over_image(peak, a)).clamp_min(black)
    return (20 * share.log10() + protocol.gain_db).clamp(-shown, 0)


def _check_protocol(protocol: object, kind: type) -> None:
    if not isinstance(protocol, kind):
        raise TypeError(f"protocol: expected a {kind.__name__}, got {kind_of(protocol)}")


def _band(kspace: Tensor, width: Tensor) -> Tensor:
    """Which waves an image in voxels `width` times as wide still holds, `(B, 1, *S)`; at least the mean."""
    space = kspace.shape[2:]
    half = over_image(0.5 / width.clamp_min(1), kspace)
    kept = torch.ones(len(kspace), 1, *space, dtype=torch.bool, device=kspace.device)
    for axis, n in enumerate(space):
        wave = (torch.arange(n, device=kspace.device) - n // 2).abs() / n         # in cycles a voxel
        kept = kept & (wave.reshape([-1 if d == axis else 1 for d in range(len(space))]) <= half * (1 + 1e-6))
    return kept
