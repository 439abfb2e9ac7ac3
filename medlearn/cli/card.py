r"""`medlearn card`: what the record of a training knows of a network, as a page that a person completes."""
from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medlearn.base.atomic import written_whole
from medlearn.cli.training import FACTS, read_run
from medlearn.evaluate import model_card
from medlearn.train.checkpoints import read_checkpoint


def card(run: str | Path, *, scores: str | Path | None = None, out: str | Path | None = None) -> int:
    r"""Writes the model card of a `run`, with the `scores` of a summary.json, to `out`. Returned is the exit code.

    A card that is there already is not overwritten: a person may have written in it. Errors: ValueError where it is
    there, the folder has no checkpoint, or its run.json or the scores cannot be read; FileNotFoundError where it is no
    training's, or there are no scores.
    """
    run = Path(run)
    out = run / "card.md" if out is None else Path(out)
    if out.exists():
        raise ValueError(f"out: expected a file that is not there yet, got {out}: somebody may have written in it")
    with _named(run / FACTS, json.JSONDecodeError, UnicodeDecodeError):
        settings, facts = read_run(run)
    checkpoint = read_checkpoint(run)
    if checkpoint is None:
        raise ValueError(f"run: expected a folder with a checkpoint, step-*.safetensors, got {run}")
    judged = None
    if scores is not None:
        with _named(scores, json.JSONDecodeError, UnicodeDecodeError):
            judged = json.loads(Path(scores).read_text(encoding="utf-8"))
        if not isinstance(judged, dict):
            raise ValueError(f"{scores}: expected a summary.json of `medlearn evaluate`, got {type(judged).__name__}")
    with _named(run if scores is None else f"{run}, {scores}", TypeError, ValueError):      # they come from files
        text = model_card(settings.plain(), facts, steps=checkpoint.step, history=checkpoint.facts["history"],
                          scores=judged)
    with written_whole(out) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")    # names of files may be odd
    print(f"written: {out}")
    return 0


@contextmanager
def _named(file: str | Path, *errors: type[Exception]) -> Iterator[None]:
    """Of these errors a ValueError that begins with the file that they come from."""
    try:
        yield
    except errors as error:
        raise ValueError(f"{file}: {error}") from None
