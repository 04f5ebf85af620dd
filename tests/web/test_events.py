"""Server-sent events: many readers of one watch, who come and go, stall and resume."""

import asyncio
import gc
import re
import signal
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.routing import Mount

from qrbackends import Client, Limits, MonitoredBackend, MonitorEvent, RedisStore, RetryPolicy
from qrbackends.emulator import Emulator
from qrbackends.models import DeviceStatus
from qrbackends.web import Pace, api_app, event_data
from qrbackends.web import events as module
from qrbackends.web.responses import SLICE

from ..internals import last_id, log_bytes, subscriptions, told_of_a_change, watcher
from ..waiting import until
from .serving import Reader, Sent, events, served

pytestmark = pytest.mark.anyio

FAST = Pace(interval=0.05)


async def started(web: aiohttp.ClientSession, url: str, **headers: str) -> tuple[Any, Any]:
    response = await web.get(f"{url}/events", headers=headers)
    assert response.status == 200
    assert response.content_type == "text/event-stream"
    return response, events(response)


async def first_whole(stream: Any, count: int) -> dict[str, Any]:
    """Return every backend that a stream has reported, once there are so many, calibrated."""
    fleet: dict[str, Any] = {}
    async for sent in stream:
        fold(fleet, sent)
        if len(fleet) == count and all("calibration" in one for one in fleet.values()):
            return fleet
    raise AssertionError("it ended")


def fold(fleet: dict[str, Any], sent: Sent) -> None:
    if sent.event == "state":
        fleet.clear()
        fleet.update({one["backend"]["name"]: one for one in sent.data["backends"]})
    elif sent.event == "change" and "name" in sent.data:
        if "after" in sent.data:
            fleet[sent.data["name"]] = sent.data["after"]
        else:
            fleet.pop(sent.data["name"], None)


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    async with served(api_app(client, pace=FAST)) as address:
        yield address


async def test_a_reader_gets_the_state_and_then_each_change(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    response, stream = await started(web, url)
    fleet = await first_whole(stream, len(emulator.backends()))
    name = emulator.backends()[0]
    emulator.set_backend(name, status="paused", reason="</script>\n\ndata: {}", queue_length=3)
    async for sent in stream:
        fold(fleet, sent)
        if sent.data.get("name") == name and sent.data["kind"] == "status":
            break
    assert fleet[name]["backend"]["status"] == {"name": "paused", "reason": "</script>\n\ndata: {}"}
    emulator.set_backend(name, hidden=True)
    async for sent in stream:
        fold(fleet, sent)
        if name not in fleet:
            break
    assert "crn:" not in str(fleet)
    for one in fleet.values():
        (gate,) = one["calibration"]["gates"]
        assert gate["gate"] == one["calibration"]["two_qubit_gate"]
        assert "calibration_age" not in one["calibration"], "the reader counts it from calibrated_at"
    response.close()


async def test_the_state_is_what_the_contract_says(client: Client) -> None:
    hub = module.Hub(client, FAST)
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet) and all(one.calibration for one in monitor.fleet.values()))
    reader = Reader(hub)
    await reader.until(b"\n\n")
    sent = re.search(rb"^data: (.*)$", b"".join(reader.sent), re.MULTILINE)
    assert sent is not None
    state = msgspec.json.decode(sent[1], type=event_data.FullState)
    assert {one.backend.name for one in state.backends} == {name for _, name in monitor.fleet}
    assert {(region, name) for region, name, _ in state.queues} == monitor.fleet.keys()
    assert all(samples for _, _, samples in state.queues)
    await reader.leave()
    await monitor.aclose()


async def test_who_comes_back_gets_what_they_missed_and_nothing_twice(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    keeper, stay = await started(web, url)  # the log goes on
    await first_whole(stay, len(emulator.backends()))
    response, stream = await started(web, url)
    first = await anext(stream)
    assert first.event == "state"
    response.close()
    name = emulator.backends()[0]
    emulator.set_backend(name, queue_length=1234)
    async for sent in stay:
        if sent.data.get("name") == name and sent.data["after"]["backend"]["queue_length"] == 1234:
            break
    last = sent.id
    assert first.id is not None
    response, stream = await started(web, url, **{"Last-Event-ID": first.id})
    missed = [await anext(stream)]
    while missed[-1].id != last:
        missed.append(await anext(stream))
    assert {one.event for one in missed} == {"change"}
    numbers = [int(one.id.split("-")[1]) for one in missed if one.id]
    assert numbers == list(range(int(first.id.split("-")[1]) + 1, numbers[-1] + 1))
    for end in (response, keeper):
        end.close()


@pytest.mark.parametrize(
    "known", ["", "0123456789ab-3", "nonsense", "-", "x-99999999999999999999999999", "é-1"]
)
async def test_an_unknown_id_gets_the_full_state(known: str, url: str, web: aiohttp.ClientSession) -> None:
    response, stream = await started(web, url, **({"Last-Event-ID": known} if known else {}))
    assert (await anext(stream)).event == "state"
    response.close()


async def test_an_id_that_has_left_the_log_gets_the_full_state(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    async with served(api_app(client, pace=Pace(interval=0.05, log=5))) as url:
        response, stream = await started(web, url)
        first = await anext(stream)
        response.close()
        assert first.id is not None
        response, stream = await started(web, url)
        await first_whole(stream, len(emulator.backends()))
        response.close()
        response, stream = await started(web, url, **{"Last-Event-ID": first.id})
        assert (await anext(stream)).event == "state"
        response.close()


async def test_a_quiet_fleet_gives_heart_beats(client: Client, web: aiohttp.ClientSession) -> None:
    async with served(api_app(client, pace=Pace(interval=3600, beat=0.05))) as url:
        response, stream = await started(web, url)
        async for sent in stream:
            if sent.event == "beat":
                break
        assert sent.id is None, "a heart-beat does not move the place to resume at"
        response.close()


async def test_there_are_only_so_many_readers(client: Client, web: aiohttp.ClientSession) -> None:
    async with served(api_app(client, pace=Pace(interval=3600, readers=2))) as url:
        first, one = await started(web, url)
        second, other = await started(web, url)
        await anext(one)
        await anext(other)
        async with web.get(f"{url}/events") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
        first.close()
        second.close()


async def test_without_readers_nothing_is_asked_after_a_while(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ENDING", 0.01)
    async with served(api_app(client, pace=Pace(interval=0.02, linger=0))) as url:
        response, stream = await started(web, url)
        await anext(stream)
        response.close()
        await until(lambda: not subscriptions(watcher(client)))
        response, stream = await started(web, url)
        assert (await first_whole(stream, len(emulator.backends()))).keys() == set(emulator.backends())
        response.close()


async def test_streams_end_when_the_server_does(
    client: Client, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ending:
        should_exit = False

        def handle(self, number: int, frame: Any) -> None: ...

    ending = Ending()
    before = signal.signal(signal.SIGTERM, ending.handle)
    monkeypatch.setattr(module, "_ENDING", 0.01)
    try:
        async with served(api_app(client, pace=Pace(interval=3600))) as url:
            response, stream = await started(web, url)
            await anext(stream)
            ending.should_exit = True
            assert [sent.event async for sent in stream][-1:] != ["state"]  # it ends, whatever came before
            response.close()
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_streams_end_when_the_client_does(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    async with Client(emulator.account()) as client, served(api_app(client, pace=FAST)) as url:
        response, stream = await started(web, url)
        await anext(stream)
        await client.aclose()
        async for _ in stream:
            pass
        assert response.content.at_eof()


class Crowd:
    """Readers who follow every change of one backend's queue, and some who take nothing."""

    def __init__(self, url: str, name: str, last: int) -> None:
        self.queues: list[list[int]] = []
        self.numbers: list[list[int]] = []
        self.url = url
        self.name = name
        self.last = last
        self.stalled: list[socket.socket] = []

    async def stall(self) -> None:
        """Let one come who never takes anything."""
        host, port = self.url.removeprefix("http://").split(":")
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(one, (host, int(port)))
        await loop.sock_sendall(one, b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        self.stalled.append(one)

    async def read(self, web: aiohttp.ClientSession) -> None:
        """Read until the last change."""
        queues: list[int] = []
        numbers: list[int] = []
        response, stream = await started(web, self.url)
        assert (await anext(stream)).event == "state"
        self.queues.append(queues)
        self.numbers.append(numbers)
        async for sent in stream:
            if sent.event != "change":
                continue
            numbers.append(int(sent.id.split("-")[1]))
            if sent.data.get("name") == self.name and sent.data["kind"] == "queue":
                queues.append(sent.data["after"]["backend"]["queue_length"])
            if queues[-1:] == [self.last]:
                break
        response.close()

    async def leave(self) -> None:
        """See that those who took nothing were cut off, whatever was on its way to them."""
        for one in self.stalled:
            with suppress(ConnectionError):
                while await asyncio.get_running_loop().sock_recv(one, 65536):
                    pass
            one.close()


def the_hub() -> module.Hub:
    """Return the hub that runs now."""
    (hub,) = (one for one in gc.get_objects() if isinstance(one, module.Hub) and one.monitor is not None)
    return hub


async def test_pages_of_one_second_show_the_same(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = module.Hub(client, Pace(interval=3600))
    monitor = hub.wake()
    seconds = [5.0]
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: seconds[0])
    first = hub.view()
    told_of_a_change(monitor)
    seconds[0] = 5.9
    assert hub.view() is first
    seconds[0] = 6.0
    assert hub.view() is monitor.view is not first
    monkeypatch.undo()
    await monitor.aclose()


async def many_readers(live: int, stalled: int, changes: int) -> None:
    """Let live readers follow every change, stalled ones take nothing, and one watch ask for all."""
    once, calm = RetryPolicy(attempts=1), Limits(failures=10**9)
    pace = Pace(interval=0.02, patience=1.0, log=2048)
    async with (
        Emulator() as emulator,
        Client(emulator.account(), retry=once, limits=calm) as client,
        served(api_app(client, pace=pace), send_buffer=4096) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web,
    ):
        name, *others = emulator.backends()
        wanted = list(range(1000, 1000 + changes))
        for one in emulator.backends():
            emulator.set_backend(one, queue_length=999)
        crowd = Crowd(url, name, wanted[-1])
        for _ in range(stalled):
            await crowd.stall()
        readers = [asyncio.ensure_future(crowd.read(web)) for _ in range(live)]
        await until(lambda: len(crowd.numbers) == live)
        hub = the_hub()
        await until(lambda: hub.readers == live + stalled)
        await shows(hub, name, 999)
        sizes = []
        for queue in wanted:
            for one in others:  # much to be sent, so that who takes nothing is soon full
                emulator.set_backend(one, queue_length=queue, reason="x" * 500, status="online")
            emulator.set_backend(name, queue_length=queue)
            await shows(hub, name, queue)
            if queue % 50 == 0:
                gc.collect()
                sizes.append(len(gc.get_objects()))
        await asyncio.wait_for(asyncio.gather(*readers), 60)
        await until(lambda: hub.readers == 0)
        await asyncio.wait_for(crowd.leave(), 30)
        assert crowd.queues == [wanted] * live, "everyone live gets every change"
        for numbers in crowd.numbers:
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "none missing, none twice"
        assert hub.dropped == stalled
        assert all(later < 1.1 * sizes[1] + 5000 for later in sizes[2:]), "memory is flat"
        polls = emulator.count("backends", region="us-east")
        assert client.stats().backends.misses >= polls, "one watch asks for all"


async def shows(hub: module.Hub, name: str, queue: int) -> None:
    """Wait until a backend's queue is known to be so long."""
    assert hub.monitor is not None
    fleet = hub.monitor.fleet
    await until(
        lambda: any((one.backend.name, one.backend.queue_length) == (name, queue) for one in fleet.values())
    )


async def asked_again(emulator: Emulator, region: str) -> None:
    """Wait until a region's list is asked for once more."""
    before = emulator.count("backends", region=region)
    await until(lambda: emulator.count("backends", region=region) > before)


async def test_readers_get_every_change_and_the_stalled_are_dropped() -> None:
    await many_readers(live=20, stalled=3, changes=60)


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_two_hundred_readers_of_which_ten_are_stalled() -> None:
    await many_readers(live=190, stalled=10, changes=300)


async def test_one_worker_polls_and_the_others_are_told(emulator: Emulator, redis: Any, server: Any) -> None:
    interval = 0.5
    stores = [RedisStore(server.url, timeout=30) for _ in range(4)]
    clients = [Client(emulator.account(), store=store) for store in stores]
    queues: list[list[int]] = [[] for _ in clients]
    name = emulator.backends("us-east")[0]

    async def watch(client: Client, seen: list[int]) -> None:
        async for change in client.watch(interval, [name]):
            if change.after is not None:
                seen.append(change.after.queue_length)
            if seen[-1:] == [1008]:
                return

    tasks = [asyncio.ensure_future(watch(*pair)) for pair in zip(clients, queues, strict=True)]
    await until(lambda: all(queues))
    emulator.reset_log()
    ticks = 8
    for tick in range(ticks):
        emulator.set_backend(name, queue_length=1001 + tick)
        await asked_again(emulator, "us-east")
    await asyncio.wait_for(asyncio.gather(*tasks), 60)
    polls = emulator.count("backends", region="us-east")
    for client in clients:
        await client.aclose()
    for store in stores:
        await store.aclose()
    # Each tick one of four; at most one more where a tick came between two workers'.
    assert polls <= 2 * ticks + 2, f"{polls} requests in {ticks} ticks of 4 workers"


async def test_what_happens_during_a_heart_beat_is_not_lost(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that is logged in the moment in which a heart-beat is due comes after it."""
    hub = module.Hub(client, Pace(interval=3600, beat=0.01))
    stream = hub.read(None)
    pieces = [await anext(stream)]
    monitor = hub.wake()
    await until(lambda: all(one.calibration for one in monitor.fleet.values()) and bool(monitor.fleet))
    pieces.append(await anext(stream))
    while not pieces[-1].startswith(b"event: beat"):
        pieces.append(await anext(stream))
    sent = int(re.findall(rb"^id: \w+-(\d+)$", b"".join(pieces), re.MULTILINE)[-1])

    beat = hub._send_beat

    def beat_and_event() -> None:
        beat()
        monkeypatch.undo()
        for listener in monitor.listeners:
            listener(MonitorEvent("failed", datetime.now(UTC), "us-east"))

    monkeypatch.setattr(hub, "_send_beat", beat_and_event)
    pieces = [await anext(stream)]
    while f"-{sent + 1}\n".encode() not in pieces[-1]:
        pieces.append(await anext(stream))
    assert (await anext(stream)).startswith(b"event: beat")
    await stream.aclose()
    await monitor.aclose()


async def test_what_is_sent_is_encoded_once_for_all_readers(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[str] = []
    event = module._event

    made: dict[int, bytes] = {}  # by identity

    def counted(name: str, *rest: Any) -> bytes:
        encoded.append(name)
        found = event(name, *rest)
        made[id(found)] = found
        return found

    monkeypatch.setattr(module, "_event", counted)
    hub = module.Hub(client, Pace(interval=3600, beat=0.05))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet) and all(one.calibration for one in monitor.fleet.values()))
    readers = [Reader(hub) for _ in range(50)]
    for reader in readers:
        await reader.until(b"event: state")
    assert encoded.count("state") <= 2, "one for each second in which readers come"
    assert encoded.count("change") == 0, "what nobody reads is not encoded"
    for number in range(3):
        for listener in monitor.listeners:
            listener(MonitorEvent("failed", datetime.now(UTC), f"region-{number}"))
    for reader in readers:
        await reader.until(b"region-2")
    assert encoded.count("change") == 3
    for reader in readers:
        await reader.until(b"event: beat")
    beats = [piece for reader in readers for piece in reader.sent if piece.startswith(b"event: beat")]
    assert {id(piece) for piece in beats} <= made.keys()
    texts = [text for text in made.values() if text.startswith(b"event: beat")]
    assert len(texts) == len(set(texts)), "no beat is encoded twice"
    for reader in readers:
        await reader.leave()
    await monitor.aclose()


async def test_all_readers_are_sent_the_same_bytes_objects(client: Client) -> None:
    """Of more than what is sent at once, too: a copy for each of thousands of readers takes the loop."""
    hub = module.Hub(client, Pace(interval=3600, beat=3600))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet) and all(one.calibration for one in monitor.fleet.values()))
    readers = [Reader(hub) for _ in range(50)]
    for reader in readers:
        await reader.until(b"event: state")
        reader.sent.clear()
    (region, name), known = next(iter(monitor.fleet.items()))
    for number in range(60):
        after = replace(known, backend=replace(known.backend, queue_length=1_000_000 + number))
        for listener in monitor.listeners:
            listener(MonitorEvent("queue", datetime.now(UTC), region, name, known, after))
    for reader in readers:
        await reader.until(b"1000059")
    assert len(readers[0].sent) > 1
    assert max(map(len, readers[0].sent)) <= SLICE
    assert len({tuple(map(id, reader.sent)) for reader in readers}) == 1
    for reader in readers:
        await reader.leave()
    await monitor.aclose()


@pytest.mark.parametrize(
    "known",
    [
        "-1",
        "-" * 100_000,
        "9" * 100_000,
        "EPOCH--1",
        "EPOCH-" + "9" * 19,
        "EPOCH-1e3",
        "EPOCH-٣",
        "EPOCH- 1",
        "x" * 100_000,
    ],
    ids=lambda known: known[:12],
)
async def test_an_id_of_any_content_gets_the_full_state(known: str, client: Client) -> None:
    hub = module.Hub(client, Pace(interval=3600))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet))
    epoch = last_id(hub).partition("-")[0]
    reader = Reader(hub, known.replace("EPOCH", epoch))
    await reader.until(b"event: state")
    await reader.leave()
    await monitor.aclose()


async def test_who_accepts_nothing_holds_little_and_is_dropped(client: Client) -> None:
    """A state of megabytes is handed to the server in parts, the next one when the last one was accepted."""
    hub = module.Hub(client, Pace(interval=3600, patience=0.05))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet))
    (place, known), *_ = monitor.fleet.items()
    for number in range(3000):
        monitor.fleet[place[0], f"more-{number}"] = MonitoredBackend(
            replace(known.backend, name=f"more-{number}", status=DeviceStatus("online", "x" * 500))
        )
    reader, stuck = Reader(hub), Reader(hub, accepts=3)
    await reader.until(b"\n\n")
    assert sum(map(len, reader.sent)) > 2_000_000
    await until(lambda: hub.dropped == 1)
    assert sum(map(len, stuck.sent)) < 200_000
    assert max(map(len, reader.sent)) <= 2**16
    for one in (reader, stuck):
        await one.leave()
    await monitor.aclose()


async def test_the_log_is_bounded_in_bytes_too(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOG_BYTES", 100_000)
    hub = module.Hub(client, Pace(interval=3600))
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet))
    reader = Reader(hub)
    await reader.until(b"event: state")
    late = last_id(hub)
    for number in range(50):
        for listener in monitor.listeners:
            listener(MonitorEvent("failed", datetime.now(UTC), f"{'x' * 10_000}-{number}-end"))
    await reader.until(b"-49-end")
    assert log_bytes(hub) <= 100_000
    again = Reader(hub, late)
    await until(lambda: len(again.sent) > 1)
    assert again.sent[1].startswith(b"id: ")
    assert b"event: state" in again.sent[1], "what it missed has left the log"
    for one in (reader, again):
        await one.leave()
    await monitor.aclose()


async def test_asking_for_the_head_of_the_stream_ends(url: str, web: aiohttp.ClientSession) -> None:
    async with web.head(f"{url}/events") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"


async def test_a_hub_does_not_keep_its_client(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    app: Any = api_app(pace=FAST)
    client = Client(emulator.account())
    kept = weakref.ref(client)
    host = Starlette(routes=[Mount("/", app)])
    host.state.qrbackends = client
    async with client, served(host) as url:
        response, stream = await started(web, url)
        await anext(stream)
        response.close()
        async with web.get(f"{url}/backends") as answer:
            assert answer.status == 200
    del host, client

    def gone() -> bool:
        gc.collect()
        return kept() is None

    await until(gone)


async def test_who_cannot_be_cut_off_keeps_their_place(emulator: Emulator, client: Client) -> None:
    """Under a host app the connection is not to be seen: what piles up in it stays bounded by `readers`."""
    host = Starlette(routes=[Mount("/", api_app(client, pace=Pace(interval=0.02, patience=0.2)))])
    async with served(host, send_buffer=4096) as url:
        crowd = Crowd(url, emulator.backends()[0], -1)
        await crowd.stall()
        await until(lambda: any(isinstance(one, module.Hub) and one.readers for one in gc.get_objects()))
        hub = the_hub()
        for queue in range(1000, 1400):
            for name in emulator.backends():
                emulator.set_backend(name, queue_length=queue, reason="x" * 500, status="online")
            await shows(hub, emulator.backends()[0], queue)
            if hub.dropped:
                break
        assert (hub.dropped, hub.readers) == (1, 1)
        for one in crowd.stalled:
            one.close()
        await until(lambda: hub.readers == 0)


async def test_who_wants_to_know_only_that_there_is_something_new_is_told_in_few_bytes(
    client: Client,
) -> None:
    hub = module.Hub(client, Pace(interval=3600, beat=3600))
    one, other = hub.changes(), hub.changes()
    first = await anext(one)
    assert await anext(other) is first, "all are sent the same bytes"
    monitor = hub.wake()
    await until(lambda: bool(monitor.fleet) and monitor.asked_at is not None)
    told_of_a_change(monitor)
    later = await anext(one)
    versions = [msgspec.json.decode(text.partition(b"data: ")[2])["version"] for text in (first, later)]
    assert versions[0] != versions[1] == hub.seen().version
    assert len(later) < 200
    await client.aclose()
    assert [piece async for piece in one] == [], "it ends with the client"
    await other.aclose()
