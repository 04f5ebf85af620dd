"""A gateway with an account of its own: bytes, headers, conditions, endurance and coalescing."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from qrbackends import Client, Memory
from qrbackends.cache.policy import CachePolicy
from qrbackends.emulator import Delay, Emulator, Hold, RateLimit, Status
from qrbackends.gateway.options import GatewayOptions

from ..waiting import until
from .serving import Running, running

pytestmark = pytest.mark.anyio


async def test_all_documents_of_all_devices_are_the_services_own_bytes(real_emulator: Emulator) -> None:
    async with running(real_emulator, options=GatewayOptions(status_age=0)) as at:
        compared = 0
        for region in real_emulator.regions:
            crn = next(one.crn for one in real_emulator.instances if one.region == region)
            through, direct = at.asker.instead(crn=crn), at.origin.instead(crn=crn)
            direct.url = real_emulator.url(region).removesuffix("/api/v1")
            names = real_emulator.backends(region)
            kinds = ("configuration", "properties")
            paths = [f"/api/v1/backends/{name}/{kind}" for name in names for kind in kinds]
            for path in ["/api/v1/versions", *paths]:
                mine, other = await through.ask(path), await direct.ask(path)
                assert (mine.status, mine.plain) == (other.status, other.plain) == (200, other.plain)
                assert mine.body == other.body  # compressed, too: nothing was done to it
                again = await through.ask(path)
                plain = await through.ask(path, headers={"Accept-Encoding": None})
                assert (again.body, plain.body) == (other.body, other.plain)
                compared += 1
        assert compared == 2 + 2 * 68


async def test_the_list_errors_and_variants_are_passed_on(emulator: Emulator) -> None:
    async with running(emulator) as at:
        for path in (
            "/api/v1/backends?fields=wait_time_seconds&include_mocks=True",
            "/api/v1/backends/synthetic_eagle_127/properties?calibration_id=no_such",
            "/api/v1/backends/synthetic_eagle_127/defaults",
            "/api/v1/backends/nobody/configuration",
            "/api/v1/backends?fields=unknown_field",
        ):
            mine, other = await at.asker.ask(path), await at.origin.ask(path)
            assert mine.status == other.status, path
            told, said = msgspec.json.decode(mine.plain), msgspec.json.decode(other.plain)
            for changing in ("correlation_id", "trace"):  # of each answer of the service
                told.pop(changing, None), said.pop(changing, None)
            if path.startswith("/api/v1/backends?fields=w"):
                told, said = sorted(told["devices"][0]), sorted(said["devices"][0])
            assert told == said


async def test_old_calibrations_have_keys_of_their_own(emulator: Emulator) -> None:
    now = datetime.now(UTC)
    async with running(emulator) as at:
        name = "synthetic_eagle_127"
        bodies = set()
        for days in (1, 2, 3):
            when = (now - timedelta(days=days)).isoformat()
            for written in (when, when.replace("+00:00", "Z")):  # one instant, written in two ways
                query = f"?updated_before={written.replace('+', '%2B')}"
                bodies.add((await at.asker.ask(f"/api/v1/backends/{name}/properties{query}")).plain)
        bodies.add((await at.asker.document(name)).plain)
        assert len(bodies) == 4
        assert emulator.count("properties") == 4


async def test_versions_of_the_api_have_answers_of_their_own(emulator: Emulator) -> None:
    async with running(emulator) as at:
        named = await at.asker.backends(headers={"IBM-API-Version": None})
        objects = await at.asker.backends()
        assert isinstance(msgspec.json.decode(named.plain)["devices"][0], str)
        assert isinstance(msgspec.json.decode(objects.plain)["devices"][0], dict)
        refused = await at.asker.backends(headers={"IBM-API-Version": "yesterday"})
        assert refused.status == 400


async def test_what_the_caller_has_is_not_sent_again(emulator: Emulator) -> None:
    async with running(emulator) as at:
        first = await at.asker.document("synthetic_eagle_127")
        tag = first.headers["ETag"]
        for condition in (tag, f'"other", {tag}', "*", tag.removeprefix("W/")):
            same = await at.asker.document("synthetic_eagle_127", headers={"If-None-Match": condition})
            assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
        for condition in ('"other"', "nonsense"):
            whole = await at.asker.document("synthetic_eagle_127", headers={"If-None-Match": condition})
            assert (whole.status, whole.plain) == (200, first.plain)
        asked = {"headers": {"If-None-Match": tag}}
        other = await at.asker.document("synthetic_eagle_127", "configuration", **asked)
        assert other.status == 200


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def let_time_pass(at: Running, clock: Clock) -> None:
    """Give the gateway's memory this clock."""
    for upstream in at.gateway.source.upstreams():
        upstream.memory = Memory(clock=clock)


async def test_age_freshness_and_renewal_are_told(emulator: Emulator) -> None:
    clock = Clock()
    async with running(emulator) as at:
        let_time_pass(at, clock)
        first = await at.asker.document("synthetic_eagle_127")
        assert (first.headers["Age"], first.cache) == ("0", "qrbackends; fwd=miss; ttl=300")
        clock.now += 42
        hit = await at.asker.document("synthetic_eagle_127")
        assert (hit.headers["Age"], hit.cache) == ("42", "qrbackends; hit; ttl=258")
        assert hit.headers["Cache-Control"] == "private, max-age=300"
        clock.now += 270  # within the time in which a stale answer is served and renewed
        stale = await at.asker.document("synthetic_eagle_127")
        assert (stale.headers["Age"], stale.cache) == ("312", "qrbackends; hit; ttl=-12")
        await until(lambda: emulator.count("properties") == 2)
        await until(lambda: at.gateway.source.stats()[-1].properties.refreshes == 1)
        assert emulator.count("properties") == 2


async def test_answers_outlive_the_service(emulator: Emulator) -> None:
    clock = Clock()
    async with running(emulator) as at:
        let_time_pass(at, clock)
        before = [await at.asker.backends(), await at.asker.document("synthetic_eagle_127")]
        await emulator.stop_region("us-east")
        clock.now += 4000
        assert (await at.asker.document("synthetic_eagle_127")).cache == "qrbackends; hit; ttl=-3700"
        after = [await at.asker.backends(), await at.asker.document("synthetic_eagle_127")]
        assert [one.plain for one in after] == [one.plain for one in before]
        assert [one.headers["Age"] for one in after] == ["4000", "4000"]
        unknown = await at.asker.document("synthetic_heron_133", "configuration")
        assert unknown.status == 502
        assert msgspec.json.decode(unknown.body)["status_code"] == 502
        await emulator.start_region("us-east")
        clock.now += 400
        assert (await at.asker.document("synthetic_eagle_127")).headers["Age"] == "0"


def coalesced(at: Running) -> int:
    """Return how many callers shared a request for calibrations."""
    return sum(stats.properties.coalesced for stats in at.gateway.source.stats())


async def test_many_cold_callers_cost_one_request(emulator: Emulator) -> None:
    async with running(emulator) as at:
        held = emulator.fault(Hold(), resource="properties")
        asked = [asyncio.create_task(at.asker.document("synthetic_eagle_127")) for _ in range(50)]
        await until(lambda: coalesced(at) == 49)
        held.release()
        answers = [await one for one in asked]
        assert {one.plain for one in answers} == {answers[0].plain}
        assert sorted({one.cache for one in answers}) == [
            "qrbackends; fwd=miss; collapsed; ttl=299",
            "qrbackends; fwd=miss; ttl=299",
        ]
        assert emulator.count("properties") == 1


async def test_refusals_of_the_service_are_passed_on(emulator: Emulator) -> None:
    async with running(emulator) as at:
        emulator.fault(Status(423), resource="properties")
        locked = await at.asker.document("synthetic_eagle_127")
        assert (locked.status, locked.cache) == (423, "qrbackends; fwd=miss; fwd-status=423")
        assert msgspec.json.decode(locked.body)["status_code"] == 423
        emulator.fault(RateLimit(rate=0, burst=0, retry_after=7), resource="configuration")
        limited = await at.asker.document("synthetic_eagle_127", "configuration")
        assert (limited.status, limited.headers["Retry-After"]) == (429, "7")
        assert msgspec.json.decode(limited.body)["status_code"] == 429


async def test_pages_in_front_of_the_service_are_passed_on(emulator: Emulator) -> None:
    async with running(emulator) as at:
        page = "<html><title>Down</title></html>"
        emulator.fault(Status(503, {"Retry-After": "3"}, page), resource="defaults")
        down = await at.asker.document("synthetic_eagle_127", "defaults")
        assert (down.status, down.body) == (503, page.encode())
        assert down.headers["Retry-After"] == "3"
        assert down.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_a_refusal_of_the_gateways_own_key_is_not_the_callers(emulator: Emulator) -> None:
    async with running(emulator) as at:
        emulator.fault(Status(401), resource="configuration", times=2)
        refused = await at.asker.document("synthetic_eagle_127", "configuration")
        assert (refused.status, b"gateway's own account" in refused.body) == (502, True)


async def test_our_own_client_through_it(emulator: Emulator) -> None:
    async with running(emulator) as at, Client(at.account()) as client, Client(emulator.account()) as direct:
        assert {one.name for one in await client.backends()} == {one.name for one in await direct.backends()}
        for name in emulator.backends():
            assert await client.properties(name) == await direct.properties(name)
            assert await client.configuration(name) == await direct.configuration(name)
        assert (await client.status("synthetic_eagle_127")).state is True
        assert [one.instance.crn for one in await client.instances()] == [
            one.crn for one in emulator.instances
        ]
        assert await client.versions() == await direct.versions()
        assert (
            await client.fetch(__import__("qrbackends").Request.properties("synthetic_eagle_127"))
        ).value.emulated


async def test_statuses_come_from_a_young_list(emulator: Emulator) -> None:
    clock = Clock()
    emulator.set_backend("synthetic_eagle_127", status="paused", queue_length=7)
    async with running(emulator) as at:
        let_time_pass(at, clock)
        first = await at.asker.document("synthetic_eagle_127", "status")
        assert first.cache == "qrbackends; hit; detail=list; ttl=5"
        told, said = (
            msgspec.json.decode(one.plain)
            for one in (first, await at.origin.document("synthetic_eagle_127", "status"))
        )
        assert "backend_version" not in told
        assert told == {key: value for key, value in said.items() if key != "backend_version"}
        await at.asker.document("synthetic_eagle_127", "configuration")
        emulator.set_backend("synthetic_eagle_127", queue_length=9)
        clock.now += 3
        again = await at.asker.document("synthetic_eagle_127", "status")
        assert msgspec.json.decode(again.plain) == said  # with the version that the configuration names
        assert again.cache == "qrbackends; hit; detail=list; ttl=2"
        clock.now += 3
        newer = await at.asker.document("synthetic_eagle_127", "status")
        assert msgspec.json.decode(newer.plain)["length_queue"] == 9
        assert (emulator.count("backends"), emulator.count("status")) == (2, 1)
        assert (await at.asker.document("nobody", "status")).status == 404


async def test_without_an_age_each_status_is_asked_for(emulator: Emulator) -> None:
    emulator.set_backend("synthetic_eagle_127", queue_length=7)
    async with running(emulator, options=GatewayOptions(status_age=0)) as at:
        one = await at.asker.document("synthetic_eagle_127", "status")
        assert one.plain == (await at.origin.document("synthetic_eagle_127", "status")).plain
        assert one.cache == "qrbackends; fwd=miss; ttl=0"
        assert emulator.count("backends") == 0


async def test_named_backends_are_kept_fresh(emulator: Emulator) -> None:
    emulator.fault(Delay(0), times=None)
    async with running(
        emulator, options=GatewayOptions(warm=("synthetic_e*",)), policy=CachePolicy(jitter=0)
    ) as at:
        assert (await at.asker.ask("/readyz")).status == 503
        await until(lambda: emulator.count("configuration") == 1 and emulator.count("properties") == 1)
        asked = emulator.count("properties"), emulator.count("configuration")
        assert asked == (1, 1)
        assert (await at.asker.document("synthetic_eagle_127")).cache.startswith("qrbackends; hit")
        assert (emulator.count("properties"), emulator.count("configuration")) == asked


@pytest.mark.parametrize("passed", [3, 20, 45, 200, 4000])
async def test_statuses_outlive_the_service(emulator: Emulator, passed: float) -> None:
    clock = Clock()
    emulator.set_backend("synthetic_eagle_127", queue_length=7)
    async with running(emulator) as at:
        let_time_pass(at, clock)
        unnamed = {"headers": {"IBM-API-Version": None}}
        before = await at.asker.document("synthetic_eagle_127", "status", **unnamed)
        await emulator.stop_region("us-east")
        clock.now += passed
        for _ in range(3):
            during = await at.asker.document("synthetic_eagle_127", "status", **unnamed)
            assert (during.status, during.plain) == (200, before.plain)
            assert during.headers["Age"] == str(passed)


async def test_a_failure_is_logged_once_when_it_begins_and_once_when_it_ends(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with running(emulator) as at:
        let_time_pass(at, clock)
        await at.asker.backends()
        await at.asker.document("synthetic_eagle_127")
        await emulator.stop_region("us-east")
        clock.now += 4000
        for _ in range(5):  # nobody gets an error: the answers are old ones
            assert (await at.asker.document("synthetic_eagle_127")).status == 200
            assert (await at.asker.backends()).status == 200
            clock.now += 2
        await emulator.start_region("us-east")
        clock.now += 4000
        assert (await at.asker.backends()).headers["Age"] == "0"
    said = [record.getMessage() for record in caplog.records if record.name == "qrbackends.monitor"]
    assert [one.partition(":")[0].partition(", after")[0] for one in said] == [
        "us-east cannot be read",
        "us-east can be read again",
    ]
