"""Beside qiskit-ibm-runtime-mcp-server: what its tools for backends answer, ours answer, in fewer calls.

Each question has the calls that an agent needs with their tools, those with ours, and the facts of either.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import pytest
from mcp import Client as Agent

from qrbackends import Client
from qrbackends.agents import mcp_server
from qrbackends.emulator import ThreadedEmulator

from ..agents.asking import ask as ask_ours
from .asking import STATES, ask, needs_environments

pytestmark = [needs_environments, pytest.mark.anyio]

Calls: TypeAlias = list[tuple[str, dict[str, Any]]]
Facts: TypeAlias = Callable[..., Any]  # of the answers to the calls

NAME = "ibm_strasbourg"
ABOUT, OURS = {"backend_name": NAME}, {"backend": NAME}


class Question(NamedTuple):
    """A question, the calls with their tools and with ours, and the facts in the answers."""

    asked: str
    theirs: Calls
    their_facts: Facts
    ours: Calls
    our_facts: Facts


def micro(seconds: float) -> Any:
    return pytest.approx(seconds * 1e6, abs=0.006)  # they round


def six(value: float) -> Any:
    return pytest.approx(value, abs=0.6e-6)


# What one of their tools answers, one of ours answers.
SIMPLE = [
    Question(
        "which devices are there, and how many jobs wait for each?",
        [("list_backends", {})],
        lambda all_: {one["name"]: (one["num_qubits"], one["pending_jobs"]) for one in all_["backends"]},
        [("list_backends", {})],
        lambda all_: {one["name"]: (one["qubits"], one["queue_length"]) for one in all_["backends"]},
    ),
    Question(
        "what is this one like?",
        [("get_backend_properties", ABOUT)],
        lambda one: (
            *(one["num_qubits"], one["operational"], one["pending_jobs"], one["processor_type"]),
            *(one["backend_version"], one["basis_gates"], one["max_shots"], one["max_experiments"]),
        ),
        [("backend_summary", OURS)],
        lambda one: (
            *(one["qubits"], one["status"] == "online", one["queue_length"], one["processor"]),
            *(one["version"], one["basis_gates"], one["max_shots"], one["max_circuits"]),
        ),
    ),
    Question(
        "how good are these qubits?",
        [("get_backend_calibration", ABOUT | {"qubit_indices": [0, 17, 99]})],
        lambda all_: [
            (one["qubit"], one["t1_us"], one["t2_us"], one["readout_error"], one["operational"])
            for one in all_["qubit_calibration"]
        ],
        [("list_qubits", OURS | {"qubits": [0, 17, 99]})],
        lambda all_: [
            (
                one["qubit"],
                micro(one["t1_seconds"]),
                micro(one["t2_seconds"]),
                six(one["readout_error"]),
                True,
            )
            for one in all_["qubits"]
        ],
    ),
    Question(
        "which qubits are coupled?",
        [("get_coupling_map", ABOUT)],
        lambda one: (
            one["bidirectional"],
            sorted({(min(edge), max(edge)) for edge in one["edges"]}),
        ),
        [("coupling_map", OURS)],
        lambda one: (one["bidirectional"], [(a, b) for a, b in one["couplings"]]),
    ),
    Question(
        "a line of three good qubits?",
        [("find_optimal_qubit_chains", ABOUT | {"chain_length": 3})],
        lambda one: (len(one["chains"][0]["qubits"]), len(one["chains"][0]["edge_errors"])),
        [("best_qubits", OURS | {"n": 3})],
        lambda one: (len(one["qubits"]), len(one["couplings"])),
    ),
    Question(
        "three good qubits that are connected?",
        [("find_optimal_qv_qubits", ABOUT | {"num_qubits": 3})],
        lambda one: len(one["subgraphs"][0]["qubits"]),
        [("best_qubits", OURS | {"n": 3, "shape": "set"})],
        lambda one: len(one["qubits"]),
    ),
]

# What takes several of their calls.
COMPOSED = [
    Question(
        "which devices run jobs, and what processors do they have?",
        [
            ("list_backends", {}),
            *(("get_backend_properties", {"backend_name": name}) for name in sorted(STATES)),
        ],
        lambda _, *each: {
            one["backend_name"]: one["processor_type"] for one in each if one["status_msg"] == "active"
        },
        [("list_backends", {"online": True})],
        lambda all_: {one["name"]: one["processor"] for one in all_["backends"]},
    ),
    Question(
        "which is the least busy with 150 qubits or more, and what processor has it?",
        [("list_backends", {}), ("get_backend_properties", {"backend_name": "ibm_boston"})],
        lambda all_, one: (
            min(
                (
                    one
                    for one in all_["backends"]
                    if one["num_qubits"] >= 150 and one["status_msg"] == "active"
                ),
                key=lambda one: one["pending_jobs"],
            )["name"],
            one["processor_type"],
        ),
        [("least_busy", {"min_qubits": 150})],
        lambda one: (one["backend"]["name"], one["backend"]["processor"]),
    ),
    Question(
        "what is this one like, and which of its qubits are faulty?",
        [("get_backend_properties", ABOUT), ("get_backend_calibration", ABOUT)],
        lambda one, calibration: (one["processor_type"], calibration["faulty_qubits"]),
        [("backend_summary", OURS)],
        lambda one: (one["processor"], one.get("faulty_qubits", [])),
    ),
    Question(
        "how good is qubit 17, and what is it coupled to?",
        [("get_backend_calibration", ABOUT | {"qubit_indices": [17]}), ("get_coupling_map", ABOUT)],
        lambda all_, couplings: (
            all_["qubit_calibration"][0]["t1_us"],
            all_["qubit_calibration"][0]["frequency_ghz"],
            sorted({one for edge in couplings["edges"] if 17 in edge for one in edge} - {17}),
        ),
        [("qubit_calibration", OURS | {"qubit": 17})],
        lambda one: (
            micro(one["t1_seconds"]),
            pytest.approx(one["frequency_hertz"] / 1e9, abs=1e-6),
            one["coupled_to"],
        ),
    ),
    Question(
        "which is best by its median readout error?",
        [
            ("list_backends", {}),
            *(
                ("get_backend_calibration", {"backend_name": name, "qubit_indices": list(range(156))})
                for name in ("ibm_boston", "ibm_brussels", NAME)
            ),
        ],
        lambda _, *each: min(
            each, key=lambda one: median([qubit["readout_error"] for qubit in one["qubit_calibration"]])
        )["backend_name"],
        [("rank_backends", {"by": "readout_error", "name": "ibm_*", "limit": 1})],
        lambda all_: all_["backends"][0]["name"],
    ),
    Question(
        "a line of three good qubits on the least busy device?",
        [
            ("least_busy_backend", {}),
            ("find_optimal_qubit_chains", {"backend_name": "ibm_brussels", "chain_length": 3}),
        ],
        lambda _, one: (one["backend_name"], len(one["chains"][0]["qubits"])),
        [("best_qubits", {"n": 3})],
        lambda one: (one["backend"], len(one["qubits"])),
    ),
]


@pytest.mark.long
async def test_ours_answer_what_theirs_answer_in_fewer_calls(
    emulator: ThreadedEmulator, tmp_path: Path
) -> None:
    questions = SIMPLE + COMPOSED
    calls = [call for one in questions for call in one.theirs]
    told = iter(ask(emulator, tmp_path, "mcp-server", "ask_mcp_server.py", json.dumps(calls))["answers"])
    async with Client(emulator.account()) as client, Agent(mcp_server(client)) as agent:
        for one in questions:
            theirs = [next(told) for _ in one.theirs]
            assert {answer["status"] for answer in theirs} == {"success"}
            ours = [await ask_ours(agent, tool, **arguments) for tool, arguments in one.ours]
            assert one.their_facts(*theirs) == one.our_facts(*ours), one.asked
    assert {(len(one.theirs), len(one.ours)) for one in SIMPLE} == {(1, 1)}
    assert all(len(one.ours) < len(one.theirs) for one in COMPOSED)
