"""Bounded fan-out: never more at once than allowed, and never a task left behind."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import aclosing

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.tasks.fanout import answers, as_answered
from qrbackends.tasks.flight import stopped

pytestmark = pytest.mark.anyio


class Asked:
    """Answers numbers with their squares after as many turns of the loop, and counts what is under way."""

    def __init__(self) -> None:
        self.under_way: Counter[int] = Counter()
        self.most: Counter[int] = Counter()
        self.cancelled = 0

    async def __call__(self, question: tuple[int, int]) -> int:
        group, number = question
        self.under_way[group] += 1
        self.most[group] = max(self.most[group], self.under_way[group])
        try:
            for _ in range(number):
                await anyio.lowlevel.checkpoint()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.under_way[group] -= 1
        if number == 13:
            raise LookupError("unlucky")
        return number * number


def others() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


@given(numbers=st.lists(st.integers(0, 12), max_size=30), limit=st.integers(1, 5))
def test_answers_are_in_the_order_of_the_questions(numbers: list[int], limit: int) -> None:
    async def run() -> None:
        asked = Asked()
        found = await answers([(0, number) for number in numbers], asked, limit)
        assert found == [number * number for number in numbers]
        assert asked.most[0] <= limit
        assert asked.most[0] == min(limit, len(numbers)) or 0 in numbers

    asyncio.run(run())


async def test_each_group_has_its_own_limit_and_questions_are_drawn_when_there_is_room() -> None:
    asked, drawn = Asked(), Counter[int]()

    def group(number: int) -> Iterator[tuple[int, int]]:
        for one in range(10):
            drawn[number] += 1
            yield number, one

    taken = 0
    async with aclosing(as_answered([group(0), group(1)], asked, 3)) as answered:
        async for (_, number), answer in answered:
            assert answer == number * number
            assert sum(drawn.values()) <= 6 + taken, "no more is begun than is taken"
            taken += 1
    assert (taken, asked.most) == (20, {0: 3, 1: 3})


async def test_the_first_failure_cancels_the_others_and_waits_for_them() -> None:
    asked = Asked()
    before = others()
    with pytest.raises(LookupError, match="unlucky"):
        await answers([(0, 13), (0, 1000), (0, 2000)], asked, 2)
    assert (asked.cancelled, asked.under_way[0]) == (1, 0)
    assert others() == before


async def test_leaving_early_ends_what_is_under_way() -> None:
    asked = Asked()
    before = others()
    async with aclosing(as_answered([[(0, 1), (0, 1000), (0, 2000)]], asked, 3)) as answered:
        async for _ in answered:
            break
    assert (asked.cancelled, asked.under_way[0]) == (2, 0)
    assert others() == before


async def test_a_cancelled_caller_leaves_nothing_behind() -> None:
    asked = Asked()
    before = others()
    with anyio.move_on_after(0) as scope:
        await answers([(0, 1000), (0, 2000)], asked, 2)
    assert scope.cancelled_caught
    assert asked.under_way[0] == 0
    assert others() == before


class Slow:
    """Answers that need some turns of the loop to be cancelled."""

    def __init__(self) -> None:
        self.ended = 0

    async def __call__(self, _: int) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.ended += 1


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_whoever_is_cancelled_again_and_again_still_leaves_nothing_behind(times: int) -> None:
    slow = Slow()
    asking = asyncio.create_task(answers(range(5), slow, 5))
    await anyio.wait_all_tasks_blocked()
    for _ in range(times):
        asking.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert slow.ended == 5


async def test_a_cancel_scope_waits_for_what_it_cancels() -> None:
    slow = Slow()
    with anyio.move_on_after(0.01) as scope:  # which cancels in each turn of the loop
        await answers(range(5), slow, 5)
    assert scope.cancelled_caught
    assert slow.ended == 5


async def test_no_questions_have_no_answers() -> None:
    assert await answers([], Asked(), 3) == []


async def test_stopping_waits_for_the_end_of_tasks_and_hides_their_errors() -> None:
    ended: list[str] = []

    async def stubborn() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("stubborn")

    async def broken() -> None:
        raise LookupError

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(broken())]
    await anyio.wait_all_tasks_blocked()
    await stopped(tasks)
    assert ended == ["stubborn"]
    assert all(task.done() for task in tasks)
    await stopped([])


async def test_a_task_that_stops_itself_among_others_does_not_wait_for_itself() -> None:
    slow = Slow()
    other = asyncio.create_task(slow(0))
    await anyio.wait_all_tasks_blocked()
    tasks = [other]

    async def closes() -> None:
        await stopped(tasks)

    tasks.append(asyncio.create_task(closes()))
    with anyio.fail_after(30):
        await asyncio.wait(tasks)
    assert tasks[1].cancelled()
    assert slow.ended == 1
