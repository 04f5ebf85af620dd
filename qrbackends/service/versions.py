"""The versions of the API that the service supports, and a warning before the one in use is gone."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import Context
from datetime import UTC, date, datetime, timedelta
from typing import Final

import anyio
import msgspec
from msgspec import Struct

from ..accounts.account import Account, AnInstance, Instance
from ..errors import DecodeError, QRBackendsError
from ..models.lenient import decode_leniently
from ..protocol.answers import error_for, is_json, json_object, page_title
from ..protocol.lengths import MOST_BYTES
from ..tasks.deadlines import Calls
from ..tasks.flight import stopped
from ..transport.failures import located
from ..transport.pool import Response, SessionPool
from ..transport.retry import RetryPolicy, RetryState

logger = logging.getLogger("qrbackends.versions")

_REGION: Final = "versions"  # with limits of its own: its trouble closes no region to other requests
_EVERY: Final = 86400.0  # seconds between two looks
_NEAR: Final = timedelta(days=90)  # before its sunset a version is warned about
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)  # also keeps other texts out of the log


class ApiVersion(Struct, frozen=True, omit_defaults=True):
    """A version of the API.

    Attributes:
        version: the date that is its name, as `IBM-API-Version` takes it.
        status: such as `live` or `deprecated`; None if the service does not say it.
        sunset_date: the day from which it may not be supported any more; None if that is not known.
    """

    version: str
    status: str | None = None
    sunset_date: date | None = None


class _Page(Struct, frozen=True):
    versions: tuple[msgspec.Raw, ...]


_PAGES = msgspec.json.Decoder(_Page)
_VERSIONS = msgspec.json.Decoder(ApiVersion)


class Versions:
    """Reads the versions of the API, and logs once if the one in use is deprecated or near its sunset.

    Args:
        account: the account whose proxies and TLS settings are used; its credential is not sent.
        pool: the pool that sends the requests.
        calls: the client's calls.
        instance: returns one of the account's instances, for None the first one; its service is asked.
        api_version: the version that requests ask for.
        sleep: waits for a number of seconds.
        now: returns the current time.
    """

    def __init__(
        self,
        account: Account,
        pool: SessionPool,
        calls: Calls,
        instance: Callable[[AnInstance, float | None], Awaitable[Instance]],
        api_version: str,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._account = account
        self._pool = pool
        self._calls = calls
        self._instance = instance
        self._api_version = api_version
        self._sleep = sleep
        self._now = now
        self._told: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    async def read(
        self, instance: AnInstance = None, deadline: float | None = None
    ) -> tuple[ApiVersion, ...]:
        """Return the service's versions, in its order; the request is sent once.

        Args:
            instance: the instance whose service is asked; None for the first in the account's order.
            deadline: the caller's deadline, in the event loop's time; None for the default.

        Raises:
            QRBackendsError: the instances cannot be looked up, or the service gave no answer of this kind.
        """
        until = self._calls.deadline() if deadline is None else deadline
        with self._calls.call(until):
            asked = await self._instance(instance, until)
        try:
            with self._calls.call(until):
                state = RetryState(RetryPolicy(attempts=1), anyio.current_time(), lambda: until)
                answer = await self._pool.exchange(
                    "GET",
                    f"{asked.base_url}/versions",
                    {},  # it needs no credential
                    region=_REGION,
                    account=self._account,
                    call=state,
                    most=MOST_BYTES["versions"],
                )
                return _read(answer)
        except QRBackendsError as error:
            located(error, asked.region, asked.base_url).about(region=asked.region)
            raise

    def begin(self) -> None:
        """Read the versions now and once a day, in the background; failures are logged for debugging only."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep_looking(), context=Context())

    async def aclose(self) -> None:
        """End the task in the background."""
        if self._task is not None:
            await stopped([self._task])

    async def _keep_looking(self) -> None:
        while True:
            try:
                self._judge(await self.read())
            except Exception as error:  # whatever it is, nothing else may fail for it
                logger.debug("the versions of the API could not be read: %s", type(error).__name__)
            if self._calls.closed:  # the cancellation may have become the error
                return
            await self._sleep(_EVERY)

    def _judge(self, versions: Iterable[ApiVersion]) -> None:
        used = in_use(versions, self._api_version)
        if used is None or used.version in self._told or not ends_soon(used, self._now().date()):
            return
        self._told.add(used.version)
        logger.warning(
            "version %s of the API is %s%s; a newer version of this package may ask for a newer one",
            used.version,
            "deprecated" if used.status == "deprecated" else "near its end",
            f", and may be gone from {used.sunset_date} on" if used.sunset_date else "",
        )


def in_use(versions: Iterable[ApiVersion], asked: str) -> ApiVersion | None:
    """Return the version that the service uses for a date: the newest one that is not later."""
    earlier = [one for one in versions if _DATE.fullmatch(one.version) and one.version <= asked]
    return max(earlier, key=lambda one: one.version, default=None)


def ends_soon(version: ApiVersion, today: date) -> bool:
    """Return whether a version is deprecated, or its sunset is less than 90 days away."""
    sunset = version.sunset_date
    return version.status == "deprecated" or (sunset is not None and sunset - today < _NEAR)


def _read(answer: Response) -> tuple[ApiVersion, ...]:
    if answer.status != 200:
        title = page_title(answer.body)
        message = f"no versions: HTTP {answer.status}{f': {title}' if title else ''}"
        raise error_for(answer.status, message, answer.headers, own=bool(json_object(answer.body)))
    try:
        listed = _PAGES.decode(answer.body).versions
    except (ValueError, RecursionError):
        pass
    else:
        return tuple(one for one in map(_version, listed) if one is not None)
    # Raised outside `except`, so that the error's context does not hold the body.
    raise DecodeError("the list of versions is not as it is documented", malformed=not is_json(answer.body))


def _version(raw: msgspec.Raw) -> ApiVersion | None:
    """Return an entry of the list without its odd parts, or None if it has no name."""
    with suppress(ValueError, RecursionError):
        return _VERSIONS.decode(raw)
    with suppress(DecodeError, ValueError, RecursionError):
        return decode_leniently(raw, ApiVersion)
    return None
