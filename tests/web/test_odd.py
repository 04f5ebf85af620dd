"""Odd backends: names that no link can hold, and documents that no device can have."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import BackendConfiguration, BackendProperties, Client
from qrbackends.analysis.devicemap import device_map
from qrbackends.emulator import Emulator, Status
from qrbackends.protocol.requests import Request
from qrbackends.web import Pace, board_app

from .serving import events, served
from .test_board import get

pytestmark = pytest.mark.anyio

ODD = [".", "..", "", "\0", "a/b", "../api/backends", "a\nb", "\u202egnorw", "x" * 100_000]
STRANGE = ["<script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "שלום", "a?b#c", "%2e%2e", "a\\b", "é"]


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    async with served(board_app(client, pace=Pace(interval=0.05))) as address:
        yield address


async def listed(emulator: Emulator, names: list[str]) -> None:
    """Let the service list further backends of these names in one region."""
    async with Client(emulator.account()) as client:
        known = next(one for one in await client.backends() if one.region == "us-east")
    entry = msgspec.to_builtins(known)
    entry = {key: one for key, one in entry.items() if not key.startswith("qrbackends_")}
    body = {"devices": [entry, *({**entry, "name": name} for name in names)]}
    emulator.fault(Status(200, body=body), resource="backends", region="us-east", times=None)


async def test_odd_names_are_listed_as_odd_and_no_link_is_broken(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    await listed(emulator, [*ODD, *STRANGE])
    page = await get(web, f"{url}/")
    rows = [
        attributes["data-name"] for tag, attributes in page.tags if tag == "tr" and "data-name" in attributes
    ]
    assert len(rows) == len(ODD) + len(STRANGE) + 1 + len(emulator.backends("eu-de"))
    assert page.text.count("odd name") == len(ODD)
    assert not [tag for tag, _ in page.tags if tag == "img"]
    links = {link for link in page.links() if link.startswith("/backends/")}
    assert len(links) == len(rows) - len(ODD)
    for link in links:
        await get(web, url + link)
    async with web.get(f"{url}/api/backends") as answer:
        names = {one["name"] for one in (await answer.json())["devices"]}
    assert {*ODD, *STRANGE} <= names


async def test_one_name_in_two_regions_is_two_backends_behind_every_link(
    url: str, emulator: Emulator, client: Client, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends("eu-de")[0]
    theirs = {one: await client.fetch(Request(one, name)) for one in ("properties", "configuration")}
    await listed(emulator, [name])
    for resource, there in theirs.items():
        body = {**msgspec.json.decode(msgspec.json.encode(there.value)), "backend_version": "2.7.1828"}
        emulator.fault(Status(200, body=body), resource=resource, region="us-east", backend=name, times=None)
    await client.backends(refresh=True)
    for region, version in (("us-east", "2.7.1828"), ("eu-de", theirs["properties"].value.backend_version)):
        page = await get(web, f"{url}/backends/{region}/{name}")
        files = [link for link in page.links() if name in link and not link.endswith("/status")]
        assert len(files) == 5
        assert all(region in link for link in files)
        for link in files:
            async with web.get(url + link) as answer:
                assert answer.status == 200, link
                if "/api/" in link:
                    assert (await answer.json())["backend_version"] == version
    async with web.get(f"{url}/api/backends/{name}?region=-") as answer:
        assert answer.status == 404, "it is listed by no instance without a region"


async def test_odd_names_spoil_no_events(url: str, emulator: Emulator, web: aiohttp.ClientSession) -> None:
    await listed(emulator, [*ODD, *STRANGE])
    async with web.get(f"{url}/") as answer:
        assert answer.status == 200
    async with web.get(f"{url}/api/events", max_line_size=2**20, read_bufsize=2**22) as answer:
        seen: set[str] = set()
        async for sent in events(answer):
            if sent.event == "state":
                seen |= {one["backend"]["name"] for one in sent.data["backends"]}
            elif sent.event == "change":
                seen.add(sent.data["name"])
            if seen >= {*ODD, *STRANGE, *emulator.backends("eu-de")}:
                break
        else:
            pytest.fail("the stream ended before all were told")


async def test_an_odd_entry_is_told_by_name_and_its_region_is_not(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    entry = {"name": "ibm_odd", "status": {"name": "online"}, "queue_length": None}
    devices = [{**entry, "queue_length": 2, "name": "ibm_fine"}, entry]
    emulator.fault(Status(200, body={"devices": devices}), resource="backends", region="us-east", times=None)
    async with web.get(f"{url}/api/backends") as answer:
        told = (await answer.json())["errors"]
    assert [(one["backend"], one["region"]) for one in told] == [("ibm_odd", "us-east")]
    for name, status in (("ibm_odd", 502), ("ibm_nowhere", 404), ("ibm_fine", 200)):
        async with web.get(f"{url}/api/backends/{name}") as answer:
            assert answer.status == status
    async with web.get(f"{url}/api/events") as answer:
        async for sent in events(answer):
            if sent.event == "change" and sent.data["kind"] == "failed":
                assert (sent.data["name"], sent.data["region"]) == ("ibm_odd", "us-east")
                break
    async with web.get(f"{url}/api/events") as answer:
        async for sent in events(answer):
            if sent.event == "state":
                assert [(one["name"], one["region"]) for one in sent.data["troubles"]] == [
                    ("ibm_odd", "us-east")
                ]
                break


async def documents_of(client: Client, name: str) -> tuple[BackendConfiguration, BackendProperties]:
    return await client.configuration(name), await client.properties(name)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"n_qubits": 0},
            "This device cannot be drawn: the configuration says that the device has 0 qubits.",
        ),
        ({"n_qubits": -1}, "has -1 qubits"),
        ({"n_qubits": 10**9}, "the device has 1000000000 qubits"),
        ({"n_qubits": 3}, "The configuration has 3 qubits, the calibration"),
        (
            {"coords": None, "coupling_map": [[-1, 2], [0, 10**18], [4, 4], [0, 1]]},
            "3 couplings are not drawn",
        ),
    ],
)
async def test_a_page_says_what_is_odd_about_a_device(
    values: dict[str, Any],
    said: str,
    url: str,
    client: Client,
    emulator: Emulator,
    web: aiohttp.ClientSession,
) -> None:
    name = emulator.backends("us-east")[0]
    async with Client(emulator.account()) as other:
        configuration = await other.configuration(name)
    body = msgspec.json.decode(msgspec.json.encode(configuration)) | values
    emulator.fault(Status(200, body=body), resource="configuration", times=None)
    page = await get(web, f"{url}/backends/us-east/{name}")
    assert said in page.text, page.text
    await get(web, f"{url}/")
    async with web.get(f"{url}/api/backends/{name}/configuration") as answer:
        assert answer.status in (200, 502)


async def test_places_that_no_chip_has_are_not_believed(client: Client, emulator: Emulator) -> None:
    configuration, properties = await documents_of(client, emulator.backends("us-east")[0])
    computed = device_map(replace(configuration, coords=None), properties, "readout")
    count = configuration.n_qubits
    for far in (10**18, -(10**18), 10**400):
        coords = ((0, far), *((number, 0) for number in range(count - 1)))
        assert device_map(replace(configuration, coords=coords), properties, "readout") == computed
    same = replace(configuration, coords=((1, 1),) * count)
    assert device_map(same, properties, "readout") == computed
    moved = tuple((column - 10**18, row + 10**18) for column, row in configuration.coords or ())
    shown = device_map(replace(configuration, coords=moved), properties, "readout")
    assert shown == device_map(configuration, properties, "readout"), "far away all together is all right"


async def test_units_that_nobody_knows_cost_the_map_only(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends("us-east")[0]
    async with Client(emulator.account()) as other:
        body = msgspec.to_builtins(await other.properties(name))
    body["qubits"][0][0]["unit"] = "furlong"
    emulator.fault(Status(200, body=body), resource="properties", times=None)
    page = await get(web, f"{url}/backends/us-east/{name}")
    assert "This device cannot be drawn: the unit of" in page.text


async def test_figures_without_end_are_drawn(client: Client, emulator: Emulator) -> None:
    configuration, properties = await documents_of(client, emulator.backends("us-east")[0])
    endless = [replace(one, value=1e308, unit="Ts") for one in properties.qubits[0]]
    odd = replace(properties, qubits=(tuple(endless), *properties.qubits[1:]))
    for by in ("readout", "t1", "t2"):
        assert device_map(configuration, odd, by).qubits[0].text.partition(": ")[2].startswith("inf")
