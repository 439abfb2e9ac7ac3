"""Where a chapter runs, and how much of it: the device and the scale."""
from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SCALES = ("quick", "full")
_chosen: str | None = None
_UNSET = object()


def set_scale(name: str | None) -> None:
    r"""Chooses the scale of every experiment that follows.

    `name`: "quick" or "full"; None goes back to the automatic choice. It overrides the environment variable
    MEDLEARN_SCALE. Errors: ValueError for any other name. Every chapter.

    >>> set_scale("full")
    >>> scale()
    'full'
    >>> set_scale(None)
    """
    global _chosen
    _chosen = None if name is None else _known(name, "set_scale")


def scale(*, quick: Any = _UNSET, full: Any = _UNSET) -> Any:
    r"""The scale in force, "quick" or "full"; with both values given, the value for that scale.

    `scale(quick=200, full=3000)` is 200 in the quick scale. The first that is set decides: `set_scale`, then the
    environment variable MEDLEARN_SCALE; else it is "quick", on a GPU too.
    Errors: ValueError where MEDLEARN_SCALE holds something else; TypeError where only one of the two values was given.
    Every chapter.

    >>> set_scale("quick")
    >>> scale(quick=200, full=3000)
    200
    >>> set_scale(None)
    """
    if (quick is _UNSET) != (full is _UNSET):
        raise TypeError("expected both quick= and full=, or neither; "
                        f"got only {'full' if quick is _UNSET else 'quick'}=")
    name = _chosen or _from_environment() or "quick"
    if quick is _UNSET:
        return name
    return quick if name == "quick" else full


def steps(*, quick: int, full: int) -> int:
    r"""How many steps to train: the number for the scale in force, times MEDLEARN_BUDGET where that is set.

    `quick` and `full` are the steps of the two scales. A study trains with a multiple of the quick budget, such as
    MEDLEARN_BUDGET=4, to see whether a claim is about the method or about how long it was trained.
    Errors: ValueError where MEDLEARN_BUDGET is no number above zero, and as of `scale`. Every chapter that trains.

    >>> set_scale("quick")
    >>> steps(quick=160, full=4000)
    160
    >>> set_scale(None)
    """
    told = os.environ.get("MEDLEARN_BUDGET") or "1"
    try:
        factor = float(told)
    except ValueError:
        factor = float("nan")
    if not 0 < factor < float("inf"):
        raise ValueError(f"MEDLEARN_BUDGET: expected a number above zero, got {told!r}")
    return max(1, round(factor * scale(quick=quick, full=full)))


def device(verbose: bool = True) -> torch.device:
    r"""The best device here: CUDA, else Apple's MPS, else the CPU. Says in one line what it found.

    Where there is no GPU the line says what to do about it. `verbose=False` prints nothing. Every chapter.

    >>> device(verbose=False).type in ("cuda", "mps", "cpu")
    True
    """
    import torch

    if torch.cuda.is_available():
        memory_gb = torch.cuda.get_device_properties(0).total_memory / 1e9
        name, found = "cuda", f"GPU: {torch.cuda.get_device_name(0)}, {memory_gb:.0f} GB."
    elif torch.backends.mps.is_available():
        name, found = "mps", "GPU: Apple (mps)."
    elif "google.colab" in sys.modules:
        name, found = "cpu", ("No GPU is switched on. In Colab: Runtime > Change runtime type > T4 GPU, then run again "
                              "from the top. Everything also runs without, in the quick scale.")
    else:
        name, found = "cpu", "No GPU here: running on the CPU. All chapters run on it in the quick scale."
    if verbose:
        print(found)
    return torch.device(name)


def autocast(device: torch.device) -> torch.autocast:
    r"""Mixed precision where it is fast: `with autocast(device):` computes in bfloat16 on hardware that has it.

    That is a GPU from Ampere on, or a CPU with AVX512-BF16 or AMX. Anywhere else nothing changes: all stays float32.
    bfloat16 has float32's range, so no gradient needs scaling. Chapter: every one that trains.

    >>> import torch
    >>> with autocast(torch.device("cpu")):
    ...     (torch.ones(2, 2) @ torch.ones(2, 2)).dtype in (torch.float32, torch.bfloat16)
    True
    """
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision(device) == "bf16")


def precision(device: torch.device) -> str:
    r"""The precision of all training on a device: "bf16" where the hardware multiplies it, else "fp32".

    An older GPU, such as a T4, is fast in fp16 only, whose short range a loop has to scale its gradients for, and whose
    results differ from the book's. So it is never chosen: `Recipe(precision="fp16")` asks for it. Chapter 7.

    >>> import torch
    >>> precision(torch.device("cpu")) in ("bf16", "fp32")
    True
    """
    return "bf16" if _has_bfloat16(device) else "fp32"


def _known(name: str, source: str) -> str:
    if name not in SCALES:
        raise ValueError(f'{source}: expected "quick" or "full", got {name!r}')
    return name


def _from_environment() -> str | None:
    name = os.environ.get("MEDLEARN_SCALE")
    return _known(name, "MEDLEARN_SCALE") if name else None


def _has_bfloat16(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)       # a T4, 7.5, only emulates it, slowly
    from medlearn.base.private import onednn_has_bfloat16, processor_has_bfloat16

    return device.type == "cpu" and processor_has_bfloat16() and onednn_has_bfloat16()
