"""The book's claims: what it states, and the trials that show it.

`claims.toml` holds each statement under its id and its kind: exact (an identity, a count) or empirical (a
measurement). A chapter shows one with `claim(id, condition)`; an empirical one brings its measured effect and a control
that must fail.
"""
from __future__ import annotations

import json
import math
import os
import platform
import re
import tomllib
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["ClaimError", "claim", "claims", "kinds", "record"]

KINDS = ("exact", "empirical")
LOG = "MEDLEARN_CLAIMS_LOG"  # environment: the file to which claims and records are appended, one JSON object a line
MARK = "MEDLEARN_MARK_CLAIMS"  # environment: a claim that does not hold is printed as such, and the run goes on


class ClaimError(AssertionError):
    r"""A claim of the book does not hold, or its control passes as well.

    >>> issubclass(ClaimError, AssertionError)
    True
    """


def claims() -> dict[str, str]:
    r"""All claims: id to sentence, in the book's order.

    >>> claims()["ce.gradient"]
    'The gradient of the cross-entropy at the logits is p - y.'
    """
    return {id: sentence for id, (_, sentence) in _read().items()}


def kinds() -> dict[str, str]:
    r"""All claims: id to kind, "exact" or "empirical", in the book's order.

    >>> kinds()["ce.gradient"]
    'exact'
    """
    return {id: kind for id, (kind, _) in _read().items()}


def claim(id: str, holds: object, *, effect: object = None, control: Mapping[str, object] | None = None) -> None:
    r"""Show that a claim holds: prints one fixed line, `Claim <id> holds: <sentence>`.

    `id`: as in claims.toml. `holds`: one truth value, a bool or a boolean array or tensor of one element. Anything else
    is refused: Python takes any list that is not empty for true.
    `effect`: by how much it holds, a number or several as {name: number}. Each is the distance from its threshold, in
    the unit of the sentence: the claim holds exactly where all are above zero.
    `control`: {what must fail: the same numbers, measured there}, such as {"attention taken out": -0.02}. A control
    passes where all its numbers are above zero; then the sentence names the wrong reason.
    A claim of kind exact needs neither; an empirical one needs both.
    Errors: ClaimError where it does not hold or a control passes; ValueError for an unknown id, for an empirical claim
    without effect or control, for an effect that contradicts `holds`, and for numbers that are not finite; TypeError
    for what is not a truth value or not a number. With MEDLEARN_MARK_CLAIMS=1 in the environment, as when the book is
    built, a claim that does not hold is printed with its numbers instead of raised. Chapter: all.

    >>> claim("ce.gradient", 0.2 - 1 == -0.8)
    Claim ce.gradient holds: The gradient of the cross-entropy at the logits is p - y.
    >>> claim("context.needs-reach", True, effect=0.3, control={"a ring out of reach": -0.02})      # doctest: +ELLIPSIS
    Claim context.needs-reach holds: A voxel whose label depends on its surroundings needs the reach: ...
    """
    kind, sentence = _known(id)
    true = _truth(id, holds)
    measured = _numbers(id, "effect", effect)
    nulls = {name: _numbers(id, f"control {name!r}", values) for name, values in (control or {}).items()}
    if kind == "empirical" and not (measured and nulls):
        raise ValueError(f"claim {id}: expected effect= and control=, since it is empirical; "
                         f"got {_named(effect=measured, control=nulls)}")
    if measured and true != _above_zero(measured):
        raise ValueError(f"claim {id}: expected an effect above zero exactly where the claim holds, "
                         f"got {holds} and {_listed(measured)}")
    for name, values in nulls.items():
        if values.keys() != measured.keys():
            raise ValueError(f"claim {id}: expected the control {name!r} to measure what the effect does, "
                             f"{_parts(measured)}, got {_parts(values)}")
    passes = [name for name, values in nulls.items() if _above_zero(values)]
    _log({"claim": id, "holds": true, "effect": measured, "control": nulls, "passes": passes})
    if true and not passes:
        print(f"Claim {id} holds: {sentence}")
        return
    why = f"its control passes as well, {', '.join(passes)}" if true else f"does not hold: {sentence}"
    if os.environ.get(MARK):
        print(f"Claim {id} DOES NOT HOLD HERE: {sentence}")
        print("\n".join(_evidence(measured, nulls, passes)))
        return
    raise ClaimError(f"claim {id}: {why}" if true else f"claim {id} {why}")


def record(name: str, value: object) -> None:
    r"""Keep a number of this run for the chapter's study, from which the page quotes it.

    `name`: the chapter's prefix and what it is, `imbalance.recall-ce`. `value`: one finite number. Prints nothing, and
    keeps nothing outside a study. Errors: ValueError for a name without a dot or a number that is not finite; TypeError
    for anything but a number. Chapter: all.

    >>> record("imbalance.recall-ce", 0.42)
    """
    if not re.fullmatch(r"[a-z]+\.[a-z0-9-]+", name):
        raise ValueError(f"record name: expected `chapter.what-it-is` in lower case, got {name!r}")
    _log({"record": name, "value": _number(f"record {name}", value)})


@cache
def _read() -> dict[str, tuple[str, str]]:
    tables = tomllib.loads(files("medlearn").joinpath("claims.toml").read_text(encoding="utf-8"))
    # TOML reads the key `tasks.simplex.exact` as exact within simplex within tasks
    return {f"{chapter}.{name}": next(iter(row.items()))
            for chapter, rows in tables.items() for name, row in rows.items()}


def _known(id: str) -> tuple[str, str]:
    known = _read()
    if id not in known:
        near = get_close_matches(str(id), known, n=3, cutoff=0.4) or list(known)
        raise ValueError(f"claim id: expected one of claims.toml, got {id!r}. Near it: {', '.join(near)}")
    return known[id]


def _truth(id: str, holds: Any) -> bool:
    if isinstance(holds, bool):
        return holds
    # by the dtype's name, so that this file need not import NumPy or PyTorch
    if str(getattr(holds, "dtype", None)) in ("bool", "torch.bool"):
        values = holds.reshape(-1).tolist()
        if len(values) == 1:
            return values[0]
    raise TypeError(f"claim {id}: expected one truth value (bool, or one boolean element), got {_described(holds)}")


def _numbers(id: str, what: str, values: object) -> dict[str, float]:
    """One number or several, by name; empty for None."""
    if values is None:
        return {}
    several = values if isinstance(values, Mapping) else {"": values}
    return {name: _number(f"claim {id}: {what}" + (f" {name!r}" if name else ""), value)
            for name, value in several.items()}


def _number(what: str, value: Any) -> float:
    single = value.item() if getattr(value, "shape", None) is not None and math.prod(value.shape) == 1 else value
    if isinstance(single, bool) or not isinstance(single, (int, float)):
        raise TypeError(f"{what}: expected one number, got {_described(value)}")
    if not math.isfinite(single):
        raise ValueError(f"{what}: expected a finite number, got {single}")
    return float(single)


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else f"{type(value).__name__} of {value.dtype}, shape {tuple(shape)}"


def _above_zero(values: Mapping[str, float]) -> bool:
    return all(value > 0 for value in values.values())


def _listed(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:+.3g}".strip() for name, value in values.items())


def _parts(values: Mapping[str, float]) -> str:
    return ", ".join(name or "one number" for name in values) or "nothing"


def _named(**given: Mapping) -> str:
    return " and ".join(f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
                        for name, value in given.items() if value) or "neither"


def _evidence(measured: Mapping[str, float], nulls: Mapping[str, Mapping[str, float]],
              passes: list[str]) -> Iterator[str]:
    """What stands under a claim that does not hold: effect, controls, machine."""
    import torch

    if measured:
        yield f"  effect: {_listed(measured)}"
    for name, values in nulls.items():
        yield f"  control, {name}: {_listed(values)}" + (" (passes, and must not)" if name in passes else "")
    yield f"  machine: {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"


def _log(line: dict) -> None:
    if path := os.environ.get(LOG):
        with open(path, "a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
