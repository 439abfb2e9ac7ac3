"""The public door: the answer first, the truth second, and names from the third argument on."""
import importlib
import inspect
import pkgutil
from dataclasses import is_dataclass
from types import ModuleType

import pytest
from helpers.public_names import public

import medlearn

# densities take their parameters in the order of their formula, as everywhere
FORMULAS = ("rice_logpdf", "k_logpdf")
PAIRS = {"confusion_counts", "surface_distances", "surface_report", "panoptic_quality", "panoptic_quality_per_class",
         "detection_f1"}


def doors():
    """What a user can call, by name: functions, methods, and constructors that are more than a row of results."""
    for name, door in public():
        if name.split(".")[-1] in FORMULAS:
            continue
        if inspect.isfunction(door):
            yield name, door
        elif inspect.isclass(door):
            if not is_dataclass(door) and not issubclass(door, tuple):
                yield name, door.__init__
            yield from ((f"{name}.{key}", method) for key, method in vars(door).items()
                        if inspect.isfunction(method) and not key.startswith("_"))


@pytest.mark.parametrize("name, door", list(doors()), ids=lambda value: value if isinstance(value, str) else "")
def test_names_are_said_from_the_third_argument_on(name, door):
    plain = [p.name for p in inspect.signature(door).parameters.values()
             if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in ("self", "cls")]
    assert len(plain) <= 2, f"{name}({', '.join(plain)})"


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_the_answer_comes_first_and_the_truth_second(name):
    assert list(inspect.signature(getattr(medlearn.metrics, name)).parameters)[:2] == ["prediction", "target"]


def test_no_module_is_hidden_by_a_function_of_its_own_name():
    for room in pkgutil.iter_modules(medlearn.__path__, "medlearn."):
        if room.ispkg and room.name != "medlearn.cli":          # a command is a function, and nothing else
            house = importlib.import_module(room.name)
            for file in pkgutil.iter_modules(house.__path__):
                assert isinstance(getattr(house, file.name, house), ModuleType), f"{room.name}.{file.name}"
