"""What the package offers: every public function and class, by room and name."""
from importlib import import_module
from pkgutil import iter_modules

import medlearn
from medlearn import physics

INNER = ("base",)                                           # the ground that the rooms stand on, none of the user's
ROOMS = [*(module.name for module in iter_modules(medlearn.__path__) if module.name not in (*INNER, "physics")),
         *(f"physics.{module.name}" for module in iter_modules(physics.__path__) if not module.name.startswith("_"))]


def public():
    """Pairs of a name, as `losses.dice_loss`, and what it names."""
    for room in ROOMS:
        module = import_module(f"medlearn.{room}")
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            value = getattr(module, name)
            if getattr(value, "__module__", "").startswith(f"medlearn.{room}") and callable(value):
                yield f"{room}.{name}", value
