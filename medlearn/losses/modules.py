"""The losses as modules, for trainers that expect one: the options are fixed when the module is made."""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medlearn.losses._answers import Truth
from medlearn.losses._inputs import class_numbers
from medlearn.losses.boundary import boundary_loss
from medlearn.losses.cldice import cldice_loss
from medlearn.losses.entropy import cross_entropy
from medlearn.losses.focal import focal_loss
from medlearn.losses.overlap import (dice_ce_loss, dice_loss, focal_tversky_loss, generalized_dice_loss, jaccard_loss,
                                     tversky_loss)
from medlearn.losses.top_k import top_k_loss


class _Loss(nn.Module):
    """A loss function and its options. Numbers for the classes are a buffer: they move with the module to its device.

    The options, their defaults and what is refused are the function's own: its signature is the module's, without the
    maps, which every batch has its own of: they are given to `forward`. When the module is made it computes the loss of
    an empty batch once, so that wrong options are refused at once.
    """

    maps: ClassVar[tuple[str, ...]] = ("where", "distance_mm")
    function: ClassVar[Callable[..., Tensor]]
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, *, function: Callable[..., Tensor] | None = None):
        super().__init_subclass__()
        if function is not None:                            # a subclass of DiceLoss keeps DiceLoss's function
            cls.function = staticmethod(function)
            _, _, *options = inspect.signature(function).parameters.values()
            cls.__signature__ = inspect.Signature([option for option in options if option.name not in cls.maps])

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
        self._of_nothing(torch.zeros(0, classes), torch.zeros(0, dtype=torch.int64))

    def _of_nothing(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self(logits, labels)

    def forward(self, logits: Float[Tensor, "b k *s"], labels: Truth, **maps: Tensor | None) -> Float[Tensor, "*out"]:
        return self.function(logits, labels, **{name: getattr(self, name) for name in self._names}, **maps)

    def extra_repr(self) -> str:
        values = {name: getattr(self, name) for name in self._names}
        return ", ".join(f"{name}={v.tolist() if isinstance(v, Tensor) else v!r}" for name, v in values.items())


class CrossEntropyLoss(_Loss, function=cross_entropy):
    r"""`cross_entropy` as a module.

    Shapes, options, empty cases and errors: as in `cross_entropy`. Chapter 2.

    >>> loss = CrossEntropyLoss(weight=[1.0, 3.0])
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.6931)
    """


class FocalLoss(_Loss, function=focal_loss):
    r"""`focal_loss` as a module.

    Shapes, options, empty cases and errors: as in `focal_loss`; `gamma` has to be given. Chapter 4.

    >>> loss = FocalLoss(gamma=2.0)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))    # ln 2 / 4
    tensor(0.1733)
    """


class TopKLoss(_Loss, function=top_k_loss):
    r"""`top_k_loss` as a module.

    Shapes, options, empty cases and errors: as in `top_k_loss`. Chapter 4.

    >>> loss = TopKLoss(share=0.25)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))    # all are equally hard: ln 2
    tensor(0.6931)
    """


class DiceLoss(_Loss, function=dice_loss):
    r"""`dice_loss` as a module.

    Shapes, options, empty cases and errors: as in `dice_loss`. Chapter 4.

    >>> loss = DiceLoss(include_background=False)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.4000)
    """


class JaccardLoss(_Loss, function=jaccard_loss):
    r"""`jaccard_loss` as a module.

    Shapes, options, empty cases and errors: as in `jaccard_loss`. Chapter 4.

    >>> loss = JaccardLoss(include_background=False)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.5714)
    """


class TverskyLoss(_Loss, function=tversky_loss):
    r"""`tversky_loss` as a module.

    Shapes, options, empty cases and errors: as in `tversky_loss`. Chapter 4.

    >>> loss = TverskyLoss(alpha_fp=0.3, beta_fn=0.7, include_background=False)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.4444)
    """


class FocalTverskyLoss(_Loss, function=focal_tversky_loss):
    r"""`focal_tversky_loss` as a module.

    Shapes, options, empty cases and errors: as in `focal_tversky_loss`. Chapter 4.

    >>> loss = FocalTverskyLoss(include_background=False)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.5443)
    """


class GeneralizedDiceLoss(_Loss, function=generalized_dice_loss):
    r"""`generalized_dice_loss` as a module.

    Shapes, options, empty cases and errors: as in `generalized_dice_loss`. Chapter 4.

    >>> loss = GeneralizedDiceLoss()
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(0.6250)
    """


class DiceCELoss(_Loss, function=dice_ce_loss):
    r"""`dice_ce_loss` as a module.

    Shapes, options, empty cases and errors: as in `dice_ce_loss`. Chapter 4.

    >>> loss = DiceCELoss(include_background=False)
    >>> loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
    tensor(1.0931)
    """


class BoundaryLoss(_Loss, function=boundary_loss):
    r"""`boundary_loss` as a module: `distance_mm` is given with each batch.

    Shapes, options, empty cases and errors: as in `boundary_loss`. Chapter 4.

    >>> from medlearn.losses import signed_distance_mm
    >>> loss, labels = BoundaryLoss(include_background=False), torch.tensor([[[0, 1, 1, 1]]])
    >>> loss(torch.zeros(1, 2, 1, 4), labels, distance_mm=signed_distance_mm(labels, spacing_mm=(1, 1), classes=2))
    tensor(-0.6250)
    """

    def _of_nothing(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self(logits, labels, distance_mm=torch.zeros_like(logits))


class ClDiceLoss(_Loss, function=cldice_loss):
    r"""`cldice_loss` as a module.

    Shapes, options, empty cases and errors: as in `cldice_loss`. Chapter 4.

    >>> loss = ClDiceLoss(iterations=1, include_background=False)
    >>> labels = torch.tensor([[[0, 0, 0], [1, 1, 1], [0, 0, 0]]])
    >>> loss(torch.zeros(1, 2, 3, 3), labels)           # no ridge, so P = 1, and S = 1/2
    tensor(0.3333)
    """

    def _of_nothing(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self(logits[..., None, None], labels[..., None, None])
