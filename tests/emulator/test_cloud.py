"""IAM, Global Search and Global Catalog."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from qrbackends.emulator import Emulator, SyntheticFleet

from .asking import GRANT, Asker, Got

pytestmark = pytest.mark.anyio

QUERY = {
    "query": "service_name:quantum-computing",
    "fields": ["crn", "service_plan_unique_id", "name", "doc", "tags"],
}


@pytest.fixture
async def many() -> AsyncIterator[Asker]:
    """Six instances in each of two regions, and one more of no use."""
    fleet = SyntheticFleet({"x": 5})
    async with (
        Emulator(fleet, instances=6, unusable_instances=1, keys=2) as emulator,
        Asker(emulator) as asker,
    ):
        await asker.log_in()
        yield asker


async def search(ask: Asker, limit: int | str | None = 100, **body: Any) -> Got:
    query = "" if limit is None else f"?limit={limit}"
    url = f"{ask.emulator.search_url}/v3/resources/search{query}"
    return await ask.send("POST", url, json=QUERY | body, headers={"Authorization": f"Bearer {ask.token}"})


async def catalog(ask: Asker, plan: str) -> Got:
    url = f"{ask.emulator.catalog_url}/{plan}"
    return await ask.send("GET", url, headers={"Authorization": f"Bearer {ask.token}"})


async def test_iam_exchanges_its_own_keys(many: Asker) -> None:
    for key in many.emulator.api_keys:
        got = await many.log_in(key)
        assert got.status == 200
        answer = got.json()
        assert answer["expires_in"] == 3600
        assert answer["token_type"] == "Bearer"
        assert (await many.get("/backends")).status == 200


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"grant_type": GRANT, "apikey": "somebody else's"}, "BXNIM0415E"),
        ({"grant_type": GRANT, "apikey": ""}, "BXNIM0109E"),
        ({"grant_type": GRANT}, "BXNIM0109E"),
        ({"grant_type": "password", "apikey": "x"}, "BXNIM0402E"),
        ({}, "BXNIM0402E"),
        ({str(number): "x" for number in range(30)}, "BXNIM0120E"),
    ],
)
async def test_iam_refuses_everything_else(many: Asker, form: dict[str, str], code: str) -> None:
    got = await many.send("POST", f"{many.emulator.iam_url}/identity/token", data=form)
    assert got.status == 400
    assert got.json()["errorCode"] == code
    assert got.json()["errorMessage"]


async def test_search_finds_all_instances_page_by_page(many: Asker) -> None:
    found: list[Any] = []
    cursor: dict[str, str] = {}
    sizes = []
    while True:
        page = (await search(many, 5, **cursor)).json()
        found += page["items"]
        sizes.append(len(page["items"]))
        if "search_cursor" not in page:
            break
        cursor = {"search_cursor": page["search_cursor"]}
    assert sizes == [5, 5, 4]
    assert [item["crn"] for item in found] == [instance.crn for instance in many.emulator.instances]
    assert len({item["crn"] for item in found}) == 14
    usable = [item["crn"] for item in found if item["doc"]["extensions"]]
    assert usable == [instance.crn for instance in many.emulator.account().instances]


async def test_250_instances_are_three_pages_of_a_hundred() -> None:
    async with Emulator(SyntheticFleet({"x": 5}), instances=125) as emulator, Asker(emulator) as ask:
        await ask.log_in()
        pages = [(await search(ask)).json()]
        while "search_cursor" in pages[-1]:
            pages.append((await search(ask, search_cursor=pages[-1]["search_cursor"])).json())
        assert [len(page["items"]) for page in pages] == [100, 100, 50]
        assert {item["crn"].split(":")[5] for item in pages[0]["items"]} == {"us-east", "eu-de"}


async def test_search_sends_the_fields_asked_for(many: Asker) -> None:
    assert set((await search(many, fields=["name"])).json()["items"][0]) == {"crn", "name"}
    everything = {"crn", "name", "service_plan_unique_id", "doc", "tags"}
    assert set((await search(many, fields=["*"])).json()["items"][0]) == everything
    assert set((await search(many, fields=None)).json()["items"][0]) == everything


async def test_without_a_limit_a_page_has_ten_items_and_another_query_finds_nothing(many: Asker) -> None:
    assert len((await search(many, None)).json()["items"]) == 10
    assert (await search(many, query="service_name:cloudant")).json()["items"] == []


@pytest.mark.parametrize("cursor", ["x", "", 7, "ZnJvbTphYmM=", "dG86MTA=", "ZnJvbTotMQ==", "/w=="])
async def test_a_made_up_cursor_400(many: Asker, cursor: Any) -> None:
    assert (await search(many, search_cursor=cursor)).status == 400


@pytest.mark.parametrize("limit", ["0", "1001", "-5", "many"])
async def test_a_limit_out_of_range_400(many: Asker, limit: str) -> None:
    assert (await search(many, limit)).status == 400


async def test_a_search_that_is_not_json_400(many: Asker) -> None:
    url = f"{many.emulator.search_url}/v3/resources/search"
    headers = {"Authorization": f"Bearer {many.token}"}
    for body in (b"{", b"[]"):
        assert (await many.send("POST", url, data=body, headers=headers)).status == 400


async def test_the_catalog_knows_the_plans_but_not_the_archived_one(many: Asker) -> None:
    statuses = {}
    for instance in many.emulator.instances:
        got = await catalog(many, instance.plan.id)
        statuses[instance.plan.name] = got.status
        if got.status == 200:
            entry = got.json()
            assert entry["overview_ui"]["en"]["display_name"] == instance.plan.name
            assert entry["metadata"]["pricing"]["type"] == instance.plan.pricing
    assert statuses == {"Open": 200, "Pay-As-You-Go": 200, "Premium": 200, "Flex": 200, "": 403}
    assert (await catalog(many, "no-such-plan")).status == 404


async def test_search_and_catalog_want_a_bearer(many: Asker) -> None:
    for value in ("", "Bearer nonsense", f"apikey {many.emulator.api_keys[0]}"):
        url = f"{many.emulator.search_url}/v3/resources/search"
        got = await many.send("POST", url, json=QUERY, headers={"Authorization": value})
        assert got.status == 401
        assert got.json()["status_code"] == 401
    plan = many.emulator.instances[0].plan.id
    assert (await many.send("GET", f"{many.emulator.catalog_url}/{plan}")).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/identity/token", 405),
        ("GET", "/v3/resources/search", 405),
        ("DELETE", "/api/v1/plan", 405),
        ("GET", "/", 404),
        ("GET", "/api/v1/a/b", 404),
        ("POST", "/identity/token/", 404),
    ],
)
async def test_wrong_methods_and_paths(many: Asker, method: str, path: str, status: int) -> None:
    assert (await many.send(method, f"{many.emulator.iam_url}{path}")).status == status


async def test_the_same_seed_has_the_same_account_and_another_seed_has_another() -> None:
    emulators = [Emulator(seed=seed) for seed in (1, 1, 2)]
    crns = [[instance.crn for instance in emulator.instances] for emulator in emulators]
    keys = [emulator.api_keys for emulator in emulators]
    assert crns[0] == crns[1]
    assert keys[0] == keys[1]
    assert set(crns[0]).isdisjoint(crns[2])
    assert set(keys[0]).isdisjoint(keys[2])
    assert all(len(key) == 44 and key.startswith("emulated-") for key in keys[0])
