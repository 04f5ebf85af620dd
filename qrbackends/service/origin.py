"""Questions to the Backends API, asked with an account's rights."""

import re
from collections.abc import Awaitable
from functools import partial
from typing import Any, NamedTuple

from msgspec.structs import force_setattr

from ..accounts.scope import Scope
from ..errors import InvalidRequest
from ..models import BackendsResponse
from ..protocol.answers import parse
from ..protocol.headers import headers
from ..protocol.requests import API_VERSION, Request
from ..tasks.flight import Flight
from ..transport.pool import Response
from .sender import Message, Sender
from .tokens import Tokens

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Answer(NamedTuple):
    """What the service answered: a `request.type`, the body that it was decoded from, and its `Date`."""

    value: Any
    body: bytes
    date: str


class Origin:
    """Asks the service on behalf of one account.

    Args:
        sender: sends the account's requests.
        tokens: the account's bearer tokens.
        api_version: the `IBM-API-Version` to ask for, a date.

    Raises:
        InvalidRequest: `api_version` is no date.
    """

    def __init__(self, sender: Sender, tokens: Tokens, api_version: str = API_VERSION) -> None:
        if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
            raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
        self._sender = sender
        self._tokens = tokens
        self._api_version = api_version

    def ask(self, request: Request, scope: Scope, flight: Flight[Any]) -> Awaitable[Answer]:
        """Return the service's answer to `request`.

        It has no deadline of its own: it is as patient as the flight.

        Raises:
            QRBackendsError: when awaited: the last real failure, with attempts and history filled in.
        """
        message = Message(
            scope.region,
            scope.id,
            scope.base_url + request.target,
            partial(headers, crn=scope.crn, api_version=self._api_version),
            partial(_read, request, scope),
        )
        return self._sender.send(message, self._tokens, flight)


def _read(request: Request, scope: Scope, response: Response) -> Answer:
    value = decoded(request, scope, response)
    return Answer(value, response.body, response.headers.get("Date", ""))


def decoded(request: Request, scope: Scope, response: Response) -> Any:
    """Return the value of an answer, a `request.type`; the entries of a list know where they are listed.

    Raises:
        QRBackendsError: as `protocol.answers.parse` does.
    """
    value = parse(request, *response)
    if isinstance(value, BackendsResponse):
        for device in value.devices:  # nobody else has them yet
            force_setattr(device, "region", scope.region)
            force_setattr(device, "instance", scope.crn)
    return value
