"""An answer that asks the checks for theirs is found, whichever way it asks."""
import pytest

from medlearn import checks
from medlearn.checks import registered
from medlearn.checks.eye import eye
from medlearn.checks.own import check_own


def inside():
    from medlearn.checks.eye import eye as theirs
    return theirs()


def in_a_function_of_a_function():
    def deeper():
        return registered()
    return deeper()


class AMethod:
    def design(self):
        return checks.registered()


@pytest.mark.parametrize("answer", [eye, lambda: eye(), inside, in_a_function_of_a_function, AMethod])
def test_what_asks_the_checks_is_refused(answer, refused):
    with refused("answer: expected your own, got"):
        check_own(answer)


def test_what_stands_on_its_own_is_not():
    check_own(lambda: sorted([2, 1]))
    check_own(type("Mine", (), {"design": lambda self: len([])}))
