r"""Running somebody else's code: it is stopped in time, nothing of it stays behind, an error is traced to its line."""
from __future__ import annotations

import builtins
import dis
import io
import math
import os
import random
import signal
import sys
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

_LIBRARIES = tuple(f"{folder}{os.sep}" for folder in (Path(__file__).parents[1], sysconfig.get_path("stdlib"),
                                                      sysconfig.get_path("platstdlib")))
_CELLS = ("<ipython-input", "<string>", "<stdin>")
_AGAIN_S = 0.05                     # a bare `except:` may have caught the first one
_PLACES = (builtins, math, random, np, np.random, np.linalg, torch, torch.fft, torch.linalg, torch.special,
           torch.autograd,
           torch.nn, torch.nn.functional, torch.Tensor, torch.nn.Module)
_SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    (lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
     lambda mode: torch.use_deterministic_algorithms(mode[0], warn_only=mode[1])),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    (lambda: torch.backends.cudnn.benchmark, lambda on: setattr(torch.backends.cudnn, "benchmark", on)),
    (lambda: torch.backends.cudnn.deterministic, lambda on: setattr(torch.backends.cudnn, "deterministic", on)),
    # a default device that is set, be it the CPU, slows every call; None takes it away
    (torch.get_default_device, lambda one: torch.set_default_device(None if one.type == "cpu" else one)),
    (np.get_printoptions, lambda options: np.set_printoptions(**options)),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (os.getcwd, os.chdir),
)


class Endless(BaseException):
    """An answer took too long. No Exception, which the answer might catch."""


class Exits(BaseException):
    """An answer tried to end the process."""


@contextmanager
def isolated(printed: io.StringIO | None = None) -> Iterator[io.StringIO]:
    r"""Run with random numbers from a fixed seed, gradients on, and printing caught; afterwards all is as before.

    That is: random states; torch's default dtype and device, threads, precision and determinism; the folder and the
    environment; filters of warnings; NumPy's print options and handling of errors; and functions of Python, NumPy and
    torch that were replaced. What would end the process raises `Exits`. Not put back: files, threads that still run,
    autocast, torch's print options.
    `printed`: a buffer to add to; a new one where not given. Gives the buffer. Chapter: all.
    """
    printed = io.StringIO() if printed is None else printed
    python, numpy = random.getstate(), np.random.get_state()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    streams = sys.stdout, sys.stderr
    try:
        with ExitStack() as stack:
            # the originals come back first: the others need them
            for context in (_settings(), _environment(), _no_exit(), warnings.catch_warnings(), np.errstate(),
                            torch.random.fork_rng(gpus), redirect_stdout(printed), torch.inference_mode(False),
                            torch.enable_grad(), _originals()):
                stack.enter_context(context)
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield printed
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        sys.stdout, sys.stderr = streams


def can_be_stopped() -> bool:
    r"""Whether `limited` can stop an answer here: in the main thread, on a system with timers, so not on Windows."""
    return threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    r"""Raises `Endless` in what takes longer, at its next line of Python; no limit where `can_be_stopped` says no.

    A timer that somebody else had set goes on afterwards. A loop around a bare `except:` cannot be stopped so, nor one
    operation of torch before it is done. Chapter: all.
    """
    if not can_be_stopped():
        yield
        return

    ended = False

    def stop(*_: object) -> None:
        if not ended:
            raise Endless(f"{seconds:g} s")

    theirs = signal.signal(signal.SIGALRM, stop)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN_S)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        ended = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, theirs)
        signal.signal(signal.SIGINT, interrupt)
        if left:
            signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def _settings() -> Iterator[None]:
    before = [read() for read, _ in _SETTINGS]
    try:
        yield
    finally:
        for (read, write), value in zip(_SETTINGS, before):
            if _now(read) != value:
                write(value)


def _now(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except OSError:                                         # the folder that the answer went to is gone
        return None


@contextmanager
def _environment() -> Iterator[None]:
    before, path = dict(os.environ), list(sys.path)
    try:
        yield
    finally:
        if dict(os.environ) != before:
            os.environ.clear()
            os.environ.update(before)
        sys.path[:] = path


@contextmanager
def _originals() -> Iterator[None]:
    """Puts functions and classes back that were replaced or deleted, and takes away methods that were added."""
    before = [{name: value for name, value in vars(place).items() if callable(value)} for place in _PLACES]
    known = [set(vars(place)) for place in _PLACES if isinstance(place, type)]
    set_attribute, delete_attribute, now = setattr, delattr, vars          # the answer may replace these too
    try:
        yield
    finally:
        for place, values in zip(_PLACES, before):
            for name, value in values.items():
                if now(place).get(name) is not value:
                    set_attribute(place, name, value)
        for place, names in zip((place for place in _PLACES if isinstance(place, type)), known):
            for name in set(now(place)) - names:
                if callable(now(place)[name]):
                    delete_attribute(place, name)


@contextmanager
def _no_exit() -> Iterator[None]:
    """`os._exit`, `os.abort` and, in a notebook, `exit` raise `Exits`; in a child process they do as ever."""
    here, shell = os.getpid(), sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    doors = [(os, "_exit"), (os, "abort"), *([(shell, "ask_exit")] if hasattr(shell, "ask_exit") else [])]
    before = [getattr(place, name) for place, name in doors]

    def closed(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any) -> NoReturn:
            if os.getpid() != here:
                original(*args)
            raise Exits(name)
        return refuse

    for (place, name), original in zip(doors, before):
        setattr(place, name, closed("exit" if name == "ask_exit" else f"os.{name}", original))
    try:
        yield
    finally:
        for (place, name), original in zip(doors, before):
            setattr(place, name, original)


def location(error: BaseException) -> traceback.FrameSummary | None:
    r"""The last line of the student's own code that an error passed through; None where it passed through none."""
    return next((frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if _own(frame.filename)), None)


def is_a_stub(error: BaseException) -> bool:
    r"""Whether the student's own code says `raise NotImplementedError`; PyTorch raises it too, where it cannot."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:                                        # it was never raised
        return False
    code = last.tb_frame.f_code
    return (isinstance(error, NotImplementedError) and _own(code.co_filename)
            and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS")


def _own(filename: str) -> bool:
    if filename.startswith("<"):
        return filename.startswith(_CELLS)
    return not filename.startswith(_LIBRARIES) and not {"site-packages", "dist-packages"} & set(Path(filename).parts)
