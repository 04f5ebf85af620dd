"""Other clients of the service, as they are, through a gateway, which is a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from qrbackends.emulator import Addresses, ThreadedEmulator

from .asking import OF_FIRST_INSTANCE, QUBITS, RUNNING, STATES, ask, needs_environments

pytestmark = needs_environments


@contextmanager
def gateway(emulator: ThreadedEmulator, *options: str) -> Iterator[Addresses]:
    """Run a gateway in front of an emulator, and yield what it prints."""
    command = [sys.executable, "-m", "qrbackends", "gateway", "--json", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--emulator", emulator.url("cloud"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    stdout = process.stdout
    assert stdout is not None
    try:
        yield msgspec.json.decode(stdout.readline(), type=Addresses)
    finally:
        process.terminate()
        assert process.wait(30) == 0
        stdout.close()


@pytest.fixture(scope="module")
def through(emulator: ThreadedEmulator) -> Iterator[Addresses]:
    with gateway(emulator, "--pass-through") as at:
        yield at


def test_the_official_client(emulator: ThreadedEmulator, through: Addresses, tmp_path: Path) -> None:
    asked = ("runtime", "ask_runtime.py", "ibm_boston", "synthetic_7")
    found = ask(emulator, tmp_path, *asked, through=through)
    assert found["backends"] == sorted(STATES)
    assert found["instances"] == [one.name for one in emulator.instances]
    words = {"online": [True, "active"], "paused": [True, "internal"], "offline": [False, "maintenance"]}
    assert found["status"] == {name: words[state.status] for name, state in STATES.items()}
    assert found["least_busy"] == "ibm_brussels"
    about = found["about"]
    assert about["qubits"] == 7
    assert 0 < about["t1"] != about["t1_then"] == about["t1_of_target_then"] < 1
    assert about["status"] == [True, "active", STATES["synthetic_7"].queue]
    assert found["usage"]["usage_limit_seconds"] > 0  # which is passed on


def test_qrmi(emulator: ThreadedEmulator, through: Addresses, tmp_path: Path) -> None:
    found = ask(emulator, tmp_path, "qrmi", "ask_qrmi.py", "status=online", through=through)
    assert sorted(found["all"]) == OF_FIRST_INSTANCE
    assert found["accessible"] == {name: name in RUNNING for name in OF_FIRST_INSTANCE}
    assert found["least_busy"] == found["target"]["name"] == "ibm_boston"
    assert found["target"]["calibrated_qubits"] == QUBITS["ibm_boston"]
    assert found["resource"] == "ibm_boston"  # by environment variables that begin with the device
    assert found["resource_status"] == found["status"]["ibm_boston"]


def test_both_go_on_while_the_service_is_down(
    emulator: ThreadedEmulator, through: Addresses, tmp_path: Path
) -> None:
    """What was read before is read again; nobody is asked."""
    url = through.instances[0].url
    before = ask(emulator, tmp_path, "runtime", "ask_fleet.py", url, through=through)
    of_qrmi = ask(emulator, tmp_path, "qrmi", "ask_qrmi_target.py", through=through)
    emulator.stop_region("us-east")
    try:
        during = ask(emulator, tmp_path, "runtime", "ask_fleet.py", url, through=through)
        assert during == before
        again = ask(emulator, tmp_path, "qrmi", "ask_qrmi_target.py", through=through)
        assert again == of_qrmi
    finally:
        emulator.start_region("us-east")


def test_a_gateway_that_passes_credentials_on(emulator: ThreadedEmulator, tmp_path: Path) -> None:
    with gateway(emulator, "--forward", "--pass-through") as at:
        told = emulator.addresses()
        assert at.instances == ()
        instances = tuple(msgspec.structs.replace(one, url=at.regions["us-east"]) for one in told.instances)
        given = msgspec.structs.replace(at, api_key=told.api_key, instances=instances)
        found = ask(emulator, tmp_path, "runtime", "ask_fleet.py", given.instances[0].url, through=given)
        assert found["names"] == sorted(STATES)
        of_qrmi = ask(emulator, tmp_path, "qrmi", "ask_qrmi_target.py", through=given)
        assert sorted(of_qrmi["all"]) == OF_FIRST_INSTANCE


def test_all_real_devices(tmp_path: Path) -> None:
    with (
        ThreadedEmulator(fleet="snapshots", regions=("us-east",)) as emulator,
        gateway(emulator) as at,
    ):
        found = ask(emulator, tmp_path, "runtime", "ask_fleet.py", at.instances[0].url, through=at)
        assert found["names"] == sorted(emulator.backends())
        assert len(found["names"]) == 68
        assert len(found["calibrated"]) == len(found["statuses"]) == 68
        assert all(found["targets"].values())
        asked = [one.resource for one in emulator.requests]
        assert asked.count("configuration") == asked.count("properties") == 68
        assert asked.count("status") == 0
