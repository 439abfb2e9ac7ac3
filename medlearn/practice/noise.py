r"""A CT at a quarter of its dose and an MR scan at an SNR of 3: what a small network makes of them, by the reader's plan."""
from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from medlearn.base.validation import check_choice, check_finite, check_shape, check_tensor, check_whole, kind_of
from medlearn.data import BrainCohort, Protocol, Warp
from medlearn.nets.blocks import lay_channels_last
from medlearn.physics import ParallelBeam, attenuation_to_hu, hu_to_attenuation, log_transform, photon_counts, rician_noise
from medlearn.practice._loss import checked_loss
from medlearn.practice.torso import MM, torso

SCANNERS = ("CT", "MR")
FULL_DOSE = 15_000.0        # photons in a ray
FRACTION = 0.25             # of it, in the scans that are judged
SNR = 3.0                   # of white matter
PIXELS, VIEWS = 64, 180     # of a slice of torso, 6 mm a pixel
LEARNT, TEST = 6, 12        # patients, two scans each; and one each
STEPS, BATCH, RATE = 400, 4, 0.01
DARKEST = 1e-3              # the least first guess of MR, so that none is 0
STEP_HU = 100.0             # the unit in which the network sees a CT


class Plan:
    r"""What is yours: a first guess, what training sees, and the loss. As it stands it is the baseline.

    Shapes: scans `(B, 1, X, Y)`. Units: CT in HU, its pixels are 6 mm wide; MR the magnitude over the standard
    deviation of the noise, 0 or more. Chapter "Respect the noise".

    >>> plan, scan = Plan(), torch.ones(1, 1, 4, 4)
    >>> torch.equal(plan.denoise(scan), scan), plan.loss(scan, scan).item()
    (True, 0.0)
    """

    def denoise(self, scan: Float[Tensor, "b 1 x y"]) -> Float[Tensor, "b 1 x y"]:
        r"""The first guess that the network goes on from, of a `scan` in training and test alike."""
        return scan

    def augment(self, first: Float[Tensor, "b 1 x y"], second: Float[Tensor, "b 1 x y"], *,
                generator: Generator) -> tuple[Float[Tensor, "b 1 x y"], Float[Tensor, "b 1 x y"]]:
        r"""Of the `first` and the `second` scan of some patients, what the network is shown, and what its estimate is held against.

        What is random comes from the `generator`.
        """
        return first, second

    def loss(self, estimate: Float[Tensor, "b 1 x y"], measured: Float[Tensor, "b 1 x y"]) -> Float[Tensor, ""]:
        r"""One number, the smaller the better: how well the `estimate` explains what was `measured`."""
        return (estimate - measured).square().mean()


class Repeats(NamedTuple):
    r"""Patients: the `first` and the `second` scan of those that are learnt from, one `scan` of the others, its `truth`.

    Shapes, units: as of `Plan`. `truth` is what the scan would be without noise. Chapter "Respect the noise".

    >>> [tuple(part.shape) for part in repeats("MR")]
    [(6, 1, 64, 64), (6, 1, 64, 64), (12, 1, 64, 64), (12, 1, 64, 64)]
    """

    first: Float[Tensor, "b 1 x y"]
    second: Float[Tensor, "b 1 x y"]
    scan: Float[Tensor, "n 1 x y"]
    truth: Float[Tensor, "n 1 x y"]


class NoiseTrial(NamedTuple):
    r"""The `error` of the estimates, and of the `scan` itself: root mean square, CT in HU, MR in % of white matter.

    Chapter "Respect the noise".

    >>> print(NoiseTrial(10.0, 40.0))
    error 10.0, of the scan itself 40.0: left 0.25
    """

    error: float
    scan: float

    @property
    def left(self) -> float:
        r"""The share of the scan's error that is left, the smaller the better."""
        return self.error / self.scan

    def __str__(self) -> str:
        return f"error {self.error:.1f}, of the scan itself {self.scan:.1f}: left {self.left:.2f}"


def repeats(scanner: str, seed: int = 0) -> Repeats:
    r"""The patients of the clinic of this `seed`, in the "CT" or the "MR" `scanner`.

    CT: deformed slices of one person, each learnt from at full dose by two tubes; judged at a quarter of it. MR: made
    brains, each scanned twice at an SNR of 3, and judged at the same. Errors: ValueError for another scanner or a seed
    below 0. Chapter "Respect the noise".

    >>> data = repeats("CT")
    >>> (data.scan - data.truth).std().item() > 2 * (data.first - data.second).std().item() / 2 ** 0.5 > 0
    True
    """
    return _repeats(check_choice("scanner", scanner, SCANNERS), check_whole("seed", seed, most=2 ** 62))


def noise_trial(plan: type, scanner: str, *, seed: int = 0) -> NoiseTrial:
    r"""What a network makes of scans it has not seen, after 400 steps by this `plan`, at the clinic of this `seed`.

    `scanner`: "CT" or "MR". The network corrects the plan's first guess, of CT by a sum and of MR by a factor for each
    voxel. Errors: as `repeats`; TypeError or ValueError where the plan gives no scan, no pair of scans, or no number to
    learn from.
    Chapter "Respect the noise".

    >>> noise_trial(Plan, "MR").left < 1
    True
    """
    data = repeats(scanner, seed)
    one = plan() if callable(plan) else plan
    for name in ("denoise", "augment", "loss"):
        if not callable(getattr(one, name, None)):
            raise TypeError(f"plan: expected a class with denoise, augment and loss, got {kind_of(plan)}")
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        net = _network()
    trained(net, one, data, scanner=scanner, seed=seed)
    with torch.no_grad():
        estimate = _estimate(net, one, data.scan, scanner)
    return NoiseTrial(_error(estimate, data.truth, scanner), _error(data.scan, data.truth, scanner))


def trained(net: nn.Module, plan: Any, data: Repeats, *, scanner: str, seed: int) -> None:
    """The steps: some pairs, as the plan augments them, the estimate, the plan's loss."""
    optimizer, generator = torch.optim.AdamW(net.parameters(), lr=RATE), Generator().manual_seed(seed)
    for step in range(STEPS):
        some = torch.randint(LEARNT, (BATCH,), generator=generator)
        optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
        pair = plan.augment(data.first[some].clone(), data.second[some].clone(), generator=generator)
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"augment: expected two scans, got {kind_of(pair)}")
        shown, measured = (_scans(part, data.first[some], "augment", scanner) for part in pair)
        value = checked_loss(plan.loss(_estimate(net, plan, shown, scanner), measured), source="estimate")
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


@lru_cache(maxsize=4)
def _repeats(scanner: str, seed: int) -> Repeats:
    generator = Generator().manual_seed(seed)
    make = _torsos if scanner == "CT" else _brains
    return make(seed, generator)


def _torsos(seed: int, generator: Generator) -> Repeats:
    hu = torso()[0]
    at = torch.randint(len(hu), (LEARNT + TEST,), generator=generator)
    whole = torch.full((len(at), 1, 2 * PIXELS, 2 * PIXELS), -1000.0)
    left, front = ((2 * PIXELS - n) // 2 for n in hu.shape[1:])
    whole[:, 0, left:left + hu.shape[1], front:front + hu.shape[2]] = hu[at]
    warp = Warp(rotate_deg=8.0, scale=(0.9, 1.1), elastic_mm=6.0, spacing_mm=(MM, MM))
    image, _ = warp(whole, whole[:, 0].long(), generator=generator)
    beam = ParallelBeam(PIXELS, torch.arange(VIEWS) * 180 / VIEWS, pixel_mm=2 * MM)
    learnt, judged = beam.project(hu_to_attenuation(F.avg_pool2d(image, 2))).split([LEARNT, TEST])
    reconstructed = lambda rays: attenuation_to_hu(beam.fbp(rays, "hann"))
    scanned = lambda rays, dose: reconstructed(log_transform(photon_counts(rays, dose, generator=generator),
                                                             dose).line_integrals)
    first, second = scanned(learnt, FULL_DOSE), scanned(learnt, FULL_DOSE)
    return Repeats(first, second, scanned(judged, FRACTION * FULL_DOSE), reconstructed(judged))


def _brains(seed: int, generator: Generator) -> Repeats:
    clean = BrainCohort(seed=2000 + seed, size=PIXELS, protocol=Protocol(noise=(0.0, 0.0)))
    signal = SNR * clean.batch(range(LEARNT + TEST)).image         # white matter is about 1, the noise's deviation is 1
    learnt, judged = signal.split([LEARNT, TEST])
    first, second = (rician_noise(learnt, 1.0, generator=generator) for _ in range(2))
    return Repeats(first, second, rician_noise(judged, 1.0, generator=generator), judged)


def _network() -> nn.Module:
    """Two maps to one, which is 0 before the first step."""
    last = nn.Conv2d(12, 1, 3, padding=1)
    for part in last.parameters():
        nn.init.zeros_(part)
    net = nn.Sequential(nn.Conv2d(2, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), last)
    lay_channels_last(net, dim=2)
    return net


def _estimate(net: nn.Module, plan: Any, scan: Tensor, scanner: str) -> Tensor:
    guess = _scans(plan.denoise(scan.clone()), scan, "denoise", scanner)
    if scanner == "CT":
        return guess + STEP_HU * net(torch.cat([scan, guess], dim=1) / STEP_HU)
    return guess.clamp_min(DARKEST) * net(torch.cat([scan, guess], dim=1).log1p()).clamp(-10, 10).exp()


def _error(estimate: Tensor, truth: Tensor, scanner: str) -> float:
    unit = 1.0 if scanner == "CT" else 100 / SNR
    return unit * (estimate - truth).square().mean().sqrt().item()


def _scans(value: Tensor, like: Tensor, name: str, scanner: str) -> Tensor:
    check_tensor(name, value, dtype="float")
    check_shape(name, value, tuple(like.shape), because="as of the scans")
    if value.dtype != like.dtype:
        raise TypeError(f"{name}: expected {like.dtype}, got {value.dtype}")
    return check_finite(name, value, least=0 if scanner == "MR" else -math.inf)
