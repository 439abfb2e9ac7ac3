r"""`medlearn download`: what is there to fetch, or one of it."""
from __future__ import annotations

from pathlib import Path

from medlearn.data import COHORTS
from medlearn.data import download as fetch


def download(name: str | None, folder: str | Path) -> int:
    r"""Fetches the public cohort of this `name` into a `folder`; without one it lists them all. The exit code.

    Errors: as `medlearn.data.download`.
    """
    if name is None:
        width = max(map(len, COHORTS))
        print(*(f"{one.name:{width}}  {one.licence:12}  {one.source}" for one in COHORTS.values()), sep="\n")
        return 0
    print(fetch(name, folder))
    return 0
