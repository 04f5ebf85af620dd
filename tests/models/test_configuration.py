"""Configurations: every real snapshot, SI values, gates, and the objects that the contract leaves open."""

import copy
import functools
import json
import math
import pickle
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from qrbackends.errors import DecodeError, UnknownGate
from qrbackends.models import BackendConfiguration, ComplexNumber, GateConfig, JSONObject, UChannelLO
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request

from ..contract.snapshots import documents, paths

REQUEST = Request("configuration", "ibm_x")
SMALLEST: dict[str, Any] = {
    "backend_name": "ibm_x",
    "backend_version": "1.0.0",
    "n_qubits": 2,
    "basis_gates": ["cz"],
    "gates": [],
}

snapshots = pytest.mark.parametrize("name", paths("conf"))


@functools.cache
def decoded(name: str) -> BackendConfiguration:
    """Return a snapshot as this package reads it."""
    return msgspec.json.decode(paths("conf")[name].read_bytes(), type=BackendConfiguration)


@functools.cache
def officially(name: str) -> Any:
    """Return a snapshot as the official client reads it. Importing that takes seconds."""
    from qiskit_ibm_runtime.models import QasmBackendConfiguration

    # It changes the lists of what it is given.
    return QasmBackendConfiguration.from_dict(copy.deepcopy(documents("conf")[name]))


def decode(**more: Any) -> BackendConfiguration:
    """Return the smallest document with some more in it as the client reads it."""
    configuration = parse(REQUEST, 200, {}, json.dumps(SMALLEST | more).encode())
    assert isinstance(configuration, BackendConfiguration)
    return configuration


def flat(value: Any) -> list[float] | None:
    """Return the numbers of a number or of nested lists, or None if there is nothing."""
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [number for inner in value for number in flat(inner) or []]
    return [value]


def plain(value: Any) -> Any:
    """Return a read-only JSON value as dicts and lists."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, tuple) else value


# --- the snapshots


def test_there_are_snapshots() -> None:
    assert len(paths("conf")) >= 68


@snapshots
def test_si_values_are_those_of_the_official_client(name: str) -> None:
    ours, theirs = decoded(name), officially(name)
    for key in ("dt", "dtm", "default_rep_delay", "rep_delay_range", "qubit_lo_range", "meas_lo_range"):
        mine, official = flat(getattr(ours, key)), flat(getattr(theirs, key, None))
        assert (mine is None) is (official is None), key
        for one, other in zip(mine or [], official or [], strict=True):
            assert math.isclose(one, other, rel_tol=1e-12), key


@snapshots
def test_the_plain_fields_are_those_of_the_official_client(name: str) -> None:
    ours, theirs = decoded(name), officially(name)
    for key in ("backend_name", "backend_version", "n_qubits", "simulator", "local", "memory", "conditional"):
        assert getattr(ours, key) == getattr(theirs, key), key
    assert plain(ours.basis_gates) == theirs.basis_gates
    assert plain(ours.coupling_map) == theirs.coupling_map
    assert plain(ours.meas_map) == getattr(theirs, "meas_map", None)
    if isinstance(sent := documents("conf")[name].get("online_date"), str):
        assert ours.online_date == datetime.fromisoformat(sent)
    else:
        assert ours.online_date is None


def test_the_snapshots_have_values_to_compare() -> None:
    for key in ("dt", "dtm", "default_rep_delay", "rep_delay_range", "qubit_lo_range", "meas_lo_range"):
        assert sum(getattr(decoded(name), key) is not None for name in paths("conf")) > 50, key


@snapshots
def test_each_gate_is_found_by_its_name(name: str) -> None:
    ours = decoded(name)
    for sent in documents("conf")[name]["gates"]:
        gate = ours.gate(sent["name"])
        assert gate.name == sent["name"]
        assert plain(gate.coupling_map) == sent.get("coupling_map")
        assert plain(gate.parameters) == sent.get("parameters")
        assert gate.qasm_def == sent.get("qasm_def")


@snapshots
def test_open_objects_are_those_of_the_document(name: str) -> None:
    ours, sent = decoded(name), documents("conf")[name]
    assert plain(ours.channels) == sent.get("channels")
    hamiltonian = sent.get("hamiltonian")
    assert (ours.hamiltonian is None) is (hamiltonian is None)
    if ours.hamiltonian is not None:
        assert plain(ours.hamiltonian.vars) == hamiltonian.get("vars")
        assert plain(ours.hamiltonian.osc) == hamiltonian.get("osc")
        assert plain(ours.hamiltonian.qub) == hamiltonian.get("qub")
        assert plain(ours.hamiltonian.h_str) == hamiltonian.get("h_str")


@snapshots
def test_control_channels(name: str) -> None:
    sent = documents("conf")[name].get("u_channel_lo") or []
    for channel, sent_channel in zip(decoded(name).u_channel_lo or (), sent, strict=True):
        for lo, sent_lo in zip(channel, sent_channel, strict=True):
            assert (lo.q, lo.factor) == (sent_lo["q"], complex(*sent_lo["scale"]))


@pytest.mark.parametrize(
    ("gates", "there"),
    [(["cz", "rx"], True), (["rzz", "x"], True), (["cz", "rz", "sx", "u1"], False), ([], False)],
)
def test_fractional_gates_are_those_that_the_official_client_asks_for(gates: list[str], there: bool) -> None:
    assert decode(basis_gates=gates).has_fractional_gates is there


# --- gates


def test_an_unknown_gate_is_answered_with_those_there_are() -> None:
    ours = decode(gates=[{"name": "cz"}, {"name": "sx"}])
    with pytest.raises(UnknownGate, match="no gate 'cx'; it has cz, sx") as caught:
        ours.gate("cx")
    assert caught.value.backend == "ibm_x"
    assert caught.value.__cause__ is None
    with pytest.raises(UnknownGate):
        decode().gate("cz")


class Counted(tuple[Any, ...]):
    """A tuple that counts how often it is read."""

    __slots__ = ()
    walks = 0

    def __iter__(self) -> Iterator[Any]:
        Counted.walks += 1
        return super().__iter__()

    def __getitem__(self, place: Any) -> Any:
        Counted.walks += 1
        return super().__getitem__(place)


def test_gates_are_indexed_once() -> None:
    source = decode(gates=[{"name": "cz"}])
    ours = msgspec.structs.replace(source, gates=Counted(source.gates))
    assert ours.gate("cz") is source.gates[0]
    walks = Counted.walks
    for _ in range(3):
        assert ours.gate("cz") is source.gates[0]
    assert Counted.walks == walks > 0


# --- units


def test_values_are_in_si_units() -> None:
    ours = decode(
        dt=0.2222222222222222,
        dtm=4,
        default_rep_delay=250.5,
        rep_delay_range=[0, 500],
        qubit_lo_range=[[4.5, 5.5]],
        meas_lo_range=[[6.5, 7.25]],
    )
    assert ours.dt == pytest.approx(2.222222222222222e-10, rel=1e-15)
    assert ours.dtm == 4e-9
    assert ours.default_rep_delay == 250.5e-6
    assert ours.rep_delay_range == (0.0, 500e-6)
    assert ours.qubit_lo_range == ((4.5e9, 5.5e9),)
    assert ours.meas_lo_range == ((6.5e9, 7.25e9),)
    assert (ours.dt_ns, ours.default_rep_delay_us, ours.qubit_lo_range_ghz) == (
        0.2222222222222222,
        250.5,
        ((4.5, 5.5),),
    )


def test_what_was_not_sent_is_none() -> None:
    for ours in (decode(), decode(dt=None, channels=None, hamiltonian=None, online_date=None)):
        for key in ("dt", "dtm", "default_rep_delay", "rep_delay_range", "qubit_lo_range", "meas_lo_range"):
            assert getattr(ours, key) is None
        assert (ours.channels, ours.hamiltonian, ours.online_date) == (None, None, None)
    hamiltonian = decode(hamiltonian={"h_latex": ""}).hamiltonian
    assert hamiltonian is not None
    assert hamiltonian.vars is hamiltonian.osc is hamiltonian.qub is None


@pytest.mark.parametrize(
    "date",
    ["2026-04-17T10:19:24", "2026-04-17T10:19:24Z", "2026-04-17T12:19:24+02:00", "2026-04-17 10:19:24"],
)
def test_the_online_date_has_a_time_zone(date: str) -> None:
    when = decode(online_date=date).online_date
    assert when == datetime(2026, 4, 17, 10, 19, 24, tzinfo=UTC)


def test_a_bad_online_date_is_named() -> None:
    ours = decode(online_date="yesterday")
    assert ours.online_date is None
    assert [(one.at, one.reason) for one in ours.left_out] == [
        ("$.online_date", "Invalid RFC3339 encoded datetime")
    ]


@pytest.mark.parametrize("scale", [[0.5, -1], {"number": [0.5, -1]}])
def test_both_ways_of_writing_a_complex_number(scale: Any) -> None:
    lo = msgspec.convert({"q": 0, "scale": scale}, UChannelLO)
    assert lo.factor == 0.5 - 1j
    assert isinstance(lo.scale, ComplexNumber) is isinstance(scale, dict)


# --- open objects

CHANNELS = {"d0": {"operates": {"qubits": [0]}, "purpose": "drive"}, "acquire0": {}, "\u00e9": [None, [1.5]]}


def test_channels_are_a_read_only_mapping() -> None:
    ours = decode(channels=CHANNELS)
    assert isinstance(ours.channels, JSONObject)
    assert plain(ours.channels) == CHANNELS
    assert ours.channels == ours.channels
    assert ours.channels["d0"]["operates"]["qubits"] == (0,)
    with pytest.raises(TypeError):
        ours.channels["d0"]["purpose"] = "other"


@pytest.mark.parametrize("wrong", [True, 7, -0.5, "{}", [], [{}]])
@pytest.mark.parametrize(
    ("document", "path"),
    [
        (lambda wrong: {"channels": wrong}, "$.channels"),
        (lambda wrong: {"hamiltonian": {"vars": wrong}}, "$.hamiltonian.vars"),
        (lambda wrong: {"hamiltonian": {"osc": wrong}}, "$.hamiltonian.osc"),
        (lambda wrong: {"hamiltonian": {"qub": wrong}}, "$.hamiltonian.qub"),
    ],
)
def test_an_open_object_of_a_wrong_type_is_named(document: Any, path: str, wrong: object) -> None:
    ours = decode(**document(wrong))
    assert [(one.path, one.at) for one in ours.left_out] == [(path, path)]
    assert "object" in ours.left_out[0].reason
    assert ours.channels is None
    assert ours.hamiltonian is None or ours.hamiltonian.vars is ours.hamiltonian.osc is None


@pytest.mark.parametrize("spaced", [b' \r\n\t{"d0" : 1 } ', b" null ", b"\n{}\n"])
def test_blanks_around_an_open_object_are_no_trouble(spaced: bytes) -> None:
    body = json.dumps(SMALLEST).encode()[:-1] + b', "channels":' + spaced + b"}"
    ours = parse(REQUEST, 200, {}, body)
    assert plain(ours.channels) == json.loads(spaced)


def test_an_open_object_that_cannot_be_shown_is_a_decode_error() -> None:
    body = json.dumps(SMALLEST).encode()[:-1] + b', "channels": {"a": ' + b"9" * 5000 + b"}}"
    ours = parse(REQUEST, 200, {}, body)
    with pytest.raises(DecodeError, match="open object") as caught:
        _ = ours.channels
    assert caught.value.__context__ is None


def test_open_objects_do_not_keep_the_body_alive() -> None:
    class Uncopied(msgspec.Struct):
        channels: msgspec.Raw

    document = SMALLEST | {
        "channels": CHANNELS,
        "hamiltonian": {name: {"a": 1} for name in ("vars", "osc", "qub")},
        "description": "x" * 10_000,
    }
    body = json.dumps(document).encode()
    before = sys.getrefcount(body)
    ours = parse(REQUEST, 200, {}, body)
    assert plain(ours.channels) == CHANNELS
    assert sys.getrefcount(body) == before
    uncopied = msgspec.json.decode(body, type=Uncopied)
    assert sys.getrefcount(body) > before, "else this test could not see it"
    assert memoryview(uncopied.channels).nbytes == memoryview(ours.channels_json).nbytes


# --- values


FULL = {
    "channels": CHANNELS,
    "hamiltonian": {"vars": {"a": 1.5}},
    "dt": 4.0,
    "online_date": "2026-04-17T10:19:24Z",
}


def test_a_configuration_travels() -> None:
    ours = decode(**FULL)
    assert ours.channels is not None
    twins: list[Any] = [
        copy.copy(ours),
        copy.deepcopy(ours),
        pickle.loads(pickle.dumps(ours)),  # noqa: S301
        parse(REQUEST, 200, {}, msgspec.json.encode(ours)),
    ]
    for twin in twins:
        assert twin == ours
        assert twin.channels == ours.channels
        assert twin.hamiltonian.vars == {"a": 1.5}


def test_a_configuration_cannot_be_changed() -> None:
    ours = decode(**FULL, gates=[{"name": "cz", "coupling_map": [[0, 1]]}])
    for owner, field in ((ours, "dt_ns"), (ours.gates[0], "name"), (ours.hamiltonian, "h_latex")):
        with pytest.raises(AttributeError, match="immutable"):
            setattr(owner, field, None)
    for field in ("dt", "qubit_lo_range"):
        with pytest.raises(AttributeError):
            setattr(ours, field, None)
    assert ours.gates[0].coupling_map == ((0, 1),)


def test_unknown_fields_are_ignored() -> None:
    assert decode(future={"deep": [1]}) == decode()


def test_equal_configurations_have_equal_hashes() -> None:
    one, other = (decode(channels={"d0": {}}, hamiltonian={"vars": {"w": 1}}) for _ in range(2))
    assert one == other
    assert hash(one) == hash(other)
    assert hash(one.hamiltonian) == hash(other.hamiltonian)


def counted(count: int, *couplings: tuple[int, ...]) -> BackendConfiguration:
    gate = GateConfig("cz", coupling_map=couplings)
    return BackendConfiguration("x", "1", count, (), (gate,), coupling_map=couplings)


@pytest.mark.parametrize("name", paths("conf"))
def test_a_real_device_has_as_many_qubits_as_it_says(name: str) -> None:
    ours = decoded(name)
    assert ours.qubit_numbers == range(ours.n_qubits)


def test_a_simulator_names_none_of_its_qubits() -> None:
    assert counted(5_000).qubit_numbers == range(5_000)
    assert counted(10_000).qubit_numbers == range(10_000)


def test_a_larger_device_lists_its_couplings() -> None:
    line = [(qubit, qubit + 1) for qubit in range(9_999)]
    assert len(counted(15_000, *line).qubit_numbers) == 15_000


@pytest.mark.parametrize("count", [0, -1, 10_001, 10**9, 2**63 - 1, -(2**63)])
def test_a_number_of_qubits_that_no_device_has_is_an_error_where_it_is_used(count: int) -> None:
    ours = counted(count, (0, 1), (1, 2))
    with pytest.raises(DecodeError, match=f"has {count} qubits") as caught:
        _ = ours.qubit_numbers
    assert (caught.value.path, caught.value.text) == ("$.n_qubits", str(count))
    assert caught.value.backend == "x"
