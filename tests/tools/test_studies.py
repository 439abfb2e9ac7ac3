"""Studies: a record says in how many runs a claim held, and by how much; it goes stale with the code, not the prose."""
import json
import math
import subprocess
import sys

import pytest
import study as trials
from chapters import ROOT
from helpers.tiny_book import cell
from hypothesis import given
from hypothesis import strategies as st
from studies import (ASIDE, Spread, Study, all_quantities, code_digest, experiment, orphans, quoted, read_study, stale,
                     studies)

from medlearn.claims import kinds

MEASURED = next(id for id, kind in kinds().items() if kind == "empirical")
EXPERIMENT = f"""\
import torch
from medlearn import claim, record

x = 1 + torch.rand(1, generator=torch.Generator().manual_seed(0)).item()
record("{MEASURED.split('.')[0]}.x", x)
claim("{MEASURED}", x > 0.5, effect=x - 0.5, control={{"its mirror": -x}})
"""


@pytest.fixture
def chapter(book):
    return book.chapter("01_one", "# One\n", cell(EXPERIMENT))


def test_shifted_seeds_give_other_patients(monkeypatch):
    monkeypatch.setenv("STUDY_SHIFT", "1000")
    code = (trials.FIRST_CELL + "\nfrom medlearn.data import BrainCohort\n"
            "shift = 0.2\n"                                  # a chapter may call its own things as it likes
            "print(BrainCohort(seed=7, size=64).seed, BrainCohort().seed)")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["1007", "1000"]


def test_a_study_says_how_often_and_by_how_much_a_claim_held(book, chapter, capsys):
    assert trials.main(["01", "--only", "as it is", "seeds 1", "float32"], book.root) == 0
    study = read_study(chapter, book.root)
    assert set(study.settings) == {"as it is", "seeds 1", "float32"} and study.code == code_digest(chapter)
    trial = study.trials()[MEASURED]
    assert (trial.runs, trial.held, trial.passed) == (3, 3, 0) and trial.stands
    values = {run["setting"]: run["values"][f"{MEASURED.split('.')[0]}.x"] for run in study.runs}
    assert values["as it is"] == values["float32"] != values["seeds 1"]  # the seed that the chapter sets is shifted
    assert sorted(trial.effect[""].values) == pytest.approx(sorted(x - 0.5 for x in values.values()))
    assert f"{MEASURED}|its mirror" in study.quantities()
    assert "held 3 of 3" in capsys.readouterr().out

    assert trials.main(["01", "--only", "as it is", "seeds 1"], book.root) == 0
    assert "Runs: 0 of 1 chapters" in capsys.readouterr().out  # what was interrupted goes on


@pytest.mark.parametrize("setting, told", [("four times the steps", "with longer training"), ("at 1 mm", "at 1 mm")])
def test_other_budgets_and_voxels_stand_apart(book, chapter, capsys, setting, told):
    assert trials.main(["--only", "as it is", setting], book.root) == 0
    study = read_study(chapter, book.root)
    assert study.usual.trials()[MEASURED].runs == study.among(ASIDE[told]).trials()[MEASURED].runs == 1
    assert len(study.usual.quantities()[f"{MEASURED.split('.')[0]}.x"].values) == 1
    assert f"\n{told.capitalize()}:\n" in capsys.readouterr().out
    assert (f"{MEASURED.split('.')[0]}.x at 1 mm" in all_quantities(book.root)) == (told == "at 1 mm")


def test_other_budgets_and_voxels_are_only_told_of_what_they_change():
    def run(setting, effect):
        return {"setting": setting, "claims": {MEASURED: {"holds": True, "passes": [], "effect": {"": effect},
                                                          "control": {"its mirror": {"": -effect}}}}}
    usual = [run("as it is", 0.5), run("seeds 1", 0.7)]
    for effect, told in ((0.5, False), (0.5 + 1e-9, False), (0.6, True)):
        for setting, words in (("four times the steps", "with longer training"), ("at 1 mm, other seeds", "at 1 mm")):
            found = Study("", [*usual, run(setting, effect)]).elsewhere(MEASURED)
            assert list(found) == [words] * told
    assert Study("", usual).elsewhere(MEASURED) == {}


def test_a_claim_that_fails_in_one_setting_fails_the_study(book, capsys):
    book.chapter("01_one", "# One\n", cell(EXPERIMENT.replace("x = 1", "x = -1")))
    assert trials.main(["--only", "as it is"], book.root) == 1
    assert "held 0 of 1" in capsys.readouterr().out


def test_a_chapter_that_breaks_is_named_and_not_recorded(book, capsys):
    chapter = book.chapter("01_one", "# One\n", cell("1 / 0"))
    assert trials.main(["--only", "as it is"], book.root) == 1
    said = capsys.readouterr()
    assert "as it is: book/principles/01_one.md:15: code cell 1 failed" in said.err and "ZeroDivisionError" in said.err
    assert read_study(chapter, book.root) is None


def test_what_only_shows_is_no_part_of_the_experiment_wherever_it_stands():
    bare = "for i in x:\n    y = i\nz = y"
    assert experiment("for i in x:\n    y = i\n    print(\n        y)\nviz.table([y])\nz = y") == bare
    assert experiment("for i in x:\n    y = i\n    if y:\n        z = print(y)\nz = y") != bare


def test_a_record_goes_stale_with_the_code_and_not_with_the_prose(book, chapter):
    assert stale(book.root) == ["book/principles/01_one.md: has no study; say `make study ONLY=01`"]
    assert trials.main(["--only", "as it is"], book.root) == 0 and stale(book.root) == []
    reworded = chapter.read_text().replace("# One", "# One, in other words")
    chapter.write_text(reworded.replace("\n\nx = 1", "\n\n# a comment\nx = 1"))
    assert stale(book.root) == []
    chapter.write_text(chapter.read_text().replace("x = 1 +",
                                                   'print("x")\nfor i in range(2):\n    viz.table([[i, 1]],\n'
                                                              '              columns=["i", "one"])\nx = 1 +'))
    assert stale(book.root) == []  # what only shows a number does not change it
    figure = cell("fig, ax = plt.subplots()\nax.plot([x])", "plot")
    chapter.write_text(chapter.read_text() + "\n" + figure)
    assert stale(book.root) == []  # nor does a figure
    for more in ("kept = 1", "ax.plot(torch.rand(3))"):  # unless it has a part in what is found
        chapter.write_text(chapter.read_text().replace("ax.plot([x])", f"ax.plot([x])\n{more}") + "\n" + cell("kept"))
        assert stale(book.root) != []
        chapter.write_text(chapter.read_text().replace(f"\n{more}", ""))
    chapter.write_text(chapter.read_text().replace("x = 1 +", "x = 2 +"))
    assert stale(book.root) == ["book/recorded/studies/01_one.json: is older than its chapter's code; "
                                "say `make study ONLY=01`"]


def test_a_record_of_old_code_is_begun_anew(book, chapter):
    assert trials.main(["--only", "as it is", "float32"], book.root) == 0
    chapter.write_text(chapter.read_text().replace("x = 1 +", "x = 2 +"))
    assert trials.main(["--only", "as it is"], book.root) == 0
    assert read_study(chapter, book.root).settings == ["as it is"]


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20))
def test_clear_is_three_standard_deviations_above_the_bar(values):
    spread = Spread(tuple(values))
    mean = sum(values) / len(values)
    sd = math.sqrt(sum((x - mean) ** 2 for x in values) / (len(values) - 1))
    if abs(mean - 3 * sd) > 1e-6:
        assert spread.clear == (mean > 0 and mean > 3 * sd)


def test_a_page_quotes_mean_and_range():
    known = {"a.b": Spread((0.5, 0.625)), "a.c|null:part": Spread((0.123,)), "a.d": Spread((-0.004, 0.02))}
    assert quoted("a.b .2f", known) == "0.56 (0.50 to 0.62)"
    assert quoted("a.b .0%", known) == "56% (50% to 62%)"
    assert quoted("a.c|null:part", known) == "0.12"
    assert quoted("a.d +.2f", known) == "+0.01 (+0.00 to +0.02)"        # never -0.00
    with pytest.raises(LookupError, match="no study has the number 'a.x'"):
        quoted("a.x .2f", known)


# The book's own records ----------------------------------------------------------------------------------------------

def test_every_chapter_has_a_study_of_its_code_as_it_is():
    assert stale(ROOT) == []


def test_no_record_is_of_a_chapter_that_is_gone():
    assert orphans(ROOT) == []


def test_every_claim_stood_in_every_run_of_its_study():
    fell = [id for study in studies(ROOT).values() for part in (study.usual, *map(study.among, ASIDE.values()))
            for id, trial in part.trials().items() if not trial.stands]
    assert fell == []


def test_what_a_page_shows_holds_by_three_standard_deviations():
    short = [f"{id}: {part} {spread.text()}" for study in studies(ROOT).values()
             for id, trial in study.usual.trials().items() for part, spread in trial.effect.items() if not spread.clear]
    assert short == []


def test_records_hold_no_path_and_can_be_read_by_anyone():
    for path in ROOT.glob("book/recorded/studies/*.json"):
        for run in json.loads(path.read_text())["runs"]:
            assert set(run) == {"setting", "machine", "commit", "date", "seconds", "failure", "claims", "values"}
            assert run["failure"] == "" and str(ROOT) not in json.dumps(run)
