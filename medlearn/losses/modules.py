"""The losses as modules, for networks and trainers that want one: their options are fixed when they are made."""
from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from medlearn.losses.cross_entropy import cross_entropy
from medlearn.losses.focal import focal_loss
from medlearn.losses.overlap import (dice_ce_loss, dice_loss, focal_tversky_loss, generalized_dice_loss, jaccard_loss,
                                     tversky_loss)


class _Loss(nn.Module):
    """A loss function and its options. Numbers for the classes are a buffer: they move with the module to its device."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **options):
        super().__init__()
        signature = inspect.signature(self.function)
        try:
            signature.bind(None, None, **options)
        except TypeError as error:
            known = ", ".join(list(signature.parameters)[2:])
            raise TypeError(f"{type(self).__name__}: expected options out of {known}, "
                            f"got {', '.join(options) or 'none'} ({error})") from None
        self._names = tuple(options)
        for name, value in options.items():
            if isinstance(value, (Tensor, list, tuple)):
                self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))
            else:
                setattr(self, name, value)

    def forward(self, logits: Float[Tensor, "b k *s"], labels: Int64[Tensor, "b *s"]) -> Float[Tensor, "*out"]:
        return self.function(logits, labels, **{name: getattr(self, name) for name in self._names})

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self._names}
        return ", ".join(f"{name}={v.tolist() if isinstance(v, Tensor) else v!r}" for name, v in values.items())


class CrossEntropyLoss(_Loss):
    """`cross_entropy`, which lists the options. Chapter 2."""

    function = staticmethod(cross_entropy)


class FocalLoss(_Loss):
    """`focal_loss`, which lists the options; `gamma` has to be given. Chapter 3."""

    function = staticmethod(focal_loss)


class DiceLoss(_Loss):
    """`dice_loss`, which lists the options. Chapter 3."""

    function = staticmethod(dice_loss)


class JaccardLoss(_Loss):
    """`jaccard_loss`, which lists the options. Chapter 3."""

    function = staticmethod(jaccard_loss)


class TverskyLoss(_Loss):
    """`tversky_loss`, which lists the options. Chapter 3."""

    function = staticmethod(tversky_loss)


class FocalTverskyLoss(_Loss):
    """`focal_tversky_loss`, which lists the options. Chapter 3."""

    function = staticmethod(focal_tversky_loss)


class GeneralizedDiceLoss(_Loss):
    """`generalized_dice_loss`, which lists the options. Chapter 3."""

    function = staticmethod(generalized_dice_loss)


class DiceCELoss(_Loss):
    """`dice_ce_loss`, which lists the options. Chapter 3."""

    function = staticmethod(dice_ce_loss)
