"""How fast is asked after a 429."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.emulator.faults import Bucket
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


def waits(throttle: Throttle, now: float) -> float:
    """Return the seconds between two requests at a time."""
    throttle.ready_at(now)
    while throttle.ready_at(now) == now:
        throttle.take()
    first = throttle.ready_at(now)
    return first - now


def test_the_rate_is_cut_once_for_all_that_were_sent_before() -> None:
    throttle = Throttle(0.0, 100.0)
    throttle.refused(0.0, 0.0, None)
    one, many = Throttle(0.0, 100.0), Throttle(0.0, 100.0)
    for each, stragglers in ((one, 0), (many, 20)):
        each.refused(0.0, 0.0, None)
        for number in range(50):
            each.answered(1.0 + number / 50)
        for _ in range(1 + stragglers):
            each.refused(2.0, 1.9, None)
    assert waits(one, 3.0) == waits(many, 3.0) > waits(throttle, 3.0)


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
