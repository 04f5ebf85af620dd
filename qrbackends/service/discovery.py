"""The instances that an account can use, from Global Search, and their plans, from Global Catalog."""

import asyncio
import json
import logging
import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import anyio
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..accounts.account import Account, InstanceSearch
from ..accounts.secret import Secret
from ..errors import AccountError, DecodeError, Forbidden, NotFound, QRBackendsError, ReadTimeout, Timeout
from ..models.lenient import decode_leniently
from ..models.size import check_values
from ..protocol.answers import error_for, is_json, json_object, page_title, printable
from ..protocol.headers import Headers
from ..protocol.lengths import MOST_BYTES
from ..tasks.deadlines import Calls
from ..tasks.fanout import answers
from ..tasks.flight import Flight, Flights
from ..tasks.loops import running_loop
from ..transport.failures import located
from ..transport.pool import Response
from .instances import UNKNOWN, ServiceInstance, matching, named
from .sender import Message, Sender
from .tokens import Tokens

logger = logging.getLogger("qrbackends.discovery")

_QUERY: Final = "service_name:quantum-computing"
_FIELDS: Final = ("crn", "service_plan_unique_id", "name", "doc", "tags")
_PAGE = 100  # instances per page, as in the official client
_MOST_ON_PAGE = 10 * _PAGE  # in case that a service takes no limit
_MOST_PAGES = 1000  # more pages are taken for an error of the service
_MOST_IDLE = 4  # pages in a row without a new instance; more are taken for an error, too
_FRESH = 3600.0  # seconds for which an account's instances are used without a new look-up
_PAUSE = 60.0  # seconds between two look-ups while they fail
_PLANS_TIMEOUT = 5.0  # seconds for the requests for all plans
_AT_ONCE = 32  # plans that are asked for at a time
_MOST_SEARCHED = 64 * 2**20  # bytes of all pages, their cursors included


class _Found(Struct, frozen=True):
    crn: str
    name: str | None = None
    plan: str | None = field(name="service_plan_unique_id", default=None)
    doc: msgspec.Raw = msgspec.Raw()
    tags: tuple[str, ...] | None = None

    @property
    def usable(self) -> bool:
        """Whether backends are allocated to the instance."""
        return not _EMPTY.fullmatch(bytes(_part(self.doc, "extensions")))


class _Page(Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()
    search_cursor: str | None = None


class _Entry(Struct, frozen=True):
    overview_ui: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()


_Flight: TypeAlias = Flight[tuple[ServiceInstance, ...]]

_PAGES = msgspec.json.Decoder(_Page)
_ITEMS = msgspec.json.Decoder(_Found)
_ENTRIES = msgspec.json.Decoder(_Entry)
_PARTS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    name: msgspec.json.Decoder(
        msgspec.defstruct("_Part", [("value", msgspec.Raw, field(name=name, default=msgspec.Raw()))])
    )
    for name in ("extensions", "en", "display_name", "pricing", "type")
}
_EMPTY = re.compile(rb'\s*(null|false|0|""|\[\s*\]|\{\s*\})?\s*')


class Discovery:
    """Looks up an account's instances at their first use, and again every hour.

    Args:
        account: the account.
        sender: sends the account's requests.
        tokens: the account's bearer tokens.
        calls: the client's calls.
        tenant: the key of the rate limit; a 429 slows down requests with the same key.
    """

    def __init__(self, account: Account, sender: Sender, tokens: Tokens, calls: Calls, tenant: str) -> None:
        self._account = account
        self._sender = sender
        self._tokens = tokens
        self._calls = calls
        self._tenant = tenant
        self._flights: Flights[tuple[ServiceInstance, ...]] = Flights()
        self._known: tuple[ServiceInstance, ...] = ()
        self._renew_at = 0.0  # in the event loop's time
        self._failing = False

    def known(self) -> tuple[ServiceInstance, ...]:
        """Return the instances of the last look-up; an empty tuple before the first one.

        After an hour, a new look-up begins in the background; if it fails, the old instances stay in use.
        """
        if self._known and (now := running_loop().time()) >= self._renew_at:
            self._renew_at = now + _PAUSE
            renewal = self._flights.begin("all", self._look_up, self._calls.deadline())
            renewal.add_done_callback(self._renewed)
        return self._known

    async def instances(
        self, deadline: float | None = None, *, refresh: bool = False
    ) -> tuple[ServiceInstance, ...]:
        """Return the instances, in order of preference.

        If the account names its instances, these are returned, with their names, plans and tags.

        Args:
            deadline: the caller's deadline, in the event loop's time; None for the default.
            refresh: whether to look them up although they are known; only look-ups that were also asked for
                with it are joined.

        Raises:
            AccountError: no instance matches the account's search.
            QRBackendsError: the look-up failed.
        """
        self._calls.check()
        until = self._calls.deadline() if deadline is None else deadline
        known = () if refresh else self.known()
        return known or await self._flights.join("refresh" if refresh else "all", self._look_up, until)

    async def aclose(self) -> None:
        """Cancel a look-up that is in flight."""
        await self._flights.aclose()

    def _renewed(self, renewal: asyncio.Task[tuple[ServiceInstance, ...]]) -> None:
        error = Timeout("it took too long") if renewal.cancelled() else renewal.exception()
        if error is None or self._flights.closed:
            return
        if isinstance(error, QRBackendsError) and not (error.outage or isinstance(error, DecodeError)):
            self._known = ()  # so that the next call asks, and raises the refusal
            return
        level = logging.DEBUG if self._failing else logging.WARNING  # once per outage
        self._failing = True
        logger.log(level, "the account's instances could not be looked up, the old are used: %s", error)

    async def _look_up(self, flight: _Flight) -> tuple[ServiceInstance, ...]:
        found = await self._search(flight)
        plans = sorted({one.plan for one in found if one.plan})
        names, failure = await self._plans(plans, flight)
        built = (_instance(one, self._account.search, names) for one in found)
        known = list({one.instance.crn: one for one in built if one is not None}.values())
        if self._account.instances:
            chosen = named(self._account.instances, known)
        else:
            if failure is not None and self._account.search.plans:
                raise failure  # without plans, the search cannot be decided
            chosen = matching(self._account.search, known)
        self._known, self._failing = chosen, failure is not None
        self._renew_at = anyio.current_time() + (_FRESH if failure is None else _PAUSE)
        return chosen

    async def _search(self, flight: _Flight) -> list[_Found]:
        """Return the instances that are usable, without their documents."""
        found: list[_Found] = []
        crns: set[str] = set()
        cursors: set[str | None] = {None, ""}
        cursor: str | None = None
        room = _MOST_SEARCHED
        idle = 0  # pages in a row without a new instance
        for _ in range(_MOST_PAGES):
            asked: dict[str, Any] = {"query": _QUERY, "fields": _FIELDS}
            if cursor is not None:
                asked["search_cursor"] = cursor
            url = f"{self._account.search_url}/v3/resources/search?limit={_PAGE}"
            page: _Page = await self._ask(flight, "search", url, _PAGES, json.dumps(asked))
            if len(page.items) > _MOST_ON_PAGE:
                raise DecodeError(f"Global Search lists more than {_MOST_ON_PAGE} instances at once")
            items = [item for raw in page.items if (item := _item(raw)) is not None]
            found += [replace(item, doc=msgspec.Raw()) for item in items if item.usable]
            if page.items and not items:
                raise DecodeError("Global Search's answer is not as it is documented")
            room -= sum(map(_length, page.items)) + len(page.search_cursor or "")
            if room < 0:
                raise DecodeError(f"Global Search tells more than {_MOST_SEARCHED} bytes of instances")
            known = len(crns)
            crns.update(item.crn for item in items)
            cursor = page.search_cursor
            if cursor in cursors:  # the last page has none; one that was there before leads nowhere
                return found
            cursors.add(cursor)
            idle = 0 if len(crns) > known else idle + 1
            if idle > _MOST_IDLE:
                raise DecodeError("Global Search gives page after page without a new instance")
        raise DecodeError(f"Global Search has more than {_MOST_PAGES} pages of instances")

    async def _plans(
        self, plans: Sequence[str], flight: _Flight
    ) -> tuple[dict[str, tuple[str, str]], QRBackendsError | None]:
        """Return each plan's name and pricing, and the first failure if some could not be fetched."""
        names: dict[str, tuple[str, str]] = {}
        failures: list[QRBackendsError] = []

        async def ask(plan: str) -> None:
            try:
                names[plan] = await self._plan(plan, flight)
            except QRBackendsError as error:
                if error.final:
                    raise
                failures.append(error)

        with anyio.move_on_after(_PLANS_TIMEOUT) as scope:  # instances can be used without their plans
            await answers(plans, ask, _AT_ONCE)
        if scope.cancelled_caught:
            late = ReadTimeout(f"Global Catalog did not answer within {_PLANS_TIMEOUT:g} s")
            failures.append(located(late, "catalog", self._account.catalog_url))
        if failures:
            logger.warning("Global Catalog does not tell of all plans: %s", failures[0])
        return names, failures[0] if failures else None

    async def _plan(self, plan: str, flight: _Flight) -> tuple[str, str]:
        """Return a plan's name and pricing; `unknown` for archived plans, for which the catalog sends 403."""
        url = f"{self._account.catalog_url}/{quote(plan, safe='')}"
        try:
            entry = await self._ask(flight, "catalog", url, _ENTRIES)
        except (Forbidden, NotFound) as error:
            if error.outage:
                raise
            return UNKNOWN, UNKNOWN
        name = _text(entry.overview_ui, "en", "display_name")
        return name, _text(entry.metadata, "pricing", "type")

    async def _ask(self, flight: _Flight, what: str, url: str, decoder: Any, body: str | None = None) -> Any:
        query = _Query(
            region=what, tenant=self._tenant, url=url, most=MOST_BYTES[what], decoder=decoder, posted=body
        )
        return await self._sender.send(query, self._tokens, flight)


class _Query(Message[Any], kw_only=True):
    """A request to Global Search, which has a body, or to Global Catalog."""

    decoder: Any
    posted: str | None

    def headers(self, secret: Secret) -> Headers:
        content = {} if self.posted is None else {"Content-Type": "application/json"}
        return Headers({"Authorization": secret.reveal(), **content})

    def body(self, secret: Secret) -> Secret | None:
        return None if self.posted is None else Secret(self.posted)

    def read(self, answer: Response) -> Any:
        name = "Global Search" if self.region == "search" else "Global Catalog"
        if answer.status != 200:
            title = page_title(answer.body)
            message = f"{name} answered with HTTP {answer.status}{f': {title}' if title else ''}"
            raise error_for(answer.status, message, answer.headers, own=bool(json_object(answer.body)))
        try:
            check_values(answer.body)
            return self.decoder.decode(answer.body)
        except (ValueError, RecursionError):
            pass
        # Raised outside `except`, so that the error's context does not hold the body.
        raise DecodeError(f"{name}'s answer is not as it is documented", malformed=not is_json(answer.body))


def _item(raw: msgspec.Raw) -> _Found | None:
    """Return an item of Global Search's list; None if it has no CRN. Other odd fields are left out."""
    try:
        return _ITEMS.decode(raw)
    except (ValueError, RecursionError):
        pass
    try:
        return decode_leniently(raw, _Found)
    except (ValueError, RecursionError):
        logger.warning("Global Search lists what is not as it is documented; it is left out")
        return None


def _length(raw: msgspec.Raw) -> int:
    return memoryview(raw).nbytes


def _part(value: msgspec.Raw, *path: str) -> msgspec.Raw:
    """Return the JSON at a path of objects, or nothing; only the path is decoded, whatever else is there."""
    try:
        for name in path:
            value = _PARTS[name].decode(value).value
        return value
    except (ValueError, RecursionError):
        return msgspec.Raw()


def _text(value: msgspec.Raw, *path: str) -> str:
    """Return the text at a path in a catalog entry, in lower case; `unknown` if there is none."""
    try:
        text = msgspec.json.decode(_part(value, *path), type=str)
    except (ValueError, RecursionError):
        return UNKNOWN
    return printable(text).lower() or UNKNOWN


def _instance(
    found: _Found, search: InstanceSearch, plans: dict[str, tuple[str, str]]
) -> ServiceInstance | None:
    """Return an instance, or None if its CRN is not that of an instance."""
    try:
        instance = search.instance(found.crn)
    except AccountError as error:
        logger.warning("Global Search lists what is no instance: %s", error)
        return None
    plan, pricing = plans.get(found.plan or "", (UNKNOWN, UNKNOWN))
    tags = tuple(map(printable, found.tags or ()))
    return ServiceInstance(instance, printable(found.name or ""), plan, pricing, tags)
