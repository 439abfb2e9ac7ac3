"""The tools on the path, and the tiny book."""
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2] / "tools")]

from tiny_book import Book  # noqa: E402


@pytest.fixture
def book(tmp_path, monkeypatch) -> Book:
    for name in ("MEDLEARN_REPO_URL", "MEDLEARN_REPO_BRANCH", "MEDLEARN_BOOK_URL", "GITHUB_REPOSITORY", "MEDLEARN_SCALE"):
        monkeypatch.delenv(name, raising=False)
    return Book(tmp_path)
