r"""All the numbers that decide how a network is trained, in one place."""
from __future__ import annotations

import math
from dataclasses import dataclass

from torch import nn, optim

from medlearn.base.validation import check_choice, check_number, check_whole

POLY_POWER = 0.9
MOMENTUM = 0.9

_OPTIMIZERS = {                             # `foreach`: all weights in one go, the same numbers sooner
    "adamw": lambda weights, rate, decay: optim.AdamW(weights, lr=rate, weight_decay=decay, foreach=True),
    "sgd": lambda weights, rate, decay: optim.SGD(weights, lr=rate, weight_decay=decay, momentum=MOMENTUM,
                                                  nesterov=True, foreach=True),
}
_SCHEDULES = {                              # of the share of the training that is over, 0..1
    "constant": lambda t: 1.0,
    "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2,
    "poly": lambda t: (1 - t) ** POLY_POWER,
}
_PRECISIONS = ("auto", "fp32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    r"""How to train: `steps` times, a batch goes in and the weights move by `learning_rate` against the gradient.

    Units: `batch_size` is the number of samples behind one step, over all `accumulate` parts and all processes
    together, so that neither changes what is learnt; both must divide it. `warmup` counts steps; `clip` is the
    largest length of the gradient, None leaves it as it is; `weight_decay` is the share of its size, times the rate,
    that AdamW takes from each weight at a step (with "sgd" it is added to the gradient, times the weight).
    `optimizer` is "adamw", or "sgd" with Nesterov's momentum of 0.9; `schedule` "cosine", "poly" (power 0.9) or
    "constant"; `precision` "fp32", "bf16", "fp16" (with a scaler, on a GPU), or "auto", as
    `medlearn.runtime.precision` says. `workers` are processes that load samples; 0 loads them between the steps.
    `seed` decides the order of the samples and all that is random in a step.
    Errors: TypeError or ValueError for a value out of its range.
    Source: Loshchilov and Hutter 2019, arXiv:1711.05101 (AdamW), and 2017, eq. 5, arXiv:1608.03983 (cosine); Chen et
    al. 2018, sec. 4.1, doi:10.1109/TPAMI.2017.2699184 (poly). Chapter 7.

    >>> recipe = Recipe(steps=100, learning_rate=0.1, warmup=10)
    >>> [round(recipe.rate(step), 3) for step in (0, 9, 55, 99)]
    [0.01, 0.1, 0.05, 0.0]
    """

    steps: int = 200
    batch_size: int = 16
    learning_rate: float = 2e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: int = 0
    clip: float | None = 1.0
    seed: int = 0
    accumulate: int = 1
    precision: str = "auto"
    workers: int = 0

    def __post_init__(self):
        for name, least in {"steps": 1, "batch_size": 1, "accumulate": 1, "warmup": 0, "seed": 0, "workers": 0}.items():
            self._keep(name, check_whole(name, getattr(self, name), least=least))
        self._keep("learning_rate", check_number("learning_rate", self.learning_rate, above=0))
        self._keep("weight_decay", check_number("weight_decay", self.weight_decay, least=0))
        if self.clip is not None:
            self._keep("clip", check_number("clip", self.clip, above=0))
        for name, known in {"optimizer": _OPTIMIZERS, "schedule": _SCHEDULES, "precision": _PRECISIONS}.items():
            check_choice(name, getattr(self, name), [*known])
        if self.warmup >= self.steps:
            raise ValueError(f"warmup: expected fewer than the {self.steps} steps, got {self.warmup}")
        if self.batch_size % self.accumulate:
            raise ValueError(f"accumulate: expected a divisor of batch_size = {self.batch_size}, got {self.accumulate}")

    def _keep(self, name: str, value: float) -> None:
        object.__setattr__(self, name, value)               # numbers of numpy become plain ones, which JSON can hold

    def rate(self, step: int) -> float:
        r"""The learning rate of `step` 0, 1, ...: a straight rise over `warmup` steps, then $\eta\, f(t)$.

        With t from 0 to 1 over the steps that are left, cosine is $f = (1 + \cos \pi t) / 2$, poly $f = (1 - t)^{0.9}$.
        A function of the step and nothing else, so there is no state to keep. Chapter 7.
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        return self.learning_rate * _SCHEDULES[self.schedule]((step - self.warmup) / (self.steps - self.warmup))

    def new_optimizer(self, net: nn.Module) -> optim.Optimizer:
        """An optimiser of this kind for the weights of a network `net`. Chapter 7."""
        return _OPTIMIZERS[self.optimizer](net.parameters(), self.learning_rate, self.weight_decay)

