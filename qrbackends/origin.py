"""One account's way to the service: a request's headers, its answer, and a token that was refused."""

import re
from typing import Any

from .account import Account, Instance, Secret
from .api import API_VERSION, Request, headers, parse
from .auth import Tokens
from .errors import InvalidRequest, QRBackendsError, Unauthorized
from .pool import SessionPool

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Origin:
    """Fetches from the service on behalf of one account.

    Args:
        account: whose rights are used.
        pool: what carries the requests.
        tokens: the account's bearer tokens.
        api_version: the `IBM-API-Version` to ask for, a date.
    """

    def __init__(
        self, account: Account, pool: SessionPool, tokens: Tokens, api_version: str = API_VERSION
    ) -> None:
        if not isinstance(api_version, str) or not _DATE.fullmatch(api_version):
            raise InvalidRequest(f"api_version has to be a date such as {API_VERSION}")
        self._account = account
        self._pool = pool
        self._tokens = tokens
        self._api_version = api_version

    async def fetch(self, request: Request, instance: Instance, deadline: float | None = None) -> Any:
        """Return the service's answer to `request`, a `request.type`.

        Args:
            request: what to ask.
            instance: whom.
            deadline: when to give up, in the event loop's time; left out, the pool's limit from now.

        Raises:
            QRBackendsError: whatever went wrong, with region, instance, backend and attempts filled in.
        """
        attempts = 0
        try:
            with self._pool.call(deadline):
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

    async def _attempt(self, request: Request, instance: Instance, authorization: Secret) -> Any:
        answer = await self._pool.exchange(
            "GET",
            instance.base_url + request.target,
            headers(authorization, instance.crn, self._api_version),
            lane=instance.region,
            account=self._account,
        )
        try:
            return parse(request, *answer)
        except QRBackendsError as error:
            error.redact(authorization.reveal().removeprefix("Bearer "))  # an answer may echo it
            raise
