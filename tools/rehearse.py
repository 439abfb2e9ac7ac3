"""The tests of the GPU on a machine without one: as on a T4, and as on a newer card whose sums come in any order.

    python tools/rehearse.py [what else pytest is to be told]

What the rehearsal sees, and what it cannot, is said in tests/helpers/rehearsal/__init__.py.
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CARDS = ("7.5", "9.0,jitter")
WHERE = [str(ROOT / "tests")]
sys.path += WHERE

from helpers.rehearsal.guard import obstacle  # noqa: E402


def environment(card: str) -> dict[str, str]:
    """In which `helpers.rehearsal.plugin` is found, and knows which GPU to be."""
    path = os.pathsep.join([*WHERE, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "REHEARSE_CUDA": card}


def main(arguments: list[str]) -> int:
    if problem := obstacle():
        print(f"{'!' * 120}\nTHE TESTS OF THE GPU WERE NOT REHEARSED: {problem}.\n{'!' * 120}", file=sys.stderr)
        return 0
    command = [sys.executable, "-m", "pytest", "-p", "helpers.rehearsal.plugin", "-m", "gpu", "-q",
               *(arguments or ["tests"])]
    cards = [subprocess.Popen(command, cwd=ROOT, env=environment(card), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              text=True) for card in CARDS]
    said = [card.communicate()[0] for card in cards]        # side by side, and told one after the other
    print("\n".join(said), flush=True)
    return int(any(card.returncode for card in cards))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
