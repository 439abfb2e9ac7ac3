"""A pytest plugin: what a notebook gives while nbval runs it is kept for its chapter's page, so that it runs once.

Page and notebook differ in the exercises alone: the page shows them solved, the student's notebook has a stub. So
after a stub its solution runs, whose outputs are kept, and then the stub again, so that all that follows meets what a
student's would. What is kept is what tools/execute.py would have kept; a notebook that fails is left to it.
"""
from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_cache import get_cache
from nbformat import NotebookNode
from nbformat.v4 import output_from_msg
from nbval.plugin import IPyNbCell, IPyNbFile

from chapters import read
from execute import RAISES, Run, cache_path, environment, keep, prepare
from exercises import SOLUTION, stub

SHOWN = ("stream", "display_data", "execute_result", "error")  # the messages that are outputs


class Recording:
    """One notebook's run, cell by cell."""

    def __init__(self, file: IPyNbFile):
        self.file, self.start, self.messages = file, time.perf_counter(), []
        self._listen()
        self._run("%load_ext svg_figures")
        language = file.kernel.kc.kernel_info(reply=True, timeout=60)["content"]["language_info"]
        self.notebook = read(Path(file.path).with_suffix(".md"))
        self.notebook.metadata["language_info"] = language
        self.code = [cell for cell in self.notebook.cells if cell.cell_type == "code"]
        # the notebook may begin with a cell that sets up Colab, which no page shows
        self.before = sum(cell.cell_type == "code" for cell in file.nb.cells) - len(self.code)

    def take(self, ran: IPyNbCell) -> None:
        """Take over what a cell of the notebook has just given, or what the solution gives where it is a stub."""
        number = ran.cell_num - self.before
        if not 0 <= number < len(self.code):
            return
        cell, outputs = self.code[number], self._outputs()
        if SOLUTION in cell.metadata.get("tags", ()) and ran.cell.source == stub(cell.source):
            outputs = self._run(cell.source)
            self._run(ran.cell.source)
        elif ran.cell.source != cell.source:
            return  # a notebook of another state of its chapter: `tools/notebooks.py --check` says so
        fails = any(output.output_type == "error" for output in outputs)
        if not fails or RAISES in cell.metadata.get("tags", ()):
            cell.outputs, cell.execution_count = outputs, number + 1
            for output in outputs:
                if output.output_type == "execute_result":
                    output.execution_count = number + 1

    def keep(self, root: Path) -> None:
        """Put the outputs into the cache that the pages are built from, where every cell has run without an error."""
        if all(cell.execution_count for cell in self.code):
            chapter = Path(self.file.path).with_suffix(".md")
            keep(get_cache(cache_path(root)), Run(chapter, time.perf_counter() - self.start, self.notebook))

    def _listen(self) -> None:
        """nbval joins what a cell prints before and after a figure; the page wants it as it came."""
        ask = self.file.get_kernel_message

        def heard(*args, **kwargs):
            message = ask(*args, **kwargs)
            self.messages.append(message)
            return message

        self.file.get_kernel_message = heard
        self.file.skip_compare += ("image/svg+xml",)  # as nbval itself skips pictures

    def _run(self, source: str) -> list[NotebookNode]:
        """What other code gives in the same kernel."""
        self.messages.clear()
        cell = IPyNbCell.from_parent(self.file, name="for the page", cell_num=-1, options=defaultdict(bool),
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
    try:
        yield
    finally:
        if isinstance(item, IPyNbCell) and RECORDING in item.parent.stash and item.parent.kernel.is_alive():
            item.parent.stash[RECORDING].take(item)


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if isinstance(item, IPyNbCell) and RECORDING in item.parent.stash:
        if nextitem is None or nextitem.parent is not item.parent:
            item.parent.stash[RECORDING].keep(item.config.rootpath)


def is_of_a_chapter(file: IPyNbFile) -> bool:
    """Whether a chapter lies beside the notebook."""
    return Path(file.path).with_suffix(".md").exists()
