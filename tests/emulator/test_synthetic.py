"""The synthetic fleet: reproducible, and like the real one."""

from collections.abc import Iterator
from itertools import pairwise
from math import log
from statistics import median
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qrbackends.emulator import SyntheticFleet
from qrbackends.emulator.devices.dates import parse_instant
from qrbackends.emulator.devices.generations import (
    EAGLE,
    FALCON,
    HERON_1,
    HERON_2,
    HERON_3,
    NIGHTHAWK,
    generation_for,
)

from ..profiles import some_of
from .asking import NOW

HOUR = 3600
BIRTH = 1_704_067_200  # 2024-01-01
FLEET = SyntheticFleet(seed=7)
SMALL = SyntheticFleet({"small": 5, "big": 40}, seed="s")


def properties(
    fleet: SyntheticFleet,
    name: str,
    variant: str | None = None,
    before: float | None = None,
    now: float = NOW,
) -> Any:
    key = fleet.find("properties", name, variant, before, now)
    return None if key is None else msgspec.json.decode(fleet.build(key))


def configuration(fleet: SyntheticFleet, name: str, variant: str | None = None) -> Any:
    return msgspec.json.decode(fleet.build(fleet.find("configuration", name, variant, None, NOW)))


def values(document: Any) -> dict[tuple[str, ...], float]:
    """Every Nduv of the qubits and gates by where it stands."""
    found: dict[tuple[str, ...], float] = {}
    for number, qubit in enumerate(document["qubits"]):
        found.update({("qubit", str(number), nduv["name"]): nduv["value"] for nduv in qubit})
    for gate in document["gates"]:
        at = (gate["gate"], ",".join(map(str, gate["qubits"])))
        found.update({(*at, nduv["name"]): nduv["value"] for nduv in gate["parameters"]})
    return found


def nduvs(document: Any) -> Iterator[Any]:
    for qubit in document["qubits"]:
        yield from qubit
    for gate in document["gates"]:
        yield from gate["parameters"]


# ---- reproducible ------------------------------------------------------------------------------------


@given(
    st.integers(BIRTH // HOUR + 24 * 301, 600_000), st.integers(0, 5), st.sampled_from((None, "extra_gates"))
)
def test_a_calibration_is_a_function_of_seed_backend_variant_and_hour(
    hour: int, seed: int, variant: str | None
) -> None:
    now = float(hour * HOUR)
    one, other = (SyntheticFleet({"b": 5}, seed=seed) for _ in range(2))
    properties(other, "b", None, now - 1e7, now)  # whatever was asked before
    first = one.find("properties", "b", variant, None, now)
    assert one.build(first) == other.build(other.find("properties", "b", variant, None, now + 0.5))
    later = other.find("properties", "b", variant, None, now + 9e6)
    assert later != first
    # a fixed past instant has one answer, whenever it is asked for
    before = other.find("properties", "b", variant, now - 5000, now + 9e6)
    assert before == one.find("properties", "b", variant, now - 5000, now)


def test_seeds_backends_and_variants_differ() -> None:
    documents = [
        properties(SyntheticFleet({"a": 5, "b": 5}, seed=seed), name, variant)
        for seed in (1, 2)
        for name in ("a", "b")
        for variant in (None, "extra_gates")
    ]
    seen = [values(document)["qubit", "0", "readout_error"] for document in documents]
    assert len(set(seen)) == 8


@settings(max_examples=50)
@given(st.floats(-3e6, 1e5))
def test_updated_before_gives_the_newest_calibration_strictly_before(shift: float) -> None:
    before = NOW + shift
    updated = parse_instant(properties(SMALL, "small", before=before)["last_update_date"])
    assert updated < before
    assert updated <= NOW
    assert min(before, NOW) - updated <= HOUR


def test_the_instant_of_a_calibration_itself_is_not_before_it() -> None:
    newest = parse_instant(properties(SMALL, "small")["last_update_date"])
    assert parse_instant(properties(SMALL, "small", before=newest)["last_update_date"]) == newest - HOUR
    assert parse_instant(properties(SMALL, "small", before=newest + 1)["last_update_date"]) == newest


def test_every_hour_has_a_new_calibration() -> None:
    documents = [properties(SMALL, "small", now=NOW + hour * HOUR) for hour in range(30)]
    for before, after in pairwise(documents):
        assert parse_instant(after["last_update_date"]) - parse_instant(before["last_update_date"]) == HOUR
        assert values(before) != values(after)


def test_before_its_birth_a_backend_has_no_calibration() -> None:
    online = parse_instant(configuration(SMALL, "small")["online_date"])
    assert BIRTH <= online < BIRTH + 300 * 24 * HOUR
    assert properties(SMALL, "small", before=online) is None
    assert properties(SMALL, "small", now=online - HOUR) is None
    assert properties(SMALL, "small", before=online + 2 * HOUR) is not None


@pytest.mark.parametrize(
    ("name", "gates"), [("synthetic_falcon_27", {"rzz"}), ("synthetic_heron_133", set())]
)
def test_the_one_variant_has_other_values_and_where_it_is_missing_an_additional_gate(
    name: str, gates: set[str]
) -> None:
    plain, extra = properties(FLEET, name), properties(FLEET, name, "extra_gates")
    assert {gate["gate"] for gate in extra["gates"]} - {gate["gate"] for gate in plain["gates"]} == gates
    before, after = values(plain), values(extra)
    assert any(before[key] != after[key] for key in before.keys() & after.keys())
    basis = [configuration(FLEET, name, variant)["basis_gates"] for variant in (None, "extra_gates")]
    assert set(basis[1]) - set(basis[0]) == gates
    assert FLEET.find("properties", name, "no_such_variant", None, NOW) is None
    assert FLEET.find("configuration", name, "no_such_variant", None, NOW) is None


@pytest.mark.parametrize(
    ("name", "fractional"),
    [
        ("synthetic_falcon_27", []),
        ("synthetic_eagle_127", []),
        ("synthetic_heron_133", ["rx", "rzz"]),
        ("synthetic_heron_156_a", ["rx", "rzz"]),
        ("synthetic_heron_156_c", ["rx", "rzz"]),
        ("synthetic_nighthawk_120_a", ["rx"]),
    ],
)
def test_fractional_gates_are_those_of_the_generation(name: str, fractional: list[str]) -> None:
    document, calibrated = configuration(FLEET, name), properties(FLEET, name)
    gates = {gate["name"]: gate for gate in document["gates"]}
    for names in (gates, document["basis_gates"], document["supported_instructions"]):
        assert [gate for gate in names if gate in ("rx", "rzz")] == fractional
    for gate in fractional:
        assert gates[gate]["parameters"] == ["theta"]
        places = sorted(one["qubits"] for one in calibrated["gates"] if one["gate"] == gate)
        assert gates[gate]["coupling_map"] == places


def test_defaults_are_withdrawn_on_most_backends_and_empty_on_some() -> None:
    found = [FLEET.find("defaults", name, None, None, NOW) for name in FLEET.names]
    assert 0 < sum(key is not None for key in found) < len(found) / 2
    bodies = [FLEET.build(key) for key in found if key is not None]
    assert sum(body == b"{}" for body in bodies) == len(bodies) - 1 > 0


def test_a_falcon_has_pulse_level_defaults_for_all_its_gates() -> None:
    name = "synthetic_falcon_27"
    key = FLEET.find("defaults", name, None, None, NOW)
    assert key is not None
    document, conf = msgspec.json.decode(FLEET.build(key)), configuration(FLEET, name)
    qubits = range(conf["n_qubits"])
    frequencies = [
        next(nduv["value"] for nduv in qubit if nduv["name"] == "frequency")
        for qubit in properties(FLEET, name)["qubits"]
    ]
    assert document["qubit_freq_est"] == frequencies
    assert len(document["meas_freq_est"]) == len(qubits)
    defined = {(one["name"], *one["qubits"]) for one in document["cmd_def"]}
    assert len(defined) == len(document["cmd_def"])
    assert defined == {
        *((gate, qubit) for gate in ("rz", "sx", "x", "measure") for qubit in qubits),
        *(("cx", *pair) for pair in conf["coupling_map"]),
    }
    pulses = [pulse for one in document["cmd_def"] for pulse in one["sequence"]]
    durations = [pulse["parameters"]["duration"] for pulse in pulses if "parameters" in pulse]
    assert all(duration > 0 and duration % 16 == 0 for duration in durations)
    assert {pulse["ch"][0] for pulse in pulses if "ch" in pulse} == set("dmu")
    assert {pulse["pulse_shape"] for pulse in pulses if "pulse_shape" in pulse} == {"drag", "gaussian_square"}


# ---- like the real ones ------------------------------------------------------------------------------


def test_the_default_fleet_has_the_real_sizes_and_names_that_are_not_real() -> None:
    assert sorted(FLEET.device(name).qubits for name in FLEET.names) == [
        27,
        120,
        120,
        127,
        133,
        156,
        156,
        156,
    ]
    assert all(name.startswith("synthetic_") for name in FLEET.names)
    statuses = [FLEET.device(name).status for name in FLEET.names]
    assert {status: statuses.count(status) for status in set(statuses)} == {
        "online": 6,
        "paused": 1,
        "offline": 1,
    }


@pytest.mark.parametrize("name", FLEET.names)
def test_configuration_and_properties_fit_together(name: str) -> None:
    conf, props = configuration(FLEET, name), properties(FLEET, name)
    assert conf["n_qubits"] == len(props["qubits"]) == len(conf["coords"])
    assert (conf["backend_name"], conf["backend_version"]) == (
        props["backend_name"],
        props["backend_version"],
    )
    calibrated = {(gate["gate"], tuple(gate["qubits"])) for gate in props["gates"]}
    for gate in conf["gates"]:
        assert {(gate["name"], tuple(qubits)) for qubits in gate["coupling_map"]} <= calibrated
    directed = {tuple(pair) for pair in conf["coupling_map"]}
    both = all((b, a) in directed for a, b in directed)
    assert both is ("ecr" not in conf["basis_gates"])


@pytest.mark.parametrize("name", FLEET.names)
def test_every_value_is_physical(name: str) -> None:
    document = properties(FLEET, name)
    assert all(nduv["value"] >= 0 for nduv in nduvs(document))
    updated = parse_instant(document["last_update_date"])
    assert all(parse_instant(nduv["date"]) <= updated for nduv in nduvs(document))
    for qubit in document["qubits"]:
        by_name = {nduv["name"]: nduv["value"] for nduv in qubit}
        if "T1" in by_name and "T2" in by_name:
            assert by_name["T2"] <= 2 * by_name["T1"]
        mean = (by_name["prob_meas0_prep1"] + by_name["prob_meas1_prep0"]) / 2
        assert mean == pytest.approx(by_name["readout_error"])
        assert by_name["prob_meas0_prep1"] <= 1
        assert by_name["prob_meas1_prep0"] <= 1
    errors = [nduv["value"] for nduv in nduvs(document) if nduv["name"] == "gate_error"]
    assert all(error <= 0.5 or error == 1 for error in errors)


@pytest.mark.parametrize(
    ("sizes", "shape", "generation"),
    [
        ({f"f{n}": 27 for n in range(30)}, None, FALCON),
        ({f"e{n}": 127 for n in range(6)}, None, EAGLE),
        ({f"h{n}": 133 for n in range(6)}, None, HERON_1),
        ({"large": 900}, None, HERON_3),
        ({"large": 900}, "square", NIGHTHAWK),
    ],
)
def test_the_values_are_distributed_as_fitted(
    sizes: dict[str, int], shape: Literal["square"] | None, generation: Any
) -> None:
    fleet = SyntheticFleet(sizes, lattice=shape, seed=3)
    documents = [properties(fleet, name) for name in sizes]
    for name, (middle, sigma) in (
        ("T1", generation.t1),
        ("readout_error", generation.readout),
        (generation.entangler, generation.entangling),
    ):
        found = [value for document in documents for value in sample(document, name)]
        logs = sorted(map(log, found))
        assert median(logs) == pytest.approx(log(middle), abs=0.15 * sigma + 0.02)
        spread = (logs[int(0.8413 * len(logs))] - logs[int(0.1587 * len(logs))]) / 2
        assert spread == pytest.approx(sigma, rel=0.15)


def sample(document: Any, name: str) -> Iterator[float]:
    for qubit in document["qubits"]:
        yield from (nduv["value"] for nduv in qubit if nduv["name"] == name)
    for gate in document["gates"]:
        if gate["gate"] == name:
            yield from (
                n["value"] for n in gate["parameters"] if n["name"] == "gate_error" and n["value"] < 1
            )


def test_the_fleet_has_everything_that_goes_wrong_on_real_ones() -> None:
    fleet = SyntheticFleet({"large": 1000}, seed=1)
    document = properties(fleet, "large")
    names = [{nduv["name"] for nduv in qubit} for qubit in document["qubits"]]
    assert 0 < sum("T1" not in qubit for qubit in names) < 40
    assert 0 < sum("T2" not in qubit for qubit in names) < 40
    assert 0 < sum("operational" in qubit for qubit in names) < 50
    parameters = [{n["name"]: n["value"] for n in gate["parameters"]} for gate in document["gates"]]
    assert 0 < sum(gate.get("operational") == 0 for gate in parameters) < 100
    assert 0 < sum(gate.get("gate_error") == 1 for gate in parameters) < 300
    assert any("gate_error" not in gate and "gate_length" in gate for gate in parameters)
    dates = [{n["name"]: parse_instant(n["date"]) for n in qubit} for qubit in document["qubits"]]
    assert any(qubit["T1"] < qubit["T2"] for qubit in dates if "T1" in qubit and "T2" in qubit)


def test_live_documents_have_the_deviations_of_the_service() -> None:
    falcon = properties(FLEET, "synthetic_falcon_27")
    heron = properties(FLEET, "synthetic_heron_156_a")
    assert falcon["general"] == []
    assert {"date", "name", "unit", "value"} == heron["general"][0].keys()
    assert {nduv["unit"] for nduv in nduvs(falcon) if nduv["name"] == "T1"} == {"µs"}
    assert {nduv["unit"] for nduv in nduvs(heron) if nduv["name"] == "T1"} == {"us"}
    assert {len(nduv["date"]) for nduv in nduvs(heron)} == {25} == {len(heron["last_update_date"])}
    gate = next(gate for gate in heron["gates"] if gate["gate"] == "cz")
    assert gate["name"] == "cz{}_{}".format(*gate["qubits"])
    assert heron["general_qlists"][0]["name"] == "lf_4"
    assert all(len(chain["qubits"]) == int(chain["name"][3:]) for chain in heron["general_qlists"])
    conf = configuration(FLEET, "synthetic_falcon_27")
    assert conf["u_channel_lo"][0][0]["scale"] == [1.0, 0.0]
    assert isinstance(conf["dt"], float)
    assert isinstance(configuration(FLEET, "synthetic_eagle_127")["processor_type"]["revision"], int)
    assert "u_channel_lo" not in configuration(FLEET, "synthetic_heron_133")


def test_a_chain_ends_where_the_lattice_does() -> None:
    for qubits in (2, 5, 9):
        chains = properties(SyntheticFleet({"tiny": qubits}, seed=1), "tiny")["general_qlists"]
        assert [chain["name"] for chain in chains] == [f"lf_{n}" for n in range(4, 4 + len(chains))]
        assert all(len(set(chain["qubits"])) == int(chain["name"][3:]) <= qubits for chain in chains)


@pytest.mark.parametrize("lattice", some_of(["heavy-hex", "square"]))
def test_thousands_of_qubits_on_request(lattice: Literal["heavy-hex", "square"]) -> None:
    fleet = SyntheticFleet({"synth_4000": 4000}, lattice=lattice)
    key = fleet.find("properties", "synth_4000", None, None, NOW)
    assert key is not None
    assert fleet.build(key).count(b'"prob_meas0_prep1"') == 4000
    assert configuration(fleet, "synth_4000")["n_qubits"] == 4000


def test_the_generation_follows_size_and_lattice() -> None:
    assert generation_for(27, None) is FALCON
    assert generation_for(27, "square") is NIGHTHAWK
    assert generation_for(120, None) is NIGHTHAWK
    assert generation_for(120, "heavy-hex") is HERON_3
    assert generation_for(5000, None) is HERON_3
    assert FLEET.device("synthetic_heron_156_c").processor == ("Heron", HERON_2.revision, None)


@pytest.mark.parametrize("sizes", [{}, {"one": 1}])
def test_a_fleet_of_nothing_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 qubits"):
        SyntheticFleet(sizes)


def test_backends_can_be_paused_or_offline() -> None:
    fleet = SyntheticFleet({"a": 5, "b": 5}, statuses={"b": "offline"})
    assert [fleet.device(name).status for name in "ab"] == ["online", "offline"]
