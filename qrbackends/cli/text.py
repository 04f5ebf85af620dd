"""Lines, numbers and JSON on the terminal, without rich."""

import codecs
import io
import os
import re
import sys
from contextlib import suppress
from typing import Any

import click
import msgspec

from ..analysis.formatting import DASH

_MINUTE, _HOUR, _DAY, _YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0
_ASCII = str.maketrans({"µ": "u", "–": "-", "…": ".", "×": "x", "\N{REPLACEMENT CHARACTER}": "?"})
_CONTROLS = re.compile(rb"\x7f|\xc2[\x80-\x9f]")  # DEL and C1 in UTF-8; JSON itself escapes only C0


def clean(text: str) -> str:
    """Return `text`, which comes from the network, on one line and without terminal control codes.

    Control, format and bidirectional characters and surrogates become U+FFFD.
    """
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def failed(message: str, code: int) -> int:
    """Write the reason of a failure as one line on stderr, and return `code`."""
    with suppress(OSError):  # stderr is closed
        click.echo(f"Error: {clean(message)}", err=True)
    return code


def warn(message: str) -> None:
    """Write a failure that does not stop the command as one line on stderr."""
    click.echo(f"Warning: {clean(message)}", err=True)


def echo_json(value: Any) -> None:
    """Write one JSON value, in UTF-8 whatever the locale, and a line end."""
    text = msgspec.json.encode(value)
    click.echo(_CONTROLS.sub(lambda control: b"\\u00%02x" % control[0][-1], text))


def forgiving_output() -> None:
    """Replace characters that stdout's encoding lacks: `µs` becomes `us` where it has no µ."""
    codecs.register_error("qrbackends", _plain)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="qrbackends")


def abandon_output() -> None:
    """Discard stdout's unwritten data; Python would try to write it at exit, and exit with 120."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):  # a ValueError where stdout is closed
        with suppress(OSError, ValueError):  # without a descriptor Python does not write at exit
            descriptor = sys.stdout.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_ASCII)
    return "".join(char if char.isascii() else "?" for char in text), error.end


def whole(number: float | str | None) -> str:
    """Return a count, with commas between thousands."""
    if number is None:
        return DASH
    return clean(number) if isinstance(number, str) else f"{number:,}"


def age(seconds: float | None) -> str:
    """Return an age in seconds as text: `12 min`, `3 h`, `5 d`, `2.1 y`."""
    if seconds is None:
        return DASH
    if seconds >= _YEAR:
        return f"{seconds / _YEAR:.1f} y"
    for unit, length, least in (("d", _DAY, 2 * _DAY), ("h", _HOUR, _HOUR), ("min", _MINUTE, _MINUTE)):
        if seconds >= least:
            return f"{int(seconds / length)} {unit}"
    return f"{max(0, int(seconds))} s"
