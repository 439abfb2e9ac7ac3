"""The cases of benchmarks that need a GPU, and no others.

    python benchmarks/gpu_cases.py RESULT.json NAME ... [--smoke]     NAME is that of a file here, such as bench_losses

RESULT.json is written anew after each case. With --smoke each side runs once at its smallest size, in this process.
"""
from __future__ import annotations

import importlib
import json
import sys
from dataclasses import asdict
from pathlib import Path

import harness

ROUNDS = 7


def main(path: Path, names: list[str], smoke: bool) -> int:
    rows, failed = [], 0
    for name in names:
        module = importlib.import_module(name)
        for case in module.cases(harness.Setting(ROUNDS, smoke=smoke)):
            if "GPU" in case.title:
                rows.append({"benchmark": name, "case": case.title} | row(module.__file__, case, smoke))
                failed |= "error" in rows[-1]
                path.write_text(json.dumps(rows))
                print(rows[-1], flush=True)
    return failed


def row(file: str, case: harness.Case, smoke: bool) -> dict:
    try:
        if smoke:
            answers = [harness.prepared(file, side.prepare, side.arguments)() for side in (case.ours, case.peer)]
            return {"agree": harness.agree(*answers)}
        ours, peer = harness.measure(file, case, ROUNDS, threads=1)
    except (Exception, SystemExit) as error:                # one that fails must not cost the others
        return {"error": f"{type(error).__name__}: {error}"[:500]}
    faster, leaner = harness.ratios(ours, peer)
    return {"times_faster": round(faster, 2), "bar": case.faster, "times_leaner": round(leaner, 2),
            "bar_leaner": case.leaner, "ours": asdict(ours), "peer": asdict(peer)}


if __name__ == "__main__":
    arguments = [word for word in sys.argv[1:] if word != "--smoke"]
    sys.exit(main(Path(arguments[0]), arguments[1:], "--smoke" in sys.argv))
