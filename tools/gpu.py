"""What only a GPU can tell, in order of value, within minutes: tests, benchmarks, chapters at full scale, studies.

    python tools/gpu.py                     on a machine with a GPU: the records go to book/recorded/gpu
    python tools/gpu.py --small --out DIR   each step at its smallest size, only to see that it runs

`make gpu` says the first. Each step is a process of its own and a record of its own, written when it ends; one whose
usual time the rest does not hold is left out, one that takes longer is stopped, and keeps what it had. It takes the
checkout, a Python with torch, and a folder of wheels for what that Python lacks: `--wheels DIR`, installed for this run
alone. `LIMIT_S` in the environment is the limit of the whole, 540 s.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RECORDS = ROOT / "book" / "recorded" / "gpu"
FIELDS = {"step": str, "status": str, "hardware": dict, "versions": dict, "commit": str, "date": str, "command": str,
          "seconds": float, "small": bool, "result": (dict, list)}
STATUSES = ("done", "failed", "stopped")                    # stopped: the time was over, and the result is a part
RESERVE_S = 5                                               # to write the records
VERSIONS = ("torch", "numpy", "scipy", "monai", "medlearn")
# What is wanted first stands first; seconds on an H100, estimated from counted operations. Other chapters come last.
CHAPTERS = {"unet": 145, "transunet": 290, "imbalance": 30, "unetpp": 95, "uncertainty": 155, "when_to_ask": 200,
            "mri": 250, "ct": 60, "context": 180, "ultrasound": 160, "tasks": 50, "attention": 50, "cross_entropy": 35}
USUAL_S = 60                                                # of a chapter that nobody has estimated
STUDIES = (1000, 2000)                                      # other seeds, of the chapters above
NOT_SMALL = ("bench_transunet", "bench_rician")             # compiled, and with a kind of tensor of MONAI's own
AT_ONCE = 5                                                 # chapters: each is bound by its one core


@dataclass(frozen=True)
class Step:
    """A command that writes its result, or what it has of it, to {result}."""

    name: str
    usual_s: float
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    read: Callable[[Path], object] = lambda path: json.loads(path.read_text())


def steps(small: bool, chapters: list[Path]) -> tuple[list[Step], list[Step]]:
    """Those that need a quiet machine, one after the other, and then those that go side by side."""
    tests, smoke = (["tests/gpu/test_refusals.py"], ["--smoke"]) if small else (["tests"], [])
    pytest = ["-m", "pytest", "-m", "gpu", "-q", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider",
              "--junitxml={result}", *tests]
    cases = lambda name, usual_s: Step(name, usual_s, ["benchmarks/gpu_cases.py", "{result}", name, *smoke])
    alone = [Step("tests", 90, pytest, read=results_of_tests), cases("bench_losses", 50), cases("bench_transunet", 80),
             Step("gpu_rates", 40, ["benchmarks/gpu_rates.py", "{result}", *smoke]), cases("gpu_networks", 60),
             cases("bench_rician", 20)]
    alone = [step for step in alone if not small or step.name not in NOT_SMALL]
    scale = {"MEDLEARN_SCALE": "quick" if small else "full"}
    def chapter(path: Path, name: str, environment: dict[str, str]) -> Step:
        return Step(name, CHAPTERS.get(bare_name(path), USUAL_S), ["tools/run_notebook.py", str(path), "{result}"],
                    environment)

    side_by_side = [chapter(path, f"chapter_{bare_name(path)}", scale) for path in chapters]
    side_by_side += [chapter(path, f"study_{bare_name(path)}_{shift}", scale | {"STUDY_SHIFT": str(shift)})
                     for shift in STUDIES for path in chapters if not small]
    return alone, side_by_side


def bare_name(path: Path) -> str:
    """A chapter's, without its number, which may change."""
    return path.stem.partition("_")[2]


def all_chapters() -> list[Path]:
    """The notebooks of the book, in the order in which they are wanted."""
    wanted = list(CHAPTERS)
    return sorted((ROOT / "book" / "principles").glob("*.ipynb"),
                  key=lambda path: (wanted.index(bare_name(path)) if bare_name(path) in wanted else len(wanted), path))


class Run:
    """The limit, the facts that every record brings, and the folder of the records."""

    def __init__(self, out: Path, limit_s: float, small: bool, folder: Path):
        self.out, self.small, self.folder, self.end = out, small, folder, time.monotonic() + limit_s - RESERVE_S
        self.facts = {"hardware": hardware(), "versions": versions(), "commit": commit(), "small": small,
                      "command": " ".join(["python", *sys.argv])}

    @property
    def left_s(self) -> float:
        return self.end - time.monotonic()

    def take(self, step: Step) -> str:
        """Its status, or why it was left out; what it printed is shown where it did not end well."""
        if not self.small and step.usual_s > self.left_s:
            return self.say(step, f"left out: it takes about {step.usual_s:.0f} s, and {self.left_s:.0f} s are left")
        result, start = self.folder / f"{step.name}.result", time.monotonic()
        command = [sys.executable, *(word.replace("{result}", str(result)) for word in step.command)]
        try:
            done = subprocess.run(command, cwd=ROOT, env=os.environ | step.environment, capture_output=True, text=True,
                                  timeout=max(1.0, self.left_s))
            status, printed = ("failed" if done.returncode else "done"), done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            status, printed = "stopped", ""
        if not result.exists():
            return self.say(step, f"{status}, without a result\n{printed[-3000:]}")
        seconds = round(time.monotonic() - start, 1)
        record = {"step": step.name, "status": status, **self.facts, "seconds": seconds, "result": step.read(result),
                  "date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / f"{step.name}.json").write_text(json.dumps(record, indent=1) + "\n")
        return self.say(step, f"{status}, {seconds} s" + (f"\n{printed[-3000:]}" if status == "failed" else ""))

    def say(self, step: Step, text: str) -> str:
        print(f"{step.name}: {text}   [{self.left_s:.0f} s left]", flush=True)
        return text


# The facts -----------------------------------------------------------------------------------------------------------

def hardware() -> dict:
    import torch

    gpu = torch.cuda.get_device_properties(0)
    return {"gpu": gpu.name, "gpu_memory_gb": round(gpu.total_memory / 1e9, 1), "processor": platform.machine(),
            "capability": f"{gpu.major}.{gpu.minor}", "cores": len(os.sched_getaffinity(0))}


def versions() -> dict:
    import torch

    found = {"python": platform.python_version(), "cuda": str(torch.version.cuda),
             "cudnn": str(torch.backends.cudnn.version())}
    for name in VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not here"
    return found


def commit() -> str:
    """With a + where files have changed since; a checkout without its history is told by COMMIT."""
    asked = subprocess.run(["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"], capture_output=True,
                           text=True)
    return asked.stdout.strip() or os.environ.get("COMMIT", "unknown")


def results_of_tests(path: Path) -> dict:
    cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    said = {kind: [case for case in cases if case.find(kind) is not None] for kind in ("failure", "error", "skipped")}
    failures = {f"{case.get('classname')}.{case.get('name')}": (case.find(kind).get("message") or "")[:300]
                for kind in ("failure", "error") for case in said[kind]}
    return {"tests": len(cases), "failed": len(failures), "skipped": len(said["skipped"]), "failures": failures}


def problems(record: dict) -> list[str]:
    """What is wrong with a record's form."""
    found = [f"{name} is missing" if name not in record else f"{name} is {record[name]!r}" for name,
             kind in FIELDS.items()
             if not isinstance(record.get(name), kind)]
    if record.get("status") not in STATUSES:
        found.append(f"status is {record.get('status')!r}, none of {', '.join(STATUSES)}")
    return found + [f"{name} says nothing" for name in ("hardware", "versions", "commit",
                                                        "result") if not record.get(name)]


# The environment -----------------------------------------------------------------------------------------------------

def prepare(wheels: Path | None, site: Path) -> None:
    """What this Python lacks, in a folder for this run; and the checkout under its name, which benchmarks ask for."""
    site.mkdir()
    if wheels is not None:
        if not (found := sorted(map(str, wheels.glob("*.whl")))):
            sys.exit(f"--wheels: expected a folder of wheels, got {wheels} without one")
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile",
                        "--target",
                        str(site), *found], check=True)
    known = site / "medlearn-0.1.0.dist-info"
    known.mkdir()
    (known / "METADATA").write_text("Metadata-Version: 2.1\nName: medlearn\nVersion: 0.1.0\n")
    path = [str(ROOT), str(ROOT / "benchmarks"), str(site)]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [*path, os.environ.get("PYTHONPATH")]))
    sys.path += path
    for name, value in {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "TQDM_DISABLE": "1"}.items():
        os.environ.setdefault(name, value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RECORDS)
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--chapters", type=Path, nargs="*", help="notebooks to run in place of the book's")
    options = parser.parse_args()
    if options.small and options.out == RECORDS:
        parser.error("--small measures nothing: name another folder with --out")
    chapters = all_chapters() if options.chapters is None else options.chapters
    with tempfile.TemporaryDirectory() as folder:
        prepare(options.wheels, Path(folder) / "site")
        import torch

        if not torch.cuda.is_available():
            print("No GPU here. What can be tried without one: python tools/rehearse.py")
            return 1
        run = Run(options.out, float(os.environ.get("LIMIT_S", "540")), options.small, Path(folder))
        alone, side_by_side = steps(options.small, [path.resolve() for path in chapters])
        said = [run.take(step) for step in alone]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            said += pool.map(run.take, side_by_side)
    return int(any(text.startswith("failed") for text in said))


if __name__ == "__main__":
    sys.exit(main())
