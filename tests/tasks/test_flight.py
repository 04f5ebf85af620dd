"""Shared work: one task for all callers, each leaving on their own terms."""

import asyncio
import gc
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.errors import ClientClosed, ConnectError, QRBackendsError, Timeout, TransportError
from qrbackends.tasks.flight import Flight, Flights

from ..internals import deadlines

pytestmark = pytest.mark.anyio

variable: ContextVar[str] = ContextVar("variable", default="clean")


class Work:
    """Work that ends when the test says so, and counts how often it was begun and stopped."""

    def __init__(self) -> None:
        self.begun = 0
        self.stopped = 0
        self.running = asyncio.Event()
        self.end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __call__(self, flight: Flight[str]) -> str:
        self.begun += 1
        self.running.set()
        try:
            return await asyncio.shield(self.end)
        except asyncio.CancelledError:
            self.stopped += 1
            raise


@pytest.fixture
async def flights() -> AsyncIterator[Flights[str]]:
    flights: Flights[str] = Flights()
    yield flights
    await flights.aclose()


async def callers(flights: Flights[str], work: Work, count: int) -> list[asyncio.Task[str]]:
    tasks = [asyncio.create_task(flights.join("key", work)) for _ in range(count)]
    await work.running.wait()
    await anyio.wait_all_tasks_blocked()
    return tasks


async def test_callers_of_one_key_share_one_piece_of_work(flights: Flights[str]) -> None:
    work = Work()
    tasks = await callers(flights, work, 100)
    work.end.set_result("done")
    assert await asyncio.gather(*tasks) == ["done"] * 100
    assert work.begun == 1
    assert "key" not in flights.under_way


async def test_different_keys_do_not_share(flights: Flights[str]) -> None:
    async def name(text: str) -> str:
        return text

    assert await flights.join("a", lambda _: name("a")) == "a"
    assert await flights.join("b", lambda _: name("b")) == "b"


async def test_work_is_begun_anew_after_it_ended(flights: Flights[str]) -> None:
    work = Work()
    work.end.set_result("done")
    await flights.join("key", work)
    await flights.join("key", work)
    assert work.begun == 2


async def test_a_cancelled_caller_leaves_the_rest_served(flights: Flights[str]) -> None:
    work = Work()
    first, *rest = await callers(flights, work, 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.end.set_result("done")
    assert await asyncio.gather(*rest) == ["done"] * 2
    assert work.stopped == 0


async def test_the_last_caller_to_leave_stops_the_work(flights: Flights[str]) -> None:
    work = Work()
    for task in await callers(flights, work, 3):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await anyio.wait_all_tasks_blocked()
    assert work.stopped == 1


async def test_nobody_joins_work_that_is_being_stopped(flights: Flights[str]) -> None:
    work, later = Work(), Work()
    (only,) = await callers(flights, work, 1)
    only.cancel()
    later.end.set_result("later")
    outcome = asyncio.create_task(flights.join("key", later))
    with pytest.raises(asyncio.CancelledError):
        await only
    assert await outcome == "later"


async def test_each_caller_leaves_at_their_own_deadline(flights: Flights[str]) -> None:
    work = Work()
    (patient,) = await callers(flights, work, 1)
    with anyio.move_on_after(0) as scope:
        await flights.join("key", work)
    assert scope.cancelled_caught
    work.end.set_result("done")
    assert await patient == "done"


async def test_a_flight_is_as_patient_as_whoever_waits_longest(flights: Flights[str]) -> None:
    patience: list[float] = []
    known = QRBackendsError("the last real failure")

    async def work(flight: Flight[str]) -> str:
        flight.explain = lambda error, now: known
        await anyio.lowlevel.checkpoint()
        patience.append(flight.deadline())
        await anyio.sleep_forever()
        return ""

    now = anyio.current_time()
    hasty = asyncio.create_task(flights.join("key", work, now))
    patient = asyncio.create_task(flights.join("key", work, now + 600))
    with pytest.raises(QRBackendsError, match="the last real failure") as caught:
        await hasty
    assert caught.value is not known, "an error of the caller's own"
    await anyio.wait_all_tasks_blocked()
    assert patience == [now + 600]
    patient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patient


async def test_a_caller_without_time_is_told_so(flights: Flights[str]) -> None:
    with pytest.raises(
        Timeout, match="no answer: the time of the call was over before it began; give it a longer timeout"
    ):
        await flights.join("key", Work(), anyio.current_time())
    assert "key" not in flights.under_way


async def test_work_in_the_background_is_given_up_in_time_unless_somebody_waits(
    flights: Flights[str],
) -> None:
    alone, awaited = Work(), Work()
    task = flights.begin("alone", alone, anyio.current_time())
    flights.begin("awaited", awaited, anyio.current_time())
    waiting = asyncio.create_task(flights.join("awaited", awaited))
    await asyncio.wait([task])
    assert task.cancelled()
    await anyio.wait_all_tasks_blocked()
    awaited.end.set_result("done")
    assert await waiting == "done"


async def test_every_caller_gets_an_error_of_their_own(flights: Flights[str]) -> None:
    work = Work()
    tasks = await callers(flights, work, 3)
    work.end.set_exception(ConnectError("refused").about(region="eu-de", attempts=3))
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, ConnectError)
        assert (error.message, error.region, error.attempts) == ("refused", "eu-de", 3)


async def test_a_mistake_of_ours_is_not_hidden(flights: Flights[str]) -> None:
    async def broken(_: Flight[str]) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await flights.join("key", broken)


async def test_work_runs_in_a_context_of_its_own(flights: Flights[str]) -> None:
    async def look(_: Flight[str]) -> str:
        return variable.get()

    variable.set("the caller's")
    assert await flights.join("key", look) == "clean"


# --- work that its first caller's task does


async def led(
    flights: Flights[str], work: Callable[[Flight[str]], Coroutine[Any, Any, str]], seconds: float = 600.0
) -> str:
    """Return the result of work that this task does as long as nobody else waits for it."""
    return await flights.lead("key", work, anyio.current_time() + seconds)


async def leader_of(flights: Flights[str], work: Work, seconds: float = 600.0) -> asyncio.Task[str]:
    """Return the task of a caller who does the work, and waits."""
    others = len(asyncio.all_tasks())
    leader = asyncio.create_task(led(flights, work, seconds))
    await work.running.wait()
    assert len(asyncio.all_tasks()) == others + 1, "the work has no task"
    return leader


async def test_a_leader_does_the_work_in_a_context_of_its_own(flights: Flights[str]) -> None:
    seen: list[object] = []

    async def look(flight: Flight[str]) -> str:
        seen.append(variable.get())
        variable.set("the work's")
        await asyncio.sleep(0)  # gives way
        later: asyncio.Future[None] = flight.loop.create_future()
        flight.loop.call_soon(later.set_result, None)
        await later
        seen.extend((variable.get(), asyncio.current_task(), flight.deadline() > anyio.current_time()))
        return "done"

    variable.set("the caller's")
    assert await led(flights, look) == "done"
    assert seen == ["clean", "the work's", asyncio.current_task(), True]
    assert variable.get() == "the caller's"
    assert "key" not in flights.under_way
    assert deadlines(flights) == 0


async def test_whoever_joins_a_leader_shares_the_work(flights: Flights[str]) -> None:
    work = Work()
    leader = await leader_of(flights, work)
    rest = await callers(flights, work, 100)
    assert flights.begin("key", work) is flights.under_way["key"].task
    work.end.set_result("done")
    assert await asyncio.gather(leader, *rest) == ["done"] * 101
    assert (work.begun, work.stopped) == (1, 0)
    assert "key" not in flights.under_way


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("ended", [False, True])
async def test_a_leader_may_leave_whenever_others_have_joined(
    flights: Flights[str], turns: int, ended: bool
) -> None:
    work = Work()
    leader = await leader_of(flights, work)
    joined = asyncio.create_task(flights.join("key", work))
    for _ in range(turns):
        await asyncio.sleep(0)
    if ended:
        work.end.set_result("done")
    leader.cancel()
    await asyncio.wait([leader])
    if not ended:
        work.end.set_result("done")
    if turns or not ended:
        assert leader.cancelled()
    assert await joined == "done"
    assert work.stopped == work.begun - 1, "begun anew only if nobody had joined before"


async def test_a_leader_who_is_cancelled_alone_stops_the_work_at_once(flights: Flights[str]) -> None:
    inner = asyncio.get_running_loop().create_future()
    seen: list[str] = []

    async def work(_: Flight[str]) -> str:
        await inner
        return ""

    async def lead() -> None:
        variable.set("the caller's")
        try:
            await led(flights, work)
        finally:
            seen.append(variable.get())

    leader = asyncio.create_task(lead())
    await anyio.wait_all_tasks_blocked()
    others = asyncio.all_tasks()
    leader.cancel("enough")
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await leader
    assert inner.cancelled()
    assert seen == ["the caller's"]
    assert asyncio.all_tasks() <= others, "no task that an event loop which ends would leave behind"
    assert "key" not in flights.under_way


async def test_a_scope_of_the_callers_ends_work_that_they_lead(flights: Flights[str]) -> None:
    work = Work()
    with anyio.move_on_after(0.001) as scope:
        await led(flights, work)
    assert scope.cancelled_caught
    assert work.stopped == 1
    with anyio.CancelScope() as scope:
        scope.cancel()
        await led(flights, work)
    assert (scope.cancelled_caught, work.stopped) == (True, work.begun)


async def test_a_leader_leaves_at_the_deadline(flights: Flights[str]) -> None:
    alone = Work()
    with pytest.raises(Timeout, match=r"^no answer within 0\.00\d+ s"):
        await led(flights, alone, 0.001)
    assert alone.stopped == 1
    shared = Work()
    leader = await leader_of(flights, shared, 0.01)
    joined = asyncio.create_task(flights.join("key", shared))
    with pytest.raises(Timeout):
        await leader
    shared.end.set_result("done")
    assert await joined == "done"
    assert shared.stopped == 0


async def test_a_leader_and_who_has_joined_may_leave_together(flights: Flights[str]) -> None:
    work = Work()
    leader = await leader_of(flights, work)
    inner: Any = flights.under_way["key"].leader
    awaited = inner.pending
    joining = flights.join("key", work)
    joining.send(None)  # so that the task that is to go on with the work has not begun
    joining.close()
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    await anyio.wait_all_tasks_blocked()
    assert (work.begun, work.stopped) == (1, 1)
    assert awaited.cancelled()
    assert "key" not in flights.under_way


async def test_work_that_waits_although_it_is_cancelled_goes_on_without_its_leader(
    flights: Flights[str],
) -> None:
    end, seen = asyncio.Event(), asyncio.Event()

    async def tidy(_: Flight[str]) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            await end.wait()
            seen.set()
        return ""

    with pytest.raises(Timeout):
        await led(flights, tidy, 0.001)
    assert "key" not in flights.under_way
    end.set()
    await seen.wait()


@pytest.mark.parametrize("pauses", [0, 1])
@pytest.mark.parametrize("error", [ConnectError("refused"), asyncio.CancelledError()])
async def test_the_failure_of_led_work_is_told_without_its_frames(
    flights: Flights[str], pauses: int, error: BaseException
) -> None:
    async def failing(flight: Flight[str]) -> str:
        for _ in range(pauses):
            await asyncio.sleep(0)
        raise error

    with pytest.raises(TransportError, match=r"refused|cancelled by other code") as caught:
        await led(flights, failing)
    assert caught.value is not error
    assert caught.value.__context__ is None
    frames = [frame.f_code.co_name for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert "failing" not in frames
    assert "key" not in flights.under_way


async def test_led_work_whose_own_future_is_cancelled_is_no_cancelled_caller(flights: Flights[str]) -> None:
    work = Work()
    leader = await leader_of(flights, work)
    work.end.cancel()
    with pytest.raises(TransportError, match="cancelled by other code"):
        await leader


async def test_a_mistake_in_led_work_is_not_hidden(flights: Flights[str]) -> None:
    def broken(_: Flight[str]) -> Coroutine[Any, Any, str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await led(flights, broken)
    assert "key" not in flights.under_way


async def test_closing_ends_a_leader() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    leader = await leader_of(flights, work)
    await flights.aclose()
    assert work.stopped == 1
    with pytest.raises(ClientClosed, match="during the call"):
        await leader
    with pytest.raises(ClientClosed):
        await led(flights, work)


@pytest.mark.parametrize("roused", [False, True])
async def test_closing_waits_for_led_work_which_is_cancelled_once(roused: bool) -> None:
    flights: Flights[str] = Flights()
    seen: list[str] = []

    async def tidy(_: Flight[str]) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("begun")
            if not roused:  # whoever leaves cancels the work, too
                await asyncio.sleep(0)
            seen.append("ended")
        return ""

    leader = asyncio.create_task(led(flights, tidy))
    await anyio.wait_all_tasks_blocked()
    if roused:
        leader.cancel()
    await flights.aclose()
    assert seen == ["begun", "ended"]
    with pytest.raises((ClientClosed, asyncio.CancelledError)):
        await leader


async def test_whoever_joins_a_leader_in_the_turn_of_the_closing_is_told() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    leader = await leader_of(flights, work)
    joined = asyncio.create_task(flights.join("key", work))
    await flights.aclose()
    for caller in (leader, joined):
        with pytest.raises(ClientClosed):
            await caller


@pytest.mark.parametrize("call", [Flights[str].join, Flights[str].lead])
async def test_work_that_closes_its_own_flights_is_stopped(call: Any) -> None:
    flights: Flights[str] = Flights()
    went_on = asyncio.Event()

    async def closing(_: Flight[str]) -> str:
        await flights.aclose()
        await anyio.lowlevel.checkpoint()
        went_on.set()
        return "done"

    with pytest.raises(ClientClosed):
        await call(flights, "key", closing, anyio.current_time() + 600.0)
    assert not went_on.is_set()


class Answer:
    """Something large."""


@pytest.mark.parametrize("end", ["result", "error", "cancel"])
async def test_a_call_that_has_ended_keeps_nothing_while_others_go_on(end: str) -> None:
    """The heap of deadlines keeps its entries for a while."""
    flights: Flights[Any] = Flights()
    alive: WeakSet[object] = WeakSet()

    async def work(_: Flight[Any]) -> Answer:
        await asyncio.sleep(0)
        if end == "cancel":
            await anyio.sleep_forever()
        alive.add(answer := Answer())
        if end == "error":
            raise QRBackendsError("lost")
        return answer

    async def caller() -> None:
        alive.add(local := Answer())
        alive.add(asyncio.current_task())
        with suppress(QRBackendsError):
            await flights.lead("key", work, anyio.current_time() + 600.0)
        del local

    other = asyncio.create_task(flights.join("another", lambda _: anyio.sleep_forever()))
    await anyio.wait_all_tasks_blocked()
    gc.disable()
    try:
        task = asyncio.create_task(caller())
        await anyio.wait_all_tasks_blocked()
        if end == "cancel":
            task.cancel()
        await asyncio.wait([task])
        assert deadlines(flights) == 2
        del task
        await asyncio.sleep(0)
        if end != "error":  # whose traceback has always been a cycle
            assert [*alive] == []
    finally:
        gc.enable()
    gc.collect()
    assert [*alive] == []
    other.cancel()
    await asyncio.wait([other])
    await flights.aclose()


def test_led_work_that_is_interrupted_leaves_nothing() -> None:
    flights: Flights[str] = Flights()

    async def interrupted(_: Flight[str]) -> str:
        await asyncio.sleep(0)
        raise KeyboardInterrupt

    with asyncio.Runner() as runner:  # its loop goes on, as that of a notebook does
        with pytest.raises(KeyboardInterrupt):
            runner.run(led(flights, interrupted))
        assert "key" not in flights.under_way


def test_a_leader_whose_loop_has_ended_ends_the_work() -> None:
    flights: Flights[str] = Flights()
    left: list[Coroutine[Any, Any, str]] = []
    ended: list[str] = []

    async def work(_: Flight[str]) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")
        return ""

    async def leave_one_behind() -> None:
        left.append(led(flights, work))
        left[0].send(None)

    asyncio.run(leave_one_behind())
    left[0].close()
    assert ended == ["work"]
    assert "key" not in flights.under_way


class Crowd:
    """Callers who come and leave while pieces of work begin and end."""

    def __init__(self) -> None:
        self.flights: Flights[str] = Flights()
        self.works: list[Work] = []
        self.callers: list[asyncio.Task[str]] = []
        self.left: list[asyncio.Task[str]] = []

    def work(self, flight: Flight[str]) -> Coroutine[Any, Any, str]:
        self.works.append(Work())
        return self.works[-1](flight)

    def come(self) -> None:
        call = self.flights.join if "key" in self.flights.under_way else self.flights.lead
        self.callers.append(asyncio.create_task(call("key", self.work, anyio.current_time() + 600.0)))

    def join(self) -> None:
        self.callers.append(asyncio.create_task(self.flights.join("key", self.work)))

    def be_late(self) -> None:
        self.callers.append(asyncio.create_task(self.flights.join("key", self.work, anyio.current_time())))
        self.left.append(self.callers[-1])

    def begin(self) -> None:
        self.flights.begin("key", self.work)

    def cancel(self) -> None:
        if self.callers:
            one = self.callers[len(self.works) % len(self.callers)]
            one.cancel()
            self.left.append(one)

    def cancel_last(self) -> None:
        if self.callers:
            self.callers[-1].cancel()
            self.left.append(self.callers[-1])

    def end(self) -> None:
        if self.works and not self.works[-1].end.done():
            self.works[-1].end.set_result("done")

    def fail(self) -> None:
        if self.works and not self.works[-1].end.done():
            self.works[-1].end.set_exception(ConnectError("refused"))

    async def check(self) -> None:
        await anyio.wait_all_tasks_blocked()
        for one in self.works:
            if not one.end.done():
                one.end.set_result("done")
        outcomes = await asyncio.gather(*self.callers, return_exceptions=True)
        for caller, outcome in zip(self.callers, outcomes, strict=True):
            assert outcome == "done" or isinstance(outcome, ConnectError) or caller in self.left
        await anyio.wait_all_tasks_blocked()
        assert self.flights.under_way == {}
        assert all(one.stopped <= 1 == one.begun for one in self.works)
        assert deadlines(self.flights) == 0
        assert len(asyncio.all_tasks()) == 1


EVENTS = [
    Crowd.come,
    Crowd.join,
    Crowd.be_late,
    Crowd.begin,
    Crowd.cancel,
    Crowd.cancel_last,
    Crowd.end,
    Crowd.fail,
]


@given(st.lists(st.sampled_from([*EVENTS, None, None, None]), max_size=30))
def test_whoever_has_not_left_is_served_once(events: list[Callable[[Crowd], None] | None]) -> None:
    async def main() -> None:
        crowd = Crowd()
        for event in events:
            if event is None:  # one turn of the event loop
                await asyncio.sleep(0)
            else:
                event(crowd)
        await crowd.check()
        await crowd.flights.aclose()

    asyncio.run(main())


async def test_work_in_the_background_goes_on_without_callers(flights: Flights[str]) -> None:
    work = Work()
    flights.begin("key", work)
    flights.begin("key", work)
    (joined,) = await callers(flights, work, 1)
    joined.cancel()
    with pytest.raises(asyncio.CancelledError):
        await joined
    assert "key" in flights.under_way
    work.end.set_result("done")
    assert await flights.join("key", work) == "done"
    assert (work.begun, work.stopped) == (1, 0)


async def test_a_failure_that_nobody_waits_for_is_quiet(flights: Flights[str]) -> None:
    work = Work()
    flights.begin("key", work)
    await work.running.wait()
    work.end.set_exception(QRBackendsError("lost"))
    await anyio.wait_all_tasks_blocked()
    assert "key" not in flights.under_way  # and `filterwarnings = error` sees no "never retrieved"


async def test_closing_ends_all_callers_and_takes_no_more() -> None:
    flights: Flights[str] = Flights()
    work = Work()
    tasks = await callers(flights, work, 2)
    await flights.aclose()
    for task in tasks:
        with pytest.raises(ClientClosed):
            await task
    with pytest.raises(ClientClosed):
        await flights.join("key", work)
    await flights.aclose()


@pytest.mark.parametrize("call", [Flights[str].join, Flights[str].lead])
async def test_callers_leave_closed_flights_whose_work_cannot_be_cancelled(call: Any) -> None:
    flights: Flights[str] = Flights()
    end, running = asyncio.Event(), asyncio.Event()

    async def stubborn(_: Flight[str]) -> str:
        running.set()
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()
        return "done"

    caller = asyncio.create_task(call(flights, "key", stubborn, anyio.current_time() + 600.0))
    await running.wait()
    flight = flights.under_way["key"]
    await flights.aclose(0.001)
    await asyncio.wait([caller], timeout=10.0)
    end.set()
    assert await flight.task == "done"
    with pytest.raises(ClientClosed):
        await caller


# --- flights that wait for flights


async def test_a_flight_is_as_patient_as_the_callers_of_the_flight_that_waits_for_it(
    flights: Flights[str],
) -> None:
    inner: Flights[str] = Flights()
    work = Work()

    async def outer(flight: Flight[str]) -> str:
        return await inner.join("token", work, flight.deadline)

    now = anyio.current_time()
    first = asyncio.create_task(flights.join("key", outer, now + 600.0))
    await work.running.wait()
    assert inner.under_way["token"].deadline() == now + 600.0
    patient = asyncio.create_task(flights.join("key", outer, now + 1200.0))
    await anyio.wait_all_tasks_blocked()
    assert inner.under_way["token"].deadline() == now + 1200.0
    work.end.set_result("done")
    assert [await first, await patient] == ["done"] * 2
    assert (work.begun, work.stopped) == (1, 0)
    await inner.aclose()


async def test_work_that_is_begun_again_goes_on_for_longer(flights: Flights[str]) -> None:
    work = Work()
    now = anyio.current_time()
    task = flights.begin("key", work, now)
    assert flights.begin("key", work, now + 600.0) is task
    await work.running.wait()
    await anyio.wait_all_tasks_blocked()
    assert not task.done()


async def test_a_flight_that_is_stopped_late_leaves_its_successor_alone(flights: Flights[str]) -> None:
    first, second = Work(), Work()
    now = anyio.current_time()
    tasks = [flights.begin("key", first, now), flights.begin("key", first, now + 1e-4)]
    await asyncio.wait([tasks[0]])
    later = flights.begin("key", second)
    await anyio.wait_all_tasks_blocked()
    assert flights.under_way["key"].task is later


async def test_work_that_does_not_even_begin_leaves_nothing(flights: Flights[str]) -> None:
    def broken(_: Flight[str]) -> Coroutine[Any, Any, str]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await flights.join("key", broken)
    assert "key" not in flights.under_way


async def test_work_that_somebody_else_cancels_is_no_closed_client(flights: Flights[str]) -> None:
    work = Work()
    tasks = await callers(flights, work, 3)
    flights.under_way["key"].task.cancel()
    for caller in tasks:
        with pytest.raises(TransportError, match="cancelled by other code"):
            await caller
    again = Work()
    again.end.set_result("done")
    assert await flights.join("key", again) == "done"


# --- deadlines


async def test_whoever_has_less_time_leaves_first(flights: Flights[str]) -> None:
    work = Work()
    now = anyio.current_time()
    patient = asyncio.create_task(flights.join("key", work, now + 600.0))
    await work.running.wait()
    others = [asyncio.create_task(flights.join("key", work, now + left)) for left in (0.02, 0.0, 0.01) * 100]
    for other in others:
        with pytest.raises(Timeout):
            await other
    assert not patient.done()
    work.end.set_result("done")
    assert await patient == "done"


async def test_a_deadline_that_has_moved_counts(flights: Flights[str]) -> None:
    work = Work()
    until = [anyio.current_time() + 0.01]
    moving = asyncio.create_task(flights.join("key", work, lambda: until[0]))
    fixed = asyncio.create_task(flights.join("key", work, until[0]))
    await work.running.wait()
    until[0] += 600.0
    with pytest.raises(Timeout):
        await fixed
    assert not moving.done()
    work.end.set_result("answer")
    assert await moving == "answer"


async def test_a_deadline_that_moves_at_the_moment_it_passes_counts(flights: Flights[str]) -> None:
    work = Work()
    loop = asyncio.get_running_loop()
    first, passed = loop.time() + 0.01, asyncio.Event()

    def deadline() -> float:
        if passed.is_set():
            return first + 600.0
        if loop.time() >= first:
            passed.set()
        return first

    caller = asyncio.create_task(flights.join("key", work, deadline))
    await passed.wait()
    work.end.set_result("done")
    assert await caller == "done"
    assert work.stopped == 0


async def test_deadlines_of_callers_who_have_left_are_forgotten(flights: Flights[str]) -> None:
    work = Work()
    now = anyio.current_time()
    patient = asyncio.create_task(flights.join("key", work, now + 600.0))
    await work.running.wait()
    for _ in range(10):
        leaving = [asyncio.create_task(flights.join("key", work, now + 300.0)) for _ in range(100)]
        await anyio.wait_all_tasks_blocked()
        for caller in leaving:
            caller.cancel()
        await asyncio.wait(leaving)
    assert deadlines(flights) < 200
    work.end.set_result("done")
    assert await patient == "done"
    assert deadlines(flights) == 0


def test_a_deadline_counts_in_a_second_event_loop() -> None:
    flights: Flights[str] = Flights()

    async def ask(seconds: float) -> str:
        work = Work()
        asyncio.get_running_loop().call_later(0.001, work.end.set_result, "done")
        return await flights.join("key", work, anyio.current_time() + seconds)

    async def wait_in_vain() -> None:
        with pytest.raises(Timeout):
            await flights.join("key", Work(), anyio.current_time() + 0.001)

    assert asyncio.run(ask(600.0)) == "done"
    asyncio.run(wait_in_vain())


def test_callers_of_a_loop_that_has_ended_take_no_deadline_with_them() -> None:
    flights: Flights[str] = Flights()
    left: list[Coroutine[Any, Any, str]] = []

    async def leave_one_behind() -> None:
        left.append(flights.join("key", Work(), anyio.current_time() + 600.0))
        left[0].send(None)

    async def wait_in_vain() -> None:
        work = Work()
        waiting = asyncio.create_task(flights.join("another", work, anyio.current_time() + 0.01))
        await work.running.wait()
        left[0].close()
        with anyio.fail_after(10.0), pytest.raises(Timeout):
            await waiting

    asyncio.run(leave_one_behind())
    asyncio.run(wait_in_vain())
