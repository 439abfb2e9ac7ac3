"""Right and wrong answers to every exercise, `answers/<chapter>.py`, and what they say about its check."""
from collections import defaultdict
from dataclasses import replace

import torch

from medlearn.checks import Case, Check

RIGHT = defaultdict(dict)           # id -> name -> answer
WRONG = defaultdict(dict)           # id -> name -> (answer, the case that catches it)

LEAST = {"right": 3, "wrong": 10}
LIMIT_S = 3     # for a case without a limit: a hundred times the slowest, and what an endless answer costs


def right(id):
    """An answer that the check must accept, written in another way than the reference."""
    def register(answer):
        RIGHT[id][answer.__name__] = answer
        return answer
    return register


def wrong(id, at):
    """An answer that the check must reject, first at the case of this name."""
    def register(answer):
        WRONG[id][answer.__name__] = answer, at
        return answer
    return register


def faults(check: Check, right: dict, wrong: dict) -> list[str]:
    """What speaks against a check, one line each: answers judged wrongly, too few of them, cases that catch nothing."""
    found = [f"{check.id} has {len(some)} {kind} answers, expected at least {LEAST[kind]}"
             for kind, some in [("right", right), ("wrong", wrong)] if len(some) < LEAST[kind]]
    for name, answer in {"the reference": check.reference, **right}.items():
        if failure := check.examine(answer).failure:
            found.append(f"{check.id} rejects {name} at '{failure.case}': {failure.reason}")
    caught_at = set()
    for name, (answer, at) in wrong.items():
        where = _where(check, answer)
        caught_at.add(where)
        if where is None:
            found.append(f"{check.id} accepts {name}, which is wrong")
        elif where != at:
            found.append(f"{check.id} rejects {name} at '{where}', expected at '{at}'")
    for case in check.cases:
        if case.name not in caught_at and not any(rejects(check, case, answer) for answer, _ in wrong.values()):
            found.append(f"{check.id} has a case that no wrong answer fails: '{case.name}'")
    return found


def rejects(check: Check, case: Case, answer) -> bool:
    """Whether an answer fails this case alone."""
    report = replace(check, cases=(case,), limit_s=check.limit_s or LIMIT_S).examine(answer)
    return report.failure is not None


def _where(check: Check, answer) -> str | None:
    """The first case that an answer fails; later ones are not asked, since one may be a training."""
    return next((case.name for case in check.cases if rejects(check, case, answer)), None)


def accepted_slips(check: Check) -> list[str]:
    """What students write in every exercise, made of the reference: those of it that the check accepts, by name."""
    answer, first = check.reference, []
    tensors = "Tensor" in str(answer.__annotations__["return"])
    other = {torch.float32: torch.float64, torch.float64: torch.float32, torch.int64: torch.int32}

    def nothing_returned(*inputs):
        answer(*inputs)

    def printed_and_not_returned(*inputs):
        print(answer(*inputs))

    def in_numpy(*inputs):
        return _each(answer(*inputs), lambda value: value.detach().cpu().numpy())

    def in_another_precision(*inputs):
        return _each(answer(*inputs), lambda value: value.to(other.get(value.dtype, torch.uint8)))

    def inputs_changed(*inputs):
        found = _each(answer(*inputs), torch.clone)
        for value in inputs:
            if isinstance(value, torch.Tensor):
                value.detach().copy_(value == 0)
            elif isinstance(value, list):
                value.append(0)
        return found

    def always_what_the_first_case_gave(*inputs):
        first.append(answer(*inputs))
        return first[0]

    fits = {nothing_returned: True, printed_and_not_returned: True, in_numpy: tensors,
            in_another_precision: tensors and check.same_dtype,
            inputs_changed: any(isinstance(value, (torch.Tensor, list)) for value in check.cases[0].inputs.values()),
            always_what_the_first_case_gave: True}
    return [slip.__name__ for slip, fit in fits.items() if fit and not _where(check, slip)]


def _each(found, change):
    """A result with each of its tensors changed, be it one or several."""
    if isinstance(found, (tuple, list)):
        return type(found)(_each(one, change) for one in found)
    return change(found) if isinstance(found, torch.Tensor) else found
