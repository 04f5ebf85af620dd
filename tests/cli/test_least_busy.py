"""`qrbackends least-busy`."""

import msgspec

from qrbackends import Backend
from qrbackends.emulator import Emulator

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


def test_emulated_data_says_so(run: Run) -> None:
    assert run("least-busy", "--emulator", "synthetic").out.startswith("Emulated least busy backend")
