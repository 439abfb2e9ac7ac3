"""Run a notebook's code in this process, without Jupyter, and keep what it claimed, recorded and raised, and its times.

    python tools/run_notebook.py NOTEBOOK RESULT.json

RESULT.json is written anew after each cell, so what stops the run loses little. A cell that raises does not end it.
"""
from __future__ import annotations

import ast
import json
import linecache
import os
import re
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ["MEDLEARN_MARK_CLAIMS"] = "1"                    # a claim that does not hold is printed, and not raised


def run(notebook: Path, result: Path) -> None:
    import matplotlib.pyplot as plt
    import torch

    log = Path(tempfile.mkdtemp()) / "claims.jsonl"
    os.environ["MEDLEARN_CLAIMS_LOG"] = str(log)
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    said = {"chapter": notebook.stem, "scale": os.environ.get("MEDLEARN_SCALE", "quick"), "finished": False,
            "cells": [], "errors": [], "claims": {}, "values": {}}
    names, begin = {"__name__": "__main__", "display": print}, time.perf_counter()
    os.chdir(notebook.parent)
    exec(first_cell(), names)
    for number, cell in enumerate(cells, start=1):
        start = time.perf_counter()
        try:
            run_cell("".join(cell["source"]), f"<ipython-input-{number}-{notebook.stem}>", names)
        except Exception as error:
            expected = "raises-exception" in cell["metadata"].get("tags", ())
            if not expected and not isinstance(error, NotImplementedError):        # of a stub
                said["errors"].append({"cell": number, "error": f"{type(error).__name__}: {error}"[:500]})
        plt.close("all")
        said["cells"].append(round(time.perf_counter() - start, 2))
        said |= claims_and_values(log) | {"seconds": round(time.perf_counter() - begin, 1),
                                          "finished": number == len(cells)}
        if torch.cuda.is_available():
            said["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        result.write_text(json.dumps(said))


def first_cell() -> str:
    """What a study runs before a chapter's own cells; study.py itself asks for Jupyter."""
    tree = ast.parse(Path(__file__).with_name("study.py").read_text())
    return next(ast.literal_eval(node.value) for node in tree.body
                if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FIRST_CELL")


def run_cell(source: str, name: str, names: dict) -> None:
    source = re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", source)            # Jupyter's own commands
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)     # for inspect.getsource
    exec(compile(ast.parse(source, name), name, "exec"), names)


def claims_and_values(log: Path) -> dict:
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return {"claims": {line["claim"]: {key: line[key] for key in ("holds", "effect", "control", "passes")}
                       for line in lines if "claim" in line},
            "values": {line["record"]: line["value"] for line in lines if "record" in line}}


if __name__ == "__main__":
    run(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
