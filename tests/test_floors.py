"""The house has floors: nothing imports upward, and no room reaches into another's private names."""
import ast
import re
import tokenize
from io import StringIO
from pathlib import Path

import pytest

import medlearn

HOUSE = Path(medlearn.__file__).parent
# a room may use the rooms of the floors below
FLOORS = [["base"], ["claims", "runtime", "viz"], ["tasks"],
          ["physics", "losses", "metrics", "nets", "train", "uncertainty"], ["data"],
          ["inference", "evaluate", "export", "practice"], ["checks"], ["cli"]]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def files():
    return sorted(path for path in HOUSE.rglob("*.py") if path.parent != HOUSE or path.stem in FLOOR_OF)


def room_of(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return parts[0]


def imports(path):
    """(module, name) for every import of a file, wherever it stands in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_nothing_is_used_from_above_and_nothing_private_from_elsewhere(path):
    here = room_of(path)
    for module, name in imports(path):
        house, _, rest = module.partition(".")
        if house != "medlearn" or not (rest or name):
            continue
        parts = rest.split(".") if rest else [name]
        there = parts[0]
        if there == here or there not in FLOOR_OF:
            continue
        assert FLOOR_OF[there] < FLOOR_OF[here], f"{here} uses {module}.{name}, which stands on its own floor or above"
        private = [part for part in [*parts[1:], name] if part.startswith("_")]
        assert not private, f"{here} uses {module}.{name}, a private name of {there}"


# Where names that torch or Accelerate keep to themselves may stand, each with the versions they were tried with
PRIVATE = {"base/private.py", "train/accelerate_private.py"}
KEPT = re.compile(r"\btorch(\.\w+)*\._(?!_)\w+|torch\.utils\._\w+|\._(shared_state|reset_state)\b")


@pytest.mark.parametrize("path", [path for path in files() if path.relative_to(HOUSE).as_posix() not in PRIVATE],
                         ids=lambda path: path.relative_to(HOUSE).as_posix())
def test_private_names_of_others_stand_in_one_file_each(path):
    code = "".join(token.string if token.type != tokenize.STRING else "''"
                   for token in tokenize.generate_tokens(StringIO(path.read_text()).readline)
                   if token.type != tokenize.COMMENT)
    assert not (found := KEPT.search(code)), found[0]
