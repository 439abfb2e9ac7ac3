r"""What a check is, and how it looks at an answer."""
from __future__ import annotations

import io
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medlearn.checks.compare import Difference, difference
from medlearn.checks.describe import describe, describe_pair, first_lines
from medlearn.checks.progress import note, progress_file
from medlearn.checks.run import Endless, Exits, can_be_stopped, is_a_stub, isolated, limited, location

LIMIT_S = 30                        # for one case: the slowest reference takes less than a second
TRAINING_LIMIT_S = 300              # for one that trains: that takes seconds, and more on a busy machine


def check(id: str, answer: object) -> None:
    r"""Say how an answer does: `tasks.volume: all 8 cases passed.`, or the first case that did not, with a hint.

    `answer`: the function or class itself, not its result. A wrong answer never raises, whatever it does; one that
    still raises NotImplementedError is called not attempted. One that takes more than 30 s over a case, or than its
    check allows, is stopped; where that cannot be done, outside of the main thread and on Windows, a warning says so.
    Its random numbers, what it prints and what it sets (torch's defaults, threads, the folder, replaced functions) stay
    inside. What was solved is kept on this machine, if `medlearn progress --begin` was said before.
    Errors: ValueError for an unknown id. Chapter: all.

    >>> def my_volume(mask, affine):
    ...     return (mask.sum() * torch.linalg.det(affine[:3, :3]).abs() / 1000).item()
    >>> check("tasks.volume", my_volume)
    tasks.volume: all 8 cases passed.
    """
    report = examine(id, answer)
    note(report, progress_file())
    print(report)


def examine(id: str, answer: object) -> Report:
    r"""What `check` says about an `answer`, as data: how many cases passed, and the first that did not.

    Errors: ValueError for an unknown id. Chapter: all.

    >>> report = examine("tasks.volume", lambda mask, affine: 0.0)
    >>> report.passed, report.total                         # the empty mask has a volume of 0
    (1, 8)
    """
    return _find(id).examine(answer)


def registered() -> Mapping[str, Check]:
    r"""All checks of the book: id to check, in the order of the chapters' names. Chapter: all.

    >>> [id for id in registered() if id.startswith("tasks.")]
    ['tasks.volume', 'tasks.iou_matrix', 'tasks.offsets']
    """
    return MappingProxyType({id: one for name in _modules() for id, one in _chapter(name).items()})


def not_attempted(id: str) -> str:
    r"""What is printed about the exercise `id` while its stub still stands. Chapter: all.

    >>> not_attempted("tasks.volume")
    'tasks.volume: not attempted yet.'
    """
    return f"{id}: not attempted yet."


def _called(answer: Callable[..., Any], *inputs: Any) -> Any:
    return answer(*inputs)


@dataclass(frozen=True, eq=False)
class Case:
    r"""One question to an answer: `inputs` by the names the exercise gives them, and a `hint` for when it fails.

    `name` is what the student reads of it, "an empty mask". `run(answer, *inputs)` gives the value to compare.
    Left out, the answer is a function and is called; for a class it builds one and uses it.
    `gradient`: inputs by which the derivative is compared too.
    `bars`: for an answer that is judged by how good it is; the value is then {bar: whether it is cleared}, and each has
    to be. The reference is not asked: it would be trained beside every answer. Chapter: all.

    >>> case = Case("a vector", dict(x=torch.ones(3)), "Multiply by two.", gradient=("x",))
    >>> case.run(lambda x: 2 * x, *case.inputs.values())
    tensor([2., 2., 2.])
    """

    name: str
    inputs: Mapping[str, Any]
    hint: str
    run: Callable[..., Any] = _called
    gradient: tuple[str, ...] = ()
    bars: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Check:
    r"""An exercise's `cases` and a right answer to it, the `reference`, which says what is expected in each.

    `id` is "chapter.exercise", as `check` is given it.
    `same_dtype=False` lets a float tensor have any float dtype. `limit_s`, else 30 s, is what an answer may take over a
    case. Where there is a GPU each case is asked there as well, and has passed when it did on both.
    Errors: ValueError for no case, or two of the same name. Chapter: all.

    >>> double = Check("toy.double", lambda x: 2 * x, (Case("ones", dict(x=torch.ones(3)), "Multiply by two."),
    ...                                                Case("nothing", dict(x=torch.ones(0)), "No numbers.")))
    >>> print(double.examine(lambda x: x + x))
    toy.double: all 2 cases passed.
    """

    id: str
    reference: Callable[..., Any]
    cases: tuple[Case, ...]
    same_dtype: bool = True
    limit_s: float | None = None

    def __post_init__(self):
        names = [case.name for case in self.cases]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"cases: expected at least one, each with a name of its own, got {names}")

    def examine(self, answer: object) -> Report:
        r"""Put every case to the answer. Nothing that the answer raises or gives comes out as an error."""
        total, name = len(self.cases), self.reference.__name__
        if not callable(answer):
            came = f"{self.id}: expected a function or a class, got {describe(answer)}."
            hint = f'  Hint: give it by its name, without brackets: check("{self.id}", {name})'
            return Report(self.id, 0, total, text=f"{came}\n{hint}")
        if not can_be_stopped():
            warnings.warn("an answer that never ends cannot be stopped here: interrupt the kernel if it takes too long",
                          stacklevel=4)
        failures: list[Failure | None] = []
        scores = []
        for case in self.cases:
            printed = io.StringIO()
            asked = (self._ask(case, answer, device, printed) for device in _devices())
            failures.append(next(filter(None, asked), None))
            if case.run is not _called and printed.getvalue().strip():      # who passes sees what was reached, too
                scores.append(f"  {case.name}: {printed.getvalue().strip().splitlines()[-1]}")
            if failures[-1] and failures[-1].endless:       # the other cases would each take as long
                break
        if failures[0] and failures[0].unwritten:
            return Report(self.id, 0, total, text=not_attempted(self.id))
        first = next(filter(None, failures), None)
        passed = failures.count(None)
        text = "\n".join([f"{self.id}: all {total} cases passed.", *scores]) if first is None else \
            f"{self.id}: {passed} of {total} cases passed.\n{first}"
        return Report(self.id, passed, total, first, text)

    def _ask(self, case: Case, answer: Callable[..., Any], device: str, printed: io.StringIO) -> Failure | None:
        """One case on one device: nothing where the answer is right."""
        right, given, untouched = (_fresh(case, device) for _ in range(3))
        with isolated():
            expected: Any = (dict.fromkeys(case.bars, True) if case.bars
                             else case.run(self.reference, *right.values()))
            expected_gradient = _gradients(expected, right, case) if case.gradient else {}
        try:
            with isolated(printed), limited(self.limit_s or LIMIT_S):
                got = case.run(answer, *given.values())
            # only after all was put back: the answer may have replaced what it is judged with
            found = self._judge(case, given, untouched, expected, got, expected_gradient, printed)
        except (Exception, SystemExit, Endless, Exits) as error:
            return _failure(case, untouched, device, _raised(error, case, given), None, None, printed.getvalue(),
                            unwritten=is_a_stub(error), endless=isinstance(error, Endless))
        return None if found is None else _failure(case, untouched, device, *found, printed.getvalue())

    def _judge(self, case: Case, given: Mapping[str, Any], untouched: Mapping[str, Any], expected: object, got: Any,
               expected_gradient: Mapping[str, Tensor | None], printed: io.StringIO,
               ) -> tuple[Difference, object, object] | None:
        """The first thing that is wrong with what an answer gave, with what was expected and what came."""
        for name, before in untouched.items():
            if isinstance(before, _CHANGEABLE) and difference(before, given[name]):
                after = given[name].detach() if isinstance(given[name], Tensor) else given[name]
                return Difference(f"The answer changed its input `{name}`.", _MUTATION), before, after
        if found := difference(expected, got, self.same_dtype):
            return found, expected, got
        if not case.gradient:
            return None
        if not got.requires_grad:
            return Difference("The values are right, but no gradient flows back through them.", _DETACHED), None, None
        with isolated(printed), limited(self.limit_s or LIMIT_S):
            gradients = _gradients(got, given, case)
        for name, gradient in gradients.items():
            if gradient is None:
                return Difference(f"The values are right, but the gradient by `{name}` is cut.",
                                  f"On every way from `{name}` to the result something detaches."), None, None
            if found := difference(expected_gradient[name], gradient):
                reason = f"The values are right, the gradient by `{name}` is not. {found.reason}"
                return Difference(reason, found.advice), expected_gradient[name], gradient
        return None


@dataclass(frozen=True)
class Failure:
    r"""The first `case` an answer did not pass, by its name, the `reason`, and the `hint`; `text` is the whole of it.

    `unwritten`: the answer itself raised NotImplementedError. `endless`: it had to be stopped. Chapter: all.

    >>> examine("tasks.volume", lambda mask, affine: mask.sum().item()).failure.reason
    'The number is another.'
    """

    case: str
    reason: str
    hint: str
    text: str
    unwritten: bool = False
    endless: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Report:
    r"""How an answer to the exercise `id` did: `passed` of `total` cases, and the first `failure`.

    `text` is what the student reads. `failure` is None too where nothing was attempted. Chapter: all.

    >>> report = examine("tasks.volume", lambda mask, affine: 0.0)
    >>> report.text.splitlines()[0], report.failure.case
    ('tasks.volume: 1 of 8 cases passed.', 'one voxel of 1 mm')
    """

    id: str
    passed: int
    total: int
    failure: Failure | None = None
    text: str = ""

    def __str__(self) -> str:
        return self.text


_CHANGEABLE = (Tensor, np.ndarray, list, dict)
_MUTATION = ("The caller still needs it as it was. Work on a copy, `.clone()`, without steps in place: `+=`, "
             "`x[...] =`, names that end in `_`.")
_ELSEWHERE = ("It passed on the CPU. All tensors have to be where the input is: `device=x.device`, `x.new_zeros(...)`, "
              "and no `.numpy()`.")
_DETACHED = "`.detach()`, `.item()`, `.data`, `.numpy()` and `torch.tensor(x)` cut the graph, and so does `no_grad`."


def _find(id: str) -> Check:
    known = _chapter(id.split(".")[0]) if isinstance(id, str) else {}
    if id not in known:
        everything = list(registered())
        near = get_close_matches(str(id), everything, n=3, cutoff=0.4) or everything
        raise ValueError(f"check id: expected that of an exercise, got {id!r}. Near it: {', '.join(near)}")
    return known[id]


@cache
def _chapter(name: str) -> dict[str, Check]:
    """The checks of one chapter: CHECKS of its module, none where there is no such module."""
    if name not in _modules():
        return {}
    return {one.id: one for one in getattr(import_module(f"medlearn.checks.{name}"), "CHECKS", ())}


def _modules() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(import_module("medlearn.checks").__path__)]


def _devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _fresh(case: Case, device: str) -> dict[str, Any]:
    """A case's inputs as new copies, so that no answer sees what another one did to them."""
    copies = {name: value.to(device, copy=True) if isinstance(value, Tensor) else deepcopy(value)
              for name, value in case.inputs.items()}
    for name in case.gradient:
        copies[name].requires_grad_()
    return copies


def _gradients(value: Tensor, inputs: Mapping[str, Any], case: Case) -> dict[str, Tensor | None]:
    """The derivative of a weighted sum of the value, whose weights differ so that no two places are mistaken."""
    weights = torch.rand(value.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(value) + 0.5
    leaves = [inputs[name] for name in case.gradient]
    return dict(zip(case.gradient, torch.autograd.grad((value * weights).sum(), leaves, allow_unused=True)))


def _raised(error: BaseException, case: Case, inputs: Mapping[str, Any]) -> Difference:
    place = location(error)
    message = first_lines(str(error))
    if isinstance(error, Endless):
        reason = f"It had not ended after {message}, and was stopped."
    elif isinstance(error, Exits):
        reason = f"It would end the whole notebook, with {message}."
    else:
        reason = f"It raised {type(error).__name__}" + (f": {message}" if message else ".")
    if place is None:
        order = f"It is called with {len(inputs)} of these, in this order: {', '.join(inputs)}."
        return Difference(reason, order if case.run is _called else "")
    advice = "Is there a loop whose condition never changes?" if isinstance(error, Endless) else ""
    return Difference(f"{reason}\n  in line {place.lineno}: {place.line}", advice)


def _failure(case: Case, inputs: Mapping[str, Any], device: str, found: Difference, expected: object, got: object,
             printed: str, *, unwritten: bool = False, endless: bool = False) -> Failure:
    """The text: which case, what is wrong, the input, expected beside got, the hint."""
    rows = [(name, describe(value.detach() if isinstance(value, Tensor) else value)) for name, value in inputs.items()]
    if expected is not None:
        rows += zip(("expected", "got"), describe_pair(expected, got))
    if printed.strip():
        rows.append(("printed", first_lines(printed)))
    place = "" if device == "cpu" else f", on {device}"
    hint = found.advice or (case.hint if device == "cpu" else _ELSEWHERE)
    text = "\n".join([f"The first that did not: {case.name}{place}.", f"  {found.reason}", *_table(rows),
                      f"  Hint: {hint}"])
    return Failure(case.name, found.reason, hint, text, unwritten, endless)


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in rows), default=0)
    for name, text in rows:
        first, *rest = text.splitlines() or [""]
        yield f"    {name:{width}}  {first}".rstrip()
        yield from (f"    {'':{width}}  {line}" for line in rest)
