r"""Settings from TOML and `key=value` as frozen dataclasses: an unknown name or another kind of value is refused."""
from __future__ import annotations

import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

Kind = TypeVar("Kind")


def read_strict(kind: type[Kind], words: Sequence[str]) -> Kind:
    r"""A dataclass from the words of a command line: a file `*.toml` or none, then `key=value`, which stand above it.

    A key of a nested dataclass has a dot, as in `recipe.steps=100`; a value is written as in TOML, and a text needs no
    quotes. `kind` is the dataclass, whose own defaults hold for all that is not said; `words` may be empty.
    Errors: ValueError, beginning with the key, for one that does not exist, with the nearest that does, and for a value
    of another kind; the dataclass' own errors; FileNotFoundError.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     steps: int = 10
    ...     widths: tuple[int, ...] = (8, 16)
    >>> read_strict(Settings, ["widths=[4, 8]"])
    Settings(steps=10, widths=(4, 8))
    >>> try: read_strict(Settings, ["stps=3"])
    ... except ValueError as error: print(error)
    stps: expected one of steps, widths; did you mean steps?
    """
    tree: dict[str, Any] = {}
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ValueError(f"expected one file of settings, and key=value, got {', '.join(files)}")
    for name in files:
        try:
            tree = tomllib.loads(Path(name).read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}: expected TOML: {error}") from error
    for word in words:
        if "=" in word:
            _put(tree, word)
    return _build(kind, tree, "", MISSING)


def as_toml(settings: Any) -> str:
    r"""The `settings`, a dataclass, as a TOML file that `read_strict` reads back; None is "none".

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Settings:
    ...     steps: int = 10
    ...     name: str | None = None
    >>> print(as_toml(Settings()), end="")
    steps = 10
    name = "none"
    """
    return "\n".join(_lines(settings, "")).lstrip("\n") + "\n"


def _lines(settings: Any, section: str) -> Iterator[str]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    for name, value in values.items():
        if not is_dataclass(value):
            value = "none" if value is None else str(value) if isinstance(value, Path) else value
            yield f"{name} = {json.dumps(value, ensure_ascii=False)}"
    for name, value in values.items():                      # tables stand after all plain keys
        if is_dataclass(value):
            yield from ("", f"[{section}{name}]", *_lines(value, f"{section}{name}."))


def _put(tree: dict[str, Any], word: str) -> None:
    key, _, text = word.partition("=")
    *path, last = key.split(".")
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise ValueError(f"{key}: expected a setting, got a part of {part}, which has none")
    try:
        tree[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        tree[last] = text


def _build(kind: type[Kind], given: Mapping[str, Any], where: str, default: Any) -> Kind:
    """A dataclass; what is not given is as in the `default`, a whole one, or else its own."""
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}   # type: ignore[arg-type]  # a dataclass, as its caller saw
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {where}{near[0]}?" if near else ""
            raise ValueError(f"{where}{name}: expected one of {', '.join(known)}{hint}")
    before = {name: _default(field) if default is MISSING else getattr(default, name) for name, field in known.items()}
    values = {name: _value(hints[name], value, f"{where}{name}", before[name]) for name, value in given.items()}
    for name in known:
        if name in given:
            continue
        if before[name] is MISSING and not is_dataclass(hints[name]):
            raise ValueError(f"{where}{name}: expected to be given, got nothing")
        values[name] = _value(hints[name], {}, f"{where}{name}") if before[name] is MISSING else before[name]
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}{error}") from error


def _default(field: Field) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _value(kind: Any, value: Any, where: str, default: Any = MISSING) -> Any:
    """The value as the annotation `kind` wants it; a whole number is welcome where a float is."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value == "none" and type(None) in arguments:
            return None
        return _first_fitting([one for one in arguments if one is not type(None)], value, where)
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a table of settings, got {value!r}")
        return _build(typing.cast(type, kind), value, f"{where}.", default)
    if origin is Literal:
        if value not in arguments:
            raise ValueError(f"{where}: expected one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple:
        return _tuple(arguments, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
        raise ValueError(f"{where}: expected {_said(kind)}, got {value!r}")
    return value


def _first_fitting(kinds: Sequence[Any], value: Any, where: str) -> Any:
    *others, last = kinds
    for kind in others:
        try:
            return _value(kind, value, where)
        except ValueError:
            continue
    return _value(last, value, where)


def _tuple(kinds: Sequence[Any], value: Any, where: str) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}: expected numbers in a row, as [1, 2], got {value!r}")
    each = [kinds[0]] * len(value) if kinds[-1] is Ellipsis else kinds
    if len(each) != len(value):
        raise ValueError(f"{where}: expected {len(each)} values, got {len(value)}")
    return tuple(_value(kind, one, f"{where}[{i}]") for i, (kind, one) in enumerate(zip(each, value)))


def _said(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text",
            Path: "a path"}.get(kind, kind.__name__)
