"""Inputs, and the place where a call is made."""
import copy
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map


def random_numbers(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def normal_numbers(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def random_labels(classes, *shape, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


GENERATOR = object()                                        # stands for a new generator, of the place's choice


@dataclass(frozen=True)
class OnCpu:
    """A tensor that stays on the CPU wherever the call is made, as a number for each image may."""

    tensor: Tensor


class Place:
    """Brings inputs to a device; what is random is drawn from a generator there, or of the CPU."""

    def __init__(self, device, generator="cpu"):
        self.device, self.generator, self.drew = torch.device(device), generator, False

    def __call__(self, value):
        return tree_map(self._one, value)

    def _one(self, value):
        if value is GENERATOR:
            self.drew = True
            return torch.Generator(self.generator).manual_seed(0)
        if isinstance(value, OnCpu):
            return value.tensor
        if isinstance(value, nn.Module):
            return copy.deepcopy(value).to(self.device)
        return value.to(self.device) if hasattr(value, "to") else value


def call(function, *inputs, **named):
    return lambda place: function(*place(inputs), **place(named))


def with_gradient(function):
    """The answer, and the gradient of a weighted sum of it by each float tensor that was given without a name."""
    def both(*inputs, **named):
        given = [x.requires_grad_() for x in inputs if isinstance(x, Tensor) and x.is_floating_point()]
        answer = function(*inputs, **named)
        return answer, torch.autograd.grad(weighted_sum(answer), given, allow_unused=True)
    return both


def slope(function, *inputs, **named):
    """A call with its gradient; each time with inputs of its own."""
    return lambda place: with_gradient(function)(*(x.clone() for x in place(inputs)), **place(named))


def trained(make, *inputs):
    """A network's answer in training, and the gradient by each of its weights."""
    def run(place):
        torch.manual_seed(0)
        net = make().to(place.device).train()
        answer = net(*place(inputs))
        weights = list(net.parameters())
        return answer, torch.autograd.grad(weighted_sum(answer), weights, allow_unused=True)
    return run


def weighted_sum(answer):
    """Weights that differ, so that no two places are mistaken."""
    return sum((x.float() * torch.linspace(0.5, 1.5, x.numel(), device=x.device).reshape(x.shape)).mean()
               for x in parts(answer) if isinstance(x, Tensor) and x.requires_grad)


def parts(answer):
    """Tensors, arrays and numbers in it, those of dataclasses as well."""
    found = []
    for x in tree_leaves(answer):
        if is_dataclass(x) and not isinstance(x, type):
            found += [part for field in fields(x) for part in parts(getattr(x, field.name))]
        else:
            found.append(x)
    return found
