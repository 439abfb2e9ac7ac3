"""Gather the book's questions for a teacher: one file of questions, and apart from it one of answers, by their numbers.

    python tools/questions.py DIR      writes DIR/questions.md and DIR/answers.md

They come from the notebooks beside the chapters: what is asked to be predicted, and the three questions at the end.
Those without an answer in the book are left out.
"""
from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

from chapters import ROOT, chapters
from notebooks import path_of

FOLD = r"<details>\n<summary>{title}</summary>\n\n(?P<answer>.*?)\n\n</details>"
PREDICT = re.compile(r"> \*\*Predict\*\*\n>\n(?P<question>(?:>.*\n)+)\n" + FOLD.format(title="The answer"), re.DOTALL)
ASKED = re.compile(r"^\*\*\d+\. (?P<question>.+?)\*\*\n\n" + FOLD.format(title="Answer"), re.DOTALL | re.MULTILINE)


class Question(NamedTuple):
    """A question of a chapter, of one kind, "predict" or "at the end", and its answer, in Markdown."""
    chapter: str
    kind: str
    question: str
    answer: str


def questions(text: str, chapter: str) -> Iterator[Question]:
    """The questions in a notebook's Markdown, in its order."""
    found = [(match.start(), "predict", re.sub(r"(?m)^> ?", "", match["question"]).strip(), match["answer"])
             for match in PREDICT.finditer(text)]
    found += [(match.start(), "at the end", match["question"], match["answer"]) for match in ASKED.finditer(text)]
    yield from (Question(chapter, *rest) for _, *rest in sorted(found))


def bank(root: Path = ROOT) -> list[Question]:
    """All questions of the book, in reading order."""
    found: list[Question] = []
    for chapter in chapters(root):
        cells = [cell.source for cell in nbformat.read(path_of(chapter), as_version=4).cells
                 if cell.cell_type == "markdown"]
        text = "\n\n".join(cells)
        title = re.search(r"(?m)^# (.+)$", text)
        found += questions(text, title[1] if title else chapter.stem)
    return found


def as_pages(found: list[Question]) -> tuple[str, str]:
    """The questions, and the answers under the same numbers."""
    asked, answered, chapter = ["# Questions\n"], ["# Answers\n"], ""
    for number, one in enumerate(found, 1):
        if one.chapter != chapter:
            chapter = one.chapter
            asked.append(f"## {chapter}\n")
            answered.append(f"## {chapter}\n")
        asked.append(f"**{number}** ({one.kind}) {one.question}\n")
        answered.append(f"**{number}** {one.answer}\n")
    return "\n".join(asked), "\n".join(answered)


def main(arguments: list[str], root: Path = ROOT) -> int:
    if len(arguments) != 1:
        print("usage: python tools/questions.py DIR", file=sys.stderr)
        return 2
    into = Path(arguments[0])
    into.mkdir(parents=True, exist_ok=True)
    found = bank(root)
    for name, text in zip(("questions.md", "answers.md"), as_pages(found)):
        (into / name).write_text(text, encoding="utf-8")
    print(f"Questions: {len(found)}, in {into}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
