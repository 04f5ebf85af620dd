"""Where the data comes from."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest

import qrbackends.emulator
from qrbackends import Account, AccountError, Client, Instance, InstanceSearch
from qrbackends.cli import options
from qrbackends.cli.emulators import is_emulator
from qrbackends.emulator import Emulator, SnapshotsMissing
from qrbackends.emulator.devices.synthetic import SyntheticFleet

from ..transport.test_pool import server as raw_server
from ..waiting import until
from .conftest import Run
from .processes import finding

CRN = "crn:v1:bluemix:public:quantum-computing:eu-de:a/account:other::"


async def open_and_close(source: options.Source) -> None:
    async with source.client():
        pass


def account_of(source: options.Source, monkeypatch: pytest.MonkeyPatch) -> Account:
    """Return the account for which a source opens a client."""
    accounts: list[Account] = []

    def noting(account: Account, **others: Any) -> Client:
        accounts.append(account)
        return Client(account, **others)

    monkeypatch.setattr(options, "Client", noting)
    asyncio.run(open_and_close(source))
    (account,) = accounts
    return account


def use(account: Account, monkeypatch: pytest.MonkeyPatch) -> options.Source:
    """Return a source whose account is this one, read from the environment."""
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "some-key")
    monkeypatch.setattr(options, "load_account", lambda *_, **__: account)
    return options.Source()


def test_without_an_account_it_says_what_to_do(run: Run, tmp_path: Path) -> None:
    code, out, err = run("fleet")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    for advice in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", str(tmp_path / ".qiskit"), "--emulator"):
        assert advice in err


def test_an_emulator_elsewhere_is_found_by_the_environment_and_called_one(
    run_on: Run, elsewhere: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = finding(elsewhere, "eu-de") | {"QISKIT_IBM_INSTANCE": "emulated-eu-de-1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    name = elsewhere.backends("eu-de")[0]
    assert run_on("status", name).out.startswith(f"Emulated status of {name}\n")
    code, out, err = run_on("backends", "--json")
    assert (code, err) == (0, "Emulated data, not from IBM's service.\n")
    assert {one["qrbackends_emulated"] for one in json.loads(out)["devices"]} == {True}
    assert not (tmp_path / "cache").exists(), "an emulator that is started anew may answer otherwise"


def test_a_saved_account_is_read(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"mine": {"token": "some-key", "instance": "crn:no"}}))
    code, _, err = run("status", "x", "--account-file", str(file), "--account", "yours")
    assert (code, err) == (1, f"Error: {file} has no account 'yours'; it has: mine\n")
    assert "is not the CRN of an instance" in run("status", "x", "--account-file", str(file)).err
    assert "no account found" in run("status", "x", "--account", "mine").err


def test_instances_that_are_not_named_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "some-key")
    source = options.Source(instance="mine", regions=("eu-de",))
    account = account_of(source, monkeypatch)
    assert (account.instances, account.search) == ((), InstanceSearch("mine", regions=["eu-de"]))


def test_the_environment_is_not_asked_for_a_named_account(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "some-key")
    assert "no account found" in run("status", "x", "--account", "mine").err


def test_the_instance_option_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "some-key")
    monkeypatch.setenv("QISKIT_IBM_INSTANCE", "by name")
    source = options.Source(instance=Instance(CRN))
    assert [instance.crn for instance in account_of(source, monkeypatch).instances] == [CRN]


def test_the_emulator_ignores_environment_and_accounts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL", "IAM_URL"):
        monkeypatch.setenv(name, "http://user:password@unusable")
    assert run("backends", "--emulator", "synthetic").code == 0


def test_a_region_that_is_not_wanted_is_not_asked(run: Run, service: Emulator) -> None:
    code, out, _ = run("fleet", "--region", "eu-de", "--json")
    assert code == 0
    assert {row["region"] for row in json.loads(out)} == {"eu-de"}
    assert service.count("backends", region="eu-de") == 1
    assert service.count(region="us-east") == 0


def test_all_instances_are_asked(run: Run, service: Emulator) -> None:
    code, out, err = run("fleet", "--json")
    assert (code, err) == (0, ""), "real data is not announced"
    names = [row["name"] for row in json.loads(out)]
    assert names == sorted(service.backends())
    assert service.count("backends") == 2
    assert service.count("properties") == len(names)


def test_a_backend_of_several_instances_is_shown_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = SyntheticFleet({"small": 5, "smaller": 3})
    monkeypatch.setattr(
        qrbackends.emulator, "Emulator", lambda _: Emulator(fleet, instances=3, regions=["us-east"])
    )
    _, out, _ = run("fleet", "--json", "--emulator")
    rows = json.loads(out)
    assert [row["name"] for row in rows] == ["small", "smaller"]
    assert {row["instance"] for row in rows} == {Emulator(fleet, instances=3).instances[0].crn}
    assert run("backends", "--emulator").out.count("small ") == 3


def test_regions_can_be_repeated_and_have_to_exist(run: Run, service: Emulator) -> None:
    assert run("backends", "--region", "eu-de", "--region", "us-east").code == 0
    code, out, err = run("backends", "--region", "eu-de", "--region", "mars")
    assert (code, out) == (1, "")
    assert err == "Error: no instance in mars; there are instances in: eu-de, us-east\n"


def test_an_instance_of_the_account_is_asked_alone(run: Run, service: Emulator) -> None:
    crn = service.instances[1].crn
    code, out, _ = run("backends", "--instance", crn, "--json")
    assert code == 0
    assert {device["qrbackends_instance"] for device in json.loads(out)["devices"]} == {crn}
    assert service.count("backends") == 1


def test_an_instance_beyond_the_account_is_in_the_same_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = {
        "token": "key-number-1",
        "instance": "name",
        "private_endpoint": True,
        "url": "https://test.cloud.ibm.com",
    }
    file = tmp_path / "accounts.json"
    file.write_text(json.dumps({"mine": saved}))
    source = options.Source(account="mine", account_file=str(file), instance=Instance(CRN))
    assert [instance.base_url for instance in account_of(source, monkeypatch).instances] == [
        "https://private.eu-de.quantum.test.cloud.ibm.com/api/v1"
    ]


def test_the_emulator_has_no_other_instances(run: Run) -> None:
    code, out, err = run("backends", "--emulator", "synthetic", "--instance", CRN)
    assert (code, out) == (1, "")
    assert f"the emulator has no instance {CRN}; it has crn:v1" in err


def test_unverified_certificates_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = use(Account(api_key="key-number-1", instances=[Instance(CRN)], verify=False), monkeypatch)
    asyncio.run(open_and_close(source))
    assert capsys.readouterr().err == "Warning: TLS certificates are not verified for this account\n"


def test_an_unusable_account_is_told_as_the_core_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(account: Account, **_: object) -> None:
        raise AccountError("unusable")

    monkeypatch.setattr(options, "Client", refuse)
    source = use(Account(api_key="key-number-1", instances=[Instance(CRN)]), monkeypatch)
    with pytest.raises(AccountError, match="unusable"):
        asyncio.run(open_and_close(source))


def test_the_devices_in_service_are_a_fleet_of_their_own(run: Run) -> None:
    code, out, err = run("backends", "--emulator", "snapshots:current", "--json")
    assert (code, err) == (0, "Emulated data (snapshots:current), not from IBM's service.\n")
    names = [device["name"] for device in json.loads(out)["devices"]]
    assert "ibm_boston" in names
    assert "ibmq_lima" not in names


@pytest.mark.parametrize("arguments", [("fleet", "--emulator"), ("emulate",)])
def test_missing_snapshots_are_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    async def missing(_: Emulator) -> None:
        raise SnapshotsMissing("pip install 'qrbackends[snapshots]'")

    monkeypatch.setattr(Emulator, "__aenter__", missing)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("Error: pip install 'qrbackends[snapshots]'; or try --")
    assert err.endswith("synthetic\n")


@pytest.mark.parametrize(
    ("arguments", "emulator", "as_json", "names"),
    [
        (["--emulator"], "snapshots", False, ()),
        (["--emulator", "synthetic", "x"], "synthetic", False, ("x",)),
        (["--emulator", "ibm_x"], "snapshots", False, ("ibm_x",)),
        (["--emulator", "--json"], "snapshots", True, ()),
        (["--", "--emulator", "x"], None, False, ("--emulator", "x")),
        (["--emulator", "--", "x"], "snapshots", False, ("x",)),
        (["--emulator", "{directory}", "x"], "{directory}", False, ("x",)),
        (["--emulator={directory}"], "{directory}", False, ()),
        (["--emulator", "http://localhost:8103/api/v1", "x"], "http://localhost:8103", False, ("x",)),
    ],
)
def test_the_emulators_value_is_optional(
    tmp_path: Path, arguments: list[str], emulator: str | None, as_json: bool, names: tuple[str, ...]
) -> None:
    understood: list[Any] = []
    arguments = [one.format(directory=tmp_path) for one in arguments]

    @click.command(cls=options.SourceCommand)
    @options.source_options
    @click.argument("names", nargs=-1)
    def command(source: options.Source, as_json: bool, names: tuple[str, ...]) -> None:
        understood.extend((source.emulator, as_json, names))

    command.main(arguments, standalone_mode=False)
    assert understood == [emulator and emulator.format(directory=tmp_path), as_json, names]


def test_a_directory_of_this_name_is_the_emulators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_emulator("recorded")
    (tmp_path / "recorded").mkdir()
    assert is_emulator("recorded")
    assert is_emulator("./none"), "so that it is told that there is none"


def test_data_from_the_emulator_says_so(run: Run) -> None:
    assert run("backends", "--emulator", "synthetic").out.startswith("Emulated backends (synthetic)\n")
    _, out, err = run("backends", "--emulator", "synthetic", "--json")
    json.loads(out)
    assert err == "Emulated data (synthetic), not from IBM's service.\n"


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        ("2026-04-17T12:00", "has no offset: add Z"),
        ("2026-04-17 12:00", "has no offset: add Z"),
        ("yesterday", "is no instant: give ISO 8601 such as 2026-04-17T12:00:00Z, a date"),
        ("0001-01-01T00:00:00+02:00", "is no instant"),
        ("7", "is no instant"),
        ("7 days", "is no instant"),
        ("-7d", "is no instant"),
        ("9999999d", "is no instant"),
        ("9999999999999d", "is longer than any calendar"),
    ],
)
def test_an_instant_that_is_none_is_wrong_usage(run: Run, given: str, advice: str) -> None:
    code, out, err = run("properties", "x", "--emulator", "synthetic", "--updated-before", given)
    assert (code, out) == (2, "")
    assert advice in err


@pytest.mark.anyio
async def test_the_environments_proxy_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    source = use(Account(token="some-token", instances=[Instance(CRN)]), monkeypatch)
    refusal = b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(refusal) as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with source.client() as client:
            asking = asyncio.create_task(client.status("x"))
            await until(lambda: bool(heads))
            asking.cancel()
            await asyncio.wait([asking])
    assert heads[0].startswith(b"CONNECT eu-de.quantum.cloud.ibm.com:443 HTTP/1.1\r\n")
