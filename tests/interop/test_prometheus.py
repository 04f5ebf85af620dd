"""What Prometheus gets, read by its own parser."""

import re
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from qrbackends import Client, Limits, Monitor, RetryPolicy, ServerError
from qrbackends.emulator import Emulator, Status
from qrbackends.interop.prometheus import Collector

from ..waiting import until

pytestmark = pytest.mark.anyio

UNITS = ("seconds", "bytes", "ratio", "jobs", "qubits", "gates", "total", "state", "up", "entries", "info")


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
    assert value(families, "qrbackends_backend_state", **where, state="paused") == 1
    assert value(families, "qrbackends_backend_state", **where, state="online") == 0
    assert value(families, "qrbackends_backend_t1_seconds", **where) == properties.median_t1()
    assert (
        value(families, "qrbackends_backend_two_qubit_error_ratio", **where)
        == properties.median_two_qubit_error()
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


async def test_labels_hold_what_the_service_says_whatever_it_is(client: Client, emulator: Emulator) -> None:
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: bool(monitor.fleet))
        (place, known), *_ = monitor.fleet.items()
        odd = 'a"b\\c\nd{} é'
        monitor.fleet = {(place[0], odd): type(known)(rename(known.backend, odd))}
        families = page(Collector(client, monitor))
    assert value(families, "qrbackends_backend_queue_jobs", backend=odd) == known.backend.queue_length


def rename(backend: Any, name: str) -> Any:
    from msgspec.structs import replace

    return replace(backend, name=name)
