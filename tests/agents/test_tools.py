"""What tools say of themselves, and what they answer to questions of all kinds."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import jsonschema_rs
import pytest
from mcp import Client as Agent

from qrbackends import Client
from qrbackends.agents import mcp_server
from qrbackends.agents.tools import TOOLS
from qrbackends.agents.tools.calibrations import FIGURES, FigureName
from qrbackends.emulator import Emulator, Hold, Status
from qrbackends.fleet.keys import KEYS, RankKey

from .asking import ask, refused

pytestmark = pytest.mark.anyio

NAME = "synthetic_falcon_27"


async def test_tools_are_read_only_and_say_what_they_take_and_return(agent: Agent) -> None:
    told = await agent.list_tools()
    assert len(told.model_dump_json(by_alias=True, exclude_none=True)) < 25_000
    assert [tool.name for tool in told.tools] == [tool.name for tool in TOOLS]
    for tool in told.tools:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        for schema in (tool.input_schema, tool.output_schema):
            assert schema is not None
            assert schema["type"] == "object"
            assert jsonschema_rs.meta.is_valid(schema)
            assert '"null"' not in json.dumps(schema)


def test_agents_can_rank_by_all_that_the_client_can() -> None:
    assert get_args(RankKey) == tuple(KEYS)
    assert get_args(FigureName) == tuple(FIGURES)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("list_backends", {"min_qubit": 100}, "unknown field `min_qubit`; list_backends takes name, region"),
    ("list_backends", {"min_qubits": -1}, "Expected `int` >= 0 - at `$.min_qubits`"),
    ("list_backends", {"limit": 0}, "`$.limit`"),
    ("list_backends", {"limit": 101}, "`$.limit`"),
    ("list_backends", {"offset": 2**31}, "`$.offset`"),
    ("list_backends", {"name": "x" * 101}, "`$.name`"),
    ("list_backends", {"name": ["x"]}, "`$.name`"),
    ("list_backends", {"online": "perhaps"}, "`$.online`"),
    ("rank_backends", {}, "missing required field `by`"),
    ("rank_backends", {"by": "beauty" * 10_000}, "Invalid enum value"),
    ("backend_status", {}, "missing required field `backend`"),
    ("backend_status", {"backend": ""}, "1 to 500 characters"),
    ("backend_status", {"backend": "x" * 501}, "`$.backend`"),
    ("backend_status", {"backend": "a\x1b[2Jb"}, "control characters"),
    ("backend_status", {"backend": "nobody"}, "nobody: no instance of the account lists this backend"),
    ("backend_summary", {"backend": "nobody"}, "nobody: no instance of the account lists this backend"),
    ("best_qubits", {"n": 0}, "`$.n`"),
    ("best_qubits", {"n": 101}, "`$.n`"),
    ("best_qubits", {"n": 2.5}, "`$.n`"),
    ("best_qubits", {"n": 28, "backend": NAME}, "a line of 28 working qubits was not found"),
    ("best_qubits", {"n": 3, "backend": NAME, "shape": "ring"}, "Invalid enum value 'ring'"),
    ("list_qubits", {"backend": NAME, "qubits": [27]}, "no qubit 27; it has 0 to 26"),
    ("list_qubits", {"backend": NAME, "qubits": list(range(1001))}, "`$.qubits`"),
    ("qubit_calibration", {"backend": NAME, "qubit": 27}, "no qubit 27; it has 0 to 26"),
    ("qubit_calibration", {"backend": NAME, "qubit": -1}, "`$.qubit`"),
    ("calibration_history", {"backend": NAME, "figure": "mood"}, "Invalid enum value 'mood'"),
    ("calibration_history", {"backend": NAME, "figure": "t1", "hours": 1e9}, "`$.hours`"),
    ("calibration_history", {"backend": NAME, "figure": "t1", "points": 31}, "`$.points`"),
    ("calibration_history", {"backend": NAME, "figure": "t1", "until": "yesterday"}, "`$.until`"),
    ("calibration_history", {"backend": NAME, "figure": "t1", "until": "2026-04-01T00:00:00"}, "timezone"),
    (
        "calibration_history",
        {"backend": NAME, "figure": "t1", "until": "0001-01-01T00:00:00Z"},
        "out of range",
    ),
    ("calibration_history", {"backend": NAME, "figure": "t1", "qubits": [1, 2]}, "t1 is a figure of one"),
    ("calibration_history", {"backend": NAME, "figure": "t1", "qubits": [27]}, "no qubit 27"),
    ("calibration_history", {"backend": NAME, "figure": "two_qubit_error", "qubits": [1]}, "a figure of two"),
    ("calibration_history", {"backend": NAME, "figure": "two_qubit_error", "qubits": [0, 26]}, "not coupled"),
    ("calibration_drift", {"backend": NAME, "hours": 0}, "`$.hours`"),
    ("calibration_drift", {"backend": "nobody"}, "nobody: no instance of the account lists this backend"),
    ("calibration_drift", {"backend": NAME, "until": "0001-01-01T00:00:00Z"}, "out of range"),
    ("delete_account", {"name": "mine"}, "there is no tool 'delete_account'; there are list_backends"),
    ("x" * 10_000, {}, "there is no tool 'xxx"),
]


@pytest.mark.parametrize(("tool", "arguments", "message"), WRONG, ids=range(len(WRONG)))
async def test_wrong_arguments_are_told(
    agent: Agent, tool: str, arguments: dict[str, Any], message: str
) -> None:
    error = await refused(agent, tool, **arguments)
    assert message in error["message"]
    assert error["error"] in ("InvalidRequest", "NotFound", "UnknownQubit")
    assert error["emulated"] is True


async def test_numbers_may_be_quoted_as_some_hosts_do(agent: Agent) -> None:
    quoted = await ask(agent, "list_backends", min_qubits="100", online="true", limit="2")
    assert (
        quoted["backends"]
        == (await ask(agent, "list_backends", min_qubits=100, online=True, limit=2))["backends"]
    )


async def test_null_is_what_is_left_out(agent: Agent) -> None:
    nothing = {"name": None, "region": None, "min_qubits": None, "online": None, "offset": None}
    everything = await ask(agent, "list_backends", limit=1, **nothing)
    assert everything["total"] == (await ask(agent, "list_backends", limit=1))["total"]
    error = await refused(agent, "backend_status", backend=None)
    assert "missing required field `backend`" in error["message"]


@pytest.mark.parametrize("by", get_args(RankKey))
async def test_a_ranking_has_the_values_that_decide(agent: Agent, client: Client, by: RankKey) -> None:
    ranking = await ask(agent, "rank_backends", by=by)
    wanted = await client.rank(by)
    assert [one["name"] for one in ranking["backends"]] == [one.name for one in wanted]
    values = [KEYS[by](one) for one in wanted]
    told = [one.get("value") for one in ranking["backends"]]
    assert told == [None if value is None else pytest.approx(abs(value)) for value in values]
    worst = await ask(agent, "rank_backends", by=by, worst_first=True, limit=1)
    assert worst["backends"][0]["name"] == (await client.rank(by, reverse=True))[0].name


async def test_only_what_runs_is_ranked_unless_all_is_wanted(agent: Agent, emulator: Emulator) -> None:
    emulator.set_backend(NAME, status="offline")
    names = {one["name"] for one in (await ask(agent, "rank_backends", by="queue"))["backends"]}
    everything = {
        one["name"] for one in (await ask(agent, "rank_backends", by="queue", online=False))["backends"]
    }
    assert NAME in everything - names
    offline = await ask(agent, "list_backends", online=False)
    assert NAME in {one["name"] for one in offline["backends"]}
    assert {one["status"] for one in offline["backends"]} <= {"offline", "paused"}


async def test_where_nothing_fits_it_is_told(agent: Agent) -> None:
    assert (await ask(agent, "list_backends", region="mars"))["total"] == 0
    error = await refused(agent, "least_busy", min_qubits=10**6)
    assert error["error"] == "NotFound"
    assert "backends is what is wanted; the largest has " in error["message"]


async def test_a_pattern_takes_names_in_any_case_as_everywhere(agent: Agent) -> None:
    found = await ask(agent, "list_backends", name="SYNTHETIC_Falcon*")
    assert NAME in [one["name"] for one in found["backends"]]


async def test_the_best_qubits_of_the_least_busy_backend(agent: Agent, emulator: Emulator) -> None:
    for name in emulator.backends():
        emulator.set_backend(name, queue_length=9)
    emulator.set_backend(NAME, status="online", queue_length=0)
    best = await ask(agent, "best_qubits", n=4, shape="set")
    assert best["backend"] == NAME
    assert best["qubits"] == sorted(best["qubits"])
    assert len(best["couplings"]) == 3
    alone = await ask(agent, "best_qubits", n=1)
    assert (len(alone["qubits"]), alone["couplings"]) == (1, [])


async def test_qubits_come_in_any_order(agent: Agent, client: Client) -> None:
    properties = await client.properties(NAME)
    for sort, value, sign in (
        ("t1", properties.t1, -1),
        ("t2", properties.t2, -1),
        ("readout_error", properties.readout_error, 1),
    ):
        rows = (await ask(agent, "list_qubits", backend=NAME, sort=sort, limit=10))["qubits"]
        assert [one["qubit"] for one in rows] == sorted(range(27), key=lambda one: sign * (value(one) or 0))[
            :10
        ]
        worst = (await ask(agent, "list_qubits", backend=NAME, sort=sort, worst_first=True, limit=1))[
            "qubits"
        ]
        assert worst[0]["qubit"] == max(range(27), key=lambda one: sign * (value(one) or 0))
    some = await ask(agent, "list_qubits", backend=NAME, qubits=[5, 3, 3])
    assert [one["qubit"] for one in some["qubits"]] == [3, 5]


@pytest.mark.parametrize("figure", get_args(FigureName))
async def test_a_history_has_one_value_for_each_day(agent: Agent, client: Client, figure: str) -> None:
    history = await ask(agent, "calibration_history", backend=NAME, figure=figure, hours=72, points=3)
    until = datetime.fromisoformat(history["until"])
    assert datetime.fromisoformat(history["since"]) == until - timedelta(hours=72)
    days = [one async for one in client.history(NAME, until - timedelta(3), until, every=timedelta(1)) if one]
    median = f"median_{figure}"
    assert [one.get("value") for one in history["points"]] == [
        value if value is None else pytest.approx(value) for value in (getattr(one, median)() for one in days)
    ]
    assert len(days) == 3
    units = {"t1": "s", "t2": "s", "readout_length": "s", "frequency": "Hz", "anharmonicity": "Hz"}
    assert history["unit"] == units.get(figure, "1")


async def test_a_history_of_one_qubit_or_one_coupling(agent: Agent, client: Client) -> None:
    newest = await client.properties(NAME)
    at = (newest.last_update_date + timedelta(seconds=1)).isoformat()
    how: dict[str, Any] = {"backend": NAME, "until": at, "hours": 24, "points": 1}
    qubit = await ask(agent, "calibration_history", figure="t2", qubits=[3], **how)
    assert qubit["points"][0]["value"] == pytest.approx(newest.t2(3))
    pair, error = next((pair, error) for pair, error in newest.coupling_errors().items() if error is not None)
    for qubits in (list(pair), list(reversed(pair))):
        coupling = await ask(agent, "calibration_history", figure="two_qubit_error", qubits=qubits, **how)
        assert coupling["points"][0]["value"] == pytest.approx(error)


async def test_another_figure_of_the_same_days_costs_one_request(agent: Agent, emulator: Emulator) -> None:
    first = await ask(agent, "calibration_history", backend=NAME, figure="t1")
    until = datetime.fromisoformat(first["until"])
    assert (until.minute, until.second) == (0, 0)
    assert datetime.now(UTC) - timedelta(hours=1) < until
    emulator.reset_log()
    second = await ask(agent, "calibration_history", backend=NAME, figure="t2", until=first["until"])
    assert len(second["points"]) == len(first["points"]) == 7
    assert emulator.count("properties") == 1  # for the newest one


async def test_gaps_of_a_history_are_told(agent: Agent, emulator: Emulator) -> None:
    hold = emulator.fault(Hold(), resource="properties")
    asking = asyncio.create_task(ask(agent, "calibration_history", backend=NAME, figure="t1"))
    await hold.reached()  # by the request for the newest calibration
    emulator.fault(Status(500), resource="properties", times=None)
    hold.release()
    history = await asking
    assert history["points"] == []
    assert history["newest_calibration"]
    assert "HTTP 500" in history["errors"][0]


async def test_a_drift_tells_what_has_changed(agent: Agent, client: Client, emulator: Emulator) -> None:
    until = datetime.now(UTC)
    drift = await ask(agent, "calibration_drift", backend=NAME, hours=48, until=until.isoformat())
    after = await client.properties(NAME, updated_before=until)
    before = await client.properties(NAME, updated_before=until - timedelta(hours=48))
    assert (drift["before"], drift["after"]) == (
        before.last_update_date.isoformat(),
        after.last_update_date.isoformat(),
    )
    medians = {one["figure"]: (one["before"], one["after"]) for one in drift["medians"]}
    assert medians["t1"] == (pytest.approx(before.median_t1()), pytest.approx(after.median_t1()))
    assert drift["total"] == sum(drift["counts"].values()) > 0
    assert drift["next_offset"] == len(drift["changes"])
    one = next(one for one in drift["changes"] if one["change"] in ("worse", "better"))
    assert one["relative"] == pytest.approx((one["after"] - one["before"]) / one["before"])


async def test_what_a_backend_does_not_have_is_left_out(real_emulator: Emulator) -> None:
    name = "ibmq_armonk"  # one qubit
    async with Client(real_emulator.account()) as client, Agent(mcp_server(client)) as agent:
        summary = await ask(agent, "backend_summary", backend=name)
        assert "two_qubit_gate" not in summary
        couplings = await ask(agent, "coupling_map", backend=name)
        assert (couplings["couplings"], couplings["total"]) == ([], 0)
        assert "lattice" not in couplings
        qubit = await ask(agent, "qubit_calibration", backend=name, qubit=0)
        assert "coupled_to" not in qubit
        error = await refused(agent, "best_qubits", backend=name, n=2)
        assert "no native two-qubit gate" in error["message"]
        error = await refused(agent, "calibration_drift", backend=name, hours=24 * 3650)
        assert "it has no calibration before" in error["message"]
        drift = await ask(agent, "calibration_drift", backend=name)
        assert "before" not in next(one for one in drift["medians"] if one["figure"] == "two_qubit_error")
