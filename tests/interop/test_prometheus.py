"""What Prometheus gets, read by its own parser."""

import asyncio
import json
import re
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import anyio.lowlevel
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from qrbackends import (
    Backend,
    Client,
    FleetView,
    Limits,
    Monitor,
    MonitoredBackend,
    RetryPolicy,
    ServerError,
    SessionPool,
)
from qrbackends.emulator import Emulator, Status
from qrbackends.interop.exposition import FleetText, fleet_text
from qrbackends.interop.prometheus import Collector
from qrbackends.models import DeviceStatus
from qrbackends.web import MetricsApp

from ..internals import monitor_tasks
from ..waiting import until
from ..web.serving import served

pytestmark = pytest.mark.anyio

UNITS = (
    "seconds",
    "bytes",
    "ratio",
    "jobs",
    "qubits",
    "gates",
    "emulated",
    "couplings",
    "total",
    "state",
    "up",
    "entries",
    "info",
)


_parsed: Any = text_string_to_metric_families  # neither is typed
_written: Any = generate_latest
_parsed_later: Any = open_metrics
_written_later: Any = exposition.generate_latest


def page(collector: Collector) -> dict[str, Any]:
    """Return the families of a scrape, by name."""
    registry = CollectorRegistry()
    registry.register(collector)
    text = _written(registry).decode()
    families = {family.name: family for family in _parsed(text)}
    later = _written_later(registry).decode()
    assert {family.name for family in _parsed_later(later)} == set(families)
    return families


def value(families: dict[str, Any], name: str, **labels: str) -> float:
    family = next(one for key, one in families.items() if name.startswith(key))
    (found,) = (
        sample.value
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return float(found)


async def test_the_page_tells_fleet_and_client(emulator: Emulator, client: Client) -> None:
    name = emulator.backends("us-east")[0]
    emulator.set_backend(name, status="paused", queue_length=12)
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        properties = await client.properties(name)
        now = properties.last_update_date + timedelta(hours=3)
        asked = len(emulator.requests)
        families = page(Collector(client, monitor, now=lambda: now))
        assert len(emulator.requests) == asked, "a scrape asks for nothing"
    where = {"backend": name, "region": "us-east"}
    assert value(families, "qrbackends_backend_queue_jobs", **where) == 12
    assert value(families, "qrbackends_backend_emulated", **where) == 1
    assert value(families, "qrbackends_backend_state", **where, state="paused") == 1
    assert value(families, "qrbackends_backend_state", **where, state="online") == 0
    assert value(families, "qrbackends_backend_t1_seconds", **where) == properties.median_t1()
    assert (
        value(families, "qrbackends_backend_two_qubit_error_ratio", **where)
        == properties.median_two_qubit_error()
    )
    assert value(families, "qrbackends_backend_broken_couplings", **where) == len(
        properties.broken_couplings()
    )
    assert value(families, "qrbackends_backend_calibration_age_seconds", **where) == 3 * 3600
    assert value(families, "qrbackends_region_up", region="eu-de") == 1
    assert value(families, "qrbackends_requests_total", region="us-east", outcome="200") >= 2
    assert value(families, "qrbackends_cache_answers_total", resource="properties", result="miss") == len(
        emulator.backends()
    )
    count = value(families, "qrbackends_request_duration_seconds_count", region="us-east")
    assert count == value(families, "qrbackends_requests_total", region="us-east", outcome="200")
    assert value(families, "qrbackends_circuit_state", region="us-east", state="closed") == 1


async def test_names_follow_the_conventions(client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: bool(monitor.fleet))
        families = page(Collector(client, monitor))
    for name, family in families.items():
        assert re.fullmatch("qrbackends_[a-z0-9_]+", name)
        assert family.documentation
        assert name.rpartition("_")[2] in UNITS or family.type == "counter", name
        assert not re.search("milli|micro|_ms$|_us$|percent", name), "base units only"
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total")
            assert all(re.fullmatch("[a-z_]+", label) for label in sample.labels)


async def test_what_goes_wrong_is_counted(emulator: Emulator) -> None:
    name = emulator.backends("us-east")[0]
    policy = RetryPolicy(attempts=3, base=0.0, cap=0.0)
    async with Client(emulator.account(), retry=policy, limits=Limits(failures=4, rest=3600)) as client:
        emulator.fault(Status(500), resource="status", times=2)
        await client.status(name)
        families = page(Collector(client))
        assert value(families, "qrbackends_requests_total", region="us-east", outcome="500") == 2
        assert value(families, "qrbackends_retries_total", region="us-east") == 2
        emulator.fault(Status(500), resource="configuration", times=None)
        emulator.fault(Status(500), resource="properties", times=None)
        for ask in (client.configuration, client.properties):
            with pytest.raises(ServerError):
                await ask(name)
        await emulator.stop_region("us-east")
        families = page(Collector(client))
        assert value(families, "qrbackends_circuit_state", region="us-east", state="open") == 1
        stats = next(one for one in client.stats().regions if one.region == "us-east")
        assert stats.requests == sum(stats.durations)
        assert stats.seconds > 0
        assert {one.region for one in client.stats().regions} >= {"us-east", "iam"}


async def test_a_region_that_fails_is_down(emulator: Emulator, client: Client) -> None:
    async with Monitor(client, interval=0.05) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await emulator.stop_region("eu-de")
        await until(lambda: bool(monitor.failures))
        families = page(Collector(client, monitor))
    assert value(families, "qrbackends_region_up", region="eu-de") == 0
    assert value(families, "qrbackends_region_up", region="us-east") == 1


MOST = 2**53  # jobs; the largest number that is exact in the text
ODD = (
    'a"b\\c\nd{} é',
    "nothing\u202e\x1b[2J\x7f\u2028",
    "long" * 25_000,
    "long" * 25_000 + "er",
    "",
)


def entry(name: str, queue: int = 3) -> dict[str, Any]:
    return {"name": name, "status": {"name": "on\nline", "reason": None}, "queue_length": queue}


async def test_labels_hold_what_the_service_says_whatever_it_is(client: Client, emulator: Emulator) -> None:
    """Odd backends are there with the others, whose figures are as ever."""
    devices = [entry(name) for name in ODD] + [entry("huge", MOST), entry("tiny", -MOST), entry("a")]
    body = json.dumps({"devices": devices})
    emulator.fault(Status(200, body=body.encode()), resource="backends", region="us-east", times=None)
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(devices) + len(emulator.backends("eu-de")))
        families = page(Collector(client, monitor))
        text = await scraped(MetricsApp(client, monitor))
        assert await scraped(MetricsApp(client, monitor), Accept=OPEN_METRICS)
    queues = {
        sample.labels["backend"]: sample.value
        for sample in families["qrbackends_backend_queue_jobs"].samples
        if sample.labels["region"] == "us-east"
    }
    assert [queues.pop(name) for name in ("huge", "tiny", "a")] == [MOST, 0, 3]
    assert [queues.pop(name) for name in ODD if len(name) < 100] == [3, 3, 3]
    assert len(queues) == 2, "two names that are too long are two backends still"
    assert all(len(name) < 250 for name in queues)
    assert len(text) < 100_000
    for name in emulator.backends("eu-de"):
        assert value(families, "qrbackends_backend_queue_jobs", backend=name) >= 0


def test_a_name_that_cannot_be_encoded_is_a_label_too() -> None:
    backends = [
        MonitoredBackend(Backend(name, DeviceStatus("online"), 1, region=region))
        for name in ("\ud800", "\udfff", "?", "x")
        for region in (None, "")
    ]
    text = fleet_text(FleetView(tuple(backends), (), True)).fixed.decode()
    samples = [line for line in text.splitlines() if line.startswith("qrbackends_backend_queue_jobs")]
    assert len(samples) == len(set(samples)) == 4, "one series for each name"


async def test_a_region_that_is_asked_at_two_addresses_has_one_series(emulator: Emulator) -> None:
    async with SessionPool() as pool, Emulator(seed=1) as other:
        for one in (emulator, other):
            async with Client(one.account(), pool=pool) as client:
                await client.backends()
                families = page(Collector(client))
    assert sum(one.region == "us-east" for one in pool.stats()) == 2, "one for each address"
    assert value(families, "qrbackends_requests_total", region="us-east", outcome="200") == 2
    assert value(families, "qrbackends_request_duration_seconds_count", region="us-east") == 2
    assert value(families, "qrbackends_circuit_state", region="us-east", state="closed") == 1


async def test_an_age_is_never_negative(client: Client) -> None:
    """The service's clock may be ahead of ours."""
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: any(one.calibration for one in monitor.fleet.values()))
        early = datetime(2020, 1, 1, tzinfo=UTC)
        families = page(Collector(client, monitor, now=lambda: early))
        text = await scraped(MetricsApp(client, monitor, now=lambda: early))
    ages = [one.value for one in families["qrbackends_backend_calibration_age_seconds"].samples]
    assert set(ages) == {0.0}
    assert {one.value for one in parsed(text)["qrbackends_backend_calibration_age_seconds"].samples} == {0.0}


async def test_a_monitor_that_has_ended_is_not_up(emulator: Emulator, client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        async with served(MetricsApp(client, monitor)) as url, aiohttp.ClientSession() as web:
            families = parsed(await scrape(web, url))
            assert value(families, "qrbackends_monitor_up") == 1
            assert value(families, "qrbackends_region_up", region="eu-de") == 1
            async with web.get(f"{url}/healthz") as answer:
                assert answer.status == 200
            monitor_tasks(monitor).copy().pop().cancel()
            await asyncio.wait_for(monitor.ended.wait(), 30)
            families = parsed(await scrape(web, url))
            assert value(families, "qrbackends_monitor_up") == 0
            assert value(families, "qrbackends_region_up", region="eu-de") == 0
            assert value(families, "qrbackends_region_up", region="us-east") == 0
            async with web.get(f"{url}/healthz") as answer:
                assert answer.status == 503


async def test_a_scrape_from_another_thread_reads_nothing_of_the_loops(
    emulator: Emulator, client: Client
) -> None:
    class LoopsOwn(dict[Any, Any]):
        def values(self) -> Any:
            assert threading.current_thread() is threading.main_thread()
            return super().values()

    async with Monitor(client, interval=3600) as monitor:
        monitor.fleet, monitor.failures = LoopsOwn(), LoopsOwn()
        collector = Collector(client, monitor)
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await anyio.lowlevel.checkpoint()  # the step has ended
        families = await asyncio.to_thread(page, collector)
    queues = families["qrbackends_backend_queue_jobs"].samples
    assert {one.labels["backend"] for one in queues} == set(emulator.backends())


OPEN_METRICS = "application/openmetrics-text; version=1.0.0"


async def scraped(app: MetricsApp, **headers: str) -> str:
    async with served(app) as url, aiohttp.ClientSession() as web:
        return await scrape(web, url, **headers)


async def scrape(web: aiohttp.ClientSession, url: str, **headers: str) -> str:
    async with web.get(f"{url}/metrics", headers=headers) as answer:
        assert answer.status == 200
        text = await answer.text()
    families = (_parsed_later if "openmetrics" in answer.content_type else _parsed)(text)
    series = [
        (sample.name, tuple(sorted(sample.labels.items()))) for one in families for sample in one.samples
    ]
    assert len(set(series)) == len(series), "each series once"
    return text


def parsed(text: str) -> dict[str, Any]:
    return {family.name: family for family in _parsed(text)}


@pytest.mark.parametrize("accept", ["text/plain", OPEN_METRICS])
async def test_the_app_tells_what_the_collector_does(accept: str, emulator: Emulator, client: Client) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        now = datetime.now(UTC)
        registry = CollectorRegistry()
        registry.register(Collector(client, monitor, now=lambda: now))
        is_open = "openmetrics" in accept
        expected = (_written_later if is_open else _written)(registry).decode()
        async with (
            served(MetricsApp(client, monitor, now=lambda: now)) as url,
            aiohttp.ClientSession() as web,
        ):
            text = await scrape(web, url, **{"Accept": accept, "Accept-Encoding": "gzip"})
            assert await scrape(web, url, **{"Accept": accept, "Accept-Encoding": "identity"}) == text
    assert text.endswith("# EOF\n") == is_open
    parser: Any = _parsed_later if is_open else _parsed
    told, wanted = ({one.name: one for one in parser(page)} for page in (text, expected))
    assert told == wanted


async def test_the_text_is_made_once_for_all_scrapes_between_two_changes(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[FleetView] = []

    def counted(view: FleetView) -> FleetText:
        assert threading.current_thread() is not threading.main_thread()
        made.append(view)
        return fleet_text(view)

    monkeypatch.setattr("qrbackends.web.metrics.fleet_text", counted)
    pauses = asyncio.Event()

    async def sleep(seconds: float) -> None:
        await pauses.wait()

    for name in emulator.backends():
        emulator.set_backend(name, queue_length=5)
    async with Monitor(client, interval=0.05, sleep=sleep) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(known.calibration for known in monitor.fleet.values()))
        hour = [datetime.now(UTC)]
        app = MetricsApp(client, monitor, now=lambda: hour[0])
        async with served(app) as url, aiohttp.ClientSession() as web:
            first, *_ = await asyncio.gather(*(scrape(web, url) for _ in range(5)))
            hour[0] += timedelta(hours=1)
            polls = emulator.count("backends")
            await until(lambda: emulator.count("backends") >= polls + 6)
            later = await scrape(web, url)
            assert len(made) == 1
            ages = [
                parsed(text)["qrbackends_backend_calibration_age_seconds"].samples for text in (first, later)
            ]
            assert [after.value - before.value for before, after in zip(*ages, strict=True)] == [
                pytest.approx(3600)
            ] * len(emulator.backends())
            name = emulator.backends()[0]
            emulator.set_backend(name, queue_length=77)
            await until(lambda: any(one.backend.queue_length == 77 for one in monitor.fleet.values()))
            assert value(parsed(await scrape(web, url)), "qrbackends_backend_queue_jobs", backend=name) == 77
            assert len(made) == 2
