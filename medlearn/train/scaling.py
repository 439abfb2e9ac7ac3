r"""How long a training takes on many processes, on paper: every assumption is a number with a name."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from medlearn.base.validation import Number, check_number, check_whole, kind_of

HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Workload:
    r"""What is trained: `scans` at `looks` patches each, `batch` patches for each process at a step.

    `patch_s` is the time of one patch, forward and backward, on one process, and `step_s` what a step takes besides,
    however small the batch. `gradient_bytes` are exchanged at each step, `patch_bytes` read for each patch.
    `critical_batch` is the size of the whole batch at which twice as many patches are needed for the same result;
    infinite means that a larger batch costs nothing.
    Units: `_s` in seconds, `_bytes` in bytes; the rest are counts.
    Errors: TypeError and ValueError for numbers that cannot be.
    Source: McCandlish et al. 2018, eq. 2.11, arXiv:1812.06162 (critical batch). Chapter 20.

    >>> Workload(patch_s=0.1, gradient_bytes=4e6).patches
    1000.0
    """

    patch_s: float
    gradient_bytes: float
    scans: float = 1000
    looks: float = 1
    batch: int = 2
    step_s: float = 0.0
    patch_bytes: float = 0.0
    critical_batch: float = math.inf

    def __post_init__(self):
        check_whole("batch", self.batch, least=1)
        for name in ("patch_s", "scans", "looks"):
            check_number(name, getattr(self, name), above=0)
        for name in ("gradient_bytes", "step_s", "patch_bytes"):
            check_number(name, getattr(self, name), least=0)
        if self.critical_batch != math.inf:
            check_number("critical_batch", self.critical_batch, above=0)

    @property
    def patches(self) -> float:
        """Looks at patches, where a larger batch costs none. Chapter 20."""
        return float(self.scans * self.looks)


@dataclass(frozen=True, kw_only=True)
class Machine:
    r"""What it is trained on: `processes` in a ring, one for each GPU.

    A process sends `link_bytes_per_s` to its neighbour, each message after `latency_s`; all of them together read
    `storage_bytes_per_s`. `overlap` is the share of the computing behind which messages can hide.
    Units: as the names say; `overlap` 0..1. Errors: TypeError and ValueError for numbers that cannot be. Chapter 20.

    >>> Machine(processes=8, link_bytes_per_s=25e9).overlap
    0.0
    """

    processes: int = 1
    link_bytes_per_s: float = math.inf
    latency_s: float = 0.0
    storage_bytes_per_s: float = math.inf
    overlap: float = 0.0

    def __post_init__(self):
        check_whole("processes", self.processes, least=1)
        for name in ("link_bytes_per_s", "storage_bytes_per_s"):
            if getattr(self, name) != math.inf:
                check_number(name, getattr(self, name), above=0)
        check_number("latency_s", self.latency_s, least=0)
        check_number("overlap", self.overlap, least=0, most=1)


class StepTime(NamedTuple):
    r"""Where the seconds of a step go: computing, then what is left to wait for of the gradients, and of the reading.

    `exchange_s` is the whole exchange, of which `wait_s` could not hide. Units: seconds. Chapter 20.

    >>> StepTime(compute_s=1.0, exchange_s=0.5, wait_s=0.25, starve_s=0.0).total_s
    1.25
    """

    compute_s: float
    exchange_s: float
    wait_s: float
    starve_s: float

    @property
    def total_s(self) -> float:
        """All of it but what hides behind the computing. Chapter 20."""
        return self.compute_s + self.wait_s + self.starve_s


def ring_all_reduce_s(message_bytes: Number, *, processes: int, link_bytes_per_s: Number,
                      latency_s: Number = 0.0) -> float:
    r"""$2 (n - 1) \left(\ell + \frac{b}{n\,v}\right)$: the time in which n processes in a ring get the sum of b bytes.

    Each cuts its b bytes into n parts. In n - 1 rounds the parts are added up around the ring, in n - 1 more the sums
    are passed on. So the time for the bytes stays below 2 b / v however many there are; the time for the messages does
    not. One process has nobody to talk to: 0.
    Units: `message_bytes` b in bytes, `link_bytes_per_s` v in bytes per second, `latency_s` l in seconds; the answer in
    seconds. Errors: TypeError and ValueError for numbers that cannot be.
    Source: Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002. Chapter 20.

    >>> round(ring_all_reduce_s(4e9, processes=4, link_bytes_per_s=1e9), 3)
    6.0
    """
    size = check_number("message_bytes", message_bytes, least=0)
    ring = Machine(processes=processes, link_bytes_per_s=float(link_bytes_per_s), latency_s=float(latency_s))
    n = ring.processes
    return 2 * (n - 1) * (ring.latency_s + size / n / ring.link_bytes_per_s)


def step_time(work: Workload, machine: Machine) -> StepTime:
    r"""$t = \max\big(c + \max(0,\ r - o\,c),\ \text{reading}\big)$, with the computing c and the exchange r of a step.

    The next batch is read while this one is computed, from a storage that all processes share. Without an exchange and
    with a fast storage it is the time of the computing alone.
    Units: seconds. `work` and `machine` are of those types. Errors: TypeError for anything else. Chapter 20.

    >>> work = Workload(patch_s=0.1, batch=2, gradient_bytes=1e9)
    >>> step = step_time(work, Machine(processes=2, link_bytes_per_s=10e9, overlap=0.25))
    >>> round(step.exchange_s, 3), round(step.wait_s, 3), round(step.total_s, 3)
    (0.1, 0.05, 0.25)
    """
    _check(work, machine)
    compute = work.batch * work.patch_s + work.step_s
    exchange = ring_all_reduce_s(work.gradient_bytes, processes=machine.processes,
                                 link_bytes_per_s=machine.link_bytes_per_s, latency_s=machine.latency_s)
    wait = max(0.0, exchange - machine.overlap * compute)
    reading = machine.processes * work.batch * work.patch_bytes / machine.storage_bytes_per_s
    return StepTime(compute, exchange, wait, max(0.0, reading - compute - wait))


def training_hours(work: Workload, machine: Machine) -> float:
    r"""$\frac{N}{B}\left(1 + \frac{B}{B_c}\right) t$: steps times the time of a step, for N patches in batches of B.

    B is `work.batch` times the processes, B_c the critical batch, t as `step_time` says. Each process keeps its batch,
    so more processes take fewer steps; the steps never fall below N / B_c, however many processes there are.
    Units: hours. `work` and `machine` are of those types. Errors: TypeError for anything else.
    Source: McCandlish et al. 2018, eq. 2.11, arXiv:1812.06162. Chapter 20.

    >>> work = Workload(scans=36e3, patch_s=0.1, gradient_bytes=0.0, batch=1)
    >>> [round(training_hours(work, Machine(processes=n)), 3) for n in (1, 4)]
    [1.0, 0.25]
    """
    _check(work, machine)
    batch = work.batch * machine.processes
    return work.patches / batch * (1 + batch / work.critical_batch) * step_time(work, machine).total_s / HOUR_S


def _check(work: Workload, machine: Machine) -> None:
    if not isinstance(work, Workload):
        raise TypeError(f"work: expected a Workload, got {kind_of(work)}")
    if not isinstance(machine, Machine):
        raise TypeError(f"machine: expected a Machine, got {kind_of(machine)}")
