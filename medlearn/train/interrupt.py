r"""Ctrl-C between two steps and never within one: half of an update is no state to go on from."""
from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Interrupt:
    r"""`with Interrupt() as interrupt:` notes a Ctrl-C, until `heed` hands it on to whoever would have got it.

    A second one is handed on at once, and so is any within `at_once`. Outside the main thread no signal can be caught,
    and nothing is held back.
    """

    def __init__(self) -> None:
        self.asked = False
        self._holds_back = True
        self._before: Callable[..., Any] = signal.default_int_handler

    def __enter__(self) -> Interrupt:
        before = signal.getsignal(signal.SIGINT)
        self._caught = threading.current_thread() is threading.main_thread() and callable(before)
        if self._caught and callable(before):
            self._before = before
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if self._caught:
            signal.signal(signal.SIGINT, self._before)
        if self.asked and error is None:                    # it came after the last look
            self.heed()

    def heed(self) -> None:
        """Hands it on: by default a KeyboardInterrupt."""
        self.asked = False
        self._before(signal.SIGINT, None)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within it nothing is held back."""
        self._holds_back = False
        try:
            if self.asked:
                self.heed()
            yield
        finally:
            self._holds_back = True

    def _hear(self, number: int, frame: Any) -> None:
        if self._holds_back and not self.asked:
            self.asked = True
        else:
            self._before(number, frame)
