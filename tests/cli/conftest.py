"""One tiny training, for all that look at what it leaves."""
import shutil

import pytest
from helpers.tiny_folder import tiny_folder, words

from medlearn.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    tiny_folder(root / "data")
    assert main(["train", *words(root / "data", root / "run", "recipe.steps=2", "net.dropout=0.2")]) == 0
    return root


@pytest.fixture
def own(trained, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "own")
