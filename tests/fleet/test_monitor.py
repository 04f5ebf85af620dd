"""The last known fleet, against the emulator over real sockets."""

import asyncio
import copy
import dataclasses
import gc
import threading
import time
from datetime import UTC, datetime
from typing import Any
from weakref import ref

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import (
    BackendProperties,
    BackendSummary,
    CachePolicy,
    Client,
    Fetched,
    InstanceSearch,
    Limits,
    Memory,
    Monitor,
    MonitoredBackend,
    MonitorEvent,
    RedisStore,
    Request,
    RetryPolicy,
    ServerError,
    summary,
)
from qrbackends.emulator import Emulator, Status
from qrbackends.emulator.devices.synthetic import SyntheticFleet
from qrbackends.models import median_of

from ..internals import let_ask, let_know, monitor_tasks, parts
from ..waiting import until

pytestmark = pytest.mark.anyio

QUICK = {"retry": RetryPolicy(attempts=1), "limits": Limits(failures=10**9)}


def calibrated_at(known: MonitoredBackend | None) -> datetime:
    assert known is not None
    assert known.calibration is not None
    assert known.calibration.calibrated_at is not None
    return known.calibration.calibrated_at


class Pauses:
    """Pauses that end when a test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((seconds, future))
        await future

    def end(self) -> None:
        waiting, self.waiting = self.waiting, []
        for _, future in waiting:
            if not future.done():
                future.set_result(None)


async def test_it_knows_every_backend_and_the_figures_of_its_calibration(
    emulator: Emulator, client: Client
) -> None:
    events: list[MonitorEvent] = []
    async with Monitor(client, interval=0.05) as monitor:
        monitor.listeners.add(events.append)
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        for (region, name), known in monitor.fleet.items():
            properties = await client.properties(name)
            assert (known.backend.name, known.backend.region) == (name, region)
            assert known.calibration is not None
            assert median_of(known.calibration.t1) == properties.median_t1()
            assert median_of(known.calibration.two_qubit_error) == properties.median_two_qubit_error()
            assert known.calibration.broken_couplings == properties.broken_couplings()
            assert known.calibration == replace(summary(properties=properties), calibration_age=None)
            assert known.calibration.calibrated_at == properties.last_update_date
        name = emulator.backends()[0]
        emulator.set_backend(name, status="paused", reason="lunch", queue_length=7)
        place = next(place for place in monitor.fleet if place[1] == name)
        assert not monitor.fleet[place].status_changed, "it was online before the monitor looked"
        began = monitor.fleet[place].status_since
        await until(lambda: monitor.fleet[place].backend.status.reason == "lunch")
        assert monitor.queue_history(place)[-1][1] == 7
        paused = monitor.fleet[place]
        assert paused.status_changed
        assert began is not None
        assert paused.status_since is not None
        assert monitor.asked_at is not None
        assert began < paused.status_since <= monitor.asked_at
        emulator.set_backend(name, status="paused", reason="supper", queue_length=8)
        await until(lambda: monitor.fleet[place].backend.status.reason == "supper")
        assert monitor.fleet[place].status_since == paused.status_since, "it is paused as before"
        (calibration,) = monitor.calibration_history(place)
        assert calibration.t1 == (await client.properties(name)).median_t1()
        emulator.set_backend(name, hidden=True)
        await until(lambda: place not in monitor.fleet)
    assert monitor.ended.is_set()
    kinds = [one.kind for one in events if one.name == name and one.kind != "queue"]
    assert kinds[0] in ("present", "appeared")  # with the first poll, or a list that came late
    assert kinds[1] == "calibrated"
    assert "status" in kinds
    assert kinds[-1] == "disappeared"


async def test_it_keeps_no_document(emulator: Emulator, client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        asked = len(emulator.requests)
        documents = [ref(await client.properties(name)) for name in emulator.backends()]
        assert len(emulator.requests) == asked, "these are the documents that the monitor has read"
        assert all(document() is not None for document in documents)
        await client.invalidate()
        gc.collect()
        assert all(document() is None for document in documents)


async def test_a_failing_region_keeps_what_was_known_and_says_so(emulator: Emulator, client: Client) -> None:
    kinds: list[tuple[str, str | None]] = []
    async with Monitor(client, interval=0.05) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        monitor.listeners.add(lambda event: kinds.append((event.kind, event.region)))
        before = datetime.now(UTC)
        await emulator.stop_region("eu-de")
        await until(lambda: bool(monitor.failures))
        (failure,) = monitor.failures.values()
        assert failure.region == "eu-de"
        assert failure.since >= before
        assert len(monitor.fleet) == len(emulator.backends())
        await emulator.start_region("eu-de")
        await until(lambda: not monitor.failures)
    assert [one for one in kinds if one[0] in ("failed", "recovered")] == [
        ("failed", "eu-de"),
        ("recovered", "eu-de"),
    ]


async def test_what_the_cache_kept_is_shown_when_the_service_is_down_from_the_start(
    emulator: Emulator, store: RedisStore
) -> None:
    policy = CachePolicy(jitter=0)
    async with Client(emulator.account(), store=store, cache=policy) as first:
        await first.backends()
    for region in emulator.regions:
        await emulator.stop_region(region)
    async with (
        Client(emulator.account(), store=store, retry=QUICK["retry"], limits=QUICK["limits"]) as client,  # type: ignore[arg-type]
        Monitor(client, interval=3600) as monitor,
    ):
        # The other's answer is young enough for the first poll.
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
    async with (
        Client(emulator.account(), store=store, retry=QUICK["retry"], limits=QUICK["limits"]) as client,  # type: ignore[arg-type]
        Monitor(client, interval=1e-6) as monitor,
    ):
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        assert {failure.region for failure in monitor.failures.values()} == set(emulator.regions)


async def test_a_backend_that_two_instances_list_is_there_once() -> None:
    events: list[MonitorEvent] = []
    async with (
        Emulator(regions=("us-east",), instances=2) as emulator,
        Client(emulator.account()) as client,
        Monitor(client, interval=0.05) as monitor,
    ):
        monitor.listeners.add(events.append)
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        name = emulator.backends()[0]
        await until(lambda: len(monitor._entries.get(("us-east", name), ())) == 2)  # both lists have come
        emulator.set_backend(name, hidden=True)
        await until(lambda: ("us-east", name) not in monitor.fleet)
    kinds = [one.kind for one in events if one.name == name and one.kind not in ("calibrated", "queue")]
    assert kinds in (["present", "disappeared"], ["appeared", "disappeared"])


async def test_whose_list_comes_late_is_preferred_all_the_same() -> None:
    async with (
        Emulator(regions=("us-east",), instances=2) as emulator,
        Client(emulator.account()) as client,
    ):
        first, second = (one.crn for one in emulator.instances)
        fetch, comes = parts(client).cache.fetch, asyncio.Event()

        async def late(request: Request, scope: Any, *args: Any, **how: Any) -> Fetched[Any]:
            if request.backend is None and scope.crn == first:
                await comes.wait()
            return await fetch(request, scope, *args, **how)

        let_ask(client, late)
        async with Monitor(client, interval=0.05) as monitor:

            def used() -> set[str | None]:
                return {known.backend.instance for known in monitor.fleet.values()}

            await until(lambda: len(monitor.fleet) == len(emulator.backends()))
            assert used() == {second}
            comes.set()
            await until(lambda: used() == {first})


async def test_a_failing_instance_that_is_gone_leaves_nothing_of_its_old_list() -> None:
    async with (
        Emulator(regions=("us-east",), instances=2) as emulator,
        Client(emulator.account(search=InstanceSearch()), retry=RetryPolicy(attempts=1)) as client,
    ):
        staying, leaving = await client.instances()
        await client.backends()
        gone = emulator.backends()[0]
        fetch = parts(client).cache.fetch

        async def failing(request: Request, scope: Any, *args: Any, **how: Any) -> Fetched[Any]:
            if scope.crn == leaving.instance.crn and how.get("refresh"):
                raise ServerError("broken", 500)
            return await fetch(request, scope, *args, **how)

        let_ask(client, failing)
        emulator.set_backend(gone, hidden=True)
        async with Monitor(client, interval=0.05) as monitor:
            await until(lambda: ("us-east", gone) in monitor.fleet)  # from the old list
            let_know(client, [staying])
            await until(lambda: not monitor.failures and ("us-east", gone) not in monitor.fleet)
            assert len(monitor.fleet) == len(emulator.backends()) - 1


async def test_an_account_that_is_refused_is_tried_again(emulator: Emulator) -> None:
    pauses = Pauses()
    emulator.fault(Status(400, body={"errorCode": "BXNIM0415E"}), resource="token", times=1)
    async with (
        Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client,
        Monitor(client, interval=0.05, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: bool(pauses.waiting))
        assert monitor.failures
        pauses.end()
        assert not pauses.waiting
        await until(lambda: bool(pauses.waiting))  # it was, in vain: a refusal is believed for a while


async def test_it_ends_with_its_client(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        monitor = Monitor(client, interval=0.05)
        monitor.start()
        await until(lambda: bool(monitor.fleet))
    await asyncio.wait_for(monitor.ended.wait(), 30)
    await monitor.aclose()


async def test_a_new_calibration_is_told() -> None:
    hour = [1_750_000_000.0]
    pauses = Pauses()
    events: list[MonitorEvent] = []
    async with (
        Emulator(regions=("us-east",), clock=lambda: hour[0]) as emulator,
        Client(emulator.account(), cache=CachePolicy(properties=0)) as client,
        Monitor(client, interval=0.05, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        monitor.listeners.add(events.append)
        hour[0] += 3600
        emulator.expire_tokens()
        await until(lambda: bool(pauses.waiting))
        pauses.end()
        await until(lambda: sum(one.kind == "calibrated" for one in events) == len(emulator.backends()))
    for one in events:
        if one.kind == "calibrated":
            assert calibrated_at(one.after) > calibrated_at(one.before)


async def test_what_is_gone_when_an_instance_recovers_is_forgotten(
    emulator: Emulator, store: RedisStore
) -> None:
    """A watch reports as removed only what it has reported before; the cache's list does not count."""
    async with Client(emulator.account(), store=store) as first:
        await first.backends()
    for region in emulator.regions:
        await emulator.stop_region(region)
    once, calm = RetryPolicy(attempts=1), Limits(failures=10**9)
    name = emulator.backends("us-east")[0]
    async with (
        Client(emulator.account(), store=store, retry=once, limits=calm) as client,
        Monitor(client, interval=0.05) as monitor,
    ):
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: len(monitor.failures) == 2)
        emulator.set_backend(name, hidden=True)
        for region in emulator.regions:
            await emulator.start_region(region)
        await until(lambda: not monitor.failures)
        await until(lambda: ("us-east", name) not in monitor.fleet)
        assert len(monitor.fleet) == len(emulator.backends()) - 1


async def test_a_mistake_of_a_listener_does_not_end_it(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()

    def mistaken(event: MonitorEvent) -> None:
        monitor.listeners.clear()
        raise ZeroDivisionError("a mistake")

    async with Monitor(client, interval=0.05, sleep=pauses.sleep) as monitor:
        monitor.listeners.add(mistaken)
        await until(lambda: "a mistake" in caplog.text)
        while len(monitor.fleet) < len(emulator.backends()):
            pauses.end()
            await asyncio.sleep(0)
        assert not monitor.ended.is_set()


async def test_a_large_calibration_is_summarized_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, threading.Thread] = {}
    allowed = threading.Event()

    def summarized(*, properties: BackendProperties) -> BackendSummary:
        threads[properties.backend_name] = threading.current_thread()
        assert properties.backend_name == "small" or allowed.wait(30)
        return summary(properties=properties)

    monkeypatch.setattr("qrbackends.fleet.calibrations.summary", summarized)
    sizes = {"small": 5, "large": 600, "larger": 700}
    async with (
        Emulator(SyntheticFleet(sizes), regions=("us-east",)) as emulator,
        Client(emulator.account()) as client,
        Monitor(client, interval=0.05) as monitor,
    ):
        try:
            await until(lambda: len(threads) == 2)
            await until(lambda: monitor.fleet["us-east", "small"].calibration is not None)
            assert threads["small"] is threading.main_thread()
            (first,) = threads.keys() - {"small"}
            assert threads[first] is not threading.main_thread()
            emulator.set_backend(first, hidden=True)
            await until(lambda: ("us-east", first) not in monitor.fleet)
        finally:
            allowed.set()
        (second,) = sizes.keys() - {"small", first}
        await until(lambda: monitor.fleet["us-east", second].calibration is not None)
        assert ("us-east", first) not in monitor.fleet, "it disappeared while it was summarized"


async def test_a_first_list_of_many_backends_lets_others_run(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        one = next(one for one in await client.backends() if one.region == "us-east")
        entry = {key: value for key, value in msgspec.to_builtins(one).items() if "qrbackends" not in key}
        devices = [entry | {"name": f"backend_{number}"} for number in range(1000)]
        emulator.fault(Status(200, body={"devices": devices}), resource="backends", times=None)
    async with Client(emulator.account()) as client, Monitor(client, interval=3600) as monitor:
        await until(lambda: 0 < len(monitor.fleet) < 1000)
        await until(lambda: len(monitor.fleet) == 1000 * len(emulator.regions))


async def test_an_equal_calibration_is_no_event(emulator: Emulator) -> None:
    pauses, events = Pauses(), list[MonitorEvent]()
    async with (
        Client(emulator.account(), cache=CachePolicy(properties=0)) as client,
        Monitor(client, interval=3600.0, sleep=pauses.sleep) as monitor,
    ):
        monitor.listeners.add(events.append)
        await until(lambda: all(one.calibration for one in monitor.fleet.values()) and bool(pauses.waiting))
        known = {key: one.calibration for key, one in monitor.fleet.items()}
        events.clear()
        fetched = emulator.count("properties")
        pauses.end()  # each document is fetched and decoded anew
        await until(lambda: bool(pauses.waiting))
        assert emulator.count("properties") == fetched + len(known)
        assert {key: one.calibration for key, one in monitor.fleet.items()} == known
        assert [event for event in events if event.kind == "calibrated"] == []


async def test_a_fresh_document_that_was_evicted_is_not_fetched_anew() -> None:
    """More devices than fit into memory: each is asked for again when its freshness ends, and not before."""
    pauses, seconds = Pauses(), [0.0]
    small = Memory(300_000, share=1, clock=lambda: seconds[0])
    async with (
        Emulator(SyntheticFleet({f"d{number}": 16 for number in range(12)}), ("us-east",)) as emulator,
        Client(emulator.account(), cache=CachePolicy(jitter=0), memory=small) as client,
        Monitor(client, interval=3600, sleep=pauses.sleep, clock=lambda: seconds[0]) as monitor,
    ):

        async def round_ended() -> None:
            await until(lambda: bool(pauses.waiting))

        await until(lambda: len(monitor.fleet) == 12)
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        await round_ended()
        assert client.stats().evictions > 0
        assert emulator.count("properties") == 12
        for _ in range(4):  # rounds within the freshness
            seconds[0] += 60
            pauses.end()
            await round_ended()
        assert emulator.count("properties") == 12
        seconds[0] += 60
        pauses.end()
        await until(lambda: emulator.count("properties") == 24)


@pytest.mark.parametrize("which", [0, 1])
async def test_it_says_that_it_ended_when_others_cancel_its_tasks(
    which: int, emulator: Emulator, client: Client
) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: bool(monitor.fleet))
        sorted(monitor_tasks(monitor), key=str)[which].cancel()
        await asyncio.wait_for(monitor.ended.wait(), 30)
        await until(lambda: not monitor_tasks(monitor))


async def test_in_a_forked_process_it_is_not_up(client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: bool(monitor.view.backends))
        forked = copy.copy(monitor)
        forked.leave_to_parent()  # as after a fork
        assert monitor.view.is_up
        assert not forked.view.is_up
        assert forked.view.backends


class Mistaken(Client):
    """A client that fails with what is not one of this package's errors, while `mistake` is set."""

    mistake = False

    async def fetch(self, *question: Any, **how: Any) -> Fetched[Any]:
        if self.mistake:
            raise ZeroDivisionError
        return await super().fetch(*question, **how)


async def test_a_mistake_leaves_no_region_up_with_old_figures(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    async with (
        Mistaken(emulator.account()) as client,
        Monitor(client, interval=0.05, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        client.mistake = True
        await until(lambda: None in monitor.failures)
        assert "ZeroDivisionError" in str(monitor.failures[None].error)
        assert "the fleet could not be followed" in caplog.text
        client.mistake = False
        while monitor.failures:
            pauses.end()
            await asyncio.sleep(0)
        assert not monitor.ended.is_set()


@pytest.mark.parametrize("raised", [ValueError, OSError, TypeError])
async def test_a_provider_of_tokens_that_fails_is_a_failure(
    raised: type[Exception], emulator: Emulator
) -> None:
    broken = [False]
    account = emulator.account()
    async with aiohttp.ClientSession() as web:

        async def provider() -> tuple[str, float]:
            if broken[0]:
                raise raised
            form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": emulator.api_keys[0]}
            async with web.post(f"{emulator.iam_url}/identity/token", data=form) as answer:
                return (await answer.json())["access_token"], time.time() + 0.1  # asked again and again

        own = dataclasses.replace(account, api_key=None, token=provider)
        async with Client(own, retry=RetryPolicy(attempts=1)) as client, Monitor(client, 0.05) as monitor:
            await until(lambda: len(monitor.fleet) == len(emulator.backends()))
            broken[0] = True
            await until(lambda: bool(monitor.failures))
            assert len(monitor.fleet) == len(emulator.backends()), "what was known stays"


async def test_a_document_that_cannot_be_summarized_spoils_no_other(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd = emulator.backends()[0]

    def summarized(*, properties: BackendProperties) -> BackendSummary:
        if properties.backend_name == odd:
            raise OverflowError("int too large to convert to float")
        return summary(properties=properties)

    monkeypatch.setattr("qrbackends.fleet.calibrations.summary", summarized)
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: sum(known.calibration is not None for known in monitor.fleet.values()) == 7)
        assert f"cannot be read: {odd} [" in caplog.text
        assert "]: its calibration cannot be used: OverflowError" in caplog.text
