"""medlearn: deep learning for medical images, the package behind the book.

Importing it is light. A room (`medlearn.tasks`, `medlearn.data`, `medlearn.nets` ...) is loaded when it is first used.
"""
from importlib import import_module as _import_module

__version__ = "0.1.0"

_ROOMS = ("checks", "data", "losses", "metrics", "nets", "physics", "tasks", "train", "uncertainty", "viz")
_NAMES = {
    "scale": "runtime", "set_scale": "runtime", "device": "runtime", "autocast": "runtime", "steps": "runtime",
    "claim": "claims", "record": "claims", "check": "checks",
}
__all__ = [*_ROOMS, *_NAMES]


def __getattr__(name: str):
    if name in _ROOMS:
        return _import_module(f"{__name__}.{name}")
    if name in _NAMES:
        return getattr(_import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
