"""Integers as the service may send them, and numbers as callers may give them."""

from numbers import Real
from operator import index
from typing import Annotated, Any, TypeAlias

from msgspec import Meta

Integer: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of 64 bits; a larger one fits into no table, and not even into a float."""


def whole(value: Any) -> int | None:
    """Return a whole number of any library's, such as numpy's, as an `int`; None for anything else."""
    try:
        return None if isinstance(value, bool) else index(value)
    except TypeError:
        return None


def is_number(value: Any) -> bool:
    """Return whether something is a real number of any library's, and no bool."""
    return isinstance(value, Real) and not isinstance(value, bool)
