"""A network in evaluation for a while."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_evaluation(net: nn.Module) -> Iterator[None]:
    """Every part of the network in evaluation, and afterwards in the mode it was in."""
    modes = [(module, module.training) for module in net.modules()]
    try:
        net.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
