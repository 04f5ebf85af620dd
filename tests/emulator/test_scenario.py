"""Scenarios: what happens when, by the emulator's clock."""

import asyncio
import logging
import socket
import time
import tomllib
from collections.abc import Callable
from math import inf, nan
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import aiohttp
import jsonschema_rs
import pytest

from qrbackends.emulator import (
    AddFault,
    ClockState,
    Emulator,
    Recalibrate,
    ReleaseFault,
    RemoveFault,
    Scenario,
    ScenarioError,
    SetBackend,
    StartRegion,
    Status,
    Step,
    StopRegion,
    SyntheticFleet,
)
from qrbackends.emulator.steering.operations import Scripted
from qrbackends.emulator.steering.scenario import schema

from ..waiting import until
from .asking import NOW, Asker

pytestmark = pytest.mark.anyio

FLEET = SyntheticFleet({"a": 5, "b": 5})
OUTAGE = """\
[[step]]                  # the first one
at = 0
do = "set_backend"
backend = "a"
status = "paused"

[[step]]
at = 30.0
do = "start_region"
region = "s"

[[step]]
at = 10
do = "stop_region"
region = "s"

[[step]]
at = 20
do = "add_fault"
fault = "busy"
resource = "status"
times = 2
action = { kind = "status", status = 503, headers = { Retry-After = "1" } }
"""


def running(scenario: Scenario | Path, clock: Callable[[], float] = lambda: NOW, **options: Any) -> Emulator:
    """Return an emulator with two regions."""
    return Emulator(FLEET, ["r", "s"], scenario=scenario, clock=clock, **options)


def regions(emulator: Emulator) -> list[str]:
    """Return the regions that run."""
    return [one.region for one in emulator.state().regions if one.running]


async def test_the_steps_are_run_when_the_clock_reaches_them(tmp_path: Path) -> None:
    path = tmp_path / "outage.toml"
    path.write_text(OUTAGE)
    async with running(path) as emulator, Asker(emulator) as ask:
        assert (await ask.get("/backends/a/status", "r")).json()["state"] is True
        assert [one.status for one in emulator.state().backends] == ["paused", None], "at once"
        await emulator.advance(9.9)
        assert regions(emulator) == ["r", "s", "cloud"]
        await emulator.advance(0.2)
        assert regions(emulator) == ["r", "cloud"]
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask.get("/backends", "s")
        await emulator.advance(15)
        statuses = [(await ask.get("/backends/a/status", "r")).status for _ in range(3)]
        assert statuses == [503, 503, 200]
        await emulator.set_clock(now=NOW + 30)
        assert regions(emulator) == ["r", "s", "cloud"]
        assert emulator.clock.now == NOW + 30


async def test_a_long_way_runs_all_steps_in_order_and_each_at_its_time() -> None:
    steps = [
        Step(30.0, StopRegion("r")),
        Step(10.0, Recalibrate("a")),
        Step(20.0, SetBackend("b", queue_length=1)),
        Step(20.0, SetBackend("b", queue_length=2)),
    ]
    async with running(Scenario(steps)) as emulator, Asker(emulator) as ask:
        await emulator.advance(25.0)
        document = (await ask.get("/backends/a/properties", "r")).json()
        assert document["last_update_date"].endswith("16:26:50-04:00"), "the clock showed 10 s"
        assert (await ask.get("/backends/b/status", "s")).json()["length_queue"] == 2
        assert regions(emulator) == ["r", "s", "cloud"]
        assert emulator.clock.now == NOW + 25


async def test_steps_that_were_run_are_not_run_again_but_after_reset() -> None:
    async with running(Scenario([Step(10.0, StopRegion("r"))])) as emulator:
        await emulator.advance(10.0)
        assert regions(emulator) == ["s", "cloud"]
        await emulator.start_region("r")
        await emulator.set_clock(now=NOW)
        await emulator.advance(100.0)
        assert regions(emulator) == ["r", "s", "cloud"]
        await emulator.reset()
        assert regions(emulator) == ["r", "s", "cloud"]
        await emulator.advance(10.0)
        assert regions(emulator) == ["s", "cloud"]


async def test_time_that_passes_by_itself_runs_the_steps_too() -> None:
    async with running(Scenario([Step(3600.0, StopRegion("r"))]), time.time) as emulator:
        assert regions(emulator) == ["r", "s", "cloud"]
        await emulator.set_clock(rate=1e6)
        await until(lambda: regions(emulator) == ["s", "cloud"])


async def test_a_clock_that_stands_still_runs_no_steps_until_it_goes_on() -> None:
    async with running(Scenario([Step(0.02, StopRegion("r"))])) as emulator:
        await emulator.set_clock(rate=0)
        await asyncio.sleep(0)
        assert regions(emulator) == ["r", "s", "cloud"]
        await emulator.advance(0.02)
        assert regions(emulator) == ["s", "cloud"]


def test_it_is_run_again_by_an_emulator_that_starts_again() -> None:
    emulator = running(Scenario([Step(10.0, StopRegion("r"))]))

    async def once() -> None:
        async with emulator:
            assert emulator.clock == ClockState(NOW, 1.0)
            assert regions(emulator) == ["r", "s", "cloud"]
            await asyncio.gather(*(emulator.advance(5.0) for _ in range(2)))
            assert regions(emulator) == ["s", "cloud"]

    for _ in range(2):
        asyncio.run(once())


async def test_a_step_that_fails_does_not_end_the_scenario(caplog: pytest.LogCaptureFixture) -> None:
    steps = [
        Step(1.0, AddFault(Status(500), fault="x")),
        Step(2.0, RemoveFault("x")),
        Step(3.0, StopRegion("r")),
    ]
    async with running(Scenario(steps)) as emulator:
        await emulator.advance(1.0)
        emulator.remove_fault("x")
        with caplog.at_level(logging.WARNING):
            await emulator.advance(2.0)
        assert [record.getMessage() for record in caplog.records] == [
            "step 2 of the scenario failed: the emulator has no fault 'x'"
        ]
        assert regions(emulator) == ["s", "cloud"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("at = 30.0", "at = -1", "line 8, step[1].at: Expected `float` >= 0.0"),
        ("at = 30.0", "at = nan", "line 8, step[1].at: Expected `float` >= 0.0"),
        ("at = 30.0\n", "", "line 7, step[1].at: Object missing required field `at`"),
        (
            '"start_region"',
            '"start_regoin"',
            "line 9, step[1].do: Invalid value 'start_regoin'; did you",
        ),
        ('"start_region"', '"reset"', "line 9, step[1].do: Invalid value 'reset'"),
        (
            'region = "s"\n\n[[step]]\nat = 10',
            "\n[[step]]\nat = 10",
            "line 7, step[1].region: Object",
        ),
        ("times = 2", "time = 2", "line 22, step[3].time: Object contains unknown field `time`"),
        ("status = 503", 'status = "503"', "line 23, step[3].action.status: Expected `int`, got `str`"),
        (
            'kind = "status"',
            'kind = "stauts"',
            "line 23, step[3].action.kind: Invalid value 'stauts'; did you",
        ),
        ('Retry-After = "1"', "Retry-After = 1", "line 23, step[3].action.headers"),
        ("[[step]]                  #", "[[steps]]  #", "line 1, steps: Object contains unknown field"),
        ("times = 2", "times = ", "Invalid value (at line 22, column 9)"),
    ],
)
def test_mistakes_are_named_with_file_line_and_field(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "x.toml"
    assert old in OUTAGE
    path.write_text(OUTAGE.replace(old, new, 1))
    with pytest.raises(ScenarioError) as caught:
        Emulator(FLEET, ["r", "s"], scenario=path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ScenarioError, match=r"x\.toml: it is not UTF-8"):
        Scenario.load(path)
    path.write_text(OUTAGE, "utf-8-sig")
    assert len(Scenario.load(path).steps) == OUTAGE.count("at =")


@pytest.mark.parametrize(
    ("text", "message"), [("x=" + "[" * 9999, "nested"), (f"x = {'1' * 9999}", "4300 digits")]
)
def test_a_file_that_python_does_not_read(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=f"^s.toml: .*{message}"):
        Scenario.parse(text, file="s.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'region = "s"',
            'region = "mars"',
            "line 10, step[1].region: The emulator has no region 'mars'; ",
        ),
        (
            'backend = "a"',
            'backend = "z"',
            "line 4, step[0].backend: The emulator has no backend 'z'; it has a, ",
        ),
        ('backend = "a"', 'backend = "aa"', "The emulator has no backend 'aa'; did you mean a?"),
        (
            'do = "start_region"\nregion = "s"',
            'do = "release_fault"\nfault = "late"',
            "line 10, step[1].fault: No earlier step adds a fault 'late'",
        ),
    ],
)
async def test_names_are_checked_before_anything_runs(old: str, new: str, message: str) -> None:
    scenario = Scenario.parse(OUTAGE.replace(old, new, 1), file="o.toml")
    emulator = running(scenario)
    with pytest.raises(ScenarioError) as caught:
        await emulator.__aenter__()
    assert str(caught.value).startswith("o.toml, ")
    assert message in str(caught.value)
    with pytest.raises(ValueError, match="it is not running"):
        emulator.url("r")


def test_steps_from_python_are_checked_by_their_order_in_time() -> None:
    add, release, remove = AddFault(Status(500), fault="x"), ReleaseFault("x"), RemoveFault("x")
    Scenario([Step(2, release), Step(1, add), Step(3, remove), Step(4, add)]).check(["r"], ["a"])
    with pytest.raises(ScenarioError, match=r"^step\[1\].fault: An earlier step adds the fault 'x'"):
        Scenario([Step(1, add), Step(2, add)]).check(["r"], ["a"])
    with pytest.raises(ScenarioError, match=r"^step\[0\].fault: No earlier"):
        Scenario([Step(2, remove), Step(3, add)]).check(["r"], ["a"])


@pytest.mark.parametrize("at", [nan, inf, -1.0])
def test_times_from_python_are_checked(at: float) -> None:
    with pytest.raises(ScenarioError, match=r"^at: .* does not lie between 0 and 1e\+10 s"):
        Step(at, StopRegion("r"))


async def test_the_schema_takes_what_the_parser_takes() -> None:
    valid = jsonschema_rs.validator_for(schema())
    good = {"step": [{"at": 1.5, "do": "stop_region", "region": "s"}]}
    assert valid.is_valid(good)
    for key, value in (("at", -1), ("do", "reset"), ("region", 5), ("more", 1)):
        assert not valid.is_valid({"step": [{**good["step"][0], key: value}]})
    assert not valid.is_valid({})
    described = schema()["$defs"]
    assert described["SetBackend"]["properties"]["at"]["description"].startswith("Seconds of the emulator's")
    assert len(get_args(Scripted)) == len(described["Scenario"]["properties"]["step"]["items"]["anyOf"])


def test_lines_are_found_in_a_long_file() -> None:
    text = "".join(f'[[step]]\nat = {n}\ndo = "stop_region"\nregion = """\n\nr"""\n' for n in range(300))
    with pytest.raises(ScenarioError, match=r"^scenario, line 1202, step\[200\].at: "):
        Scenario.parse(text.replace("at = 200\n", "at = -1\n"))


def test_lines_are_found_in_a_long_array(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    loads = tomllib.loads

    def counted(text: str) -> dict[str, Any]:
        calls.append(text)
        return loads(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    steps = '{at = 1, do = "stop_region", region = "r"},\n' * 200
    with pytest.raises(ScenarioError, match=r"^scenario, line 203, step\[200\].do: "):
        Scenario.parse(f"# 200 steps\nstep = [\n{steps}{{at = -1}}]\n")
    assert len(calls) < 40, "it does not try each line of each value"


async def test_a_port_that_another_program_took_is_told(caplog: pytest.LogCaptureFixture) -> None:
    steps = [Step(1.0, StopRegion("r")), Step(2.0, StartRegion("r"))]
    async with running(Scenario(steps)) as emulator:
        await emulator.advance(1.0)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", urlsplit(emulator.url("r")).port or 0))
        await emulator.advance(1.0)
        assert regions(emulator) == ["r", "s", "cloud"]
    assert caplog.records == []
