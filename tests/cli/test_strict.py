"""Settings are strict: what is not known, or of another kind, is refused by its name."""
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from medlearn.cli.strict import as_toml, read_strict


@dataclass(frozen=True)
class Inner:
    steps: int = 10
    rate: float = 0.1

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps: expected 1 or more, got {self.steps}")


@dataclass(frozen=True)
class Outer:
    folder: Path
    inner: Inner = Inner(steps=7)
    kind: Literal["unet", "unetpp"] = "unet"
    sizes: tuple[int, ...] | None = None
    window: tuple[float, float] | str | None = None
    pair: tuple[float, float] = (1.0, 2.0)
    quick: bool = False
    clip: float | None = 1.0


def read(*words):
    return read_strict(Outer, ["folder=a", *words])


def test_what_is_said_stands_above_the_file_and_the_rest_is_as_the_outer_dataclass_has_it(tmp_path):
    (tmp_path / "a.toml").write_text('folder = "b c"\nquick = true\n[inner]\nrate = 1\n')
    told = read_strict(Outer, [str(tmp_path / "a.toml"), "inner.rate=0.5", "kind=unetpp", "sizes=[1, 2, 3]"])
    assert told == Outer(Path("b c"), Inner(7, 0.5), "unetpp", (1, 2, 3), quick=True)


@pytest.mark.parametrize("word, expected", [
    ("window=lung", "lung"), ("window=[40, 80.5]", (40.0, 80.5)), ("window=none", None), ("window='a=b'", "a=b")])
def test_a_value_may_be_of_several_kinds(word, expected):
    assert read(word).window == expected


@pytest.mark.parametrize("word, message", [
    ("inner.stepps=3", r"^inner\.stepps: expected one of steps, rate; did you mean inner\.steps\?$"),
    ("zzz=3", r"^zzz: expected one of folder, inner, kind, .*clip$"),
    ("inner.steps=2.5", r"^inner\.steps: expected a whole number, got 2\.5"),
    ("inner.steps=true", r"^inner\.steps: expected a whole number, got True"),
    ("inner.steps=0", r"^inner\.steps: expected 1 or more, got 0"),
    ("quick=1", r"^quick: expected true or false, got 1"),
    ("kind=vnet", r"^kind: expected one of unet, unetpp, got 'vnet'"),
    ("pair=[1, 2, 3]", r"^pair: expected 2 values, got 3"),
    ("sizes=[1, 2.5]", r"^sizes\[1\]: expected a whole number, got 2\.5"),
    ("sizes=3", r"^sizes: expected numbers in a row, as \[1, 2\], got 3"),
    ("inner=3", r"^inner: expected a table of settings, got 3"),
    ("folder.a=3", r"^folder: expected|^folder\.a: expected"),
])
def test_it_refuses(word, message):
    with pytest.raises(ValueError, match=message):
        read(word)


def test_it_refuses_two_files_no_toml_and_what_has_to_be_said(tmp_path):
    with pytest.raises(ValueError, match="expected one file of settings, and key=value, got a.toml, b.toml"):
        read_strict(Outer, ["a.toml", "b.toml"])
    with pytest.raises(FileNotFoundError):
        read_strict(Outer, [str(tmp_path / "none.toml")])
    (tmp_path / "a.toml").write_text("folder = [")
    with pytest.raises(ValueError, match="a.toml: expected TOML"):
        read_strict(Outer, [str(tmp_path / "a.toml")])
    with pytest.raises(ValueError, match="^folder: expected to be given, got nothing"):
        read_strict(Outer, [])
    with pytest.raises(ValueError, match="did you mean folder"):                # the name first: it may be the one
        read_strict(Outer, ["foldr=a"])


def test_the_toml_it_writes_is_read_back(tmp_path):
    settings = Outer(Path('a "b" ü'), Inner(3, 1e-3), sizes=(4, 5), window="soft tissue", clip=None)
    (tmp_path / "a.toml").write_text(as_toml(settings), encoding="utf-8")
    assert read_strict(Outer, [str(tmp_path / "a.toml")]) == settings
