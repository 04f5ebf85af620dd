"""When the service fails: old answers say how old they are, and all others are clear errors."""

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from mcp import Client as Agent

from qrbackends import CachePolicy, Client, Limits, Memory, RetryPolicy
from qrbackends.agents import mcp_server
from qrbackends.emulator import Emulator, Hold, Status

from .asking import ask, read, refused

pytestmark = pytest.mark.anyio

NAME = "synthetic_falcon_27"
ONCE = RetryPolicy(attempts=1)


class Clock:
    """Seconds that pass when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def agent(emulator: Emulator, clock: Clock) -> AsyncIterator[Agent]:
    """An agent of the command's policy, whose answers get older as a test says."""
    policy, limits = CachePolicy(status=10.0, stale_while_revalidate=0), Limits(failures=10**9)
    async with (
        Client(
            emulator.account(), retry=ONCE, limits=limits, cache=policy, memory=Memory(clock=clock)
        ) as client,
        Agent(mcp_server(client)) as connected,
    ):
        yield connected


async def test_old_answers_tell_their_age_while_the_service_is_down(
    agent: Agent, emulator: Emulator, clock: Clock
) -> None:
    questions = {
        "list_backends": {},
        "least_busy": {},
        "rank_backends": {"by": "queue"},
        "backend_status": {"backend": NAME},
        "backend_summary": {"backend": NAME},
        "list_qubits": {"backend": NAME},
        "coupling_map": {"backend": NAME},
    }
    before = {tool: await ask(agent, tool, **how) for tool, how in questions.items()}
    assert not any(answer.get("stale") for answer in before.values())
    clock.now += 7_200
    emulator.fault(Status(503), times=None)
    for tool, how in questions.items():
        answer = await ask(agent, tool, **how)
        assert answer["stale"] is True
        assert answer["age_seconds"] >= 7_200
        data = {"age_seconds", "stale", "calibration_age_seconds"}
        same = {name: value for name, value in answer.items() if name not in data}
        assert same == {name: value for name, value in before[tool].items() if name not in data}
    piece = await read(agent, f"qrbackends://backends/{NAME}/properties")
    assert (piece["stale"], piece["age_seconds"] >= 7_200) == (True, True)


async def test_calibrations_of_the_past_do_not_age(agent: Agent, emulator: Emulator, clock: Clock) -> None:
    until = (datetime.now(UTC) - timedelta(hours=2)).isoformat()
    before = await ask(agent, "calibration_drift", backend=NAME, until=until)
    clock.now += 7_200
    emulator.fault(Status(503), times=None)
    after = await ask(agent, "calibration_drift", backend=NAME, until=until)
    assert "stale" not in after
    assert after | {"age_seconds": before["age_seconds"]} == before
    assert after["age_seconds"] < 7_200


async def test_what_was_never_read_is_a_clear_error(agent: Agent, emulator: Emulator) -> None:
    emulator.fault(Status(503), times=None)
    for tool, how in (
        ("list_backends", {}),
        ("backend_summary", {"backend": NAME}),
        ("calibration_history", {"backend": NAME, "figure": "t1"}),
    ):
        error = await refused(agent, tool, **how)
        assert error["error"] in ("ServiceUnavailable", "CircuitOpen", "InstanceUnavailable")
        assert "emulated" not in error


async def test_an_agent_is_told_when_to_ask_again(agent: Agent, emulator: Emulator) -> None:
    await ask(agent, "list_backends")
    emulator.fault(Status(429, {"Retry-After": "17"}), resource="properties", times=None)
    error = await refused(agent, "list_qubits", backend=NAME)
    assert (error["error"], error["retry_after_seconds"], error["emulated"]) == ("RateLimited", 17.0, True)


async def test_a_region_that_cannot_be_listed_is_told(agent: Agent, emulator: Emulator) -> None:
    emulator.fault(Status(503), resource="backends", region="eu-de", times=None)
    for tool, how in (("list_backends", {}), ("rank_backends", {"by": "queue"}), ("least_busy", {})):
        answer = await ask(agent, tool, **how)
        (told,) = answer["errors"]
        assert told.startswith("[eu-de]: HTTP 503")
    assert {one["region"] for one in (await ask(agent, "list_backends"))["backends"]} == {"us-east"}


async def test_a_summary_needs_no_list(agent: Agent, emulator: Emulator) -> None:
    await ask(agent, "backend_status", backend=NAME)
    emulator.fault(Status(503), resource="backends", times=None)
    assert (await ask(agent, "backend_summary", backend=NAME))["qubits"] == 27


async def test_many_agents_and_many_questions_cost_few_requests(emulator: Emulator, clock: Clock) -> None:
    policy = CachePolicy(status=10.0, stale_while_revalidate=0)
    async with Client(emulator.account(), cache=policy, memory=Memory(clock=clock)) as client:
        server = mcp_server(client)
        async with Agent(server) as first, Agent(server) as second:
            emulator.reset_log()
            for agent in (first, second) * 20:
                await ask(agent, "backend_status", backend=NAME)
                await ask(agent, "least_busy")
                await ask(agent, "qubit_calibration", backend=NAME, qubit=0)
            assert emulator.count("status") == emulator.count("properties") == 1
            assert emulator.count("backends") == 2  # one for each region
            clock.now += 11
            await ask(first, "backend_status", backend=NAME)
            assert emulator.count("status") == 2


async def test_a_call_that_takes_too_long_is_ended(
    agent: Agent, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(agent, "list_backends")
    monkeypatch.setattr("qrbackends.agents.server._LONGEST_CALL", 0.05)
    hold = emulator.fault(Hold(), resource="properties")
    error = await refused(agent, "list_qubits", backend=NAME)
    assert error["error"] == "Timeout"
    assert "took longer than" in error["message"]
    hold.release()


async def test_an_error_of_our_own_shows_nothing_of_our_insides(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("/home/somebody/secret.py")

    monkeypatch.setattr("qrbackends.agents.tools.backends._row", broken)
    error = await refused(agent, "least_busy")
    assert error == {
        "error": "InternalError",
        "message": "the tool 'least_busy' failed, please report it; the server's log tells why",
        "emulated": True,
    }
    assert "KeyError" in caplog.text


async def test_a_missing_extra_is_named(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "qrbackends.analysis.qubits", raising=False)
    monkeypatch.setitem(sys.modules, "rustworkx", None)
    error = await refused(agent, "best_qubits", n=2, backend=NAME)
    assert 'pip install "qrbackends[graph]"' in error["message"]


async def test_where_an_answer_comes_from_costs_no_list(emulator: Emulator, clock: Clock) -> None:
    policy = CachePolicy(backends=0, status=0)
    async with (
        Client(emulator.account(), cache=policy, memory=Memory(clock=clock)) as client,
        Agent(mcp_server(client)) as agent,
    ):
        await client.status(NAME)
        emulator.reset_log()
        await client.status(NAME)
        needed = emulator.count("backends")
        emulator.reset_log()
        await ask(agent, "backend_status", backend=NAME)
        assert (emulator.count("status"), emulator.count("backends")) == (1, needed)
        emulator.reset_log()
        await read(agent, f"qrbackends://backends/{NAME}/status")
        assert (emulator.count("status"), emulator.count("backends")) == (1, needed)
