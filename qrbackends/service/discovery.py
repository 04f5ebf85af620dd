"""Which instances an account can see: Global Search, and their plans in Global Catalog."""

import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import anyio
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..accounts.account import Account, Instance, InstanceSearch
from ..accounts.secret import Secret
from ..errors import AccountError, DecodeError, Forbidden, NotFound, QRBackendsError, ReadTimeout
from ..protocol.answers import error_for, is_json, printable
from ..protocol.headers import USER_AGENT, Headers
from ..tasks.deadlines import Calls
from ..tasks.fanout import answers
from ..tasks.flight import Flight, Flights
from ..transport.pool import Response
from .sender import Message, Sender
from .tokens import Tokens

logger = logging.getLogger("qrbackends.discovery")

_QUERY: Final = "service_name:quantum-computing"
_FIELDS: Final = ("crn", "service_plan_unique_id", "name", "doc", "tags")
_PAGE = 100  # instances; as the official client asks
_MOST_PAGES = 1000  # after which it is no list any more
_FRESH = 3600.0  # seconds for which the instances of an account are believed
_PRICES: Final = ("free", "trial", "paygo", "paid", "subscription")  # in order of preference, as IBM's client
_PAUSE = 60.0  # seconds between two look-ups while something fails
_PATIENCE = 5.0  # seconds for all plans together
_AT_ONCE = 32  # plans that are asked for at a time
_UNKNOWN = "unknown"
_SHOWN = 20  # of the instances that an error names


class ServiceInstance(Struct, frozen=True):
    """An instance as the cloud knows it.

    Attributes:
        instance: its CRN and address.
        name: what its owner calls it.
        plan: such as `open` or `premium`; `unknown` where the catalog does not tell.
        pricing: such as `free` or `paygo`; `unknown` likewise.
        tags: as they were given.
    """

    instance: Instance
    name: str = ""
    plan: str = _UNKNOWN
    pricing: str = _UNKNOWN
    tags: tuple[str, ...] = ()


class _Found(Struct, frozen=True):
    crn: str
    name: str | None = None
    plan: str | None = field(name="service_plan_unique_id", default=None)
    doc: Any = None
    tags: tuple[str, ...] | None = None

    @property
    def usable(self) -> bool:
        """Whether any backends are allocated to it."""
        return isinstance(self.doc, dict) and bool(self.doc.get("extensions"))


class _Page(Struct, frozen=True):
    items: tuple[msgspec.Raw, ...] = ()
    search_cursor: str | None = None


_Flight: TypeAlias = Flight[tuple[ServiceInstance, ...]]

_PAGES = msgspec.json.Decoder(_Page)
_ITEMS = msgspec.json.Decoder(_Found)
_ENTRIES = msgspec.json.Decoder(dict[str, Any])


class Discovery:
    """An account's instances, which are looked up when they are first wanted, and every hour.

    Args:
        account: whose.
        sender: sends the account's requests.
        tokens: the account's bearer tokens.
        calls: the client's calls.
        tenant: whom a 429 is about.
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
        """Return the instances as far as they are known now; none before they were looked up.

        Those that are known are renewed in the background after an hour, and used while they cannot be.
        """
        if self._known and anyio.current_time() >= self._renew_at:
            self._renew_at = anyio.current_time() + _PAUSE
            self._flights.begin("all", self._renew, self._calls.deadline())
        return self._known

    async def instances(self, deadline: float | None = None) -> tuple[ServiceInstance, ...]:
        """Return the instances, in order of preference.

        For an account that names its instances, these, with what the cloud knows of them.

        Args:
            deadline: when to give up, in the event loop's time; left out, after the usual time.

        Raises:
            AccountError: no instance matches.
            QRBackendsError: they could not be looked up.
        """
        self._calls.check()
        until = self._calls.deadline() if deadline is None else deadline
        return self.known() or await self._flights.join("all", self._look_up, until)

    async def aclose(self) -> None:
        """Stop looking."""
        await self._flights.aclose()

    async def _renew(self, flight: _Flight) -> tuple[ServiceInstance, ...]:
        try:
            return await self._look_up(flight)
        except QRBackendsError as error:
            if not (error.outage or isinstance(error, DecodeError)):
                self._known = ()  # a refusal is not hidden: the next call asks, and is told
                raise
            level = logging.DEBUG if self._failing else logging.WARNING  # once per outage
            self._failing = True
            logger.log(level, "the account's instances could not be looked up, the old are used: %s", error)
        return self._known

    async def _look_up(self, flight: _Flight) -> tuple[ServiceInstance, ...]:
        found = [one for one in await self._search(flight) if one.usable]
        plans = sorted({one.plan for one in found if one.plan})
        names, failure = await self._plans(plans, flight)
        built = (_instance(one, self._account.search, names) for one in found)
        known = list({one.instance.crn: one for one in built if one is not None}.values())
        if self._account.instances:
            chosen = _named(self._account.instances, known)
        else:
            if failure is not None and self._account.search.plans:
                raise failure  # whether they match is not known
            chosen = _chosen(self._account.search, known)
        self._known, self._failing = chosen, failure is not None
        self._renew_at = anyio.current_time() + (_FRESH if failure is None else _PAUSE)
        return chosen

    async def _search(self, flight: _Flight) -> list[_Found]:
        found: list[_Found] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            asked: dict[str, Any] = {"query": _QUERY, "fields": _FIELDS}
            if cursor is not None:
                asked["search_cursor"] = cursor
            url = f"{self._account.search_url}/v3/resources/search?limit={_PAGE}"
            page: _Page = await self._ask(flight, "search", url, _PAGES, json.dumps(asked))
            items = [_item(raw) for raw in page.items]
            found += [item for item in items if item is not None]
            if items and not any(items):
                raise DecodeError("Global Search's answer is not as it is documented")
            if not page.search_cursor or page.search_cursor == cursor:
                return found
            cursor = page.search_cursor
        raise DecodeError(f"Global Search has more than {_MOST_PAGES} pages of instances")

    async def _plans(
        self, plans: Sequence[str], flight: _Flight
    ) -> tuple[dict[str, tuple[str, str]], QRBackendsError | None]:
        """Return each plan's name and pricing, and why some are not known now but may be later."""
        names: dict[str, tuple[str, str]] = {}
        failures: list[QRBackendsError] = []

        async def ask(plan: str) -> None:
            try:
                names[plan] = await self._plan(plan, flight)
            except QRBackendsError as error:
                if error.final:
                    raise
                failures.append(error)

        with anyio.move_on_after(_PATIENCE) as scope:  # plans only add to what is known
            await answers(plans, ask, _AT_ONCE)
        if scope.cancelled_caught:
            failures.append(ReadTimeout(f"Global Catalog did not answer within {_PATIENCE:g} s"))
        if failures:
            logger.warning("Global Catalog does not tell of all plans: %s", failures[0])
        return names, failures[0] if failures else None

    async def _plan(self, plan: str, flight: _Flight) -> tuple[str, str]:
        """Return a plan's name and pricing; the catalog answers 403 for those that are archived."""
        url = f"{self._account.catalog_url}/{quote(plan, safe='')}"
        try:
            entry = await self._ask(flight, "catalog", url, _ENTRIES)
        except (Forbidden, NotFound):
            return _UNKNOWN, _UNKNOWN
        name = _text(entry, "overview_ui", "en", "display_name")
        return name, _text(entry, "metadata", "pricing", "type")

    async def _ask(self, flight: _Flight, what: str, url: str, decoder: Any, body: str | None = None) -> Any:
        message: Message[Any] = Message(
            what,
            self._tenant,
            url,
            partial(_headers, posts=body is not None),
            partial(_read, what, decoder),
            None if body is None else lambda _: Secret(body),
        )
        return await self._sender.send(message, self._tokens, flight)


def _headers(authorization: Secret, posts: bool) -> Headers:
    content = {"Content-Type": "application/json"} if posts else {}
    return Headers(
        {
            "Accept": "application/json",
            "Authorization": authorization.reveal(),
            "User-Agent": USER_AGENT,
            **content,
        }
    )


def _read(what: str, decoder: Any, answer: Response) -> Any:
    name = "Global Search" if what == "search" else "Global Catalog"
    if answer.status != 200:
        raise error_for(answer.status, f"{name} answered with HTTP {answer.status}", answer.headers)
    try:
        return decoder.decode(answer.body)
    except (ValueError, RecursionError):
        pass
    # Raised out here, so that no cause or context of it holds the body.
    raise DecodeError(f"{name}'s answer is not as it is documented", malformed=not is_json(answer.body))


def _item(raw: msgspec.Raw) -> _Found | None:
    """Return what Search lists, or None where it is not as it is documented."""
    try:
        return _ITEMS.decode(raw)
    except (ValueError, RecursionError):
        logger.warning("Global Search lists what is not as it is documented; it is left out")
        return None


def _text(value: Any, *path: str) -> str:
    """Return the text at a path of an entry of the catalog, in lower case."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return printable(value).lower() if isinstance(value, str) and value else _UNKNOWN


def _instance(
    found: _Found, search: InstanceSearch, plans: dict[str, tuple[str, str]]
) -> ServiceInstance | None:
    """Return an instance, or None where what is sent cannot be one."""
    try:
        instance = search.instance(found.crn)
    except AccountError as error:
        logger.warning("Global Search lists what is no instance: %s", error)
        return None
    plan, pricing = plans.get(found.plan or "", (_UNKNOWN, _UNKNOWN))
    tags = tuple(map(printable, found.tags or ()))
    return ServiceInstance(instance, printable(found.name or ""), plan, pricing, tags)


def _named(instances: Sequence[Instance], known: Sequence[ServiceInstance]) -> tuple[ServiceInstance, ...]:
    """Return the instances that the account names, with what is known of them."""
    by_crn = {one.instance.crn: one for one in known}
    return tuple(
        replace(by_crn[one.crn], instance=one) if one.crn in by_crn else ServiceInstance(one)
        for one in instances
    )


def _chosen(search: InstanceSearch, known: Sequence[ServiceInstance]) -> tuple[ServiceInstance, ...]:
    """Return those that match, in order of preference, which is the official client's."""
    matching = [one for one in known if _matches(search, one)]
    plans = [plan.lower() for plan in search.plans]
    if plans:
        chosen = sorted((one for one in matching if one.plan in plans), key=lambda one: plans.index(one.plan))
    else:
        chosen = sorted(matching, key=lambda one: _PRICES.index(one.pricing) if one.pricing in _PRICES else 9)
    if chosen:
        return tuple(chosen)
    wanted = {"name": search.name, "regions": search.regions, "plans": search.plans, "tags": search.tags}
    asked = ", ".join(f"{key} {value!r}" for key, value in wanted.items() if value) or "any at all"
    seen = ", ".join(f"{one.name} ({one.instance.region}, {one.plan})" for one in known[:_SHOWN]) or "none"
    raise AccountError(f"the account can see no instance with {asked}; it can see: {seen}")


def _matches(search: InstanceSearch, one: ServiceInstance) -> bool:
    tags = {tag.lower() for tag in one.tags}
    return (
        search.name in (None, one.name)
        and (not search.regions or one.instance.region in search.regions)
        and tags.issuperset(tag.lower() for tag in search.tags)
    )
