"""A file that is being written has another name, and its own only when it is whole."""
import pytest

from medlearn.base.atomic import written_whole


def test_the_name_comes_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    with written_whole(path) as aside:
        aside.write_text("new")
        assert not path.exists() and aside.parent == tmp_path and aside.name.endswith("a.txt")
    assert path.read_text() == "new" and [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space"), written_whole(path) as aside:
        aside.write_text("ne")
        raise OSError("No space left on device")
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["a.txt"]
