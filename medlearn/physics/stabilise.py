r"""Transforms that make noise the same everywhere: Anscombe's for counts, a logarithm for speckle (chapters 11, 13)."""
from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.precision import at_least_float32
from medlearn.base.validation import check_float, check_holds, check_tensor

EULER = 0.5772156649015329
TABLE_UP_TO = 64.0              # counts; beyond, the asymptotic inverse is right to 5e-6
TABLE_ROWS = 4096


def anscombe(counts: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""$z = 2 \sqrt{N + 3/8}$: of Poisson counts, nearly Gaussian with a standard deviation of 1 whatever their mean.

    Shapes: `counts` of any. Units: photons in, none out. To 1 % from a mean of 4 counts on, not below.
    Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for counts below 0, NaN.
    Source: Anscombe 1948, doi:10.1093/biomet/35.3-4.246. Chapter 11.

    >>> anscombe(torch.tensor([0.0, 100.0]))
    tensor([ 1.2247, 20.0375])
    """
    check_float("counts", counts, least=0)
    return 2 * torch.sqrt(at_least_float32(counts) + 3 / 8)


def inverse_anscombe(z: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""Unbiased: the mean count $\lambda$ for which $z = \sum_n 2 \sqrt{n + 3/8} \; \lambda^n e^{-\lambda} / n!$.

    Shapes: `z` of any, the mean of what `anscombe` gives. Units: photons out. The algebraic inverse $(z/2)^2 - 3/8$
    would be a quarter of a count too low, since the mean of a root is not the root of the mean. Right to 1e-5 counts,
    from a table of that sum and, above 64 counts, $(z/2)^2 - 1/8$. At $z \le 2\sqrt{3/8}$, the mean of no photons at
    all, it is 0. Differentiable. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for NaN, or z below 0, which no count has.
    Source: Makitalo and Foi 2011, eq. 4, doi:10.1109/TIP.2010.2056693. Chapter 11.

    >>> inverse_anscombe(anscombe(torch.tensor([100.0])))
    tensor([100.2500])
    """
    check_float("z", z, least=0)
    z = at_least_float32(z)
    at, correction = (torch.from_numpy(column).to(z) for column in _corrections())
    row = torch.searchsorted(at, z.detach().contiguous()).clamp(1, TABLE_ROWS - 1)
    share = ((z - at[row - 1]) / (at[row] - at[row - 1])).clamp(0, 1)
    mean = (z / 2).square() - 1 / 8 + torch.lerp(correction[row - 1], correction[row], share)
    return torch.where(z <= at[0], 0, mean)


def log_speckle(envelope: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""$z = \ln r$: of full speckle, with a standard deviation of $\pi / \sqrt{24} = 0.641$ whatever its mean.

    Shapes: `envelope` of any. Units: its amplitude in, none out. Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for an envelope that is not positive, NaN.
    Source: Wagner et al. 1983, doi:10.1109/T-SU.1983.31404; Goodman 2007, Speckle Phenomena in Optics, ch. 3.
    Chapter 13.

    >>> log_speckle(torch.tensor([1.0, 10.0]))
    tensor([0.0000, 2.3026])
    """
    check_tensor("envelope", envelope, dtype="float")
    check_holds("envelope", envelope, (envelope > 0) & envelope.isfinite(), expected="a finite amplitude above 0")
    return at_least_float32(envelope).log()


def inverse_log_speckle(z: Float[Tensor, "*s"]) -> Float[Tensor, "*s"]:
    r"""The mean amplitude $\bar r = e^{z + (\gamma - \ln(4 / \pi)) / 2}$ with $z = E[\ln r]$, for Rayleigh's law.

    Shapes: `z` of any, the mean of what `log_speckle` gives. Units: amplitude out. $e^z$ alone would be 15 % too low.
    Empty gives empty.
    Errors: TypeError for anything but a float tensor; ValueError for NaN.
    Source: as `log_speckle`; $\gamma$ is Euler's constant. Chapter 13.

    >>> inverse_log_speckle(torch.zeros(1))
    tensor([1.1827])
    """
    check_float("z", z)
    return torch.exp(at_least_float32(z) + (EULER - math.log(4 / math.pi)) / 2)


@lru_cache(maxsize=1)
def _corrections() -> tuple[np.ndarray, np.ndarray]:
    """Means of z over Poisson counts, and what the asymptotic inverse lacks there."""
    from scipy.stats import poisson

    mean = np.linspace(0, math.sqrt(TABLE_UP_TO), TABLE_ROWS) ** 2
    z = np.zeros_like(mean)
    for n in range(int(TABLE_UP_TO + 12 * math.sqrt(TABLE_UP_TO))):
        z += 2 * math.sqrt(n + 3 / 8) * poisson.pmf(n, mean)
    correction = mean - ((z / 2) ** 2 - 1 / 8)
    correction[-1] = 0                                          # so that it goes on without a step
    return z, correction
