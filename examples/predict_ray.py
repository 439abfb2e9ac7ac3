"""The labels of every scan in a folder by Ray Data, on one machine or on a cluster.

    pip install "medlearn[ray]"
    python examples/predict_ray.py run scans predictions 8

Eight workers hold the network of the training `run` once each and take one scan after another. A worker that dies is
replaced, and its scan done again; a file is written whole or not at all, and what is there is left alone, so the same
command goes on after whatever stopped it. Where RAY_ADDRESS names a cluster its machines work, and need the folders.
"""
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ray

from medlearn.cli.predicting import Predictor, cases_left, scans_in
from medlearn.data import Case


class Worker:
    """Makes its predictor once, and says of each scan what was wrong with it, if anything."""

    def __init__(self, make: Callable[[], Predictor]) -> None:
        self.predictor = make()

    def __call__(self, row: dict[str, Any]) -> dict[str, str]:
        try:
            self.predictor(Case(row["name"], tuple(map(Path, row["images"]))))
        except (ValueError, OSError) as error:
            return {"name": row["name"], "refused": str(error)}
        return {"name": row["name"], "refused": ""}


def predict_all(make: Callable[[], Predictor], cases: Sequence[Case], *, workers: int) -> dict[str, str]:
    """Those of the cases that were refused, and why. What `make` makes predicts the others."""
    rows = [{"name": case.name, "images": [str(path) for path in case.images]} for case in cases]
    if not rows:
        return {}
    # ended here, so that Ray's own words, as of a worker that died, come before the answer
    with ray.init(include_dashboard=False, logging_level="ERROR"):
        # one block a scan, so that a dead worker costs no more than one
        said = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Worker, fn_constructor_args=(make,), compute=ray.data.ActorPoolStrategy(size=min(workers, len(rows))))
        return {row["name"]: row["refused"] for row in said.take_all() if row["refused"]}


if __name__ == "__main__":
    run, source, target, workers = sys.argv[1:]
    refused = predict_all(partial(Predictor, run, target), cases_left(scans_in(source), target), workers=int(workers))
    print(*refused.values(), f"{len(refused)} refused", sep="\n")
