"""Our errors as HTTP answers: RFC 9457 problem details. No framework."""

import math
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

MEDIA_TYPE = "application/problem+json"

# The first that fits. The texts are ours: what the service says may hold traces, CRNs and accounts.
_MEANINGS: tuple[tuple[tuple[type[QRBackendsError], ...], HTTPStatus, str], ...] = (
    (
        (NotFound, CalibrationLookupError),
        HTTPStatus.NOT_FOUND,
        "There is no such thing here.",
    ),
    ((InvalidRequest, BadRequest), HTTPStatus.BAD_REQUEST, "The question makes no sense."),
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
_MASKED = 1.0  # seconds to wait where nobody says how long


class Problem(Struct, frozen=True, omit_defaults=True):
    """A problem as RFC 9457 writes it, without anything that tells of the account.

    Attributes:
        title: what its status means.
        status: the HTTP status.
        detail: what went wrong.
        backend: the backend that was asked for, or None.
        region: where, or None.
        retry_after: seconds to wait before asking again, or None; also the header `Retry-After`.
    """

    title: str
    status: int
    detail: str
    backend: str | None = None
    region: str | None = None
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer, its type among them."""
        headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
        return headers if self.retry_after is None else headers | {"Retry-After": str(self.retry_after)}


def problem_of(error: QRBackendsError) -> Problem:
    """Return the answer to give for an error.

    404 for what is not there, 400 for a question that makes no sense, 429 and 503 with the seconds to wait,
    504 for timeouts, 502 for all else that the service, or the way to it, did.
    """
    status, detail = next((status, text) for types, status, text in _MEANINGS if isinstance(error, types))
    wait = None
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait = max(1, math.ceil(getattr(error, "retry_after", None) or _MASKED))
    return Problem(status.phrase, status.value, detail, error.backend, error.region, wait)


def problem(status: HTTPStatus, detail: str, *, retry_after: int | None = None) -> Problem:
    """Return a problem of our own."""
    return Problem(status.phrase, status.value, detail, retry_after=retry_after)
