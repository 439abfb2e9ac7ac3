"""Who is served badly: a table for each group of patients, in which nobody is lost."""
import csv
import math
from pathlib import Path

import pytest

from medlearn.evaluate import Evaluation, Row, read_patients, subgroups, write_subgroups

LABELS = ("background", "tumour")
DICE = [0.9, 0.7, 0.5, 0.3, 0.8, 0.6, 0.4, math.nan]


def evaluation():
    """Eight cases of seven patients: p0 comes twice."""
    rows = tuple(Row(f"c{i}", f"p{i % 7}", 1, {"Dice": dice}, Path(f"c{i}.nii.gz")) for i, dice in enumerate(DICE))
    return Evaluation(LABELS, rows, missing={"c3": "no such file"}, unread={"c9": "damaged"})


def known(**columns):
    return {f"p{i}": {name: values[i] for name, values in columns.items()} for i in range(7)}


def test_each_column_has_its_table_and_each_value_its_group():
    by_sex, by_site = subgroups(evaluation(), known(sex="FMFMFMF", site=["A"] * 6 + ["B"]))
    assert (by_sex.column, by_site.column) == ("sex", "site") and list(by_sex.groups) == ["F", "M"]
    assert by_sex.groups["M"].summary("Dice", label=1).mean == pytest.approx((0.7 + 0.3 + 0.6) / 3)
    assert [row.case for row in by_sex.groups["F"].rows] == ["c0", "c2", "c4", "c6", "c7"]
    assert by_sex.patients("F") == 4 and by_site.patients("A") == 6
    assert by_sex.groups["M"].missing == {"c3": "no such file"} and by_sex.groups["F"].missing == {}
    assert by_sex.groups["F"].interval("Dice", label=1) == subgroups(evaluation(), known(sex="FMFMFMF"))[0].groups[
        "F"].interval("Dice", label=1)


def test_nobody_is_lost():
    facts = known(sex=["F", "", "F", "M", "M", "F", "M"])
    del facts["p6"]
    by_sex, = subgroups(evaluation(), facts)
    assert list(by_sex.groups) == ["F", "M", "unknown"]
    assert [row.case for row in by_sex.groups["unknown"].rows] == ["c1", "c6"]
    assert sum(len(part.rows) for part in by_sex.groups.values()) == len(DICE)


def test_many_numbers_are_cut_at_their_median_and_few_are_not():
    by_age, = subgroups(evaluation(), known(age=["61", "48", "55.5", "70", "33", "", "59"]))
    assert {name: sorted({row.patient for row in part.rows}) for name, part in by_age.groups.items()} == {
        "57.25 or more": ["p0", "p3", "p6"], "below 57.25": ["p1", "p2", "p4"], "unknown": ["p5"]}
    by_stage, = subgroups(evaluation(), known(stage="1213121"))
    assert list(by_stage.groups) == ["1", "2", "3"]
    by_name, = subgroups(evaluation(), known(code=["1", "2", "3", "4", "5", "6", "x"]))
    assert len(by_name.groups) == 7


def test_the_table_for_people_and_the_file_say_the_same(tmp_path):
    tables = subgroups(evaluation(), known(sex="FMFMFMF"))
    assert str(tables[0]).splitlines()[0] == "by sex: F (4), M (3)"
    assert "  tumour  Dice       M  0.533 ± 0.208 over 3 cases" in str(tables[0])
    write_subgroups(tmp_path / "subgroups.csv", tables)
    with open(tmp_path / "subgroups.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "Dice"]
    assert [(row["column"], row["group"], row["patients"], row["cases"]) for row in rows] == [
        ("sex", "F", "4", "4"), ("sex", "M", "3", "3")]
    low, high = tables[0].groups["M"].interval("Dice", label=1)
    assert float(rows[1]["low"]) == low <= float(rows[1]["mean"]) <= high == float(rows[1]["high"])


def test_a_file_of_patients_as_a_spreadsheet_writes_it(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_bytes("\ufeffpatient,sex,hospital\r\np1,F,\"St. Anne, North\"\r\np2, M ,\r\n\r\n".encode())
    assert read_patients(path) == {"p1": {"sex": "F", "hospital": "St. Anne, North"}, "p2": {"sex": "M", "hospital": ""}}


@pytest.mark.parametrize("text, says", [
    ("", "expected titles"), ("patient\np1\n", "expected titles"), ("patient,sex,sex\np1,F,F\n", "expected titles"),
    ("patient,sex\np1,F,61\n", "expected 2 fields in each line"), ("patient,sex\np1,F\np1,M\n", "p1 twice"),
])
def test_a_file_that_cannot_be_is_refused(tmp_path, text, says, refused):
    (tmp_path / "patients.csv").write_text(text)
    with refused(f"patients.csv: expected .*{says.removeprefix('expected ')}"):
        read_patients(tmp_path / "patients.csv")


def test_patients_without_the_same_columns_are_refused(refused):
    with refused("patients: expected sex, age for each, got sex for p2"):
        subgroups(evaluation(), {"p1": {"sex": "F", "age": "61"}, "p2": {"sex": "M"}})
    assert subgroups(evaluation(), {}) == []
