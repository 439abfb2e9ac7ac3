"""All tests, one kind after the other, whatever fails; then how each went.

    python tools/suite.py
"""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORKERS = str(min(os.cpu_count() or 1, 8))
STEPS = {
    "no unused name, no trap of the language": ["-m", "ruff", "check", "medlearn", "tools", "tests", "benchmarks", "book/_ext"],
    "the signatures mean what they say": ["-m", "mypy"],
    "every chapter runs": ["tools/execute.py"],
    "the pages build without a warning": ["tools/build.py"],
    "the notebooks match their chapters": ["tools/notebooks.py", "--check"],
    "the package, the machinery, the pages": ["-m", "pytest", "tests", "-q", "-n", WORKERS, "--dist", "worksteal"],
    "the GPU tests, rehearsed without one": ["tools/rehearse.py"],
    "the examples of the reference": ["-m", "pytest", "medlearn", "--doctest-modules", "-q"],
    "the notebooks give the outputs they show": ["-m", "pytest", "book", "-q", "--nbval", "--nbval-cell-timeout=600",
                                                 "-n", "2", "--dist", "loadfile"],
}


def main() -> int:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # all this is true of every machine; `make gpu` asks a GPU
    os.environ.setdefault("TQDM_DISABLE", "1")  # a comparison of outputs has no use for progress bars
    results = []
    for name, command in STEPS.items():
        print(f"\n=== {name}", flush=True)
        start = time.perf_counter()
        status = subprocess.run([sys.executable, *command], cwd=ROOT).returncode
        results.append((name, status, time.perf_counter() - start))
    print("\n=== all together")
    for name, status, seconds in results:
        print(f"  {'FAILED' if status else 'ok':6} {seconds:6.1f} s  {name}")
    return 1 if any(status for _, status, _ in results) else 0


if __name__ == "__main__":
    sys.exit(main())
