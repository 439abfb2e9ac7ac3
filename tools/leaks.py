"""What no page or notebook may show: a secret, or a path or name of the machine that it was made on."""
from __future__ import annotations

import getpass
import json
import re
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from html import unescape
from pathlib import Path

from nbformat import NotebookNode

SECRETS = {
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a Slack token": r"\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY",
    "a password": r"(?i)(?:\b|_)(?:password|passwd|api_?key|secret_?key|access_?token)[\"']?\s*[=:]\s*[\"']?"
                  r"[^\s\"'<>()]{6,}+(?!\()",
    "a password in an address": r"\b[a-z]+://[^\s/:@\"'<>]+:[^\s/@\"'<>]+@",
}
PLACES = {
    "a home folder": r"(?<![\w.~-])/(?:home|Users)/[\w.-]+|(?<![\w.~-])/root/[\w.]|\b[A-Za-z]:\\+Users\\+[\w.-]+",
    "a temporary file": r"(?<![\w.~-])/tmp/[\w.-]+|/var/folders/\w+",
}
GENERAL = {"localhost.localdomain", "root", "user", "runner", "jovyan", "ubuntu", "debian"}  # say nothing of a machine
NOISE = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=]+|\x1b\[[0-9;]*m")  # letters of an image are chance; colours
PAGES = {".html", ".md", ".txt", ".ipynb"}


def leaks(text: str, root: Path) -> list[str]:
    r"""What a text shows that it may not, one line each: what it is, and the text; of a secret its beginning alone.

    `root`: the checkout, whose path may not be shown. Empty where all is well.
    """
    text, found = NOISE.sub(" ", text), {}
    for what, pattern in (SECRETS | _machine(root)).items():
        for match in re.finditer(pattern, text):
            shown = f"{match[0][:8]}..." if what in SECRETS else match[0]
            found.setdefault(match.start(), f"shows {what}: {shown}")
    return list(dict.fromkeys(found[start] for start in sorted(found)))


@cache
def _machine(root: Path) -> dict[str, str]:
    """The patterns of this machine's places and names, and of those that any machine may have."""
    before, behind, rest = r"(?<![\w.-])", r"(?![\w-])", r"[^\s\"'<>]*"
    folders = {"the checkout": root.resolve(), "the home folder": Path.home(),
               "the folder of temporary files": Path(tempfile.gettempdir())}
    patterns = {what: before + re.escape(str(path)) + (behind if what == "the checkout" else "/") + rest
                for what, path in folders.items() if path != Path("/")}
    host, user = socket.gethostname(), _user()
    if re.search(r"[\d.-]", host) and host not in GENERAL:  # a plain word is no one machine's, and may be a page's own
        patterns["this machine's name"] = before + re.escape(host) + behind
    if len(user) > 3 and user not in GENERAL:
        patterns["a path with the user's name"] = rf"(?<![\w.:/~-])/(?:[\w.-]+/)*{re.escape(user)}/"
    return patterns | PLACES


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):                             # a number without a name, as in some containers
        return ""


def in_notebook(notebook: NotebookNode, root: Path) -> Iterator[tuple[int, str]]:
    """What a notebook's cells and outputs show that they may not: the cell's index, and what it is."""
    for index, cell in enumerate(notebook.cells):
        shown = [cell.source]
        for output in cell.get("outputs", ()):
            shown += [output.get("text", ""), *output.get("traceback", ())]
            shown += [data if isinstance(data, str) else json.dumps(data)
                      for kind, data in output.get("data", {}).items() if kind not in ("image/png", "image/jpeg")]
        yield from ((index, text) for text in dict.fromkeys(text for part in shown for text in leaks(part, root)))


def in_pages(html: Path, root: Path) -> list[str]:
    """What the built pages show that they may not, by page; `_static` holds what themes and libraries bring."""
    pages = {path.relative_to(html): path for path in sorted(html.rglob("*"))
             if path.suffix in PAGES or path.name == "searchindex.js"}
    return [f"{name.as_posix()}: {text}" for name, path in pages.items() if name.parts[0] != "_static"
            for text in leaks(unescape(path.read_text(encoding="utf-8")), root)]
