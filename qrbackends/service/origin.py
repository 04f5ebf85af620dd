"""Requests to the Backends API, sent with an account's credential."""

import re
from collections.abc import Awaitable, Iterator
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import force_setattr

from ..accounts.scope import Scope
from ..errors import DecodeError, InvalidRequest
from ..models import BackendsResponse
from ..protocol.answers import check_backend, parse
from ..protocol.headers import headers
from ..protocol.lengths import MOST_BYTES
from ..protocol.requests import API_VERSION, Request
from ..tasks.flight import Flight
from ..transport.pool import Response
from .sender import Message, Sender
from .tokens import Tokens

_OLDEST = "2025-01-01"  # with older versions the list is one of bare names
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class OriginAnswer(NamedTuple):
    """The service's answer: the value, a `request.type`; the body it was decoded from; its `Date` header."""

    value: Any
    body: bytes
    date: str


class Origin:
    """Asks the service with the credential of one account.

    Args:
        sender: sends the account's requests.
        tokens: the account's bearer tokens.
        api_version: the `IBM-API-Version` to ask for, a date.

    Raises:
        InvalidRequest: `api_version` is not a date, or is before 2025-01-01.
    """

    def __init__(self, sender: Sender, tokens: Tokens, api_version: str = API_VERSION) -> None:
        if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
            raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
        if api_version < _OLDEST:
            raise InvalidRequest(
                f"api_version has to be {_OLDEST} or later, as older lists have nothing but names"
            )
        self._sender = sender
        self._tokens = tokens
        self._api_version = api_version

    def ask(self, request: Request, scope: Scope, flight: Flight[Any]) -> Awaitable[OriginAnswer]:
        """Return an awaitable of the service's answer to `request`; its deadline is that of the flight.

        Raises:
            QRBackendsError: when awaited: the last failure of a request that was sent, with its attempts and
                history.
        """
        message = Message(
            scope.region,
            scope.id,
            scope.base_url + request.target,
            partial(headers, crn=scope.crn, api_version=self._api_version),
            partial(_read, request, scope),
            most=MOST_BYTES.get(request.resource),
        )
        return self._sender.send(message, self._tokens, flight)


def _read(request: Request, scope: Scope, response: Response) -> OriginAnswer:
    value = decoded(request, scope, response)
    return OriginAnswer(value, response.body, response.headers.get("Date", ""))


def decoded(request: Request, scope: Scope, response: Response) -> Any:
    """Return the value of an answer, a `request.type`; a list's entries get their region and instance.

    Raises:
        QRBackendsError: any error that `protocol.answers.parse` or `check_backend` raises.
    """
    value = parse(request, *response)
    check_backend(request, value)
    if isinstance(value, BackendsResponse):
        for device in value.devices:  # frozen, but no other code holds them yet
            force_setattr(device, "region", scope.region)
            force_setattr(device, "instance", scope.crn)
        vars(value)["errors"] = tuple(_odd_entries(value, scope))
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
