"""What commands are told of backends and of times: names, variants, instants, spans of time."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import click

from .choices import Number
from .completion import complete_backend

F = TypeVar("F", bound=Callable[..., Any])

_UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_SPAN: Final = re.compile(r"(?:\d+(?:\.\d+)?\s*(?:min|[smhdw])\s*)+", re.IGNORECASE)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhdw])", re.IGNORECASE)
_SHORTEST_STEP: Final = timedelta(minutes=1)
_FORMS: Final = "2026-04-17T12:00:00Z, a date (its midnight in UTC), or 7d or 12h (so long ago)"

backend_argument = click.argument("backend_id", metavar="ID", shell_complete=complete_backend)
backends_argument = click.argument("names", nargs=-1, metavar="[BACKEND]...", shell_complete=complete_backend)
calibration_option = click.option("--calibration-id", metavar="NAME", help="A named variant of the backend.")


def instant_of(text: str) -> datetime:
    """Return the instant that a text gives, in UTC.

    It is ISO 8601 with an offset, a date, which stands for its midnight in UTC, or a span: so long ago.
    """
    length = _span(text)
    try:
        if length is not None:
            return datetime.now(UTC) - length
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            return when.astimezone(UTC)
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no instant: give ISO 8601 such as {_FORMS}") from None
    if re.search("[T ]", text):
        raise click.BadParameter(f"{text!r} has no offset: add Z for UTC, or one such as +02:00")
    return when.replace(tzinfo=UTC)


def step_of(text: str) -> timedelta:
    """Return the length of a span of time, such as `6h` or `1d12h`, or of a number of hours."""
    try:
        step = _span(text) or timedelta(hours=float(text))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is no span of time, such as 6h, 30min or 1d12h") from None
    if step < _SHORTEST_STEP:
        raise click.BadParameter(f"{text!r} is less than a minute")
    return step


def _span(text: str) -> timedelta | None:
    if not _SPAN.fullmatch(text.strip()):
        return None
    try:
        return timedelta(seconds=sum(float(n) * _UNITS[unit.lower()] for n, unit in _PART.findall(text)))
    except OverflowError:
        raise click.BadParameter(f"{text!r} is longer than any calendar") from None


updated_before_option = click.option(
    "--updated-before",
    type=instant_of,
    metavar="INSTANT",
    help=f"The newest calibration before this instant: {_FORMS}.",
)


def range_options(begins: str, ends: str = "now") -> Callable[[F], F]:
    """Return a decorator that adds `--since` and `--until`, a range of time.

    Args:
        begins: where it begins by default, for the help.
        ends: where it ends by default.
    """
    since = click.option(
        "--since", type=instant_of, metavar="INSTANT", help=f"The start: {_FORMS}. By default {begins}."
    )
    until = click.option(
        "--until",
        type=instant_of,
        metavar="INSTANT",
        help=f"The end, exclusive, in the same forms. By default {ends}.",
    )
    return lambda command: since(until(command))


def every_option(default: str) -> Callable[[F], F]:
    """Return a decorator that adds `--every`, the time between calibrations; `default` is for the help."""
    return click.option(
        "--every",
        type=step_of,
        metavar="SPAN",
        help="One calibration for each such span, as 6h or 1d; a number alone is of hours. "
        f"By default {default}.",
    )


def interval_option(text: str, default: float | None = 30.0) -> Callable[[F], F]:
    """Return a decorator that adds `--interval`, in seconds, with this help."""
    return click.option(
        "--interval",
        type=Number(1, 86400),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )
