"""Fractional gates: the wheel's configurations were stored without them, the service's list them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from qrbackends.emulator import SnapshotFleet
from qrbackends.emulator.devices.fleets import wheel_directory
from qrbackends.emulator.devices.fractional import with_fractional_gates
from qrbackends.models import BackendConfiguration, BackendProperties

HERONS = (
    "ibm_aachen",
    "ibm_boston",
    "ibm_fez",
    "ibm_kingston",
    "ibm_marrakesh",
    "ibm_pittsburgh",
    "ibm_torino",
)
NIGHTHAWKS = ("ibm_berlin", "ibm_miami")
WITHOUT_FRACTIONAL_GATES = (*HERONS, *NIGHTHAWKS)
FIELDS = ("basis_gates", "supported_instructions", "gates")
WHEEL = SnapshotFleet()


def stored(name: str) -> tuple[Path, Path]:
    """Return the files of a device in the wheel."""
    directory = wheel_directory() / name.removeprefix("ibm_")
    (configuration,) = directory.glob("conf_*.json")
    return configuration, configuration.with_name(configuration.name.replace("conf_", "props_"))


def served(name: str, kind: Any = "configuration") -> bytes:
    return WHEEL.build(WHEEL.find(kind, name, None, None, 0.0))


@pytest.mark.parametrize("name", WITHOUT_FRACTIONAL_GATES)
def test_the_served_configuration_lists_them_where_the_properties_have_them(name: str) -> None:
    configuration, properties = (msgspec.json.decode(path.read_bytes()) for path in stored(name))
    live = msgspec.json.decode(served(name))
    added = ["rx", "rzz"] if name in HERONS else ["rx"]
    assert live["basis_gates"] == sorted([*configuration["basis_gates"], *added])
    assert set(live["supported_instructions"]) == {*configuration["supported_instructions"], *added}
    gates = {gate["name"]: gate for gate in live["gates"]}
    for gate in added:
        places = [one["qubits"] for one in properties["gates"] if one["gate"] == gate]
        assert gates[gate]["coupling_map"] == sorted(places)
        assert gates[gate]["parameters"] == ["theta"]
        assert gates[gate]["qasm_def"].startswith(f"gate {gate}(theta) ")
    assert [gate for gate in live["gates"] if gate["name"] not in added] == configuration["gates"]
    others = live.keys() - set(FIELDS)
    assert {key: live[key] for key in others} == {key: configuration[key] for key in others}
    assert list(live) == list(configuration)


def test_nine_are_served_otherwise_than_they_are_stored_and_not_from_a_directory() -> None:
    other = {
        path.parent.name
        for path in wheel_directory().glob("*/conf_*.json")
        if served(msgspec.json.decode(path.read_bytes())["backend_name"]) != path.read_bytes()
    }
    assert other == {name.removeprefix("ibm_") for name in WITHOUT_FRACTIONAL_GATES}
    configuration, _ = stored("ibm_boston")
    fleet = SnapshotFleet(configuration.parent)
    assert (
        fleet.build(fleet.find("configuration", "ibm_boston", None, None, 0.0)) == configuration.read_bytes()
    )


def test_what_lists_them_already_stays_and_no_list_is_needed() -> None:
    gate = {"gate": "rx", "qubits": [0]}
    conf = {"basis_gates": ["cz", "x"], "gates": [{"name": "x"}]}
    properties = msgspec.json.encode({"gates": [gate, {"gate": "rzz", "qubits": [1, 0]}, gate]})
    added = msgspec.json.decode(with_fractional_gates(msgspec.json.encode(conf), properties))
    assert added["basis_gates"] == ["cz", "x", "rx", "rzz"]
    assert [one["name"] for one in added["gates"]] == ["x", "rx", "rzz"]
    assert added["gates"][1]["coupling_map"] == [[0]]
    assert "supported_instructions" not in added
    listed = msgspec.json.encode(conf | {"basis_gates": ["rx", "rzz"]})
    assert with_fractional_gates(listed, properties) is listed


@pytest.mark.parametrize(("name", "places"), [("ibm_boston", 352), ("ibm_torino", 300), ("ibm_berlin", 0)])
def test_a_target_has_them_unless_they_are_not_wanted(name: str, places: int) -> None:
    qiskit = pytest.importorskip("qrbackends.interop.qiskit")
    configuration = msgspec.json.decode(served(name), type=BackendConfiguration)
    properties = msgspec.json.decode(served(name, "properties"), type=BackendProperties)
    target = qiskit.to_target(configuration, properties, filter_faulty=False)
    assert len(target["rx"]) == configuration.n_qubits
    assert len(target["rzz"] if "rzz" in target.operation_names else ()) == places
    assert all(one.duration is not None for one in target["rx"].values())
    without = qiskit.to_target(configuration, properties, include_fractional_gates=False)
    assert {"rx", "rzz"}.isdisjoint(without.operation_names)
