"""The units of measured values on the wire, and their scales to SI."""

from collections.abc import Mapping
from typing import Final

# Dividing by a power of ten keeps the last digit right where multiplying by its inverse does not.
_PREFIXES = {
    "f": (1.0, 1e15),
    "p": (1.0, 1e12),
    "n": (1.0, 1e9),
    "u": (1.0, 1e6),
    "\N{MICRO SIGN}": (1.0, 1e6),
    "\N{GREEK SMALL LETTER MU}": (1.0, 1e6),
    "m": (1.0, 1e3),
    "": (1.0, 1.0),
    "k": (1e3, 1.0),
    "M": (1e6, 1.0),
    "G": (1e9, 1.0),
    "T": (1e12, 1.0),
}
UNITS: Final[Mapping[str, tuple[float, float, str]]] = {
    f"{prefix}{base}": (*scale, base) for prefix, scale in _PREFIXES.items() for base in ("s", "Hz")
} | {"": (1.0, 1.0, "")}
"""By unit: what a value is multiplied with and divided by to be in SI, and the SI unit."""
