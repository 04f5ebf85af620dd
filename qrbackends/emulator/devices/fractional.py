"""Fractional gates in recorded configurations: the wheel's were stored without them, the service lists them.

A fractional gate has an angle that the device itself turns by: `rx` on one qubit, `rzz` on two.
"""

from typing import Any

import msgspec

FRACTIONAL = {
    "rx": "gate rx(theta) q { U(theta, -pi/2, pi/2) q; }",
    "rzz": "gate rzz(theta) q0, q1 { CX q0, q1; U(0, 0, theta) q1; CX q0, q1; }",
}
"""The `qasm_def` of each fractional gate; its only parameter is `theta`."""

_NEIGHBOUR = "rz"  # the lists are sorted, and these two gates stand beside it


class _Gate(msgspec.Struct):
    gate: str
    qubits: tuple[int, ...]


class _Properties(msgspec.Struct):
    gates: list[_Gate]


class _Names(msgspec.Struct):
    basis_gates: list[str]


_NAMES = msgspec.json.Decoder(_Names)
_PROPERTIES = msgspec.json.Decoder(_Properties)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXTS = msgspec.json.Decoder(list[str])
_GATES = msgspec.json.Decoder(list[msgspec.Raw])


def with_fractional_gates(configuration: bytes, properties: bytes) -> bytes:
    """Return a configuration that lists the fractional gates which the device's properties have.

    Where none is missing in `basis_gates`, it is returned as it is. Otherwise `basis_gates`,
    `supported_instructions` and `gates` list them as live configurations do; all else is as it was.
    """
    listed = _NAMES.decode(configuration).basis_gates
    missing: dict[str, set[tuple[int, ...]]] = {}
    for one in _PROPERTIES.decode(properties).gates:
        if one.gate in FRACTIONAL and one.gate not in listed:
            missing.setdefault(one.gate, set()).add(one.qubits)
    if not missing:
        return configuration
    fields = _FIELDS.decode(configuration)
    for field in ("basis_gates", "supported_instructions"):
        if field in fields:
            names = _TEXTS.decode(fields[field])
            fields[field] = _raw(_inserted(names, names, {name: name for name in missing}))
    gates = _GATES.decode(fields["gates"])
    entries = {name: _raw(fractional_gate(name, sorted(places))) for name, places in missing.items()}
    names = [msgspec.json.decode(gate)["name"] for gate in gates]
    fields["gates"] = _raw(_inserted(gates, names, entries))
    return msgspec.json.encode(fields)


def fractional_gate(name: str, places: Any) -> dict[str, Any]:
    """Return the entry of a fractional gate in a configuration's `gates`, on the given qubits."""
    return {"name": name, "parameters": ["theta"], "qasm_def": FRACTIONAL[name], "coupling_map": places}


def _inserted(values: list[Any], names: list[str], new: dict[str, Any]) -> list[Any]:
    """Return the values, of which each has a name, with the new ones beside `rz`; or else at the end."""
    at = names.index(_NEIGHBOUR) if _NEIGHBOUR in names else len(names)
    before = [new[name] for name in sorted(new) if name < _NEIGHBOUR]
    after = [new[name] for name in sorted(new) if name > _NEIGHBOUR]
    return [*values[:at], *before, *values[at : at + 1], *after, *values[at + 1 :]]


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
