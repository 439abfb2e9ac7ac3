"""A real browser for the tests, driven over its own debugging pipe: nothing to install beside it.

    with Page(width=390) as page:
        page.open(path)
        page.run("document.title")
"""
from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-sync", "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe")
KEYS = {"ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40, "Home": 36, "End": 35, "Tab": 9}
PATIENCE_S = 60


def executable() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


needs_browser = pytest.mark.skipif(executable() is None, reason="no Chromium here")


class Page:
    """One tab. `requests` holds every address that the open page asked for, `complaints` what its console said."""

    def __init__(self, width: int = 1000, height: int = 900, **view: bool | float):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self.to = os.pipe()
        self.back, to_write = os.pipe()

        # The browser reads commands on descriptor 3 and answers on 4.
        wire = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self.process = subprocess.Popen(
            ["bash", "-c", wire, executable(), *FLAGS, f"--user-data-dir={self.profile.name}", "about:blank"],
            pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.close(to_read), os.close(to_write)
        self.numbers, self.rest, self.session = itertools.count(1), b"", None
        self.events: list[dict] = []

        target = next(t for t in self.send("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.setLifecycleEventsEnabled", enabled=True)
        self.view(width, height, **view)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.session = None
            self.send("Browser.close")
            self.process.wait(10)
        except (OSError, RuntimeError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()
        finally:
            os.close(self.to), os.close(self.back)
            self.profile.cleanup()

    def view(self, width: int = 1000, height: int = 900, *, touch: bool = False, dark: bool = False, scale: float = 1,
             script: bool = True) -> None:
        """The device that the page is seen on. `script=False` is a browser with JavaScript off, from the next `open`."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=touch)
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)
        self.send("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.send("Emulation.setScriptExecutionDisabled", value=not script)

    def open(self, page: Path | str) -> None:
        """Loads a file or an address, with all that it asks for."""
        self.events.clear()
        answer = self.send("Page.navigate", url=page.resolve().as_uri() if isinstance(page, Path) else page)
        if "errorText" in answer:
            raise RuntimeError(f"{page}: {answer['errorText']}")
        deadline = time.monotonic() + PATIENCE_S
        while not any(event["method"] == "Page.lifecycleEvent" and event["params"]["name"] == "load"
                      and event["params"]["loaderId"] == answer["loaderId"] for event in self.events):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{page} does not load")
            self.events.append(self._receive())

    def run(self, script: str) -> object:
        """The value of an expression; a promise is waited for."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Until the expression is true."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.run(script):
            if time.monotonic() > deadline:
                raise RuntimeError(f"never true: {script}")
            time.sleep(0.02)

    def press(self, *keys: str) -> None:
        for key in keys:
            for kind in ("rawKeyDown", "keyUp"):
                self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key])

    def drag(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """With the mouse, its left button held."""
        self._mouse("mouseMoved", start, 0)
        self._mouse("mousePressed", start, 1)
        for point in _between(start, end, steps):
            self._mouse("mouseMoved", point, 1)
        self._mouse("mouseReleased", end, 0)

    def swipe(self, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
        """With one finger."""
        self.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[dict(x=start[0], y=start[1])])
        for x, y in _between(start, end, steps):
            self.send("Input.dispatchTouchEvent", type="touchMove", touchPoints=[dict(x=x, y=y)])
        self.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def screenshot(self, path: Path, clip: tuple[float, float, float, float] | None = None) -> None:
        """A PNG of the whole page, or of (left, top, width, height) of it."""
        part = {} if clip is None else {"clip": dict(zip(("x", "y", "width", "height", "scale"), (*clip, 1)))}
        data = self.send("Page.captureScreenshot", captureBeyondViewport=True, **part)["data"]
        path.write_bytes(base64.b64decode(data))

    @property
    def requests(self) -> list[str]:
        return [event["params"]["request"]["url"] for event in self._said("Network.requestWillBeSent")]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings: exceptions that nobody caught, what failed to load, console.error and console.warn."""
        thrown = [event["params"]["exceptionDetails"] for event in self._said("Runtime.exceptionThrown")]
        logged = [event["params"]["entry"] for event in self._said("Log.entryAdded")]
        called = [event["params"] for event in self._said("Runtime.consoleAPICalled")]
        return [*(e.get("exception", {}).get("description", e["text"]) for e in thrown),
                *(f"{e['text']} {e.get('url', '')}".strip() for e in logged if e["level"] in ("error", "warning")),
                *(" ".join(str(a.get("value", a.get("description"))) for a in e["args"]) for e in called
                  if e["type"] in ("error", "warning", "assert"))]

    def send(self, method: str, **params: object) -> dict:
        """One command of the browser's protocol, and its answer."""
        message = {"id": next(self.numbers), "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == message["id"]:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict:
        while b"\0" not in self.rest:
            if not select.select([self.back], [], [], PATIENCE_S)[0]:
                raise RuntimeError("the browser does not answer")
            read = os.read(self.back, 1 << 20)
            if not read:
                raise RuntimeError("the browser has gone")
            self.rest += read
        first, self.rest = self.rest.split(b"\0", 1)
        return json.loads(first)

    def _said(self, method: str) -> list[dict]:
        self.run("0")                                   # whatever is under way is read first
        return [event for event in self.events if event.get("method") == method]

    def _mouse(self, kind: str, point: tuple[float, float], buttons: int) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], buttons=buttons, clickCount=1,
                  button="none" if kind == "mouseMoved" and not buttons else "left")


def _between(start: tuple[float, float], end: tuple[float, float], steps: int) -> list[tuple[float, float]]:
    return [tuple(a + (b - a) * k / steps for a, b in zip(start, end)) for k in range(1, steps + 1)]
