"""Put the claims on trial: run chapters under other seeds, precisions, threads, instruction sets and budgets.

    python tools/study.py [CHAPTER ...] [--only SETTING ...] [--longer]

CHAPTER is the beginning of a file's name, such as 03. Runs that the record has already are left out, so a study that
was interrupted goes on where it stopped; a chapter whose code has changed starts anew. Exit status 1 where a claim did
not hold, a control passed, or a chapter failed.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date
from importlib import metadata
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from chapters import ROOT, chapters, read
from execute import cores, describe, prepare
from studies import ASIDE, FINER, LONGER, RATIO, Study, Trial, code_digest, path_of, read_study

CELL_TIMEOUT_S = 3600
SETTINGS: dict[str, dict[str, str]] = {
    "as it is": {},
    **{f"seeds {n}": {"STUDY_SHIFT": str(1000 * n)} for n in range(1, 6)},
    "float32": {"STUDY_FLOAT32": "1"},
    "float32, seeds 6": {"STUDY_FLOAT32": "1", "STUDY_SHIFT": "6000"},
    "two threads": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"},  # else runs side by side wait for each other
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "AVX512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "STUDY_FLOAT32": "1"},  # a processor of that kind has no bfloat16
}
VERSIONS = ("torch", "numpy", "scipy", "medlearn")
# Runs before a chapter's own cells. Shifted seeds give other networks, other patients, other noise.
FIRST_CELL = """\
def _perturb():                                             # a chapter's own names must not meet these
    import os
    import numpy, torch, medlearn.data, medlearn.runtime, medlearn.train.samples, medlearn.viz

    medlearn.viz.explore = lambda *args, **kwargs: None
    if os.environ.get("STUDY_FLOAT32"):
        medlearn.runtime._has_bfloat16 = lambda device: False
    shift = int(os.environ.get("STUDY_SHIFT", "0"))
    if not shift:
        return
    def shifted(manual_seed):
        return lambda seed: manual_seed(int(seed) + shift)
    class Generator(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(int(seed) + shift)
    def default_rng(seed=None, make=numpy.random.default_rng):
        return make(int(seed) + shift if isinstance(seed, (int, numpy.integer)) else seed)
    def others(cohort, *, seed=0, make=medlearn.data.BrainCohort.__init__, **settings):
        make(cohort, seed=seed + shift, **settings)
    def seed_all(seed, device, seed_all=medlearn.train.samples.seed_all):       # what a sample and a step draw
        seed_all(seed + shift, device)
    torch.manual_seed, torch.Generator = shifted(torch.manual_seed), Generator
    numpy.random.default_rng = default_rng
    medlearn.data.BrainCohort.__init__, medlearn.train.samples.seed_all = others, seed_all

_perturb()
"""
LOCK = threading.Lock()


def processor() -> str:
    """The processor's name, as the system gives it."""
    try:
        found = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")]
    except OSError:
        found = []
    return found[0] if found else platform.processor() or platform.machine()


def machine() -> str:
    """What a run's numbers can depend on here: processor, instruction set, versions."""
    import torch
    extras = [name for name, test in (("AVX512-BF16", "_is_avx512_bf16_supported"), ("AMX", "_is_amx_tile_supported"))
              if getattr(torch.cpu, test, bool)()]
    return ", ".join([processor(), *extras, f"Python {platform.python_version()}",
                      *(f"{name} {metadata.version(name)}" for name in VERSIONS[:1])])


def run(chapter: Path, setting: str, root: Path = ROOT) -> dict:
    """One run of a chapter in one setting, as the record keeps it."""
    notebook, reached = read(chapter), []
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST_CELL))
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "claims.jsonl"
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "TQDM_DISABLE": "1",
                       **(SETTINGS | LONGER | FINER)[setting],
                       "MEDLEARN_CLAIMS_LOG": str(log), "MEDLEARN_MARK_CLAIMS": "1"}
        client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, resources={"metadata": {"path": str(chapter.parent)}},
                                record_timing=False, extra_arguments=["--IPKernelApp.log_level=ERROR"],
                                on_cell_execute=lambda cell, cell_index: reached.append(cell_index))
        start, failure = time.perf_counter(), ""
        try:
            client.execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            failure = describe(error, chapter, max(reached[-1] - 1, 0) if reached else 0, root)
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    claims = {line["claim"]: {key: line[key] for key in ("holds", "effect", "control", "passes")}
              for line in lines if "claim" in line}
    return {"setting": setting, "machine": machine(), "commit": commit(root), "date": date.today().isoformat(),
            "seconds": round(time.perf_counter() - start, 1), "failure": failure, "claims": claims,
            "values": {line["record"]: line["value"] for line in lines if "record" in line}}


def commit(root: Path) -> str:
    """The commit that was run, with a + where files have changed since."""
    asked = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty=+"], capture_output=True,
                           text=True)
    return asked.stdout.strip() or "unknown"


def keep(chapter: Path, code: str, done: dict, root: Path = ROOT) -> None:
    """Add a run to the chapter's record; a record of other code is begun anew, a run of the same kind replaced."""
    with LOCK:
        old, path = read_study(chapter, root), path_of(chapter, root)
        before = old.runs if old and old.code == code else []
        runs = [one for one in before if (one["setting"], one["machine"]) != (done["setting"], done["machine"])]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"code": code, "runs": [*runs, done]}, indent=1) + "\n", encoding="utf-8")


def waiting(chapter: Path, settings: list[str], root: Path = ROOT) -> list[str]:
    """The settings in which the chapter, as it is now, has not run on this machine."""
    study = read_study(chapter, root)
    done = {one["setting"] for one in study.runs if one["machine"] == machine()} \
        if study and study.code == code_digest(chapter) else set()
    return [setting for setting in settings if setting not in done]


def said(id: str, trial: Trial) -> str:
    """A line about a claim over all runs."""
    numbers = "; ".join(f"{part} {spread.text('+.3g')}{'' if spread.clear else f' [below {RATIO} SD]'}".strip()
                        for part, spread in trial.effect.items())
    nulls = "; ".join(f"{name}: {', '.join(spread.text('+.3g') for spread in parts.values())}"
                      for name, parts in trial.control.items())
    passes = f", CONTROL PASSED in {trial.passed}" if trial.passed else ""
    return f"{id:32} held {trial.held} of {trial.runs}{passes}   {numbers}" + (f"   | {nulls}" if nulls else "")


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description="Put the chapters' claims on trial.")
    parser.add_argument("chapter", nargs="*", help="the beginning of a chapter's file name, such as 03; all without")
    parser.add_argument("--only", nargs="+", metavar="SETTING", choices=[*SETTINGS, *LONGER, *FINER],
                        help="these settings alone")
    parser.add_argument("--longer", action="store_true", help="the longer budgets of training, too")
    asked = parser.parse_args(arguments)
    prepare()
    settings = asked.only or [*SETTINGS, *(LONGER if asked.longer else ())]
    chosen = [c for c in chapters(root) if not asked.chapter or c.stem.startswith(tuple(asked.chapter))]
    todo = [(chapter, setting) for setting in settings
            for chapter in chosen if setting in waiting(chapter, settings, root)]
    print(f"Runs: {len(todo)} of {len(chosen)} chapters in {len(settings)} settings", flush=True)
    codes, broken = {chapter: code_digest(chapter) for chapter in chosen}, []
    with ThreadPoolExecutor(max_workers=cores()) as pool:
        waiting_for = {pool.submit(run, chapter, setting, root): chapter for chapter, setting in todo}
        for number, future in enumerate(as_completed(waiting_for), 1):
            chapter, done = waiting_for[future], future.result()
            state = "FAILED" if done["failure"] else "ok"
            print(f"  {state:6} {done['seconds']:6.1f} s  {chapter.stem}, {done['setting']}   "
                  f"({number} of {len(todo)})", flush=True)
            if done["failure"]:  # a run that broke says nothing about a claim
                broken.append(f"{done['setting']}: {done['failure']}")
            else:
                keep(chapter, codes[chapter], done, root)
    print("\n\n".join(["", *broken]), file=sys.stderr)
    return 1 if report(chosen, root) or broken else 0


def report(chosen: list[Path], root: Path = ROOT) -> bool:
    """Print every claim of these chapters over all its runs; whether any does not stand."""
    found: list[Study] = [study for chapter in chosen if (study := read_study(chapter, root))]
    stands = True
    for heading in ("", *ASIDE):
        trials = [one for study in found for one in study.parts[heading].trials().items()]
        if heading and trials:
            print(f"{heading.capitalize()}:")
        for id, trial in trials:
            print(said(id, trial))
            stands = stands and trial.stands
    return not stands


if __name__ == "__main__":
    sys.exit(main())
