"""What is solved is kept where it was asked for, and nowhere else; a spoilt file costs nobody an answer."""
import csv
import json

import pytest

from medlearn.checks import check, examine
from medlearn.checks import progress as kept
from medlearn.checks.progress import Line, as_csv, as_page, as_text, begin, lines, note, progress_file, read
from medlearn.checks.tasks import CHECKS

RIGHT = CHECKS[0].reference


@pytest.fixture
def path(tmp_path, monkeypatch):
    path = tmp_path / "mine" / "progress.json"
    monkeypatch.setenv("MEDLEARN_PROGRESS", str(path))
    return path


def stub(mask, affine):
    raise NotImplementedError("your turn")


def test_nothing_is_written_before_it_is_asked_for(path, capsys):
    check("tasks.volume", RIGHT)
    assert not path.parent.exists() and "all 8 cases passed" in capsys.readouterr().out


def test_tries_and_the_best_and_the_day_are_kept(path, monkeypatch):
    begin(path)
    check("tasks.volume", stub)
    assert read(path)["tasks.volume"] == {"passed": 0, "tries": 0, "solved_on": ""}
    check("tasks.volume", lambda mask, affine: 0.0)
    assert read(path)["tasks.volume"] == {"passed": 1, "tries": 1, "solved_on": ""}
    check("tasks.volume", RIGHT)
    solved = read(path)["tasks.volume"]
    assert solved["passed"] == 8 and solved["tries"] == 2 and len(solved["solved_on"]) == 10

    class Later:
        today = staticmethod(lambda: Later())
        isoformat = staticmethod(lambda: "2999-01-01")

    monkeypatch.setattr(kept, "date", Later)
    check("tasks.volume", RIGHT)
    check("tasks.volume", lambda mask, affine: 0.0)
    assert read(path)["tasks.volume"] == {**solved, "tries": 4}                 # solved once is solved


def test_begun_twice_nothing_is_lost(path):
    begin(path)
    note(examine("tasks.volume", RIGHT), path)
    before = path.read_text()
    begin(path)
    assert path.read_text() == before


@pytest.mark.parametrize("text", ["{", "[]", '{"tasks.volume": 3}', '{"tasks.volume": {"passed": "all"}}'])
def test_a_file_that_is_none_of_ours_is_left_alone_and_the_answer_judged(path, text, capsys):
    begin(path)
    path.write_text(text)
    with pytest.warns(UserWarning, match="your progress was not kept: .*expected"):
        check("tasks.volume", RIGHT)
    assert path.read_text() == text and "all 8 cases passed" in capsys.readouterr().out


def test_without_a_word_it_lies_in_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("MEDLEARN_PROGRESS", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert progress_file() == tmp_path / ".medlearn" / "progress.json"


TABLE = lines({"a.one": {"passed": 3, "tries": 2, "solved_on": "2026-01-02"}, "a.two": {"passed": 1, "tries": 5},
               "z.old": {"passed": 2, "tries": 1, "solved_on": ""}}, {"a.one": 3, "a.two": 4, "b.three": 2})


def test_every_exercise_has_its_line_those_not_begun_and_those_gone_too():
    assert TABLE == [Line("a.one", 3, 3, 2, "2026-01-02"), Line("a.two", 1, 4, 5, ""), Line("b.three", 0, 2, 0, ""),
                     Line("z.old", 2, 2, 1, "")]
    assert [line.state for line in TABLE] == ["solved", "begun", "not begun", "begun"]
    assert as_text(TABLE) == ("a  #.  1 of 2\n  a.two: 1 of 4 cases, tries: 5\nb  .  0 of 1\nz  .  0 of 1\n"
                              "  z.old: 2 of 2 cases, tries: 1\nsolved: 1 of 4 exercises")


def test_a_table_and_a_page_hold_every_line():
    rows = list(csv.DictReader(as_csv(TABLE).splitlines()))
    assert [(row["exercise"], row["state"]) for row in rows] == [(line.exercise, line.state) for line in TABLE]
    page = as_page([*TABLE, Line("<b>", 0, 1, 0, "")])
    assert page.count("<tr") == 6 and "&lt;b&gt;" in page and "http" not in page and "1 of 5 exercises" in page


def test_the_file_is_plain_json(path):
    begin(path)
    note(examine("tasks.volume", RIGHT), path)
    assert json.loads(path.read_text()) == read(path)
