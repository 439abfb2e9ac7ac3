"""What teachers are told of adding an exercise works: the code of the page, put together as the page says."""
import re
from collections import defaultdict
from pathlib import Path

import torch
from exercises import check_ids, checks, stub
from helpers.answers import faults

from medlearn.checks import Case, Check

PAGE = Path(__file__).resolve().parents[1] / "book/practice/teaching.md"
TEXT = PAGE.read_text(encoding="utf-8").partition("## How to add an exercise")[2]


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_page_leads_to_a_check_that_tells_right_from_wrong():
    right, wrong = defaultdict(dict), defaultdict(dict)
    told = {"torch": torch, "Case": Case, "Check": Check,
            "right": lambda id: lambda answer: right[id].setdefault(answer.__name__, answer),
            "wrong": lambda id, at: lambda answer: wrong[id].setdefault(answer.__name__, (answer, at))}
    made, line, answers = blocks("python")
    exec(made, told)
    check = eval(line, told)
    exec(answers, told)
    assert faults(check, right[check.id], wrong[check.id]) == []

    solution = re.search(r":tags: \[solution, hide-cell\]\n\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)[1]
    assert check_ids(solution) == [check.id] and len(checks(solution)) == 1
    names = {"torch": torch, "check": lambda id, answer: None}
    exec(solution, names)
    assert check.examine(names["dice"]).text == f"{check.id}: all 3 cases passed."
    assert "NotImplementedError" in stub(solution) and "size" not in stub(solution)


def test_the_files_and_commands_that_it_names_are_there():
    root = PAGE.parents[2]
    for path in re.findall(r"(?:book|medlearn|tests|tools)/[\w/]+\.(?:md|py)", TEXT):
        assert (root / path).exists(), path
    makefile = (root / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE):
        assert f"\n{target}:" in makefile, target
