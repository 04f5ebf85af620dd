"""The service's list of versions, which needs no credential."""

from typing import Any, Final

import anyio

from ..accounts.account import Account
from ..cache.entry import Entry
from ..cache.memory import Memory
from ..errors import DecodeError, QRBackendsError
from ..protocol.answers import error_for, is_json, json_object, page_title
from ..protocol.headers import EMULATED, USER_AGENT
from ..protocol.lengths import MOST_BYTES
from ..surface.wire import Call
from ..tasks.flight import Flight, Flights
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, RetryState
from .callers import Source
from .documents import KeptDocument, kept_size
from .replies import Reply, from_entry

_FRESH: Final = 3600.0  # seconds; versions change a few times a year
_HEADERS: Final = {"Accept": "application/json", "User-Agent": USER_AGENT}


class VersionsPage:
    """The list of versions: asked for once an hour, and the old one is used while the service is down.

    Args:
        source: tells where the service is.
        pool: sends the request.
        account: the account whose proxies and TLS settings are used.
    """

    def __init__(self, source: Source, pool: SessionPool, account: Account) -> None:
        self._source = source
        self._pool = pool
        self._account = account
        self._clock = Memory(0).clock
        self._flights: Flights[Entry] = Flights()
        self._entry: Entry | None = None

    async def reply(self, call: Call) -> Reply:
        """Return the reply to a request for it.

        Raises:
            QRBackendsError: the service did not answer, and no earlier answer is kept.
        """
        told, entry = "hit", self._entry
        if entry is None or self._clock() >= entry.fresh_until:
            try:
                until = anyio.current_time() + self._pool.limits.total
                told, entry = "miss", await self._flights.join("versions", self._read, until)
            except QRBackendsError as error:
                if entry is None or not error.outage:
                    raise
                told = "stale"
        condition = call.headers.get("If-None-Match", "")
        limit = MOST_BYTES["versions"]
        return await from_entry(entry, self._clock(), told, call.takes_gzip, condition, limit)

    async def aclose(self) -> None:
        """End the request that is under way."""
        await self._flights.aclose()

    async def _read(self, flight: Flight[Entry]) -> Entry:
        url = f"{await self._source.address()}/versions"
        state = RetryState(RetryPolicy(attempts=1), anyio.current_time(), flight.deadline)
        answer = await self._pool.exchange(
            "GET",
            url,
            _HEADERS,
            region="versions",
            account=self._account,
            call=state,
            most=MOST_BYTES["versions"],
        )
        document = _kept(answer)
        now, size = self._clock(), kept_size(b"", document, answer.wire.data)
        self._entry = Entry(document, now, now + _FRESH, now + _FRESH, size, wire=answer.wire)
        return self._entry


def _kept(answer: Response) -> KeptDocument:
    if answer.status != 200:
        message = f"no versions: HTTP {answer.status} {page_title(answer.body) or ''}".rstrip()
        error: Any = error_for(answer.status, message, answer.headers, own=bool(json_object(answer.body)))
        error.body, error.content_type = answer.body, answer.headers.get("Content-Type", "")
        raise error
    if not is_json(answer.body):
        raise DecodeError("the list of versions is no JSON", malformed=True)
    return KeptDocument(answer.body, EMULATED in answer.headers)
