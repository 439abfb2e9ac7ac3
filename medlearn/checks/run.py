r"""Running somebody else's code: nothing of it stays behind, and an error is traced to the line they wrote."""
from __future__ import annotations

import dis
import io
import os
import random
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import numpy as np
import torch

_LIBRARIES = tuple(f"{folder}{os.sep}" for folder in (Path(__file__).parents[1], sysconfig.get_path("stdlib"),
                                                      sysconfig.get_path("platstdlib")))
_CELLS = ("<ipython-input", "<string>", "<stdin>")


@contextmanager
def isolated() -> Iterator[io.StringIO]:
    r"""Run with random numbers from a fixed seed, gradients on, and printing caught; afterwards all is as before.

    Gives the buffer with what was printed. Chapter: all.
    """
    python, numpy = random.getstate(), np.random.get_state()
    printed = io.StringIO()
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(gpus), redirect_stdout(printed), torch.enable_grad():
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield printed
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def location(error: BaseException) -> traceback.FrameSummary | None:
    r"""The last line of the student's own code that an error passed through; None where it passed through none."""
    return next((frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if _own(frame.filename)), None)


def is_a_stub(error: BaseException) -> bool:
    r"""Whether the student's own code says `raise NotImplementedError`; PyTorch raises it too, for what it cannot do."""
    last = error.__traceback__
    while last.tb_next:
        last = last.tb_next
    code = last.tb_frame.f_code
    return (isinstance(error, NotImplementedError) and _own(code.co_filename)
            and dis.opname[code.co_code[last.tb_lasti]] == "RAISE_VARARGS")


def _own(filename: str) -> bool:
    if filename.startswith("<"):
        return filename.startswith(_CELLS)
    return not filename.startswith(_LIBRARIES) and not {"site-packages", "dist-packages"} & set(Path(filename).parts)
