"""A session of an agent: twelve questions about real devices, over standard input and output."""

from datetime import timedelta
from typing import Any

import pytest
from mcp import Client as Agent

from qrbackends.analysis.qubits import best_chain

from ..snapshots import BOTH, real
from .asking import ask, over_stdio, read

pytestmark = pytest.mark.anyio

NAME = "ibm_boston"
CONFIGURATION, PROPERTIES = real("boston")
DEVICES = {
    configuration.backend_name: (configuration, properties) for configuration, properties in map(real, BOTH)
}


async def all_of(agent: Agent, tool: str, rows: str, **arguments: Any) -> list[Any]:
    """Ask on until there is no more, as each answer says how to."""
    found: list[Any] = []
    offset: int | None = 0
    while offset is not None:
        answer = await ask(agent, tool, offset=offset, **arguments)
        found += answer[rows]
        offset = answer.get("next_offset")
        assert ("more" in answer) == (offset is not None)
    assert len(found) == answer["total"]
    return found


async def test_a_session_of_twelve_questions() -> None:
    async with over_stdio("--emulator", "snapshots") as agent:
        # 1. Which devices are there?
        fleet = await all_of(agent, "list_backends", "backends")
        assert [one["name"] for one in fleet] == sorted(DEVICES)
        assert {one["name"]: one["qubits"] for one in fleet} == {
            name: configuration.n_qubits for name, (configuration, _) in DEVICES.items()
        }

        # 2. Which Herons and Nighthawks in eu-de run jobs now?
        found = await all_of(
            agent, "list_backends", "backends", name="ibm_*", region="eu-de", min_qubits=120, online=True
        )
        assert (
            [one["name"] for one in found]
            == [
                one["name"]
                for one in fleet
                if one["name"].startswith("ibm_")
                and (one["region"], one["status"]) == ("eu-de", "online")
                and one["qubits"] >= 120
            ]
            != []
        )

        # 3. Which is least busy with 100 qubits or more?
        least = await ask(agent, "least_busy", min_qubits=100)
        large = [one for one in fleet if one["qubits"] >= 100 and one["status"] == "online"]
        assert least["backend"] == min(large, key=lambda one: (one["queue_length"], one["name"]))

        # 4. The three best by two-qubit error?
        ranking = await ask(agent, "rank_backends", by="two_qubit_error", min_qubits=100, limit=3)
        errors = {
            name: error
            for name, (configuration, properties) in DEVICES.items()
            if configuration.n_qubits >= 100 and (error := properties.median_two_qubit_error()) is not None
        }
        best = sorted(errors, key=errors.__getitem__)[:3]
        assert [one["name"] for one in ranking["backends"]] == best
        assert [one["value"] for one in ranking["backends"]] == pytest.approx([errors[one] for one in best])
        assert ranking["value_unit"] == "1"

        # 5. Does it run jobs, and how many wait?
        status = await ask(agent, "backend_status", backend=NAME)
        assert (status["operational"], status["status"], status["message"]) == (True, "active", "emulated")
        assert status["queue_length"] >= 0

        # 6. What is it like?
        summary = await ask(agent, "backend_summary", backend=NAME)
        assert (summary["qubits"], summary["processor"], summary["lattice"]) == (156, "Heron r3", "heavy-hex")
        assert set(summary["basis_gates"]) >= set(CONFIGURATION.basis_gates)
        assert summary["max_shots"] == CONFIGURATION.max_shots
        medians = {one["figure"]: (one["median"], one["unit"]) for one in summary["figures"]}
        assert medians["T1"] == (pytest.approx(PROPERTIES.median_t1()), "s")
        assert medians["readout error"] == (pytest.approx(PROPERTIES.median_readout_error()), "1")
        assert medians["cz error"] == (pytest.approx(PROPERTIES.median_two_qubit_error()), "1")
        assert summary["broken_couplings"] == [[84, 85]]
        assert set(summary["left_out"]) == {"other_gates"}
        assert "list_qubits" in summary["more"]

        # 7. The best line of five qubits?
        line = await ask(agent, "best_qubits", backend=NAME, n=5)
        choice = best_chain(CONFIGURATION, PROPERTIES, 5)
        assert line["qubits"] == list(choice.qubits)
        assert line["expected_error"] == pytest.approx(choice.expected_error)
        assert [one["t1_seconds"] for one in line["details"]] == pytest.approx(
            [PROPERTIES.t1(qubit) for qubit in choice.qubits]
        )
        assert [one["error"] for one in line["couplings"]] == pytest.approx(
            [PROPERTIES.gate_error("cz", pair) for pair in choice.couplings]
        )

        # 8. T1 of qubit 17, and its neighbours?
        qubit = await ask(agent, "qubit_calibration", backend=NAME, qubit=17)
        assert qubit["t1_seconds"] == pytest.approx(PROPERTIES.t1(17))
        assert qubit["readout_error"] == pytest.approx(PROPERTIES.readout_error(17))
        assert qubit["coupled_to"] == [7, 27]
        gates = {(one["gate"], *one["qubits"]): one for one in qubit["gates"]}
        assert gates["cz", 17, 27]["error"] == pytest.approx(PROPERTIES.gate_error("cz", (17, 27)))
        assert gates["sx", 17]["length_seconds"] == pytest.approx(PROPERTIES.gate_length("sx", 17))

        # 9. The five qubits with the shortest T2?
        shortest = await ask(agent, "list_qubits", backend=NAME, sort="t2", worst_first=True, limit=5)
        by_t2 = sorted(range(156), key=lambda one: PROPERTIES.t2(one) or 0.0)
        assert [one["qubit"] for one in shortest["qubits"]] == by_t2[:5]

        # 10. Which qubits are coupled?
        pairs = await all_of(agent, "coupling_map", "couplings", backend=NAME)
        assert {(one, other) for one, other in pairs} == {
            (min(pair), max(pair)) for pair in CONFIGURATION.directed_couplings()
        }

        # 11. What has changed since yesterday? Nothing: snapshots have one calibration.
        drift = await ask(agent, "calibration_drift", backend=NAME)
        assert (drift["before"], drift["total"], drift["changes"]) == (drift["after"], 0, [])

        # 12. The median T1 around its calibration?
        at = PROPERTIES.last_update_date
        until = (at + timedelta(hours=12)).isoformat()
        history = await ask(
            agent, "calibration_history", backend=NAME, figure="t1", until=until, hours=24, points=2
        )
        (point,) = history["points"]
        assert point["value"] == pytest.approx(PROPERTIES.median_t1())
        assert (point["calibrated_at"], history["unit"]) == (at.isoformat(), "s")

        # And the document itself, piece by piece.
        piece = await read(agent, f"qrbackends://backends/{NAME}/properties?part=qubits/17")
        assert piece["value"][0]["name"] == "T1"
