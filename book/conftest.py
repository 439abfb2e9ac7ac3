"""`pytest book --nbval` runs a notebook once for two: nbval compares what it gives, and its chapter's page shows it."""
from keep_outputs import (  # noqa: F401
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)
