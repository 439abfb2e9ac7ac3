"""Two programs side by side, interleaved in one run: their time, their memory, and that they answer the same.

A benchmark is a file with functions that prepare and return a call without arguments; the call's result is a list of
numbers on which both sides must agree. Its `cases` say which sides meet, at the sizes that a `Setting` asks for. See
bench_instances.py. Only the standard library is needed, since a peer may live in an environment without the rest.
"""
from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "RESULTS.md"
# freed memory goes back at once, or the high-water mark says nothing; it costs time, so only memory is measured so
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Side:
    """A package, the function of the benchmark's file that prepares its call, with arguments that JSON can carry."""

    package: str
    prepare: str
    arguments: dict = field(default_factory=dict)
    python: str = sys.executable                                   # the interpreter that has the package


@dataclass(frozen=True)
class Case:
    """What both sides do, how many times faster ours should be, and how many times leaner."""

    title: str
    ours: Side
    peer: Side
    faster: float | None = None
    leaner: float | None = None


@dataclass(frozen=True)
class Measured:
    version: str
    cpu_ms: float
    wall_ms: float
    peak_mib: float
    answer: list[float]
    on_gpu: bool = False

    @property
    def cost_ms(self) -> float:
        """Processor time, which other programs disturb less; on a GPU the wall time, for there the processor waits."""
        return self.wall_ms if self.on_gpu else self.cpu_ms


@dataclass(frozen=True)
class Setting:
    """How a benchmark is run."""

    rounds: int = 7
    threads: int = 1
    smoke: bool = False                                             # at the smallest sizes, only to see that it runs

    @property
    def gpu(self) -> bool:
        if importlib.util.find_spec("torch") is None:
            return False
        import torch

        return torch.cuda.is_available()


def main(file: str, heading: str, about: str, cases: Callable[[Setting], Iterable[Case]], install: str) -> Setting:
    """Runs the cases of a benchmark's file, prints their table, and ends with 1 where a bar is missed.

    `--record` also writes the table under its heading in RESULTS.md. `--smoke` measures nothing: each side runs once,
    at its smallest size. `install` is the command that brings the peer. Gives back what was asked for.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--record", action="store_true", help=f"write the table into {RESULTS.name}")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each side (7)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each side (1)")
    parser.add_argument("--smoke", action="store_true", help="measure nothing: see that each side runs and they agree")
    options = parser.parse_args()
    setting = Setting(options.rounds, options.threads, options.smoke)
    cases = list(cases(setting))
    if setting.smoke:
        smoke(file, cases)
        return setting
    sides = [side for case in cases for side in (case.ours, case.peer)]
    missing = sorted({side.package for side in sides if not has(side.package, side.python)})
    if missing:
        print(f"Nothing was measured: {', '.join(missing)} is not here. To install it:\n  {install}")
        return setting
    found = [(case, *measure(file, case, options.rounds, options.threads)) for case in cases]
    section = (f"{about}\n\n{machine()}, {options.threads} thread{'s' * (options.threads > 1)}, "
               f"medians of {options.rounds} interleaved runs.\n\n{table(found)}")
    print(section)
    if options.record:
        text = RESULTS.read_text() if RESULTS.exists() else "# Results\n"
        command = " ".join(["python", str(Path(file).resolve().relative_to(ROOT)), *sys.argv[1:]])
        RESULTS.write_text(with_section(text, heading, f"{section}\n\nRecorded on {date.today()} by `{command}`.\n"))
    if missed := [line for result in found for line in misses(*result)]:
        sys.exit("\n".join(missed))
    return setting


def smoke(file: str, cases: list[Case]) -> None:
    """Every side once, in this process; a side whose package or interpreter is not here is left out, and named."""
    known: dict[str, list[float]] = {}                              # several cases may share a side
    for case in cases:
        answers = []
        for side in (case.ours, case.peer):
            if side.python != sys.executable or not has(side.package):
                print(f"{case.title}: {side.package} is not here")
                continue
            if repr(side) not in known:
                known[repr(side)] = prepared(file, side.prepare, side.arguments)()
            answers.append(known[repr(side)])
        if len(answers) == 2 and not agree(*answers):
            sys.exit(f"{case.title}: {case.ours.package} says {answers[0]}, {case.peer.package} says {answers[1]}")
        print(f"{case.title}: {'runs' if answers else 'left out'}")


def measure(file: str, case: Case, rounds: int, threads: int) -> tuple[Measured, Measured]:
    """Both sides, turn by turn, and then the memory of each in a fresh process; they must agree each time."""
    sides = (case.ours, case.peer)
    times: tuple[list[dict], list[dict]] = ([], [])
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(file, side, threads)) for side in sides]
        for worker in workers:
            worker.ask("time")                                     # warm
        for turn in range(rounds):
            for i in (0, 1) if turn % 2 == 0 else (1, 0):
                times[i].append(workers[i].ask("time"))
    found = []
    for side, runs in zip(sides, times):
        with Worker(file, side, threads, MALLOC) as worker:
            peak = worker.ask("memory")["peak_mib"]
        cpu, wall = (statistics.median(run[key] for run in runs) for key in ("cpu_ms", "wall_ms"))
        found.append(Measured(runs[0]["version"], cpu, wall, peak, runs[0]["answer"], runs[0]["on_gpu"]))
    answers = [run["answer"] for runs in times for run in runs]
    if not all(agree(answer, answers[0]) for answer in answers):
        sys.exit(f"{case.title}: {case.ours.package} says {found[0].answer}, "
                 f"{case.peer.package} says {found[1].answer}")
    return found[0], found[1]


def agree(a: list[float], b: list[float]) -> bool:
    return len(a) == len(b) and all(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9) for x, y in zip(a, b))


def misses(case: Case, ours: Measured, peer: Measured) -> list[str]:
    """What to say of each bar that is not reached."""
    bars = zip(("times faster", "times leaner"), (case.faster, case.leaner), ratios(ours, peer))
    return [f"{case.title}: expected {bar:g} {what}, got {got:.3g}" for what, bar, got in bars if bar and got < bar]


def ratios(ours: Measured, peer: Measured) -> tuple[float, float]:
    """How many times faster and leaner ours is; memory is counted in pages of 4 KiB."""
    return peer.cost_ms / ours.cost_ms, peer.peak_mib / max(ours.peak_mib, 4 / 1024)


# The table -----------------------------------------------------------------------------------------------------------

COLUMNS = ("", "processor time", "wall time", "peak memory", "times faster", "times leaner")


def table(found: list[tuple[Case, Measured, Measured]]) -> str:
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    for case, ours, peer in found:
        bars = (f"bar: {bar:g}" if bar else "" for bar in (case.faster, case.leaner))
        lines.append((f"**{case.title}**", "", "", "", *bars))
        reached = [f"{value:.0f}" if value > 10 else f"{value:.1f}" for value in ratios(ours, peer)]
        for side, m, last in ((case.ours, ours, reached), (case.peer, peer, ("", ""))):
            lines.append((f"{side.package} {m.version}", f"{m.cpu_ms:.0f} ms", f"{m.wall_ms:.0f} ms",
                          f"{m.peak_mib:.1f} MiB", *last))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def with_section(text: str, heading: str, body: str) -> str:
    """The text with the body under `## heading`: in its place, or at the end."""
    section = f"## {heading}\n\n{body}"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section + "\n", text).rstrip() + "\n"
    return f"{text.rstrip()}\n\n{section}"


def machine() -> str:
    """The processor, its cores, the GPU where there is one, and PyTorch's version."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else []
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    gpu = shutil.which(query[0]) and subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip()
    torch = f"torch {importlib.metadata.version('torch')}"
    return ", ".join(filter(None, ((names or [platform.machine()])[0], f"{os.cpu_count()} cores", gpu, torch)))


# A process for each side ---------------------------------------------------------------------------------------------

def prepared(file: str, prepare: str, arguments: dict) -> Callable[[], list[float]]:
    """The call that a function of a benchmark's file prepares."""
    sys.path.insert(0, str(Path(file).parent))
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, prepare)(**arguments)


@cache
def has(package: str, python: str = sys.executable) -> bool:
    code = f"import importlib.metadata as m; m.version({package!r})"
    run = Path(python).exists() and subprocess.run([python, "-c", code], capture_output=True, check=False)
    return bool(run) and run.returncode == 0


class Worker:
    """A side in its own interpreter, that prepares once and then measures one call each time it is asked."""

    def __init__(self, file: str, side: Side, threads: int, settings: dict[str, str] | None = None):
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads)), **(settings or {})}
        command = [side.python, __file__, "worker", str(Path(file).resolve()), side.package, side.prepare,
                   json.dumps(side.arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        self.side = side

    def ask(self, what: str) -> dict:
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.side.package}: {self.side.prepare} ended with {self.process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.stdin.close()
        self.process.wait()


def work(file: str, package: str, prepare: str, arguments: str) -> None:
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                                                   # what a package prints is no reply
    call = prepared(file, prepare, json.loads(arguments))
    measures: dict[str, Callable] = {"time": timed, "memory": peak}
    for line in sys.stdin:
        reply = measures[line.strip()](call)
        replies.write(json.dumps({"version": importlib.metadata.version(package), **reply}) + "\n")
        replies.flush()


def timed(call: Callable[[], list[float]]) -> dict:
    finish()
    wall, cpu = time.perf_counter(), time.process_time()
    answer = call()
    finish()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"cpu_ms": 1e3 * cpu, "wall_ms": 1e3 * wall, "answer": answer, "on_gpu": cuda_in_use() is not None}


def peak(call: Callable[[], list[float]]) -> dict:
    """How far one call drives the memory above what was there before; what it imports lazily is loaded first."""
    call()
    if cuda := cuda_in_use():
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        call()
        return {"peak_mib": (cuda.max_memory_allocated() - before) / 2**20}
    if not (mark := Path("/proc/self/clear_refs")).exists():
        return {"peak_mib": math.nan}                               # only Linux tells
    mark.write_text("5")                                            # the high-water mark starts anew
    before = resident_kib("VmRSS")
    call()
    return {"peak_mib": (resident_kib("VmHWM") - before) / 2**10}


def resident_kib(name: str) -> int:
    return int(re.search(rf"^{name}:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)[1])


def finish() -> None:
    if cuda := cuda_in_use():
        cuda.synchronize()


def cuda_in_use():
    torch = sys.modules.get("torch")
    return torch.cuda if torch and torch.cuda.is_available() and torch.cuda.is_initialized() else None


if __name__ == "__main__" and sys.argv[1:2] == ["worker"]:
    work(*sys.argv[2:])
