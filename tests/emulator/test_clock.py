"""The emulator's clock is moved, runs at other rates, and stands still; everything follows it."""

from collections.abc import AsyncIterator
from email.utils import formatdate
from math import inf, nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qrbackends.emulator import ClockState, Emulator, SnapshotFleet, SyntheticFleet
from qrbackends.emulator.devices.dates import parse_instant
from qrbackends.emulator.devices.recalibrations import RecalibratingFleet, recalibrated
from qrbackends.emulator.steering.clock import LAST, Clock

from .asking import NOW, Asker

pytestmark = pytest.mark.anyio

FLEET = SyntheticFleet({"a": 5, "b": 5}, seed=1)
DAY = 86400.0
PROPERTIES = "/backends/a/properties"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """One whose source of time stands still."""
    async with Emulator(FLEET, ["r"], clock=lambda: NOW) as running:
        yield running


async def length(ask: Asker) -> int:
    """Return the queue's length after another poll."""
    return int((await ask.get("/backends/a/status", "r")).json()["length_queue"])


async def test_days_pass(emulator: Emulator, ask: Asker) -> None:
    before = await ask.get(PROPERTIES, "r")
    await emulator.advance(3 * DAY)
    assert emulator.clock == ClockState(NOW + 3 * DAY, 1.0)
    assert (await ask.get(PROPERTIES, "r")).status == 401, "the token has expired"
    await ask.log_in()
    after = await ask.get(PROPERTIES, "r")
    assert after.headers["Date"] == formatdate(NOW + 3 * DAY, usegmt=True)
    assert after.json()["last_update_date"][:10] > before.json()["last_update_date"][:10]
    assert emulator.requests[-1].at == NOW + 3 * DAY


async def test_queues_move_on_when_the_clock_is_moved(emulator: Emulator, ask: Asker) -> None:
    polled = [await length(ask) for _ in range(31)]
    await emulator.reset()
    await ask.log_in()
    assert await length(ask) == polled[0]
    await emulator.advance(29 * 60)
    assert await length(ask) == polled[30], "a step for each minute, and one for the poll"
    await emulator.reset()
    await emulator.set_clock(now=NOW - DAY)
    await ask.log_in()
    assert await length(ask) == polled[0]
    await emulator.advance(29 * 60)
    assert await length(ask) == polled[30], "from where the clock was moved back to"


async def test_reset_takes_the_clock_back(emulator: Emulator, ask: Asker) -> None:
    await emulator.advance(DAY)
    await emulator.set_clock(rate=60)
    await emulator.reset()
    assert emulator.clock == ClockState(NOW, 1.0)


async def test_the_clock_is_set(emulator: Emulator) -> None:
    await emulator.set_clock(now=1.5e9, rate=0)
    assert emulator.clock == ClockState(1.5e9, 0.0)
    await emulator.advance(10.0)
    assert emulator.clock == ClockState(1.5e9 + 10, 0.0)


@pytest.mark.parametrize("seconds", [-1.0, inf, nan, LAST])
async def test_time_goes_forward_within_the_calendar(emulator: Emulator, seconds: float) -> None:
    with pytest.raises(ValueError, match="forward"):
        await emulator.advance(seconds)
    assert emulator.clock.now == NOW


@pytest.mark.parametrize(
    "setting", [{"now": -1.0}, {"now": nan}, {"now": LAST + 1}, {"rate": -1.0}, {"rate": inf}]
)
async def test_what_a_clock_cannot_be_set_to(emulator: Emulator, setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="has to"):
        await emulator.set_clock(**setting)
    assert emulator.clock == ClockState(NOW, 1.0)


def test_a_clock_runs_at_a_rate() -> None:
    source = [NOW]
    clock = Clock(lambda: source[0])
    assert clock() == NOW
    clock.run(60)
    source[0] += 10
    assert (clock(), clock.moved()) == (NOW + 600, 590)
    clock.advance(1)
    clock.run(0)
    source[0] += 1000
    assert clock() == NOW + 601
    clock.run(1)
    source[0] += 2
    assert clock() == NOW + 603
    clock.set(5.0)
    source[0] += 2
    assert clock() == 7.0
    clock.set(LAST)
    source[0] += 2
    assert clock() == LAST, "there are no dates beyond"
    clock.reset()
    assert (clock(), clock.moved()) == (source[0], 0)


async def test_a_backend_is_recalibrated_at_once(emulator: Emulator, ask: Asker) -> None:
    before = (await ask.get(PROPERTIES, "r")).json()
    listed = (await ask.get("/backends", "r")).json()
    emulator.recalibrate("a")
    after = (await ask.get(PROPERTIES, "r")).json()
    assert after["last_update_date"] == "2026-05-28T21:26:40+01:00"
    assert before["last_update_date"] < after["last_update_date"]
    assert [gate["gate"] for gate in after["gates"]] == [gate["gate"] for gate in before["gates"]]
    t1 = [[p["value"] for q in one["qubits"] for p in q if p["name"] == "T1"] for one in (before, after)]
    assert all(0.7 < new / old < 1.4 and new != old for old, new in zip(*t1, strict=True))
    again = (await ask.get("/backends", "r")).json()
    metrics = [[one["performance_metrics"] for one in answer["devices"]] for answer in (listed, again)]
    assert metrics[0][0] != metrics[1][0], "the list's metrics are those of the new calibration"
    assert metrics[0][1] == metrics[1][1], "the other backend has none"
    await emulator.advance(3600)
    await ask.log_in()
    newest = (await ask.get(PROPERTIES, "r")).json()
    assert newest["last_update_date"] > after["last_update_date"], "the fleet's own ones go on"
    past = (await ask.get(f"{PROPERTIES}?updated_before=2026-05-28T20:26:40Z", "r")).json()
    assert past == before
    await emulator.reset()
    await ask.log_in()
    assert (await ask.get(PROPERTIES, "r")).json() == before
    with pytest.raises(ValueError, match="no backend 'z'"):
        emulator.recalibrate("z")


@pytest.mark.parametrize("now", [0.0, LAST])
async def test_the_calendar_has_an_end_and_all_is_answered_there(now: float) -> None:
    async with Emulator("synthetic", ["r"]) as emulator, Asker(emulator) as ask:
        await emulator.set_clock(now=now, rate=0)
        await ask.log_in()
        for name in emulator.backends():
            emulator.recalibrate(name)
            for resource in ("properties", "configuration", "status"):
                answer = await ask.get(f"/backends/{name}/{resource}", "r")
                assert answer.status == (404 if now == 0 and resource == "properties" else 200)
        for path in ("/backends", "/instances/usage"):
            answer = await ask.get(path, "r")
            assert (answer.status, answer.headers["Date"]) == (200, formatdate(now, usegmt=True))


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[]",
        b"null",
        b'{"qubits":5}',
        b'{"qubits":[[{"name":"T1","value":"x"}]]}',
        b'{"gates":[{}]}',
        b'{"last_update_date":5}',
        b'{"qubits":[[{"value":1}]]}',
        b'{"a":' * 9999,
    ],
)
def test_what_cannot_be_read_stays_as_it_is(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "conf_x.json").write_bytes(b'{"backend_name":"x","backend_version":"1","n_qubits":1}')
    (tmp_path / "props_x.json").write_bytes(body)
    fleet = RecalibratingFleet(SnapshotFleet(tmp_path), lambda: NOW)
    fleet.recalibrate("x")
    assert fleet.build(fleet.find("properties", "x", None, None, NOW)) == body


@pytest.mark.parametrize("name", ["ibm_boston", "ibm_lagos"])
def test_real_calibrations_can_be_renewed_too(name: str) -> None:
    fleet = RecalibratingFleet(SnapshotFleet(), lambda: NOW)
    keys = [fleet.find("properties", name, None, None, NOW)]
    for _ in range(2):
        fleet.recalibrate(name)
        keys.append(fleet.find("properties", name, None, None, NOW))
    before, first, second = (msgspec.json.decode(fleet.build(key)) for key in keys)
    assert parse_instant(first["last_update_date"]) == NOW
    assert msgspec.json.decode(fleet.build(keys[1])) == first, "the same each time"
    assert first["qubits"] != second["qubits"]
    assert errors(first) != errors(before)
    assert [error for error in errors(first) if error >= 1] == [
        error for error in errors(before) if error >= 1
    ]
    assert all(0 <= error <= 1 for error in errors(second))
    assert first.keys() == before.keys()


def errors(properties: dict[str, Any]) -> list[float]:
    """Return the errors of all gates."""
    parameters = [one for gate in properties["gates"] for one in gate["parameters"]]
    return [one["value"] for one in parameters if one["name"] == "gate_error"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2020-01-01T00:00:00Z", "2026-05-28T20:26:40Z"),
        ("2020-01-01T00:00:00.000Z", "2026-05-28T20:26:40.000Z"),
        ("2020-01-01T00:00:00-05:00", "2026-05-28T15:26:40-05:00"),
        ("yesterday", "2026-05-28T20:26:40+00:00"),
    ],
)
def test_dates_keep_their_form(before: str, after: str) -> None:
    document = {"last_update_date": before, "qubits": [[{"name": "T1", "date": before, "value": 1.0}]]}
    renewed = msgspec.json.decode(recalibrated(msgspec.json.encode(document), int(NOW), 1))
    assert (renewed["last_update_date"], renewed["qubits"][0][0]["date"]) == (after, after)
