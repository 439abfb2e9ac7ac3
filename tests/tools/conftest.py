"""The tiny book."""

import pytest
from helpers.tiny_book import Book


@pytest.fixture
def book(tmp_path, monkeypatch) -> Book:
    for name in ("MEDLEARN_REPO_URL", "MEDLEARN_REPO_BRANCH", "MEDLEARN_BOOK_URL", "GITHUB_REPOSITORY",
                 "MEDLEARN_SCALE"):
        monkeypatch.delenv(name, raising=False)
    return Book(tmp_path)
