"""Right and wrong answers to every exercise, `answers/<chapter>.py`, and what they say about its check."""
from collections import defaultdict

from medlearn.checks import Check

RIGHT = defaultdict(dict)           # id -> name -> answer
WRONG = defaultdict(dict)           # id -> name -> (answer, the case that catches it)


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
    found = [f"{check.id} has {len(some)} {kind} answers, expected at least {least}"
             for kind, some, least in [("right", right, 2), ("wrong", wrong, 5)] if len(some) < least]
    for name, answer in {"the reference": check.reference, **right}.items():
        if failure := check.examine(answer).failure:
            found.append(f"{check.id} rejects {name} at '{failure.case}': {failure.reason}")
    for name, (answer, at) in wrong.items():
        report = check.examine(answer)
        if report.passed == report.total:
            found.append(f"{check.id} accepts {name}, which is wrong")
        elif report.failure is None or report.failure.case != at:
            found.append(f"{check.id} rejects {name} at '{report.failure and report.failure.case}', expected at '{at}'")
    for case in check.cases:
        alone = Check(check.id, check.reference, (case,), check.same_dtype)
        if all(alone.examine(answer).passed for answer, _ in wrong.values()):
            found.append(f"{check.id} has a case that no wrong answer fails: '{case.name}'")
    return found
