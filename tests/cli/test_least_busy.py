"""`qrbackends least-busy`."""

import msgspec
import pytest

from qrbackends import Backend
from qrbackends.emulator import Emulator, Status

from .conftest import Run


def test_the_screen_and_json_show_the_same(run: Run, service: Emulator) -> None:
    code, out, err = run("least-busy", "--json")
    assert (code, err) == (0, "")
    found = msgspec.json.decode(out, type=Backend)
    assert found.online
    code, out, err = run("least-busy")
    assert (code, err) == (0, "")
    title, _, _, row = out.splitlines()[:4]
    assert title == "Least busy backend"
    assert row.split()[0] in service.backends()
    assert service.count("backends") == 4, "one request per instance, each time"


def test_the_size_is_kept_to(run: Run, service: Emulator) -> None:
    found = msgspec.json.decode(run("least-busy", "--min-qubits", "133", "--json").out, type=Backend)
    assert (found.qubits or 0) >= 133
    code, out, err = run("least-busy", "--min-qubits", "5000")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "backends is what is wanted" in err


def test_fractional_gates_are_asked_for(run: Run, service: Emulator) -> None:
    names = service.backends()
    try:
        for place, name in enumerate(sorted(names)):  # first an Eagle, then a Falcon, then Herons
            service.set_backend(name, status="online", queue_length=place)
        found = {
            option: msgspec.json.decode(run("least-busy", *option, "--json").out, type=Backend).name
            for option in ((), ("--fractional-gates",))
        }
        ranked = msgspec.json.decode(
            run("rank", "queue", "--fractional-gates", "--json").out, type=list[Backend]
        )
    finally:
        for name in names:
            service.set_backend(name)
    assert found == {(): "synthetic_eagle_127", ("--fractional-gates",): "synthetic_heron_133"}
    assert ranked[0].name == "synthetic_heron_133"
    assert {"heron", "nighthawk"} >= {one.name.split("_")[1] for one in ranked}


@pytest.mark.parametrize("command", [("rank", "queue", "--any-status"), ("least-busy", "--any-status")])
def test_what_cannot_be_read_is_told(run: Run, service: Emulator, command: tuple[str, ...]) -> None:
    name = "synthetic_heron_156_a"
    service.fault(Status(403), resource="configuration", backend=name, times=None)
    service.fault(Status(403), resource="backends", region="us-east", times=None)
    code, out, err = run(*command, "--fractional-gates", "--csv", "--columns", "name,region")
    assert code == 0, err
    rows = dict(row.split(",") for row in out.splitlines()[1:])
    assert {*rows.values()} == {"eu-de"}
    assert name not in rows
    of_list, of_configuration = err.splitlines()
    assert of_list.startswith("Warning: backends are not ranked: [us-east]: HTTP 403")
    assert of_configuration.startswith(f"Warning: a backend is not ranked: {name} [eu-de]: HTTP 403")
    assert service.count("backends", region="us-east") == 1, "what failed is not asked again"


@pytest.mark.parametrize("command", [("rank", "queue"), ("least-busy",)])
def test_configurations_are_read_of_those_only_that_pass_the_filters(
    run: Run, service: Emulator, command: tuple[str, ...]
) -> None:
    options = ("--any-status", "--fractional-gates", "--name", "*_heron_133", "--json")
    code, out, err = run(*command, *options)
    assert (code, err) == (0, "")
    assert "synthetic_heron_133" in out
    assert service.count("configuration") == 1


def test_emulated_data_says_so(run: Run) -> None:
    assert run("least-busy", "--emulator", "synthetic").out.startswith("Emulated least busy backend")
