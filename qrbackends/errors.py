"""Everything this package raises.

Three columns say what an error means to its caller: *outage*, an old answer may stand in for the one that did
not come; *retryable*, the same request may be sent again within the call; *final*, no other question of this
client will be answered either until its caller changes something.

                                                    outage  retryable  final
QRBackendsError
├── InvalidRequest            (also ValueError)       -         -        -    refused before any I/O
├── AccountError              (also ValueError)       -         -        x    no usable account or address
│   └── AuthenticationFailed                          -         -        x    IAM refused the API key
├── ClientClosed              (also RuntimeError)     -         -        x
├── WrongEventLoop            (also RuntimeError)     -         -        x
├── InstanceUnavailable                               -         -        -    a list did not come
├── TransportError                                    x         x        -    no complete answer arrived
│   ├── ConnectError                                  x         x        -
│   │   ├── ConnectionLost                            x         x        -    before the answer began
│   │   └── TLSError                                  -         -        -    certificate or protocol refused
│   ├── Timeout               (also TimeoutError)     x         x        -
│   │   ├── ConnectTimeout                            x         x        -
│   │   └── ReadTimeout                               x         x        -
│   ├── BodyDamaged                                   x         x        -    not what its headers say
│   ├── BodyTooLarge                                  -         -        -
│   ├── RedirectRefused                               -         -        -
│   └── CircuitOpen                                   x         -        -    nothing was sent
├── DecodeError               (also ValueError)      (x)       (x)       -    only if the body is not JSON
├── ResponseError                                     -         -        -    an answer other than 200
│   ├── BadRequest            400                     -         -        -
│   ├── Unauthorized          401                     -         -        -
│   ├── Forbidden             403                     -         -        -
│   ├── NotFound              404                     -         -        -
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

# The service's own passing failures, those of gateways, and Cloudflare's; 501 stays as it is.
_PASSING: Final = frozenset((500, 502, 503, 504, *range(520, 525)))


class Attempt(NamedTuple):
    """One request that came to nothing.

    Attributes:
        after: seconds since the call began when it failed.
        problem: what happened.
    """

    after: float
    problem: str


class QRBackendsError(Exception):
    """The root of the tree.

    Each error carries what was being asked, as far as it is known where it was raised.

    Attributes:
        message: what happened, and where it helps, what to do.
        region: such as `us-east`, or None.
        instance: the CRN, or None.
        backend: the backend's name, or None.
        attempts: how many requests were sent for it.
        history: what became of each of them, as far as they failed, where there was more than one.
        outage: whether an old answer may stand in for the one that did not come.
        retryable: whether the same request may be sent again within the call.
        final: whether no other question of this client will be answered either.
    """

    outage: bool = False
    retryable: bool = False
    final: bool = False
    region: str | None = None
    instance: str | None = None
    backend: str | None = None
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
        """Return this error, with region, instance and backend filled in where they were not known yet.

        `attempts`, where it is given, is the count from now on.
        """
        self.region = self.region or region
        self.instance = self.instance or instance
        self.backend = self.backend or backend
        self.attempts = self.attempts if attempts is None else attempts
        return self

    def again(self) -> Self:
        """Return an equal error with a traceback of its own, for one more caller who has to get it."""
        twin = type(self)(self.message)
        twin.__dict__.update(self.__dict__)
        if hasattr(self, "__notes__"):
            twin.__notes__ = list(self.__notes__)
        twin.__cause__ = self.__cause__
        return twin

    def __str__(self) -> str:
        about = " ".join(part for part in (self.backend, self.region and f"[{self.region}]") if part)
        text = f"{about}: {self.message}" if about else self.message
        return f"{text} (after {self.attempts} attempts)" if len(self.history) > 1 else text


class InvalidRequest(QRBackendsError, ValueError):
    """The question itself is wrong; nothing was sent."""


class AccountError(QRBackendsError, ValueError):
    """No account was found, or it cannot be used as it is."""

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
    """A client belongs to the event loop in which it was first used."""

    final = True


class InstanceUnavailable(QRBackendsError):
    """An instance could not be listed, so that nobody can tell whether it has the backend.

    Attributes:
        errors: why, one error for each instance that could not be listed.
    """

    def __init__(self, message: str, errors: Sequence[QRBackendsError] = ()) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


class TransportError(QRBackendsError):
    """The network or a gateway failed before a complete answer arrived."""

    outage = retryable = True


class ConnectError(TransportError):
    """No connection: refused, unreachable, unknown host, lost, or a TLS failure."""


class ConnectionLost(ConnectError):
    """The connection broke before the answer began, as one does that the server had given up as idle."""


class TLSError(ConnectError):
    """The server's certificate, or its TLS protocol, was not accepted. It is not tried again."""

    outage = retryable = False


class Timeout(TransportError, TimeoutError):
    """The call did not end before its deadline."""


class ConnectTimeout(Timeout):
    """No connection was made in time."""


class ReadTimeout(Timeout):
    """The connection stood, but nothing came for too long."""


class BodyDamaged(TransportError):
    """The body was cut short, or is not compressed as its headers say."""


class BodyTooLarge(TransportError):
    """The body, once decompressed, is larger than the limit."""

    outage = retryable = False


class RedirectRefused(TransportError):
    """The service answered with a redirect. None is followed, as credentials would go with it."""

    outage = retryable = False


class CircuitOpen(TransportError):
    """Nothing was sent: the region has failed too often in a row, or has asked for a pause.

    Attributes:
        retry_after: seconds until it is asked again.
    """

    retryable = False

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DecodeError(QRBackendsError, ValueError):
    """An answer is not JSON, or not of the type that the contract gives.

    Attributes:
        path: the JSON path of the offending value, such as `$.devices[0].queue_length`; `$` for the
            whole body.
        text: the offending text, at most 200 characters of it.
        malformed: whether the body is not JSON at all, as a body that was damaged on its way is.
    """

    def __init__(self, message: str, *, path: str = "$", text: str = "", malformed: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.text = text
        self.malformed = self.outage = self.retryable = malformed


class ResponseError(QRBackendsError):
    """The service answered with something other than 200.

    Attributes:
        status: the HTTP status.
        title: the service's title for it, or None.
        code: the service's error code as text, such as `1233`, or None.
        solution: what the service advises, or None.
        more_info: a link that the service gives, or None.
        trace: the service's trace id, for its support, or None.
        correlation_id: the service's id of this answer, or None.
        retry_after: seconds to wait before the next try, where the service says so, or None.
    """

    title: str | None = None
    code: str | None = None
    solution: str | None = None
    more_info: str | None = None
    trace: str | None = None
    correlation_id: str | None = None
    retry_after: float | None = None

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
    """403: the account has no right to this instance or backend."""


class NotFound(ResponseError):
    """404: no such backend, or nothing of this kind for it.

    Also raised, with `attempts` 0, for a name that no instance of the account lists.
    """


class Conflict(ResponseError):
    """409."""


class Locked(ResponseError):
    """423: the account or instance is locked."""


class RateLimited(ResponseError):
    """429: too many requests; `retry_after` says how long to wait."""

    outage = retryable = True


class HeldBack(RateLimited):
    """Nothing was sent: an earlier 429 asked to wait for longer than this call may take."""

    retryable = False


class ServerError(ResponseError):
    """5xx: the service or a gateway in front of it failed."""

    outage = True

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message, status)
        self.retryable = status in _PASSING


class ServiceUnavailable(ServerError):
    """503; `retry_after` says how long to wait, where the service says so."""


class CalibrationLookupError(QRBackendsError, LookupError):
    """The device has no such element."""


class UnknownQubit(CalibrationLookupError):
    """The device has no qubit of this number."""


class UnknownGate(CalibrationLookupError):
    """The device has no such gate, or not on these qubits."""


__all__ = [
    "AccountError",
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
    "UnknownGate",
    "UnknownQubit",
    "WrongEventLoop",
]
