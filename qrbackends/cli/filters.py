"""The options by which commands choose backends: everywhere the test that Python's `where=` takes, too."""

import functools
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

import click

from ..fleet.filters import BackendFilter
from ..models import Backend
from .choices import Number, WholeNumber
from .text import warn

F = TypeVar("F", bound=Callable[..., None])

NONE_MATCHES: Final = "No backend matches."
"""The line below a table that is empty."""

_PROBABILITY: Final = Number(0, 1)
_OPTIONS: Final = (
    click.option(
        "--name",
        multiple=True,
        metavar="GLOB",
        help="Only backends whose name matches, such as 'ibm_b*'; repeatable.",
    ),
    click.option("--processor", metavar="GLOB", help="Only this processor, such as heron or 'heron r[23]'."),
    click.option("--min-qubits", type=WholeNumber(min=0), metavar="N", help="At least so many qubits."),
    click.option(
        "--max-queue", type=WholeNumber(min=0), metavar="JOBS", help="At most so many jobs waiting."
    ),
    click.option("--min-clops", type=Number(min=0), metavar="N", help="At least so many CLOPS."),
    click.option(
        "--max-two-qubit-error",
        type=_PROBABILITY,
        metavar="P",
        help="At most this median error of the two-qubit gate, a probability, as the list tells it.",
    ),
    click.option(
        "--max-two-qubit-error-layered",
        type=_PROBABILITY,
        metavar="P",
        help="At most this error per gate of whole layers.",
    ),
    click.option(
        "--max-readout-error", type=_PROBABILITY, metavar="P", help="At most this median readout error."
    ),
)

fractional_gates_option: Final = click.option(
    "--fractional-gates", is_flag=True, help="Only those with the gates rx or rzz, by their configurations."
)


def filter_options(*, online: bool = False) -> Callable[[F], F]:
    """Return a decorator that adds the options; the command gets them as a `BackendFilter`, `wanted`.

    Args:
        online: whether only backends that take and run jobs are wanted where no option says it.
    """
    state = click.option(
        "--online/--any-status",
        default=online,
        show_default=True,
        help="Only backends that take and run jobs now, or all.",
    )

    def add(command: F) -> F:
        @functools.wraps(command)
        def with_filter(**options: Any) -> None:
            conditions = {name: options.pop(name) for name in BackendFilter.__struct_fields__}
            command(wanted=BackendFilter(**conditions), **options)

        decorated: Any = with_filter
        for option in reversed((*_OPTIONS[:2], state, *_OPTIONS[2:])):
            decorated = option(decorated)
        found: F = decorated
        return found

    return add


def warn_of_unmatched(wanted: BackendFilter, listed: Iterable[Backend]) -> None:
    """Write a line on stderr for each glob that no backend of a list matches."""
    backends = tuple(listed)
    for sentence in wanted.unmatched(backends) if backends else ():
        warn(sentence)
