"""Nothing that one backend, or one call, does ends what goes on for all."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from qrbackends import Account, Change, Client, InstanceSearch, Limits, Monitor, RetryPolicy
from qrbackends.accounts.secret import Bearer
from qrbackends.emulator import Emulator, Garbage, Hold, SyntheticFleet

from ..internals import issuer, parts
from ..waiting import until

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)
PATIENT = Limits(failures=10**9)
GOOD = ("alpha", "beta")
ODD = (
    "",
    ".",
    "..",
    "a/b",
    "../../etc",
    "nul\x00",
    "\x1b[2J",
    "\u202e",
    "x" * 100_000,
    "?",
    "%2e%2e",
    "\u00e4 b",
)


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with Emulator(SyntheticFleet(dict.fromkeys(GOOD, 3)), regions=["us-east"]) as running:
        yield running


async def odd_list(emulator: Emulator) -> None:
    """Let every list contain names that no request can carry, before those that are good."""
    async with Client(emulator.account()) as client:
        listed = await client.backends()
    entry = {"name": "", "status": {"name": "online", "reason": "available"}, "queue_length": 1, "qubits": 3}
    devices = [{**entry, "name": name} for name in (*ODD, *[one.name for one in listed])]
    emulator.fault(Garbage(json.dumps({"devices": devices}).encode()), resource="backends", times=None)


async def test_names_that_no_request_can_carry_end_no_watch(emulator: Emulator) -> None:
    await odd_list(emulator)
    changes: list[Change] = []
    async with (
        asyncio.timeout(30),
        Client(emulator.account(), retry=ONCE, limits=PATIENT) as client,
        client.watch(0.01, threshold=10**9, detail=True) as watching,
    ):
        async for change in watching:
            changes.append(change)
            if len(changes) == len(ODD) + len(GOOD):
                emulator.clear_faults()  # the odd ones are gone from the next list on
            if len(changes) == 2 * len(ODD) + len(GOOD):
                break
        assert {emulator.count("properties", name) > 0 for name in GOOD} == {True}
    assert [change.kind for change in changes] == ["present"] * (len(ODD) + len(GOOD)) + [
        "disappeared"
    ] * len(ODD)


async def test_names_that_no_request_can_carry_are_items_with_errors_of_a_snapshot(
    emulator: Emulator,
) -> None:
    await odd_list(emulator)
    async with Client(emulator.account(), retry=ONCE, limits=PATIENT) as client:
        found = await client.snapshot().collect()
    assert set(found) == {*ODD, *GOOD}
    for name, items in found.items():
        assert {item.error is None for item in items.values()} == {name in GOOD}


async def test_names_that_no_request_can_carry_end_no_monitor(emulator: Emulator) -> None:
    await odd_list(emulator)
    async with (
        Client(emulator.account(), retry=ONCE, limits=PATIENT) as client,
        Monitor(client, interval=0.01) as monitor,
    ):
        await until(lambda: all(("us-east", name) in monitor.fleet for name in (*ODD, *GOOD)))
        await until(lambda: all(monitor.fleet["us-east", name].calibration is not None for name in GOOD))
        assert not monitor.ended.is_set()


# --- token providers


def cancels_its_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


def raises(failure: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise failure

    return act


ACTS = [
    *[
        raises(failure)
        for failure in (asyncio.CancelledError(), SystemExit(1), KeyboardInterrupt(), OSError())
    ],
    raises(BaseExceptionGroup("x", [asyncio.CancelledError()])),
    raises(KeyError("access_token")),
    raises(json.JSONDecodeError("", "<html>", 0)),
    cancels_its_task,
]


class Provider:
    """Gives tokens of the emulator that are asked for again at each call; does what it is told once."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.acts: list[Callable[[], None]] = []

    async def __call__(self) -> Bearer:
        if self.acts:
            self.acts.pop(0)()
            await asyncio.sleep(0)
        issued: dict[str, Any] = issuer(self.emulator).issue(self.emulator.api_keys[0])
        return issued["access_token"], issued["expiration"] - issued["expires_in"] + 30.001


@pytest.mark.parametrize("act", ACTS)
async def test_a_provider_that_fails_once_ends_no_watch(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> None:
    monkeypatch.setattr("qrbackends.service.tokens._SHARE", 1.0)  # each call asks for a token
    provider, kinds = Provider(emulator), list[str]()
    provider.acts = [act] * 2
    account = Account(token=provider, instances=emulator.account().instances)
    async with (
        asyncio.timeout(30),
        Client(account, retry=ONCE, limits=PATIENT) as client,
        client.watch(0.01, ["alpha"], threshold=10**9, detail=True) as watching,
    ):
        async for change in watching:
            kinds.append(change.kind)
            if change.kind == "present":
                provider.acts = [act] * 3  # these are not seen, as the old token is still good
                await until(lambda: not provider.acts)
                emulator.set_backend("alpha", status="paused")
            if change.kind == "status":
                break
    assert sorted(kinds) == ["failed", "present", "recovered", "status"]


@pytest.mark.parametrize("act", ACTS)
async def test_a_provider_that_fails_once_ends_no_monitor(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]
) -> None:
    monkeypatch.setattr("qrbackends.service.tokens._SHARE", 1.0)
    provider = Provider(emulator)
    provider.acts = [act] * 3
    account = Account(token=provider, instances=emulator.account().instances)
    async with (
        Client(account, retry=ONCE, limits=PATIENT) as client,
        Monitor(client, interval=0.01) as monitor,
    ):
        await until(lambda: bool(monitor.failures))
        await until(lambda: len(monitor.fleet) == len(GOOD) and not monitor.failures)
        provider.acts = [act] * 3
        await until(lambda: not provider.acts)
        emulator.set_backend("alpha", status="paused")
        await until(lambda: monitor.fleet["us-east", "alpha"].backend.status.name == "paused")
        assert not monitor.ended.is_set()


# --- instances


async def test_an_instance_that_is_gone_while_it_is_asked_ends_no_watch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look-up of instances misses one whose calibrations the watch is about to ask for."""
    monkeypatch.setattr("qrbackends.fleet.watch._AT_ONCE", 1)
    kinds = Counter[str]()
    async with (
        asyncio.timeout(30),
        Emulator(SyntheticFleet(dict.fromkeys(GOOD, 3))) as emulator,
        Client(emulator.account(search=InstanceSearch()), retry=ONCE, limits=PATIENT) as client,
        client.watch(0.01, threshold=10**9, detail=True) as watching,
    ):
        held = emulator.fault(Hold(), resource="properties")
        async for change in watching:
            kinds[change.kind] += 1
            if kinds == {"present": 2}:
                discovery = parts(client).discovery
                await until(lambda: emulator.count("properties") == 1)
                monkeypatch.setattr(discovery, "_known", discovery.known()[:1])
                held.release()
            if kinds["disappeared"]:
                break
    assert kinds == {"present": 2, "disappeared": 1}
