"""A page in the system's Chromium, for the tests; where there is none they are skipped, and on CI they fail.

    with Page(width=390, touch=True) as page:
        page.open(path)
        page.run("document.title")
"""
from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import MISSING, chromium, executable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Response

needs_browser = pytest.mark.skipif(executable() is None and not os.environ.get("CI"), reason=MISSING)


@cache
def the_browser() -> Browser:
    """One for all tests of a process: Playwright runs no second one beside it."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(chromium())


class Page:
    """One tab. `requests` holds every address that the open page asked for, `answers` what came, `complaints` what its
    console said.

    `offline=True` is a browser whose network is shut: only this machine answers. `script=False`: without JavaScript.
    """

    def __init__(self, width: int = 1000, height: int = 900, *, touch: bool = False, dark: bool = False,
                 scale: float = 1, script: bool = True, offline: bool = False):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.answers: list[Response] = []
        context = the_browser().new_context(viewport={"width": width, "height": height}, has_touch=touch,
                                            is_mobile=touch,
                                            color_scheme="dark" if dark else "light", device_scale_factor=scale,
                                            java_script_enabled=script)
        if offline:
            context.route(lambda address: not address.startswith(("http://127.0.0.1", "file:", "data:", "blob:")),
                          lambda route: route.abort("internetdisconnected"))
        self.tab = context.new_page()
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("response", lambda answer: self.answers.append(answer))
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("console", lambda said: said.type in ("error", "warning", "assert") and self.complaints.append(
            f"{said.text} {said.location.get('url', '')}".strip()))

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.tab.context.close()

    def view(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Another window, another theme of the reader's system."""
        self.tab.set_viewport_size({"width": width, "height": height})
        self.tab.emulate_media(color_scheme="dark" if dark else "light")

    def open(self, page: Path | str) -> None:
        """Loads a file or an address, with all that it asks for."""
        self.tab.goto("about:blank")
        self.requests.clear(), self.complaints.clear(), self.answers.clear()
        self.tab.goto(page.resolve().as_uri() if isinstance(page, Path) else page)

    def run(self, script: str) -> object:
        """The value of an expression; a promise is waited for."""
        return self.tab.evaluate(f"async () => ({script})")

    def wait_for(self, script: str) -> None:
        """Until the expression is true."""
        self.tab.wait_for_function(f"() => ({script})")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """With the mouse, its left button held."""
        mouse = self.tab.mouse
        mouse.move(*start), mouse.down(), mouse.move(*end, steps=steps), mouse.up()

    def swipe(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """With one finger."""
        finger = self.tab.context.new_cdp_session(self.tab)
        path = [tuple(a + (b - a) * k / steps for a, b in zip(start, end)) for k in range(steps + 1)]
        for kind, points in [("touchStart", path[:1]), *(("touchMove", [point]) for point in path[1:]),
                             ("touchEnd", [])]:
            finger.send("Input.dispatchTouchEvent",
                        {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]})

    def screenshot(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
        """A PNG of the whole page, or of (left, top, width, height) of it."""
        part = {} if clip is None else {"clip": dict(zip(("x", "y", "width", "height"), clip))}
        path.write_bytes(self.tab.screenshot(full_page=True, **part))
