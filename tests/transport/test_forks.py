"""Clients after a fork: what was not used before works in the child, the rest says so and harms no parent."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..forking import outcomes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for this machine, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        reason = "the openssl command is not on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=emulated", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = [folder / "key.pem", folder / "certificate.pem"]
    command += ["-keyout", str(made[0]), "-out", str(made[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    both = folder / "both.pem"
    both.write_bytes(b"".join(one.read_bytes() for one in made))
    return both


@pytest.fixture(scope="module")
def script(certificate: Path) -> dict[str, Any]:
    return outcomes("tests.transport.forked", str(certificate))


@pytest.fixture
def found(script: dict[str, Any]) -> dict[str, str]:
    """What became of the clients."""
    clients: dict[str, str] = script["clients"]
    return clients


@pytest.mark.parametrize("case", ["made, not used", "made before", "a new client"])
def test_what_was_not_used_before_works_in_a_child(found: dict[str, str], case: str) -> None:
    assert found[case] == "alpha"


@pytest.mark.parametrize(
    "case",
    [
        "used, another loop",
        "used, a hit",
        "used, the same loop",
        "used, closing",
        "monitor, start",
        "monitor, closing",
        "a child's child",
    ],
)
def test_what_was_used_before_says_so_in_a_child(found: dict[str, str], case: str) -> None:
    assert found[case].startswith("WrongEventLoop: this process was forked")
    assert "make one in each process" in found[case]


def test_counts_can_be_read_in_a_child(found: dict[str, str]) -> None:
    assert found["used, stats"] == "1"


def test_the_emulator_cannot_be_controlled_from_a_child_which_leaves_it_alone(found: dict[str, str]) -> None:
    assert found["emulator"].startswith("RuntimeError: the emulator's thread does not run in this process")
    assert (found["parent"], found["the parent's emulator"]) == ("alpha", "5")


@pytest.mark.parametrize("scheme", ["http", "https", "socks"])
def test_a_child_that_throws_a_client_away_ends_no_connection_of_its_parent(
    script: dict[str, Any], scheme: str
) -> None:
    """Neither an idle one nor one in use: it is the same at the end, and nothing was written to it."""
    if scheme == "socks":
        pytest.importorskip("aiohttp_socks", reason="the extra `socks` is not installed")
    found = script[scheme]
    assert found["sockets"] == "1, 0 in a child", "the child has sockets of its own in their place"
    assert (found["idle"], found["in use"]) == ("thrown away", "thrown away")
    assert (found["answer"], found["connections"], found["ended"]) == ("0", "1", "[]")
    assert "Unclosed" not in script["stderr"]
