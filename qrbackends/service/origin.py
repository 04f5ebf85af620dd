"""Requests to the Backends API, sent with an account's credential."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

from ..accounts.scope import Scope
from ..accounts.secret import LEAST_SEARCHED, Secret
from ..errors import (
    CircuitOpen,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    DecodeError,
    Forbidden,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    RateLimited,
    RedirectRefused,
    ResponseError,
    ServiceUnavailable,
    TransportError,
    Unauthorized,
)
from ..models import BackendsResponse
from ..models.defaults import mark_emulated
from ..protocol.answers import check_backend, parse
from ..protocol.headers import DATE, EMULATED, Headers, headers
from ..protocol.lengths import MOST_BYTES
from ..protocol.requests import API_VERSION, NAMED, Request
from ..protocol.validators import NONE, Validators, validators_of
from ..tasks.flight import Flight
from ..transport.body import Wire
from ..transport.pool import Response
from ..transport.retry import RetryPolicy
from .sender import Credentials, Message, Sending, Unconfirmed, credential_of

_OTHER_CAUSES = (  # than a condition; a connection may be lost for any
    CircuitOpen,
    ConnectError,
    ConnectTimeout,
    NotFound,
    RateLimited,
    RedirectRefused,
    ServiceUnavailable,
    Unauthorized,
)
_MOST_INSTANCES = 256  # whose headers are kept
_OLDEST = "2025-01-01"  # with older versions the list is one of bare names
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


Reader: TypeAlias = Callable[[Request, Scope, Response], Any]
"""A function that returns the value of an answer to a request, or raises an error for it."""


def checked_version(api_version: object) -> str:
    """Return the version of the API that a client asks for.

    Raises:
        InvalidRequest: it is not a date, or is before 2025-01-01.
    """
    if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
        raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
    if api_version < _OLDEST:
        raise InvalidRequest(
            f"api_version has to be {_OLDEST} or later, as older lists have nothing but names"
        )
    return api_version


class OriginAnswer(Struct, frozen=True):
    """The service's answer.

    Attributes:
        value: the value, a `request.type`; None if the answer is unchanged.
        body: the body that the value was decoded from; empty if the answer is unchanged.
        date: the `Date` header; empty if there is none.
        wire: the body as it came; if the answer is unchanged, the known one.
        validators: the validators that came with it.
        unchanged: whether the body is the known one.
        not_modified: whether the service said so with a 304, and sent no body.
        asked: the validators that the service was asked about, with this request or one just before it.
    """

    value: Any
    body: bytes
    date: str
    wire: Wire = Wire(b"")
    validators: Validators = NONE
    unchanged: bool = False
    not_modified: bool = False
    asked: Validators = NONE


class Origin:
    """Asks the service with the credential of one account.

    Args:
        sender: sends the account's requests.
        credentials: the source of the `Authorization` header, such as the account's `Tokens`.
        api_version: the `IBM-API-Version` to ask for, a date; empty to send none.
        read: returns the value of an answer, or raises an error for it.

    Attributes:
        read: as given.
    """

    def __init__(
        self,
        sender: Sending,
        credentials: Credentials,
        api_version: str = API_VERSION,
        read: Reader | None = None,
    ) -> None:
        self._sender = sender
        self._credentials = credentials
        self._api_version = api_version
        self.read: Reader = read or decoded
        self._secret: Secret | None = None
        self._headers: dict[str, Headers] = {}  # with this secret, by the instance's CRN

    def ask(
        self,
        request: Request,
        scope: Scope,
        flight: Flight[Any],
        known: Wire | None = None,
        validators: Validators = NONE,
        retry: RetryPolicy | None = None,
    ) -> Awaitable[OriginAnswer]:
        """Return an awaitable of the service's answer to `request`; its deadline is that of the flight.

        Args:
            request: the request.
            scope: the instance to ask, and the credential to use.
            flight: the flight that asks.
            known: the body of an earlier answer; an equal one is neither decompressed nor decoded.
            validators: the validators of that answer; the service is asked whether it is still the same.
            retry: which failed requests are sent again, and when; None as the client says.

        Raises:
            QRBackendsError: when awaited: the last failure of a request that was sent, with its attempts and
                history.
        """
        asked = NONE if known is None else validators
        question = _Question(
            region=scope.region,
            tenant=scope.id,
            url=scope.base_url + request.target,
            most=MOST_BYTES.get(request.resource),
            known=known,
            request=request,
            scope=scope,
            headers_of=self._headers_of,
            read_value=self.read,
            validators=asked,
            asked=asked,
        )
        return self._sender.send(question, self._credentials, flight, retry)

    def _headers_of(self, secret: Secret, crn: str) -> Headers:
        """Return the headers that all requests to an instance have, which are made once for each token."""
        if secret is not self._secret:
            self._secret, self._headers = secret, {}
        known = self._headers.get(crn)
        if known is None:
            if len(self._headers) >= _MOST_INSTANCES:  # a gateway's callers name any
                self._headers.clear()
            known = self._headers[crn] = headers(secret, crn, self._api_version)
        return known


class _Question(Message[OriginAnswer], kw_only=True):
    """A request that may be sent several times, with its conditions, and the reader of its answer."""

    request: Request
    scope: Scope
    headers_of: Callable[[Secret, str], Headers]
    read_value: Reader
    validators: Validators
    asked: Validators
    secret: Secret | None = None
    unanswered: bool = False

    def headers(self, secret: Secret) -> Headers:
        if self.unanswered:  # perhaps due to the condition, as where a 304 has a body
            self.asked = self.validators = NONE
        self.secret, self.unanswered = secret, True
        sent = self.headers_of(secret, self.scope.crn)
        return Headers(sent, **self.validators.conditions()) if any(self.validators) else sent

    def read(self, answer: Response) -> OriginAnswer:
        self.unanswered = False
        date, told = answer.headers.get(DATE, ""), validators_of(answer.headers)
        if told.etag and self._repeats_credential(told.etag):  # stores would keep it
            told = NONE
        known, asked = self.known, self.asked
        if answer.status == 304:
            return self._not_modified(told, date)
        if known is not None and answer.wire is known:
            return OriginAnswer(None, b"", date, known, told, unchanged=True, asked=asked)
        try:
            value = self.read_value(self.request, self.scope, answer)
        except QRBackendsError as error:
            if not any(self.validators) or not may_be_due_to_condition(error):
                raise
            self.unanswered = True  # the next request has no condition
            if error.retryable or not isinstance(error, ResponseError):
                raise
        else:
            return OriginAnswer(value, answer.body, date, answer.wire, told, asked=asked)
        # Raised outside `except`, so that the error's context does not hold the body.
        raise Unconfirmed(TransportError(f"the service refused a condition: HTTP {answer.status}"))

    def _repeats_credential(self, etag: str) -> bool:
        token = "" if self.secret is None else credential_of(self.secret)
        return len(token) >= LEAST_SEARCHED and token in etag

    def _not_modified(self, told: Validators, date: str) -> OriginAnswer:
        """Return that the known answer is still the service's.

        Raises:
            Unconfirmed: the 304 is about another answer; the request is sent again without conditions.
            TransportError: no answer was asked about.
        """
        asked, self.validators = self.validators, NONE
        if self.known is None or not told.confirm(asked):
            error = TransportError("the service answered with a 304 (not modified) that was not asked for")
            raise Unconfirmed(error) if any(asked) else error
        return OriginAnswer(None, b"", date, self.known, told, True, True, asked)


def may_be_due_to_condition(error: QRBackendsError) -> bool:
    """Return whether a request with a condition (`If-None-Match`) may have failed because of it."""
    if isinstance(error, Forbidden):
        return error.outage  # it is a firewall's
    return isinstance(error, ConnectionLost) or not isinstance(error, _OTHER_CAUSES)


def decoded(request: Request, scope: Scope, response: Response) -> Any:
    """Return the value of an answer, a `request.type`, to which what only the client knows is added.

    That is whether an emulator sent it, and a list's entries get their region and their instance.

    Raises:
        QRBackendsError: any error that `protocol.answers.parse` or `check_backend` raises.
    """
    value = parse(request, response.status, response.headers, response.body)
    emulated = EMULATED in response.headers
    if request.resource in NAMED:
        check_backend(request, value)
    elif request.resource == "backends":
        for device in value.devices:  # frozen, but no other code holds them yet
            force_setattr(device, "region", scope.region)
            force_setattr(device, "instance", scope.crn)
            force_setattr(device, "emulated", emulated)
        vars(value)["errors"] = tuple(_odd_entries(value, scope))
    if emulated:
        mark_emulated(value)
    return value


def _odd_entries(listed: BackendsResponse, scope: Scope) -> Iterator[DecodeError]:
    """Yield an error for each entry of a list that could not be read, and one for those that are not told."""
    for one in listed.left_out:
        if not one.path.endswith("]"):  # an optional field is left out; entries are told before those
            return
        problem = f"its entry in the list cannot be read: {one.reason} at {one.at}"
        error = DecodeError(problem, path=one.at)
        yield error.about(region=scope.region, instance=scope.crn, backend=one.name)
    untold = listed.left_out_count - len(listed.left_out)
    if untold:
        problem = f"{untold} more entries in the list, or parts of them, cannot be read"
        yield DecodeError(problem, path="$.devices[...]").about(region=scope.region, instance=scope.crn)
