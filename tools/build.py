"""Build the pages from the executed chapters; a warning is an error.

    python tools/build.py     does nothing where nothing has changed since the last build without a warning

Sphinx alone would not do: its second run leaves out the pages that it has read, and their warnings with them. So
every build is a whole one, and what spares us the next is a digest of everything that it was made from.
"""
from __future__ import annotations

import hashlib
import shutil
import sys
import time
from importlib import metadata
from pathlib import Path

from chapters import ROOT, repository
from execute import cache_path, unheld, unshown
from leaks import in_pages


def digest(root: Path = ROOT) -> str:
    """Changes with whatever a page can depend on: text, settings, tools, outputs, installed versions, address."""
    h = hashlib.sha256()
    for path in sorted([*root.glob("book/**/*"), *root.glob("tools/*.py"), root / "_config.yml", root / "_toc.yml"]):
        if path.is_file() and path.suffix not in (".ipynb", ".pyc"):
            h.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    for path in sorted(cache_path(root).glob("executed/*/base.ipynb")):  # `make test` runs the same code anew
        h.update(path.read_bytes())
    installed = sorted({f"{d.name}=={d.version}" for d in metadata.distributions()})
    h.update("\n".join([*installed, cache_path(root).name, repr(repository(root))]).encode())
    return h.hexdigest()


def pages(root: Path = ROOT) -> int:
    """Run Sphinx over the whole book; its exit status."""
    from jupyter_book.sphinx import build_sphinx
    result = build_sphinx(root, root / "_build/html", noconfig=True, path_config=root / "_config.yml",
                          confoverrides={"external_toc_path": str(root / "_toc.yml"), "nitpicky": True,
                                         "latex_individualpages": False},
                          freshenv=True, force_all=True, warningiserror=True, keep_going=True, quiet=True)
    return result if isinstance(result, int) else 1


def build(root: Path = ROOT) -> int:
    """Build unless nothing has changed; a build that fails leaves no trace of success behind."""
    stamp, now = root / "_build/html/.built-from", digest(root)
    start = time.perf_counter()
    if stamp.exists() and stamp.read_text() == now:
        print("Pages: nothing has changed")
        return warn_of_claims(root)
    shutil.rmtree(stamp.parent, ignore_errors=True)  # no page outlives its chapter
    print("Pages: building", flush=True)
    status = pages(root)
    if status:
        print("\nThe pages have errors or warnings: see above.", file=sys.stderr)
        return status
    if shown := in_pages(stamp.parent, root):
        print("\nThe pages show what they may not, and are not to be published:\n" + "\n".join(shown), file=sys.stderr)
        return 1
    stamp.write_text(now)
    print(f"  ok     {time.perf_counter() - start:6.1f} s")
    return warn_of_claims(root)


def warn_of_claims(root: Path) -> int:
    """The pages are there; exit status 1 all the same where a claim does not hold on this machine, or was not shown."""
    held, shown = unheld(root), unshown(root)
    if held:
        print("\nThe book is built, and these claims do not hold on this machine:\n" + "\n".join(held), file=sys.stderr)
    if shown:
        print("\nThe book is built, and these claims were not put to the test:\n" + "\n".join(shown), file=sys.stderr)
    return 1 if held or shown else 0


if __name__ == "__main__":
    sys.exit(build())
