"""What a chapter is, which there are, and where the book lives: asked here by all tools."""
from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jupytext
import yaml
from jupytext.myst import myst_to_notebook
from nbformat import NotebookNode
from sphinx_external_toc.api import Document, FileItem, SiteMap
from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("principles", "applications", "practice")  # every .md in them is a chapter


# The table of contents -----------------------------------------------------------------------------------------------

def documents(root: Path = ROOT) -> list[str]:
    """Every page of the book in reading order, as Sphinx names it: `book/principles/01_tasks`."""
    contents = parse_toc_yaml(root / "_toc.yml")
    return [name.removesuffix(".md") for name in _walk(contents, contents.root)]


def _walk(contents: SiteMap, page: Document) -> Iterator[str]:
    yield page.docname
    for tree in page.subtrees:
        for item in tree.items:
            if isinstance(item, FileItem):
                yield from _walk(contents, contents[str(item)])


def source(name: str, root: Path = ROOT) -> Path:
    """The file of a page."""
    return root / f"{name}.md"


def name_of(path: Path, root: Path = ROOT) -> str:
    """The page of a file: `book/principles/01_tasks`."""
    return path.resolve().relative_to(root.resolve()).with_suffix("").as_posix()


def chapters(root: Path = ROOT) -> list[Path]:
    """Every page that runs, in reading order: those whose front matter names jupytext's format myst."""
    return [path for path in (source(name, root) for name in documents(root)) if path.exists() and is_chapter(path)]


def is_solution(path: Path) -> bool:
    """Whether a page only gives the solution of another: it runs, but it is no chapter to begin with."""
    return path.stem.endswith("_solution")


def orphans(root: Path = ROOT) -> list[str]:
    """What the table of contents and the folders do not agree on, one line of text each."""
    listed = {source(name, root) for name in documents(root)}
    present = {path for room in ROOMS for path in (root / "book" / room).glob("**/*.md")}
    return [*(f"{path.relative_to(root).as_posix()}: not in _toc.yml" for path in sorted(present - listed)),
            *(f"_toc.yml: no file {path.relative_to(root).as_posix()}" for path in sorted(listed) if not path.exists())]


# One chapter ---------------------------------------------------------------------------------------------------------

def front_matter(path: Path) -> dict:
    """The YAML between the first two lines of `---`; empty where there is none."""
    found = re.match(r"---\n(.*?)\n---\n", path.read_text(encoding="utf-8"), re.DOTALL)
    return dict(_yaml(found[1])) if found else {}


@cache
def _yaml(text: str) -> dict:
    return yaml.safe_load(text) or {}


def is_chapter(path: Path) -> bool:
    """Whether a page is read as a notebook."""
    form = front_matter(path).get("jupytext", {}).get("text_representation", {})
    return form.get("format_name") == "myst"


@dataclass(frozen=True)
class Cell:
    """A cell of a chapter, and the line of the file where its source begins (from 1)."""
    kind: str  # "markdown" or "code"
    source: str
    metadata: dict
    line: int

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(self.metadata.get("tags", ()))


def read(path: Path) -> NotebookNode:
    """A chapter as a notebook without outputs, the caller's own."""
    return deepcopy(_notebook(path.read_text(encoding="utf-8")))


@cache
def _notebook(text: str) -> NotebookNode:
    return jupytext.reads(text, {"extension": ".md"})


def cells(path: Path) -> list[Cell]:
    """A chapter's cells in order."""
    return list(_cells(path.read_text(encoding="utf-8")))


@cache
def _cells(text: str) -> tuple[Cell, ...]:
    notebook, lines = myst_to_notebook(text, add_source_map=True), text.splitlines()  # as `read`, with the lines
    return tuple(Cell(cell.cell_type, cell.source, cell.metadata, _first_line(lines, start, cell.source))
                 for cell, start in zip(notebook.cells, notebook.metadata["source_map"], strict=True))


def _first_line(lines: list[str], start: int, text: str) -> int:
    """A cell's options and blank lines come before its source."""
    first = text.partition("\n")[0].strip()
    return next((i for i in range(start, len(lines)) if lines[i].strip() == first), start) + 1


# Where the book lives ------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Repository:
    """The address of the source and of the built book; empty where neither is known, and then nothing links to them."""
    url: str     # https://github.com/OWNER/NAME
    branch: str
    book: str    # where the pages are, with a slash at the end

    @property
    def known(self) -> bool:
        return bool(self.url)

    def page(self, name: str, anchor: str = "") -> str:
        """A built page, and a place in it."""
        return f"{self.book}{name}.html" + (f"#{anchor}" if anchor else "")

    def raw(self, path: str) -> str:
        """A file of the repository as it is, such as an image."""
        if not self.known:
            return path
        return f"{self.url}/raw/{self.branch}/{path}"

    def colab(self, path: str) -> str:
        """A notebook of the repository, opened in Colab."""
        return f"https://colab.research.google.com/github/{self.url.split('/', 3)[3]}/blob/{self.branch}/{path}"

    @property
    def install(self) -> str:
        """What pip installs the package from."""
        return f"medlearn[dicom] @ git+{self.url}@{self.branch}"


def repository(root: Path = ROOT) -> Repository:
    r"""Where this clone belongs.

    The first that is known: MEDLEARN_REPO_URL, GITHUB_REPOSITORY (set by GitHub's runners), git's origin where that is
    on GitHub, and _config.yml. MEDLEARN_REPO_BRANCH and MEDLEARN_BOOK_URL overrule the rest.
    Errors: ValueError for an address off GitHub when MEDLEARN_BOOK_URL does not say where its pages are.
    """
    told = home(root)
    url = os.environ.get("MEDLEARN_REPO_URL") or _from_runner() or _from_origin(root) or told.url
    branch = os.environ.get("MEDLEARN_REPO_BRANCH") or told.branch
    return _repository(url, branch, os.environ.get("MEDLEARN_BOOK_URL", ""))


def home(root: Path = ROOT) -> Repository:
    """Where the book belongs by _config.yml, whatever this clone is."""
    told = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return _repository(told.get("url") or "", told.get("branch", "main"))


def _repository(url: str, branch: str, book: str = "") -> Repository:
    url = url.rstrip("/").removesuffix(".git")
    if not url:
        return Repository("", branch, "")
    return Repository(url, branch, (book or _pages(url)).rstrip("/") + "/")


def _from_runner() -> str:
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{name}" if name else ""


def _from_origin(root: Path) -> str:
    try:
        asked = subprocess.run(["git", "-C", str(root), "remote", "get-url", "origin"], capture_output=True, text=True)
    except OSError:  # no git here
        return ""
    found = re.match(r"(?:https://(?:[^@/]+@)?|git@|ssh://git@)github\.com[:/](.+?)(?:\.git)?/?$", asked.stdout.strip())
    return f"https://github.com/{found[1]}" if found else ""


def _pages(url: str) -> str:
    found = re.fullmatch(r"https://github\.com/([^/]+)/([^/]+)", url)
    if not found:
        raise ValueError(f"book's address: expected MEDLEARN_BOOK_URL for a repository off GitHub, got only {url}")
    return f"https://{found[1].lower()}.github.io/{found[2]}/"
