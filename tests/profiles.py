"""The two profiles of tests: what each run tries, and what `-m long` tries besides."""

from collections.abc import Iterable
from typing import Any

import pytest


def some_of(cases: Iterable[Any], count: int = 1) -> list[Any]:
    """Return the cases of a test; each run tries the first ones, and `-m long` the others.

    A tuple has the values of several arguments.
    """
    every = list(cases)
    others = (one if type(one) is tuple else (one,) for one in every[count:])
    return [*every[:count], *(pytest.param(*one, marks=pytest.mark.long) for one in others)]
