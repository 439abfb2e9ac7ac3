"""All tests, one kind after the other, whatever fails; then how each went.

    python tools/suite.py
"""
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
WORKERS = str(min(os.cpu_count() or 1, 8))
STEPS = {
    "no unused name, no trap of the language": ["-m", "ruff", "check", "medlearn", "tools", "tests", "benchmarks",
                                                "book/_ext"],
    "the signatures mean what they say": ["-m", "mypy"],
    # a chapter runs once: book/conftest.py keeps what a notebook gives for the pages, and the next step runs the rest
    "the notebooks give the outputs they show": ["-m", "pytest", "book", "-q", "--nbval", "--nbval-cell-timeout=600",
                                                 "-n", WORKERS, "--dist", "loadfile"],
    "every chapter runs": ["tools/execute.py"],
    "the pages build without a warning": ["tools/build.py"],
    "the notebooks match their chapters": ["tools/notebooks.py", "--check"],
    "the package, the machinery, the pages": ["-m", "pytest", "tests", "-q", "-n", WORKERS, "--dist", "worksteal",
                                              "--durations=25"],
    "the GPU tests, rehearsed without one": ["tools/rehearse.py"],
    "the examples of the reference": ["-m", "pytest", "medlearn", "--doctest-modules", "-q",
                                      "--ignore=medlearn/losses/_fused.py"],  # it needs Triton, and has no example
}


def skipped(report: Path) -> Counter[str]:
    """Why how many tests of a step were skipped, from the report that pytest wrote."""
    if not report.exists():
        return Counter()
    return Counter(node.get("message", "no reason given") for node in ElementTree.parse(report).iter("skipped")
                   if node.get("type") == "pytest.skip")


def main() -> int:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # all this is true of every machine; `make gpu` asks a GPU
    os.environ.setdefault("TQDM_DISABLE", "1")  # a comparison of outputs has no use for progress bars
    results, left_out = [], Counter()
    for name, command in STEPS.items():
        print(f"\n=== {name}", flush=True)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            told = [f"--junitxml={report}"] if command[:2] == ["-m", "pytest"] else []
            status = subprocess.run([sys.executable, *command, *told], cwd=ROOT).returncode
            left_out += skipped(report)
        results.append((name, status, time.perf_counter() - start))
    print("\n=== all together")
    for name, status, seconds in results:
        print(f"  {'FAILED' if status else 'ok':6} {seconds:6.1f} s  {name}")
    print("  skipped: " + ("; ".join(f"{count} ({why})" for why, count in left_out.items()) or "nothing"))
    return 1 if any(status for _, status, _ in results) else 0


if __name__ == "__main__":
    sys.exit(main())
