r"""A computation split in two: what no draw of random numbers reaches is done once, the rest as often as asked."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from medlearn.base.private import TorchDispatchMode, WeakTensorKeyDictionary, tree_leaves, tree_map

OUTSIDE, CONSTANT = "outside", "constant"       # where a tensor comes from, if no draw has reached it
LEAVES = {"tolist", "numpy", "__array__", "__dlpack__", "__deepcopy__", "__reduce_ex__"}    # and are no operations
DECIDES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Place:
    """Where a noted operation finds what an earlier one has made."""


@dataclass
class Step:
    """A noted operation: in its arguments and results stand places for what a draw has reached."""

    operation: Callable
    args: Any
    kwargs: dict
    results: Any
    last_use_of: list[Place] = field(default_factory=list)


class Recording(TorchDispatchMode):
    r"""Lets torch's operations run, and notes each one that draws, or that takes what comes from a draw.

    `with Recording() as recording: output = f()`; then `recording.again(output)` is a function that does the noted
    operations again, in the same order, with new draws. What they take from the others is kept as it was.
    Where this might not be the same as `f()`, `obstacle` says why: numbers from a draw decide what comes next, or leave
    torch, as far as `Leaving` watches; a tensor from outside is changed, as a counter would be; a tensor is changed
    under another name, or after it was kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Step] = []
        self.kept: list[Tensor] = []
        self.origin = WeakTensorKeyDictionary()             # OUTSIDE, CONSTANT, or the place of what a draw has reached
        self.obstacle: str | None = None

    def again(self, output: Tensor) -> Callable[[], Tensor] | None:
        """None where no draw has reached the output, or there is an obstacle."""
        if self.obstacle or not self.drawn(output):
            return None
        used = {self.origin[output]}
        for step in reversed(self.steps):
            places = {x for x in tree_leaves((step.args, step.kwargs, step.results)) if isinstance(x, Place)}
            step.last_use_of = list(places - used)
            used |= places
        return partial(_run, self.steps, self.origin[output])

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs, noted = kwargs or {}, None
        if not self.obstacle:
            arguments = tree_leaves((args, kwargs))
            inputs = [x for x in arguments if isinstance(x, Tensor)]
            for x in inputs:
                self.origin.setdefault(x, OUTSIDE)
            drawn = _draws(operation, args, kwargs) or any(map(self.drawn, inputs))
            changed = _changed(operation, args, kwargs)
            self.obstacle = self._obstacle(operation, drawn, changed, arguments)
            if drawn and not self.obstacle:
                noted = tree_map(partial(self._noted, changed), (args, kwargs))
        output = operation(*args, **kwargs)
        if noted and not self.obstacle:
            self.steps.append(Step(operation, *noted, tree_map(self._new_place, output)))
        elif not self.obstacle:
            for x in tree_leaves(output):
                if isinstance(x, Tensor):
                    self.origin.setdefault(x, CONSTANT)
        return output

    def drawn(self, tensor: Tensor) -> bool:
        return isinstance(self.origin.get(tensor), Place)

    def _new_place(self, output: Any) -> Place | None:
        if not isinstance(output, Tensor):
            return None
        self.origin[output] = place = Place()
        return place

    def _noted(self, changed: list[Tensor], value: Any) -> Any:
        """How a step calls a value. A constant is kept, and one that the step changes is copied for it each time."""
        if not isinstance(value, Tensor):
            return value
        if self.drawn(value):
            return self.origin[value]
        if not any(value is x for x in changed):
            self.kept.append(value)
            return value
        self.steps.append(Step(torch.clone, (value.clone(),), {}, copy := Place()))
        return copy

    def _obstacle(self, operation: Any, drawn: bool, changed: list[Tensor], arguments: list) -> str | None:
        if drawn and DECIDES & set(operation.tags):
            return f"{operation} lets a draw decide what comes next"
        if any(isinstance(x, torch.Generator) for x in arguments):
            return f"{operation} draws from a generator of its own"
        for tensor in changed:
            names = [x for x in self.origin if _storage(x) == _storage(tensor)]
            if any(self.origin[x] == OUTSIDE for x in names):
                return f"{operation} changes a tensor from outside"
            kept = any(_storage(x) == _storage(tensor) for x in self.kept)
            if not self.drawn(tensor) and (kept or drawn and len(names) > 1):
                return f"{operation} changes a tensor that was kept, or that has another name"
        return None


class Leaving(TorchFunctionMode):
    """Tells a recording of numbers from a draw that leave torch: what comes back of them would be noted as constant."""

    def __init__(self, recording: Recording):
        super().__init__()
        self.recording = recording

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in LEAVES and not self.recording.obstacle and self.recording.drawn(args[0]):
            self.recording.obstacle = f"{name} takes numbers from a draw out of torch"
        return function(*args, **(kwargs or {}))


def _run(steps: list[Step], output: Place) -> Tensor:
    values: dict[Place, Any] = {}
    for step in steps:
        found = step.operation(*_filled(step.args, values), **_filled(step.kwargs, values))
        if isinstance(step.results, Place):
            values[step.results] = found
        elif isinstance(step.results, (tuple, list)):
            values.update((place, x) for place, x in zip(step.results, found) if place)
        del found                                               # or the largest would live a step longer
        for place in step.last_use_of:
            del values[place]
    return values[output]


def _filled(arguments: Any, values: dict[Place, Any]) -> Any:
    if isinstance(arguments, Place):
        return values[arguments]
    if isinstance(arguments, (tuple, list)):
        return type(arguments)(_filled(x, values) for x in arguments)
    if isinstance(arguments, dict):
        return {name: _filled(x, values) for name, x in arguments.items()}
    return arguments


def _draws(operation: Any, args: tuple, kwargs: dict) -> bool:
    """Attention has the tag of what draws, too, and does so only where it is asked to leave something out."""
    attention = any(a.name == "dropout_p" for a in operation._schema.arguments)
    return torch.Tag.nondeterministic_seeded in operation.tags and not (
        attention and _by_name(operation, args, kwargs).get("dropout_p", 0) == 0)


def _by_name(operation: Any, args: tuple, kwargs: dict) -> dict[str, Any]:
    return dict(zip((a.name for a in operation._schema.arguments), args)) | kwargs


def _changed(operation: Any, args: tuple, kwargs: dict) -> list[Tensor]:
    """The tensors that an operation writes to."""
    if not operation._schema.is_mutable:
        return []
    given = _by_name(operation, args, kwargs)
    written = [given.get(a.name) for a in operation._schema.arguments if a.alias_info and a.alias_info.is_write]
    return [x for x in tree_leaves(written) if isinstance(x, Tensor)]


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
