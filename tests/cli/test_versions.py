"""`qrbackends versions`, and mocks on the command line."""

import json

from qrbackends.emulator import Emulator, Status

from .conftest import Run


def test_the_screen(run: Run, service: Emulator) -> None:
    code, out, err = run("versions")
    assert (code, err) == (0, "")
    rows = [line.split() for line in out.splitlines()]
    assert rows[0] == ["Versions", "of", "the", "API"]
    assert ["2025-05-01", "deprecated", "2027-01-01"] in rows
    assert ["2026-04-15", "live", "–", "yes"] in rows
    assert service.count("versions") == 1


def test_json(run: Run, service: Emulator) -> None:
    code, out, err = run("versions", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["asked"] == "2026-04-15"
    assert {"version": "2026-04-15", "status": "live"} in found["versions"]


def test_what_fails_is_one_line(run: Run, service: Emulator) -> None:
    service.fault(Status(500), resource="versions", times=None)
    code, out, err = run("versions")
    assert (code, out, len(err.splitlines())) == (1, "", 1)


def test_mocks_are_shown_when_they_are_asked_for(run: Run, service: Emulator) -> None:
    _, plain, _ = run("backends", "--json")
    _, both, _ = run("backends", "--json", "--include-mocks")
    assert '"mock"' in both
    assert '"mock"' not in plain
    _, rows, _ = run("fleet", "--json", "--include-mocks", "--name", "mock_falcon*")
    assert [row["name"] for row in json.loads(rows)] == ["mock_falcon_27"]
