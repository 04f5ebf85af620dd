"""How fast requests are sent after a 429."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.surface.faults import Bucket
from qrbackends.transport.throttle import Throttle


def test_a_pause_is_kept_and_then_one_goes_after_the_other() -> None:
    throttle = Throttle(0.0, 32.0)
    throttle.refused(0.0, 0.0, 5.0)
    assert throttle.ready_at(0.0) == throttle.ready_at(4.9) == throttle.held_until == 5.0
    now = 5.0
    for _ in range(5):
        after = throttle.ready_at(now)
        assert after > now, "released gently"
        now = after + 1e-6
        assert throttle.ready_at(now) == now
        throttle.take()


@pytest.mark.parametrize("absurd", [61.0, 86400.0, 1e300])
def test_an_absurd_pause_is_a_minute(absurd: float) -> None:
    throttle = Throttle(0.0, 32.0)
    throttle.hold(0.0, absurd)
    assert throttle.held_until == 60.0


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    throttle = Throttle(0.0, 32.0)
    throttle.hold(0.0, 10.0)
    throttle.hold(1.0, 1.0)
    assert throttle.held_until == 10.0


def rate(throttle: Throttle, now: float) -> float:
    """Return the requests per second that pass at `now`."""
    while throttle.ready_at(now) == now:
        throttle.take()
    first = throttle.ready_at(now) + 1e-9
    assert throttle.ready_at(first) == first
    throttle.take()
    return 1 / (throttle.ready_at(first) - first)


def limited(limit: int, retry_after: float | None = None, late: int = 0) -> Throttle:
    """Return a throttle that got its second 429 at 2 s, after a second with `limit` successful requests."""
    throttle = Throttle(0.0, limit)
    throttle.refused(0.0, 0.0, None)
    for number in range(limit):
        throttle.answered(1.0 + (number + 1) / limit)
    for _ in range(1 + late):
        throttle.refused(2.0, 1.9, retry_after)
    return throttle


def test_the_rate_doubles_every_second_until_the_second_429() -> None:
    throttle = Throttle(0.0, 100.0)
    throttle.refused(0.0, 0.0, None)
    for seconds in range(1, 6):
        assert rate(throttle, float(seconds)) == pytest.approx(100 * 2**seconds, rel=0.01)


@pytest.mark.parametrize("limit", [100, 1000, 10_000])
def test_a_429_cuts_the_rate_to_nine_tenths_of_what_succeeded(limit: int) -> None:
    throttle = limited(limit)
    for number in range(limit):
        throttle.answered(3.0 + (number + 1) / limit)
    throttle.refused(4.0, 3.9, None)
    assert rate(throttle, 4.0) == pytest.approx(0.9 * limit, rel=0.001)


@pytest.mark.parametrize("limit", [100, 1000, 10_000])
def test_a_429_cuts_the_rate_to_no_less_than_nine_tenths_of_its_half(limit: int) -> None:
    assert rate(limited(limit), 2.0) == pytest.approx(0.9 * 4 * limit / 2, rel=0.001)


@pytest.mark.parametrize("limit", [100, 1000, 10_000])
@pytest.mark.parametrize(("retry_after", "slowdown"), [(None, 1), (0.0, 1), (1.0, 3), (4.5, 10)])
def test_the_rate_grows_linearly_and_more_slowly_where_a_429_costs_a_pause(
    limit: int, retry_after: float | None, slowdown: int
) -> None:
    begin = 2.0 + (retry_after or 0.0)
    after_cut = rate(limited(limit, retry_after), begin)
    for seconds in (2.5, 5.0, 7.5, 9.5):
        expected = after_cut * (1 + 0.02 * seconds)
        throttle = limited(limit, retry_after)
        assert rate(throttle, begin + slowdown * seconds) == pytest.approx(expected, rel=0.001)


@pytest.mark.parametrize("limit", [100, 1000])
def test_the_rate_recovers_soon_when_the_limit_is_raised(limit: int) -> None:
    after_cut = rate(limited(limit), 2.0)
    assert rate(limited(limit), 2.0 + 10.0 + 5.0) == pytest.approx(1.2 * after_cut * 2**5, rel=0.01)


def test_the_rate_is_cut_once_for_all_that_were_sent_before() -> None:
    uncut = Throttle(0.0, 100.0)
    uncut.refused(0.0, 0.0, None)
    assert rate(limited(100), 3.0) == rate(limited(100, late=20), 3.0) < rate(uncut, 3.0)


def test_the_rate_never_falls_below_a_request_every_two_seconds() -> None:
    throttle = Throttle(0.0, 32.0)
    for number in range(100):
        throttle.refused(float(number), float(number), None)
        assert throttle.ready_at(float(number)) <= number + 2.0
    assert rate(throttle, 99.0) == pytest.approx(0.5, rel=0.05)


def test_it_is_over_a_minute_after_the_last_refusal() -> None:
    throttle = Throttle(0.0, 32.0)
    throttle.refused(10.0, 9.0, 5.0)
    assert not throttle.is_over(75.0)
    assert throttle.is_over(75.1)


def simulated(
    limit: float, burst: int, retry_after: float | None, latency: float, count: int
) -> tuple[float, int]:
    """Return how long `count` requests take against a limit, 32 at a time, and how many saw a 429."""
    now, throttle, free, bucket = 0.0, Throttle(0.0, 32.0), 32, Bucket(limit, burst)
    waiting, flying, refused = list(range(count)), list[tuple[float, int, bool, float]](), set[int]()
    limited = False
    while waiting or flying:
        while free and waiting and (not limited or throttle.ready_at(now) <= now):
            if limited:
                throttle.take()
            free -= 1
            heapq.heappush(flying, (now + latency, waiting.pop(), bucket.take(now), now))
        events = [flying[0][0]] if flying else []
        if free and waiting:
            events.append(throttle.ready_at(now) + 1e-4)
        now = max(now, min(events))
        while flying and flying[0][0] <= now:
            _, number, passed, sent = heapq.heappop(flying)
            free += 1
            if passed:
                throttle.answered(now)
            else:
                limited = True
                refused.add(number)
                waiting.insert(0, number)
                throttle.refused(now, sent, retry_after)
    return now, len(refused)


@pytest.mark.parametrize("latency", [0.002, 0.1])
@pytest.mark.parametrize(
    ("limit", "burst", "retry_after", "count", "least"),
    [
        (50, 10, 1.0, 2000, 0.85),
        (50, 10, None, 2000, 0.95),
        (50, 100, 1.0, 2000, 0.9),
        (20, 5, 1.0, 1000, 0.7),
    ],
)
def test_it_settles_near_the_limit_without_a_storm(
    latency: float, limit: float, burst: int, retry_after: float | None, count: int, least: float
) -> None:
    seconds, refused = simulated(limit, burst, retry_after, latency, count)
    assert count / seconds >= least * limit
    assert refused < 0.05 * count


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(("limit", "count"), [(1, 300), (10, 1000), (100, 4000), (1000, 40_000)])
def test_it_works_alike_at_any_limit(limit: int, count: int, retry_after: float | None) -> None:
    seconds, refused = simulated(limit, max(1, limit // 5), retry_after, 0.002, count)
    assert count / seconds >= 0.8 * limit
    assert refused < 32 + 0.2 * count, "32 are in flight before the first 429"


@given(
    limit=st.floats(0.5, 1000.0),
    burst=st.integers(1, 100),
    retry_after=st.none() | st.floats(0.0, 5.0),
    latency=st.floats(0.001, 1.0),
)
def test_whatever_the_limit_everything_is_let_through(
    limit: float, burst: int, retry_after: float | None, latency: float
) -> None:
    seconds, _ = simulated(limit, burst, retry_after, latency, 100)
    assert seconds < 600 + 100 / limit * 20
