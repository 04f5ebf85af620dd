"""Errors as HTTP answers: RFC 9457 problem details. The module needs no web framework."""

import logging
import math
import time
from collections.abc import Callable
from http import HTTPStatus

from msgspec import Struct

from ..errors import (
    AccountError,
    BadRequest,
    CalibrationLookupError,
    CircuitOpen,
    ClientClosed,
    InstanceUnavailable,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    RateLimited,
    ServiceUnavailable,
    Timeout,
    WrongEventLoop,
)

logger = logging.getLogger("qrbackends.web")

MEDIA_TYPE = "application/problem+json"

# The first match counts. The texts are our own, as the service's may hold traces, CRNs and accounts.
_MEANINGS: tuple[tuple[tuple[type[QRBackendsError], ...], HTTPStatus, str], ...] = (
    (
        (NotFound,),
        HTTPStatus.NOT_FOUND,
        "There is no such backend, or it has no such document.",
    ),
    ((CalibrationLookupError,), HTTPStatus.NOT_FOUND, "The device has no such qubit or gate."),
    ((InvalidRequest, BadRequest), HTTPStatus.BAD_REQUEST, "A name or a value in the request is not valid."),
    ((RateLimited,), HTTPStatus.TOO_MANY_REQUESTS, "The service was asked too often; ask again later."),
    (
        (CircuitOpen, ServiceUnavailable, InstanceUnavailable, ClientClosed),
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The service cannot be asked at the moment; ask again later.",
    ),
    ((Timeout,), HTTPStatus.GATEWAY_TIMEOUT, "The service did not answer in time."),
    ((AccountError,), HTTPStatus.BAD_GATEWAY, "The service does not accept this application's account."),
    ((WrongEventLoop,), HTTPStatus.INTERNAL_SERVER_ERROR, "This application is not set up as it should be."),
    ((QRBackendsError,), HTTPStatus.BAD_GATEWAY, "The service failed, or refused to answer."),
)
_LOGGED = 60.0  # seconds between two lines in the log about the same kind of error
_MASKED = 1.0  # seconds of Retry-After where the error has none


class Problem(Struct, frozen=True, omit_defaults=True):
    """Problem details (RFC 9457) without any data of the account.

    Attributes:
        title: the phrase of the HTTP status.
        status: the HTTP status.
        detail: a sentence about the error.
        backend: the requested backend, or None.
        region: its region, or None.
        retry_after: seconds until the next attempt, or None; also sent as the header `Retry-After`.
    """

    title: str
    status: int
    detail: str
    backend: str | None = None
    region: str | None = None
    retry_after: int | None = None

    @property
    def log_level(self) -> int:
        """The level of its line in the log: a visitor's mistake is no warning."""
        failed = self.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        return logging.WARNING if failed else logging.INFO

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, the content type included."""
        headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
        return headers if self.retry_after is None else headers | {"Retry-After": str(self.retry_after)}


def problem_of(error: QRBackendsError) -> Problem:
    """Return the problem details for an error.

    The status is 404 for an unknown backend or document, 400 for an invalid request, 429 and 503 with the
    seconds to wait, 504 for a timeout, and 502 for all other failures of the service or the network.
    """
    status, detail = next((status, text) for types, status, text in _MEANINGS if isinstance(error, types))
    wait = None
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = max(1, math.ceil(getattr(error, "retry_after", None) or _MASKED))
    return Problem(status.phrase, status.value, detail, error.backend, error.region, wait)


def problem(status: HTTPStatus, detail: str, *, retry_after: int | None = None) -> Problem:
    """Return the problem details for a status and a sentence."""
    return Problem(status.phrase, status.value, detail, retry_after=retry_after)


class ProblemLog:
    """Writes errors, of which the answers to visitors have no details, to the log.

    In an outage each visitor gets one. So of each kind, which is the error's type and region, there is one
    line a minute, with the number of those that were left out.

    Args:
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._logged: dict[tuple[type, str | None], tuple[float, int]] = {}  # when, and how many since then

    def add(self, error: QRBackendsError, level: int = logging.WARNING) -> None:
        """Write a line about an error, unless there was one of its kind within the last minute."""
        kind, now = (type(error), error.region), self._clock()
        at, others = self._logged.get(kind, (-math.inf, 0))
        if now - at < _LOGGED:
            self._logged[kind] = at, others + 1
            return
        self._logged[kind] = now, 0
        more = f" (and {others} more since the last line)" if others else ""
        logger.log(level, "%s: %s%s", type(error).__name__, error, more)


problem_log = ProblemLog()
"""The log of all apps of this process."""
