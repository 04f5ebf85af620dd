"""The fleet of real calibrations."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from qrbackends.emulator import Emulator, SnapshotFleet, SnapshotsMissing
from qrbackends.emulator.devices import fleets
from qrbackends.emulator.devices.fleets import wheel_directory
from qrbackends.emulator.devices.performance import performance_metrics

from .asking import NOW, Asker
from .test_fractional import WITHOUT_FRACTIONAL_GATES

pytestmark = pytest.mark.anyio

CONF = {"backend_name": "ibmq_x", "backend_version": "1.0.0", "n_qubits": 2}
PROPS = {"last_update_date": "2021-01-01T00:00:00+00:00", "gates": [], "qubits": [], "general": []}


def write(directory: Path, name: str, document: object) -> None:
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(msgspec.json.encode(document))


def region_of(asker: Asker, backend: str) -> str:
    return next(region for region in asker.emulator.regions if backend in asker.emulator.backends(region))


def real_files() -> Iterator[tuple[str, Path, Path]]:
    for path in sorted(wheel_directory().glob("*/conf_*.json")):
        name = msgspec.json.decode(path.read_bytes())["backend_name"]
        yield name, path, path.with_name(path.name.replace("conf", "props", 1))


async def test_all_68_are_there_spread_over_the_regions_in_turn(snapshots: Asker) -> None:
    names = sorted(name for name, _, _ in real_files())
    assert len(names) == 68
    assert list(snapshots.emulator.backends()) == names
    assert list(snapshots.emulator.backends("us-east")) == names[::2]
    assert list(snapshots.emulator.backends("eu-de")) == names[1::2]
    for region in snapshots.emulator.regions:
        listed = (await snapshots.get("/backends", region)).json()["devices"]
        assert [device["name"] for device in listed] == list(snapshots.emulator.backends(region))


async def test_every_document_is_served_byte_for_byte(snapshots: Asker) -> None:
    for name, conf, props in real_files():
        region = region_of(snapshots, name)
        for resource, path in (("configuration", conf), ("properties", props)):
            got = await snapshots.get(f"/backends/{name}/{resource}", region)
            assert got.status == 200
            if resource == "properties" or name not in WITHOUT_FRACTIONAL_GATES:
                assert got.body == path.read_bytes()


async def test_plain_and_packed_are_the_same_bytes(snapshots: Asker) -> None:
    path = "/backends/ibm_boston/properties"
    plain = await snapshots.get(path, region_of(snapshots, "ibm_boston"), Accept_Encoding="identity")
    packed = await snapshots.get(path, region_of(snapshots, "ibm_boston"), Accept_Encoding="gzip")
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert plain.body == packed.body
    assert int(packed.headers["Content-Length"]) < len(gzip.compress(plain.body, 1))


async def test_the_second_calibration_of_cambridge_is_a_variant(snapshots: Asker) -> None:
    region = region_of(snapshots, "ibmq_cambridge")
    path = "/backends/ibmq_cambridge/properties"
    alt = await snapshots.get(f"{path}?calibration_id=alt", region)
    assert alt.body == (wheel_directory() / "cambridge" / "props_cambridge_alt.json").read_bytes()
    assert alt.body != (await snapshots.get(path, region)).body
    assert (await snapshots.get(f"{path}?calibration_id=other", region)).status == 404
    conf = "/backends/ibmq_cambridge/configuration"
    variant = await snapshots.get(f"{conf}?calibration_id=alt", region)
    assert variant.body == (await snapshots.get(conf, region)).body
    assert (await snapshots.get(f"{conf}?calibration_id=other", region)).status == 404
    other = "/backends/ibm_boston/properties?calibration_id=alt"
    assert (await snapshots.get(other, region_of(snapshots, "ibm_boston"))).status == 404


@pytest.mark.parametrize(
    ("before", "status"),
    [
        ("2026-04-17T12:19:24%2B02:00", 404),
        ("2026-04-17T10:19:24Z", 404),
        ("2026-04-17T10:19:24.001Z", 200),
        ("2026-04-17T12:19:25%2B02:00", 200),
        ("2020-01-01T00:00:00Z", 404),
    ],
)
async def test_updated_before_has_to_be_later_than_the_snapshot(
    snapshots: Asker, before: str, status: int
) -> None:
    region = region_of(snapshots, "ibm_boston")
    got = await snapshots.get(f"/backends/ibm_boston/properties?updated_before={before}", region)
    assert got.status == status
    if status == 404:
        assert got.json()["status_code"] == 404


async def test_defaults_are_withdrawn_on_most(snapshots: Asker) -> None:
    answers = [
        await snapshots.get(f"/backends/{name}/defaults", region)
        for region in snapshots.emulator.regions
        for name in snapshots.emulator.backends(region)
    ]
    assert {answer.status for answer in answers} == {200, 404}
    assert {answer.body for answer in answers if answer.status == 200} == {b"{}"}
    assert sum(answer.status == 200 for answer in answers) < 34


async def test_the_list_has_what_configuration_and_properties_say(snapshots: Asker) -> None:
    listed = {
        device["name"]: device
        for region in snapshots.emulator.regions
        for device in (await snapshots.get("/backends?fields=wait_time_seconds", region)).json()["devices"]
    }
    boston = listed["ibm_boston"]
    assert boston["status"] == {"name": "online", "reason": "available"}
    assert boston["qubits"] == 156
    assert boston["clops"] == {"type": "hardware", "value": 340000}
    assert boston["processor_type"] == {"family": "Heron", "revision": "3"}
    assert boston["performance_metrics"]["two_q_error_best"]["gate"] == "cz"
    assert set(boston["wait_time_seconds"]) == {"average", "p50", "p95"}
    assert listed["ibm_hanoi"]["clops"] == {"type": "virtual", "value": 2341}
    assert listed["ibmq_lima"]["processor_type"] == {"family": "Falcon", "revision": "4", "segment": "T"}
    assert listed["ibmq_almaden"]["processor_type"] is None
    assert listed["ibmq_armonk"]["clops"] is None
    assert "two_q_error_best" not in listed["ibmq_armonk"]["performance_metrics"]  # it has one qubit
    without = (await snapshots.get("/backends")).json()["devices"]
    assert all("wait_time_seconds" not in device for device in without)


def test_metrics_are_those_of_the_native_entangler_in_working_order() -> None:
    def gate(name: str, qubits: list[int], error: float) -> object:
        parameters = [{"name": "gate_length", "value": 60}, {"name": "gate_error", "value": error}]
        return {"gate": name, "qubits": qubits, "parameters": parameters}

    document = {
        "gates": [
            gate("sx", [0], 1e-4),
            gate("cx", [0, 1], 0.0001),
            gate("ecr", [0, 1], 0.02),
            gate("ecr", [1, 2], 0.01),
            gate("ecr", [2, 3], 1.0),
        ],
        "qubits": [[{"name": "readout_error", "value": value}] for value in (0.1, 0.2, 0.6)],
        "general": ["anything", {"name": "eplg_100", "value": 0.013}, {"name": "jq_01", "value": 1}],
    }
    assert performance_metrics(msgspec.json.encode(document)) == {
        "two_q_error_best": {"value": 0.01, "gate": "ecr", "qubits": [1, 2], "unit": ""},
        "two_q_error_median": {"value": 0.015, "unit": ""},
        "two_q_error_layered": {"value": 0.013, "unit": ""},
        "readout_error_median": {"value": 0.2, "unit": ""},
    }
    empty: dict[str, object] = {"gates": [], "qubits": [], "general": []}
    assert performance_metrics(msgspec.json.encode(empty)) == {}


def test_a_directory_of_ones_own(tmp_path: Path) -> None:
    write(tmp_path / "x", "conf_x.json", CONF | {"clops": {"type": "virtual", "value": 7}})
    write(tmp_path / "x", "props_x.json", PROPS)
    write(tmp_path / "x", "props_x_new.json", PROPS | {"general": ["new"]})
    write(
        tmp_path / "x",
        "conf_x_y.json",
        CONF | {"backend_name": "ibmq_xy", "clops": {"type": "virtual", "value": "?"}},
    )
    write(tmp_path / "x", "props_x_y.json", PROPS | {"general": ["y"]})
    write(tmp_path / "x", "props_xz.json", PROPS)
    fleet = SnapshotFleet(tmp_path)
    assert fleet.names == ("ibmq_x", "ibmq_xy")
    assert fleet.device("ibmq_x").clops == ("virtual", 7)
    assert fleet.device("ibmq_xy").clops is None
    variant = fleet.find("properties", "ibmq_x", "new", None, NOW)
    assert variant is not None
    assert b"new" in fleet.build(variant)
    assert fleet.find("properties", "ibmq_x", "y", None, NOW) is None  # a backend of its own


async def test_a_backend_without_properties_is_listed_without_metrics(tmp_path: Path) -> None:
    write(tmp_path, "conf_x.json", CONF)
    async with Emulator(tmp_path, regions=("us-east",)) as emulator, Asker(emulator) as ask:
        (device,) = (await ask.get("/backends")).json()["devices"]
        assert device["performance_metrics"] == {}
        assert (await ask.get("/backends/ibmq_x/properties")).status == 404
        assert (await ask.get("/backends/ibmq_x/configuration")).status == 200


def test_recorded_defaults_are_served(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"conf_{name}.json", {"backend_name": name, "backend_version": "1", "n_qubits": 1})
    write(tmp_path, "defs_b.json", {"buffer": 0})
    fleet = SnapshotFleet(tmp_path)
    keys = [fleet.find("defaults", name, None, None, NOW) for name in fleet.names]
    assert [None if key is None else fleet.build(key) for key in keys] == [b"{}", b'{"buffer":0}']


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no conf_\*\.json"):
        SnapshotFleet(str(tmp_path))


def test_without_the_wheel_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "find_spec", lambda name: None)
    with pytest.raises(SnapshotsMissing, match=r'pip install "qrbackends\[snapshots\]"'):
        SnapshotFleet()
    assert issubclass(SnapshotsMissing, ModuleNotFoundError)


def test_a_wheel_without_the_files_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleets, "_WHERE", "elsewhere")
    with pytest.raises(SnapshotsMissing):
        SnapshotFleet()
