"""`qrbackends emulate`, in this process."""

import json
import logging
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import aiohttp
import click
import pytest

import qrbackends.emulator
from qrbackends import Account, AccountError, Client, Instance
from qrbackends.cli import emulate
from qrbackends.emulator import Emulator

from ..emulator.asking import Asker
from .conftest import Run


@pytest.fixture
def told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the signal be there as soon as everything is announced."""

    async def until_now(announce: Callable[[], None]) -> None:
        announce()

    monkeypatch.setattr(emulate, "_until_signal", until_now)


@pytest.mark.usefixtures("told_at_once")
def test_the_addresses_as_json(run: Run) -> None:
    options = ("--json", "--fleet", "synthetic")
    code, out, err = run("emulate", *options, "--regions", "us-east, mars", "--seed", "x")
    shown = json.loads(out)
    assert (code, err) == (0, "")
    assert shown["fleet"] == "synthetic"
    assert shown["backends"] == 8
    assert list(shown["regions"]) == ["us-east", "mars"]
    assert [instance["region"] for instance in shown["instances"]] == ["us-east", "mars"]
    assert shown["api_key"].startswith("emulated-")
    again = json.loads(run("emulate", *options).out)
    assert again["api_key"] != shown["api_key"]
    assert again["control_token"] != shown["control_token"]
    assert shown["control_url"].startswith("http://127.0.0.1:")


@pytest.mark.usefixtures("told_at_once")
def test_the_screen_says_what_it_is_and_how_to_use_it(run: Run) -> None:
    code, out, err = run("emulate", "--fleet", "synthetic")
    assert (code, err) == (0, "")
    assert out.startswith("Emulated fleet (synthetic): 8 backends at 127.0.0.1. Nothing here is IBM's ")
    for name in ("TOKEN", "INSTANCE", "CHANNEL"):
        assert f"\nexport QISKIT_IBM_{name}=" in out
    assert "\nexport IAM_URL=http://127.0.0.1:" in out
    assert "Ctrl-C" in out


def answered(run: Run, patch: pytest.MonkeyPatch, question: Callable[[Asker], Any], *options: str) -> Any:
    """Return what `question` finds out of the emulator that the command runs."""
    made: list[Emulator] = []
    found: list[Any] = []

    class Kept(Emulator):
        async def __aenter__(self) -> Self:
            made.append(self)
            return await super().__aenter__()

    async def asked(announce: Callable[[], None]) -> None:
        async with Asker(made[0]) as ask:
            found.append(await question(ask))

    patch.setattr(qrbackends.emulator, "Emulator", Kept)
    patch.setattr(emulate, "_until_signal", asked)
    assert run("emulate", "--fleet", "synthetic", *options).code == 0
    return found[0]


@pytest.mark.parametrize(("options", "sent"), [((), None), (("--validators", "weak"), 'W/"')])
def test_answers_carry_validators_on_request(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], sent: str | None
) -> None:
    async def tag(ask: Asker) -> Any:
        return (await ask.get("/versions")).headers.get("ETag")

    found = answered(run, monkeypatch, tag, *options)
    assert (found and found[:3]) == sent
    assert run("emulate", "--validators", "none").code == 2


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ((), [8]),
        (("--instances", "2"), [8, 8]),
        (("--instances", "3", "--allocation", "overlapping"), [4, 3, 3]),
    ],
)
def test_instances_see_the_same_or_different_backends(
    run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], counts: list[int]
) -> None:
    async def lists(ask: Asker) -> list[int]:
        crns = [one.crn for one in ask.emulator.instances]
        answers = [await ask.get("/backends", Service_CRN=crn) for crn in crns]
        return [len(answer.json()["devices"]) for answer in answers]

    assert answered(run, monkeypatch, lists, "--regions", "us-east", *options) == counts
    assert run("emulate", "--instances", "0").code == 2


@pytest.mark.usefixtures("told_at_once")
def test_several_fleets_and_a_choice_of_their_devices(run: Run, tmp_path: Path) -> None:
    configuration = {"backend_name": "b", "backend_version": "1", "n_qubits": 1}
    (tmp_path / "conf_b.json").write_text(json.dumps(configuration))
    fleets = ("--fleet", str(tmp_path), "--fleet", "synthetic")
    shown = json.loads(run("emulate", "--json", *fleets).out)
    assert (shown["fleet"], shown["backends"]) == (f"{tmp_path}, synthetic", 9)
    chosen = run("emulate", "--json", *fleets, "--backends", "b, synthetic_falcon_27")
    assert json.loads(chosen.out)["backends"] == 2
    code, out, err = run("emulate", *fleets, "--backends", "b,synthetic_falcon")
    assert (code, out) == (2, "")
    assert "no backend 'synthetic_falcon'; did you mean synthetic_falcon_27?" in " ".join(err.split())
    assert run("emulate", "--fleet", "snapshot:current").code == 2


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_right_after_the_announcement_is_not_missed(
    run: Run, monkeypatch: pytest.MonkeyPatch, asked: signal.Signals
) -> None:
    announced: list[str] = []

    def echo(text: str, *, err: bool) -> None:
        announced.append(text)
        os.kill(os.getpid(), asked)

    monkeypatch.setattr(click, "echo", echo)
    assert run("emulate", "--fleet", "synthetic") == (0, "", "")
    assert len(announced) == 1


def screen_of(emulator: Emulator) -> str:
    """Return what the command would show of an emulator that runs."""
    return emulate._text(emulate._addresses(emulator, "synthetic", "127.0.0.1"))


@pytest.mark.anyio
async def test_what_it_says_to_paste_works(elsewhere: Emulator) -> None:
    screen = screen_of(elsewhere)
    begin, end = screen.index("from qrbackends"), screen.index("# async with")
    pasted: dict[str, Any] = {}
    exec(screen[begin:end], pasted)  # noqa: S102
    account = pasted["account"]
    assert isinstance(account, Account)
    assert account.instances == elsewhere.account().instances
    assert all(isinstance(instance, Instance) for instance in account.instances)
    async with Client(account) as client:
        assert len(await client.backends()) == 8


def test_what_it_says_to_paste_for_the_official_client_works(
    elsewhere: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    monkeypatch.setattr(logging.getLogger("qiskit_ibm_runtime"), "disabled", True)
    screen = screen_of(elsewhere)
    for name, value in re.findall(r"^export (\w+)=(.*)$", screen, re.MULTILINE):
        monkeypatch.setenv(name, value)
    pasted: dict[str, Any] = {}
    exec(screen[screen.index("from qiskit_ibm_runtime") : screen.index("Ctrl-C")], pasted)  # noqa: S102
    names = sorted(backend.name for backend in pasted["service"].backends())
    assert names == list(elsewhere.backends()), "of all regions"


@pytest.mark.usefixtures("told_at_once")
def test_a_directory_and_consecutive_ports(run: Run, tmp_path: Path) -> None:
    configuration = {"backend_name": "b", "backend_version": "1", "n_qubits": 1}
    (tmp_path / "conf_b.json").write_text(json.dumps(configuration))
    code, out, _ = run("emulate", "--fleet", str(tmp_path), "--regions", "us-east")
    assert code == 0
    assert out.startswith(f"Emulated fleet ({tmp_path}): 1 backend at 127.0.0.1.")


def test_a_port_that_is_taken(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = run("emulate", "--fleet", "synthetic", "--regions", "us-east", "--port", str(port))
    problem = f"cannot listen at 127.0.0.1:{port}: Address already in use"
    message = f"Error: {problem}; --port 0 takes a free port\n"
    assert (code, out, err) == (1, "", message)


@pytest.mark.usefixtures("told_at_once")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.0.0.2", "0.0.0.0"])
def test_an_address_that_others_reach_is_warned_of(run: Run, host: str) -> None:
    code, out, err = run("emulate", "--fleet", "synthetic", "--host", host)
    assert code == 0
    assert f"8 backends at {host}." in out
    assert (err.count("\n"), "not a loopback" in err) == ((1, True) if host == "0.0.0.0" else (0, False))


def test_a_host_that_is_not_this_machine(run: Run) -> None:
    code, out, err = run("emulate", "--fleet", "synthetic", "--host", "192.0.2.1")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "Error: cannot listen at 192.0.2.1:0: Cannot assign requested address"


def test_names_of_regions() -> None:
    assert emulate.regions_of("us-east,eu-de") == ("us-east", "eu-de")
    with pytest.raises(AccountError):
        Instance("crn:v1:bluemix:public:quantum-computing:US:a/b:c::")
    with pytest.raises(click.BadParameter):
        emulate.regions_of("US")


SCENARIO = """
[[step]]
at = 0
do = "stop_region"
region = "eu-de"
"""


def test_a_scenario_a_journal_and_the_control_api(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scenario, journal = tmp_path / "s.toml", tmp_path / "journal"
    scenario.write_text(SCENARIO)

    async def steer(announce: Callable[[], None]) -> None:
        announce()
        shown = json.loads(announced[0])
        headers = {"Authorization": f"Bearer {shown['control_token']}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{shown['control_url']}/state") as answer:
                regions = (await answer.json())["regions"]
            async with session.get(f"{shown['regions']['us-east']}/versions") as answer:
                assert answer.status == 200
        assert {one["region"]: one["running"] for one in regions} == {
            "us-east": True,
            "eu-de": False,
            "cloud": True,
        }

    announced: list[str] = []
    monkeypatch.setattr(emulate, "echo_json", lambda value: announced.append(json.dumps(value)))
    monkeypatch.setattr(emulate, "_until_signal", steer)
    options = ("--json", "--fleet", "synthetic", "--scenario", str(scenario), "--journal", str(journal))
    assert run("emulate", *options) == (0, "", "")
    (request,) = map(json.loads, journal.read_text().splitlines())
    assert (request["resource"], request["status"]) == ("versions", 200)

    again = run("emulate", "--fleet", "synthetic", "--replay", str(journal))
    assert again == (0, "1 request, 0 answered differently\n", "")
    journal.write_text(json.dumps(request | {"status": 503, "region": "eu-de"}))
    code, out, err = run("emulate", "--fleet", "synthetic", "--replay", str(journal))
    assert (code, err) == (1, "")
    assert out.startswith("eu-de  GET /api/v1/versions  was 503, is 200\n1 request, 1 answered ")
    replayed = ("--replay", str(journal), "--scenario", str(scenario), "--speed", "0", "--json")
    code, out, err = run("emulate", "--fleet", "synthetic", *replayed)
    (difference,) = json.loads(out)["differences"]
    assert (code, err, difference["status"]) == (1, "", None)
    for read in ("--replay", "--scenario"):
        before = journal.read_text()
        code, _, err = run("emulate", read, str(journal), "--journal", str(tmp_path / "x" / ".." / "journal"))
        assert (code, f"would replace the file of {read}" in err) == (2, True)
        assert journal.read_text() == before


def test_the_schema_of_scenarios(run: Run) -> None:
    code, out, err = run("emulate", "--scenario-schema")
    assert (code, err) == (0, "")
    assert "stop_region" in json.loads(out)["$defs"]["StopRegion"]["properties"]["do"]["enum"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "--scenario",
            SCENARIO.replace("eu-de", "mars"),
            "line 5, step[0].region: The emulator has no region 'mars'",
        ),
        (
            "--scenario",
            SCENARIO.replace("at = 0", ""),
            "line 2, step[0].at: Object missing required field `at`",
        ),
        ("--scenario", "[[step", "Expected ']]' at the end of an array declaration"),
        ("--replay", "{", "line 1: Input data was truncated"),
        (
            "--replay",
            '{"region":"r","resource":null,"backend":null,"method":"GET","path_qs":"/","auth":null}',
            "r",
        ),
    ],
)
def test_files_that_are_not_as_they_should_be(
    run: Run, tmp_path: Path, name: str, content: str, message: str
) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    code, out, err = run("emulate", "--fleet", "synthetic", name, str(path))
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert message in err
    assert err.count("\n") == 1
