"""Measured values of qubits and gates, as the tables of what has changed show them."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click

from ..models.formatting import DASH, probability
from .choices import Choice
from .columns import micro

F = TypeVar("F", bound=Callable[..., Any])

QUANTITIES: Final = ("T1", "T2", "readout_error", "gate_error")
"""The names of the quantities on the wire."""

_TIMES: Final = ("T1", "T2")


def quantity_option(names: Sequence[str]) -> Callable[[F], F]:
    """Return a decorator that adds `--name`, which may be repeated."""
    return click.option(
        "--name",
        "names",
        multiple=True,
        type=Choice(names, case_sensitive=False),
        help="Only this quantity; repeatable.",
    )


def label(name: str, gate: str | None = None) -> str:
    """Return what a quantity is called on a screen, with its unit."""
    if gate is not None:
        return f"{gate} error"
    return f"{name} µs" if name in _TIMES else "readout error"


def shown(name: str, value: float) -> str:
    """Return the value of a quantity in the unit of its label."""
    return micro(value) if name in _TIMES else probability(value)


def percent(part: float | None) -> str:
    """Return a ratio in percent."""
    return DASH if part is None else f"{part:.1%}"


def change(part: float | None) -> str:
    """Return a relative change in percent, with its sign."""
    return DASH if part is None else f"{part:+.1%}"
