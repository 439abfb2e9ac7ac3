"""What is wrong with a chapter before it runs: named by file, line and cell.

    python tools/lint.py [FILE ...]     these pages of the book, or all; exit status 1 where something is wrong
"""
from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from bindings import Place
from chapters import ROOT, Cell, cells, chapters, name_of, repository
from claim_calls import behind, claims_in, vacuous
from exercises import SOLUTION, check_ids, checks, hintless, leaning
from markup import Translator
from meanings import rebound
from medlearn.claims import claims
from myst import MarkupError
from prose_numbers import measured
from references import References

UNCHECKED = "nbval-ignore-output"  # the tag of a cell whose outputs differ from run to run
COLUMNS = 88  # of code that a page shows without scrolling sideways


def problems(chapter: Path, book: References) -> list[str]:
    """All that is wrong with one chapter, one line of text each; empty when sound."""
    where, found = chapter.resolve().relative_to(book.root.resolve()).as_posix(), []
    every, translator, number, sound = cells(chapter), Translator(name_of(chapter, book.root), book), 0, True
    before, readable = Place(), True
    for cell in every:
        if cell.kind != "code":
            unreadable = [f"{where}:{line}: {text}" for line, text in _untranslatable(cell, translator)]
            found += unreadable
            if unreadable:
                readable = False
                continue
            found += [f"{where}:{line}: {number} in prose: quote it from the study, {{study}}`name`, "
                      f"or mark it {{exact}}`{number}` where no run can change it"
                      for line, number in measured(cell.source, cell.line)]
            continue
        number += 1
        if error := _no_python(cell):
            sound = False
            found.append(f"{where}:{cell.line + error[0] - 1}: code cell {number}: not plain Python ({error[1]})")
            continue
        found += [f"{where}:{cell.line + line - 1}: code cell {number}: {text}" for line, text in _code(cell, before)]
        before = behind(cell.source, before)
    if readable:
        found += [f"{where}:{line}: exercise {label}: no hint that folds stands behind it"
                  for line, label in hintless(every)]
    if sound:
        code = [cell for cell in every if cell.kind == "code"]
        found += [f"{where}:{code[user - 1].line}: code cell {user}: "
                  f"takes {name} from the solution in code cell {solution} (line {code[solution - 1].line}), "
                  "which a student may not have solved"
                  for user, solution, name in leaning(every)]
        found += [f"{where}:{code[second - 1].line}: code cell {second}: "
                  f"binds {name} anew, which another cell takes from code cell {first} (line {code[first - 1].line}) "
                  "or from here: two meanings, two names" for second, first, name in rebound(every)]
    return found


def claim_problems(root: Path = ROOT) -> list[str]:
    """Claims that the chapters do not show exactly once."""
    shown: dict[str, list[str]] = {id: [] for id in claims()}
    for chapter in chapters(root):
        for cell in cells(chapter):
            for id, line in claims_in(cell.source) if cell.kind == "code" and not _no_python(cell) else ():
                shown.setdefault(id, []).append(f"{chapter.relative_to(root).as_posix()}:{cell.line + line - 1}")
    never, often = "no chapter shows it", "shown {} times, at {}"
    return [f"claim {id}: " + (often.format(len(places), " and ".join(places)) if places else never)
            for id, places in shown.items() if len(places) != 1]


def _no_python(cell: Cell) -> tuple[int, str] | None:
    """Line and message where a cell does not parse: a magic, which Python's own tools could not read either."""
    try:
        ast.parse(cell.source)
    except SyntaxError as error:
        return error.lineno or 1, error.msg
    return None


def _untranslatable(cell: Cell, translator: Translator) -> Iterator[tuple[int, str]]:
    try:
        translator.translate(cell.source, cell.line)
    except MarkupError as error:
        yield error.line, str(error)


def _code(cell: Cell, before: Place) -> Iterator[tuple[int, str]]:
    """(line within the cell, what is wrong)."""
    for complaint in vacuous(cell.source, before=before):
        line, _, text = complaint.removeprefix("line ").partition(": ")
        yield int(line), text
    for number, line in enumerate(cell.source.splitlines(), 1):
        if len(line) > COLUMNS:
            yield number, f"{len(line)} columns of code, expected at most {COLUMNS}: a page would cut it off"
    if cell.source.rstrip().endswith(";") and UNCHECKED not in cell.tags:  # nbval's runs leave IPython no last input
        yield cell.source.rstrip().count("\n") + 1, ("ends with a semicolon, which hides nothing "
                                                     "when the notebook is tested: write `_ = ...`")
    if SOLUTION not in cell.tags:
        return
    if not checks(cell.source):
        yield 1, "a solution without check(...): nobody would know whether it is right"
    if len(check_ids(cell.source)) < len(checks(cell.source)):
        yield checks(cell.source)[0].lineno, "a check whose id is not a literal string"
    for id, line in claims_in(cell.source):
        yield line, f"claim {id} stands in a solution, which the student's notebook leaves out"


def main(arguments: list[str], root: Path = ROOT) -> int:
    book, asked = References(root, repository(root)), {Path(name).resolve() for name in arguments}
    chosen = [chapter for chapter in chapters(root) if not asked or chapter.resolve() in asked]
    found = [text for chapter in chosen for text in problems(chapter, book)] + claim_problems(root)
    print("\n".join([*found, f"Chapters: {len(chosen)}, {len(found)} complaints"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
