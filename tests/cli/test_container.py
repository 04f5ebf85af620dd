"""The recipe of `docs/emulator.md` for containers, run as the first process of a namespace where possible."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import yaml

from qrbackends import Account, Client, Instance
from qrbackends.cli import emulate
from qrbackends.emulator import Emulator, Fleet, server
from qrbackends.emulator.devices.sources import load_fleet

from .conftest import Run

PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")
(BLOCK,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
RECIPE = yaml.safe_load(BLOCK)
NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child")


def namespace() -> tuple[str, ...]:
    """Return the command that makes a process the first one of a namespace; nothing if this system cannot."""
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False)
    return NAMESPACE if tried.returncode == 0 else ()


class Container(NamedTuple):
    """The emulator of the recipe, as it runs."""

    process: subprocess.Popen[str]
    told: dict[str, Any]

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the namespace."""
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split() if namespace() else []
        os.kill(int(children[0]) if children else pid, number)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    """Run the recipe, with this environment in place of an image."""
    shell, option, script = RECIPE["services"]["emulator"]["command"]
    install, run = script.splitlines()
    assert install.startswith("python -m pip install")
    told = tmp_path / "emulator.json"
    command = run.replace("qrbackends", f"{sys.executable} -m qrbackends", 1)
    command = command.replace("/shared/emulator.json", str(told))
    command = command.replace("--port 8101", "--fleet synthetic")  # others may use the port
    os.mkfifo(told)
    process = subprocess.Popen(
        [*namespace(), shell, option, f"true || exit 1\n{command}"], stderr=subprocess.PIPE, text=True
    )
    try:
        with told.open(encoding="utf-8") as lines:
            yield Container(process, json.loads(lines.readline()))
    finally:
        process.kill()
        process.communicate()


def asked(url: str, path: str, host: str) -> tuple[int, str | None]:
    """Return the status, and the mark of the emulator, of a request to this machine by a name."""
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.headers["X-Emulated"]
    finally:
        connection.close()


@pytest.mark.anyio
async def test_the_recipe(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    told = container.told
    urls = [*told["regions"].values(), told["iam_url"]]
    assert {urlsplit(url).hostname for url in urls} == {"emulator"}
    assert urlsplit(told["control_url"]).hostname == "127.0.0.1"
    for url in urls:
        assert asked(url, "/health", "10.1.2.3") == (200, "qrbackends")
        assert asked(url, "/health", "rebound.example") == (200, "qrbackends")
    region = urls[0]
    allowed = ["emulator", "Emulator:80", "localhost:18101", "10.1.2.3:8101", "[fd00::1]:8101"]
    assert [asked(region, "/api/v1/versions", host)[0] for host in allowed] == [200] * 5
    refused = ["rebound.example", f"rebound.example:{urlsplit(region).port}", "", "emulator.rebound.example"]
    assert [asked(region, "/api/v1/versions", host)[0] for host in refused] == [421] * 4
    account = Account(
        api_key=told["api_key"],
        instances=[Instance(one["crn"], url=one["url"]) for one in told["instances"]],
        iam_url=told["iam_url"],
    )
    resolved = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **options: Any) -> Any:  # as the containers' name server does
        return resolved("127.0.0.1" if host == "emulator" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with Client(account, allow_http=True) as client:
        assert len(await client.backends()) == told["backends"]
    container.send(signal.SIGTERM)
    _, err = container.process.communicate(timeout=60)
    assert (container.process.returncode, err.count("\n")) == (0, 1)
    assert err.startswith("Warning: 0.0.0.0 is not a loopback address")


def test_the_probe_asks_a_port_of_the_recipe() -> None:
    service = RECIPE["services"]["emulator"]
    first = int(service["command"][2].partition("--port ")[2].split()[0])
    *_, code = service["healthcheck"]["test"]
    url = urlsplit(code.split("'")[1])
    assert (url.port, url.path) == (first + 2, "/health"), "IAM's, after two regions"


def test_a_signal_while_it_loads_ends_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*arguments: Any, **options: Any) -> Fleet:
        os.kill(os.getpid(), signal.SIGTERM)
        return load_fleet(*arguments, **options)

    monkeypatch.setattr(server, "load_fleet", load)
    assert run("emulate", "--fleet", "synthetic") == (0, "", "")


def test_an_interrupted_replay_says_so(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def load(*arguments: Any, **options: Any) -> Fleet:
        os.kill(os.getpid(), signal.SIGINT)
        return load_fleet(*arguments, **options)

    monkeypatch.setattr(server, "load_fleet", load)
    (tmp_path / "journal").touch()
    assert run("emulate", "--fleet", "synthetic", "--replay", str(tmp_path / "journal")).code == 130


@pytest.mark.parametrize("name", ["", "http://emulator", "emulator:8101", "a b", "*", "x" * 254])
def test_what_is_no_name_is_refused(run: Run, name: str) -> None:
    code, out, err = run("emulate", "--allow-host", name)
    assert (code, out) == (2, "")
    assert "is not the name of a host" in err


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("hosts", "client"), [((), "Client(account)"), (("emulator",), "Client(account, allow_http=True)")]
)
async def test_the_code_to_paste_allows_plain_http_where_it_has_to(
    hosts: tuple[str, ...], client: str
) -> None:
    async with Emulator(regions=("us-east",), allowed_hosts=hosts, control_port=0) as emulator:
        assert f"# async with {client} as client" in emulate._text(emulate._addresses(emulator, "x", "y"))
