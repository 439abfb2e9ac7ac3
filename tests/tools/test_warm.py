"""A forked kernel is what a fresh one would have been."""
import sys

import execute as execution
import pytest
from helpers.tiny_book import cell
from jupyter_client.provisioning import KernelProvisionerFactory

ASKED = """\
import os, sys
print(os.environ["MEDLEARN_MARK_CLAIMS"], os.getcwd())
print(sys.path[0], any(path.endswith("/tools") for path in sys.path))
print("torch" in sys.modules, "torch" in globals())
"""


@pytest.fixture
def printed(book):
    chapter = book.chapter("01_one", "# One\n", cell(ASKED))
    assert not execution.execute(book.root)[0].failure
    return execution.executed(chapter, book.root).cells[-1].outputs[0].text.splitlines()


def test_it_finds_the_folder_the_environment_and_the_path_of_a_kernel(book, printed):
    assert printed[0] == f"1 {book.root / 'book/principles'}"
    assert printed[1] == f"{execution.IN_KERNEL} False"


@pytest.mark.skipif(sys.platform != "linux", reason="kernels are forked on Linux alone")
def test_what_every_chapter_imports_is_there_and_no_name_of_it(printed):
    assert printed[2] == "True False"


def test_figures_are_shown_as_in_a_fresh_kernel(book):
    chapter = book.chapter("01_one", "# One\n", cell("import matplotlib.pyplot as plt\n\nplt.plot([1, 2])\nplt.show()"))
    assert not execution.execute(book.root)[0].failure
    output = execution.executed(chapter, book.root).cells[-1].outputs[0]
    assert {"image/png", "image/svg+xml"} <= set(output.data)


def test_elsewhere_kernels_start_as_usual(book, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "local-provisioner")
    monkeypatch.setitem(sys.modules, "warm", None)  # to import it would be an error
    book.chapter("01_one", "# One\n", cell("print('one')"))
    assert not execution.execute(book.root)[0].failure
