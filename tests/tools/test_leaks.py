"""A page or a notebook that shows a secret, or the machine it was made on, is named with the text."""
import getpass
import socket
import tempfile
from pathlib import Path

import build as building
import leaks
import nbformat
import notebooks
import pytest
from chapters import ROOT
from execute import executed
from execute import main as execute
from helpers.tiny_book import cell
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ABROAD = Path("/work/of/someone/checkout")
LEAKS = {
    "a GitHub token": "token ghp_" + "a1B2" * 9,
    "a Hugging Face token": "hf_" + "aBcD" * 8,
    "an AWS key": "AKIA" + "ABCD" * 4,
    "an API key": "key: sk-" + "proj-abc123" * 3,
    "a JSON web token": "eyJhbGciOiJIUzI1." + "eyJzdWIiOiIxMjM0" + ".c2ln",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a password": "connect(password='hunter-two')",
    "a password in an address": "https://someone:hunter2@example.org/data",
    "a home folder": "read /home/anna/scan.nii.gz",
    "a temporary file": "saved to /var/folders/tmpab12.pt",
    "the folder of temporary files": f"saved to {tempfile.gettempdir()}/ab12.pt",
    "the checkout": f"File {ABROAD}/medlearn/claims.py, line 1",
    "the home folder": "warned at /vol/people/anna/x.py",
    "this machine's name": "run on gpu-node-17 today",
    "a path with the user's name": "cache in /scratch/fast/annabel/torch",
}
WELL = [
    "the home of /r/ and tmp; a token = tokens[0]; password = getpass()", "~/data/scan.nii.gz",
    "https://example.org/home/anna", "https://github.com/annabel/medlearn", "book/tmp/x.nii", "ask sk-learn", "hf_hub",
    "data:image/png;base64,AKIAABCDABCDABCDABCD/tmp/xx",
    "password: ask the clinic", "the path /data/scans", "a run, 17 nodes on gpu", "torch.Size([1, 2])",
]


@pytest.fixture
def elsewhere(monkeypatch):
    """A machine with names of its own."""
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu-node-17")
    monkeypatch.setattr(getpass, "getuser", lambda: "annabel")
    monkeypatch.setattr(Path, "home", lambda: Path("/vol/people/anna"))
    leaks._machine.cache_clear()
    yield
    leaks._machine.cache_clear()


@pytest.mark.parametrize("what, text", LEAKS.items(), ids=LEAKS)
def test_a_leak_is_named_with_its_text(what, text, elsewhere):
    said, = leaks.leaks(f"before {text} behind", ABROAD)
    assert said.startswith(f"shows {what}: ")
    if what in leaks.SECRETS:                               # the complaint is not to spread it
        assert said.endswith("...") and text not in said


@pytest.mark.parametrize("text", WELL)
def test_what_says_nothing_of_a_machine_is_let_through(text, elsewhere):
    assert leaks.leaks(text, ABROAD) == []


def test_colours_of_a_traceback_hide_no_path():
    assert leaks.leaks("\x1b[32m/home/anna/x.py\x1b[39m", ABROAD) == ["shows a home folder: /home/anna"]


@pytest.mark.parametrize("output", [
    new_output("stream", name="stderr", text="/home/anna/x.py: warning"),
    new_output("execute_result", data={"text/plain": "'/home/anna/x.py'"}),
    new_output("display_data", data={"image/svg+xml": "<svg><text>/home/anna/x.py</text></svg>"}),
    new_output("display_data", data={"application/json": {"path": "/home/anna/x.py"}}),
    new_output("error", ename="E", evalue="", traceback=["File /home/anna/x.py"]),
], ids=["stream", "result", "picture", "data", "traceback"])
def test_every_kind_of_output_is_read(output):
    notebook = new_notebook(cells=[new_markdown_cell("text"), new_code_cell("x", outputs=[output])])
    assert list(leaks.in_notebook(notebook, ABROAD)) == [(1, "shows a home folder: /home/anna")]


def test_the_cells_of_a_notebook_are_read_as_well():
    notebook = new_notebook(cells=[new_markdown_cell("see /home/anna"), new_code_cell("open('/tmp/x')")])
    assert [index for index, _ in leaks.in_notebook(notebook, ABROAD)] == [0, 1]


def test_a_chapter_whose_run_shows_the_checkout_has_no_notebook(book):
    chapter = book.chapter("01_one", "# One\n", cell("import os\n\nprint(os.getcwd())"))
    assert execute(book.root) == 0
    here = book.root.resolve()
    said = f"book/principles/01_one.md:15: shows the checkout: {here}/book/principles"
    assert said in notebooks.output_problems(chapter, executed(chapter, book.root), book.root)
    assert said in notebooks.wrong(book.root)


@pytest.mark.parametrize("page, text", [
    ("book/one.html", "<p>/home/anna/x.py</p>"), ("book/one.html", "<a href='file:///home/anna/x.py'>"),
    ("searchindex.js", '{"titles": ["/home/anna"]}'), ("_sources/book/one.ipynb", '"/home/anna/x.py"'),
])
def test_a_page_with_a_leak_fails_the_build_and_leaves_no_stamp(book, monkeypatch, capsys, page, text):
    monkeypatch.setattr(building, "pages", lambda root: book.put(f"_build/html/{page}", text) and 0)
    assert building.build(book.root) == 1
    assert f"{page}: shows a home folder: /home/anna" in capsys.readouterr().err
    assert not (book.root / "_build/html/.built-from").exists()
    monkeypatch.setattr(building, "pages", lambda root: book.put(f"_build/html/{page}", "well") and 0)
    assert building.build(book.root) == 0


def test_what_themes_bring_is_theirs(book):
    html = book.put("_build/html/_static/x.html", "/home/anna").parents[1]
    assert leaks.in_pages(html, book.root) == []


@pytest.mark.parametrize("notebook", sorted(ROOT.glob("book/**/*.ipynb")), ids=lambda path: path.stem)
def test_no_notebook_of_the_book_leaks(notebook):
    assert list(leaks.in_notebook(nbformat.read(notebook, as_version=4), ROOT)) == []
