"""Every failure of the network says whose host it was; retries and circuits are logged."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from qrbackends import (
    Account,
    BodyDamaged,
    CircuitOpen,
    Client,
    ConnectError,
    Instance,
    InstanceSearch,
    InstanceUnavailable,
    Limits,
    RedirectRefused,
    RetryPolicy,
    SessionPool,
    Timeout,
    TransportError,
)
from qrbackends.emulator import (
    Action,
    Delay,
    Emulator,
    Hold,
    NotModified,
    Redirect,
    Reset,
    Status,
    Truncate,
    WithHeaders,
)

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(attempts=1)


def address(url: str | None) -> str:
    """Return host and port of an address."""
    assert url is not None
    return url.partition("://")[2].partition("/")[0]


async def failed(client: Client, ask: Callable[[Client], Awaitable[Any]]) -> TransportError:
    with pytest.raises(TransportError) as raised:
        await ask(client)
    error = raised.value
    assert error.host == "127.0.0.1"
    assert error.problem == f"{error.where}: {error.message}"
    assert error.problem in str(error)
    assert error.again().where == error.where
    return error


def looked_up(emulator: Emulator) -> Account:
    """Return an account whose instances are looked up."""
    return emulator.account(search=InstanceSearch())


@pytest.mark.parametrize(
    ("resource", "named", "ask"),
    [
        ("token", "IAM", lambda client: client.backends()),
        ("search", "Global Search", lambda client: client.instances()),
        ("backends", "the region", lambda client: client.backends()),
        ("status", "the region", lambda client: client.status("synthetic_falcon_27")),
        ("versions", "the region", lambda client: client.versions()),
    ],
)
@pytest.mark.parametrize("action", [Reset(), Truncate()], ids=["reset", "truncated"])
async def test_it_says_whose_host_failed(
    emulator: Emulator, resource: Any, named: str, ask: Callable[[Client], Awaitable[Any]], action: Action
) -> None:
    emulator.fault(action, resource=resource, times=None)
    async with Client(looked_up(emulator), retry=ONCE) as client:
        error = await failed(client, ask)
    urls = [emulator.url(region) for region in emulator.regions]
    there = {"the region": urls}.get(named, [emulator.iam_url])
    assert error.where in [f"{named}'s host {address(url)}" for url in there]
    if named == "the region":
        assert f"[{error.region}]" in str(error)
        assert address(emulator.url(error.region or "")) in error.where


async def test_a_catalog_that_fails_is_named_where_its_plans_are_needed(emulator: Emulator) -> None:
    emulator.fault(Reset(), resource="catalog", times=None)
    search = InstanceSearch(plans=["open"])
    async with Client(emulator.account(search=search), retry=ONCE) as client:
        error = await failed(client, lambda client: client.instances())
    assert error.where == f"Global Catalog's host {address(emulator.catalog_url)}"


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Redirect("/elsewhere"), RedirectRefused),
        (NotModified(), TransportError),
        (WithHeaders({"Content-Encoding": "zstd"}), BodyDamaged),
    ],
    ids=["redirect", "not modified", "compressed as was not asked"],
)
async def test_what_is_wrong_with_an_answer_is_said_of_the_host(
    emulator: Emulator, action: Action, kind: type[TransportError]
) -> None:
    emulator.fault(action, resource="status", times=None)
    async with Client(emulator.account(), retry=ONCE) as client:
        error = await failed(client, lambda client: client.status("synthetic_falcon_27"))
    assert isinstance(error, kind)
    assert error.where.startswith("the region's host 127.0.0.1:")


@pytest.mark.parametrize(
    ("resource", "named"), [("token", "IAM"), ("search", "Global Search"), ("status", "the region")]
)
async def test_a_call_that_is_too_late_says_for_whom_it_waited(
    emulator: Emulator, resource: Any, named: str
) -> None:
    emulator.fault(Hold(), resource=resource, times=None)
    async with Client(looked_up(emulator)) as client:
        error = await failed(client, lambda client: client.status("synthetic_falcon_27", timeout=0.5))
    assert isinstance(error, Timeout)
    assert error.where.startswith(f"{named}'s host 127.0.0.1:")


async def test_a_renewal_that_hangs_after_a_refused_token_does_not_hide_the_refusal(
    emulator: Emulator,
) -> None:
    async with Client(emulator.account()) as client:
        await client.backends()
        emulator.expire_tokens()
        emulator.fault(Hold(), resource="token", times=None)
        with pytest.raises(Exception, match="401"):
            await client.status("synthetic_falcon_27", timeout=0.5)


async def test_a_provider_that_hangs_is_named() -> None:
    async def provider() -> tuple[str, float]:
        await anyio.sleep_forever()
        raise AssertionError

    crn = "crn:v1:bluemix:public:quantum-computing:us-east:a/account:guid::"
    async with Client(Account(token=provider, instances=[Instance(crn)])) as client:
        with pytest.raises(Timeout, match="the token provider has not returned") as raised:
            await client.backends(timeout=0.1)
    assert raised.value.host is None


async def test_an_open_circuit_and_a_list_that_is_late_name_the_host(emulator: Emulator) -> None:
    emulator.fault(Reset(), region="eu-de", times=None)
    here = f"the region's host {address(emulator.url('eu-de'))}"
    async with Client(emulator.account(), retry=ONCE, limits=Limits(failures=1)) as client:
        await client.backends()
        listed = await client.backends(refresh=True)
    (error,) = listed.errors
    assert isinstance(error, CircuitOpen)
    assert error.where == here
    emulator.clear_faults()
    emulator.fault(Hold(), resource="backends", region="eu-de", times=None)
    async with Client(emulator.account(), retry=ONCE) as client:
        with pytest.raises(InstanceUnavailable, match=re.escape(here)) as raised:
            await client.status("nowhere", timeout=1)
    assert [error.host for error in raised.value.errors if isinstance(error, TransportError)] == ["127.0.0.1"]


async def test_a_host_of_ibms_is_named_without_its_port() -> None:
    account = Account(api_key="0123456789abcdef", iam_url="https://iam.nowhere.invalid")
    async with Client(account, retry=ONCE) as client:
        with pytest.raises(ConnectError) as raised:
            await client.backends()
    assert raised.value.host == "iam.nowhere.invalid"
    assert str(raised.value).startswith("IAM's host iam.nowhere.invalid: no connection: ")


async def test_the_history_of_a_call_names_the_host(emulator: Emulator) -> None:
    emulator.fault(Reset(), resource="status", times=None)
    async with Client(emulator.account(), retry=RetryPolicy(attempts=2, base=0.0)) as client:
        error = await failed(client, lambda client: client.status("synthetic_falcon_27"))
    assert len(error.history) == 2
    assert all(error.where in attempt.problem for attempt in error.history)


async def test_a_pool_says_it_by_itself() -> None:
    class Call:
        sent = 0

        def deadline(self) -> float:
            return float("inf")

    async with SessionPool() as pool:
        with pytest.raises(ConnectError) as raised:
            await pool.exchange(
                "GET",
                "http://127.0.0.1:1/",
                {},
                region="eu-de",
                account=Account(token="a-marked-token"),
                call=Call(),
            )
    assert raised.value.where == "the region's host 127.0.0.1:1"


async def test_retries_are_logged(emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "qrbackends.retry")
    emulator.fault(Status(502), resource="status", times=1)
    async with Client(emulator.account(), retry=RetryPolicy(base=0.0)) as client:
        await client.status("synthetic_falcon_27")
        emulator.expire_tokens()
        await client.status("synthetic_falcon_27")
    lines = [record.getMessage() for record in caplog.records if record.name == "qrbackends.retry"]
    assert re.fullmatch(
        r"http://127\.0\.0\.1:\d+/api/v1/backends/synthetic_falcon_27/status: "
        r"attempt 2 comes in 0\.00 s, after ServerError: HTTP 502: .*",
        lines[0],
    )
    assert "the token was refused, and is renewed" in lines[1]
    assert len(lines) == 2
    assert emulator.api_keys[0] not in caplog.text


async def test_a_circuit_is_logged_when_it_opens_and_when_it_closes(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qrbackends.circuit")
    fault = emulator.fault(Reset(), region="eu-de", times=None)
    async with Client(emulator.account(), retry=ONCE, limits=Limits(failures=2, rest=1e-6)) as client:
        for _ in range(2):
            assert len((await client.backends(refresh=True)).errors) == 1
        emulator.remove_fault(fault.name)
        assert not (await client.backends(refresh=True)).errors
    lines = [record.getMessage() for record in caplog.records if record.name == "qrbackends.circuit"]
    here = f"the region's host {address(emulator.url('eu-de'))}"
    assert len(lines) == 2
    assert lines[0].startswith(f"{here} keeps failing, and gets no requests for 1e-06 s: ")
    assert lines[1] == f"{here} answers again; requests are sent to it as before"


async def test_a_slow_host_is_named_while_it_is_read(emulator: Emulator) -> None:
    emulator.fault(Delay(5), resource="status", times=None)
    async with Client(emulator.account(), retry=ONCE, limits=Limits(read=0.05, connect=0.05)) as client:
        error = await failed(client, lambda client: client.status("synthetic_falcon_27"))
    assert isinstance(error, Timeout)
