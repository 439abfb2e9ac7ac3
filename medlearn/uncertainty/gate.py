r"""Is a scan of the kind that was calibrated on? A test that is asked before the network is (chapter 15)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from medlearn.base.validation import check_float, check_shape


@dataclass(frozen=True, eq=False)
class ShiftGate:
    r"""The statistics of known scans, and how far from their middle further scans of the same kind were found.

    Shapes: `middle (d,)`, `root (d, d)`, which is the Cholesky factor of the covariance, and `distances (m,)` of m
    scans, sorted.
    Chapter 15.

    >>> draw = torch.Generator().manual_seed(0)
    >>> known, further = torch.randn(200, 1, generator=draw), torch.randn(99, 1, generator=draw)
    >>> gate = shift_gate(known, further)
    >>> gate.p_values(torch.tensor([[0.0], [9.0]])) <= 0.05
    tensor([False,  True])
    """

    middle: Float[Tensor, "d"]
    root: Float[Tensor, "d d"]
    distances: Float[Tensor, "m"]

    def distance(self, statistics: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        r"""How many standard deviations from the middle: $\sqrt{(x - \mu)^\top \Sigma^{-1} (x - \mu)}$.

        Shapes: `statistics (n, d)`, those of the known scans in the same order; one number a scan. It is Mahalanobis's
        distance. Errors: as `shift_gate`. Source: Lee et al. 2018, arXiv:1807.03888, of a network's features.
        """
        _check_statistics("statistics", statistics, d=len(self.middle))
        away = (statistics.double() - self.middle).T
        return torch.linalg.solve_triangular(self.root, away, upper=False).square().sum(0).sqrt()

    def p_values(self, statistics: Float[Tensor, "n d"]) -> Float[Tensor, "n"]:
        r"""$p$ $= (1 + \#\{i: D_i \ge D\}) / (m + 1)$, and $P(p \le \alpha) \le \alpha$ if nothing has changed.

        Shapes: as `distance`, with the distances D of the m further scans. Errors: as `shift_gate`.
        Source: Bates et al. 2023, doi:10.1214/22-AOS2244.
        """
        m = len(self.distances)
        nearer = torch.searchsorted(self.distances, self.distance(statistics) * (1 - 1e-12))    # equal to rounding
        return (1 + m - nearer).double() / (m + 1)


def shift_gate(known: Float[Tensor, "n d"], further: Float[Tensor, "m d"]) -> ShiftGate:
    r"""A gate with $p \le \alpha$ for at most a share $\alpha$ of the scans that are like those it was made from.

    Shapes: d statistics, such as the noise of the air or quantiles of the brightness, of n `known` scans, which give
    middle and covariance, and of m `further` ones, which give the distances. Units: any.
    The share is one on average over all calibrations, whatever the statistics' distribution, and only if `further`
    scans and new ones are exchangeable and neither is among the known. The smallest p is $1/(m + 1)$. Several gates are
    asked together at $\alpha$ divided by their number. Without a `further` scan p is 1.
    Errors: TypeError for anything but float tensors; ValueError for other shapes, NaN, and where `known` has no
    covariance that can be inverted: too few scans, or a statistic that is constant or the sum of others.
    Source: Bates et al. 2023, doi:10.1214/22-AOS2244; Lee et al. 2018, arXiv:1807.03888. Chapter 15.

    >>> gate = shift_gate(torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[2.5], [1.0], [4.0]]))
    >>> gate.p_values(torch.tensor([[2.0], [3.5]]))
    tensor([1.0000, 0.5000], dtype=torch.float64)
    """
    _check_statistics("known", known)
    _check_statistics("further", further, d=known.shape[1])
    n, d = known.shape
    if n <= d:
        raise ValueError(f"known: expected more scans than statistics, {d}, got {n}")
    known = known.detach().double()
    covariance = known.T.cov().reshape(d, d)
    spread = covariance.diagonal().sqrt()
    scaled = covariance / (spread[:, None] * spread).clamp_min(torch.finfo(torch.double).tiny)
    root, failed = torch.linalg.cholesky_ex(scaled)
    constant = known.amax(0) - known.amin(0) <= 1e-12 * known.abs().amax(0)             # no more than rounding
    if failed or constant.any() or root.diagonal().min() < 1e-6:
        raise ValueError("known: expected statistics that vary and are no sums of each other, "
                         "got a singular covariance")
    bare = ShiftGate(known.mean(0), spread[:, None] * root, known.new_empty(0))
    return ShiftGate(bare.middle, bare.root, bare.distance(further.detach()).sort().values)


def _check_statistics(name: str, value: Tensor, *, d: int | None = None) -> None:
    check_float(name, value, shape="(n, d)")
    if value.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one statistic, got shape {tuple(value.shape)}")
    if d is not None:
        check_shape(name, value, (len(value), d), because="one for each statistic of the known scans")
