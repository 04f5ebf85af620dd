"""What is tried again, when, and what is told in the end."""

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
    TLSError,
)
from qrbackends.retry import Trail


def trail(draw: float = 1.0, **policy: Any) -> Trail:
    return Trail(RetryPolicy(**policy), 100.0, lambda: draw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"base": -1},
        {"base": nan},
        {"cap": inf},
        {"cap": "1"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetryPolicy(**wrong)


def test_pauses_double_up_to_the_cap() -> None:
    t = trail(attempts=7, base=0.25, cap=2.0)
    pauses = [t.failed(ConnectError("x"), 100.0, inf) for _ in range(6)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]


def test_a_lost_connection_costs_no_pause_the_first_time() -> None:
    t = trail(attempts=4)
    pauses = [t.failed(ConnectionLost("x"), 100.0, inf) for _ in range(3)]
    assert pauses == [0.0, 0.5, 1.0]
    late = trail(attempts=4)
    late.failed(ConnectError("x"), 100.0, inf)
    assert late.failed(ConnectionLost("x"), 100.0, inf) == 0.5


@given(draw=st.floats(0, 1), attempts=st.integers(2, 2000), base=st.floats(0, 1e300), cap=st.floats(0, 1e300))
def test_a_pause_is_a_part_of_what_the_policy_allows(
    draw: float, attempts: int, base: float, cap: float
) -> None:
    t = trail(draw, attempts=attempts, base=base, cap=cap)
    for _ in range(min(attempts - 1, 70)):
        assert 0 <= t.failed(ConnectError("x"), 100.0, inf) <= cap


def test_the_last_failure_is_told_with_all_that_happened() -> None:
    t = trail(attempts=3)
    t.failed(ConnectError("refused"), 101.0, inf)
    t.failed(ServerError("broken", 500), 102.5, inf)
    with pytest.raises(ServerError, match=r"HTTP 502 \(after 3 attempts\)") as caught:
        t.failed(ServerError("HTTP 502", 502), 104.0, inf)
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
        trail().failed(error, 100.0, inf)
    assert caught.value.attempts == 1


@pytest.mark.parametrize("unsent", [CircuitOpen("open", 3.0), HeldBack("held", 429)])
def test_what_was_not_sent_does_not_hide_the_real_failure(unsent: QRBackendsError) -> None:
    t = trail()
    with pytest.raises(type(unsent)) as caught:
        t.failed(unsent, 100.0, inf)
    assert caught.value.attempts == 0
    t.failed(ServerError("broken", 503), 100.0, inf)
    with pytest.raises(ServerError, match="broken") as real:
        t.failed(unsent, 100.0, inf)
    assert real.value.attempts == 1


def test_nothing_is_waited_for_in_vain() -> None:
    with pytest.raises(ConnectError):
        trail(base=1.0).failed(ConnectError("x"), 100.0, 101.0)
    limited = RateLimited("x", 429)
    limited.retry_after = 30.0
    with pytest.raises(RateLimited):
        trail().failed(limited, 100.0, 130.0)
    assert trail(base=0.0).failed(limited, 100.0, 131.0) == 0.0
