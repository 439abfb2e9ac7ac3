"""The demo page of the live instruments, and what goes in and out of it."""
from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import numpy as np
import torch

LIVE = Path(__file__).resolve().parents[2] / "book/_static/live"
DATA = ("slices", "network", "volume")                  # what is shown; all other scripts compute
CODE = [path for path in sorted(LIVE.glob("*.js")) if not path.name.startswith(DATA)]
EVERY = "Array.from(document.querySelectorAll('.ml-live'))"


def opened(chromium, **options):
    """The page with all its instruments; `page.complaints` and `page.asked` hold what it said and what it loaded."""
    page = chromium.new_context(viewport={"width": 1000, "height": 900}, **options).new_page()
    page.complaints, page.asked = [], []
    page.on("console", lambda said: said.type in ("error", "warning") and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto((LIVE / "demo.html").as_uri())
    page.evaluate(f"Promise.all({EVERY}.map(Live.mount))")
    page.wait_for_function(f"{EVERY}.every((e) => ['ready', 'failed'].includes(e.dataset.state))")
    page.hover("[data-instrument=paint]")               # its network comes when somebody is about to paint
    page.wait_for_selector("[data-instrument=paint][data-answered]")
    return page


def array(page, script: str, *given) -> np.ndarray:
    """The numbers of a script `(a, b) => ...`; arrays and tensors go in as flat rows of numbers."""
    packed = [np.asarray(part, dtype=np.float64).ravel().tolist() if hasattr(part, "shape") else part for part in given]
    return np.array(page.evaluate(f"(given) => Array.from(({script})(...given))", packed), dtype=np.float64)


def float32(image: torch.Tensor) -> str:
    """The bytes of an image, for `new Float32Array(Live.bytes(text).buffer)`."""
    return b64encode(image.numpy().astype("<f4").tobytes()).decode()


def content(name: str) -> dict:
    """What a file of data holds."""
    text = (LIVE / f"{name}.js").read_text(encoding="utf-8")
    if not text.startswith(f'Live.file("{name}", '):
        raise ValueError(f"{name}.js does not begin as a file of data")
    return json.loads(text[text.index("{"):text.rindex(")")])
