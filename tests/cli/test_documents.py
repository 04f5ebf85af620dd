"""The five resources, one command each."""

import json
import re
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from qrbackends import BackendConfiguration, BackendDefaults, BackendProperties, BackendStatus
from qrbackends.analysis.tables import qubit_rows
from qrbackends.cli import views
from qrbackends.cli.calibration import GATES, QUBITS, gates
from qrbackends.emulator import Emulator, Garbage, Status
from qrbackends.models import BackendsResponse

from .conftest import Run

FALCON = "synthetic_falcon_27"


def facts(out: str) -> dict[str, str]:
    """Return the facts of a screen, by name."""
    pairs = [line.split("  ", 1) for line in out.partition("\n\n")[0].splitlines()[1:]]
    return {name: value.strip() for name, value in pairs}


def test_backends(run: Run, service: Emulator) -> None:
    code, out, err = run("backends")
    assert (code, err) == (0, "")
    assert out.count("synthetic_") == 8
    assert "wait" not in out
    assert "wait p95 s" in run("backends", "--wait-times").out


def test_backends_as_json_is_the_services_document(run: Run, service: Emulator) -> None:
    code, out, _ = run("backends", "--json", "--wait-times")
    listed = msgspec.json.decode(out, type=BackendsResponse)
    assert (code, len(listed.devices)) == (0, 8)
    assert all(device.wait_time_seconds and device.region for device in listed.devices)
    assert {request.path_qs for request in service.requests if request.resource == "backends"} == {
        "/api/v1/backends?fields=wait_time_seconds"
    }


def test_backends_of_a_region_that_fails(run: Run, service: Emulator) -> None:
    service.fault(Status(403), resource="backends", region="us-east")
    code, out, err = run("backends", "--wait-times")
    assert (code, out.count("synthetic_"), err.count("\n")) == (0, 4, 1)
    assert err.startswith("Warning: [us-east]: HTTP 403")


def test_a_list_without_waiting_times(run: Run, service: Emulator) -> None:
    body = Garbage(b'{"devices":[{"name":"bare","status":{"name":"online"},"queue_length":0}]}')
    service.fault(body, resource="backends", times=None)
    code, out, _ = run("backends", "--wait-times")
    assert (code, out.splitlines()[3].count("–")) == (0, 10)


def test_configuration(run: Run, service: Emulator) -> None:
    code, out, err = run("configuration", FALCON)
    assert (code, err) == (0, "")
    assert out.startswith(f"Configuration of {FALCON}\n")
    shown = facts(out)
    assert shown["qubits"] == "27"
    assert shown["processor"] == "Falcon r5.11"
    assert "cx" in shown["basis gates"]
    assert len(out.splitlines()) < 25, "key facts, no dump"


def test_configuration_leaves_out_what_was_not_sent() -> None:
    bare = {"backend_name": "b", "backend_version": "1", "n_qubits": 1, "basis_gates": [], "gates": []}
    document = msgspec.convert(bare, BackendConfiguration)
    assert [name for name, _ in views.configuration(document)] == ["backend", "version", "qubits"]
    simulator = msgspec.convert({**bare, "simulator": True}, BackendConfiguration)
    assert ("simulator", "yes") in views.configuration(simulator)


def test_documents_as_json_decode_as_documents(run: Run, service: Emulator) -> None:
    for command, document in (
        ("configuration", BackendConfiguration),
        ("properties", BackendProperties),
        ("status", BackendStatus),
    ):
        code, out, err = run(command, FALCON, "--json")
        assert (code, err, out.count("\n")) == (0, "", 1)
        msgspec.json.decode(out, type=document)


def test_properties(run: Run, service: Emulator) -> None:
    code, out, err = run("properties", FALCON)
    assert (code, err) == (0, "")
    shown = facts(out)
    assert shown["backend"] == FALCON
    assert shown["median T1"].endswith(" µs")
    assert shown["two-qubit gate"] == "cx"
    assert shown["calibrated"].endswith(" ago)")
    _, gates, qubits = out.split("\n\n")
    assert gates.startswith("Gates\n")
    assert qubits.startswith("Qubits\n")
    assert len(qubits.splitlines()) == 3 + 27
    assert "Qubits" not in run("properties", FALCON, "--summary").out


def test_properties_of_another_time_and_variant(run: Run, service: Emulator) -> None:
    before = datetime.now(UTC) - timedelta(days=30)
    code, out, _ = run("properties", FALCON, "--json", "--updated-before", before.isoformat())
    old = msgspec.json.decode(out, type=BackendProperties)
    assert code == 0
    assert old.last_update_date < before
    code, out, _ = run("properties", FALCON, "--calibration-id", "extra_gates", "--json")
    assert code == 0
    assert run("configuration", FALCON, "--calibration-id", "extra_gates").code == 0
    assert run("configuration", FALCON, "--calibration-id", "none_such").code == 1
    asked = "".join(request.path_qs for request in service.requests)
    assert "/properties?calibration_id=extra_gates" in asked


def test_what_does_not_work_is_named() -> None:
    off = '{"date":"2026-01-01T00:00:00Z","name":"operational","unit":"","value":0}'
    text = (
        '{"backend_name":"b","backend_version":"1","last_update_date":"2026-01-01T00:00:00Z","general":[],'
        f'"qubits":[{",".join([f"[{off}]"] * 30)},[]],'
        f'"gates":[{{"gate":"cz","qubits":[0,1],"parameters":[{off}]}}]}}'
    )
    document = msgspec.json.decode(text, type=BackendProperties)
    shown = dict(views.properties(document, datetime(2026, 1, 6, tzinfo=UTC)))
    assert str(shown["faulty qubits"]).endswith(", 22, 23, … (30 in all)")
    assert shown["faulty gates"] == "cz(0, 1)"
    assert shown["median T1"] == "–"
    assert shown["calibrated"] == "2026-01-01 00:00:00+00:00 (5 d ago)"
    assert [[str(one.text(gate)) for one in GATES] for gate in gates(document)] == [
        ["cz", "1", "1", "–", "–"]
    ]
    assert [str(QUBITS[-1].text(row)) for row in [*qubit_rows(document)][-2:]] == ["faulty", "works"]


def test_medians_say_what_they_leave_out_and_why_there_is_none(run: Run) -> None:
    shown = facts(run("properties", "--emulator", "ibm_kyoto", "--summary").out)
    assert shown["median two-qubit error"].startswith("– (all 144 values are out of order (1 or more)")
    assert shown["bad couplings"].endswith("(144 in all)")
    shown = facts(run("properties", "--emulator", "ibm_boston", "--summary").out)
    assert shown["median two-qubit error"] == "1.27e-3 (2 left out)"
    assert shown["bad couplings"] == "(84, 85)"
    assert shown["median T1"].endswith(" µs")
    out = run("configuration", "--emulator", "ibm_boston").out
    assert "176, all in both directions, lattice: heavy-hex" in out


def test_status(run: Run, service: Emulator) -> None:
    code, out, err = run("status", "synthetic_nighthawk_120_b")
    assert (code, err) == (0, "")
    assert facts(out)["operational"] == "no"
    assert facts(run("status", "synthetic_eagle_127").out)["operational"] == "yes"
    assert facts(run("status", FALCON).out)["operational"] == "no: paused, it takes jobs and runs none"


def test_a_bare_status() -> None:
    bare = dict(views.status(BackendStatus(3)))
    assert (bare["status"], bare["message"], bare["version"], bare["queue"]) == ("–", "–", "–", "3")


def test_defaults(run: Run, service: Emulator) -> None:
    code, out, err = run("defaults", "synthetic_eagle_127")
    assert (code, err) == (0, "")
    assert "an empty object" in out
    code, out, err = run("defaults", "synthetic_eagle_127", "--json")
    assert (code, out) == (0, "{}\n")
    code, out, err = run("defaults", "synthetic_heron_133")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "HTTP 404" in err


def test_defaults_that_are_still_there(run: Run, service: Emulator) -> None:
    out = run("defaults", FALCON).out
    assert re.search(r"qubit_freq_est +27 entries", out)
    assert re.search(r"cmd_def +164 entries", out)
    document = BackendDefaults({"buffer": 0, "qubit_freq_est": [4.9, 5.0], "discriminator": {"a": 1}})
    shown = dict(views.defaults(document))
    assert shown == {"buffer": "0", "qubit_freq_est": "2 entries", "discriminator": "1 key"}


@pytest.mark.parametrize("command", ["configuration", "properties", "status", "defaults"])
def test_an_unknown_backend(run: Run, service: Emulator, command: str) -> None:
    code, out, err = run(command, "nobody")
    assert (code, out, err) == (1, "", "Error: nobody: no instance of the account lists this backend\n")


def test_an_emulator_without_a_value_takes_no_id(run: Run) -> None:
    assert facts(run("status", "--emulator", "ibm_brisbane").out)["operational"] == "yes"


def test_a_document_with_something_unknown_is_told_before_anything_is_shown(
    run: Run, service: Emulator
) -> None:
    document = json.loads(run("properties", FALCON, "--json").out)
    document["qubits"][-1][0]["unit"] = "parsecs"
    body = Garbage(json.dumps(document).encode())
    service.fault(body, resource="properties")
    code, out, err = run("properties", FALCON)
    assert (code, out, err.count("\n")) == (1, "", 1)
