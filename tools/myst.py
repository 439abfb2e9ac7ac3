"""The blocks of a MyST page: prose, fenced code, directives, each with its line in the file."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_OPEN = re.compile(r"(?P<indent>[ \t]*)(?P<fence>`{3,}|~{3,}|:{3,})[ \t]*(?:\{(?P<name>[^}\s]+)\})?(?P<rest>.*)$")
_OPTION = re.compile(r":(?P<key>[A-Za-z][\w-]*):(?:[ \t]+(?P<value>.*))?$")


class MarkupError(ValueError):
    """Markup that cannot be read or translated; `line` is where it stands in its file."""

    def __init__(self, line: int, text: str):
        super().__init__(text)
        self.line = line


@dataclass(frozen=True)
class Prose:
    """Lines of Markdown between the fences."""
    text: str
    line: int


@dataclass(frozen=True)
class Code:
    """A fenced block that is shown as it stands, its fences included."""
    text: str
    line: int


@dataclass(frozen=True)
class Directive:
    """A fenced block with a name in braces."""
    name: str
    argument: str
    options: dict[str, str]
    body: str
    line: int
    body_line: int
    indent: str = field(default="", repr=False)

    @property
    def classes(self) -> list[str]:
        return self.options.get("class", "").split()

    @property
    def label(self) -> str:
        return self.options.get("label") or self.options.get("name") or ""


def blocks(text: str, line: int = 1) -> Iterator[Prose | Code | Directive]:
    """The blocks of a text whose first line is line `line` of its file; MarkupError for a fence without its end."""
    lines, prose, i = text.split("\n"), [], 0
    while i < len(lines):
        opened = _OPEN.match(lines[i])
        if not opened or (opened["fence"][0] == "`" and "`" in opened["rest"]):
            prose.append(lines[i])
            i += 1
            continue
        end = _end_of(lines, i, opened["fence"], line)
        if prose:
            yield Prose("\n".join(prose), line + i - len(prose))
            prose = []
        if opened["name"]:
            yield _directive(opened, lines[i + 1:end], line + i)
        elif opened["fence"][0] == ":":
            raise MarkupError(line + i, f"{opened['fence']} without the name of a directive")
        else:
            yield Code("\n".join(lines[i:end + 1]), line + i)
        i = end + 1
    if prose:
        yield Prose("\n".join(prose), line + len(lines) - len(prose))


def directives(text: str) -> Iterator[Directive]:
    """Every directive of a text, those within others included."""
    return _directives(text, 1)


def _directives(text: str, line: int) -> Iterator[Directive]:
    for block in blocks(text, line):
        if isinstance(block, Directive):
            yield block
            if block.name != "code-cell":
                yield from _directives(block.body, block.body_line)


def _end_of(lines: list[str], start: int, fence: str, line: int) -> int:
    """The line that closes a fence: the same sign, at least as often, and nothing else."""
    close = re.compile(rf"[ \t]*{re.escape(fence[0])}{{{len(fence)},}}[ \t]*$")
    for i in range(start + 1, len(lines)):
        if close.match(lines[i]):
            return i
    raise MarkupError(line + start, f"{lines[start].strip()} is never closed")


def _directive(opened: re.Match, body: list[str], line: int) -> Directive:
    indent = opened["indent"]
    body = [text.removeprefix(indent) for text in body]
    options, first = {}, 0
    while first < len(body) and (option := _OPTION.match(body[first])):
        options[option["key"]] = (option["value"] or "").strip()
        first += 1
    while first < len(body) and not body[first].strip():
        first += 1
    return Directive(opened["name"], opened["rest"].strip(), options, "\n".join(body[first:]).rstrip(), line,
                     line + 1 + first, indent)
