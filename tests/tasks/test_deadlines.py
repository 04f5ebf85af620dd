"""A timeout that a busy event loop does not shorten."""

import asyncio
import time

import anyio
import anyio.lowlevel
import pytest

from qrbackends.tasks.deadlines import answer_timeout

pytestmark = pytest.mark.anyio

SECONDS = 0.02


async def late(turns: int, seconds: float) -> None:
    """Make the event loop late again and again, as a process does that gets no CPU."""
    for _ in range(turns):
        time.sleep(seconds)  # noqa: ASYNC251
        await anyio.lowlevel.checkpoint()


async def test_no_answer_is_a_timeout_error() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), answer_timeout(SECONDS):
        await anyio.sleep_forever()
    assert loop.time() - began >= SECONDS


async def test_a_turn_in_which_the_loop_was_late_counts_little() -> None:
    with answer_timeout(SECONDS):
        await late(10, SECONDS)


async def test_a_loop_that_is_always_late_gives_up_all_the_same() -> None:
    with pytest.raises(TimeoutError), answer_timeout(0.001):
        await late(10_000, 0.001)


async def test_no_timer_is_left_and_a_cancellation_from_outside_is_no_timeout() -> None:
    with anyio.move_on_after(SECONDS) as outer, answer_timeout(60):
        await anyio.sleep_forever()
    assert outer.cancelled_caught
    with pytest.raises(KeyError), answer_timeout(60):
        raise KeyError


async def test_what_took_long_because_the_loop_was_late_is_known() -> None:
    with answer_timeout(5 * SECONDS) as on_time:
        await late(5, 4 * SECONDS)
        assert on_time() <= 10 * SECONDS
    with answer_timeout(60) as on_time:
        await anyio.sleep(SECONDS)
        assert SECONDS <= on_time() < 60
