"""Numbers of numpy, past the tests' own type checks, which know Python's alone."""
import jaxtyping
import pytest


@pytest.fixture
def unchecked():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
