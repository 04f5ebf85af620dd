"""Bounded fan-out: asking many things at once, and never leaving a task behind."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from itertools import islice
from typing import Any, TypeVar

from .flight import stopped

Q = TypeVar("Q")
T = TypeVar("T")


async def as_answered(
    groups: Iterable[Iterable[Q]], ask: Callable[[Q], Coroutine[Any, Any, T]], limit: int
) -> AsyncGenerator[tuple[Q, T], None]:
    """Yield each question with its answer, in the order in which the answers come.

    Of each group at most `limit` questions are under way or wait to be taken, so that memory stays the same
    however many there are, and no group waits for another.

    Args:
        groups: the questions, such as one group for each region.
        ask: answers one question. What it raises is raised here.
        limit: of each group.

    Raises:
        BaseException: the first failure, once all other questions are cancelled and have ended.
    """
    # Plain tasks, which the `finally` ends: nothing of anyio may be held open across a yield.
    under_way: dict[asyncio.Task[T], tuple[Q, Iterable[Q]]] = {}
    ended: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()

    def begin(group: Iterable[Q], count: int) -> None:
        for question in islice(group, count):
            task = asyncio.get_running_loop().create_task(ask(question))
            under_way[task] = question, group
            task.add_done_callback(ended.put_nowait)

    try:
        for group in groups:
            begin(iter(group), limit)
        while under_way:
            task = await ended.get()
            question, group = under_way.pop(task)
            yield question, task.result()
            begin(group, 1)
    finally:
        await stopped(under_way)


async def answers(questions: Iterable[Q], ask: Callable[[Q], Coroutine[Any, Any, T]], limit: int) -> list[T]:
    """Return the answer to each question, in the order of the questions, asking at most `limit` at a time.

    Raises:
        BaseException: the first failure, once all other questions are cancelled and have ended.
    """

    async def numbered(question: tuple[int, Q]) -> T:
        return await ask(question[1])

    found: dict[int, T] = {}
    async with aclosing(as_answered([enumerate(questions)], numbered, limit)) as answered:
        async for (number, _), answer in answered:
            found[number] = answer
    return [found[number] for number in range(len(found))]


async def together(*asked: Coroutine[Any, Any, Any]) -> list[Any]:
    """Return what a few coroutines return, run at once.

    Raises:
        BaseException: the first failure, once the others are cancelled and have ended.
    """
    return await answers(asked, awaited, len(asked))


async def awaited(answer: Any) -> Any:
    """Return an answer that a plain or an async function of the caller gave."""
    return await answer if inspect.isawaitable(answer) else answer
