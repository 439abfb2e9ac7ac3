"""Answers to the practice chapter "Respect the noise"."""
import torch
from torch.nn import functional as F

from helpers.answers import right, wrong
from medlearn.checks import registered
from medlearn.checks.noise import CTPlan
from medlearn.physics import low_dose, rice_mean, rician_nll
from medlearn.practice import Plan

CT, MR = "noise.ct", "noise.mr"
FIRST, CLINIC = "the first guess of two scans", "a clinic you have not seen"


def quarter(scan, generator):
    return low_dose(scan, 0.25, pixel_mm=6.0, i0=15_000.0, generator=generator)


def rice(estimate, measured):
    return rician_nll(estimate, measured, sigma=1.0).mean()


@right(CT)
class ThinnedAlone(Plan):
    def augment(self, first, second, generator):
        return quarter(first, generator), second


@right(CT)
class ThinnedAndTurned(Plan):
    def augment(self, first, second, generator):
        shown = quarter(first, generator)
        return (shown.flip(2), second.flip(2)) if torch.rand((), generator=generator) < 0.5 else (shown, second)


@right(CT)
class SumOfSquaresAndNotThePackagesPlan:
    """The three methods, of a class of one's own."""

    def denoise(self, scan):
        return scan

    def augment(self, first, second, generator):
        return quarter(second, generator), first

    def loss(self, estimate, measured):
        return ((estimate - measured) ** 2).sum() / 1000


@right(MR)
class LikelihoodAlone(Plan):
    loss = staticmethod(rice)


@right(MR)
class BothOrders(Plan):
    loss = staticmethod(rice)

    def augment(self, first, second, generator):
        return (second, first) if torch.rand((), generator=generator) < 0.5 else (first, second)


@right(MR)
class SquaredErrorOfTheMeanMagnitude(Plan):
    """Rice's law by its mean instead of its likelihood."""

    def loss(self, estimate, measured):
        return (rice_mean(estimate, 1.0) - measured).square().mean()


def mistakes(id):
    """What is wrong for either scanner, before anything is learnt or in the first step."""
    class WithoutABatch(Plan):
        def denoise(self, scan):
            return scan[0]

    class WrongAxis(Plan):
        def denoise(self, scan):
            return scan.transpose(2, 3)

    class Float64(Plan):
        def denoise(self, scan):
            return scan.double()

    class InPlace(Plan):
        def denoise(self, scan):
            return scan.mul_(2)

    class AcrossTheBatch(Plan):
        def denoise(self, scan):
            return scan.mean(0, keepdim=True).expand_as(scan)

    class ForVolumesOnly(Plan):
        def denoise(self, scan):
            return F.avg_pool3d(scan, (1, 1, 3), 1, (0, 0, 1))[..., 0]

    class ForTheVisibleSizeOnly(Plan):
        def denoise(self, scan):
            return scan.view(-1, 1, 64, 64)

    class ReadsTheReference(Plan):
        def denoise(self, scan):
            return registered()[id].reference().denoise(scan)

    class NoNumberButAMap(Plan):
        def loss(self, estimate, measured):
            return (estimate - measured).square()

    class CutOff(Plan):
        def loss(self, estimate, measured):
            return (estimate.detach() - measured).square().mean()

    class NotFinite(Plan):
        def loss(self, estimate, measured):
            return (estimate - measured).square().mean() / 0

    class OneScanForTwo(Plan):
        def augment(self, first, second, generator):
            return first

    class AgainstItself(Plan):
        def augment(self, first, second, generator):
            return first, first

    first = (WithoutABatch, WrongAxis, Float64, InPlace, AcrossTheBatch, ForVolumesOnly, ForTheVisibleSizeOnly,
             ReadsTheReference)
    for plan in first:
        wrong(id, at=FIRST)(plan)
    for plan in (NoNumberButAMap, CutOff, NotFinite, OneScanForTwo, AgainstItself):
        wrong(id, at=CLINIC)(plan)


mistakes(CT)
mistakes(MR)


@wrong(CT, at=FIRST)
class TakesTheReferencesMethod(Plan):
    augment = CTPlan.augment


@wrong(CT, at=CLINIC)
class TheBaseline(Plan):
    pass


@wrong(CT, at=CLINIC)
class HeldAgainstTheThinnedScan(Plan):
    def augment(self, first, second, generator):
        shown = quarter(first, generator)
        return shown, shown


@wrong(MR, at=CLINIC)
class SquaredError(Plan):
    pass


@wrong(MR, at=CLINIC)
class NoiseUponNoise(Plan):
    """An augmentation that has no reason here: the scans of the clinic are no noisier."""

    def augment(self, first, second, generator):
        return (first + torch.randn(first.shape, generator=generator)).abs(), second
