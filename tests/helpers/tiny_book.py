"""A book small enough to be broken on purpose."""
import json
import subprocess
import sys
from pathlib import Path

import execute
import yaml

from medlearn.claims import kinds

ROOT = Path(__file__).resolve().parents[2]
FRONT = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

"""
REFERENCES = """\
@article{long2015fully, author = {Long, Jonathan and Shelhamer, Evan and Darrell, Trevor},
 title = {Fully}, journal = {J}, year = {2015}}
@article{gudbjartsson1995rician, author = {Gudbjartsson, H{\\'a}kon and Patz, Samuel},
 title = {The}, journal = {J}, year = {1995}}
@article{dollar2014, author = {Doll{\\'a}r, Piotr}, title = {Fast}, journal = {J}, year = {2014}}
"""


def cell(code: str, *tags: str) -> str:
    """A code cell of a chapter."""
    return "```{code-cell} ipython3\n" + (f":tags: [{', '.join(tags)}]\n\n" if tags else "") + code.rstrip() + "\n```\n"


TRIAL = {"exact": "", "empirical": ", effect=x - 5, control={'none': y}"}
SHOWS_ALL_CLAIMS = cell("from statistics import mean\n\nfrom medlearn import claim\n\n"
                        "x, y = mean([5, 7]), mean([-3, -1])\n"
                        + "\n".join(f'claim("{id}", x == 6{TRIAL[kind]})' for id, kind in kinds().items()))


class Book:
    """A root with a table of contents, front pages, and the chapters that are added to it."""

    def __init__(self, root: Path):
        self.root, self.names = root, []
        config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
        config["sphinx"]["local_extensions"]["medlearn_book"] = str(ROOT / "book/_ext")
        for folder in ("html_static_path", "templates_path"):
            config["sphinx"]["config"][folder] = [str(ROOT / path) for path in config["sphinx"]["config"][folder]]
        config["repository"] = {"url": "https://github.com/someone/brains", "branch": "trunk"}
        del config["html"]["favicon"]
        self.put("_config.yml", yaml.safe_dump(config))
        self.put("book/intro.md", "# Front page\n\nWelcome.\n")
        self.put("book/reference/glossary.md",
                 "# Glossary\n\n:::{glossary}\nvoxel\n  A cell of a grid.\n\nIoU\n  Overlap.\n\n"
                 "probability simplex\n  All shares.\n:::\n")
        self.put("book/reference/bibliography.md", "# Bibliography\n\n```{bibliography}\n:style: unsrt\n```\n")
        self.put("book/reference/claims.md", "# The claims\n\n```{claims}\n```\n")
        self.put("book/references.bib", REFERENCES)
        self.contents()

    def put(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def contents(self) -> None:
        files = [*self.names, "book/reference/claims", "book/reference/glossary", "book/reference/bibliography"]
        self.put("_toc.yml", json.dumps({"format": "jb-book", "root": "book/intro",
                                         "parts": [{"caption": "All",
                                                    "chapters": [{"file": name} for name in files]}]}))

    def chapter(self, name: str, *parts: str, listed: bool = True) -> Path:
        """Put a chapter into principles/; its source begins at line 12 of the file."""
        if listed and f"book/principles/{name}" not in self.names:
            self.names.append(f"book/principles/{name}")
            self.contents()
        return self.put(f"book/principles/{name}.md", FRONT + "\n".join(parts))


def pages(book: Book) -> subprocess.CompletedProcess:
    """Run and build a book in a process of its own: Sphinx keeps much in globals."""
    assert execute.main(book.root) == 0
    code = (f"import sys; sys.path.insert(0, {str(ROOT / 'tools')!r}); import build, pathlib; "
            f"sys.exit(build.build(pathlib.Path({str(book.root)!r})))")
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
