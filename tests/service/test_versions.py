"""The versions of the API: read once a day at most, told once, and never a reason to fail."""

import asyncio
import json
import logging
from datetime import UTC, date, datetime
from typing import Any

import pytest

from qrbackends import (
    ApiVersion,
    Client,
    DecodeError,
    InvalidRequest,
    Limits,
    NotFound,
    QRBackendsError,
    RetryPolicy,
    ServerError,
)
from qrbackends.emulator import Bomb, Emulator, Garbage, Hold, Status
from qrbackends.service.versions import ends_soon, in_use

from ..internals import set_calendar
from ..waiting import until

pytestmark = pytest.mark.anyio


async def test_the_versions_are_read_without_a_credential(emulator: Emulator, client: Client) -> None:
    versions = await client.versions()
    assert versions[-1] == ApiVersion("2026-04-15", "live")
    assert versions[2] == ApiVersion("2025-05-01", "deprecated", date(2027, 1, 1))
    (asked,) = emulator.requests
    assert (asked.resource, asked.path_qs) == ("versions", "/api/v1/versions")
    assert (asked.auth, asked.crn) == (None, None)


async def test_an_odd_entry_hides_no_other(emulator: Emulator, client: Client) -> None:
    odd: list[Any] = [None, 3, [], {"version": 7}, {"version": "2026-04-15", "status": "live", "note": 1}]
    odd.append({"version": "2025-01-01", "status": 1, "sunset_date": "soon"})
    emulator.fault(Garbage(json.dumps({"versions": odd}).encode()), resource="versions")
    assert await client.versions() == (ApiVersion("2026-04-15", "live"), ApiVersion("2025-01-01"))


@pytest.mark.parametrize(
    "odd", [{"status": 3}, {"status": None}, {"sunset_date": ""}, {"sunset_date": "2030-01-01T00:00:00Z"}]
)
async def test_an_odd_part_of_the_version_in_use_blames_no_older_one(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, odd: dict[str, Any]
) -> None:
    listed = [
        {"version": "2025-05-01", "status": "deprecated"},
        {"version": "2026-04-15", "status": "live"} | odd,
        {"version": "2026-04-14\x1b[31m", "status": "deprecated"},
    ]
    emulator.fault(Garbage(json.dumps({"versions": listed}).encode()), resource="versions")
    days = Days()
    client = await opened(emulator, days, "2026-04-15")
    await until(lambda: bool(days.pauses))
    await client.aclose()
    assert emulator.count("versions") == 1
    assert not [record for record in caplog.records if record.name == "qrbackends.versions"]


FAILURES = [
    (Status(500), ServerError),
    (Status(404), NotFound),
    (Garbage(b"[]"), DecodeError),
    (Garbage(b"<html>"), DecodeError),
    (Bomb(2**22), QRBackendsError),
]


@pytest.mark.parametrize(("action", "error"), FAILURES)
async def test_who_asks_for_them_is_told_what_fails(
    emulator: Emulator, client: Client, action: Any, error: type[Exception]
) -> None:
    emulator.fault(action, resource="versions", times=None)
    with pytest.raises(error):
        await client.versions()
    assert emulator.count("versions") == 1


class Days:
    """Days that pass when a test says so."""

    def __init__(self) -> None:
        self.pauses: list[float] = []
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        await self.over.wait()
        self.over.clear()


async def opened(emulator: Emulator, days: Days, version: str, **options: Any) -> Client:
    """Return a client that looks, in the emulator's year, after days of the test."""
    client = Client(
        emulator.account(),
        api_version=version,
        check_version=True,
        retry=RetryPolicy(attempts=1),
        limits=Limits(failures=10**9),
        **options,
    )
    set_calendar(client, days.sleep, lambda: datetime(2026, 6, 1, tzinfo=UTC))
    return await client.__aenter__()


@pytest.mark.parametrize(
    ("version", "told"),
    [("2026-04-15", None), ("2026-05-01", None), ("2025-05-01", "2025-05-01"), ("2025-07-01", "2025-05-01")],
)
async def test_a_deprecated_version_is_logged_once(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, version: str, told: str | None
) -> None:
    caplog.set_level(logging.WARNING, "qrbackends.versions")
    days = Days()
    client = await opened(emulator, days, version)
    for day in range(3):
        await until(lambda day=day: len(days.pauses) == day + 1)  # type: ignore[misc]
        days.over.set()
    await until(lambda: len(days.pauses) == 4)
    await client.aclose()
    assert days.pauses == [86400.0] * 4
    assert emulator.count("versions") == 4
    said = [record.getMessage() for record in caplog.records if record.name == "qrbackends.versions"]
    assert len(said) == (told is not None)
    assert not said or (told in said[0] and "2027-01-01" in said[0])  # type: ignore[operator]


@pytest.mark.parametrize("action", [failure for failure, _ in FAILURES])
async def test_it_is_never_a_reason_to_fail(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, action: Any
) -> None:
    caplog.set_level(logging.WARNING)
    emulator.fault(action, resource="versions", times=None)
    days = Days()
    client = await opened(emulator, days, "2025-05-01")
    await client.backends()
    await until(lambda: bool(days.pauses))
    await client.aclose()
    assert not [record for record in caplog.records if record.name.startswith("qrbackends")]


async def test_a_pause_that_it_asks_for_holds_up_nothing_else(emulator: Emulator) -> None:
    action = Status(503, {"Retry-After": "3600"})
    emulator.fault(action, resource="versions", times=None)
    days = Days()
    client = await opened(emulator, days, "2026-04-15")
    await until(lambda: bool(days.pauses))
    assert len(await client.backends()) == len(emulator.backends())
    await client.aclose()


async def test_nobody_waits_for_it(emulator: Emulator) -> None:
    emulator.fault(Hold(), resource="versions", times=None)
    client = await opened(emulator, Days(), "2026-04-15")
    await until(lambda: emulator.count("versions") == 1)
    await client.backends()
    await client.aclose()


async def test_it_is_read_only_if_it_is_asked_for(emulator: Emulator, client: Client) -> None:
    await client.backends()
    assert emulator.count("versions") == 0


@pytest.mark.parametrize("version", ["2024-01-01", "2024-12-31", "0001-01-01"])
async def test_versions_whose_list_is_one_of_names_are_refused(emulator: Emulator, version: str) -> None:
    with pytest.raises(InvalidRequest, match="2025-01-01 or later"):
        Client(emulator.account(), api_version=version)
    assert emulator.requests == ()


async def test_the_oldest_version_that_is_supported(emulator: Emulator) -> None:
    async with Client(emulator.account(), api_version="2025-01-01") as client:
        assert len(await client.backends()) == len(emulator.backends())


def test_which_version_is_meant_and_when_it_ends() -> None:
    listed = [ApiVersion("2025-05-01"), ApiVersion("2026-04-15"), ApiVersion("2026-02-01")]
    assert in_use(listed, "2026-04-14") == listed[2]
    assert in_use(listed, "2030-01-01") == listed[1]
    assert in_use(listed, "2025-04-30") is None
    assert in_use([*listed, ApiVersion("2026-03-01\x1b[2J"), ApiVersion("1")], "2026-04-01") == listed[2]
    today = date(2026, 6, 1)
    assert not ends_soon(ApiVersion("a", "live"), today)
    assert not ends_soon(ApiVersion("a", "live", date(2026, 12, 1)), today)
    assert ends_soon(ApiVersion("a", "live", date(2026, 8, 1)), today)
    assert ends_soon(ApiVersion("a", "live", date(2026, 1, 1)), today)
    assert ends_soon(ApiVersion("a", "deprecated"), today)
