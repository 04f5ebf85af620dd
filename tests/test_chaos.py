"""A service of which a fifth fails, in every way at once: what callers get, and what is left behind."""

import asyncio
import gc
import os
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, get_args

import pytest
from msgspec.structs import replace

from qrbackends import (
    BackendList,
    BackendStatus,
    CachePolicy,
    Client,
    Limits,
    NotFound,
    QRBackendsError,
    Request,
    RetryPolicy,
    SessionPool,
)
from qrbackends.cache.memory import Memory
from qrbackends.emulator import (
    Action,
    Bomb,
    Delay,
    Drip,
    Emulator,
    Endless,
    Garbage,
    Hold,
    Redirect,
    Reset,
    Status,
    Truncate,
)
from qrbackends.protocol.requests import Resource

from .waiting import until

pytestmark = pytest.mark.anyio

SHARE = 0.2  # of the calls before which something is broken
KEYS = 4
PATIENCE = 20.0  # seconds that a call may take
BODY = 4 << 20  # bytes: more than any answer of this fleet
LIMITS = Limits(connect=0.5, read=0.5, rate=10_000.0, body=BODY, failures=25, rest=2.0)
RETRY = RetryPolicy(attempts=4, base=0.01, cap=0.5)
NOTHING_KEPT = CachePolicy(
    backends=0, configuration=0, properties=0, defaults=0, negative=0, stale_if_error=0
)
BRIEFLY_FRESH = CachePolicy(
    backends=1, configuration=1, properties=1, defaults=1, negative=1, stale_while_revalidate=1, jitter=0
)

OUTAGES: tuple[Action, ...] = (
    *(Status(code, body="<html>") for code in (500, 502, 503, 504, 520, 522, 524)),
    Status(501),
    Status(503, {"Retry-After": "0"}),
    Reset(),
    Truncate(),
    Truncate(gzip=True),
    Garbage(),
    Garbage(b""),
    Garbage(b'{"x": "\xff"}'),
    Status(200, {"Content-Encoding": "gzip"}, b"plain"),
    Status(200, {"Content-Encoding": "br"}, b"\x0b\x02\x80"),
    Status(200, {"X-Flood": "x" * 100_000}, b"{}"),
    Delay(0.02),
)
SLOW: tuple[Action, ...] = (Hold(), Drip(0.05), Drip(0.05, head=True))
REFUSALS: tuple[Action, ...] = (
    *(Status(code) for code in (400, 401, 403, 404, 409, 418, 423)),
    Garbage(b"[]"),
    Garbage(b'{"length_queue": NaN}'),
    Garbage(b"[" * 100_000 + b"]" * 100_000),
    # The service, or what is in front of it, has to be mended; an old answer must not hide that.
    Bomb(2 * BODY),
    Endless(),
    Redirect("http://127.0.0.1:1/elsewhere"),
)
PAUSES: tuple[Action, ...] = (
    Status(429),
    Status(429, {"Retry-After": "1"}),
    Status(503, {"Retry-After": "1"}),
    Status(429, {"Retry-After": "9" * 40}),
)


class Step(NamedTuple):
    """What is asked, and what is broken before."""

    request: Request
    action: Action | None


def kinds(often: tuple[Action, ...]) -> Iterator[Action]:
    """Return what goes wrong, for ever; slow answers now and then only, as each takes a place for long."""
    slow = cycle(SLOW)
    while True:
        yield from often
        yield next(slow)


def plan(random: Random, requests: list[Request], calls: int, faults: Iterator[Action]) -> Iterator[Step]:
    """Return so many calls, of which a fifth meets a fault of its own."""
    for _ in range(calls):
        yield Step(random.choice(requests), next(faults) if random.random() < SHARE else None)


def questions(emulator: Emulator) -> list[Request]:
    about = [resource for resource in get_args(Resource) if resource != "backends"]
    return [Request("backends")] + [Request(kind, name) for name in emulator.backends() for kind in about]


def lasting(value: Any) -> Any:
    """Return what of an answer stays the same: the emulator's queues take a step at every question."""
    if isinstance(value, BackendList):
        return tuple(replace(backend, queue_length=0) for backend in value)
    if isinstance(value, BackendStatus):
        return replace(value, queue_length=0)
    return value


async def right_answers(emulator: Emulator) -> dict[Request, Any]:
    """Return what the service has to say to each question; the class of the error where it has nothing."""
    answers: dict[Request, Any] = {}
    async with Client(emulator.account()) as client:
        for request in questions(emulator):
            try:
                answers[request] = lasting((await client.fetch(request)).value)
            except NotFound:
                answers[request] = NotFound
    return answers


def is_right(value: Any, right: Any) -> bool:
    """Return whether a value is what the service says; a list may lack the regions whose errors it names."""
    if isinstance(value, BackendList) and value.errors:
        failed = {error.region for error in value.errors}
        right = tuple(backend for backend in right if backend.region not in failed)
    return bool(lasting(value) == right)


async def all_at_once(
    callers: int, steps: Iterator[Step], call: Callable[[Step, int], Awaitable[None]]
) -> None:
    """Let so many callers take the steps, each the next one as soon as it has its answer."""

    async def caller(number: int) -> None:
        for step in steps:
            async with asyncio.timeout(PATIENCE + 30):
                await call(step, number)

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(number))


def renew_in_trouble(emulator: Emulator) -> None:
    """Let every tenant need a new token, while IAM stumbles."""
    emulator.expire_tokens()
    for action in (Status(503), Truncate(), Reset(), Garbage(b"{")):
        emulator.fault(action, resource="token")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208


def traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@asynccontextmanager
async def nothing_left(emulator: Emulator) -> AsyncIterator[None]:
    """Wait, at the end, until there are no more tasks and open files than at the beginning."""
    gc.collect()
    tasks, files = len(asyncio.all_tasks()), descriptors()
    yield
    emulator.clear_faults()
    gc.collect()
    await until(lambda: len(asyncio.all_tasks()) <= tasks)
    await until(lambda: descriptors() <= files)


@pytest.fixture
def tracing() -> Iterator[None]:
    """Memory is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Two regions, for several tenants, in which time stands still."""
    now = time.time()
    async with Emulator(seed=7, keys=KEYS, clock=lambda: now) as running:
        yield running


SIZES = [
    pytest.param(2, 30, 10, id="60 calls"),
    pytest.param(10, 2000, 200, id="20,000 calls", marks=[pytest.mark.long, pytest.mark.timeout(900)]),
]


@pytest.mark.parametrize(("rounds", "calls", "callers"), SIZES)
async def test_every_call_ends_well_or_with_a_typed_error_and_leaves_nothing(
    tracing: None, emulator: Emulator, rounds: int, calls: int, callers: int
) -> None:
    right = await right_answers(emulator)
    outcomes: Counter[str] = Counter()
    random, faults, memory = Random(7), kinds(OUTAGES + REFUSALS), []
    async with nothing_left(emulator), AsyncExitStack() as stack:
        pool = await stack.enter_async_context(SessionPool(LIMITS))
        accounts = [emulator.account(key) for key in range(KEYS)]
        clients = [
            await stack.enter_async_context(Client(account, pool=pool, retry=RETRY, cache=NOTHING_KEPT))
            for account in accounts * 2
        ]

        async def call(step: Step, number: int) -> None:
            request, action = step
            if action is not None:
                emulator.fault(action, resource=request.resource, backend=request.backend)
            try:
                fetched = await clients[number % len(clients)].fetch(request, timeout=PATIENCE)
            except QRBackendsError as error:
                outcomes[type(error).__name__] += 1
            else:
                assert is_right(fetched.value, right[request]), request
                outcomes["right"] += 1

        for turn in range(rounds):
            steps = list(plan(random, list(right), calls, faults))
            pause = PAUSES[max(0, turn - rounds + len(PAUSES))]  # the longest at the end
            steps[0] = Step(steps[0].request, pause)
            renew_in_trouble(emulator)
            await all_at_once(callers, iter(steps), call)
            emulator.clear_faults()
            emulator.reset_log()
            memory.append(traced())
    assert outcomes.total() == rounds * calls
    assert outcomes["right"] > rounds * calls / 2, outcomes
    early, late = memory[: rounds // 2], memory[rounds // 2 :]
    assert max(late) < 1.1 * max(early), memory


@pytest.mark.parametrize(("rounds", "calls", "callers"), SIZES)
async def test_what_was_once_known_is_known_in_bad_times(
    emulator: Emulator, rounds: int, calls: int, callers: int
) -> None:
    right = await right_answers(emulator)
    known = {request for request in right if request.resource != "status" and right[request] is not NotFound}
    random, faults, now = Random(7), kinds(OUTAGES), [0.0]
    memory = Memory(clock=lambda: now[0])
    async with (
        nothing_left(emulator),
        Client(emulator.account(), limits=LIMITS, retry=RETRY, cache=BRIEFLY_FRESH, memory=memory) as client,
    ):
        for request in known:
            assert is_right((await client.fetch(request)).value, right[request])

        async def call(step: Step, _: int) -> None:
            request, action = step
            now[0] += 0.25
            if action is not None:
                emulator.fault(action, resource=request.resource, backend=request.backend)
            try:
                value = (await client.fetch(request, timeout=PATIENCE)).value
            except QRBackendsError:
                assert request not in known, request
            else:
                assert is_right(value, right[request]), request
                assert not getattr(value, "errors", ()), "a region is missing"

        for turn in range(rounds):
            steps = list(plan(random, list(right), calls, faults))
            pause = PAUSES[max(0, turn - rounds + len(PAUSES))]
            steps[0] = Step(steps[0].request, pause)
            if turn == rounds // 2:
                await emulator.stop_region("eu-de")
            await all_at_once(callers, iter(steps), call)
            emulator.clear_faults()
        stats = client.stats()
        assert min(stats.backends.stale, stats.configuration.stale, stats.properties.stale) > 0
        await emulator.start_region("eu-de")
