"""What commands write of the log: lines on stderr."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from .text import make_printable, warn

_ALL: Final = "qrbackends"
_FAILURES: Final = "qrbackends.monitor"  # one line when a failure begins, and one when it ends


class _Warnings(logging.Handler):
    """Writes each record as `warn` does."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        warn(record.getMessage())


@contextmanager
def handled_by(handler: logging.Handler, *names: str) -> Iterator[None]:
    """Let a handler have what the loggers of these names log, in printable lines."""
    handler.addFilter(make_printable)
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def warned(name: str) -> AbstractContextManager[None]:
    """Return a context in which what the logger of this name warns of is a warning on stderr."""
    return handled_by(_Warnings(logging.WARNING), name)


@contextmanager
def logged(verbose: bool) -> Iterator[None]:
    """Write the beginning and the end of each failure on stderr; if `verbose`, all that is logged.

    That is, each retry, each circuit that opens, what visitors are not told of errors, and more.
    """
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logger = logging.getLogger(_ALL if verbose else _FAILURES)
    before = logger.level
    if verbose:
        logger.setLevel(logging.INFO)
    try:
        with handled_by(handler, logger.name):
            yield
    finally:
        logger.setLevel(before)
