r"""`medlearn progress`: what has been solved of the book's exercises, on this machine."""
from __future__ import annotations

from pathlib import Path

from medlearn.base.atomic import written_whole
from medlearn.checks import registered
from medlearn.checks.progress import as_csv, as_page, as_text, begin, lines, progress_file, read

WRITERS = {".csv": as_csv, ".html": as_page}


def progress(*, begun: bool = False, export: str | Path | None = None) -> int:
    r"""Prints a line for each chapter; with `begun` the file is begun, with `export` a table is written, too.

    The table is CSV or a page, by the name's ending. Returned is the exit code. Errors: ValueError for another ending
    or a file that is none of ours, FileNotFoundError where none was begun, OSError.
    """
    path = progress_file()
    if begun:
        begin(path)
    if not path.exists():
        raise FileNotFoundError(f"nothing is kept yet: `medlearn progress --begin` begins {path}")
    table = lines(read(path), {id: len(check.cases) for id, check in registered().items()})
    if export is not None:
        target = Path(export)
        if target.suffix not in WRITERS:
            raise ValueError(f"export: expected a name that ends in {' or '.join(WRITERS)}, got {target.name}")
        with written_whole(target) as aside:
            aside.write_text(WRITERS[target.suffix](table), encoding="utf-8")
    print(as_text(table), f"kept in {path}", sep="\n")
    return 0
