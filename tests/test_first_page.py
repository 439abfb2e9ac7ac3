"""The first page of the reference: what it shows runs."""
import re
from pathlib import Path

import pytest
import torch

from medlearn.nets import TransUNet

PAGE = Path(__file__).parents[1] / "book/reference/api.md"
SNIPPETS = re.findall(r"\*\*(.+?)\*\*.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("code", [code for _, code in SNIPPETS], ids=[what[:30] for what, _ in SNIPPETS])
def test_what_the_page_shows_runs(code, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    opened = []
    monkeypatch.setattr(TransUNet, "from_npz", lambda path, **how: opened.append(path) or how)   # 400 MB; tested there
    shown = {}
    exec(compile(code.replace("steps=500", "steps=1"), PAGE, "exec"), shown)
    if "noisy" in shown:
        assert shown["noisy"].shape == (1, 1, 128, 128) and shown["noisy"][..., 50:80, 50:80].std() > 1
    if "epistemic" in shown:
        torch.testing.assert_close(shown["total"], shown["aleatoric"] + shown["epistemic"])
    assert len(opened) == code.count("from_npz")


def test_there_are_six():
    assert len(SNIPPETS) == 6
