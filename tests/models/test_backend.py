"""The list of backends, and the status of one."""

import copy
import json
import pickle
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from qrbackends.errors import ConnectError, NotFound, UnknownBackend
from qrbackends.models import (
    Backend,
    BackendList,
    BackendsResponse,
    BackendStatus,
    Clops,
    DeviceStatus,
    PerformanceMetrics,
    ProcessorType,
    TwoQubitMetric,
    WaitTime,
)
from qrbackends.protocol.answers import parse
from qrbackends.protocol.requests import Request

# Of the shape that the service sends.
BODY: dict[str, Any] = {
    "devices": [
        {
            "name": "ibm_boston",
            "status": {"name": "online", "reason": "available"},
            "is_simulator": False,
            "qubits": 156,
            "clops": {"type": "hardware", "value": 340000},
            "processor_type": {"family": "Heron", "revision": "3"},
            "performance_metrics": {
                "two_q_error_best": {"value": 0.00071, "unit": "", "gate": "cz", "qubits": [16, 23]},
                "two_q_error_layered": {"value": 0.0021, "unit": ""},
                "two_q_error_median": {"value": 0.0013, "unit": ""},
                "readout_error_median": {"value": 0.0046, "unit": ""},
            },
            "queue_length": 4711,
            "wait_time_seconds": {"average": 120, "p50": 60, "p95": 900},
        },
        {"name": "ibm_torino", "status": {"name": "paused", "reason": "calibration"}, "queue_length": 0},
        {
            "name": "test_sim",
            "status": {"name": "offline"},
            "queue_length": 0,
            "is_simulator": True,
            "qubits": None,
        },
    ]
}


def devices() -> tuple[Backend, ...]:
    """Return the entries of the body as the client reads them."""
    answer = parse(Request("backends"), 200, {}, json.dumps(BODY).encode())
    assert isinstance(answer, BackendsResponse)
    return answer.devices


def backend(name: str, status: str = "online") -> Backend:
    """Return an entry of the list."""
    return Backend(name=name, status=DeviceStatus(status), queue_length=0)


# --- entries


def test_an_entry_holds_all_that_was_sent() -> None:
    boston, torino, _ = devices()
    assert boston == Backend(
        name="ibm_boston",
        status=DeviceStatus("online", "available"),
        queue_length=4711,
        is_simulator=False,
        qubits=156,
        clops=Clops("hardware", 340000),
        processor_type=ProcessorType("Heron", "3"),
        performance_metrics=boston.performance_metrics,
        wait_time_seconds=WaitTime(120, 60, 900),
    )
    metrics = boston.performance_metrics
    assert isinstance(metrics, PerformanceMetrics)
    assert metrics.two_q_error_best == TwoQubitMetric(0.00071, "cz", (16, 23), "")
    assert [getattr(metrics, name).value for name in metrics.__struct_fields__[1:]] == [
        0.0021,
        0.0013,
        0.0046,
    ]
    for name in ("clops", "qubits", "wait_time_seconds", "processor_type", "performance_metrics"):
        assert getattr(torino, name) is None


def test_the_list_encodes_back_to_what_was_sent() -> None:
    sent = copy.deepcopy(BODY)
    del sent["devices"][2]["qubits"]  # null and absent are the same
    assert json.loads(msgspec.json.encode(BackendsResponse(devices()))) == sent


def test_only_online_is_online() -> None:
    assert [device.online for device in devices()] == [True, False, False]
    assert not backend("x", "Online").online


def test_the_service_does_not_say_where_it_was_asked() -> None:
    assert all(device.region is device.instance is None for device in devices())
    placed = msgspec.structs.replace(devices()[0], region="eu-de", instance="crn:v1:x")
    assert (placed.region, placed.instance, placed.name) == ("eu-de", "crn:v1:x", "ibm_boston")


@pytest.mark.parametrize("missing", ["name", "status", "queue_length"])
def test_a_missing_field_is_named(missing: str) -> None:
    body = copy.deepcopy(BODY)
    del body["devices"][1][missing]
    answer = parse(Request("backends"), 200, {}, json.dumps(body).encode())
    (told,) = answer.left_out
    assert (told.path, told.at) == ("$.devices[1]", "$.devices[1]")
    assert missing in told.reason
    assert len(answer.devices) == len(body["devices"]) - 1


@pytest.mark.parametrize(
    ("processor", "text"),
    [
        (ProcessorType("Heron", "3"), "Heron r3"),
        (ProcessorType("Eagle", 3), "Eagle r3"),
        (ProcessorType("Falcon", 5.11), "Falcon r5.11"),
        (ProcessorType("Falcon", "5.11", "L"), "Falcon r5.11 L"),
        (ProcessorType("Canary", 0), "Canary r0"),
        (ProcessorType("Heron"), "Heron"),
        (ProcessorType(revision=2), "r2"),
        (ProcessorType(segment="A"), "A"),
        (ProcessorType(), ""),
    ],
)
def test_a_processor_s_text(processor: ProcessorType, text: str) -> None:
    assert str(processor) == text


@pytest.mark.parametrize(("sent", "kind"), [("5.11", str), (5.11, float), (4, int)])
def test_a_revision_keeps_its_type(sent: object, kind: type) -> None:
    processor = msgspec.json.decode(json.dumps({"family": "Falcon", "revision": sent}), type=ProcessorType)
    assert processor.revision == sent
    assert type(processor.revision) is kind


# --- the list as a sequence

ABC = tuple(map(backend, "abc"))


def test_a_list_is_a_sequence() -> None:
    listed = BackendList(iter(ABC))
    assert isinstance(listed, Sequence)
    assert len(listed) == 3
    assert list(listed) == list(ABC)
    assert list(reversed(listed)) == list(reversed(ABC))
    assert listed[0] is ABC[0]
    assert listed[-1] is ABC[2]
    assert listed[1:] == ABC[1:]
    assert listed[::-1] == ABC[::-1]
    assert listed.index(ABC[1]) == 1
    assert listed.count(ABC[1]) == 1
    assert ABC[1] in listed
    assert backend("d") not in listed
    assert bool(listed)
    assert not BackendList([])
    for index in (3, -4):
        with pytest.raises(IndexError):
            _ = listed[index]


def test_a_list_has_its_own_copy_and_cannot_be_changed() -> None:
    source = list(ABC)
    listed = BackendList(source)
    source.clear()
    assert len(listed) == 3
    with pytest.raises(TypeError):
        listed[0] = ABC[1]  # type: ignore[index]
    with pytest.raises(AttributeError):
        listed.other = 1  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        ABC[0].queue_length = 7  # type: ignore[misc]


def test_a_list_says_what_is_missing_from_it() -> None:
    error = ConnectError("refused").about(region="eu-de")
    listed = BackendList(ABC, iter([error]))
    assert listed.errors == (error,)
    assert BackendList(ABC).errors == ()
    assert repr(listed) == "<BackendList of 3, 1 error: a, b, c>"
    assert repr(BackendList([])) == "<BackendList of 0, 0 errors: >"


@pytest.mark.parametrize("travel", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])  # noqa: S301
def test_a_list_travels(travel: Any) -> None:
    twin = travel(BackendList(devices(), [ConnectError("refused")]))
    assert tuple(twin) == devices()
    assert [str(error) for error in twin.errors] == ["refused"]


# --- the status of one


def test_a_status() -> None:
    sent = {"state": True, "status": "active", "message": "", "length_queue": 7, "backend_version": "1.2.3"}
    status = msgspec.json.decode(json.dumps(sent), type=BackendStatus)
    assert (status.queue_length, status.status, status.message, status.backend_version) == (
        7,
        "active",
        "",
        "1.2.3",
    )
    assert status.operational
    assert json.loads(msgspec.json.encode(status)) == sent


@pytest.mark.parametrize("state", [{"state": False}, {"state": None}, {}])
def test_a_backend_that_does_not_say_so_is_not_operational(state: dict[str, Any]) -> None:
    status = msgspec.json.decode(json.dumps({"length_queue": 0} | state), type=BackendStatus)
    assert status.operational is False


# --- the list by name


def test_a_backend_is_found_in_a_list_by_its_name() -> None:
    twice = BackendList([*ABC, replace(ABC[0], instance="crn:2")])
    assert twice["a"] is twice[0] is ABC[0], "the first instance's entry"
    assert twice[replace(ABC[2], queue_length=99)] is ABC[2], "an entry stands for its name"
    assert "a" in twice
    assert "d" not in twice
    assert "" not in twice
    assert None not in twice
    assert replace(ABC[0], queue_length=99) not in twice, "entries are compared, as in any sequence"
    assert twice.unique()["a"] is ABC[0]
    assert len(twice.unique()) == 3
    assert twice.instances_of(ABC[0]) == twice.instances_of("a") == ("crn:2",)


def test_a_name_that_a_list_lacks() -> None:
    for kind in (UnknownBackend, NotFound, KeyError):
        with pytest.raises(kind, match=r"^there is no backend 'ibm_x' in the list$"):
            _ = BackendList(ABC)["ibm_x"]
    with pytest.raises(UnknownBackend) as caught:
        _ = BackendList(ABC, [ConnectError("refused")])["x" * 10_000]
    assert str(caught.value).endswith("in the list, which is not complete: see its `errors`")
    assert len(str(caught.value)) < 200
    assert (caught.value.status, caught.value.suggestions) == (404, ())
    with pytest.raises(
        UnknownBackend, match=r"^there is no backend 'ibm_bostn' in .*; did you mean ibm_b"
    ) as caught:
        _ = BackendList(replace(ABC[0], name=name) for name in ("ibm_boston", "ibm_torino"))["ibm_bostn"]
    assert caught.value.suggestions == ("ibm_boston",)
    for wrong in (None, 1.0, b"a"):
        with pytest.raises(TypeError):
            _ = BackendList(ABC)[wrong]  # type: ignore[call-overload]  # neither a name nor a place
