"""The axes of an explorer: names, units, values and how they are written."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

UNITS = {
    "mm": "mm", "cm": "cm", "ml": "ml", "s": "s", "ms": "ms", "deg": "°", "percent": "%", "hu": "HU", "db": "dB",
    "counts": "counts", "voxels": "voxels", "px": "px", "kev": "keV", "mhz": "MHz", "tesla": "T", "minutes": "min",
}
OF_ONE = {"counts": "count", "voxels": "voxel"}


@dataclass(frozen=True)
class Axis:
    """One slider: `name` is draw's argument, `label` what is read, `texts` the values as they are written."""
    name: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, name: str, given: Any) -> Axis:
        """`dose_percent=[5, 10]` reads "dose: 5 %"; a dict's keys are read as they are."""
        words, _, suffix = name.rpartition("_")
        unit = UNITS.get(suffix) if words else None
        label = (words if unit else name).replace("_", " ")
        if isinstance(given, Mapping):
            values, texts = tuple(given.values()), tuple(map(str, given))
        else:
            values = _sequence(name, given)
            texts = tuple(_written(value, unit) for value in values)
        if not values:
            raise ValueError(f"{name}: expected at least one value, got none")
        return cls(name, label, values, texts)


def _sequence(name: str, given: Any) -> tuple[Any, ...]:
    listed = given.tolist() if hasattr(given, "tolist") else given      # numpy arrays and tensors
    if isinstance(listed, str | bytes) or not isinstance(listed, Sequence):
        raise TypeError(f"{name}: expected a list of values, or a dict of label to value, got {given!r}")
    return tuple(listed)


def _written(value: Any, unit: str | None) -> str:
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    number = str(value) if isinstance(value, Integral) else f"{value:.4g}"
    number = number.replace("-", "\N{MINUS SIGN}")
    if unit is None:
        return number
    if abs(value) == 1:
        unit = OF_ONE.get(unit, unit)
    return f"{number}{'' if unit == '°' else ' '}{unit}"
