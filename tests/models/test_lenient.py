"""Odd parts of documents are left out and told; what is left is as it was sent."""

import json
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from qrbackends import BackendProperties, Client, DecodeError, FileStore, NotFound, Request
from qrbackends.emulator import Emulator, Garbage, Status
from qrbackends.protocol.answers import parse

from ..contract import LONG
from .shapes import REQUESTS, dense, repeated

NDUV = {"date": "2026-05-04T03:02:01+02:00", "name": "T1", "unit": "us", "value": 151.5}
GATE = {
    "gate": "cz",
    "qubits": [0, 1],
    "parameters": [NDUV | {"name": "gate_error", "unit": "", "value": 0.003}],
}
DOCUMENT: dict[str, Any] = {
    "backend_name": "ibm_x",
    "backend_version": "1.0",
    "last_update_date": "2026-05-04T03:02:01Z",
    "qubits": [[NDUV, NDUV | {"name": "T2", "value": 97}], [NDUV]],
    "gates": [GATE],
    "general": [],
}


def read(**fields: Any) -> BackendProperties:
    answer = parse(REQUESTS["properties"], 200, {}, json.dumps(DOCUMENT | fields).encode())
    assert isinstance(answer, BackendProperties)
    return answer


@pytest.mark.parametrize(
    ("odd", "field"),
    [
        ({"value": None}, "value"),
        ({"date": None}, "date"),
        ({"unit": None}, "unit"),
        ({"value": "151.5"}, "value"),
        ({"value": True}, "value"),
        ({"value": [1]}, "value"),
        ({"name": 7}, "name"),
        ({"date": 20260504}, "date"),
    ],
)
def test_an_odd_value_is_left_out_and_counted(odd: dict[str, Any], field: str) -> None:
    ours = read(qubits=[[NDUV | odd, NDUV | {"name": "T2", "value": 97}], [NDUV]])
    assert ours.left_out_count == 1
    (told,) = ours.left_out
    assert (told.path, told.at) == ("$.qubits[0][0]", f"$.qubits[0][0].{field}")
    assert told.name == (None if field == "name" else "T1")
    assert (ours.t1(0), ours.t2(0), ours.t1(1)) == (None, 97e-6, 151.5e-6)
    again = msgspec.json.decode(msgspec.json.encode(ours), type=BackendProperties)
    assert again == ours
    assert again.left_out == ()


@pytest.mark.parametrize(
    "date", ["2026-05-04", "2026-05-04 03:02:01", "2026-05-04 03:02:01+02:00", "20260504T030201Z"]
)
def test_a_date_in_any_form_of_iso_8601_is_read(date: str) -> None:
    ours = read(last_update_date=date, qubits=[[NDUV | {"date": date}]])
    assert ours.last_update_date.date() == datetime(2026, 5, 4, tzinfo=UTC).date()
    assert ours.left_out == ()
    value = ours.qubit_property(0, "T1")
    assert value is not None
    assert value.measured_at == ours.last_update_date


def test_a_qubit_keeps_its_number_whatever_is_before_it() -> None:
    ours = read(qubits=[None, "x", [NDUV], 7, [NDUV | {"value": 3}]])
    assert [ours.t1(qubit) for qubit in range(5)] == [None, None, 151.5e-6, None, 3e-6]
    assert [one.path for one in ours.left_out] == ["$.qubits[0]", "$.qubits[1]", "$.qubits[3]"]


def test_an_odd_gate_is_left_out_and_the_others_stay() -> None:
    odd: list[Any] = [
        GATE | {"qubits": [0, 2**64]},
        GATE | {"qubits": None},
        GATE | {"gate": 3},
        None,
        {key: one for key, one in GATE.items() if key != "parameters"},
    ]
    ours = read(gates=[*odd, GATE | {"qubits": [0.0, 2.0], "name": 7}, GATE])
    assert [gate.qubits for gate in ours.gates] == [(0, 2), (0, 1)]
    assert [type(qubit) for qubit in ours.gates[0].qubits] == [int, int]
    assert [one.path for one in ours.left_out] == [
        *(f"$.gates[{place}]" for place in range(5)),
        "$.gates[5].name",
    ]
    assert ours.gate_error("cz", (0, 1)) == 0.003


@pytest.mark.parametrize("field", [one for one in DOCUMENT if one != "backend_name"])
def test_what_is_required_stays_required(field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read(**{field: None, "general_qlists": "odd"})
    assert (caught.value.path, caught.value.text) == (f"$.{field}", "null")


def test_no_more_than_a_hundred_are_told_and_no_more_than_ten_thousand_left_out() -> None:
    ours = read(qubits=[[NDUV | {"value": None}] * 300, [NDUV]])
    assert (len(ours.left_out), ours.left_out_count) == (100, 300)
    assert ours.t1(1) == 151.5e-6
    with pytest.raises(DecodeError, match="more than 10000 parts") as caught:
        read(qubits=[[{}] * 10_001])
    assert caught.value.path == "$.qubits[0][10000]"


def test_elements_that_are_left_out_are_told_before_fields() -> None:
    gates = [*([GATE | {"name": 7}] * 120), None, GATE | {"gate": 3}]
    ours = read(gates=gates)
    assert ours.left_out_count == 122
    assert len(ours.left_out) == 100
    assert [one.path for one in ours.left_out[:3]] == ["$.gates[120]", "$.gates[121]", "$.gates[0].name"]


@pytest.mark.parametrize("count", [99_000, 100_001])
def test_so_many_values_that_are_only_written_oddly_are_read(count: int) -> None:
    """Each takes some microseconds, and the event loop waits."""
    document = {"backend_name": "ibm_x", "backend_version": "1", "n_qubits": 3.0, "basis_gates": []}
    body = json.dumps(document | {"gates": [], "meas_levels": [1.0] * count}).encode()
    if count < 100_000:
        assert parse(REQUESTS["configuration"], 200, {}, body).meas_levels == (1,) * count
    else:
        with pytest.raises(DecodeError, match="more than 100000 values") as caught:
            parse(REQUESTS["configuration"], 200, {}, body)
        assert not caught.value.malformed


def test_a_gate_without_its_couplings_is_not_taken_for_one_on_all_qubits() -> None:
    document = {"backend_name": "ibm_x", "backend_version": "1", "n_qubits": 3.0, "basis_gates": ["cz", None]}
    gates = [{"name": "cz", "coupling_map": "none"}, {"name": "cx", "coupling_map": [[0, 1.0], [1, None], 7]}]
    body = json.dumps(document | {"gates": gates, "coupling_map": {}}).encode()
    ours = parse(REQUESTS["configuration"], 200, {}, body)
    assert (ours.n_qubits, ours.basis_gates, ours.coupling_map) == (3, ("cz",), None)
    assert [(gate.name, gate.coupling_map) for gate in ours.gates] == [("cx", ((0, 1),))]
    assert len(ours.left_out) == 5


def test_an_odd_number_within_an_array_of_numbers_costs_the_array() -> None:
    document = {
        "backend_name": "ibm_x",
        "backend_version": "1",
        "n_qubits": 3,
        "basis_gates": [],
        "gates": [],
    }
    for name in ("coords", "rep_times", "rep_delay_range"):
        odd = [[0, 0], [1, "x"]] if name == "coords" else [1, "x"]
        ours = parse(REQUESTS["configuration"], 200, {}, json.dumps(document | {name: odd}).encode())
        assert [one.path for one in ours.left_out] == [f"$.{name}"]


@pytest.mark.parametrize("state", [(1, True), (0.0, False), ("yes", None), (2, None), (None, None)])
def test_an_odd_status_is_read_as_far_as_it_can_be(state: tuple[Any, bool | None]) -> None:
    body = json.dumps({"state": state[0], "status": 3, "message": "x"}).encode()
    ours = parse(REQUESTS["status"], 200, {}, body)
    assert (ours.queue_length, ours.state, ours.status, ours.message) == (0, state[1], None, "x")
    assert msgspec.json.decode(msgspec.json.encode(ours))["length_queue"] == 0
    for queue, length in ((-7, 0), (2.0, 2), (-0.0, 0)):
        assert parse(REQUESTS["status"], 200, {}, b'{"length_queue": %r}' % queue).queue_length == length
    with pytest.raises(DecodeError):
        parse(REQUESTS["status"], 200, {}, b'{"length_queue": null}')


ODD = (b"[]", b'""', b"null", b"7", b"3.0", b"[[]]")


@pytest.mark.parametrize("odd", [b"{}", *(pytest.param(odd, marks=LONG) for odd in ODD)])
@pytest.mark.parametrize("resource", sorted({*REQUESTS} - {"defaults"}))
def test_odd_arrays_take_no_more_memory_than_others(resource: str, odd: bytes) -> None:
    places = {place: (head, tail) for name, place, head, _, tail in dense() if name == resource}
    for place, (head, tail) in places.items():
        body = repeated(head, odd, tail, 12_000)
        tracemalloc.start()
        try:
            with suppress(DecodeError):
                parse(REQUESTS[resource], 200, {}, body)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 24 * len(body) + 120_000, place  # 100 parts are told


@pytest.mark.anyio
@pytest.mark.parametrize("body", [b"{}", b" null\n", b"{ }"])
async def test_empty_properties_are_none_and_that_is_kept(
    emulator: Emulator, client: Client, body: bytes
) -> None:
    name = emulator.backends()[0]
    await client.backends()
    emulator.fault(Garbage(body), resource="properties", times=None)
    for _ in range(3):
        with pytest.raises(NotFound, match="no properties") as caught:
            await client.properties(name)
        assert (caught.value.backend, caught.value.status) == (name, 404)
    assert emulator.count("properties") == 1


@pytest.mark.anyio
async def test_a_literal_that_is_no_number_is_not_asked_for_again(emulator: Emulator) -> None:
    name = emulator.backends()[0]
    async with Client(emulator.account()) as client:
        emulator.fault(Garbage(b'{"qubits": [[{"value": NaN}]]}'), resource="properties", times=None)
        with pytest.raises(DecodeError, match="NaN, which is no number"):
            await client.properties(name)
    assert emulator.count("properties") == 1


@pytest.mark.anyio
async def test_a_stored_document_is_decoded_in_the_same_way(emulator: Emulator, tmp_path: Path) -> None:
    name = emulator.backends()[0]
    body = DOCUMENT | {"backend_name": name, "qubits": [[NDUV | {"unit": None}], [NDUV]]}
    emulator.fault(Status(200, body=json.dumps(body).encode()), resource="properties", times=None)
    found = []
    for _ in range(2):
        async with (
            FileStore(tmp_path / "answers.sqlite") as store,
            Client(emulator.account(), store=store) as client,
        ):
            found.append(await client.fetch(Request("properties", name)))
    assert [one.source for one in found] == ["origin", "shared"]
    assert found[0].value == found[1].value
    assert found[0].value.left_out == found[1].value.left_out != ()
    assert emulator.count("properties") == 1
