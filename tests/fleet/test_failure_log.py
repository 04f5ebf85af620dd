"""What a monitor logs: each failure once when it begins, and once when it ends, with the reason."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from qrbackends import (
    BackendProperties,
    BackendSummary,
    CachePolicy,
    Client,
    Fetched,
    InstanceSearch,
    Limits,
    Monitor,
    MonitorEvent,
    RetryPolicy,
    summary,
)
from qrbackends.emulator import Emulator, Garbage, Reset, Status
from qrbackends.errors import QRBackendsError
from qrbackends.fleet import calibrations
from qrbackends.fleet.failure_log import FailureLog
from qrbackends.interop.gauges import gauges_of

from ..waiting import until
from .test_monitor import Mistaken, Pauses

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 1, tzinfo=UTC)


async def until_after_pauses(pauses: Pauses, happened: Callable[[], bool]) -> None:
    """End one pause after the other until something has happened."""

    def ended() -> bool:
        pauses.end()
        return happened()

    await until(ended)


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings of monitors; pytest's handler gets no others unless it is asked for them."""
    return [record.getMessage() for record in caplog.records if record.name == "qrbackends.monitor"]


async def test_a_region_that_fails_is_told_once_when_it_begins_and_once_when_it_ends(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    polls = emulator.count
    async with Monitor(client, interval=0.05) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await emulator.stop_region("eu-de")
        await until(lambda: bool(monitor.failures))
        before = polls("backends", region="us-east")
        await until(lambda: polls("backends", region="us-east") > before + 3)
        assert len(lines(caplog)) == 1
        await emulator.start_region("eu-de")
        await until(lambda: not monitor.failures)
    begin, end = lines(caplog)
    assert begin.startswith("the list of eu-de cannot be read: [eu-de]: the region's host 127.0.0.1:")
    assert "no connection: " in begin
    assert end.startswith("the list of eu-de can be read again, after ")


async def test_an_account_that_is_refused_is_told(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    emulator.fault(Status(400), resource="token", times=None)
    async with (
        Client(emulator.account(search=InstanceSearch()), retry=RetryPolicy(attempts=1)) as client,
        Monitor(client, interval=3600, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: None in monitor.failures)
        since = monitor.failures[None].since
        await until_after_pauses(pauses, lambda: monitor.failures[None].since > since)
        (begin,) = lines(caplog)
    assert begin.startswith("the fleet cannot be read: IAM refused the API key (HTTP 400)")
    assert emulator.api_keys[0] not in begin


async def test_an_odd_entry_is_told(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    odd = b'{"devices": [{"name": "ibm_\\nodd", "status": 5, "queue_length": 0}]}'
    fault = emulator.fault(Garbage(odd), resource="backends", region="eu-de", times=None)
    async with Monitor(client, interval=0.05) as monitor:
        await until(lambda: bool(monitor.entry_failures))
        emulator.remove_fault(fault.name)
        await until(lambda: not monitor.entry_failures)
    begin, end = lines(caplog)
    assert begin.startswith(
        "an entry of eu-de's list cannot be read: ibm_ odd [eu-de]: its entry in the list"
    )
    assert end.startswith("an entry of eu-de's list can be read again, after ")


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_a_calibration_that_every_backend_refuses_is_a_failure(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    events: list[MonitorEvent] = []
    pauses = Pauses()
    fault = emulator.fault(Status(status), resource="properties", times=None)
    options = {"retry": RetryPolicy(attempts=1), "limits": Limits(failures=10**9)}
    async with Client(emulator.account(), **options) as client:  # type: ignore[arg-type]  # one dict for two types
        monitor = Monitor(client, interval=3600, sleep=pauses.sleep)
        monitor.listeners.add(events.append)
        async with monitor:
            await until(lambda: len(monitor.calibration_failures) == len(emulator.backends()))
            view = monitor.view
            assert {one.name for one in view.calibration_failures} == set(emulator.backends())
            assert f"HTTP {status}" in str(view.calibration_failures[0].error)
            (gauge,) = (one for one in gauges_of(view) if one.name == "qrbackends_backend_calibration_up")
            assert {value for _, value in gauge.samples} == {0.0}
            emulator.remove_fault(fault.name)
            await client.invalidate()
            await until_after_pauses(pauses, lambda: not monitor.calibration_failures)
            assert all(known.calibration for known in monitor.fleet.values())
    told = lines(caplog)
    assert sorted(line.partition(" cannot")[0] for line in told[:2]) == [
        "calibrations of eu-de",
        "calibrations of us-east",
    ]
    assert all(f"HTTP {status}" in line for line in told[:2])
    assert sorted(line.partition(" again")[0] for line in told[2:]) == [
        "calibrations of eu-de can be read",
        "calibrations of us-east can be read",
    ]
    kinds = [event.kind for event in events]
    assert (
        kinds.count("calibration_failed") == kinds.count("calibration_recovered") == len(emulator.backends())
    )


async def test_one_without_a_calibration_is_no_failure(
    emulator: Emulator, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    new = emulator.backends()[0]
    emulator.fault(Status(404), resource="properties", backend=new, times=None)
    async with Monitor(client, interval=3600) as monitor:
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: sum(one.calibration is not None for one in monitor.fleet.values()) == 7)
        assert monitor.calibration_failures == {}
    assert lines(caplog) == []


class Holding(Client):
    """A client that keeps the requests for the calibration of one backend until a test lets them go."""

    kept = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.going = anyio.Event()

    async def fetch(self, *question: Any, **how: Any) -> Fetched[Any]:
        if question[0].backend == self.kept:
            await self.going.wait()
        return await super().fetch(*question, **how)


async def test_one_that_leaves_the_fleet_while_its_calibration_is_asked_for_is_no_failure(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    leaving, *others = emulator.backends()
    emulator.fault(Status(404), resource="properties", times=None)
    async with (
        Holding(emulator.account()) as client,
        Monitor(client, interval=0.05, sleep=Pauses().sleep) as monitor,
    ):
        client.kept = leaving
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        emulator.set_backend(leaving, hidden=True)
        await until(lambda: len(monitor.fleet) == len(others))
        client.going.set()
        await until(lambda: len(monitor.calibration_failures) == len(others))
        assert {name for _, name in monitor.calibration_failures} == set(others)
    assert {line.partition(" cannot")[0] for line in lines(caplog)} == {
        "calibrations of eu-de",
        "calibrations of us-east",
    }


async def test_the_end_of_a_failure_is_told_although_the_whole_fleet_failed_meanwhile(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    refused = emulator.fault(Status(403), resource="properties", times=None)
    async with (
        Mistaken(emulator.account()) as client,
        Monitor(client, interval=0.05, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: len(monitor.calibration_failures) == len(emulator.backends()))
        client.mistake = True
        await until(lambda: None in monitor.failures)
        client.mistake = False
        emulator.remove_fault(refused.name)
        await until_after_pauses(pauses, lambda: not (monitor.failures or monitor.calibration_failures))
    told = [line for line in lines(caplog) if " be read" in line]
    assert len(told) == 6
    for subject in ("calibrations of eu-de", "calibrations of us-east", "the fleet"):
        begin, end = (line for line in told if line.startswith(subject))
        assert begin.startswith(f"{subject} cannot be read: ")
        assert end.startswith(f"{subject} can be read again, after ")


async def test_a_calibration_of_a_region_that_is_down_is_no_other_failure(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    async with Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client:
        await client.backends()
        emulator.fault(Reset(), region="eu-de", times=None)
        async with Monitor(client, interval=3600, sleep=pauses.sleep) as monitor:
            await until(lambda: len(monitor.fleet) == len(emulator.backends()))
            await until(lambda: any(one.calibration for one in monitor.fleet.values()))
            assert monitor.calibration_failures == {}
    assert [line.partition(" cannot")[0] for line in lines(caplog)] == ["the list of eu-de"]


def test_what_fails_together_is_one_failure(caplog: pytest.LogCaptureFixture) -> None:
    log = FailureLog()
    error = QRBackendsError("no\x1b[31m way")
    for member in ("a", "b", "a"):
        log.begin("region", member, "the list", "read", NOW, error)
    log.begin("other", "c", "another", "read", NOW, error)
    assert lines(caplog) == ["the list cannot be read: no [31m way", "another cannot be read: no [31m way"]
    caplog.clear()
    later = NOW + timedelta(seconds=90)
    log.end("a", later)
    log.end("unknown", later)
    assert lines(caplog) == []
    log.end("b", later)
    assert lines(caplog) == ["the list can be read again, after 90 s"]
    log.begin("all", None, "the fleet", "read", NOW, error)
    log.forget(["c"])
    log.end("c", later)
    log.end(None, later)
    begin, end = lines(caplog)[1:]
    assert begin == "the fleet cannot be read: no [31m way"
    assert end == "the fleet can be read again, after 90 s"


async def test_a_calibration_to_which_connections_fail_is_told_at_the_second_look(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    name = emulator.backends()[0]
    emulator.fault(Reset(), resource="properties", backend=name, times=None)
    async with (
        Client(emulator.account(), retry=RetryPolicy(attempts=1), limits=Limits(failures=10**9)) as client,
        Monitor(client, interval=3600, sleep=pauses.sleep) as monitor,
    ):
        await until(lambda: sum(one.calibration is not None for one in monitor.fleet.values()) == 7)
        assert monitor.calibration_failures == {}
        await until_after_pauses(pauses, lambda: bool(monitor.calibration_failures))
    (line,) = lines(caplog)
    assert f"cannot be read: {name} [" in line
    assert "the connection was lost" in line


async def test_a_calibration_that_cannot_be_summarized_fails_until_it_can(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = Pauses()
    odd = emulator.backends("us-east")[0]

    def summarized(*, properties: BackendProperties) -> BackendSummary:
        if properties.backend_name == odd:
            raise OverflowError("int too large to convert to float")
        return summary(properties=properties)

    monkeypatch.setattr(calibrations, "summary", summarized)
    async with (
        Client(emulator.account(), cache=CachePolicy(properties=0.001, stale_while_revalidate=0.0)) as client,
        Monitor(client, interval=3600, sleep=pauses.sleep) as monitor,
    ):
        await until_after_pauses(pauses, lambda: emulator.count("properties", odd) > 3)
        (failure,) = monitor.calibration_failures.values()
        assert (failure.error.backend, failure.error.region) == (odd, "us-east")
        monkeypatch.setattr(calibrations, "summary", summary)
        await until_after_pauses(pauses, lambda: not monitor.calibration_failures)
        assert monitor.fleet["us-east", odd].calibration is not None
    begin, end = lines(caplog)
    problem = f"{odd} [us-east]: its calibration cannot be used: OverflowError"
    assert begin == f"calibrations of us-east cannot be read: {problem}"
    assert end.startswith("calibrations of us-east can be read again, after ")
