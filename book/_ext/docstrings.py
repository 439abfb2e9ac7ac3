"""The reference: docstrings are written for `help()`, and become reST here."""
from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from types import ModuleType

from sphinx.application import Sphinx

FIELDS = re.compile(r"(?<=[.:)])\s(?=(?:Shapes|Units|Empty cases?|Errors|Sources?): )|(?<=\.)\s(?=Chapters? \d)|"
                    r"^(?=(?:Shapes|Units|Empty cases?|Errors|Sources?): )", re.MULTILINE)
ROOMS = ("tasks", "data", "physics", "nets", "losses", "metrics", "uncertainty", "train",
         "inference", "evaluate", "export", "viz")


@cache
def public_names() -> dict[str, str]:
    """Each public function and class of the package, with its room."""
    rooms = {room: import_module(f"medlearn.{room}") for room in ROOMS}
    return {name: f"medlearn.{room}.{name}" for room, module in rooms.items()
            for name in getattr(module, "__all__", None) or public_of(module) if callable(getattr(module, name))}


def public_of(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__]


def says_nothing(app: Sphinx, what, name, obj, skip, options) -> bool | None:
    """Leaves out the fields of a named tuple, which its class has named, and whose own words are Python's."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def named_default(app: Sphinx, what, name, obj, options, signature: str, returns: str) -> tuple[str, str] | None:
    """A default that is a function, by its name: its `<function ...>` is no Python, and would leave all types raw."""
    if not signature or "<function " not in signature:
        return None
    return re.sub(r"<function (?:\w+\.)*(\w+)[^>]*>", r"\1", signature), returns


def as_rst(app: Sphinx, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are written for `help()`: their code, formulas, fields, names and chapters become reST's."""
    if what == "module":                        # the page says it better
        lines.clear()
        return

    def code(found: re.Match) -> str:
        place = public_names().get(found[1])
        return f"``{found[1]}``" if place is None or name.endswith(f".{found[1]}") else f":py:obj:`~{place}`"

    def chapter(found: re.Match) -> str:
        page = next((page for page in sorted(app.env.found_docs) if f"/{int(found[1]):02}_" in page), None)
        return found[0] if page is None else f":doc:`{found[0]} </{page}>`"

    text, example, rest = FIELDS.sub("\n\n", "\n".join(lines)).partition("\n>>> ")
    text = re.sub(r"(?<![`:])`([^`\n]+)`(?![`_])", code, text)
    text = re.sub(r"\$([^$]+)\$", lambda found: f":math:`{' '.join(found[1].split())}`", text)
    text = re.sub(r"\bChapter (\d+)\b", chapter, text)
    lines[:] = (text + example + rest).split("\n")
