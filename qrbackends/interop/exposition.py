"""The fleet's metrics as text for Prometheus, made once for each view of a monitor.

Gauges are written the same in Prometheus' own format and in OpenMetrics.
"""

import zlib
from collections.abc import Iterable
from datetime import datetime
from math import inf, isnan
from struct import pack
from typing import NamedTuple

from ..fleet.monitored import FleetView
from .gauges import AGE, Gauge, Labels, calibrations_of, gauges_of

_LEVEL = 1  # of compression: a tenth of the text is left, for a third of the time of level 6
_GZIP = b"\x1f\x8b\x08" + bytes(4) + b"\x00\x04\xff"  # the head of a stream without a name and a time

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Packed(NamedTuple):
    """The begin of a gzip stream (RFC 1952), to which different ends can be added.

    Attributes:
        begin: its bytes.
        checksum: the CRC of the text in it.
        size: the number of bytes of the text in it.
    """

    begin: bytes
    checksum: int
    size: int

    def end(self, text: bytes) -> bytes:
        """Return the rest of the stream, with more text in it."""
        deflate = _deflate()
        body = deflate.compress(text) + deflate.flush()
        size = (self.size + len(text)) & 0xFFFFFFFF
        return body + pack("<II", zlib.crc32(text, self.checksum), size)


class FleetText(NamedTuple):
    """The text of a view.

    Attributes:
        view: the view.
        fixed: the metrics that stay the same as long as the view does.
        packed: the same, as the begin of a gzip stream.
        ages: for each calibration the line of its age without the number, and its time in Unix seconds.
    """

    view: FleetView
    fixed: bytes
    packed: Packed
    ages: tuple[tuple[str, float], ...]

    def moving(self, now: datetime) -> bytes:
        """Return the metrics that are others at each moment: the calibrations' ages, 0 at least."""
        seconds = now.timestamp()
        lines = [f"{start}{seconds - at if at < seconds else 0.0}\n" for start, at in self.ages]
        return (_head(AGE) + "".join(lines)).encode()


def fleet_text(view: FleetView) -> FleetText:
    """Return the text of a view. It takes some time for a large fleet, and may be called in any thread."""
    # In pieces: no single step of this thread is to keep others from running for long.
    fixed = b"".join([line.encode() for gauge in gauges_of(view) for line in _lines(gauge)])
    ages = tuple([(_start(AGE, labels), at) for labels, at in calibrations_of(view)])
    return FleetText(view, fixed, _packed(fixed), ages)


def _packed(text: bytes) -> Packed:
    deflate = _deflate()
    body = deflate.compress(text) + deflate.flush(zlib.Z_FULL_FLUSH)
    return Packed(_GZIP + body, zlib.crc32(text), len(text))


def _deflate() -> "zlib._Compress":
    return zlib.compressobj(_LEVEL, wbits=-zlib.MAX_WBITS)


def _lines(gauge: Gauge) -> Iterable[str]:
    yield _head(gauge)
    for labels, number in gauge.samples:
        yield f"{_start(gauge, labels)}{_written(number)}\n"


def _head(gauge: Gauge) -> str:
    return f"# HELP {gauge.name} {gauge.text}\n# TYPE {gauge.name} gauge\n"


def _start(gauge: Gauge, labels: Labels) -> str:
    pairs = ",".join(
        f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(gauge.labels, labels, strict=True)
    )
    return f"{gauge.name}{{{pairs}}} " if pairs else f"{gauge.name} "


def _written(number: float) -> str:
    if isnan(number):
        return "NaN"
    return repr(float(number)) if -inf < number < inf else "+Inf" if number > 0 else "-Inf"
