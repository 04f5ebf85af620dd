"""Which instances an account can see: Global Search, and their plans in Global Catalog."""

import asyncio
import json
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import anyio
import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from .account import Account, Instance, InstanceSearch, Secret
from .api import USER_AGENT, error_for, is_json, printable
from .auth import Tokens
from .calls import Calls
from .errors import AccountError, DecodeError, QRBackendsError
from .flight import Flights
from .origin import persist
from .pool import Response, SessionPool
from .retry import RetryPolicy, Trail

logger = logging.getLogger("qrbackends.discovery")

_QUERY: Final = "service_name:quantum-computing"
_FIELDS: Final = ("crn", "service_plan_unique_id", "name", "doc", "tags")
_PAGE = 100  # instances; as the official client asks
_MOST_PAGES = 1000  # after which it is no list any more
_FRESH = 3600.0  # seconds for which the instances of an account are believed
_PRICES: Final = ("free", "trial", "paygo", "paid", "subscription")  # in order of preference, as IBM's client
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


class _Doc(Struct, frozen=True):
    extensions: Any = None


class _Found(Struct, frozen=True):
    crn: str
    name: str | None = None
    plan: str | None = field(name="service_plan_unique_id", default=None)
    doc: _Doc | None = None
    tags: tuple[str, ...] | None = None

    @property
    def usable(self) -> bool:
        """Whether any backends are allocated to it."""
        return self.doc is not None and bool(self.doc.extensions)


class _Page(Struct, frozen=True):
    items: tuple[_Found, ...] = ()
    search_cursor: str | None = None


class _Names(Struct, frozen=True):
    display_name: str | None = None


class _Languages(Struct, frozen=True):
    en: _Names = _Names()


class _Pricing(Struct, frozen=True):
    type: str | None = None


class _Metadata(Struct, frozen=True):
    pricing: _Pricing = _Pricing()


class _Entry(Struct, frozen=True):
    overview_ui: _Languages = _Languages()
    metadata: _Metadata = _Metadata()


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
        self._flights: Flights[tuple[ServiceInstance, ...]] = Flights()
        self._known: tuple[ServiceInstance, ...] = ()
        self._known_at = 0.0

    async def instances(self, deadline: float | None = None) -> tuple[ServiceInstance, ...]:
        """Return the instances, in order of preference; old ones where they cannot be looked up now.

        For an account that names its instances, these, with what the cloud knows of them.

        Raises:
            AccountError: no instance matches.
            QRBackendsError: they could not be looked up.
        """
        if self._known and anyio.current_time() < self._known_at + _FRESH:
            return self._known
        until = self._calls.deadline() if deadline is None else deadline
        try:
            with self._calls.call(until):
                return await self._flights.join("all", partial(self._look_up, until))
        except QRBackendsError as error:
            if not self._known:
                raise
            logger.warning("the account's instances could not be looked up, the old ones are used: %s", error)
            return self._known

    async def aclose(self) -> None:
        """Stop looking."""
        await self._flights.aclose()

    async def _look_up(self, until: float) -> tuple[ServiceInstance, ...]:
        found = [one for one in await self._search(until) if one.usable]
        plans = sorted({one.plan for one in found if one.plan})
        entries = await asyncio.gather(*(self._plan(plan, until) for plan in plans))
        names = dict(zip(plans, entries, strict=True))
        built = (_instance(one, self._account.search, names) for one in found)
        known = list({one.instance.crn: one for one in built if one is not None}.values())
        if self._account.instances:
            chosen = _named(self._account.instances, known)
        else:
            chosen = _chosen(self._account.search, known)
        self._known, self._known_at = chosen, anyio.current_time()
        return chosen

    async def _search(self, until: float) -> list[_Found]:
        found: list[_Found] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            asked: dict[str, Any] = {"query": _QUERY, "fields": _FIELDS}
            if cursor is not None:
                asked["search_cursor"] = cursor
            url = f"{self._account.search_url}/v3/resources/search?limit={_PAGE}"
            page = await self._ask("search", url, until, _Page, json.dumps(asked))
            found += page.items
            if not page.search_cursor or page.search_cursor == cursor:
                return found
            cursor = page.search_cursor
        raise DecodeError(f"Global Search has more than {_MOST_PAGES} pages of instances")

    async def _plan(self, plan: str, until: float) -> tuple[str, str]:
        """Return a plan's name and pricing; the catalog answers 403 for those that are archived."""
        url = f"{self._account.catalog_url}/{quote(plan, safe='')}"
        try:
            entry = await self._ask("catalog", url, until, _Entry)
        except QRBackendsError as error:
            logger.debug("the catalog does not tell of a plan: %s", error)
            return _UNKNOWN, _UNKNOWN
        name, pricing = entry.overview_ui.en.display_name, entry.metadata.pricing.type
        return (name or _UNKNOWN).lower(), (pricing or _UNKNOWN).lower()

    async def _ask(self, what: str, url: str, until: float, type_: type[Any], body: str | None = None) -> Any:
        trail = Trail(self._retry, anyio.current_time(), until)
        decoder = msgspec.json.Decoder(type_)

        async def attempt(authorization: Secret) -> Any:
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
                deadline=trail.deadline,
                sending=trail.sending,
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
    return ServiceInstance(instance, printable(found.name or ""), plan, pricing, found.tags or ())


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
