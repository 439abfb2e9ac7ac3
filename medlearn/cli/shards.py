r"""Which part of a list is this process's: told by torchrun, by a SLURM array, or by both."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    r"""Part `index` of `count`, 0 the first: every `count`-th item, so parts differ by one item at most.

    >>> Shard(1, 3).of(["a", "b", "c", "d", "e"]), Shard(0, 1).of(["a"])
    (['b', 'e'], ['a'])
    """

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"part {self.index + 1} of {self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Of all `items`, those of this part."""
        return list(items[self.index::self.count])


def this_shard(environment: Mapping[str, str] | None = None) -> Shard:
    r"""From RANK and WORLD_SIZE, and from SLURM_ARRAY_TASK_ID, _COUNT, _MIN and _STEP, in the `environment`.

    Where both are there, each task of the array shares its part among its processes. Where neither is, all is one part.
    Errors: ValueError for numbers that are none, or do not go together.

    >>> this_shard({"RANK": "1", "WORLD_SIZE": "2"})
    Shard(index=1, count=2)
    >>> this_shard({"SLURM_ARRAY_TASK_ID": "12", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_ARRAY_TASK_MIN": "10"})
    Shard(index=2, count=3)
    """
    told = os.environ if environment is None else environment
    first = _number(told, "SLURM_ARRAY_TASK_MIN", 0)
    step = _number(told, "SLURM_ARRAY_TASK_STEP", 1)
    if step < 1:
        raise ValueError(f"SLURM_ARRAY_TASK_STEP: expected 1 or more, got {step}")
    task, beside = divmod(_number(told, "SLURM_ARRAY_TASK_ID", first) - first, step)
    tasks = _number(told, "SLURM_ARRAY_TASK_COUNT", 1)
    rank, processes = _number(told, "RANK", 0), _number(told, "WORLD_SIZE", 1)
    if beside or not 0 <= task < tasks:
        raise ValueError(f"SLURM_ARRAY_TASK_ID: expected one of {tasks} from {first} in steps of {step}, got "
                         f"{told['SLURM_ARRAY_TASK_ID']}")
    if not 0 <= rank < processes:
        raise ValueError(f"RANK: expected 0..{processes - 1} for WORLD_SIZE = {processes}, got {rank}")
    return Shard(task * processes + rank, tasks * processes)


def _number(told: Mapping[str, str], name: str, default: int) -> int:
    try:
        return int(told.get(name) or default)
    except ValueError:
        raise ValueError(f"{name}: expected a whole number, got {told[name]!r}") from None
