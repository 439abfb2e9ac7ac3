"""Run every chapter, side by side, and keep what it printed and drew.

    python tools/execute.py     runs what has changed; exit status 1, with file, line and cell, where a chapter fails

A chapter's outputs are kept in a jupyter-cache, which Sphinx and the notebook generator read. The cache knows a
chapter's code; its folder's name knows all else that an output depends on (`digest`).
"""
from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from chapters import ROOT, cells, chapters, read
from claim_calls import claims_in

CELL_TIMEOUT_S = 600
KEPT_CACHES = 3  # so that going back to another branch or scale costs nothing
VERSIONS = ("torch", "numpy", "scipy", "matplotlib", "nibabel", "connected-components-3d", "ipywidgets")
IN_KERNEL = Path(__file__).parent / "kernel"  # what a chapter's kernel can import besides, for its page
RAISES = "raises-exception"  # the tag of a cell whose error does not end the run
UNHELD = re.compile(r"^Claim .* DOES NOT HOLD HERE: .*$", re.MULTILINE)
UNLESS_SAID = {
    "OMP_NUM_THREADS": "1",                     # chapters run side by side: one core each
    "JUPYTER_PREFER_ENV_PATH": "1",             # this environment's kernel, whatever else is installed
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",      # the kernel's debugger would warn
    "TQDM_DISABLE": "1",                        # a page has no use for the last state of a progress bar
}


@dataclass(frozen=True)
class Run:
    """What became of one chapter: how long it took and, where it failed, the place and the error."""
    chapter: Path
    seconds: float
    notebook: NotebookNode
    failure: str = ""


def digest(root: Path = ROOT) -> str:
    """Twelve characters that change with all but the chapter's own code: package, records, kernel, versions, scale."""
    h = hashlib.sha256()
    for path in sorted([*root.glob("medlearn/**/*"), *root.glob("book/recorded/**/*")]):
        # studies are read by pages, not by cells
        if path.is_file() and not {"__pycache__", "studies"} & set(path.parts):
            h.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for path in sorted(IN_KERNEL.glob("*.py")):
        h.update(path.read_bytes())
    for name in VERSIONS:
        h.update(f"{name}=={metadata.version(name)}\n".encode())
    h.update(f"python {sys.version_info[:2]} scale {os.environ.get('MEDLEARN_SCALE', '')}".encode())
    return h.hexdigest()[:12]


def cache_path(root: Path = ROOT) -> Path:
    """The folder of the outputs that belong to the package as it is now."""
    return root / "_build" / ".jupyter_cache" / digest(root)


def executed(chapter: Path, root: Path = ROOT, kept: Path | None = None) -> NotebookNode:
    """A chapter's source as it is now, with the outputs of its last run; LookupError where its code has not run.

    Who asks for many chapters says where they are `kept`, which takes as long to find out as to read one.
    """
    kept = kept or cache_path(root)
    if kept.exists():
        with suppress(KeyError):
            return get_cache(kept).merge_match_into_notebook(read(chapter))[1]
    raise LookupError(f"{chapter.relative_to(root)}: this code has not been run yet; say `make book`")


def environment() -> dict[str, str]:
    """What a chapter's kernel finds in its environment: ours, its extensions, and that a failed claim ends no book."""
    found = os.pathsep.join(filter(None, [str(IN_KERNEL), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": found, "MEDLEARN_MARK_CLAIMS": "1"}


def run(chapter: Path, root: Path = ROOT) -> Run:
    """Run one chapter in its own kernel, in its own folder."""
    notebook, reached = read(chapter), []
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, resources={"metadata": {"path": str(chapter.parent)}},
                            record_timing=False,  # times would make the code look changed
                            extra_arguments=["--IPKernelApp.log_level=ERROR", "--ext=svg_figures"],
                            on_cell_execute=lambda cell, cell_index: reached.append(cell_index))
    start, failure = time.perf_counter(), ""
    try:
        client.execute(env=environment())
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = describe(error, chapter, reached[-1] if reached else 0, root)
    return Run(chapter, time.perf_counter() - start, notebook, failure)


def describe(error: Exception, chapter: Path, index: int, root: Path) -> str:
    """Which cell of which file failed, and how."""
    every = cells(chapter)
    number = sum(cell.kind == "code" for cell in every[:index + 1])
    what = {CellTimeoutError: f"no answer within {CELL_TIMEOUT_S} s",
            DeadKernelError: "its kernel died (out of memory?)"}
    said = what.get(type(error)) or f"{error.ename}: {error.evalue}"
    source = "\n".join("    " + line for line in every[index].source.splitlines())
    return f"{chapter.relative_to(root)}:{every[index].line}: code cell {number} failed\n{source}\n  {said}"


def keep(cache: JupyterCacheAbstract, done: Run) -> None:
    """Put a chapter's outputs into the cache."""
    bundle = CacheBundleIn(done.notebook, str(done.chapter), data={"execution_seconds": done.seconds})
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def ran(root: Path = ROOT) -> Iterator[tuple[Path, NotebookNode]]:
    """Every chapter whose code has run as it is now, with its outputs."""
    kept = cache_path(root)
    for chapter in chapters(root):
        with suppress(LookupError):
            yield chapter, executed(chapter, root, kept)


def unheld(root: Path = ROOT) -> list[str]:
    """Claims that did not hold when their chapter last ran here, one line of text each."""
    found = []
    for chapter, done in ran(root):
        printed = "".join(output.get("text", "") for cell in done.cells for output in cell.get("outputs", ()))
        found += [f"{chapter.relative_to(root).as_posix()}: {line}" for line in UNHELD.findall(printed)]
    return found


def unshown(root: Path = ROOT) -> list[str]:
    """Claims whose cell has run and did not print their line, or may raise unnoticed; one line of text each."""
    found = []
    for chapter, done in ran(root):
        for cell, with_outputs in zip(cells(chapter), done.cells, strict=True):
            if cell.kind != "code":
                continue
            printed = "".join(output.get("text", "") for output in with_outputs.outputs
                              if output.get("name") == "stdout")
            for id, line in claims_in(cell.source):
                place = f"{chapter.relative_to(root).as_posix()}:{cell.line + line - 1}: claim {id}"
                if not re.search(rf"^Claim {re.escape(id)} (holds|DOES NOT HOLD HERE): ", printed, re.MULTILINE):
                    found.append(f"{place} printed no line, although its cell has run")
                elif RAISES in cell.tags:
                    found.append(f"{place} stands in a cell that may raise")
    return found


def cores() -> int:
    """How many runs go side by side."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def waiting(cache: JupyterCacheAbstract, all_chapters: list[Path]) -> list[Path]:
    """The chapters whose code has not run as it is now."""
    def known(chapter: Path) -> bool:
        try:
            return bool(cache.match_cache_notebook(read(chapter)))
        except KeyError:
            return False
    return [chapter for chapter in all_chapters if not known(chapter)]


def rekey(cache: JupyterCacheAbstract, chapter: Path) -> bool:
    """Where only a cell's tags or captions have changed, take over the outputs of the last run of the same code."""
    notebook = read(chapter)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for record in cache.list_cache_records():
        bundle = cache.get_cache_bundle(record.pk)
        ran = [cell for cell in bundle.nb.cells if cell.cell_type == "code"]
        if [cell.source for cell in ran] == [cell.source for cell in code]:
            for cell, old in zip(code, ran):
                cell.outputs, cell.execution_count = old.outputs, old.execution_count
            keep(cache, Run(chapter, (record.data or {}).get("execution_seconds", 0.0), notebook))
            return True
    return False


def record_times(root: Path, cache: JupyterCacheAbstract) -> None:
    """Each chapter's seconds, in _build/times.json."""
    times = {}
    for record in sorted(cache.list_cache_records(), key=lambda record: record.pk):  # the last run of a chapter counts
        if (path := Path(record.uri)).is_relative_to(root):
            times[path.relative_to(root).as_posix()] = round((record.data or {}).get("execution_seconds", 0.0), 1)
    (root / "_build" / "times.json").write_text(json.dumps(dict(sorted(times.items())), indent=1) + "\n")


def prune(root: Path) -> None:
    """Forget the outputs of all but the last few states of the package."""
    here = cache_path(root)
    if here.exists():  # a package that changed during the run has no cache yet
        here.touch()
    for old in sorted(here.parent.iterdir(), key=lambda p: p.stat().st_mtime)[:-KEPT_CACHES]:
        shutil.rmtree(old, ignore_errors=True)


def execute(root: Path = ROOT) -> list[Run]:
    """Run what has to be run, as many chapters at once as there are cores; say how each went."""
    cache, every = get_cache(cache_path(root)), chapters(root)
    todo = [chapter for chapter in waiting(cache, every) if not rekey(cache, chapter)]
    print(f"Chapters: {len(every)}, to run: {len(todo)}", flush=True)
    if todo and sys.platform == "linux":  # elsewhere a fork may not use what the system's own libraries have begun
        import warm

        warm.use()
    done: list[Run] = []
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        for future in as_completed([pool.submit(run, chapter, root) for chapter in todo]):
            done.append(result := future.result())
            if not result.failure:
                keep(cache, result)
            print(f"  {'FAILED' if result.failure else 'ok':6} {result.seconds:6.1f} s  "
                  f"{result.chapter.relative_to(root)}   ({len(done)} of {len(todo)})", flush=True)
    record_times(root, cache)
    prune(root)
    return done


def prepare() -> None:
    """What kernels and the search for them find in the environment, where nobody has said otherwise."""
    for name, value in UNLESS_SAID.items():
        os.environ.setdefault(name, value)


def main(root: Path = ROOT) -> int:
    prepare()
    failures = [r.failure for r in execute(root) if r.failure]
    for failure in failures:
        print(f"\n{failure}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
