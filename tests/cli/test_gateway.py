"""`qrbackends gateway`, as the process that it is, and the commands for its keys."""

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qrbackends.emulator import ThreadedEmulator

from .conftest import Run
from .processes import own_environment

CRN = f"crn:v1:bluemix:public:quantum-computing:us-east:a/{'0' * 32}:12345678-0000-0000-0000-000000000000::"


@contextmanager
def gateway(*options: str, **environment: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "qrbackends",
        "gateway",
        "--json",
        "--port",
        "0",
        *options,
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own_environment(**environment),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield json.loads(line), process
    finally:
        process.kill()
        process.communicate()


def get(url: str, **headers: str) -> tuple[int, str]:
    asked = urllib.request.Request(url, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.headers["Cache-Status"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_it_prints_what_emulate_prints_and_ends_at_sigterm(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with gateway("--emulator", "synthetic", "--access-log", str(log)) as (told, process):
        assert {"regions", "iam_url", "search_url", "catalog_url", "api_key", "instances"} <= told.keys()
        assert told["mode"] == "own"
        assert set(told["regions"]) == {"us-east", "eu-de"}
        assert told["api_key"].startswith("emulated-")
        crn, url = told["instances"][0]["crn"], told["instances"][0]["url"]
        headers = {"Authorization": f"apikey {told['api_key']}", "Service-CRN": crn}
        assert get(f"{url}/backends", **headers)[0] == 200
        assert get(f"{url}/backends", **headers)[1].startswith("qrbackends; hit")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0
        assert said == "Emulated data (synthetic), not from IBM's service.\n"
    assert [json.loads(line)["cache"] for line in log.read_text().splitlines()] == ["miss", "hit"]


def test_what_it_writes_on_a_screen(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "qrbackends", "gateway", "--port", "0", "--emulator", "synthetic"]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=own_environment())
    assert process.stdout is not None
    text = "".join(iter(process.stdout.readline, "Ctrl-C ends it.\n"))
    process.terminate()
    process.communicate()
    for needed in (
        "url_resolver=lambda *_: 'http://127.0.0.1:",
        "export IAM_URL=http://127.0.0.1:",
        "QRMI_IBM_QCS",
    ):
        assert needed in text
    assert text.count("Instance('crn:") == 2  # one for each region
    assert text.startswith("Emulated fleet (synthetic) behind the gateway at http://127.0.0.1:")
    assert tmp_path.exists()


def test_keys_are_added_listed_and_revoked(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    at = ("--keys", str(path))
    added = run("gateway", "keys", "add", "cluster", "--instance", CRN, "--rate", "5", *at)
    assert (added.code, added.err) == (0, "")
    key = added.out.strip()
    assert key.startswith("qrbackends-gateway-")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = json.loads(run("gateway", "keys", "add", "laptop", "--json", *at).out)
    assert second["name"] == "laptop"
    again = run("gateway", "keys", "add", "cluster", *at)
    assert (again.code, "already" in again.err) == (1, True)
    listed = run("gateway", "keys", "list", "--json", *at)
    rows = json.loads(listed.out)
    assert [(one["name"], one.get("rate")) for one in rows] == [("cluster", 5.0), ("laptop", None)]
    assert key not in listed.out + run("gateway", "keys", "list", *at).out
    assert run("gateway", "keys", "revoke", "cluster", *at).code == 0
    assert [one["name"] for one in json.loads(run("gateway", "keys", "list", "--json", *at).out)] == [
        "laptop"
    ]
    gone = run("gateway", "keys", "revoke", "cluster", *at)
    assert (gone.code, "there is no key" in gone.err) == (1, True)
    wrong = run("gateway", "keys", "add", "x", "--instance", "nothing", *at)
    assert (wrong.code, "CRN" in wrong.err) == (2, True)


def test_keys_of_a_file_let_callers_in(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "keys.json")
    key = run("gateway", "keys", "add", "cluster", "--keys", path).out.strip()
    with ThreadedEmulator() as emulator:
        options = ("--emulator", emulator.url("cloud"))
        with gateway(*options, QRBACKENDS_GATEWAY_KEYS=path) as (told, _):
            assert told["api_key"] == ""
            url, crn = told["instances"][0]["url"], told["instances"][0]["crn"]
            headers = {"Service-CRN": crn}
            assert get(f"{url}/backends", Authorization=f"apikey {key}", **headers)[0] == 200
            assert get(f"{url}/backends", Authorization=f"apikey {emulator.api_keys[0]}", **headers)[0] == 401


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "gateway keys add NAME"),
        (["--keys", "/nowhere/keys.json"], "gateway keys add NAME"),
        (["--tls-cert", __file__], "go together"),
        (["--tls-cert", __file__, "--tls-key", __file__], "no certificate"),
        (["--forward", "--warm", "a"], "needs an account"),
        (["--forward", "--store", "redis://localhost"], "stay in memory"),
        (["--forward", "--keys", "x"], "leave out --forward"),
        (["--endpoint", "us-east=https://host/api/v1"], "goes with --forward"),
        (["--forward", "--endpoint", "us-east"], "absolute http or https URL"),
        (["--forward", "--endpoint", "=https://host"], "a region and an address"),
        (["--store", "memcached://x"], "redis://HOST"),
        (["--status-age", "-1"], "status-age"),
    ],
)
def test_wrong_usage_says_what_to_do(run: Run, options: list[str], said: str) -> None:
    outcome = run("gateway", "--emulator", "synthetic", *options)
    assert outcome.code in (1, 2)
    assert said in " ".join(outcome.err.split())
