"""One account's way to the service: a request's headers, its answer, and a token that was refused."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from .account import Account, Instance, Secret
from .api import API_VERSION, Request, headers, parse
from .auth import Tokens
from .calls import Calls
from .errors import InvalidRequest, QRBackendsError, Unauthorized
from .models import BackendsResponse
from .pool import SessionPool

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Answer(NamedTuple):
    """What the service answered: a `request.type`, and the body that it was decoded from."""

    value: Any
    body: bytes


def read(request: Request, instance: Instance, status: int, headers: Mapping[str, str], body: bytes) -> Any:
    """Return an instance's answer to `request` as `api.parse` does; backends know where they are listed.

    Raises:
        QRBackendsError: as `api.parse` does.
    """
    value = parse(request, status, headers, body)
    if not isinstance(value, BackendsResponse):
        return value
    return BackendsResponse(
        tuple(replace(device, region=instance.region, instance=instance.crn) for device in value.devices)
    )


class Origin:
    """Fetches from the service on behalf of one account.

    Args:
        account: whose rights are used.
        pool: what carries the requests.
        calls: the client's calls.
        tokens: the account's bearer tokens.
        api_version: the `IBM-API-Version` to ask for, a date.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        calls: Calls,
        tokens: Tokens,
        api_version: str = API_VERSION,
    ) -> None:
        if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
            raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
        self._account = account
        self._pool = pool
        self._calls = calls
        self._tokens = tokens
        self._api_version = api_version

    async def fetch(self, request: Request, instance: Instance, deadline: float | None = None) -> Answer:
        """Return the service's answer to `request`.

        Args:
            request: what to ask.
            instance: whom.
            deadline: when to give up, in the event loop's time; left out, the pool's limit from now.

        Raises:
            QRBackendsError: whatever went wrong, with region, instance, backend and attempts filled in.
        """
        attempts = 0
        try:
            with self._calls.call(deadline):
                while True:
                    authorization = await self._tokens.authorization()
                    attempts += 1
                    try:
                        return await self._attempt(request, instance, authorization)
                    except Unauthorized:
                        # Once more with a new token: this one was revoked, or our clock is wrong.
                        if attempts > 1 or not self._tokens.reject(authorization):
                            raise
        except QRBackendsError as error:
            error.about(
                region=instance.region,
                instance=instance.crn,
                backend=request.backend_id,
                attempts=attempts,
            )
            raise

    async def _attempt(self, request: Request, instance: Instance, authorization: Secret) -> Answer:
        answer = await self._pool.exchange(
            "GET",
            instance.base_url + request.target,
            headers(authorization, instance.crn, self._api_version),
            lane=instance.region,
            account=self._account,
        )
        try:
            return Answer(read(request, instance, *answer), answer.body)
        except QRBackendsError as error:
            error.redact(authorization.reveal().removeprefix("Bearer "))  # an answer may echo it
            raise
