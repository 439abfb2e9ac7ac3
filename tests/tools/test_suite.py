"""`make test` takes every step, whatever fails, and fails if one did."""
import re

import suite
from chapters import ROOT


def test_every_step_is_taken_and_one_failure_fails_all(monkeypatch, capfd):
    steps = {"the first": ["-c", "print('one')"], "the second": ["-c", "import sys; sys.exit(3)"],
             "the third": ["-c", "print('three')"]}
    monkeypatch.setattr(suite, "STEPS", steps)
    assert suite.main() == 1
    said = capfd.readouterr().out
    assert re.findall(r"(ok|FAILED) +[\d.]+ s  (.+)", said) == [("ok", "the first"), ("FAILED", "the second"),
                                                                ("ok", "the third")]
    monkeypatch.setattr(suite, "STEPS", {"the first": steps["the first"]})
    assert suite.main() == 0


def test_the_last_line_says_what_was_skipped_and_why(monkeypatch, capfd, tmp_path):
    tests = tmp_path / "test_some.py"
    tests.write_text("import pytest\n\ndef test_a(): pass\n\n"
                     "@pytest.mark.skip(reason='no moon')\ndef test_b(): pass\n\n"
                     "@pytest.mark.xfail\ndef test_c(): assert False\n")
    monkeypatch.setattr(suite, "STEPS", {"some": ["-m", "pytest", str(tests), "-q", "-p", "no:cacheprovider"]})
    assert suite.main() == 0
    assert capfd.readouterr().out.splitlines()[-1] == "  skipped: 1 (no moon)"
    monkeypatch.setattr(suite, "STEPS", {"none": ["-c", "pass"]})
    suite.main()
    assert capfd.readouterr().out.splitlines()[-1] == "  skipped: nothing"


def test_the_steps_run_chapters_pages_notebooks_and_tests():
    commands = [" ".join(command) for command in suite.STEPS.values()]
    assert commands[0].startswith("-m ruff check medlearn")
    assert commands[1] == "-m mypy"
    assert commands[3:6] == ["tools/execute.py", "tools/build.py", "tools/notebooks.py --check"]
    assert any("pytest tests" in command for command in commands)
    assert any("pytest medlearn --doctest-modules" in command for command in commands)
    assert "pytest book" in commands[2] and "--nbval" in commands[2].split()  # not --nbval-lax
    assert "tools/suite.py" in (ROOT / "Makefile").read_text()
