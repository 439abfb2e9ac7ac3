"""Names that Accelerate keeps to itself, and why each is used: the place to look when a new release breaks something.

Tried with Accelerate 1.15. `tests/train/test_accelerate_private.py` says which name is gone.
"""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def settings_of_its_own() -> Iterator[None]:
    """Accelerate's settings hold for a whole process, and no public call gives them up for a while and back again."""
    from accelerate.state import AcceleratorState, GradientState

    found = [(state, dict(state._shared_state)) for state in (AcceleratorState, GradientState)]
    AcceleratorState._reset_state()
    try:
        yield
    finally:
        for state, before in found:
            state._shared_state.clear()
            state._shared_state.update(before)
