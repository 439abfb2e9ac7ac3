"""Numbers in prose that look measured: decimals, percentages, `7 of 9`. A run's numbers differ from machine to machine.

A number may stand in prose when it is quoted from a study ({study}`name`), exact or set by us ({exact}`0.1 %`), in a
formula or code, or published, beside its citation in the same sentence.
"""
from __future__ import annotations

import re
from collections.abc import Iterator

from myst import Directive, Prose, blocks

MEASURED = re.compile(r"(?<![\w.,/-])(?:\d+(?:\.\d+)? ?%|\d+\.\d+(?![\w.]*\d)|\d+ of (?:the )?\d+\b)")
_HIDDEN = re.compile(r"\$\$.+?\$\$|\$[^$\n]+(?:\n[^$\n]+)?\$|\{[\w:]+\}`[^`]+`|`[^`]+`|\]\([^)]*\)|^\([^)]*\)=|^%.*$",
                     re.DOTALL | re.MULTILINE)
_SENTENCE = re.compile(r".+?(?:[.?!:](?=[\s)*\"])|\n\s*\n|\Z)", re.DOTALL)
UNREAD = {"math", "code", "code-block", "figure", "image"}


def measured(text: str, line: int = 1) -> Iterator[tuple[int, str]]:
    """(line, number) of each number in a cell's Markdown that a run may have given; the first line is `line`."""
    for block in blocks(text, line):
        if isinstance(block, Directive) and block.name not in UNREAD:
            yield from measured(block.body, block.body_line)
        elif isinstance(block, Prose):
            yield from _in_prose(block.text, block.line)


def _in_prose(text: str, line: int) -> Iterator[tuple[int, str]]:
    plain = _HIDDEN.sub(_blank, text)
    for sentence in _SENTENCE.finditer(plain):
        if "{cite" in text[sentence.start():sentence.end()]:
            continue
        for number in MEASURED.finditer(sentence[0]):
            yield line + text.count("\n", 0, sentence.start() + number.start()), number[0]


def _blank(found: re.Match) -> str:
    """As many characters and lines, and nothing to read."""
    return re.sub(r"[^\n]", " ", found[0])
