r"""Checks of a student's answers: `check(id, answer)` says what passed, what did not, and why.

A chapter's checks are in the module of its name, `checks/tasks.py` for `tasks.volume`, loaded when first asked for.
"""
from medlearn.checks.engine import Case, Check, Failure, Report, check, examine, not_attempted, registered

__all__ = ["Case", "Check", "Failure", "Report", "check", "examine", "not_attempted", "registered"]
