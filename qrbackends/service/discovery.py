"""Which instances an account can see: Global Search, and their plans in Global Catalog."""

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

import anyio
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from ..accounts.account import Account, Instance, InstanceSearch
from ..accounts.scope import Scopes
from ..accounts.secret import Secret
from ..errors import (
    AccountError,
    ClientClosed,
    DecodeError,
    Forbidden,
    NotFound,
    QRBackendsError,
    ReadTimeout,
    Unauthorized,
    WrongEventLoop,
)
from ..protocol.answers import error_for, is_json, printable
from ..protocol.headers import USER_AGENT
from ..protocol.requests import API_VERSION
from ..tasks.deadlines import Calls
from ..tasks.flight import Flights
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, Trail
from .origin import persist
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


_PAGES = msgspec.json.Decoder(_Page)
_ITEMS = msgspec.json.Decoder(_Found)
_ENTRIES = msgspec.json.Decoder(dict[str, Any])


class Discovery:
    """An account's instances, which are looked up when they are first wanted, and every hour.

    Args:
        account: whose.
        pool: what carries the requests.
        calls: the client's calls.
        tokens: the account's bearer tokens.
        retry: what is tried again.
    """

    def __init__(
        self, account: Account, pool: SessionPool, calls: Calls, tokens: Tokens, retry: RetryPolicy | None
    ) -> None:
        self._account = account
        self._pool = pool
        self._calls = calls
        self._tokens = tokens
        self._retry = retry or RetryPolicy()
        self._tenant = Scopes(account, API_VERSION).credential
        self._flights: Flights[tuple[ServiceInstance, ...]] = Flights()
        self._known: tuple[ServiceInstance, ...] = ()
        self._renew_at = 0.0  # in the event loop's time
        self._until = 0.0  # when whoever waits longest for a look-up gives up
        self._failing = False

    async def instances(self, deadline: float | None = None) -> tuple[ServiceInstance, ...]:
        """Return the instances, in order of preference.

        Those that are known are renewed in the background after an hour, and used while they cannot be.
        For an account that names its instances, these, with what the cloud knows of them.

        Raises:
            AccountError: no instance matches.
            QRBackendsError: they could not be looked up.
        """
        self._calls.check()
        if self._known:
            if anyio.current_time() >= self._renew_at:
                self._wait_until(self._calls.deadline())
                self._flights.begin("all", self._renew)
            return self._known
        until = self._calls.deadline() if deadline is None else deadline
        self._wait_until(until)
        with self._calls.call(until):
            return await self._flights.join("all", self._look_up)

    async def aclose(self) -> None:
        """Stop looking."""
        await self._flights.aclose()

    def _wait_until(self, until: float) -> None:
        """Let a look-up be as patient as whoever waits longest for it."""
        self._until = max(self._until, until) if "all" in self._flights else until

    async def _renew(self) -> tuple[ServiceInstance, ...]:
        """Look up what is known already: an outage changes nothing, but a refusal is not to be hidden."""
        self._renew_at = anyio.current_time() + _PAUSE
        try:
            self._known = await self._look_up()
        except (AccountError, Forbidden, Unauthorized):
            self._known = ()  # the next call is told
            raise
        except (ClientClosed, WrongEventLoop):
            raise
        except QRBackendsError as error:
            level = logging.DEBUG if self._failing else logging.WARNING  # once per outage
            self._failing = True
            logger.log(level, "the account's instances could not be looked up, the old are used: %s", error)
        return self._known

    async def _look_up(self) -> tuple[ServiceInstance, ...]:
        found = [one for one in await self._search() if one.usable]
        plans = sorted({one.plan for one in found if one.plan})
        names, failure = await self._plans(plans)
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

    async def _search(self) -> list[_Found]:
        found: list[_Found] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            asked: dict[str, Any] = {"query": _QUERY, "fields": _FIELDS}
            if cursor is not None:
                asked["search_cursor"] = cursor
            url = f"{self._account.search_url}/v3/resources/search?limit={_PAGE}"
            page: _Page = await self._ask("search", url, _PAGES, json.dumps(asked))
            items = [_item(raw) for raw in page.items]
            found += [item for item in items if item is not None]
            if items and not any(items):
                raise DecodeError("Global Search's answer is not as it is documented")
            if not page.search_cursor or page.search_cursor == cursor:
                return found
            cursor = page.search_cursor
        raise DecodeError(f"Global Search has more than {_MOST_PAGES} pages of instances")

    async def _plans(self, plans: Sequence[str]) -> tuple[dict[str, tuple[str, str]], QRBackendsError | None]:
        """Return each plan's name and pricing, and why some are not known now but may be later."""
        names: dict[str, tuple[str, str]] = {}
        failures: list[QRBackendsError] = []

        async def ask(plan: str) -> None:
            try:
                names[plan] = await self._plan(plan)
            except (AccountError, ClientClosed, WrongEventLoop):
                raise
            except QRBackendsError as error:
                failures.append(error)

        with anyio.move_on_after(_PATIENCE) as scope:  # it only adds to what is known already
            await asyncio.gather(*map(ask, plans))
        if scope.cancelled_caught:
            failures.append(ReadTimeout(f"Global Catalog did not answer within {_PATIENCE:g} s"))
        if failures:
            logger.warning("Global Catalog does not tell of all plans: %s", failures[0])
        return names, failures[0] if failures else None

    async def _plan(self, plan: str) -> tuple[str, str]:
        """Return a plan's name and pricing; the catalog answers 403 for those that are archived."""
        url = f"{self._account.catalog_url}/{quote(plan, safe='')}"
        try:
            entry = await self._ask("catalog", url, _ENTRIES)
        except (Forbidden, NotFound):
            return _UNKNOWN, _UNKNOWN
        name = _text(entry, "overview_ui", "en", "display_name")
        return name, _text(entry, "metadata", "pricing", "type")

    async def _ask(self, what: str, url: str, decoder: Any, body: str | None = None) -> Any:
        trail = Trail(self._retry, anyio.current_time(), self._until)

        async def attempt(authorization: Secret) -> Any:
            trail.until = max(trail.until, self._until)  # others may have joined
            headers = {
                "Accept": "application/json",
                "Authorization": authorization.reveal(),
                "User-Agent": USER_AGENT,
            }
            if body is not None:
                headers["Content-Type"] = "application/json"
            answer = await self._pool.exchange(
                "GET" if body is None else "POST",
                url,
                headers,
                lane=what,
                account=self._account,
                tenant=self._tenant,
                deadline=trail.deadline,
                sending=trail.sending,
                repeated=trail.sent > 0,
                data=None if body is None else Secret(body),
            )
            return _read(what, answer, decoder)

        return await persist(self._tokens, trail, attempt)


def _read(what: str, answer: Response, decoder: Any) -> Any:
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
