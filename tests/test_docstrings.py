"""The reference: every public name has an example that runs, and says every parameter."""
import inspect
import re
from dataclasses import is_dataclass

import pytest
from helpers.public_names import public


def methods(value):
    return [method for key, method in vars(value).items()
            if inspect.isfunction(inspect.unwrap(method)) and (not key.startswith("_") or key == "__init__")]


def said(value) -> str:
    return (inspect.getdoc(value) or "").split(">>> ")[0]


def with_twins(text: str) -> str:
    """The text, and that of the public names it points to by `as in `name``."""
    twins = dict((name.split(".")[-1], value) for name, value in public())
    return "\n".join([text, *(said(twins[name]) for name in re.findall(r"[Aa]s in `(\w+)`", text) if name in twins)])


@pytest.mark.parametrize("name, value", list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_has_an_example(name, value):
    assert ">>> " in (inspect.getdoc(value) or ""), f"{name} has no example"


@pytest.mark.parametrize("name, value", list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_says_every_parameter(name, value):
    if inspect.isclass(value):
        text = "\n".join([said(value), *(said(method) for method in methods(value))])
        doors = [value.__init__] if not is_dataclass(value) else [value]
        doors += [method for method in methods(value) if method.__name__ != "__init__"]
    else:
        text, doors = said(value), [value]
    names = {p for door in doors for p in inspect.signature(inspect.unwrap(door)).parameters}
    names -= {"self", "cls", "args", "kwargs"}
    missing = sorted(p for p in names if not re.search(rf"\b{p}\b", with_twins(text)))
    assert not missing, f"{name} never says `{'`, `'.join(missing)}`"
