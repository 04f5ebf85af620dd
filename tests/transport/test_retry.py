"""What is tried again, when, and which error is raised in the end."""

from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import (
    BodyTooLarge,
    CircuitOpen,
    ConnectError,
    ConnectionLost,
    DecodeError,
    HeldBack,
    QRBackendsError,
    RateLimited,
    RetryPolicy,
    ServerError,
    Timeout,
    TLSError,
)
from qrbackends.transport.retry import RetryState


def state(draw: float = 1.0, until: float = inf, **policy: Any) -> RetryState:
    return RetryState(RetryPolicy(**policy), 100.0, lambda: until, lambda: draw)


def failed(t: RetryState, error: QRBackendsError, now: float = 100.0) -> float:
    """Send a request that fails, and return the pause after it."""
    t.sent += 1
    return t.pause_after(error, now)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"base": -1},
        {"base": nan},
        {"cap": inf},
        {"base": 10**400},
        {"cap": "1"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


def test_pauses_double_up_to_the_cap() -> None:
    t = state(attempts=7, base=0.25, cap=2.0)
    pauses = [failed(t, ConnectError("x"), 100.0) for _ in range(6)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_lost_connection_costs_no_pause_the_first_time() -> None:
    t = state(attempts=4)
    pauses = [failed(t, ConnectionLost("x"), 100.0) for _ in range(3)]
    assert pauses == [0.0, 0.5, 1.0]
    late = state(attempts=4)
    failed(late, ConnectError("x"), 100.0)
    assert failed(late, ConnectionLost("x"), 100.0) == 0.5


@given(draw=st.floats(0, 1), attempts=st.integers(2, 2000), base=st.floats(0, 1e300), cap=st.floats(0, 1e300))
def test_a_pause_is_a_part_of_what_the_policy_allows(
    draw: float, attempts: int, base: float, cap: float
) -> None:
    t = state(draw, attempts=attempts, base=base, cap=cap)
    for _ in range(min(attempts - 1, 70)):
        assert 0 <= failed(t, ConnectError("x"), 100.0) <= cap


def test_the_last_failure_is_told_with_all_that_happened() -> None:
    t = state(attempts=3)
    failed(t, ConnectError("refused"), 101.0)
    failed(t, ServerError("broken", 500), 102.5)
    with pytest.raises(ServerError, match=r"HTTP 502 \(after 3 attempts\)") as caught:
        failed(t, ServerError("HTTP 502", 502), 104.0)
    assert caught.value.attempts == 3
    assert caught.value.history == (
        (1.0, "ConnectError: refused"),
        (2.5, "ServerError: broken"),
        (4.0, "ServerError: HTTP 502"),
    )


@pytest.mark.parametrize(
    "error",
    [
        BodyTooLarge("x"),
        TLSError("x"),
        DecodeError("x"),
        ServerError("x", 501),
        ServerError("x", 599),
    ],
)
def test_what_stays_as_it_is_is_not_tried_again(error: QRBackendsError) -> None:
    with pytest.raises(type(error)) as caught:
        failed(state(), error, 100.0)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("unsent", [CircuitOpen("open", 9.0), HeldBack("held", 429)])
def test_what_was_not_sent_does_not_hide_the_real_failure(unsent: QRBackendsError) -> None:
    t = state(cap=8.0)
    with pytest.raises(type(unsent)) as caught:
        t.pause_after(unsent, 100.0)
    assert caught.value.attempts == 0
    failed(t, ServerError("broken", 503))
    with pytest.raises(ServerError, match="broken") as real:
        t.pause_after(unsent, 100.0)
    assert real.value.attempts == 1


def test_who_has_begun_waits_for_a_region_that_rests_and_who_has_not_does_not() -> None:
    resting = CircuitOpen("open", 2.0)
    with pytest.raises(CircuitOpen):
        state().pause_after(resting, 100.0)
    t = state(until=110.0, cap=8.0)
    failed(t, ConnectError("x"))
    assert t.pause_after(resting, 100.0) == 2.0
    assert t.sent == 1
    with pytest.raises(ConnectError):
        t.pause_after(resting, 108.5)


def test_a_request_under_way_when_the_time_is_up_is_told() -> None:
    t = state()
    t.sent += 1
    alone = t.failure(Timeout("no answer within 2 s"), 102.0)
    assert (alone.attempts, alone.history) == (1, ((2.0, "Timeout: no answer within 2 s"),))
    t.pause_after(ServerError("broken", 503), 102.5)
    t.sent += 1
    raised = t.failure(Timeout("no answer within 5 s"), 105.0)
    assert isinstance(raised, ServerError)
    assert raised.attempts == 2
    assert raised.history == ((2.5, "ServerError: broken"), (5.0, "Timeout: no answer within 5 s"))
    t.pause_after(ServerError("broken", 503), 106.0)
    assert len(t.failure(Timeout("late"), 107.0).history) == 2, "later failures do not change it"


def test_nothing_is_waited_for_in_vain() -> None:
    with pytest.raises(ConnectError):
        failed(state(base=1.0, until=101.0), ConnectError("x"))
    limited = RateLimited("x", 429)
    limited.retry_after = 30.0
    with pytest.raises(RateLimited):
        failed(state(until=130.0), limited)
    assert failed(state(base=0.0, until=131.0), limited) == 0.0
    limited.retry_after = 86400.0  # of which a minute is waited for at most
    assert failed(state(base=0.0, until=161.0), limited) == 0.0


def test_a_deadline_that_moves_gives_more_time() -> None:
    t = state(base=1.0, until=100.5)
    t.deadline = lambda: 200.0
    assert failed(t, ConnectError("x")) == 1.0
    assert t.deadline() == 200.0
