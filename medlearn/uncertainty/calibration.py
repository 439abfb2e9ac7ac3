r"""Whether a probability of 0.8 is right eight times in ten, and one number that helps where it is not (chapter 15)."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from medlearn.base.labelled import check_logits_and_labels
from medlearn.base.validation import check_finite, check_whole
from medlearn.uncertainty._inputs import labelled_cases, voxels_in_a_row

_BLOCK = 1 << 16                # cases looked at together


@dataclass(frozen=True, eq=False)
class Reliability:
    r"""A reliability diagram: mean confidence and accuracy of the cases in each bin of confidence.

    Shapes: `(bins,)`. `confidence` and `accuracy` are float64 in 0..1, NaN of a bin without a case; `count` is int64.
    Chapter 15.

    >>> diagram = reliability(torch.tensor([[0.9, 0.1], [0.9, 0.1]]), torch.tensor([0, 1]), bins=2)
    >>> diagram.count.tolist(), round(diagram.accuracy[1].item(), 3), round(diagram.confidence[1].item(), 3)
    ([0, 2], 0.5, 0.9)
    """

    confidence: Float[Tensor, "bins"]
    accuracy: Float[Tensor, "bins"]
    count: Int64[Tensor, "bins"]

    @property
    def ece(self) -> float:
        r"""Expected calibration error, $\sum_b \frac{n_b}{n} |\mathrm{acc}_b - \mathrm{conf}_b|$; NaN of no case.

        Even of a calibrated network it is above 0, by chance, and the more so the fewer cases a bin has.
        Source: Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599.
        """
        return ((self.count * self._gap).nansum() / self.count.sum()).item()

    @property
    def mce(self) -> float:
        r"""Maximum calibration error, $\max_b |\mathrm{acc}_b - \mathrm{conf}_b|$ of bins with a case; NaN of none."""
        gaps = self._gap[self.count > 0]
        return gaps.max().item() if len(gaps) else float("nan")

    @property
    def _gap(self) -> Tensor:
        return (self.accuracy - self.confidence).abs()


def reliability(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, bins: int = 15,
                adaptive: bool = False, of_class: int | None = None, ignore_index: int | None = None) -> Reliability:
    r"""How often the cases with confidence in $((b - 1)/n, b/n]$ were right, against how sure they were, of n bins.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`; every voxel is a case.
    Confidence is the largest probability, and right is the first class that has it. With `of_class` confidence is the
    probability of that class, and right is a label that is it: what to ask of a rare class, which the first question
    drowns in background.
    `adaptive` bins hold equal numbers of cases instead. Equal confidences stay in one bin, so that the order of the
    cases does not matter, and then a bin may be empty. Voxels labelled `ignore_index` are no cases. No case gives empty
    bins.
    Errors: TypeError for other dtypes; ValueError for shapes that do not belong together, what are no probabilities,
    labels or a class out of range, no bin.
    Source: Guo et al. 2017, arXiv:1706.04599; adaptive: Nixon et al. 2019, arXiv:1904.01685. Chapter 15.

    >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]])              # 0.9 sure, and right once in two
    >>> round(reliability(p, torch.tensor([0, 1])).ece, 3)
    0.4
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    bins = check_whole("bins", bins, least=1)
    if of_class is None:
        confidence, found = p.max(1)
        return _reliability(confidence, found == labels, bins, adaptive)
    of_class = check_whole("of_class", of_class, most=p.shape[1] - 1)
    return _reliability(p[:, of_class], labels == of_class, bins, adaptive)


def classwise_ece(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, bins: int = 15,
                  adaptive: bool = False, ignore_index: int | None = None) -> Float[Tensor, "k"]:
    r"""The expected calibration error of each class's probability, $\mathrm{ECE}_k$: its mean is the class-wise ECE.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`, errors `(K,)` float64. Options and errors as in `reliability`.
    No case gives NaN. Source: Nixon et al. 2019 (static), arXiv:1904.01685. Chapter 15.

    >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1]])
    >>> classwise_ece(p, torch.tensor([0, 0])).round(decimals=3).tolist()
    [0.1, 0.1]
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    bins = check_whole("bins", bins, least=1)
    return torch.tensor([_reliability(p[:, k], labels == k, bins, adaptive).ece for k in range(p.shape[1])],
                        dtype=torch.float64, device=p.device)


def brier_score(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                ignore_index: int | None = None) -> float:
    r"""The mean over cases of $\sum_k (p_k - y_k)^2$, with $y$ the one-hot label: 0 at best and 2 at worst.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`; every voxel is a case. Of two classes it is twice the score
    that looks at one of them. Voxels labelled `ignore_index` are no cases. No case gives NaN. Errors: as `reliability`.
    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. Chapter 15.

    >>> round(brier_score(torch.tensor([[0.8, 0.2]]), torch.tensor([0])), 3)
    0.08
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    error = p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1))
    return error.square_().sum(1).mean(dtype=torch.float64).item()


def negative_log_likelihood(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                            ignore_index: int | None = None) -> float:
    r"""The mean over cases of $-\ln p_y$: `cross_entropy` of what are probabilities already, as an ensemble's mean is.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`; every voxel is a case. Units: nats. A label of probability 0
    makes it infinite: to be sure and wrong is unforgivable. Voxels labelled `ignore_index` are no cases. No case gives
    NaN. Errors: as `reliability`. Chapter 15.

    >>> round(negative_log_likelihood(torch.tensor([[0.5, 0.5]]), torch.tensor([1])), 4)
    0.6931
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    return -p.gather(1, labels[:, None]).log_().mean(dtype=torch.float64).item()


class TemperatureScaling(nn.Module):
    r"""$z / T$, with one $T > 0$ for all logits: the answers stay what they are, and only their confidence changes.

    `TemperatureScaling().fit(logits, labels)` with logits of cases that the network was not trained on; then it is
    called with logits `(B, K, *S)`. Before that `temperature` is 1.
    Source: Guo et al. 2017, sec. 4.2, arXiv:1706.04599. Chapter 15.

    >>> logits, labels = torch.tensor([[4.0, 0.0]] * 4), torch.tensor([0, 0, 0, 1])     # 0.98 sure, right 3 in 4
    >>> TemperatureScaling().fit(logits, labels)(logits[:1]).softmax(1).round(decimals=2)
    tensor([[0.7500, 0.2500]])
    """

    temperature: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, logits: Float[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
        r"""$z / T$, of the logits' dtype."""
        return logits / self.temperature

    def fit(self, logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
            ignore_index: int | None = None) -> TemperatureScaling:
        r"""The temperature of the smallest mean cross-entropy, by L-BFGS in $1 / T$, in which it is convex; in float64.

        Voxels labelled `ignore_index` are no cases. Memory: about twice the logits', a block of voxels at a time.
        Errors: as `cross_entropy`; ValueError where there is no such temperature: no case; every label has the largest
        logit (the best T is 0); the labels' logits are no larger than the others on average (it is infinite).
        """
        check_logits_and_labels(logits, labels, ignore_index)
        rows, labels = voxels_in_a_row(logits.detach(), labels, ignore_index)
        cases = _Cases(check_finite("logits", rows), labels)
        _check_finite_optimum(cases)
        self.temperature = (1 / _best_inverse_temperature(cases)).to(self.temperature.dtype)
        return self


class _Cases:
    r"""Logits `(n, K)` and labels `(n,)` as margins $m_k = z_k - z_y$: the loss is $\ln \sum_k e^{m_k / T}$."""

    def __init__(self, logits: Tensor, labels: Tensor):
        self.logits, self.labels = logits, labels
        if len(labels):
            parts = [(m.max(), m.sum(), m.abs().sum()) for m in self.margins()]
            highest, total, size = (torch.stack(part) for part in zip(*parts))
            self.highest = highest.max()
            self.mean, self.size = (part.sum() / logits.numel() for part in (total, size))

    def margins(self) -> Iterator[Tensor]:
        """In float64, a block at a time: in one piece they would be twice the logits, and each step some times more."""
        for z, y in zip(self.logits.split(_BLOCK), self.labels.split(_BLOCK)):
            z = z.double()
            yield z - z.gather(1, y[:, None])

    def loss_and_slope(self, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss at a 1/T, and its derivative by 1/T, the mean over cases of the margins' mean."""
        parts = [((m * inverse).logsumexp(1).sum(), ((m * inverse).softmax(1) * m).sum()) for m in self.margins()]
        loss, slope = (torch.stack(part).sum() / len(self.labels) for part in zip(*parts))
        return loss, slope


@torch.no_grad()
def _best_inverse_temperature(cases: _Cases) -> Tensor:
    unit = torch.ones(1, dtype=torch.float64, device=cases.labels.device)
    inverse = unit / cases.size                                 # the search starts where the logits are of size 1
    search = torch.optim.LBFGS([unit], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14,
                               line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        value, slope = cases.loss_and_slope(unit * inverse)
        unit.grad = slope * inverse
        return value

    search.step(loss)
    return (unit * inverse).squeeze(0)


def _check_finite_optimum(cases: _Cases) -> None:
    """The loss is convex in 1/T. It has its minimum at some T > 0 if it falls at 1/T = 0 and rises in the end."""
    if not len(cases.labels):
        raise ValueError("labels: expected at least one case to fit a temperature to, got none")
    if cases.highest <= 0:
        raise ValueError("labels: expected some that have not the largest logit, got none: the smaller the temperature "
                         "the better, and there is no best one. Take more cases, or ones that were not trained on")
    if cases.mean >= 0:
        raise ValueError("logits: expected them to be larger for the label than for other classes on average, "
                         "got the contrary: the larger the temperature the better. Do these labels belong to them?")


def _reliability(confidence: Tensor, right: Tensor, bins: int, adaptive: bool) -> Reliability:
    confidence = confidence.contiguous()
    which = torch.bucketize(confidence, _inner_edges(confidence, bins, adaptive))     # an edge belongs to the bin below
    count = torch.bincount(which, minlength=bins)
    sure, accurate = (torch.bincount(which, value.double(), minlength=bins) / count for value in (confidence, right))
    return Reliability(sure, accurate, count)


def _inner_edges(confidence: Tensor, bins: int, adaptive: bool) -> Tensor:
    n = len(confidence)
    if not adaptive or n == 0:
        return torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)[1:-1]
    last = torch.arange(1, bins, device=confidence.device).mul_(n).add_(bins - 1).div_(bins, rounding_mode="floor") - 1
    return confidence.sort().values[last]
