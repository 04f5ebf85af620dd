"""IAM, Global Search and Global Catalog for a gateway's callers."""

from typing import Final

from aiohttp import web
from aiohttp.hdrs import METH_GET, METH_POST

from ..accounts.secret import Secret
from ..errors import AccountError
from ..surface.cloud import SEARCH_PATH, TOKEN_PATH, CloudService
from ..surface.wire import Call, Errors
from .bodies import small_body
from .options import CloudAddresses
from .own import OwnAccount
from .relay import Relay, is_plain, with_query
from .replies import Reply, of_answer

CATALOG: Final = "/catalog/api/v1/"
"""The path of Global Catalog, which on a port of its own would be that of the Backends API."""


def is_of_cloud(path: str) -> bool:
    """Return whether a percent-encoded path is one of IAM, Global Search or Global Catalog."""
    return path in (TOKEN_PATH, SEARCH_PATH) or path.startswith(CATALOG)


class OwnCloud:
    """Answers for a gateway with an account: its own IAM knows its keys, and lists what they may use.

    Args:
        source: the account and the keys.
        errors: makes error answers.
    """

    def __init__(self, source: OwnAccount, errors: Errors) -> None:
        plans = "as the gateway's account sees it"
        self._errors = errors
        self._service = CloudService(source.keyring, source.listed, source.plans, errors, CATALOG, plans)

    async def reply(self, request: web.BaseRequest, call: Call) -> Reply | web.StreamResponse:
        """Return the reply to a call.

        Raises:
            Refused: the call is not accepted.
        """
        body = await small_body(request, self._errors)
        whole = Call(call.method, call.path, call.query, call.headers, call.host, body)
        return of_answer(await self._service.answer(whole), call.takes_gzip)


class ForwardedCloud:
    """Passes on what callers read with credentials of their own, and no changes.

    Args:
        addresses: where the services are.
        errors: makes error answers.
        relay: passes requests on.
    """

    def __init__(self, addresses: CloudAddresses, errors: Errors, relay: Relay) -> None:
        self._addresses = addresses
        self._errors = errors
        self._relay = relay

    async def reply(self, request: web.BaseRequest, call: Call) -> Reply | web.StreamResponse:
        """Return the reply to a call.

        Raises:
            Refused: the call is not accepted.
        """
        if not is_plain(call.path):
            raise self._errors.refuse(404, "There is nothing at this address.")
        if call.path in (TOKEN_PATH, SEARCH_PATH):
            base = self._addresses.iam if call.path == TOKEN_PATH else self._addresses.search
            method, url = METH_POST, f"{base}{call.path}"
        else:
            method, url = METH_GET, f"{self._addresses.catalog}/{call.path.removeprefix(CATALOG)}"
        if call.method != method:
            raise self._errors.refuse(405, f"{call.method} is not allowed here.", headers={"Allow": method})
        sent = call.headers.get("Authorization")
        try:
            authorization = None if sent is None else Secret(sent)
        except AccountError:
            raise self._errors.refuse(400, "The header Authorization is not well-formed.") from None
        body = await small_body(request, self._errors)
        return await self._relay.reply(
            request, with_query(url, call.query), "cloud", authorization, body=body
        )
