r"""`medlearn card`: what the record of a training knows of a network, as a page that a person completes."""
from __future__ import annotations

from pathlib import Path

from medlearn.base.atomic import written_whole
from medlearn.base.files import read_json
from medlearn.cli.training import read_run
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
    settings, facts = read_run(run)
    checkpoint = read_checkpoint(run)
    if checkpoint is None:
        raise ValueError(f"run: expected a folder with a checkpoint, step-*.safetensors, got {run}")
    judged = None if scores is None else read_json(Path(scores))
    try:
        text = model_card(settings.plain(), facts, steps=checkpoint.step, history=checkpoint.facts["history"],
                          scores=judged)
    except (TypeError, ValueError) as error:                # what is wrong with them comes from the files
        raise ValueError(f"{run if scores is None else f'{run}, {scores}'}: {error}") from None
    with written_whole(out) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace")    # names of files may be odd
    print(f"written: {out}")
    return 0
