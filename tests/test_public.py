"""The public door: the answer first, the truth second, and names from the third argument on."""
import inspect
from dataclasses import is_dataclass
from importlib import import_module
from pkgutil import iter_modules

import pytest

import medlearn
from medlearn import physics

ROOMS = ["tasks", "losses", "metrics", "nets", "train", "uncertainty", "data", "inference", "evaluate", "export", "cli",
         "viz", "claims",
         *(f"physics.{module.name}" for module in iter_modules(physics.__path__) if not module.name.startswith("_"))]
# densities take their parameters in the order of their formula, as everywhere
FORMULAS = ("rice_logpdf", "k_logpdf")
PAIRS = {"confusion_counts", "surface_distances", "surface_report", "panoptic_quality", "panoptic_quality_per_class",
         "detection_f1"}


def doors():
    """What a user can call, by name: functions, methods, and constructors that are more than a row of results."""
    for room in ROOMS:
        module = import_module(f"medlearn.{room}")
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            door = getattr(module, name)
            if not getattr(door, "__module__", "").startswith(f"medlearn.{room}") or name in FORMULAS:
                continue
            if inspect.isfunction(door):
                yield f"{room}.{name}", door
            elif inspect.isclass(door):
                if not is_dataclass(door) and not issubclass(door, tuple):
                    yield f"{room}.{name}", door.__init__
                yield from ((f"{room}.{name}.{key}", method) for key, method in vars(door).items()
                            if inspect.isfunction(method) and not key.startswith("_"))


@pytest.mark.parametrize("name, door", list(doors()), ids=lambda value: value if isinstance(value, str) else "")
def test_names_are_said_from_the_third_argument_on(name, door):
    plain = [p.name for p in inspect.signature(door).parameters.values()
             if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.name not in ("self", "cls")]
    assert len(plain) <= 2, f"{name}({', '.join(plain)})"


@pytest.mark.parametrize("name", sorted(PAIRS))
def test_the_answer_comes_first_and_the_truth_second(name):
    assert list(inspect.signature(getattr(medlearn.metrics, name)).parameters)[:2] == ["prediction", "target"]
