"""The accounted size of decoded answers, against what they really take."""

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from qrbackends import BackendConfiguration, BackendProperties, Request
from qrbackends.cache.entry import Entry
from qrbackends.cache.footprint import retained_size
from qrbackends.cache.memory import Memory
from qrbackends.emulator import SnapshotFleet
from qrbackends.emulator.fleets import Kind
from qrbackends.protocol.answers import parse

pytest.importorskip("qiskit_ibm_runtime")
NAMES = SnapshotFleet().names
SOME = NAMES[::14]


def look_up(value: Any) -> None:
    """Let a document build its index."""
    if isinstance(value, BackendProperties):
        value.qubit_property(0, "T1")
        value.gate_properties(value.gates[0].gate, value.gates[0].on)
    elif isinstance(value, BackendConfiguration):
        value.gate(value.gates[0].name)


def taken(build: Callable[[], Any]) -> tuple[int, Any]:
    """Return the bytes that what `build` returns takes, and it."""
    build()  # whatever is made once is made now
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        built = build()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before, built
    finally:
        tracemalloc.stop()


def ratio(resource: Any, body: bytes) -> float:
    """Return the accounted size of an answer, cached, over its real one."""
    request = Request(resource, None if resource == "backends" else "b")
    memory = Memory(share=1.0)

    def cached() -> Any:
        value = parse(request, 200, {}, body)
        look_up(value)
        own = msgspec.structs.replace(request, fields=request.fields)
        memory.put(
            memory.epoch(("s" * 64, own)),
            Entry(value, 0.0, 1e12, 1e12, retained_size(resource, body, value)),
        )
        return value

    real, value = taken(cached)
    return retained_size(resource, body, value) / real


def documents(name: str) -> list[tuple[str, bytes]]:
    fleet = SnapshotFleet()
    kinds: tuple[Kind, ...] = ("configuration", "properties")
    recorded = {kind: fleet.build(fleet.find(kind, name, None, None, 0.0)) for kind in kinds}
    # as the service sends it: without blanks
    return [(kind, msgspec.json.encode(msgspec.json.decode(body))) for kind, body in recorded.items()]


@pytest.mark.parametrize("name", SOME)
def test_the_size_of_real_documents_is_known_to_a_quarter(name: str) -> None:
    for kind, body in documents(name):
        assert 0.75 <= ratio(kind, body) <= 1.25, kind


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_all_real_documents_is_known_to_a_quarter(name: str) -> None:
    test_the_size_of_real_documents_is_known_to_a_quarter(name)


def test_the_size_of_lists_is_known_to_a_quarter() -> None:
    best = {"value": 0.0, "gate": "cz", "qubits": [300, 301], "unit": ""}
    devices = [
        {
            "name": f"ibm_{number}",
            "status": {"name": "online", "reason": "available"},
            "is_simulator": False,
            "qubits": 156,
            "clops": {"type": "hardware", "value": 250000},
            "processor_type": {"family": "Heron", "revision": "2"},
            "queue_length": 1000 + number,
            "performance_metrics": {"two_q_error_best": best | {"value": 0.001 * number}},
        }
        for number in range(50)
    ]
    assert 0.75 <= ratio("backends", msgspec.json.encode({"devices": devices})) <= 1.25


def test_small_answers_are_not_forgotten() -> None:
    body = b'{"state":true,"status":"active","message":"","length_queue":3000,"backend_version":"1.2.3"}'
    assert 0.6 <= ratio("status", body) <= 1.7
