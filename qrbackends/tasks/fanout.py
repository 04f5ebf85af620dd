"""Bounded fan-out: many questions asked concurrently; every task has ended when the call returns."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from contextlib import aclosing
from itertools import islice
from typing import Any, TypeVar

from .flight import stopped
from .loops import running_loop

Q = TypeVar("Q")
T = TypeVar("T")


async def as_answered(
    groups: Iterable[Iterable[Q]], ask: Callable[[Q], Coroutine[Any, Any, T]], limit: int
) -> AsyncGenerator[tuple[Q, T], None]:
    """Yield each question with its answer, in the order in which the answers arrive.

    At most `limit` questions of each group have a task or an answer that was not yielded yet. So memory does
    not grow with the number of questions, and no group waits for another.

    Args:
        groups: the questions, such as one group for each region.
        ask: returns the answer to one question. Its errors are raised here.
        limit: how many questions of each group are asked at a time.

    Raises:
        BaseException: the first failure; all other tasks are cancelled and have ended before it is raised.
    """
    # Plain tasks, which `finally` ends: anyio's task groups and scopes must not stay open across a yield.
    loop = running_loop()
    under_way: dict[asyncio.Task[T], tuple[Q, Iterable[Q]]] = {}
    ended: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()

    def begin(group: Iterable[Q], count: int) -> None:
        for question in islice(group, count):
            task = loop.create_task(ask(question))
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
    """Return the answer to each question, in the order of the questions; ask at most `limit` at a time.

    Raises:
        BaseException: the first failure; all other tasks are cancelled and have ended before it is raised.
    """

    asked = list(questions)
    if len(asked) == 1:
        return [await ask(asked[0])]  # most accounts have one instance, which needs no task of its own

    async def numbered(question: tuple[int, Q]) -> T:
        return await ask(question[1])

    found: dict[int, T] = {}
    async with aclosing(as_answered([enumerate(asked)], numbered, limit)) as answered:
        async for (number, _), answer in answered:
            found[number] = answer
    return [found[number] for number in range(len(found))]


async def together(*asked: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run a few coroutines concurrently, and return their results in the same order.

    Raises:
        BaseException: the first failure; the others are cancelled and have ended before it is raised.
    """
    try:
        return await answers(asked, awaited, len(asked))
    finally:
        for one in asked:
            one.close()  # of those that never began; the others have ended


async def awaited(answer: Any) -> Any:
    """Return the result of a caller's function, which may be plain or async: await it if it is awaitable."""
    return await answer if inspect.isawaitable(answer) else answer
