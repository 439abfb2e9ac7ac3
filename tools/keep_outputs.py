"""A pytest plugin: what a notebook gives while nbval runs it is kept for its chapter's page, so that it runs once.

Page and notebook differ in the exercises alone: the page shows them solved, the student's notebook has a stub. So
after a stub its solution runs, whose outputs are kept, and then the stub again, so that all that follows meets what a
student's would. Outputs that differ from the notebook's fail the test and are kept all the same. A chapter with a cell
that raised or ran out of time, or whose notebook is of another state, is left to tools/execute.py.
"""
from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from jupyter_cache import get_cache
from nbformat import NotebookNode
from nbformat.v4 import output_from_msg
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from chapters import is_chapter, read
from execute import RAISES, UNHELD, Run, cache_path, environment, keep, prepare
from exercises import SOLUTION, stub

IN_COLAB = "google.colab"  # a notebook's first cell asks for it
SHOWN = ("stream", "display_data", "execute_result", "error")  # the messages that are outputs


class Recording:
    """One notebook's run, cell by cell."""

    def __init__(self, file: IPyNbFile):
        self.file, self.start, self.messages = file, time.perf_counter(), []
        # before the run: the package may be another one at its end
        self.cache = cache_path(file.config.rootpath)
        self.chapter = Path(file.path).with_suffix(".md")
        self.notebook = read(self.chapter)
        self.code = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        self.before = cells_before(self.code, [cell for cell in file.nb.cells if cell.cell_type == "code"])
        self._listen()
        self._run("%load_ext svg_figures", defaultdict(bool))
        language = file.kernel.kc.kernel_info(reply=True, timeout=60)["content"]["language_info"]
        self.notebook.metadata["language_info"] = language

    def take(self, ran: IPyNbCell) -> list[NotebookNode]:
        """Take over what a cell has just given, or what the solution gives where it is a stub; these outputs."""
        outputs = self._outputs()
        if self.before is None or ran.cell_num < self.before:
            return outputs
        number = ran.cell_num - self.before
        cell = self.code[number]
        if SOLUTION in tags(cell):
            try:
                outputs = self._run(cell.source, ran.options)
            finally:
                self._run(ran.cell.source, ran.options)
        if RAISES in tags(cell) or not any(output.output_type == "error" for output in outputs):
            cell.outputs, cell.execution_count = outputs, number + 1
            for output in outputs:
                if output.output_type == "execute_result":
                    output.execution_count = number + 1
        return outputs

    def keep(self) -> None:
        """Put the outputs into the cache that the pages are built from, where every cell has run without an error."""
        if not self.file.timed_out and all(cell.execution_count for cell in self.code):
            keep(get_cache(self.cache), Run(self.chapter, time.perf_counter() - self.start, self.notebook))

    def _listen(self) -> None:
        """nbval joins what a cell prints before and after a figure; the page wants it as it came."""
        ask = self.file.get_kernel_message

        def heard(*args, **kwargs):
            message = ask(*args, **kwargs)
            self.messages.append(message)
            return message

        self.file.get_kernel_message = heard
        self.file.skip_compare += ("image/svg+xml",)  # as nbval itself skips pictures

    def _run(self, source: str, options: dict[str, bool]) -> list[NotebookNode]:
        """What other code gives in the same kernel."""
        self.messages.clear()
        cell = IPyNbCell.from_parent(self.file, name="for the page", cell_num=-1, options=options | {"check": False},
                                     cell=NotebookNode(source=source, outputs=[], execution_count=None))
        cell.runtest()
        return self._outputs()

    def _outputs(self) -> list[NotebookNode]:
        """The outputs among the messages, which are also of what ran before: the last one is of what has just run."""
        of = self.messages[-1]["parent_header"].get("msg_id") if self.messages else None
        outputs = [output_from_msg(message) for message in self.messages
                   if message["msg_type"] in SHOWN and message["parent_header"].get("msg_id") == of]
        self.messages.clear()
        return outputs


RECORDING = pytest.StashKey[Recording]()


def pytest_configure(config: pytest.Config) -> None:
    if config.option.nbval:
        prepare()
        os.environ.update(environment())
        get_cache(cache_path(config.rootpath)).list_cache_records()  # made once, before several processes write to it


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield  # nbval has started the kernel
    if isinstance(item, IPyNbCell) and RECORDING not in item.parent.stash and is_of_a_chapter(item.parent):
        item.parent.stash[RECORDING] = Recording(item.parent)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    recording = item.parent.stash.get(RECORDING, None) if isinstance(item, IPyNbCell) else None
    try:
        yield
    except Exception:
        if recording and item.parent.kernel.is_alive():
            with suppress(NbCellError):  # the test's own error is the one to see
                recording.take(item)
        raise
    if recording:
        said = "".join(output.get("text", "") for output in recording.take(item))
        if unheld := UNHELD.findall(said):  # the run goes on, and the test has failed
            pytest.fail("\n".join(unheld), pytrace=False)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if isinstance(item, IPyNbCell) and RECORDING in item.parent.stash:
        if nextitem is None or nextitem.parent is not item.parent:
            item.parent.stash[RECORDING].keep()


def is_of_a_chapter(file: IPyNbFile) -> bool:
    """Whether a chapter lies beside the notebook."""
    path = Path(file.path).with_suffix(".md")
    return path.exists() and is_chapter(path)


def cells_before(chapter: list[NotebookNode], notebook: list[NotebookNode]) -> int | None:
    """How many code cells of a notebook come before its chapter's: none, or the one that sets up Colab.

    None where the others are not the chapter's as it is now: `tools/notebooks.py --check` says so.
    """
    there = [cell.source for cell in notebook]
    before = 1 if there and IN_COLAB in there[0] else 0
    made = [stub(cell.source) if SOLUTION in tags(cell) else cell.source for cell in chapter]
    return before if there[before:] == made else None


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])
