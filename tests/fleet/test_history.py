"""Time travel: every calibration once, in order, in as few requests as can be, whatever the service does."""

import asyncio
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import (
    BackendProperties,
    CachePolicy,
    Client,
    DecodeError,
    Fetched,
    FileStore,
    Forbidden,
    Gap,
    History,
    InvalidRequest,
    Limits,
    NotFound,
    Request,
    RetryPolicy,
    ServerError,
    Window,
)
from qrbackends.emulator import Emulator, Status, SyntheticFleet

pytestmark = pytest.mark.anyio

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def calibration(at: datetime) -> BackendProperties:
    return BackendProperties("device", "1", at, (), (), ())


class Service:
    """Answers about calibrations of given dates, exclusively or inclusively, and fails on request."""

    def __init__(self, dates: list[datetime], *, inclusive: bool = False) -> None:
        self.dates = sorted(set(dates))
        self.inclusive = inclusive
        self.asked: list[datetime] = []
        self.broken: set[datetime] = set()
        self.fails: Any = None
        self.documents = {at: calibration(at) for at in self.dates}

    async def __call__(
        self, request: Request, *, instance: Any = None, refresh: bool = False
    ) -> Fetched[BackendProperties]:
        await asyncio.sleep(0)
        before = request.updated_before
        if before is not None:
            self.asked.append(before)
            if before in self.broken or (self.fails is not None and self.fails(before)):
                raise ServerError("no", 500)
        place = len(self.dates) if before is None else self.place(before)
        if place == 0:
            raise NotFound("none", 404)
        return Fetched(self.documents[self.dates[place - 1]], 0.0, "origin")

    def place(self, before: datetime) -> int:
        return bisect_right(self.dates, before) if self.inclusive else bisect_left(self.dates, before)


def history(service: Service, since: datetime, until: datetime, every: timedelta | None = None) -> History:
    return History(service, "device", since, until, every)


async def dates_of(found: History) -> list[datetime]:
    return [one.last_update_date async for one in found if not isinstance(one, Gap)]


SECONDS = st.integers(0, 40 * 86400)


@given(
    st.sets(SECONDS, max_size=60), SECONDS, SECONDS, st.booleans(), st.integers(2, 5000).map(lambda n: 2 * n)
)
def test_every_calibration_is_told_once_in_order(
    seconds: set[int], one: int, other: int, inclusive: bool, apart: int
) -> None:
    # Apart by two seconds at least: a service that is inclusive hides what is nearer.
    dates = sorted({BEGIN + timedelta(seconds=second - second % 2) for second in seconds})
    since, until = (BEGIN + timedelta(seconds=second) for second in sorted((one, other + 1 + (one == other))))
    if since == until:
        return
    service = Service(dates, inclusive=inclusive)
    if not dates:
        with pytest.raises(NotFound):
            asyncio.run(dates_of(history(service, since, until)))
        return
    found = asyncio.run(dates_of(history(service, since, until)))
    assert found == [at for at in dates if since <= at < until]
    assert len(set(service.asked)) == len(service.asked) or inclusive, "no instant is asked for twice"


@given(st.sets(SECONDS, min_size=1, max_size=60), st.integers(1, 72), st.booleans())
def test_the_newest_before_each_instant_is_told_once(seconds: set[int], hours: int, inclusive: bool) -> None:
    dates = sorted({BEGIN + timedelta(seconds=second - second % 2 + 1) for second in seconds})
    every, until = hours * HOUR, BEGIN + timedelta(days=40)
    service = Service(dates, inclusive=inclusive)
    found = asyncio.run(dates_of(history(service, BEGIN, until, every)))
    expected = set()
    at = BEGIN
    while at < until:
        at = min(at + every, until)
        before = bisect_left(dates, at)
        if before and dates[before - 1] >= BEGIN:
            expected.add(dates[before - 1])
    assert found == sorted(expected)


async def test_there_are_as_many_requests_as_calibrations_and_windows() -> None:
    dates = [BEGIN + number * HOUR for number in range(24 * 90)]
    service = Service(dates)
    windows = [one async for one in history(service, BEGIN, BEGIN + timedelta(days=90)).windows()]
    assert [one.last_update_date for window in windows for one in window.calibrations] == dates
    assert len(service.asked) <= len(dates) + len(windows)
    for one, following in pairwise(windows):
        assert one.until == following.since
    assert (windows[0].since, windows[-1].until) == (BEGIN, dates[-1] + timedelta(seconds=1))


async def test_an_inclusive_service_costs_few_requests_more() -> None:
    dates = [BEGIN + number * HOUR for number in range(24 * 30)]
    service = Service(dates, inclusive=True)
    windows = [one async for one in history(service, BEGIN, BEGIN + timedelta(days=30)).windows()]
    assert [one.last_update_date for window in windows for one in window.calibrations] == dates
    assert len(service.asked) <= len(dates) + 3 * len(windows)


async def test_instants_between_a_calibration_and_its_question_are_not_asked_for() -> None:
    dates = [BEGIN + timedelta(days=10, seconds=1), BEGIN + timedelta(days=20, seconds=1)]
    service = Service(dates)
    found = await dates_of(history(service, BEGIN, BEGIN + timedelta(days=30), timedelta(hours=1)))
    assert found == dates
    assert len(service.asked) <= 2 * 20 + 4  # and not 720


async def test_what_fails_for_good_is_a_gap_and_hides_nothing_else() -> None:
    dates = [BEGIN + number * HOUR for number in range(24 * 4)]
    service = Service(dates)
    broken = BEGIN + 30 * HOUR
    service.fails = lambda asked: asked == broken
    gaps, found = [], []
    async for one in history(service, BEGIN, dates[-1] + HOUR):
        if isinstance(one, Gap):
            assert not one
            assert isinstance(one.error, ServerError)
            gaps.append(one)
        else:
            assert one
            found.append(one.last_update_date)
    (gap,) = gaps
    assert gap.until == broken
    assert found == [at for at in dates if not gap.since <= at < gap.until]
    assert service.asked.count(broken) == 3


async def test_what_fails_for_a_moment_is_asked_again() -> None:
    dates = [BEGIN + number * HOUR for number in range(48)]
    service, random = Service(dates), Random(1)
    failed: set[datetime] = set()

    def once(asked: datetime) -> bool:
        if asked in failed or random.random() < 0.5:
            return False
        failed.add(asked)
        return True

    service.fails = once
    assert await dates_of(history(service, BEGIN, BEGIN + 48 * HOUR)) == dates


async def test_a_service_that_ignores_the_instant_is_no_trap() -> None:
    service = Service([BEGIN + timedelta(days=50)])
    service.inclusive = True
    service.place = lambda before: 1  # type: ignore[method-assign]
    found = [one async for one in history(service, BEGIN, BEGIN + timedelta(days=40))]
    assert found
    assert all(isinstance(one, Gap) for one in found)
    assert len(service.asked) < 200


class Creeping(Service):
    """Answers any instant with one that is only just before it, or with that instant itself."""

    def __init__(self, newest: datetime, step: timedelta) -> None:
        super().__init__([newest])
        self.newest = newest
        self.step = step

    async def __call__(self, request: Request, **how: Any) -> Fetched[BackendProperties]:
        before = request.updated_before
        if before is None:
            return Fetched(calibration(self.newest), 0.0, "origin")
        self.asked.append(before)
        return Fetched(calibration(min(self.newest, before - self.step)), 0.0, "origin")


STEPS = [timedelta(0), timedelta(microseconds=1), timedelta(seconds=1), timedelta(seconds=20)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("every", [None, HOUR])
async def test_a_service_that_creeps_back_ends_in_gaps_that_say_so(
    step: timedelta, every: timedelta | None
) -> None:
    until = BEGIN + timedelta(days=365)
    service = Creeping(until, step)
    windows = [one async for one in history(service, BEGIN, until, every).windows()]
    assert (windows[0].since, windows[-1].until) == (BEGIN, until)
    for window in windows:
        dates = [one.last_update_date for one in window.calibrations]
        assert dates == sorted(dates)
        if every is None:
            assert window.gap is not None
            assert isinstance(window.gap.error, DecodeError)
            assert "only just before the instant asked for" in str(window.gap.error)
            assert window.gap.until <= dates[0]
            assert len(dates) < 160
    if every is None:
        assert len(service.asked) < 5000, "in proportion to what comes of it"
    else:
        assert not any(window.gap for window in windows)
        assert len(service.asked) <= 2 * 365 * 24


async def test_many_calibrations_in_a_short_time_are_all_told() -> None:
    dates = [BEGIN + number * timedelta(minutes=1) for number in range(24 * 60)]
    bursts = [BEGIN + timedelta(days=1, seconds=number) for number in range(90)]
    service = Service([*dates, *bursts])
    assert await dates_of(history(service, BEGIN, BEGIN + timedelta(days=2))) == [*dates, *bursts]


@pytest.mark.parametrize("inclusive", [False, True])
async def test_dates_at_the_end_of_time_are_dates(inclusive: bool) -> None:
    first, last = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    service = Service([first, BEGIN, last], inclusive=inclusive)
    assert await dates_of(history(service, last - HOUR, last, timedelta.max)) == []  # `until` is exclusive
    assert await dates_of(history(service, BEGIN, last, timedelta.max)) == [BEGIN]
    near = Service([BEGIN, last], inclusive=inclusive)
    assert await dates_of(history(near, BEGIN, BEGIN + HOUR)) == [BEGIN]
    early = Service([first, BEGIN], inclusive=inclusive)
    assert await dates_of(history(early, first, first + HOUR)) == [first]


async def test_who_stops_early_stops_the_asking() -> None:
    dates = [BEGIN + number * HOUR for number in range(24 * 365)]
    service = Service(dates)
    async for one in history(service, BEGIN, BEGIN + timedelta(days=365)):
        assert isinstance(one, BackendProperties)
        break
    asked = len(service.asked)
    assert asked < 200
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(service.asked) == asked


async def test_a_refusal_ends_it() -> None:
    class Refusing(Service):
        async def __call__(self, request: Request, **how: Any) -> Fetched[BackendProperties]:
            raise Forbidden("no", 403)

    with pytest.raises(Forbidden):
        await dates_of(history(Refusing([BEGIN]), BEGIN, BEGIN + HOUR))


@pytest.mark.parametrize(
    ("since", "until", "every"),
    [
        (BEGIN.replace(tzinfo=None), BEGIN + HOUR, None),
        (BEGIN, (BEGIN + HOUR).replace(tzinfo=None), None),
        (BEGIN, BEGIN, None),
        (BEGIN + HOUR, BEGIN, None),
        (BEGIN, BEGIN + HOUR, timedelta(seconds=1)),
        (BEGIN, BEGIN + HOUR, -HOUR),
        (BEGIN, BEGIN + HOUR, 3600),
        ("2026-01-01", BEGIN, None),
    ],
)
def test_nonsense_is_refused(since: Any, until: Any, every: Any) -> None:
    with pytest.raises(InvalidRequest):
        history(Service([]), since, until, every)


# --- over sockets


def year(days: float, sizes: int = 5) -> tuple[Emulator, datetime, datetime]:
    """Return an emulator of one device that is calibrated hourly, and the range of so many days."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    fleet = SyntheticFleet({"device": sizes})
    emulator = Emulator(fleet, regions=("us-east",), clock=now.timestamp, token_lifetime=10**9)
    return emulator, now - timedelta(days=days), now


async def listed_with_faults(days: int) -> None:
    emulator, since, until = year(days)
    random = Random(7)
    async with (
        emulator,
        Client(
            emulator.account(), retry=RetryPolicy(base=0.0, cap=0.0), limits=Limits(failures=10**9)
        ) as client,
    ):
        await client.backends()
        struck = 0
        found: list[datetime] = []
        windows = 0
        async for window in client.history("device", since, until).windows():
            windows += 1
            assert window.gap is None
            found.extend(one.last_update_date for one in window.calibrations)
            for _ in range(2 * 12):  # 5 % of what is asked until the next window
                if random.random() < 0.05:
                    emulator.fault(Status(random.choice([500, 503])), resource="properties")
                    struck += 1
        assert client.stats().entries <= 3, "nothing of it is kept in memory"
        asked = [one for one in emulator.requests if one.resource == "properties"]
        answered = sum(one.status == 200 for one in asked)
    assert found == sorted(set(found)), "none twice, and in order"
    assert len(found) == 24 * days, "none missing"
    assert {later - one for one, later in pairwise(found)} == {HOUR}
    assert answered <= 1.05 * (len(found) + windows)
    assert struck > 0


async def test_a_fortnight_of_hourly_calibrations_is_listed_exactly() -> None:
    await listed_with_faults(14)


@pytest.mark.long
@pytest.mark.timeout(1200)
async def test_a_year_of_hourly_calibrations_is_listed_exactly() -> None:
    await listed_with_faults(365)


async def test_what_is_well_in_the_past_is_kept_in_the_store_and_not_asked_for_again(tmp_path: Path) -> None:
    emulator, since, until = year(3)
    async with emulator, FileStore(tmp_path / "answers.sqlite") as store:
        for again in (False, True):
            async with Client(emulator.account(), store=store) as client:
                emulator.reset_log()
                found = await dates_of(client.history("device", since, until))
                assert len(found) == 72
                asked = emulator.count("properties")
                assert asked <= 5 if again else asked > 72
                assert client.stats().properties.hits == 0


async def test_only_what_the_services_own_clock_says_is_past_is_settled(tmp_path: Path) -> None:
    """An instant that is long ago by our clock, and an hour ahead by the service's, may still change."""
    now = datetime.now(UTC) - timedelta(days=30)  # of the service
    fleet = SyntheticFleet({"device": 5})
    body = fleet.build(fleet.find("properties", "device", None, None, now.timestamp()))
    emulator = Emulator(fleet, regions=("us-east",))
    async with emulator, FileStore(tmp_path / "answers.sqlite") as store:
        async with Client(emulator.account(), store=store) as client:
            emulator.fault(
                Status(200, {"Date": format_datetime(now, usegmt=True)}, body),
                resource="properties",
                times=None,
            )
            await client.properties("device", updated_before=now + HOUR)
            await client.properties("device", updated_before=now - 2 * HOUR)
        emulator.reset_log()
        async with Client(emulator.account(), store=store) as client:
            await client.properties("device", updated_before=now - 2 * HOUR)
            assert emulator.count("properties") == 0
            await client.properties("device", updated_before=now + HOUR)
            assert emulator.count("properties") == 1


async def test_days_of_the_past_are_one_statement_and_survive_failures() -> None:
    emulator, since, until = year(30)
    async with emulator, Client(emulator.account(), retry=RetryPolicy(base=0.0, cap=0.0)) as client:
        await client.backends()
        emulator.fault(Status(500), resource="properties", times=3)
        day = timedelta(days=1)
        found = [one async for one in client.history("device", since, until, every=day) if one]
    assert len(found) == 30
    assert [one.last_update_date.date() for one in found if isinstance(one, BackendProperties)] == [
        (since + number * day).date() for number in range(30)
    ]


async def test_a_backend_that_is_not_there_is_told(emulator: Emulator, client: Client) -> None:
    with pytest.raises(NotFound):
        await dates_of(client.history("nowhere", BEGIN))


async def test_before_the_first_calibration_there_is_nothing(emulator: Emulator, client: Client) -> None:
    since, until = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    windows = [one async for one in client.history(emulator.backends()[0], since, until).windows()]
    assert all(isinstance(one, Window) and not one.calibrations for one in windows)
    assert windows[-1].until == until
    assert len(windows) < 30, "they grow where there is nothing"


async def test_a_variant_has_a_history_of_its_own() -> None:
    emulator, _, until = year(1)
    async with emulator, Client(emulator.account(), cache=CachePolicy()) as client:
        plain = [one async for one in client.history("device", until - 5 * HOUR, until)]
        variant = client.history("device", until - 5 * HOUR, until, calibration_id="extra_gates")
        other = [one async for one in variant]
    assert len(plain) == len(other) == 5
    assert plain != other
