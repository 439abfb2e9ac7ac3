"""`medlearn progress`: from nothing kept to a table."""
import csv

import pytest

from medlearn.checks import check, registered
from medlearn.checks.tasks import CHECKS
from medlearn.cli import main


@pytest.fixture(autouse=True)
def path(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDLEARN_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


def test_before_it_is_begun_it_says_how(capsys):
    assert main(["progress"]) == 2
    assert "medlearn progress --begin" in capsys.readouterr().err


def test_what_is_solved_is_shown_and_exported(path, tmp_path, capsys):
    assert main(["progress", "--begin"]) == 0
    check("tasks.volume", CHECKS[0].reference)
    assert main(["progress", "--export", str(tmp_path / "mine.csv")]) == 0
    out = capsys.readouterr().out
    assert f"solved: 1 of {len(registered())} exercises\nkept in {path}" in out and "#..  1 of 3" in out
    rows = list(csv.DictReader((tmp_path / "mine.csv").open()))
    assert [row["exercise"] for row in rows if row["state"] == "solved"] == ["tasks.volume"]
    assert len(rows) == len(registered())
    assert main(["progress", "--export", str(tmp_path / "mine.html")]) == 0
    assert "<td>tasks.volume</td>" in (tmp_path / "mine.html").read_text()


@pytest.mark.parametrize("name, why", [("mine.xls", "ends in .csv or .html")])
def test_another_kind_of_table_is_refused(name, why, tmp_path, capsys):
    assert main(["progress", "--begin", "--export", str(tmp_path / name)]) == 2
    assert why in capsys.readouterr().err and not (tmp_path / name).exists()
