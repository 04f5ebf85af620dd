"""`qrbackends instances`, and instances by name."""

import json

import pytest

from qrbackends.emulator import Emulator, Status

from .conftest import Run


def test_the_screen(run: Run, service: Emulator) -> None:
    code, out, err = run("instances")
    assert (code, err) == (0, "")
    title, header, _, *rows = out.splitlines()
    assert title == "Instances"
    assert header.split()[:3] == ["name", "region", "plan"]
    assert [row.split()[:3] for row in rows[:2]] == [
        ["emulated-us-east-1", "us-east", "open"],
        ["emulated-eu-de-1", "eu-de", "open"],
    ]


def test_json(run: Run, service: Emulator) -> None:
    code, out, err = run("instances", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)[0] == {
        "crn": service.instances[0].crn,
        "name": "emulated-us-east-1",
        "region": "us-east",
        "plan": "open",
        "pricing": "free",
        "tags": ["emulated", "batch:0"],
    }


@pytest.mark.parametrize("resource", ["search", "token"])
def test_what_fails_is_one_line(run: Run, service: Emulator, resource: str) -> None:
    service.fault(Status(403), resource=resource, times=None)
    code, out, err = run("instances")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_an_instance_is_asked_for_by_its_name(run: Run) -> None:
    code, out, err = run("backends", "--emulator", "synthetic", "--instance", "emulated-eu-de-1")
    assert (code, err) == (0, "")
    assert "eu-de" in out
    assert "us-east" not in out
    everything = run("backends", "--emulator", "synthetic", "--instance", "auto").out
    assert "eu-de" in everything
    assert "us-east" in everything
    code, out, err = run("backends", "--emulator", "synthetic", "--instance", "mine")
    assert (code, out) == (1, "")
    assert "no instance with name 'mine'" in err
    assert "emulated-eu-de-1 (eu-de, open)" in err
