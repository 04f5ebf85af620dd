"""What is said of a name that there is not."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends import (
    AccountError,
    BadRequest,
    Client,
    InstanceSearch,
    InstanceUnavailable,
    InvalidRequest,
    NotFound,
    QRBackendsError,
    Request,
    RetryPolicy,
    Timeout,
    UnknownGate,
)
from qrbackends.accounts import delete_account, save_account
from qrbackends.accounts.saved import load_account
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.comparison import stability
from qrbackends.analysis.plot import history_plot
from qrbackends.emulator import Emulator, Garbage, Status
from qrbackends.emulator.devices.sources import load_fleet
from qrbackends.messages import suggestions
from qrbackends.messages.suggestions import did_you_mean, instead, nearest, suggested

IBM = ("ibm_boston", "ibm_kingston", "ibm_berlin", "ibm_fez", "ibm_torino", "fake_nighthawk")
MADE_UP = ("synthetic_falcon_27", "synthetic_eagle_127", "synthetic_heron_133", "synthetic_heron_156")
REGIONS = ("us-east", "eu-de")
FIGURES = ("t1", "t2", "readout_error", "two_qubit_error")


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("ibm_bostn", IBM, ("ibm_boston",)),
        ("ibm_bston", IBM, ("ibm_boston",)),
        ("boston", IBM, ("ibm_boston",)),
        ("IBM_BOSTON", IBM, ("ibm_boston",)),
        ("ibm boston", IBM, ("ibm_boston",)),
        ("ibmboston", IBM, ("ibm_boston",)),
        ("ibm_q_boston", IBM, ("ibm_boston",)),
        ("fake_boston", IBM, ("ibm_boston",)),
        ("nighthawk", IBM, ("fake_nighthawk",)),
        ("synthetic_falcon", MADE_UP, ("synthetic_falcon_27",)),
        ("synthetic_falcon_28", MADE_UP, ("synthetic_falcon_27",)),
        ("heron", MADE_UP, ("synthetic_heron_133", "synthetic_heron_156")),
        ("127", MADE_UP, ("synthetic_eagle_127",)),
        ("us_east", REGIONS, ("us-east",)),
        ("us-eats", REGIONS, ("us-east",)),
        ("eu", REGIONS, ("eu-de",)),
        ("T1", FIGURES, ("t1",)),
        ("readout", FIGURES, ("readout_error",)),
        ("two-qubit", FIGURES, ("two_qubit_error",)),
        ("wait_time", ("wait_time_seconds",), ("wait_time_seconds",)),
        ("CZ", ("cz", "rz", "sx"), ("cz",)),
        # what is only as alike as all names of a fleet are
        ("ibm_tokyo", IBM, ()),
        ("ibm_zzzz", IBM, ()),
        ("ibm", IBM, ()),
        ("synthetic", MADE_UP, ()),
        ("nowhere", IBM, ()),
        ("", IBM, ()),
        ("_", IBM, ()),
        ("ibm_boston", (), ()),
    ],
)
def test_the_nearest_names(name: str, known: tuple[str, ...], near: tuple[str, ...]) -> None:
    assert nearest(name, known) == near


def test_several_are_told_in_one_question() -> None:
    assert did_you_mean("ibm_bostn", IBM) == "did you mean ibm_boston?"
    assert did_you_mean("heron", MADE_UP) == "did you mean synthetic_heron_133 or synthetic_heron_156?"
    assert did_you_mean("ibm_tokyo", IBM) == ""
    assert suggested("no such", "eu", REGIONS) == "no such; did you mean eu-de?"
    assert suggested("no such", "zz", REGIONS) == "no such"
    assert suggested("not there", "eu-de", iter(REGIONS)) == "not there", "it is known"


def test_where_nothing_is_near_the_names_are_told() -> None:
    assert instead("zz", REGIONS) == "there are us-east, eu-de"
    assert instead("zz", REGIONS, "it has") == "it has us-east, eu-de"
    assert instead("eu", iter(REGIONS)) == "did you mean eu-de?"
    assert instead("zz", ()) == "there are none"
    assert instead("zz", ["a"]) == "there is a"
    many = [f"device_{number}" for number in range(1, 1001)]
    assert instead("zz", many).endswith("device_20 and 980 more")


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\u202eb", "a\nb", "a" * 65])
def test_a_name_that_is_no_name_is_neither_asked_for_nor_told(name: str) -> None:
    assert nearest(name, ["a", "ab", name]) == ()
    assert nearest("a", [name]) == ()
    assert name not in instead("zz", [name, "a"])


def test_the_work_is_bounded_whatever_the_names_are(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, str]] = []
    ratio = suggestions._ratio

    def noting(one: str, other: str) -> float:
        compared.append((one, other))
        return ratio(one, other)

    monkeypatch.setattr(suggestions, "_ratio", noting)
    names = (f"ibm_{'ab' * (number % 25)}{number}" for number in count())  # without an end
    assert nearest("ibm_ababab77", names)
    assert next(names) == "ibm_10000"
    assert len(compared) <= 64
    assert max(len(text) for pair in compared for text in pair) <= 64
    assert nearest("a" * 10**6, names) == ()


@given(st.text(), st.lists(st.text()))
def test_any_texts_are_taken(name: str, known: list[str]) -> None:
    near = nearest(name, known)
    assert len(near) <= 3
    assert set(near) <= set(known)
    if name in known and near:
        assert name in near or len(near) == 3
    assert instead(name, known).isprintable()


# --- in Python

FALCON = "synthetic_falcon_27"
ANY_REQUEST: Any = Request  # types would not let anybody misspell it


def lists(emulator: Emulator) -> int:
    return emulator.count("backends")


@pytest.mark.anyio
async def test_not_found_says_what_is_like_it_in_the_lists_that_were_read(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        for name in ("synthetic_falcn_27", "SYNTHETIC_FALCON_27", "falcon"):
            with pytest.raises(NotFound, match=f"did you mean {FALCON}[?]") as raised:
                await client.properties(name)
            assert raised.value.suggestions == (FALCON,)
            assert raised.value.backend == name
        with pytest.raises(NotFound) as raised:
            await client.status("nowhere")
        assert (raised.value.suggestions, "did you mean" in str(raised.value)) == ((), False)


@pytest.mark.anyio
async def test_no_request_is_sent_for_a_suggestion(emulator: Emulator) -> None:
    only = emulator.account(search=InstanceSearch(regions=["eu-de"]))
    name = emulator.backends("eu-de")[0]
    async with Client(only) as client:
        await client.instances()
        with pytest.raises(NotFound) as unknown:  # the account's only instance is asked without its list
            await client.status(name[:-1])
        assert (unknown.value.suggestions, lists(emulator)) == ((), 0)
        await client.backends()
        for _ in range(2):  # the second time from memory
            with pytest.raises(NotFound, match=f"did you mean {name}[?]") as known:
                await client.properties(name[:-1])
            assert known.value.suggestions == (name,)
        with pytest.raises(NotFound) as withdrawn:  # it is there, but not this of it
            await client.properties(name, calibration_id="other")
        assert withdrawn.value.suggestions == ()
        assert lists(emulator) == 1


@pytest.mark.anyio
async def test_no_name_is_suggested_while_a_list_is_missing(emulator: Emulator) -> None:
    emulator.fault(Status(403), resource="backends", region="us-east", times=None)
    name = emulator.backends("eu-de")[0]
    async with Client(emulator.account()) as client:
        with pytest.raises(InstanceUnavailable) as unknown:
            await client.status(name[:-1])
        assert "did you mean" not in str(unknown.value), "the right one may be in the list that is missing"
        with pytest.raises(NotFound, match=r"which is not complete: see its `errors`$"):
            (await client.backends())[name[:-1]]


@pytest.mark.anyio
async def test_a_backend_of_another_instance_is_found_there(emulator: Emulator) -> None:
    name = emulator.backends("us-east")[0]
    german = next(one.crn for one in emulator.instances if one.region == "eu-de")
    for account, known in (
        (emulator.account(search=InstanceSearch()), "emulated-us-east-1"),  # it was looked up
        (emulator.account(), "crn:v1:bluemix:public:quantum-computing:us-east:a/.*::"),
    ):
        async with Client(account) as client:
            await client.backends()
            with pytest.raises(NotFound, match=f"; the instance {known} lists it [(]code") as raised:
                await client.status(name, instance=german)
            assert raised.value.suggestions == ()


@pytest.mark.anyio
async def test_an_instance_that_is_none_of_the_accounts_is_told_those_that_are(emulator: Emulator) -> None:
    async with Client(emulator.account()) as client:
        crns = ", ".join(one.crn for one in emulator.instances)
        with pytest.raises(AccountError, match="is none of the account's instances") as raised:
            await client.status("ibm_boston", instance="emulated-us-east-1")
        assert f"; there are {crns}; names are known only" in str(raised.value)


@pytest.mark.anyio
async def test_a_hostile_name_is_no_suggestion(emulator: Emulator) -> None:
    body = (
        b'{"devices": [{"name": "ibm_bo\\u001b[31mston", "status": {"name": "online"}, "queue_length": 0}]}'
    )
    emulator.fault(Garbage(body), resource="backends", times=None)
    async with Client(emulator.account(), retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(QRBackendsError) as raised:
            await client.status("ibm_boston")
    assert str(raised.value).isprintable()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("ask", "kind", "meant"),
    [
        (lambda client: client.rank("quee"), InvalidRequest, "queue"),
        (lambda client: client.rank("two_qubit"), InvalidRequest, "two_qubit_error"),
        (lambda client: client.snapshot(["propertys"]).collect(), InvalidRequest, "properties"),
        (lambda client: client.fetch(ANY_REQUEST("propertie", FALCON)), InvalidRequest, "properties"),
        (lambda client: client.invalidate(resource="Status"), InvalidRequest, "status"),
        (lambda client: client.backends(fields=["wait_time"]), BadRequest, "wait_time_seconds"),
        (
            lambda client: client.status(FALCON, instance="emulated-us-eats-1"),
            AccountError,
            "emulated-us-east-1",
        ),
        (
            lambda client: client.wait_for("falcon", lambda _: True, timeout=1, interval=0.1),
            Timeout,
            FALCON,
        ),
        (lambda client: client.wait_for_recalibration("falcon", timeout=1, interval=0.1), Timeout, FALCON),
    ],
)
async def test_what_is_misspelled_in_a_call(
    emulator: Emulator, ask: Callable[[Any], Awaitable[Any]], kind: type[QRBackendsError], meant: str
) -> None:
    async with Client(emulator.account(search=InstanceSearch())) as client:
        await client.instances()
        with pytest.raises(kind, match=f"did you mean {meant}") as raised:
            await ask(client)
        assert str(raised.value).count("did you mean") == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("search", "meant"),
    [
        (InstanceSearch("emulated-us-eats-1"), "emulated-us-east-1"),
        (InstanceSearch(regions=["eu_de"]), "eu-de"),
        (InstanceSearch(plans=["opne"]), "open"),
    ],
)
async def test_an_instance_that_there_is_not(emulator: Emulator, search: InstanceSearch, meant: str) -> None:
    async with Client(emulator.account(search=search)) as client:
        with pytest.raises(AccountError, match=f"did you mean {meant}[ ?]"):
            await client.backends()


@pytest.mark.anyio
async def test_gates_and_figures(emulator: Emulator, tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    async with Client(emulator.account()) as client:
        properties = await client.properties(FALCON)
    with pytest.raises(UnknownGate, match=r"did you mean cx[?]"):
        properties.median_gate_error("CX")
    there = next(gate.on for gate in properties.gates if gate.gate == "cx")
    other = tuple(reversed(there))
    if other not in {gate.on for gate in properties.gates if gate.gate == "cx"}:
        with pytest.raises(UnknownGate, match="it is on"):
            properties.gate_error("cx", other)
    with pytest.raises(InvalidRequest, match=r"did you mean readout_error[?]"):
        history_plot([properties], cast("Any", "readout"))
    archive.add(properties)
    with pytest.raises(InvalidRequest, match=f"did you mean {FALCON}[?]"):
        stability(archive, "falcon_27", timedelta(days=1))


def test_accounts_that_there_are_not(tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    save_account("0123456789abcdef", "work", path=file, instance="lab")
    for ask in (lambda: load_account("wrk", file), lambda: delete_account("Work", file)):
        with pytest.raises(AccountError, match=r"did you mean work[?]"):
            ask()
    with pytest.raises(AccountError, match="did you mean ibm_quantum_platform"):
        save_account("0123456789abcdef", path=file, channel="ibm_quantum")


def test_fleets_that_there_are_not() -> None:
    with pytest.raises(FileNotFoundError, match=r"did you mean snapshots[?]"):
        load_fleet("snapshot")
