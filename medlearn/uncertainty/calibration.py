r"""Whether a probability of 0.8 is right eight times in ten, and one number that helps where it is not (chapter 13)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from medlearn.losses._inputs import check_inputs
from medlearn.uncertainty._inputs import check_numbers, labelled_cases, voxels_in_a_row


@dataclass(frozen=True, eq=False)
class Reliability:
    r"""A reliability diagram: mean confidence and accuracy of the cases in each bin of confidence.

    Shapes: `(bins,)`. `confidence` and `accuracy` are float64 in 0..1, NaN of a bin without a case; `count` is int64.
    Chapter 13.
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
    Source: Guo et al. 2017, arXiv:1706.04599; adaptive: Nixon et al. 2019, arXiv:1904.01685. Chapter 13.
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    _check_bins(bins)
    if of_class is None:
        confidence, found = p.max(1)
        return _reliability(confidence, found == labels, bins, adaptive)
    _check_class(of_class, p.shape[1])
    return _reliability(p[:, of_class], labels == of_class, bins, adaptive)


def classwise_ece(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *, bins: int = 15,
                  adaptive: bool = False, ignore_index: int | None = None) -> Float[Tensor, "k"]:
    r"""The expected calibration error of each class's probability, $\mathrm{ECE}_k$: its mean is the class-wise ECE.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`, errors `(K,)` float64. Options, errors: as `reliability` with
    `of_class`. No case gives NaN. Source: Nixon et al. 2019 (static), arXiv:1904.01685. Chapter 13.
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    _check_bins(bins)
    return torch.tensor([_reliability(p[:, k], labels == k, bins, adaptive).ece for k in range(p.shape[1])],
                        dtype=torch.float64, device=p.device)


def brier_score(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                ignore_index: int | None = None) -> float:
    r"""The mean over cases of $\sum_k (p_k - y_k)^2$, with $y$ the one-hot label: 0 at best and 2 at worst.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`; every voxel is a case. Of two classes it is twice the score
    that looks at one of them. No case gives NaN. Errors: as `reliability`.
    Source: Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2. Chapter 13.
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    error = p.scatter_add(1, labels[:, None], torch.full_like(p[:, :1], -1))
    return error.square_().sum(1).mean(dtype=torch.float64).item()


def negative_log_likelihood(probabilities: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"], *,
                            ignore_index: int | None = None) -> float:
    r"""The mean over cases of $-\ln p_y$: `cross_entropy` of what are probabilities already, as an ensemble's mean is.

    Shapes: probabilities `(B, K, *S)`, labels `(B, *S)`; every voxel is a case. Units: nats. A label of probability 0
    makes it infinite: to be sure and wrong is unforgivable. No case gives NaN. Errors: as `reliability`. Chapter 13.
    """
    p, labels = labelled_cases(probabilities, labels, ignore_index)
    return -p.gather(1, labels[:, None]).log_().mean(dtype=torch.float64).item()


class TemperatureScaling(nn.Module):
    r"""$z / T$, with one $T > 0$ for all logits: the answers stay what they are, and only their confidence changes.

    `TemperatureScaling().fit(logits, labels)` with logits of cases that the network was not trained on; then it is
    called with logits `(B, K, *S)`. Before that `temperature` is 1.
    Source: Guo et al. 2017, sec. 4.2, arXiv:1706.04599. Chapter 13.
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

        Errors: as `cross_entropy`; ValueError where there is no such temperature: no case; every label has the largest
        logit (the best T is 0); the labels' logits are no larger than the others on average (it is infinite).
        """
        check_inputs(logits, labels, ignore_index)
        check_numbers("logits", logits)
        z, labels = voxels_in_a_row(logits.detach().double(), labels, ignore_index)
        margins = z - z.gather(1, labels[:, None])              # the loss is logsumexp(margins / T)
        _check_finite_optimum(margins)
        self.temperature = (1 / _best_inverse_temperature(margins)).to(self.temperature.dtype)
        return self


def _best_inverse_temperature(margins: Tensor) -> Tensor:
    scale = margins.abs().mean()                                # the search starts where the logits are of size 1
    inverse = (1 / scale).reshape(1)
    unit = (margins * inverse, torch.ones_like(inverse).requires_grad_())
    search = torch.optim.LBFGS([unit[1]], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-14,
                               line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        value = (unit[0] * unit[1]).logsumexp(1).mean()
        value.backward()
        return value

    search.step(loss)
    return (unit[1].detach() * inverse).squeeze(0)


def _check_finite_optimum(margins: Tensor) -> None:
    """The loss is convex in 1/T. It has its minimum at some T > 0 if it falls at 1/T = 0 and rises in the end."""
    if not len(margins):
        raise ValueError("labels: expected at least one case to fit a temperature to, got none")
    if margins.max() <= 0:
        raise ValueError("labels: expected some that have not the largest logit, got none: the smaller the temperature "
                         "the better, and there is no best one. Take more cases, or ones that were not trained on")
    if margins.mean() >= 0:
        raise ValueError("logits: expected them to be larger for the label than for other classes on average, "
                         "got the contrary: the larger the temperature the better. Do these labels belong to them?")


def _reliability(confidence: Tensor, right: Tensor, bins: int, adaptive: bool) -> Reliability:
    confidence = confidence.contiguous()
    which = torch.bucketize(confidence, _inner_edges(confidence, bins, adaptive))     # an edge belongs to the bin below
    count = torch.bincount(which, minlength=bins)
    sums = (torch.bincount(which, value.double(), minlength=bins) for value in (confidence, right))
    return Reliability(*(total / count for total in sums), count)


def _inner_edges(confidence: Tensor, bins: int, adaptive: bool) -> Tensor:
    n = len(confidence)
    if not adaptive or n == 0:
        return torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)[1:-1]
    last = torch.arange(1, bins, device=confidence.device).mul_(n).add_(bins - 1).div_(bins, rounding_mode="floor") - 1
    return confidence.sort().values[last]


def _check_bins(bins: int) -> None:
    if isinstance(bins, bool) or not isinstance(bins, int):
        raise TypeError(f"bins: expected how many there are, got {bins!r}")
    if bins < 1:
        raise ValueError(f"bins: expected 1 or more, got {bins}")


def _check_class(of_class: int, classes: int) -> None:
    if isinstance(of_class, bool) or not isinstance(of_class, int):
        raise TypeError(f"of_class: expected a class or None, got {of_class!r}")
    if not 0 <= of_class < classes:
        raise ValueError(f"of_class: expected 0..{classes - 1} for {classes} classes, got {of_class}")
