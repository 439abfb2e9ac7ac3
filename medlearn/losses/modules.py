"""The losses as modules, for networks and trainers that want one: their options are fixed when they are made."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from medlearn.losses._inputs import class_numbers
from medlearn.losses.entropy import cross_entropy
from medlearn.losses.focal import focal_loss
from medlearn.losses.overlap import (dice_ce_loss, dice_loss, focal_tversky_loss, generalized_dice_loss, jaccard_loss,
                                     tversky_loss)


class _Loss(nn.Module):
    """A loss function and its options. Numbers for the classes are a buffer: they move with the module to its device.

    The options, their defaults and what is refused are the function's own: its signature is the module's, and a batch
    without images has it look at the options when the module is made.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, *, function: Callable[..., Tensor] | None = None):
        super().__init_subclass__()
        if function is not None:                            # or it is somebody's own, made from one of ours
            cls.function = staticmethod(function)
            _, _, *options = inspect.signature(function).parameters.values()
            cls.__signature__ = inspect.Signature(options)

    def __init__(self, **options):
        super().__init__()
        signature = type(self).__signature__
        try:
            bound = signature.bind(**options)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: expected options out of {', '.join(signature.parameters)}, "
                            f"got {', '.join(options) or 'none'} ({error})") from None
        bound.apply_defaults()
        self._names = tuple(bound.arguments)
        classes = 2
        for name, value in bound.arguments.items():
            if isinstance(value, Iterable) and not isinstance(value, str):
                value = class_numbers(name, value).float()
                classes = max(classes, len(value))
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)
        self(torch.zeros(0, classes), torch.zeros(0, dtype=torch.int64))

    def forward(self, logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "*out"]:
        return self.function(logits, labels, **{name: getattr(self, name) for name in self._names})

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self._names}
        return ", ".join(f"{name}={v.tolist() if isinstance(v, Tensor) else v!r}" for name, v in values.items())


class CrossEntropyLoss(_Loss, function=cross_entropy):
    """`cross_entropy`, which explains the options. Chapter 2."""


class FocalLoss(_Loss, function=focal_loss):
    """`focal_loss`, which explains the options; `gamma` has to be given. Chapter 3."""


class DiceLoss(_Loss, function=dice_loss):
    """`dice_loss`, which explains the options. Chapter 3."""


class JaccardLoss(_Loss, function=jaccard_loss):
    """`jaccard_loss`, which explains the options. Chapter 3."""


class TverskyLoss(_Loss, function=tversky_loss):
    """`tversky_loss`, which explains the options. Chapter 3."""


class FocalTverskyLoss(_Loss, function=focal_tversky_loss):
    """`focal_tversky_loss`, which explains the options. Chapter 3."""


class GeneralizedDiceLoss(_Loss, function=generalized_dice_loss):
    """`generalized_dice_loss`, which explains the options. Chapter 3."""


class DiceCELoss(_Loss, function=dice_ce_loss):
    """`dice_ce_loss`, which explains the options. Chapter 3."""
