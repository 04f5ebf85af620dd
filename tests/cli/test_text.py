"""Lines, numbers and JSON."""

import io
import json
import logging
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qrbackends.cli import text
from qrbackends.models import formatting as figures


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (-5.0, "0 s"),
        (0.0, "0 s"),
        (59.9, "59 s"),
        (60.0, "1 min"),
        (3599.0, "59 min"),
        (3600.0, "1 h"),
        (3 * 3600.0, "3 h"),
        (47.9 * 3600, "47 h"),
        (48 * 3600.0, "2 d"),
        (5 * 86400.0, "5 d"),
        (364 * 86400.0, "364 d"),
        (2.1 * 365.25 * 86400, "2.1 y"),
    ],
)
def test_ages(seconds: float | None, shown: str) -> None:
    assert text.age(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (2.31e-3, "2.31e-3"),
        (0.0102, "1.02e-2"),
        (0.5, "5.00e-1"),
        (1.0, "1.00e0"),
        (9.999e-4, "1.00e-3"),
        (1e-12, "1.00e-12"),
    ],
)
def test_probabilities(value: float | None, shown: str) -> None:
    assert figures.probability(value) == shown


def test_counts_and_scaled_values() -> None:
    assert text.whole(195000) == "195,000"
    assert text.whole(None) == "–"
    assert (text.whole(10**15), text.whole(-(10**15))) == ("1,000,000,000,000,000", "-1,000,000,000,000,000")
    assert (text.whole(10**5000), text.whole(-(10**5000))) == (">1e15", "<-1e15")
    assert text.whole("2.4\x1bK") == "2.4\N{REPLACEMENT CHARACTER}K"
    assert figures.scaled(268.32e-6, 1e6) == "268.3"
    assert figures.scaled(4.9876e9, 1e-9, 3) == "4.988"
    assert figures.scaled(None, 1e6) == "–"


@given(st.text(st.characters(), max_size=60), st.integers(1, 40))
@example("a\x1b[2J\u200b\ud800", 40)
@example("\U000e0041" * 5, 40)
def test_a_text_of_any_characters_becomes_a_short_visible_one(sent: str, longest: int) -> None:
    shown = figures.visible(sent, longest)
    assert shown.isprintable()
    assert len(shown) <= longest
    if sent.isprintable() and len(sent) <= longest:
        assert shown == sent
    elif not shown.endswith("…"):
        assert shown == "".join(one if one.isprintable() else ascii(one)[1:-1] for one in sent)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("plain", "plain"),
        ("two\n lines\t", "two lines"),
        ("\x1b[31mred", "\N{REPLACEMENT CHARACTER}[31mred"),
        ("\x9b2J", "\N{REPLACEMENT CHARACTER}2J"),
        ("\u202eevil", "\N{REPLACEMENT CHARACTER}evil"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("\x07\x00", "\N{REPLACEMENT CHARACTER}" * 2),
        ("[red]x µ", "[red]x µ"),
    ],
)
def test_nothing_that_a_terminal_obeys_is_left(sent: str, shown: str) -> None:
    assert text.clean(sent) == shown


def test_a_text_without_an_end_is_cut() -> None:
    assert len(text.clean("x y " * 10**6)) == 4001
    assert text.clean("x " * 2000) == "x " * 1999 + "x"


@pytest.mark.parametrize(
    "sent",
    [
        *(
            "\x1b[2J",
            "\x7f\x9b",
            "\u202e\u2066\u2069",
            "\u200e\u200f\u061c",
            "\u2028\u2029",
            "\u200b\ufeff\xad",
        ),
        *("\U000e0001", "\ud800", "a\udcffb", 'quote " and \\', "é µ \u00a0 😀", "line\r\n"),
    ],
)
def test_json_is_escaped_and_the_same(sent: str, capsys: pytest.CaptureFixture[str]) -> None:
    text.echo_json({sent: [sent, datetime(2026, 1, 1, tzinfo=UTC)]})
    written = capsys.readouterr().out.removesuffix("\n")
    assert json.loads(written) == {sent: [sent, "2026-01-01T00:00:00Z"]}
    assert all(char.isprintable() or char == "\u00a0" for char in written)


def test_what_the_server_logs_is_printable_too() -> None:
    try:
        raise ValueError("evil\x1b]0;x\x07\u202e")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("uvicorn.error", 40, "", 1, "it failed for %s\nand more", ("\x1b[2J",), error)
    assert text.make_printable(record)
    logged = logging.Formatter().format(record)
    assert all(line.isprintable() for line in logged.splitlines())
    assert "ValueError: evil\N{REPLACEMENT CHARACTER}]0;x" in logged
    assert "it failed for \N{REPLACEMENT CHARACTER}[2J\nand more" in logged


def test_a_warning_of_python_is_one_printable_line(capsys: pytest.CaptureFixture[str]) -> None:
    text.print_warning(UserWarning("Glyph 27 (\x1b)\nmissing"), UserWarning, "file", 3)
    assert capsys.readouterr().err == "Warning: Glyph 27 (\N{REPLACEMENT CHARACTER}) missing\n"


def test_json_holds_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    text.echo_json({"a": "\x1b\x7f\x9b\u00a0é"})
    assert capsys.readouterr().out == '{"a":"\\u001b\\u007f\\u009b\u00a0é"}\n'


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_character_fails_for_the_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    text.forgiving_output()
    sys.stdout.write("T1 µs – … ─ \udc80")
    sys.stdout.flush()
    expected = {"ascii": "T1 us - . - ?", "cp1252": "T1 µs – … - ?", "utf-8": "T1 µs – … ─ ?"}
    assert written.getvalue().decode(encoding) == expected[encoding]


def test_the_encoding_is_no_matter_where_there_is_no_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    text.forgiving_output()


@pytest.mark.parametrize("error", [OSError("full"), ValueError("closed")])
def test_what_cannot_be_written_is_given_up(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as stdout:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", stdout)

        def flush() -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr("sys.stdout", Wrapped(stdout, flush))
            text.abandon_output()
        stdout.write("into nothing")
    with open(reading) as received:  # noqa: PTH123
        assert received.read() == ""


@pytest.mark.parametrize("stdout", [None, "closed", "no file"])
def test_there_may_be_nothing_to_give_up(monkeypatch: pytest.MonkeyPatch, stdout: str | None) -> None:
    stream = None if stdout is None else io.StringIO()
    if stdout == "closed" and stream is not None:
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    text.abandon_output()
    assert sys.stdout is stream


def test_only_encoding_is_forgiven() -> None:
    text.forgiving_output()
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "qrbackends")


def test_on_a_terminal_errors_are_wrapped_between_words() -> None:
    program = (sys.executable, "-c", WRAPPED)
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (50, 30))
    subprocess.run(program, stdin=subprocess.DEVNULL, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    seen = os.read(ours, 4096).decode().splitlines()
    os.close(ours)
    assert seen == ["Error: did you mean", "ibm_boston, ibm-brooklyn or", "crn:v1:" + 40 * "a" + "?"]


WRAPPED = """
from qrbackends.cli.text import failed
failed("did you mean ibm_boston, ibm-brooklyn or crn:v1:" + 40 * "a" + "?", 1)
"""


def test_nobody_who_reads_stderr_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stderr", Broken())
    assert text.failed("something", 1) == 1


class Wrapped:
    """A file whose flush fails."""

    def __init__(self, file: TextIO, flush: Callable[[], None]) -> None:
        self.fileno = file.fileno
        self.flush = flush
