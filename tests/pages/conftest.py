"""The system's Chromium, driven by Playwright, and the page with every live instrument."""
import pytest
from helpers.chromium import executable
from helpers.live_page import opened


@pytest.fixture(scope="module")
def chromium():
    driver = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if executable() is None:
        pytest.skip("no Chromium here")
    with driver.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def page(chromium):
    page = opened(chromium)
    yield page
    page.context.close()
