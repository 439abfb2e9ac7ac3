"""The labels of every scan in a folder by Dask, on one machine or on a cluster.

    pip install "medlearn[dask]"
    python examples/predict_dask.py run scans predictions 8

Eight workers hold the network of the training `run` once each and take one scan after another. A worker that dies is
replaced, and its scan done again; a file is written whole or not at all, and what is there is left alone, so the same
command goes on after whatever stopped it. Where DASK_SCHEDULER_ADDRESS names a cluster its machines work, and need the
folders.
"""
import sys
from collections.abc import Callable, Sequence
from functools import partial

from dask.distributed import Client, as_completed, get_worker

from medlearn.cli.predicting import Predictor, cases_left, scans_in
from medlearn.data import Case


def predict_one(make: Callable[[], Predictor], case: Case) -> tuple[str, str]:
    """Its name, and what was wrong with it, if anything. The worker's first scan makes the predictor."""
    worker = get_worker()
    if not hasattr(worker, "predictor"):
        worker.predictor = make()
    try:
        worker.predictor(case)
    except (ValueError, OSError) as error:
        return case.name, str(error)
    return case.name, ""


def predict_all(make: Callable[[], Predictor], cases: Sequence[Case], *, workers: int) -> dict[str, str]:
    """Those of the cases that were refused, and why. What `make` makes predicts the others."""
    # one scan at a time in each process: the network itself uses the cores
    with Client(n_workers=workers, threads_per_worker=1, dashboard_address=None) as client:
        asked = client.map(partial(predict_one, make), cases, pure=False)
        said = [answer for _, answer in as_completed(asked, with_results=True)]
    return {name: refused for name, refused in said if refused}


if __name__ == "__main__":
    run, source, target, workers = sys.argv[1:]
    refused = predict_all(partial(Predictor, run, target), cases_left(scans_in(source), target), workers=int(workers))
    print(*refused.values(), f"{len(refused)} refused", sep="\n")
