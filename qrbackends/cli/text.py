"""Lines, numbers and JSON on the terminal, without rich."""

import codecs
import io
import json
import logging
import os
import re
import sys
import textwrap
import traceback
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, TextIO

import click
import msgspec

from ..models.formatting import DASH

_MINUTE, _HOUR, _DAY, _YEAR = 60.0, 3600.0, 86400.0, 365.25 * 86400.0
_ASCII = str.maketrans("µ–─…×·●◆◇\N{REPLACEMENT CHARACTER}", "u--.x.#SL?")
_UNUSUAL = re.compile("[^ -~]")  # JSON itself escapes only C0
_SEPARATING = re.compile('[",;]|^ | $')  # spreadsheets of some countries separate cells by semicolons
_LONGEST = 4000  # characters of a line or a cell
_WORDS_WHOLE: Final[dict[str, Any]] = {"break_long_words": False, "break_on_hyphens": False}
_MOST = 10**15  # what is counted is fewer
_REPLACED = "\N{REPLACEMENT CHARACTER}"


def clean(text: str) -> str:
    """Return `text`, which comes from the network, on one line, not too long, and `printable`."""
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}…"
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` without terminal control codes.

    Control, format, bidirectional and zero-width characters and surrogates become U+FFFD.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else _REPLACED for c in text)


def echo(text: str = "", *, err: bool = False) -> None:
    """Write lines on stdout or stderr: all that is written and is no JSON, CSV or table.

    On a terminal, those on stderr are wrapped between words; names and addresses stay whole.
    """
    lines = [printable(line) for line in text.expandtabs().split("\n")]
    if err and (width := _terminal_width(sys.stderr)):
        lines = [part for line in lines for part in textwrap.wrap(line, width, **_WORDS_WHOLE) or [""]]
    click.echo("\n".join(lines), err=err)


def _terminal_width(stream: TextIO | None) -> int | None:
    """Return the characters in a line of a terminal, or None where a stream is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream is not None else None
    except (OSError, ValueError):  # a ValueError where it is closed
        return None


def failed(message: str, code: int) -> int:
    """Write the reason of a failure as one line on stderr, and return `code`."""
    with suppress(OSError):  # stderr is closed
        echo(f"Error: {clean(message)}", err=True)
    return code


def warn(message: str) -> None:
    """Write a failure that does not stop the command as one line on stderr."""
    echo(f"Warning: {clean(message)}", err=True)


def echo_json(value: Any) -> None:
    """Write one JSON value, in UTF-8 whatever the locale, with escapes for what is not printable."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:  # a path may have bytes that are no UTF-8, which are surrogates in a text
        text = json.dumps(msgspec.to_builtins(value), separators=(",", ":"))
    click.echo(_UNUSUAL.sub(_escaped, text).encode())


def echo_csv(cells: Iterable[str]) -> None:
    """Write a line of CSV (RFC 4180), in UTF-8 whatever the locale."""
    text = ",".join(_quoted(cell) if _SEPARATING.search(cell) else cell for cell in map(printable, cells))
    click.echo(text.encode())


def _quoted(cell: str) -> str:
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    is_shown = char.isprintable() or unicodedata.category(char) == "Zs"
    return char if is_shown else json.dumps(char)[1:-1]


def print_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """Write a warning of Python as one line on stderr; it takes the place of `warnings.showwarning`."""
    warn(str(message))


def make_printable(record: logging.LogRecord) -> bool:
    """Replace what a record of the log says by printable lines; it is a filter that takes every record."""
    record.msg, record.args = "\n".join(map(clean, record.getMessage().split("\n"))), ()
    if record.exc_info:
        trace = "".join(traceback.format_exception(*record.exc_info))
        record.exc_text = "\n".join(map(printable, trace.rstrip("\n").split("\n")))
    return True


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
    """Return a count, with commas between thousands; of one that is too large only that it is."""
    if number is None:
        return DASH
    if isinstance(number, str):
        return clean(number)
    return f"{number:,}" if abs(number) <= _MOST else ">1e15" if number > 0 else "<-1e15"


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
