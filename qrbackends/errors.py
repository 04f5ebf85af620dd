"""The errors that this package raises.

Three columns tell what an error means. *outage*: an old answer may be used instead. *retryable*: the same
request may be sent again within the call. *final*: all calls fail until the caller changes something.

                                                    outage  retryable  final
QRBackendsError
├── InvalidRequest            (also ValueError)       -         -        -    refused before any I/O
├── AccountError              (also ValueError)       -         -       (x)   unless it is of one call
│   └── AuthenticationFailed                          -         -        x    IAM refused the API key
├── ClientClosed              (also RuntimeError)     -         -        x
├── WrongEventLoop            (also RuntimeError)     -         -        x
├── ArchiveError              (also OSError)          -         -        -    an archive's store failed
├── InstanceUnavailable                               -         -        -    an instance was not read
├── TransportError                                    x         x        -    no complete answer arrived
│   ├── ConnectError                                  x         x        -
│   │   ├── ConnectionLost                            x         x        -    before the answer began
│   │   └── TLSError                                 (x)        -        -    outage if the handshake was cut
│   ├── Timeout               (also TimeoutError)     x         x        -
│   │   ├── ConnectTimeout                            x         x        -
│   │   └── ReadTimeout                               x         x        -
│   ├── BodyDamaged                                   x         x        -    not what its headers say
│   │   └── WrongBackend                              x         x        -    another backend's document
│   ├── BodyTooLarge                                  -         -        -
│   ├── RedirectRefused                               -         -        -
│   └── CircuitOpen                                   x         -        -    nothing was sent
├── DecodeError               (also ValueError)      (x)       (x)       -    if not JSON, or of IAM
├── ResponseError                                     -         -        -    an answer other than 200
│   ├── BadRequest            400                     -         -        -
│   ├── Unauthorized          401                     -         -        -
│   ├── Forbidden             403                    (x)        -        -    only if not from the service
│   ├── NotFound              404                     -         -        -
│   │   └── UnknownBackend    (also KeyError)         -         -        -    a list in hand has no such name
│   ├── Conflict              409                     -         -        -
│   ├── Locked                423                     -         -        -
│   ├── RateLimited           429                     x         x        -
│   │   └── HeldBack                                  x         -        -    nothing was sent
│   └── ServerError           5xx                     x        (x)       -    only 500, 502, 503, 504, 520-524
│       └── ServiceUnavailable  503                   x         x        -
└── CalibrationLookupError    (also LookupError)      -         -        -
    ├── UnknownQubit                                  -         -        -
    └── UnknownGate                                   -         -        -
"""

from collections.abc import Sequence
from typing import Final, NamedTuple, Self

# Temporary failures of the service, of gateways and of Cloudflare; a 501 is permanent.
_TEMPORARY: Final = frozenset((500, 502, 503, 504, *range(520, 525)))


class Attempt(NamedTuple):
    """One request that failed.

    Attributes:
        after: seconds from the beginning of the call to the failure.
        problem: the name of the error's class, and its own `problem`.
    """

    after: float
    problem: str


class QRBackendsError(Exception):
    """The base class of all errors.

    Attributes:
        message: what happened and, if it helps, what to do.
        region: the region that was asked, such as `us-east`, or None.
        instance: the CRN of the instance that was asked, or None.
        backend: the name of the backend, or None.
        where: whose host was asked, such as `IAM's host iam.cloud.ibm.com`; of a `TransportError` only.
        attempts: how many requests the call has sent.
        history: the requests of the call that failed.
        outage: whether an old answer may be used instead.
        retryable: whether the same request may be sent again within the call.
        final: whether all other calls of this client will fail, too.
    """

    outage: bool = False
    retryable: bool = False
    final: bool = False
    region: str | None = None
    instance: str | None = None
    backend: str | None = None
    where: str = ""
    attempts: int = 0
    history: tuple[Attempt, ...] = ()

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def about(
        self,
        *,
        region: str | None = None,
        instance: str | None = None,
        backend: str | None = None,
        attempts: int | None = None,
    ) -> Self:
        """Set what is not set yet, and `attempts` in any case if given; return this error."""
        self.region = self.region or region
        self.instance = self.instance or instance
        self.backend = self.backend or backend
        self.attempts = self.attempts if attempts is None else attempts
        return self

    def again(self) -> Self:
        """Return a copy without traceback, so that each of several callers can get an error of their own."""
        twin = type(self)(self.message)
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = list(self.__notes__)
        twin.__cause__ = self.__cause__
        return twin

    @property
    def problem(self) -> str:
        """The message, and of a `TransportError` also whose host it is about."""
        return f"{self.where}: {self.message}" if self.where else self.message

    def __str__(self) -> str:
        about = " ".join(part for part in (self.backend, self.region and f"[{self.region}]") if part)
        text = f"{about}: {self.problem}" if about else self.problem
        return f"{text} (after {self.attempts} attempts)" if len(self.history) > 1 else text


class InvalidRequest(QRBackendsError, ValueError):
    """An argument is not valid; nothing was sent."""


class AccountError(QRBackendsError, ValueError):
    """No account was found, or it cannot be used.

    Not final after a token provider failed, and for an instance that is none of the account's."""

    final = True


class AuthenticationFailed(AccountError):
    """IAM refused the API key.

    Attributes:
        code: IAM's `errorCode`, such as `BXNIM0415E`, or None.
    """

    code: str | None = None


class ClientClosed(QRBackendsError, RuntimeError):
    """The client, or the pool under it, was closed before or during the call."""

    final = True


class WrongEventLoop(QRBackendsError, RuntimeError):
    """A client was used in another event loop or process than those of its first use, or without asyncio."""

    final = True


class ArchiveError(QRBackendsError, OSError):
    """An archive cannot be read or written; the message says which, what was refused, and what to check."""


class InstanceUnavailable(QRBackendsError):
    """Something of an instance could not be read, so it is unknown whether it has the backend.

    Attributes:
        errors: one error for each list, entry of a list, or configuration that could not be read.
    """

    def __init__(self, message: str, errors: Sequence[QRBackendsError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class TransportError(QRBackendsError):
    """The network or a gateway failed before a complete answer arrived.

    Attributes:
        host: the name or IP address of the host that was asked; None where no request was under way.
    """

    outage = retryable = True
    host: str | None = None


class ConnectError(TransportError):
    """The connection failed: refused, unreachable, unknown host, lost, or a TLS failure."""


class ConnectionLost(ConnectError):
    """The connection was lost before the answer began; a server may close an idle one at any time."""


class TLSError(ConnectError):
    """TLS failed: a certificate or protocol was refused, or the handshake cut off; it is not tried again."""

    outage = retryable = False


class Timeout(TransportError, TimeoutError):
    """The call did not end before its deadline."""


class ConnectTimeout(Timeout):
    """No connection was made in time."""


class ReadTimeout(Timeout):
    """The connection was made, but the answer, or its next bytes, did not arrive in time."""


class BodyDamaged(TransportError):
    """The body was cut short, is not compressed as its headers say, or is not what was asked for."""


class WrongBackend(BodyDamaged):
    """The document is that of another backend than the one that was asked for."""


class BodyTooLarge(TransportError):
    """The body is larger than the limit, after decompression."""

    outage = retryable = False


class RedirectRefused(TransportError):
    """The service answered with a redirect; it is not followed, because it would get the credentials."""

    outage = retryable = False


class CircuitOpen(TransportError):
    """Nothing was sent: the region's circuit breaker is open, after failures or a 503's `Retry-After`.

    Attributes:
        retry_after: seconds until a request may be sent to the region again.
    """

    retryable = False

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DecodeError(QRBackendsError, ValueError):
    """An answer is not JSON, or not of the contract's type.

    Attributes:
        path: the JSON path of the wrong value, such as `$.devices[0].queue_length`; `$` for the whole body.
        text: the wrong text, at most 200 characters of it.
        malformed: whether the body is not well-formed JSON; it was probably damaged in transfer.
    """

    def __init__(self, message: str, *, path: str = "$", text: str = "", malformed: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.text = text
        self.malformed = self.outage = self.retryable = malformed


class ResponseError(QRBackendsError):
    """The service answered with a status other than 200.

    Attributes:
        status: the HTTP status.
        title: the service's title of the error, or None.
        code: the service's error code as text, such as `1233`, or None.
        solution: the service's advice, or None.
        more_info: a link to more information, or None.
        trace: the service's trace id, for IBM's support, or None.
        correlation_id: the service's id of this answer, or None.
        retry_after: the seconds to wait before the next request, from `Retry-After`, or None.
        body: the answer's body, decompressed; empty if it is longer than 16 kB.
        content_type: the body's media type, such as `application/json`.
    """

    title: str | None = None
    code: str | None = None
    solution: str | None = None
    more_info: str | None = None
    trace: str | None = None
    correlation_id: str | None = None
    retry_after: float | None = None
    body: bytes = b""
    content_type: str = ""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    def __str__(self) -> str:
        extra = [
            f"code {self.code}" if self.code else None,
            self.solution,
            f"retry after {self.retry_after:g} s" if self.retry_after is not None else None,
            f"trace {self.trace}" if self.trace else None,
        ]
        known = "; ".join(part for part in extra if part)
        return f"{super().__str__()} ({known})" if known else super().__str__()


class BadRequest(ResponseError):
    """400: the service refused a parameter."""


class Unauthorized(ResponseError):
    """401: the token is missing, wrong or expired."""


class Forbidden(ResponseError):
    """403: the account has no right to this instance or backend.

    If the body is no JSON object, the answer came from a firewall or gateway in front of the service, which
    says nothing about rights: then `outage` is true, old answers are used, and none is removed.
    """


class NotFound(ResponseError):
    """404: there is no such backend, or it has no document of this kind; also where properties are empty.

    It is also raised, with `attempts` 0, for a name that no instance of the account lists. `suggestions` are
    the names that are most like the backend's, of the lists that are known; the nearest first.
    """

    suggestions: tuple[str, ...] = ()


class UnknownBackend(NotFound, KeyError):
    """A list has no backend of this name."""


class Conflict(ResponseError):
    """409: the request conflicts with the state of the service."""


class Locked(ResponseError):
    """423: the account or instance is locked."""


class RateLimited(ResponseError):
    """429: too many requests; `retry_after` is the seconds to wait, if the service says so."""

    outage = retryable = True


class HeldBack(RateLimited):
    """Nothing was sent: an earlier 429 asked for a pause that is longer than this call may take."""

    retryable = False


class ServerError(ResponseError):
    """5xx: the service or a gateway in front of it failed."""

    outage = True

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.retryable = status in _TEMPORARY


class ServiceUnavailable(ServerError):
    """503: the service is unavailable; `retry_after` is the seconds to wait, if the service says so."""


class CalibrationLookupError(QRBackendsError, LookupError):
    """The device has no such qubit or gate, or a name is no measured quantity's."""


class UnknownQubit(CalibrationLookupError):
    """The device has no qubit of this number."""


class UnknownGate(CalibrationLookupError):
    """The device has no such gate, or does not have it on these qubits."""


__all__ = [
    "AccountError",
    "ArchiveError",
    "AuthenticationFailed",
    "BadRequest",
    "BodyDamaged",
    "BodyTooLarge",
    "CalibrationLookupError",
    "CircuitOpen",
    "ClientClosed",
    "Conflict",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionLost",
    "DecodeError",
    "Forbidden",
    "HeldBack",
    "InstanceUnavailable",
    "InvalidRequest",
    "Locked",
    "NotFound",
    "QRBackendsError",
    "RateLimited",
    "ReadTimeout",
    "RedirectRefused",
    "ResponseError",
    "ServerError",
    "ServiceUnavailable",
    "TLSError",
    "Timeout",
    "TransportError",
    "Unauthorized",
    "UnknownBackend",
    "UnknownGate",
    "UnknownQubit",
    "WrongBackend",
    "WrongEventLoop",
]
