r"""A rehearsal of CUDA on a machine without a GPU: tensors that say they are on cuda:0, and refuse what CUDA refuses.

    python tools/rehearse.py                        the tests marked `gpu`, as on a T4 and as on a newer card
    PYTHONPATH=tests REHEARSE_CUDA=9.0,jitter python -m pytest -p helpers.rehearsal.plugin -m gpu tests/nets

It takes a process of its own, for it is loaded before torch and is not undone. A tensor on the GPU is an `OnCuda`,
which carries a CPU tensor inside. Torch's dispatcher, autograd and autocast see a CUDA tensor; each operation then
runs on the insides, after a look at what a GPU would refuse (refusals.py), and with what it rounds otherwise
(rounding.py).

It sees: tensors on two devices; a generator of another device than its numbers; `.numpy()` of a GPU tensor; operations
without a CUDA kernel; the GPU in a forked process; products of whole numbers and Fourier transforms of half precision;
the rounding of float16 and of TF32; and with jitter, whatever asks for the same last bit.
It does not see: speed, memory, streams and errors that come late, the kernels of cuDNN and of attention, compiled code,
several GPUs.
"""
from __future__ import annotations

import os
from dataclasses import dataclass

TRIED = ("2.11", "2.13")                # the versions of torch whose inner parts it fits


@dataclass
class Gpu:
    """What the imagined GPU is like, and the only process that may use it."""

    capability: tuple[int, int] = (7, 5)
    jitter: bool = False
    process: int = 0


GPU = Gpu()


def asked_for() -> tuple[tuple[int, int], bool]:
    """What REHEARSE_CUDA says: a capability, as 7.5 or 9.0, and jitter where `,jitter` follows."""
    capability, _, jitter = os.environ["REHEARSE_CUDA"].partition(",")
    major, minor = capability.split(".")
    if jitter not in ("", "jitter"):
        raise ValueError(f"REHEARSE_CUDA: expected 7.5 or 9.0,jitter, or the like, got {os.environ['REHEARSE_CUDA']!r}")
    return (int(major), int(minor)), bool(jitter)
