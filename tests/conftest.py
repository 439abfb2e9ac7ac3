"""Shape checks on every public function, on in the tests only; the GPU, for the tests that ask for it; refusals."""
import os
import signal
from contextlib import contextmanager

import jaxtyping
import pytest
from hypothesis import settings

# the same examples on every machine; `HYPOTHESIS_PROFILE=fresh` looks for new ones: what it finds becomes an @example
settings.register_profile("stable", derandomize=True, deadline=None)  # a slow machine is no fault
settings.register_profile("fresh", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stable"))

# an int is welcome where a float is expected, as in Python itself
jaxtyping.install_import_hook("medlearn", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")


def pytest_configure(config):
    """All tests say the same on every machine: only `pytest -m gpu` sees the GPU, and a run in the background of a
    shell, which is told to ignore Ctrl-C, hears it where a test presses it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if not config.option.markexpr.startswith("gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a GPU: `pytest -m gpu` where there is one, `python tools/rehearse.py` where not")


@contextmanager
def shape_checks_off():
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def unchecked():
    """For what the tests' shape checks do not know: numbers of NumPy, and sizes that are symbols in an export."""
    with shape_checks_off():
        yield


@pytest.fixture
def refused():
    """`with refused("expected .* got"): f(bad)`: the function itself must refuse, without the tests' shape checks."""
    @contextmanager
    def expect(match: str):
        with shape_checks_off(), pytest.raises((ValueError, TypeError), match=match):
            yield
    return expect
