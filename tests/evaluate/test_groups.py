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
    assert read_patients(path) == {"p1": {"sex": "F", "hospital": "St. Anne, North"},
                                   "p2": {"sex": "M", "hospital": ""}}


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


@pytest.mark.parametrize("values, groups", [
    (["0"] * 9 + ["1", "2", "3", "4", "5", "6"], {"0": 9, "above 0": 6}),
    ([0] * 4 + [1, 2, 3, 4, 5, 6], {"1.5 or more": 5, "below 1.5": 5}),
    ([0] * 7 + [1, 2, 3, 4, 5, 6], {"0": 7, "above 0": 6}),
    (["61", "48", "nan", "70", "33", "51", "59"], {"55 or more": 3, "below 55": 3, "unknown": 1}),
    ([61, 48, math.nan, 70, None, 33, 51, 59], {"55 or more": 3, "below 55": 3, "unknown": 2}),
    ([f"202401{day}" for day in range(10, 17)], {"20240113 or more": 4, "below 20240113": 3}),
    (["1", "2", "nan"], {"1": 1, "2": 1, "unknown": 1}), (["Nan", "Phrae"], {"Nan": 1, "Phrae": 1}),
    ([0, 1, None, " 1 "], {"0": 1, "1": 2, "unknown": 1}), (["nan"], {"unknown": 1}),
])
def test_a_column_is_cut_in_two_whatever_it_holds(values, groups):
    rows = tuple(Row(f"p{i}", f"p{i}", 1, {"Dice": 0.5}, Path("p")) for i in range(len(values)))
    found, = subgroups(Evaluation(LABELS, rows), {f"p{i}": {"x": value} for i, value in enumerate(values)})
    assert {name: found.patients(name) for name in found.groups} == groups


def test_blanks_in_a_file_do_not_count(tmp_path, refused):
    path = tmp_path / "patients.csv"
    path.write_text(" patient, sex \n 1 ,F \n2 , \n")
    assert read_patients(path) == {"1": {"sex": "F"}, "2": {"sex": ""}}
    for text, says in (("patient,sex\n1,F\n1 ,M\n", "1 twice"), ("patient,sex, sex\n1,F,F\n", "each once")):
        path.write_text(text)
        with refused(says):
            read_patients(path)


@pytest.mark.parametrize("held", ["patient,sex\nJosé,F\n".encode("latin-1"), "patient,sex\np,F\n".encode("utf-16"),
                                  b"patient,sex\np," + b"x" * 131073], ids=["latin-1", "utf-16", "long"])
def test_a_file_of_another_encoding_or_none_is_refused_by_its_path(tmp_path, held, refused):
    (tmp_path / "patients.csv").write_bytes(held)
    with refused("patients.csv: expected a CSV file in UTF-8, got"):
        read_patients(tmp_path / "patients.csv")


@pytest.mark.parametrize("odd", [None, [], "p0", {"p0": "M"}, {"p0": None}, {"p0": ["M"]}])
def test_patients_of_another_kind_are_refused(odd, refused):
    with refused("patients: expected what is known of each"):
        subgroups(evaluation(), odd)
    with refused("evaluation: expected an Evaluation, got"):
        subgroups(odd, {})
