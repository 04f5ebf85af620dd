"""What commands that run until they are told to end write about failures: lines of the log, on stderr."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .text import make_printable

_ALL: Final = "qrbackends"
_FAILURES: Final = "qrbackends.monitor"  # one line when a failure begins, and one when it ends


@contextmanager
def logged(verbose: bool) -> Iterator[None]:
    """Write the beginning and the end of each failure on stderr; if `verbose`, all that is logged.

    That is, each retry, each circuit that opens, what visitors are not told of errors, and more.
    """
    formatter = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(make_printable)
    logger = logging.getLogger(_ALL if verbose else _FAILURES)
    before = logger.level
    if verbose:
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
