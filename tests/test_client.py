"""The object that people hold, against the emulator over real sockets."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from qrbackends import (
    Account,
    AccountError,
    BackendConfiguration,
    BackendDefaults,
    BackendProperties,
    BackendStatus,
    BadRequest,
    Client,
    ClientClosed,
    ConnectError,
    Forbidden,
    InstanceUnavailable,
    InvalidRequest,
    Limits,
    NotFound,
    QRBackendsError,
    RateLimited,
    Request,
    ServiceUnavailable,
    Timeout,
    Unauthorized,
    WrongEventLoop,
)
from qrbackends.emulator import Bomb, Emulator, Garbage, Hold, Redirect, Reset, Status, Truncate
from qrbackends.emulator.surface import handler

from .internals import parts
from .waiting import until

pytestmark = pytest.mark.anyio


@pytest.fixture
async def name(emulator: Emulator) -> str:
    """A backend of the second region."""
    return emulator.backends("eu-de")[0]


async def test_the_list_has_every_backend_of_every_region(emulator: Emulator, client: Client) -> None:
    fleet = await client.backends()
    assert Counter((b.name, b.region) for b in fleet) == Counter(
        (name, region) for region in emulator.regions for name in emulator.backends(region)
    )
    assert emulator.count("backends") == 2


async def test_the_list_of_one_instance(emulator: Emulator, client: Client) -> None:
    instance = emulator.account().instances[1]
    assert {b.instance for b in await client.backends(instance=instance)} == {instance.crn}
    assert {b.instance for b in await client.backends(instance=instance.crn)} == {instance.crn}
    assert emulator.count(region="us-east") == 0


async def test_wait_times_are_sent_when_asked_for(client: Client) -> None:
    assert all(b.wait_time_seconds is None for b in await client.backends())
    with_times = await client.backends(fields=["wait_time_seconds"])
    assert all(b.wait_time_seconds is not None for b in with_times)


async def test_fields_are_a_list_of_names(emulator: Emulator, client: Client) -> None:
    with pytest.raises(InvalidRequest, match="list of names"):
        await client.backends(fields="wait_time_seconds")
    assert emulator.count() == 0


async def test_every_document_of_a_backend(client: Client, name: str) -> None:
    configuration = await client.configuration(name)
    properties = await client.properties(name)
    status = await client.status(name)
    assert isinstance(configuration, BackendConfiguration)
    assert isinstance(properties, BackendProperties)
    assert isinstance(status, BackendStatus)
    assert configuration.backend_name == properties.backend_name == name
    assert len(properties.qubits) == configuration.n_qubits
    assert status.queue_length >= 0


async def test_defaults_are_mostly_withdrawn(emulator: Emulator, client: Client) -> None:
    asked = [client.defaults(backend) for backend in emulator.backends()]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BackendDefaults, NotFound}
    (full,) = (one for one in outcomes if isinstance(one, BackendDefaults) and one)
    assert len(full["qubit_freq_est"]) == len(full["meas_freq_est"]) == 27
    assert [one for one in outcomes if isinstance(one, BackendDefaults) and not one]


async def test_a_list_is_emulated_if_its_answer_says_so(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = await client.backends()
    assert fleet.emulated
    assert all(one.emulated for one in fleet)
    monkeypatch.setattr(handler, "EMULATED", {})
    entry = b'{"name":"a","status":{"name":"online"},"queue_length":0,"qrbackends_emulated":true}'
    emulator.fault(Garbage(b'{"devices":[' + entry + b"]}"), resource="backends", times=2)
    fleet = await client.backends(refresh=True)
    assert [one.emulated for one in fleet] == [False, False], "no field of the service tells"
    assert not fleet.emulated


async def test_a_backend_costs_one_request_beside_the_lists(emulator: Emulator, client: Client) -> None:
    await asyncio.gather(*(client.status(backend) for backend in emulator.backends()))
    assert emulator.count("backends") == 2
    assert emulator.count("status") == len(emulator.backends())
    assert emulator.count("token") == 1


async def test_a_variant_answers_differently(client: Client, name: str) -> None:
    plain = await client.properties(name)
    variant = await client.properties(name, calibration_id="extra_gates")
    again = await client.properties(name)
    assert variant != plain == again
    assert await client.configuration(name, calibration_id="extra_gates") != await client.configuration(name)
    with pytest.raises(NotFound):
        await client.properties(name, calibration_id="unheard_of")


async def test_the_past_answers_with_the_past(client: Client, name: str) -> None:
    instant = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    then = await client.properties(name, updated_before=instant)
    assert instant - timedelta(hours=2) < then.last_update_date < instant
    same = await client.properties(name, updated_before=instant.astimezone())
    assert same == then


async def test_fetch_says_where_the_answer_came_from(client: Client, name: str) -> None:
    fetched = await client.fetch(Request("status", name))
    assert isinstance(fetched.value, BackendStatus)
    assert fetched.source == "origin"
    assert fetched.age >= 0
    assert len((await client.fetch(Request("backends"))).value) > 1


@pytest.mark.parametrize("backend", ["", ".", "..", "x" * 501, "a\r\nb", "\0"])
async def test_bad_names_are_refused_before_any_io(emulator: Emulator, client: Client, backend: str) -> None:
    for method in (client.configuration, client.properties, client.status, client.defaults):
        with pytest.raises(InvalidRequest):
            await method(backend)
    assert emulator.count() == 0


@pytest.mark.parametrize("backend", ["a/b", "a?b=c", "a#b", "%2e%2e", "../x", "é", "⚛"])
async def test_strange_names_are_one_segment_of_the_path(
    emulator: Emulator, client: Client, backend: str
) -> None:
    with pytest.raises(NotFound):
        await client.status(backend, instance=emulator.account().instances[0])
    (asked,) = [request for request in emulator.requests if request.resource == "status"]
    assert asked.backend == backend


@pytest.mark.parametrize("given", ["0123456789abcdef-a-key", None, Account, 5])
async def test_what_is_no_account_says_how_to_make_one(given: Any) -> None:
    with pytest.raises(
        AccountError, match=r"Client\(Account\(api_key=…\)\), or Client\.from_account"
    ) as raised:
        Client(given)
    assert "0123456789abcdef" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "kind"), [("cache", "CachePolicy"), ("retry", "RetryPolicy"), ("limits", "Limits")]
)
async def test_an_option_of_a_wrong_type_is_told(emulator: Emulator, name: str, kind: str) -> None:
    options: dict[str, Any] = {name: 5}
    with pytest.raises(InvalidRequest, match=f"{name} has to be a {kind}, such as .*, not int"):
        Client(emulator.account(), **options)


async def test_an_unknown_backend_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound, match="no instance of the account lists this backend"):
        await client.status("ibm_nowhere")


async def test_a_dead_region_does_not_hide_the_other(emulator: Emulator, client: Client, name: str) -> None:
    await emulator.stop_region("eu-de")
    fleet = await client.backends()
    assert {b.region for b in fleet} == {"us-east"}
    (error,) = fleet.errors
    assert isinstance(error, ConnectError)
    assert error.region == "eu-de"
    with pytest.raises(InstanceUnavailable, match="eu-de"):
        await client.status(name)
    await emulator.start_region("eu-de")
    assert (await client.status(name)).queue_length >= 0


async def test_no_instance_at_all_is_an_error(emulator: Emulator, client: Client) -> None:
    for region in emulator.regions:
        await emulator.stop_region(region)
    with pytest.raises(ConnectError):
        await client.backends()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Status(400), "BadRequest"),
        (Status(401), "Unauthorized"),
        (Status(403), "Forbidden"),
        (Status(404), "NotFound"),
        (Status(409), "Conflict"),
        (Status(423), "Locked"),
        (Status(429, headers={"Retry-After": "0"}), "RateLimited"),
        (Status(500), "ServerError"),
        (Status(503, body="<html>"), "ServiceUnavailable"),
        (Status(524, body="<html>"), "ServerError"),
        (Redirect("https://elsewhere.invalid/"), "RedirectRefused"),
        (Reset(), "ConnectionLost"),
        (Truncate(), "BodyDamaged"),
        (Truncate(gzip=True), "BodyDamaged"),
        (Garbage(), "DecodeError"),
        (Bomb(), "BodyTooLarge"),
    ],
)
async def test_every_failure_has_its_type_and_says_what_was_asked(
    emulator: Emulator, client: Client, name: str, fault: Any, expected: str
) -> None:
    await client.backends()
    emulator.fault(fault, resource="properties", times=None)
    with pytest.raises(QRBackendsError) as caught:
        await client.properties(name)
    error = caught.value
    assert type(error).__name__ == expected
    assert (error.backend, error.region) == (name, "eu-de")
    assert error.instance == emulator.account().instances[1].crn
    assert error.attempts == (2 if expected == "Unauthorized" else 1)
    emulator.clear_faults()
    assert (await client.properties(name, refresh=True)).backend_name == name


async def test_what_the_service_says_is_in_the_error(emulator: Emulator, client: Client, name: str) -> None:
    said = {"code": 1233, "message": "locked", "solution": "wait", "more_info": "https://docs.invalid"}
    body = {"errors": [said], "title": "Locked", "trace": "t-1", "correlation_id": "c-1"}
    emulator.fault(Status(423, body=body), resource="status")
    with pytest.raises(QRBackendsError) as caught:
        await client.status(name)
    assert (
        vars(caught.value).items()
        >= {
            "status": 423,
            "code": "1233",
            "solution": "wait",
            "more_info": "https://docs.invalid",
            "title": "Locked",
            "trace": "t-1",
            "correlation_id": "c-1",
        }.items()
    )
    assert "locked" in str(caught.value)


async def test_a_limit_says_how_long_to_wait(emulator: Emulator, client: Client, name: str) -> None:
    emulator.fault(Status(429, headers={"Retry-After": "7"}), resource="status")
    with pytest.raises(RateLimited) as caught:
        await client.status(name)
    assert caught.value.retry_after == 7.0
    emulator.fault(Status(503), resource="status")
    with pytest.raises(ServiceUnavailable) as unavailable:
        await client.status(emulator.backends("us-east")[0])  # which the 429 of another region is not about
    assert unavailable.value.retry_after is None


@pytest.mark.long
async def test_a_thousand_refused_requests_cost_one_new_token(emulator: Emulator, client: Client) -> None:
    name, wanted = emulator.backends("us-east")[0], [f"v{number}" for number in range(1000)]
    instance = emulator.account().instances[0]
    await client.backends()
    emulator.expire_tokens()
    emulator.reset_log()
    asked = (client.properties(name, calibration_id=one, instance=instance) for one in wanted)
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(outcome).__name__ for outcome in outcomes} == {"NotFound"}, "no such calibration"
    assert emulator.count("token") == 1
    refused = [request for request in emulator.requests if request.status == 401]
    assert 0 < len(refused) <= 1000, "each at most once"
    assert emulator.count("properties") == 1000 + len(refused)


async def test_an_instance_that_refuses_every_token_costs_one_exchange(
    emulator: Emulator, client: Client
) -> None:
    await client.backends()
    emulator.fault(Status(401), region="eu-de", times=None)
    for name in emulator.backends("eu-de") * 3:
        with pytest.raises(Unauthorized):
            await client.status(name)
    for name in emulator.backends("us-east"):
        await client.status(name)
    assert emulator.count("token") == 2


async def test_a_token_that_stays_refused_is_an_error(emulator: Emulator, client: Client, name: str) -> None:
    await client.backends()
    emulator.fault(Status(401), resource="status", times=None)
    with pytest.raises(Unauthorized) as caught:
        await client.status(name)
    assert caught.value.attempts == 2


async def test_a_fixed_token_is_used_and_not_renewed(emulator: Emulator, client: Client, name: str) -> None:
    bearer = (await parts(client).tokens.authorization()).reveal().removeprefix("Bearer ")
    emulator.reset_log()
    async with Client(replace(emulator.account(), api_key=None, token=bearer)) as with_token:
        await with_token.status(name)
        assert emulator.count("token") == 0
        emulator.expire_tokens()
        with pytest.raises(Unauthorized) as caught:
            await with_token.status(name)
        assert caught.value.attempts == 1


async def test_the_key_goes_to_iam_only(emulator: Emulator, client: Client, name: str) -> None:
    await client.backends()
    await client.properties(name)
    schemes = {request.auth for request in emulator.requests if request.region != "cloud"}
    assert schemes == {"Bearer"}


async def test_an_answer_that_echoes_the_token_does_not_show_it(
    emulator: Emulator, client: Client, name: str
) -> None:
    await client.backends()
    token = (await parts(client).tokens.authorization()).reveal().removeprefix("Bearer ")
    said = {"errors": [{"code": 1, "message": f"bad token {token}", "solution": token}], "trace": token}
    emulator.fault(Status(400, body=said), resource="status")
    with pytest.raises(BadRequest, match=r"bad token \*\*\*") as caught:
        await client.status(name)
    assert token not in repr(vars(caught.value)) + repr(caught.value) + str(caught.value)


async def test_a_right_that_is_missing_is_forbidden(emulator: Emulator) -> None:
    account = emulator.account()
    own = account.instances[0]
    guid = own.crn.split(":")[7]
    instances = [replace(own, crn=own.crn.replace(guid, guid[::-1]))]
    async with Client(replace(account, instances=instances)) as client:
        with pytest.raises(Forbidden):
            await client.backends()


async def test_the_api_version_is_sent(emulator: Emulator) -> None:
    async with Client(emulator.account(), api_version="2025-02-03") as client:
        assert len(await client.backends()) > 0
    for wrong in ("yesterday", "2026--0415", "２０２６-04-15", None):
        with pytest.raises(InvalidRequest, match="api_version has to be a date"):
            Client(emulator.account(), api_version=wrong)  # type: ignore[arg-type]


async def test_the_deadline_covers_the_lists_and_the_token(emulator: Emulator, name: str) -> None:
    for resource in ("token", "backends"):
        held = [emulator.fault(Hold(), resource=one, times=None) for one in (resource, "status")]
        async with Client(emulator.account(), limits=Limits(total=0.05)) as client:
            with pytest.raises((Timeout, InstanceUnavailable)) as caught:
                await client.status(name)
            assert caught.value.backend == name
        for one in held:
            one.cancel()


async def test_the_deadline_covers_the_answer(emulator: Emulator, name: str) -> None:
    emulator.fault(Hold(), resource="status")
    async with Client(emulator.account(), limits=Limits(total=0.05)) as client:
        with pytest.raises(Timeout) as caught:
            await client.status(name, instance=emulator.account().instances[1])
        assert (caught.value.backend, caught.value.region) == (name, "eu-de")


async def test_a_caller_may_have_a_deadline_of_their_own(
    emulator: Emulator, client: Client, name: str
) -> None:
    held = emulator.fault(Hold(), resource="status")
    with anyio.move_on_after(0.05) as scope:
        await client.status(name)
    assert scope.cancelled_caught
    held.release()
    assert (await client.status(name)).queue_length >= 0


async def test_closed_in_another_task_with_requests_in_flight(emulator: Emulator, name: str) -> None:
    held = emulator.fault(Hold(), resource="properties", times=None)
    client = await asyncio.create_task(opened(emulator.account()))
    calls = [asyncio.create_task(client.properties(name, calibration_id=f"v{n}")) for n in range(50)]
    await held.reached(32)
    await asyncio.create_task(client.aclose())
    for call in calls:
        with pytest.raises(ClientClosed):
            await call
    await until(lambda: not [task for task in asyncio.all_tasks() if task in calls])
    with pytest.raises(ClientClosed):
        await client.backends()
    await client.aclose()


async def opened(account: Account) -> Client:
    return await Client(account).__aenter__()


async def test_closed_while_the_lists_and_the_token_are_awaited(emulator: Emulator, name: str) -> None:
    for resource in ("token", "backends"):
        held = emulator.fault(Hold(), resource=resource, times=None)
        client = await opened(emulator.account())
        calls = [asyncio.create_task(client.status(name)) for _ in range(5)]
        await held.reached()
        await client.aclose()
        for call in calls:
            with pytest.raises(ClientClosed):
                await call
        held.cancel()


async def test_closing_in_another_event_loop_is_refused_and_harms_nothing(
    emulator: Emulator, client: Client, name: str
) -> None:
    held = emulator.fault(Hold(), resource="backends", times=None)
    asking = asyncio.create_task(client.status(name))
    await held.reached()

    def elsewhere() -> None:
        with pytest.raises(WrongEventLoop):
            asyncio.run(client.aclose())

    await asyncio.to_thread(elsewhere)
    held.cancel()
    assert (await asking).queue_length >= 0


async def test_a_closed_client_is_not_entered_again(emulator: Emulator) -> None:
    client = await opened(emulator.account())
    await client.aclose()
    with pytest.raises(ClientClosed):
        await client.__aenter__()


async def test_closing_goes_on_when_it_is_cancelled(emulator: Emulator) -> None:
    client = await opened(emulator.account())
    await client.backends()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await client.aclose()
    with pytest.raises(ClientClosed):
        await client.backends()


async def test_a_client_from_a_saved_account(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = emulator.account()
    assert account.api_key is not None
    saved = tmp_path / "accounts.json"
    key = account.api_key.reveal()  # type: ignore[union-attr]
    saved.write_text(json.dumps({"mine": {"token": key, "instance": account.instances[0].crn}}))
    monkeypatch.setenv("IAM_URL", emulator.iam_url)
    async with Client.from_account("mine", saved, limits=Limits(total=1)) as client:
        authorization = await parts(client).tokens.authorization()
    assert authorization.reveal().startswith("Bearer ")


async def test_what_is_saved_is_narrowed_in_code(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = tmp_path / "accounts.json"
    saved.write_text(json.dumps({"mine": {"token": emulator.api_keys[0], "region": "us-east"}}))
    monkeypatch.setenv("IAM_URL", emulator.iam_url)
    monkeypatch.setenv("GLOBAL_SEARCH_URL", emulator.account().search_url)
    monkeypatch.setenv("GLOBAL_CATALOG_URL", emulator.account().catalog_url)
    options: dict[str, Any] = {"plans": ["Open"], "tags": ["emulated"], "limits": Limits(total=10)}
    async with Client.from_account(path=saved, instance="*-1", region="eu-de", **options) as client:
        assert [(one.instance.region, one.plan) for one in await client.instances()] == [("eu-de", "open")]


async def test_unverified_tls_is_warned_of(emulator: Emulator) -> None:
    with pytest.warns(UserWarning, match="TLS certificates are not verified"):
        client = Client(replace(emulator.account(), verify=False))
    await client.aclose()


@pytest.fixture
def snapshots(real_emulator: Emulator) -> Emulator:
    return real_emulator


async def test_a_real_fleet_of_68(snapshots: Emulator) -> None:
    """The main job: 68 real calibrations in two regions, concurrently, over real sockets."""
    async with Client(snapshots.account()) as client:
        fleet = await client.backends()
        properties = await asyncio.gather(*(client.properties(b.name) for b in fleet))
        configurations = await asyncio.gather(*(client.configuration(b.name) for b in fleet))
    assert len(fleet) == len({b.name for b in fleet}) == 68
    assert Counter(b.region for b in fleet) == {"us-east": 34, "eu-de": 34}
    assert [p.backend_name for p in properties] == [b.name for b in fleet]
    assert [c.n_qubits for c in configurations] == [b.qubits for b in fleet]
    assert all(p.median_t1() is not None for p in properties)
    assert snapshots.count() == 1 + 2 + 68 + 68


async def test_a_timeout_may_be_as_long_as_one_likes(emulator: Emulator, client: Client) -> None:
    for timeout in (float("inf"), 1e308, 10**400):
        assert (await client.status(emulator.backends()[0], timeout=timeout)).operational
