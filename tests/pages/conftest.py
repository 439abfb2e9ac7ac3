"""The system's Chromium, driven by Playwright, and the page with every live instrument."""
import os

import pytest
from browser import MISSING, executable
from helpers.chromium import the_browser
from helpers.live_page import opened


@pytest.fixture(scope="module")
def chromium():
    if executable() is None and not os.environ.get("CI"):
        pytest.skip(MISSING)
    return the_browser()


@pytest.fixture(scope="module")
def page(chromium):
    page = opened(chromium)
    yield page
    page.context.close()
