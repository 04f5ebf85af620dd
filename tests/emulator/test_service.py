"""The five endpoints: what they want, what they refuse, and how."""

from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from qrbackends.emulator import Drip, Emulator, Garbage, NotModified, Status, SyntheticFleet, Truncate

from .asking import NOW, Asker, Got

pytestmark = pytest.mark.anyio

HERE = "synthetic_eagle_127"  # the first name, so it is in the first region
THERE = "synthetic_falcon_27"
ENDPOINTS = (
    "/backends",
    *(f"/backends/{HERE}/{r}" for r in ("properties", "configuration", "status", "defaults")),
)
ACCOUNT = "0" * 32
GUID = "00000000-0000-0000-0000-000000000000"


def assert_refused(got: Any, status: int) -> None:
    """The service's error body, complete."""
    assert got.status == status
    assert got.headers["Content-Type"].startswith("application/json")
    body = got.json()
    assert set(body) == {"correlation_id", "errors", "status_code", "title", "trace"}
    assert body["status_code"] == status
    (error,) = body["errors"]
    assert set(error) == {"code", "message", "solution", "more_info"}
    assert error["message"]


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_all_five_answer(served: Asker, path: str) -> None:
    got = await served.get(path)
    assert got.status == 200
    assert got.headers["Content-Type"] == "application/json"
    assert isinstance(got.json(), dict)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "value",
    [None, "", "Bearer", "Bearer ", "Bearer no.such.token", "Basic YTpi", "apikey wrong", "apikey", "x"],
)
async def test_without_valid_credentials_401(served: Asker, path: str, value: str | None) -> None:
    got = await served.get(path, Authorization=value)
    assert_refused(got, 401)
    assert got.headers["WWW-Authenticate"] == "Bearer"


async def test_the_emulators_own_key_does_as_well(served: Asker) -> None:
    assert (
        await served.get("/backends", Authorization=f"apikey {served.emulator.api_keys[0]}")
    ).status == 200
    assert (
        await served.get("/backends", Authorization=f"Bearer {served.emulator.api_keys[0]}")
    ).status == 401


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "version",
    ["", "today", "2026-4-15", "2026-04-31", "20260415", "2026-04-15T00:00:00Z", "２026-04-15"],
)
async def test_a_version_that_is_no_date_400(served: Asker, path: str, version: str) -> None:
    assert_refused(await served.get(path, IBM_API_Version=version), 400)


async def test_documents_are_the_same_without_a_version(served: Asker) -> None:
    for path in ENDPOINTS[1:]:
        if not path.endswith("status"):  # whose queue moves
            assert await bodies(served, path, None, "2026-04-15") == 1
    assert (await served.get(f"/backends/{HERE}/status", IBM_API_Version=None)).json()["status"] == "active"


async def bodies(served: Asker, path: str, *versions: str | None) -> int:
    """Return how many different answers these versions of the API have."""
    answers = [await served.get(path, IBM_API_Version=version) for version in versions]
    assert {answer.status for answer in answers} == {200}
    return len({answer.body for answer in answers})


@pytest.mark.parametrize("version", [None, "2024-01-01", "2024-12-31"])
async def test_the_list_has_bare_names_without_a_version_and_before_2025(
    served: Asker, version: str | None
) -> None:
    names = list(served.emulator.backends("us-east"))
    listed = (await served.get("/backends", IBM_API_Version=version)).json()
    assert listed == {"devices": names}
    mocks = [f"mock_{name.partition('_')[2]}" for name in names]
    listed = (await served.get("/backends?include_mocks=True", IBM_API_Version=version)).json()
    assert listed["devices"][: len(names)] == names
    assert set(listed["devices"][len(names) :]) == set(mocks)
    listed = (await served.get("/backends", IBM_API_Version="2025-01-01")).json()
    assert [device["name"] for device in listed["devices"]] == names


async def test_a_device_that_is_called_as_anothers_mock_stays_itself() -> None:
    fleet = SyntheticFleet({"ibm_a": 5, "mock_a": 7})
    async with Emulator(fleet, regions=("us-east",)) as emulator, Asker(emulator) as ask:
        listed = (await ask.get("/backends?include_mocks=true")).json()["devices"]
        assert [one["name"] for one in listed] == ["ibm_a", "mock_a"]
        assert (await ask.get("/backends/mock_a/configuration")).json()["n_qubits"] == 7


async def test_every_answer_says_that_it_is_emulated(ask: Asker) -> None:
    cloud = ask.emulator.iam_url
    answers = [
        *[await ask.get(path) for path in ENDPOINTS],
        await ask.get("/versions"),
        await ask.get("/instances/usage"),
        await ask.get("/nothing"),
        await ask.get("/backends", Authorization=None),
        await ask.get("/backends", Host="example.com"),
        await ask.log_in(),
        await ask.log_in("nobody's key"),
        await ask.send("POST", f"{cloud}/v3/resources/search", json={}),
    ]
    for action in (Status(503), Garbage(b"x"), NotModified(), Drip(0, 1000, head=True), Truncate(gzip=True)):
        ask.emulator.fault(action)
        answers.append(await ask.get("/backends"))
    assert {answer.headers.get("X-Emulated") for answer in answers} == {"qrbackends"}


async def test_the_usage_of_an_instance_is_that_of_its_plan() -> None:
    async with (
        Emulator(SyntheticFleet({"x": 5}), instances=2, clock=lambda: NOW) as emulator,
        Asker(emulator) as ask,
    ):
        for instance in emulator.instances:
            usage = (await ask.get("/instances/usage", instance.region, Service_CRN=instance.crn)).json()
            assert (usage["instance_id"], usage["plan_id"]) == (instance.crn, instance.plan.id)
            assert usage["usage_period"] == {
                "start_time": "2026-04-30T20:26:40Z", "end_time": "2026-05-28T20:26:40Z",
            }  # fmt: skip
            assert 0 <= usage["usage_consumed_seconds"] < 600
            limits = (usage.get("usage_limit_seconds"), usage.get("usage_limit_reached"))
            assert limits == ((600, False) if instance.plan.pricing == "free" else (None, None))
        assert emulator.count("usage") == 4
        assert_refused(await ask.get("/instances/usage", Authorization=None), 401)
        assert_refused(await ask.get("/instances/usage", Service_CRN=None), 400)
        assert_refused(await ask.request("POST", "/instances/usage"), 405)


async def test_there_are_no_jobs_and_none_can_be_run(served: Asker) -> None:
    answer = await served.get("/jobs?limit=5&pending=true")
    assert answer.json() == {"jobs": [], "count": 0, "offset": 0, "limit": 200}
    assert_refused(await served.get("/jobs", Authorization=None), 401)
    assert_refused(await served.request("POST", "/jobs"), 405)


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("crn", [None, "", "nonsense", "crn:v1:bluemix:public:quantum-computing:us-east::::"])
async def test_without_a_well_formed_crn_400(served: Asker, path: str, crn: str | None) -> None:
    assert_refused(await served.get(path, Service_CRN=crn), 400)


@pytest.mark.parametrize("path", ENDPOINTS)
async def test_somebody_elses_instance_403(served: Asker, path: str) -> None:
    foreign = f"crn:v1:bluemix:public:quantum-computing:us-east:a/{ACCOUNT}:{GUID}::"
    assert_refused(await served.get(path, Service_CRN=foreign), 403)
    assert_refused(await served.get(path, Service_CRN=served.crn("eu-de")), 403)


@pytest.mark.parametrize("resource", ["properties", "configuration", "status", "defaults"])
@pytest.mark.parametrize("name", ["no_such_backend", THERE, "synthetic_eagle_127%2F", "%2e%2e"])
async def test_an_unknown_backend_404(served: Asker, resource: str, name: str) -> None:
    assert_refused(await served.get(f"/backends/{name}/{resource}"), 404)


async def test_an_id_is_too_long_from_501_characters_on(served: Asker) -> None:
    assert_refused(await served.get(f"/backends/{'%C3%A9' * 501}/status"), 400)
    assert_refused(await served.get(f"/backends/{'%C3%A9' * 500}/status"), 404)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/backends/",
        f"/backends/{HERE}",
        f"/backends/{HERE}/",
        f"/backends/{HERE}/jobs",
        f"/backends/{HERE}/status/",
        f"/backends/a/{HERE}/status",
        "/backends//status",
        "/backend%73",
        "/sessions",
    ],
)
async def test_an_unknown_path_404(served: Asker, path: str) -> None:
    assert_refused(await served.get(path), 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("path", ENDPOINTS)
async def test_any_other_method_405(served: Asker, method: str, path: str) -> None:
    got = await served.request(method, path)
    assert_refused(got, 405)
    assert got.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "query",
    [
        "fields=queue",
        "fields=wait_time_seconds,queue",
        "fields=%00",
        "fields=wait_time_seconds&fields=",
        "a=%ff",
    ],
)
async def test_a_bad_query_of_the_list_400(served: Asker, query: str) -> None:
    assert_refused(await served.get(f"/backends?{query}"), 400)
    assert_refused(await served.get(f"/backends?{query}", IBM_API_Version=None), 400)


@pytest.mark.parametrize(
    "query",
    [
        "updated_before=",
        "updated_before=yesterday",
        "updated_before=2026-04-17",
        "updated_before=2026-04-17T12:19:24+02:00",  # a bare plus is a space
        "updated_before=2026-04-17T12:19:24." + "0" * 100 + "Z",
        "calibration_id=",
        "calibration_id=" + "x" * 101,
        "calibration_id=a&calibration_id=b",
    ],
)
async def test_a_bad_query_of_the_properties_400(served: Asker, query: str) -> None:
    assert_refused(await served.get(f"/backends/{HERE}/properties?{query}"), 400)


async def test_other_parameters_are_ignored(served: Asker) -> None:
    assert (await served.get("/backends?include_mocks=True")).status == 200
    assert (await served.get(f"/backends/{HERE}/status?calibration_id=x")).status == 200
    assert (
        await served.get(f"/backends/{HERE}/defaults?calibration_id=x&updated_before=2026-01-01T00:00:00Z")
    ).status == 200


async def test_variants_and_the_past(served: Asker) -> None:
    path = f"/backends/{HERE}/properties"
    newest = (await served.get(path)).body
    assert (await served.get(f"{path}?calibration_id=extra_gates")).body != newest
    past = (await served.get(f"{path}?updated_before=2025-06-01T00:00:00%2B00:00")).body
    assert past != newest
    assert past == (await served.get(f"{path}?updated_before=2025-06-01T02:00:00%2B02:00")).body
    assert_refused(await served.get(f"{path}?updated_before=2023-12-31T00:00:00Z"), 404)
    assert_refused(await served.get(f"{path}?calibration_id=unheard_of"), 404)
    assert_refused(await served.get(f"/backends/{HERE}/configuration?calibration_id=unheard_of"), 404)


async def test_an_id_is_decoded_exactly_once() -> None:
    fleet = SyntheticFleet({"a/b": 5, "a%2Fb": 5, "c d": 5})
    async with Emulator(fleet, regions=("us-east",)) as emulator, Asker(emulator) as asker:
        for path, name in (("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("c%20d", "c d")):
            got = await asker.get(f"/backends/{path}/configuration")
            assert got.json()["backend_name"] == name
            assert emulator.requests[-1].backend == name
        assert (await asker.get("/backends/a/b/configuration")).status == 404


async def test_list_and_status_share_a_queue_that_moves_at_every_poll(ask: Asker) -> None:
    seen = []
    for _ in range(5):
        devices = (await ask.get("/backends")).json()["devices"]
        seen.append(next(device["queue_length"] for device in devices if device["name"] == HERE))
        seen.append((await ask.get(f"/backends/{HERE}/status")).json()["length_queue"])
    steps = {abs(after - before) for before, after in pairwise(seen)}
    assert steps <= {1, 2}
    assert min(seen) >= 0
    async with Emulator() as again, Asker(again) as asker:
        devices = (await asker.get("/backends")).json()["devices"]
        assert next(device["queue_length"] for device in devices if device["name"] == HERE) == seen[0]


async def test_status_says_what_the_list_says(served: Asker) -> None:
    states = {"online": (True, "active"), "paused": (True, "internal"), "offline": (False, "maintenance")}
    reasons = {
        "online": "available", "paused": "calibration under way", "offline": "maintenance",
    }  # fmt: skip
    found = set()
    for region in served.emulator.regions:
        for device in (await served.get("/backends", region)).json()["devices"]:
            status = (await served.get(f"/backends/{device['name']}/status", region)).json()
            assert (status["state"], status["status"]) == states[device["status"]["name"]]
            reason = reasons[device["status"]["name"]]
            assert device["status"]["reason"] == reason
            assert status["message"] == ("emulated" if reason == "available" else f"emulated: {reason}")
            found.add(device["status"]["name"])
    assert found == set(states)


async def test_the_clock_brings_new_calibrations_and_the_end_of_tokens() -> None:
    now = [NOW]
    fleet = SyntheticFleet({"x": 5})
    async with (
        Emulator(fleet, regions=("us-east",), clock=lambda: now[0], token_lifetime=7200) as emulator,
        Asker(emulator) as ask,
    ):
        path = "/backends/x/properties"
        first, listed = await ask.get(path), await ask.get("/backends")
        assert (await ask.get(path)).body == first.body
        now[0] += 3600
        assert (await ask.get(path)).body != first.body
        assert metrics(await ask.get("/backends")) != metrics(listed)
        updated = quote(first.json()["last_update_date"])
        assert (await ask.get(f"{path}?updated_before={updated}")).status == 200
        now[0] += 3600
        assert_refused(await ask.get(path), 401)


def metrics(listed: Got) -> Any:
    return [device["performance_metrics"] for device in listed.json()["devices"]]


@pytest.mark.parametrize(
    ("accept", "encoded"),
    [
        ("gzip", True),
        ("GZip, deflate", True),
        ("br;q=1.0, *;q=0.5", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("deflate, br", False),
        ("", False),
    ],
)
async def test_gzip_when_the_client_accepts_it(served: Asker, accept: str, encoded: bool) -> None:
    got = await served.get(f"/backends/{HERE}/configuration", Accept_Encoding=accept)
    assert ("Content-Encoding" in got.headers) is encoded
    assert got.headers["Vary"] == "Accept-Encoding"
    assert got.json()["backend_name"] == HERE
    assert served.emulator.requests[-1].gzip is encoded


async def test_a_small_answer_is_not_packed(served: Asker) -> None:
    assert "Content-Encoding" not in (await served.get(f"/backends/{HERE}/status")).headers


async def test_error_ids_are_reproducible_and_never_the_same_twice(ask: Asker) -> None:
    async with Emulator() as again, Asker(again) as asker:
        ids = [(await asker.get("/backends", Service_CRN=None)).json()["correlation_id"] for _ in range(2)]
    assert ids[0] != ids[1]
    assert ids[0] == (await ask.get("/backends", Service_CRN=None)).json()["correlation_id"]
