r"""Watching a model at work: a chart of sums that rings when scores have drifted, with a known rate of false alarms."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from medlearn.base.random import check_generator
from medlearn.base.validation import Number, check_float, check_number, check_whole


@dataclass(frozen=True, eq=False)
class Drift:
    r"""A stream on its chart: the sums upwards, `high (n,)`, and downwards, `low (n,)`, and the number of the patient,
    from 0, with whom one of them first passed the limit: `alarm`, or None. Chapter 19.

    >>> Drift(torch.tensor([0.0, 3.0]), torch.tensor([0.0, 0.0]), alarm=1).alarm
    1
    """

    high: Float[Tensor, "n"]
    low: Float[Tensor, "n"]
    alarm: int | None


@dataclass(frozen=True, kw_only=True)
class DriftChart:
    r"""A CUSUM chart: $S_t = \max(0, S_{t-1} + z_t - k)$ with $z_t = (x_t - \mu)/\sigma$, and the same of $-z_t$.

    It rings when a sum passes `limit`. `mean` and `sd` are those of the scores while all was well; `allowance` is k, in
    standard deviations: half of the shift that should be found soonest. Units: the scores' for `mean` and `sd`.
    Errors: ValueError for an `sd` that is not above 0, a negative allowance or limit.
    Source: Page 1954, doi:10.1093/biomet/41.1-2.100. Chapter 19.

    >>> chart = DriftChart(mean=0.8, sd=0.1, allowance=0.5, limit=4.0)
    >>> chart.follow(torch.tensor([0.8, 0.9, 0.6, 0.6, 0.6])).alarm
    4
    """

    mean: float
    sd: float
    allowance: float
    limit: float

    def __post_init__(self):
        check_number("mean", self.mean)
        check_number("sd", self.sd, above=0)
        check_number("allowance", self.allowance, least=0)
        check_number("limit", self.limit, least=0)

    def follow(self, scores: Float[Tensor, "n"]) -> Drift:
        r"""The chart of these `scores (n,)`, in the order of time. None gives an empty chart. Chapter 19."""
        check_float("scores", scores, shape="(n,)")
        z = (scores.detach().cpu().double() - self.mean) / self.sd          # Apple's GPU has no double precision
        high, low = (_sums(sign * z[None] - self.allowance)[0] for sign in (1, -1))
        passed = (torch.maximum(high, low) > self.limit).nonzero()
        return Drift(high.to(scores), low.to(scores), int(passed[0]) if len(passed) else None)


def drift_chart(reference: Float[Tensor, "n"], *, patients: int, rate: Number = 0.05, allowance: Number = 0.5,
                generator: Generator, draws: int = 2000) -> DriftChart:
    r"""The chart that rings at a share `rate` of streams of so many `patients` in which nothing has changed.

    The limit is found by drawing anew from the `reference`: each time both a reference, for mean and sd, and a stream.
    So it knows that mean and sd are estimates, and needs no bell curve. The share is as good as the reference: from
    sixty lopsided scores it is nearly twice what was asked, and where scores hang together in time it is more.
    Shapes: `reference (n,)`. Units: the scores'; `allowance` in standard deviations. `draws` by the `generator`.
    Errors: TypeError for no float tensor or generator; ValueError for fewer than ten scores or scores that are all
    alike, no patient or draw, a rate not between 0 and 1, a negative allowance.
    Source: Page 1954, doi:10.1093/biomet/41.1-2.100 (the chart); Efron 1979, doi:10.1214/aos/1176344552 (the drawing).
    Chapter 19.

    >>> well = torch.randn(200, generator=torch.Generator().manual_seed(0))
    >>> chart = drift_chart(well, patients=100, generator=torch.Generator().manual_seed(1))
    >>> 3 < chart.limit < 9, chart.follow(well[:50] + 2.0).alarm < 10
    (True, True)
    """
    check_float("reference", reference, shape="(n,)")
    patients, draws = check_whole("patients", patients, least=1), check_whole("draws", draws, least=1)
    rate = check_number("rate", rate, above=0, below=1)
    allowance = check_number("allowance", allowance, least=0)
    check_generator(generator)
    values = reference.detach().cpu().double()
    if len(values) < 10 or values.max() - values.min() <= 1e-12 * values.abs().max():       # no more than rounding
        raise ValueError(f"reference: expected ten scores or more that differ, got {len(values)}"
                         f"{' that are all alike' if len(values) >= 10 else ''}")
    which = torch.randint(len(values), (draws, len(values) + patients), generator=generator, device=generator.device)
    drawn = values[which.cpu()]
    again, stream = drawn.split([len(values), patients], dim=1)
    z = (stream - again.mean(1, keepdim=True)) / again.std(1, keepdim=True).clamp_min(1e-12 * values.std())
    top = torch.maximum(*(_sums(sign * z - allowance).amax(1) for sign in (1, -1)))
    return DriftChart(mean=values.mean().item(), sd=values.std().item(), allowance=allowance,
                      limit=top.quantile(1 - rate).item())


def _sums(steps: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """The running sums that never fall below zero: each is how far the walk stands above its lowest point so far."""
    walk = steps.cumsum(1)
    return walk - walk.cummin(1).values.clamp_max(0) if steps.shape[1] else walk
