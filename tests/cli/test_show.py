"""`qrbackends show`."""

import json
import re

import msgspec
import pytest

from qrbackends import BackendSummary
from qrbackends.emulator import Emulator, Garbage, Status

from .conftest import Run

HERON = "synthetic_heron_156_b"


def test_the_screen(run: Run, service: Emulator) -> None:
    code, out, err = run("show", HERON)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == HERON.capitalize()
    facts = {line[:14].strip(): line[14:].strip() for line in lines[1 : lines.index("")]}
    assert facts["processor"].startswith("Heron")
    assert facts["status"].startswith(("operational", "not operational"))
    assert facts["qubits"] == "156"
    assert "ago)" in facts["calibrated"]
    figures = lines[lines.index("Figures") + 3 :]
    assert [line.split()[0] for line in figures][:4] == ["T1", "T2", "readout", "cz"]
    assert all(len(line) <= 80 for line in figures)


def test_what_cannot_be_used_and_what_is_left_out_is_told(run: Run) -> None:
    out = run("show", "ibm_kyoto", "--emulator", "snapshots").out
    assert "(144 in all)" in out
    assert re.search(r"left out +144 of ecr error", out)
    assert re.search(r"no median +ecr error: all 144 values are out of order", out)
    assert re.search(r"couplings +144, not all in both directions, lattice: heavy-hex", out)
    found = json.loads(run("show", "ibm_boston", "--emulator", "snapshots", "--json").out)
    assert found["broken_couplings"] == [[84, 85]]
    assert (found["couplings"], found["bidirectional"], found["lattice"]) == (176, True, "heavy-hex")
    assert found["gates"][0]["error"]["left_out"] == 2


def test_everything_is_asked_once_and_at_once(run: Run, service: Emulator) -> None:
    run("show", HERON)
    asked = [request.resource for request in service.requests if request.backend == HERON]
    assert sorted(map(str, asked)) == ["configuration", "properties", "status"]


def test_json_is_the_summary(run: Run, service: Emulator) -> None:
    code, out, err = run("show", HERON, "--json")
    assert (code, err) == (0, "")
    found = msgspec.json.decode(out, type=BackendSummary)
    assert (found.backend_name, found.qubits) == (HERON, 156)
    assert json.loads(out)["t1"]["median"] < 1, "seconds"


def test_emulated_data_says_so(run: Run) -> None:
    assert run("show", HERON, "--emulator", "synthetic").out.startswith(f"Emulated {HERON} (synthetic)\n")
    assert "Emulated data" in run("show", HERON, "--emulator", "synthetic", "--json").err


def test_what_fails_is_one_line(run: Run, service: Emulator) -> None:
    for resource in ("configuration", "status", "properties"):
        service.fault(Status(403), resource=resource, times=None)  # a request of the last run may come late
        code, out, err = run("show", HERON)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"Error: {HERON} [" in err
        service.clear_faults()
    assert "lists this backend" in run("show", "nothing").err


@pytest.mark.parametrize("none", [Status(404), Garbage(b"{}"), Garbage(b" null ")])
def test_a_device_without_calibration_is_shown_without_figures(
    run: Run, service: Emulator, none: Status | Garbage
) -> None:
    service.fault(none, resource="properties", times=None)
    code, out, err = run("show", HERON)
    assert (code, err) == (0, "")
    assert "processor" in out
    assert "T1" not in out


def home(service: Emulator) -> str:
    return next(region for region in service.regions if HERON in service.backends(region))


def test_what_only_the_list_tells_is_shown(run: Run, service: Emulator) -> None:
    entry = {
        "name": HERON,
        "status": {"name": "online"},
        "queue_length": 1,
        "performance_metrics": {"two_q_error_layered": {"value": 0.0031, "unit": ""}},
    }
    body = json.dumps({"devices": [entry]}).encode()
    service.fault(Garbage(body), resource="backends", region=home(service), times=None)
    assert "layered error  3.10e-3" in run("show", HERON).out
    assert json.loads(run("show", HERON, "--json").out)["two_qubit_error_layered"] == 0.0031


def test_a_list_that_fails_hides_nothing_else(run: Run, service: Emulator) -> None:
    (other,) = set(service.regions) - {home(service)}
    service.fault(Status(403), resource="backends", region=other, times=None)
    assert run("show", HERON).code == 0
    assert run("show", HERON, "--region", home(service)).code == 0
    service.clear_faults()
    service.fault(Status(403), resource="backends", times=None)
    code, out, err = run("show", HERON, "--region", home(service))
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("Warning: ")
    assert "processor" in out
