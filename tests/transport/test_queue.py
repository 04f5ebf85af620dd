"""Which request gets the next slot, and when."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import anyio
import pytest

from qrbackends import CircuitOpen, ClientClosed, ConnectError, HeldBack
from qrbackends.transport.breaker import CircuitBreaker
from qrbackends.transport.queue import RequestQueue, Slot

from ..internals import state_of
from ..waiting import until

pytestmark = pytest.mark.anyio


def far() -> float:
    return 1e12


@asynccontextmanager
async def slot_of(queue: RequestQueue, tenant: str, deadline: Callable[[], float]) -> AsyncIterator[Slot]:
    slot = Slot(tenant, deadline)
    if not queue.enters_at_once(slot):
        await queue.enter(slot)
    try:
        yield slot
    finally:
        queue.leave(slot)


class Worker:
    """Sends requests, and notes in which order they got their slots."""

    def __init__(self, slots: int = 1, failures: int = 3) -> None:
        self.slots = slots
        self.queue = RequestQueue("eu-de", slots, CircuitBreaker("eu-de", failures, 30.0))
        self.served: list[str] = []
        self.go = asyncio.Event()

    async def work(
        self, name: str, tenant: str = "one", status: int = 200, wait: float | None = None
    ) -> None:
        async with slot_of(self.queue, tenant, far) as slot:
            self.served.append(name)
            await self.go.wait()
            self.queue.answered(slot, status, wait)

    def start(self, name: str, tenant: str = "one", status: int = 200) -> asyncio.Task[None]:
        return asyncio.create_task(self.work(name, tenant, status))

    @property
    def idle(self) -> bool:
        state = state_of(self.queue)
        return not state.waiting and state.free == self.slots


async def ended(*tasks: asyncio.Task[None]) -> None:
    with anyio.fail_after(30):
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_a_single_call_does_not_wait_behind_thousands(count: int) -> None:
    worker = Worker()
    bulk = [worker.start(f"bulk {number}") for number in range(count)]
    await until(lambda: len(worker.served) == 1)
    await asyncio.sleep(0)
    single = worker.start("single")
    await asyncio.sleep(0)
    worker.go.set()
    await ended(*bulk, single)
    assert worker.served.index("single") <= 2
    assert worker.served.index("bulk 1") <= 3, "no request waits for ever"
    assert len(worker.served) == count + 1
    assert worker.idle


async def test_slots_go_to_tenants_in_turn() -> None:
    worker = Worker()
    tasks = [worker.start(tenant, tenant) for tenant in ("many",) * 50 + ("few",) * 3]
    await asyncio.sleep(0)
    worker.go.set()
    await ended(*tasks)
    assert worker.served[:7].count("few") == 3
    assert worker.idle


async def test_a_caller_who_leaves_at_any_moment_keeps_no_slot() -> None:
    random = Random(0)
    for _ in range(50):
        worker = Worker(slots=3)
        tasks = [worker.start("x", random.choice("ab")) for _ in range(20)]
        worker.go.set()
        for task in tasks:
            if random.random() < 0.5:
                task.cancel()
            if random.random() < 0.3:
                await asyncio.sleep(0)
        await ended(*tasks)
        assert worker.idle


async def test_closing_ends_the_waiting() -> None:
    worker = Worker()
    tasks = [worker.start(str(number)) for number in range(100)]
    await until(lambda: len(worker.served) == 1)
    worker.queue.close()
    worker.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(ClientClosed) == 99


async def test_a_held_tenant_is_refused_at_once_and_another_is_not() -> None:
    worker = Worker()
    worker.go.set()
    now = asyncio.get_running_loop().time()
    await worker.work("x", status=429, wait=40.0)
    with pytest.raises(HeldBack) as caught:
        async with slot_of(worker.queue, "one", lambda: now + 30.0):
            pass
    assert caught.value.retry_after is not None
    assert 30.0 < caught.value.retry_after <= 40.0
    await worker.work("y", "another")
    assert worker.served == ["x", "y"]
    assert worker.idle


async def test_a_held_tenant_waits_and_goes_on() -> None:
    worker = Worker()
    worker.go.set()
    await worker.work("x", status=429, wait=0.01)
    with anyio.fail_after(30):
        await asyncio.gather(*(worker.work(str(number)) for number in range(5)))
    assert len(worker.served) == 6
    assert worker.idle


async def test_503_with_a_pause_holds_the_region() -> None:
    worker = Worker()
    worker.go.set()
    now = asyncio.get_running_loop().time()
    await worker.work("x", status=503, wait=40.0)
    with pytest.raises(CircuitOpen, match="asked for a pause") as caught:
        async with slot_of(worker.queue, "another", lambda: now + 30.0):
            pass
    assert 30.0 < caught.value.retry_after <= 40.0


async def test_those_who_wait_are_refused_at_once_when_the_circuit_opens() -> None:
    worker = Worker(failures=1)
    tasks = [worker.start("x", status=500)] + [worker.start("y") for _ in range(20)]
    await until(lambda: len(worker.served) == 1)
    worker.go.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes[1:]] == [CircuitOpen] * 20
    assert worker.served == ["x"]
    assert worker.idle


async def test_4xx_never_count_and_neither_do_callers_who_leave() -> None:
    worker = Worker(failures=1)
    worker.go.set()
    for status in (400, 401, 403, 404, 409, 423):
        await worker.work("x", status=status)
    worker.go.clear()
    left = worker.start("y")
    await until(lambda: len(worker.served) == 7)
    left.cancel()
    await ended(left)
    worker.go.set()
    await worker.work("z")
    async with slot_of(worker.queue, "one", far) as slot:
        worker.queue.failed(slot, ConnectError("refused"))
    with pytest.raises(CircuitOpen):
        await worker.work("late")


@pytest.mark.parametrize(
    ("status", "tenant", "expected"), [(429, "one", HeldBack), (503, "another", CircuitOpen)]
)
async def test_those_who_wait_are_refused_at_once_where_a_pause_outlasts_the_deadline(
    status: int, tenant: str, expected: type[Exception]
) -> None:
    worker = Worker()
    now = asyncio.get_running_loop().time()

    async def impatient() -> None:
        async with slot_of(worker.queue, tenant, lambda: now + 30.0):
            worker.served.append("too early")

    async with slot_of(worker.queue, "one", far) as slot:
        waiting = [asyncio.create_task(impatient()) for _ in range(5)]
        patient = asyncio.create_task(worker.work("patient", tenant))
        await asyncio.sleep(0)
        worker.queue.answered(slot, status, 40.0)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [expected] * 5
        assert not patient.done()
    patient.cancel()
    await ended(patient)
    assert worker.served == []
    assert worker.idle


async def test_those_who_wait_are_refused_at_once_while_the_slot_is_still_taken() -> None:
    worker = Worker(failures=1)
    async with slot_of(worker.queue, "one", far) as slot:
        waiting = [worker.start("y", tenant) for tenant in ("one", "two") for _ in range(5)]
        await asyncio.sleep(0)
        worker.queue.failed(slot, ConnectError("refused"))
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [CircuitOpen] * 10
    assert worker.idle


@pytest.mark.parametrize("status", [429, 503], ids=["of one tenant", "of the region"])
@pytest.mark.parametrize("count", [200, pytest.param(20_000, marks=pytest.mark.long)])
async def test_calls_that_are_cancelled_in_a_pause_leave_nothing(status: int, count: int) -> None:
    worker = Worker()
    worker.go.set()
    await worker.work("x", status=status, wait=40.0)
    patient = worker.start("patient")
    for number in range(count):
        call = worker.start("y", "one" if status == 429 else f"tenant {number}")
        await asyncio.sleep(0)
        call.cancel()
        await ended(call)
    state = state_of(worker.queue)
    assert len(state.waiting) == 1
    assert state.delayed <= 5, "twice the tenants that wait, and one"
    patient.cancel()
    await ended(patient)
    for _ in range(count):
        call = worker.start("z")
        await asyncio.sleep(0)
        call.cancel()
        await ended(call)
    assert state_of(worker.queue).delayed <= 5
    worker.queue.close()
