"""Write the notebook beside each chapter: plain Markdown, stubs in place of solutions, text outputs of the last run.

    python tools/notebooks.py                writes those that have changed
    python tools/notebooks.py --check        writes nothing; exit status 1, with file and cell, for stale or wrong ones
    python tools/notebooks.py --solved DIR   writes the solved notebooks into DIR

The chapter is the only source. Its code must have been run as it is now: `make notebooks` sees to that.
"""
from __future__ import annotations

import argparse
import hashlib
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from chapters import ROOT, Cell, Repository, cells, chapters, home, name_of, repository
from execute import executed
from exercises import SOLUTION, stub, unanswered, unsolved
from leaks import in_notebook
from lint import UNCHECKED, claim_problems, problems
from markup import Translator
from references import References

# tags that say how a page shows a cell
PAGE_ONLY = re.compile(r"(hide|remove|full|output)[-_]|scroll|margin|popout|" + SOLUTION)
# nbval compares all others
STRIPPED = ("image/png", "image/jpeg", "image/svg+xml", "application/vnd.jupyter.widget-view+json")
HTML_LIMIT = 20_000
METADATA = {
    "accelerator": "GPU",
    "colab": {"gpuType": "T4", "provenance": []},
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
SET_UP = """\
# In Colab this installs medlearn and leaves Colab's own packages as they are. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "{install}"\
"""


# One notebook --------------------------------------------------------------------------------------------------------

def student(chapter: Path, book: References) -> NotebookNode:
    """A chapter's notebook with stubs in place of solutions; LookupError where its code has not run."""
    return _notebook(chapter, book, _stubbed)


def solved(chapter: Path, book: References) -> NotebookNode:
    """A chapter's notebook with its solutions; LookupError where its code has not run."""
    return _notebook(chapter, book, lambda cell, outputs: (cell.source, outputs))


def _notebook(chapter: Path, book: References, shown: Callable[[Cell, list], tuple[str, list]]) -> NotebookNode:
    translator, run = Translator(name_of(chapter, book.root), book), executed(chapter, book.root)
    done = _door(translator.page, book.repository)
    for cell, ran in zip(cells(chapter), run.cells, strict=True):
        if cell.kind != "code":
            if text := translator.translate(cell.source, cell.line):
                done.append(new_markdown_cell(text))
            continue
        source, outputs = shown(cell, outputs_of(ran))
        tags = [tag for tag in cell.tags if not PAGE_ONLY.match(tag)]
        done.append(new_code_cell(source, outputs=outputs, metadata={"tags": tags} if tags else {}))
    count = 0
    for cell in done:
        if cell.cell_type == "code":  # nbval compares nothing of a cell without a count
            cell.execution_count = count = count + 1
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    _name(done)
    notebook = new_notebook(cells=done, metadata=METADATA)
    nbformat.validate(notebook)
    return notebook


def _door(page: str, at: Repository) -> list[NotebookNode]:
    """The cells before the chapter: where else it can be read and run, and Colab's set-up; none without an address."""
    if not at.known:
        return []
    links = f"[Open in Colab]({at.colab(page + '.ipynb')}) | [Read this chapter in the book]({at.page(page)})"
    return [new_markdown_cell(links), new_code_cell(SET_UP.format(install=at.install))]


def _stubbed(cell: Cell, outputs: list[NotebookNode]) -> tuple[str, list[NotebookNode]]:
    if SOLUTION not in cell.tags:
        return cell.source, outputs
    from medlearn.checks import not_attempted
    source = stub(cell.source)
    return source, [new_output("stream", name="stdout", text=unanswered(source, not_attempted))]


def _name(done: list[NotebookNode]) -> None:
    """Ids from the content: a cell keeps its own when others come and go."""
    seen: dict[str, int] = {}
    for cell in done:
        id = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
        seen[id] = seen.get(id, 0) + 1
        cell.id = id if seen[id] == 1 else f"{id}-{seen[id]}"


def outputs_of(cell: NotebookNode) -> list[NotebookNode]:
    """A cell's outputs as text. An image goes and what it says in plain text stays, else nbval would miss it."""
    unchecked, kept = UNCHECKED in cell.metadata.get("tags", ()), []
    for output in cell.outputs:
        if output.output_type == "stream":
            if kept and kept[-1].get("name") == output.name:  # where a stream is cut into pieces is chance
                kept[-1].text += output.text
            elif not (unchecked and output.name == "stderr"):
                kept.append(new_output("stream", name=output.name, text=output.text))
        elif output.output_type in ("display_data", "execute_result"):
            data = {kind: value for kind, value in output.data.items()
                    if (kind == "text/plain" if unchecked else kind not in STRIPPED)}
            kept.append(new_output(output.output_type, data=data))
    return kept


def output_problems(chapter: Path, run: NotebookNode, root: Path) -> list[str]:
    """What a chapter's run left that no notebook should hold, or that no second run would give again."""
    where, every, number = chapter.relative_to(root).as_posix(), cells(chapter), 0
    found = [f"{where}:{every[index].line}: {text}" for index, text in in_notebook(run, root)]
    for cell, ran in zip(every, run.cells, strict=True):
        if cell.kind != "code":
            continue
        number += 1
        texts = list(_wrong(cell, ran))
        found += [f"{where}:{cell.line}: code cell {number}: {text}" for text in texts]
    return [*found, *(f"{where}: {text}" for text in unsolved(run))]


def _wrong(cell: Cell, ran: NotebookNode) -> Iterator[str]:
    if ran.execution_count is None:
        yield "has not run"
    if UNCHECKED in cell.tags:
        return
    for output in outputs_of(ran):
        data = output.get("data", {"text/plain": output.get("text", "")})
        if output.get("name") == "stderr":
            yield f"writes to stderr: {output.text.strip().rpartition(chr(10))[2]}"
        if re.search(r" at 0x[0-9a-f]{6,}", str(data.get("text/plain", ""))):
            yield "shows an address in memory, another one in each run"
        if len(str(data.get("text/html", ""))) > HTML_LIMIT:
            yield f"gives {len(data['text/html']) // 1000} kB of HTML: tag it {UNCHECKED}"
        for kind in data:
            if not kind.startswith("text/"):
                yield f"gives {kind}, which a notebook here cannot keep: tag it {UNCHECKED}"


# All of them ---------------------------------------------------------------------------------------------------------

def path_of(chapter: Path) -> Path:
    return chapter.with_suffix(".ipynb")


def text_of(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def strays(root: Path = ROOT) -> list[str]:
    """Notebooks in the book that no chapter makes."""
    made = {path_of(chapter) for chapter in chapters(root)}
    there = (path for path in sorted(root.glob("book/**/*.ipynb")) if ".ipynb_checkpoints" not in path.parts)
    return [f"{path.relative_to(root).as_posix()}: no chapter makes this notebook"
            for path in there if path not in made]


def wrong(root: Path = ROOT) -> list[str]:
    """All that is wrong with the chapters themselves and with what their runs gave."""
    book, found = References(root, repository(root)), []
    for chapter in chapters(root):
        found += problems(chapter, book)
        try:
            found += output_problems(chapter, executed(chapter, root), root)
        except LookupError as error:
            found.append(error.args[0])
    return [*found, *claim_problems(root), *strays(root)]


def stale(root: Path = ROOT) -> list[str]:
    """What of the notebooks is not what their chapters make; the links may lead to this clone or to the book's home."""
    books, found = [References(root, at) for at in dict.fromkeys((repository(root), home(root)))], []
    for chapter in chapters(root):
        path = path_of(chapter)
        said = min((_at(path, student(chapter, book)) for book in books), key=len)
        found += [f"{path.relative_to(root).as_posix()}: {text}" for text in said]
    return found


def _at(path: Path, made: NotebookNode) -> list[str]:
    """How the file differs from the notebook that should be there."""
    if not path.exists():
        return ["missing"]
    try:
        return differences(nbformat.read(path, as_version=4), made)
    except Exception as error:  # nbformat and its parsers have many ways to say it
        return [f"cannot be read as a notebook ({type(error).__name__})"]


def differences(written: NotebookNode, made: NotebookNode) -> list[str]:
    """Where a written notebook is not as it would be made now; outputs count where they are checked."""
    found = [] if written.metadata == made.metadata else ["the notebook's metadata"]
    for number, (old, new) in enumerate(zip(written.cells, made.cells), 1):
        compared = ["cell_type", "source", "id", "metadata", "execution_count"]
        if UNCHECKED not in new.metadata.get("tags", ()):
            compared.append("outputs")
        parts = [part for part in compared if old.get(part) != new.get(part)]
        if parts:
            found.append(f"cell {number}: {', '.join(parts)}")
    if len(written.cells) != len(made.cells):
        found.append(f"{len(written.cells)} cells, expected {len(made.cells)}")
    return found


def write(root: Path = ROOT) -> list[Path]:
    """Write the notebooks that are not as they should be; which those were."""
    book, changed = References(root, repository(root)), []
    for chapter in chapters(root):
        path, made = path_of(chapter), student(chapter, book)
        if _at(path, made):
            path.write_text(text_of(made), encoding="utf-8")
            changed.append(path)
    return changed


def write_solved(into: Path, root: Path = ROOT) -> list[Path]:
    """Write the solved notebooks into a folder, in the book's order of folders."""
    book, done = References(root, repository(root)), []
    for chapter in chapters(root):
        path = into / path_of(chapter).relative_to(root / "book")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text_of(solved(chapter, book)), encoding="utf-8")
        done.append(path)
    return done


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    parser = argparse.ArgumentParser(description="Write the notebook beside each chapter.")
    parser.add_argument("--check", action="store_true", help="write nothing, say what is wrong or stale")
    parser.add_argument("--solved", type=Path, metavar="DIR", help="write the solved notebooks into DIR")
    asked = parser.parse_args(arguments)
    found = wrong(root)
    if asked.check and not found:
        found = [f"{text}; say `make notebooks`" for text in stale(root)]
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    if asked.solved:
        print(f"Solved notebooks: {len(write_solved(asked.solved, root))}, in {asked.solved}")
    if asked.check:
        print(f"Notebooks: {len(chapters(root))}, all as their chapters make them")
    elif not asked.solved:
        changed = write(root)
        print(f"Notebooks: {len(chapters(root))}, written: {len(changed)}")
        print("".join(f"  {path.relative_to(root)}\n" for path in changed), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
