"""The configuration document of a synthetic processor, in the shape of the service or of its contract."""

from math import tau
from typing import Any

import msgspec

from .calibration import DocumentShape
from .chip import RZZ, Chip
from .dates import with_milliseconds, with_offset
from .fractional import fractional_gate

_QASM = {
    "id": ([], "gate id q { U(0, 0, 0) q; }"),
    "rz": (["theta"], "gate rz(theta) q { U(0, 0, theta) q; }"),
    "sx": ([], "gate sx q { U(pi/2, 3*pi/2, pi/2) q; }"),
    "x": ([], "gate x q { U(pi, 0, pi) q; }"),
    "cx": ([], "gate cx q0,q1 { CX q0,q1; }"),
    "cz": ([], "gate cz q0,q1 { h q1; CX q0,q1; h q1; }"),
    "ecr": ([], "gate ecr q0,q1 { rzx(pi/4) q0,q1; x q0; rzx(-pi/4) q0,q1; }"),
}


def configuration_document(chip: Chip, version: str, online: float, shape: DocumentShape) -> bytes:
    """Return the JSON of a chip's configuration.

    Args:
        chip: the processor.
        version: the backend's version.
        online: the Unix time at which it went online.
        shape: `live`, as the service answers, or `contract`, as its published contract says.
    """
    common = _common(chip, version)
    own = _live(chip, online) if shape == "live" else _contract(chip, online)
    return msgspec.json.encode(common | own)


def _common(chip: Chip, version: str) -> dict[str, Any]:
    """Return the fields that are the same in both shapes."""
    count = len(chip.qubits)
    gates = _gates(chip)
    names = [gate["name"] for gate in gates]
    return {
        "backend_name": chip.name,
        "backend_version": version,
        "n_qubits": count,
        "basis_gates": names,
        "gates": gates,
        "local": False,
        "simulator": False,
        "conditional": False,
        "open_pulse": False,
        "memory": True,
        "coupling_map": _coupling_map(chip),
        "dynamic_reprate_enabled": True,
        "meas_map": [list(range(count))],
        "supported_instructions": [*names, "delay", "measure", "reset", "if_else"],
        "supported_features": ["qasm3", "qobj", "dynamic_circuits"],
        "rep_delay_range": [0.0, 500.0],
        "n_registers": 1,
        "n_uchannels": len(_directed(chip)) if chip.generation.channels else 0,
        "credits_required": True,
        "description": f"emulated {count} qubit device",
        "max_experiments": 300,
        "max_shots": 100_000,
        "measure_esp_enabled": False,
        "coords": [[column + 1, row + 1] for row, column in chip.lattice.cells],
        "timing_constraints": {
            "acquire_alignment": 1, "granularity": 1, "min_length": 2, "pulse_alignment": 1,
        },
    }  # fmt: skip


def _live(chip: Chip, online: float) -> dict[str, Any]:
    """Return the other fields as the service sends them."""
    generation = chip.generation
    processor = {"family": generation.family, "revision": generation.revision}
    live: dict[str, Any] = {
        "online_date": with_offset(online, 0),
        "processor_type": processor,
        "sample_name": f"family: {generation.family}, revision: {generation.revision}",
        "dt": generation.dt,
        "dtm": generation.dt,
        "default_rep_delay": 250.0,
        "rep_times": [1000.0],
        "clops": None,
        "clops_h": generation.clops,
        "clops_v": "None",
        "quantum_volume": None,
        "allow_q_object": True,
        "multi_meas_enabled": True,
        "parallel_compilation": True,
        "url": "None",
    }
    if not generation.channels:
        return live | {"meas_levels": None, "meas_kernels": None, "discriminators": None}
    return live | {
        "quantum_volume": 128,
        "u_channel_lo": [[{"q": second, "scale": [1.0, 0.0]}] for _, second in _directed(chip)],
        "meas_levels": [1, 2],
        "meas_kernels": ["hw_qmfk"],
        "discriminators": ["linear_discriminator", "hw_qmfk"],
        "parametric_pulses": ["gaussian", "gaussian_square", "drag", "constant"],
        "acquisition_latency": [],
        "conditional_latency": [],
        "hamiltonian": _hamiltonian(chip),
    }


def _hamiltonian(chip: Chip) -> dict[str, Any]:
    """Return a Hamiltonian with the qubits' frequencies; couplings and anharmonicities are left out."""
    last = len(chip.qubits) - 1
    return {
        "description": "Qubits are modelled as uncoupled two-level systems.",
        "h_latex": "",
        "h_str": [f"_SUM[i,0,{last},wq{{i}}/2*(I{{i}}-Z{{i}})]"],
        "osc": {},
        "vars": {f"wq{number}": tau * qubit.frequency for number, qubit in enumerate(chip.qubits)},
    }


def _contract(chip: Chip, online: float) -> dict[str, Any]:
    """Return the other fields as the contract specifies them.

    Fields for which no meaningful value satisfies the contract are left out: `meas_levels` and
    `parametric_pulses`, which it declares as lists of lists of anything, and a `dt` that is not a whole
    number of nanoseconds. In the contract `q` begins at 1, so the control channels of qubit 0 are missing.
    """
    generation = chip.generation
    revision = str(generation.revision)
    contract: dict[str, Any] = {
        "online_date": with_milliseconds(online),
        "processor_type": {
            "family": generation.family,
            "revision": revision if "." in revision else f"{revision}.0",
        },
        "sample_name": f"family: {generation.family}",
        "default_rep_delay": 250,
        "rep_times": [1000],
        "clops": {"type": "hardware", "value": generation.clops},
        "clops_h": generation.clops,
        "clops_v": "None",
        "quantum_volume": 128,
        "u_channel_lo": [],
        "discriminators": ["hwqmfk"],
        "tags": ["emulated"],
    }
    if generation.dt.is_integer():
        contract |= {"dt": int(generation.dt), "dtm": int(generation.dt)}
    if generation.channels:
        contract["u_channel_lo"] = [
            [{"q": second, "scale": {"number": [1.0, 0.0]}}] for _, second in _directed(chip) if second
        ]
    return contract


def _gates(chip: Chip) -> list[dict[str, Any]]:
    singles = [[qubit] for qubit in range(len(chip.qubits))]
    fractional = {"rx": singles} if "rx" in chip.generation.fractional else {}
    if chip.has_rzz:
        fractional[RZZ] = [list(pair) for pair in _both_ways(chip)]
    gates = [
        fractional_gate(name, fractional[name]) if name in fractional else _gate(name, singles)
        for name in ("id", "rx", "rz", RZZ, "sx", "x")
        if name in fractional or name in _QASM
    ]
    gates.append(_gate(chip.generation.entangler, _coupling_map(chip)))
    return gates


def _gate(name: str, coupling_map: list[list[int]]) -> dict[str, Any]:
    parameters, definition = _QASM[name]
    return {"name": name, "parameters": parameters, "qasm_def": definition, "coupling_map": coupling_map}


def _coupling_map(chip: Chip) -> list[list[int]]:
    return [list(pair) for pair in _directed(chip)]


def _directed(chip: Chip) -> list[tuple[int, int]]:
    """Return the pairs for which the native gate is listed, each in its direction."""
    return _both_ways(chip) if chip.generation.both_ways else [pair.qubits for pair in chip.couplings]


def _both_ways(chip: Chip) -> list[tuple[int, int]]:
    return sorted(turn for pair in chip.couplings for turn in (pair.qubits, pair.qubits[::-1]))
