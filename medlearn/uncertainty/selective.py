r"""Which cases to answer and which to refer to a person, and what that is worth (chapter 15)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medlearn.base.validation import check_number, check_same
from medlearn.uncertainty._inputs import check_cases, least_count


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    r"""The risk-coverage curve: the mean error of the i least uncertain of n cases, against i / n.

    Shapes: `(n,)`, float64. `coverage` is the share of cases answered, 1/n..1; `risk` their mean error; `threshold` the
    largest uncertainty among them; `best_risk` the risk of an oracle that refers the largest errors first.
    Chapter 15.

    >>> curve = risk_coverage(torch.tensor([0.9, 0.1]), torch.tensor([0.5, 0.0]))
    >>> curve.coverage.tolist(), curve.risk.tolist()
    ([0.5, 1.0], [0.0, 0.25])
    """

    coverage: Float[Tensor, "n"]
    risk: Float[Tensor, "n"]
    threshold: Float[Tensor, "n"]
    best_risk: Float[Tensor, "n"]

    @property
    def aurc(self) -> float:
        r"""Area under the curve, $\frac1n \sum_i \mathrm{risk}_i$; the mean error if the uncertainty knows nothing.

        Source: Geifman et al. 2019, arXiv:1805.08206.
        """
        return self.risk.mean().item()

    @property
    def excess_aurc(self) -> float:
        r"""What lies between the curve and the oracle's; 0 if the uncertainty puts the cases in the errors' order.

        Source: Geifman et al. 2019, arXiv:1805.08206.
        """
        return (self.risk - self.best_risk).mean().item()

    @property
    def augrc(self) -> float:
        r"""$\int_0^1 c\,\mathrm{risk}(c)\,dc$: the error that is answered, of all cases, averaged over the coverage.

        Each error counts by the share of cases that are more uncertain than it, equal ones and itself by half; in the
        area under the curve those of the surest cases count many times over. Half the mean error if the uncertainty
        knows nothing. Of errors that are 0 or 1, with their mean e, it is $(1 - A)\,e\,(1 - e) + e^2 / 2$ with the
        AUROC A of finding them.
        Source: Traub et al. 2024, arXiv:2407.01032.
        """
        answered = self.risk * self.coverage
        return (answered.mean() - answered[-1] / (2 * len(answered))).item()


def risk_coverage(uncertainty: Float[Tensor, "n"], error: Float[Tensor, "n"]) -> RiskCoverage:
    r"""$\mathrm{risk}_i = \frac1i \sum_{j \le i} e_j$ with the cases in the order of their uncertainty.

    Shapes: one number a case, `(n,)`. Units: any; the error may be 0 and 1, or $1 - $ Dice.
    Cases of equal uncertainty come in no order, so each counts with their mean error: the curve is the mean over all
    orders, and that in which the cases were given does not matter.
    Errors: TypeError for anything but float tensors; ValueError for no case, shapes that do not belong together, NaN.
    Source: El-Yaniv and Wiener 2010, JMLR 11:1605-1641; Geifman and El-Yaniv 2017, arXiv:1705.08500. Chapter 15.

    >>> risk_coverage(torch.tensor([0.1, 0.4, 0.9]), torch.tensor([0.0, 0.0, 0.75])).risk.tolist()
    [0.0, 0.0, 0.25]
    """
    check_cases("uncertainty", uncertainty)
    check_cases("error", error)
    check_same("error", error, like=uncertainty)
    if not (n := len(uncertainty)):
        raise ValueError("uncertainty: expected at least one case, got none")
    threshold, order = uncertainty.detach().double().sort()
    error = error.detach().double()
    answered = torch.arange(1, n + 1, dtype=torch.float64, device=error.device)
    risk, best_risk = (e.cumsum(0) / answered for e in (_mean_of_ties(threshold, error[order]), error.sort().values))
    return RiskCoverage(answered / n, risk, threshold, best_risk)


def referral(uncertainty: Float[Tensor, "n"], fraction: float) -> Bool[Tensor, "n"]:
    r"""The cases to refer: the $\lceil f n \rceil$ most uncertain, and all that are as uncertain as the last of them.

    Shapes: `uncertainty (n,)`, one number a case, in any units. So at least the fraction `fraction` is referred,
    more if there are ties, and the order of the cases does not matter; 0 refers none. No case gives none.
    Errors: TypeError for anything but float tensors; ValueError for another shape, NaN, a fraction outside 0..1.
    Chapter 15.

    >>> referral(torch.tensor([0.1, 0.9, 0.4]), 0.3)
    tensor([False,  True, False])
    """
    check_cases("uncertainty", uncertainty)
    fraction = check_number("fraction", fraction, least=0, most=1)
    referred = least_count(fraction, len(uncertainty))
    if referred == 0:
        return torch.zeros_like(uncertainty, dtype=torch.bool)
    return uncertainty >= uncertainty.topk(referred).values[-1]


def _mean_of_ties(ordered: Tensor, error: Tensor) -> Tensor:
    """Each error replaced by the mean of those whose key is equal."""
    _, group, size = ordered.unique_consecutive(return_inverse=True, return_counts=True)
    return (error.new_zeros(len(size)).index_add_(0, group, error) / size)[group]
