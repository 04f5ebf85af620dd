"""The board's pages, as what reads no scripts gets them."""

import asyncio
import csv
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import aiohttp
import msgspec
import pytest
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.routing import Mount

import qrbackends.web
from qrbackends import BackendProperties, Client, Limits, Memory, RetryPolicy
from qrbackends.analysis.colorscale import color_at
from qrbackends.analysis.devicemap import FIGURES, TITLES, By, DeviceMap, device_map
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.emulator.surface import handler
from qrbackends.models.formatting import probability, scaled
from qrbackends.models.properties import GateProperties, Nduv
from qrbackends.web import (
    Pace,
    ServerLimits,
    board,
    board_app,
    comparing,
    devicepages,
    devicepart,
    fleetrows,
    lifespan,
)
from qrbackends.web.columns import BY_KEY
from qrbackends.web.connections import Connections
from qrbackends.web.devicepart import Wanted, device_part
from qrbackends.web.pages import rendered
from qrbackends.web.renderings import Renderings

from ..internals import next_second, told_of_a_change
from ..profiles import some_of
from ..snapshots import real
from ..waiting import until
from .serving import served
from .test_events import the_hub

pytestmark = pytest.mark.anyio

STATIC = Path(qrbackends.web.__file__).with_name("static")
READOUT = Wanted("readout", "line")
SCRIPT = '</script><img src=x onerror="alert(1)">\'&'


class Page(HTMLParser):
    """What a page holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def links(self) -> list[str]:
        return [
            value
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in ("href", "src", "action", "data-events", "data-status") and value
        ]


async def get(web: aiohttp.ClientSession, url: str, status: int = 200) -> Page:
    async with web.get(url) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return Page(await answer.text())


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    async with served(board_app(client, pace=Pace(interval=0.05))) as address:
        yield address


async def test_the_page_shows_every_backend_of_every_region(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    page = await get(web, f"{url}/")
    rows = [attributes for tag, attributes in page.tags if tag == "tr" and "data-name" in attributes]
    assert [row["data-name"] for row in rows] == list(emulator.backends())
    assert {row["data-region"] for row in rows} == set(emulator.regions)
    (note,) = (attributes for _, attributes in page.tags if attributes.get("id") == "emulated")
    assert "hidden" not in note
    assert "Emulated data, not from IBM’s service." in page.text
    for link in page.links():
        assert link.startswith(("/", "?")), "nothing comes from another host"
        if link != "/events":
            async with web.get(f"{url}/{link.removeprefix('/')}") as answer:
                assert answer.status == 200


async def test_data_of_the_service_is_not_called_emulated(
    url: str, emulator: Emulator, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "EMULATED", {})  # the mark is all that tells
    for path in ("/", f"/backends/us-east/{emulator.backends('us-east')[0]}"):
        page = await get(web, f"{url}{path}")
        (note,) = (attributes for _, attributes in page.tags if attributes.get("id") == "emulated")
        assert "hidden" in note


@pytest.mark.parametrize("by", some_of(TITLES))
async def test_a_backends_page_has_its_device_map(
    by: By, url: str, client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    for name in emulator.backends():
        region = next(one.region for one in await client.backends() if one.name == name)
        page = await get(web, f"{url}/backends/{region}/{name}?by={by}")
        configuration = await client.configuration(name)
        circles = [attributes for tag, attributes in page.tags if tag == "circle"]
        assert len(circles) == configuration.n_qubits
        pairs = {tuple(sorted(pair)) for pair in configuration.coupling_map or ()}
        titles = re.findall(r"Coupling \d+–\d+: ", page.text)
        assert len(titles) == len(set(titles)) == len(pairs)
        assert (len({attributes["fill"] for attributes in circles}) > 1) is (by in FIGURES)
        assert TITLES[by] in page.text
        properties = await client.properties(name)
        assert f"T1{scaled(properties.median_t1(), 1e6)} µs" in page.text
        assert f"Two-qubit error{probability(properties.median_two_qubit_error())}" in page.text
        assert f"Broken couplings{len(properties.broken_couplings())}" in page.text
        rows = await get(web, f"{url}/")
        assert "Broken couplings" in rows.text


async def test_what_is_not_there_is_404_and_costs_nothing(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    await get(web, f"{url}/")
    emulator.reset_log()
    for path in ("us-east/nope", "eu-de/" + emulator.backends("us-east")[0], "-/%3Cb%3E"):
        page = await get(web, f"{url}/backends/{path}", 404)
        assert "No such backend" in page.text
    async with web.get(f"{url}/backends/us-east/{emulator.backends('us-east')[0]}?by=color") as answer:
        assert answer.status == 400
    assert not [one for one in emulator.requests if one.backend and "nope" in one.backend]


async def test_what_the_service_says_stays_text(
    url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends("us-east")[0]
    emulator.set_backend(name, status="paused", reason=SCRIPT)
    for path in ("/", f"/backends/us-east/{name}"):
        page = await get(web, url + path)
        assert SCRIPT in page.text
        assert not [tag for tag, _ in page.tags if tag == "img"]
        assert all(not name.startswith("on") for _, attributes in page.tags for name in attributes)
        assert all("style" not in attributes for _, attributes in page.tags), "the policy forbids it"


async def test_it_can_be_mounted_anywhere(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    app = Starlette(routes=[Mount("/ops/board", board_app())], lifespan=lifespan(emulator.account()))
    async with served(app) as url:
        page = await get(web, f"{url}/ops/board/")
        links = page.links()
        assert all(link.startswith(("/ops/board/", "?")) for link in links)
        device = next(link for link in links if "/backends/" in link)
        page = await get(web, url + device)
        for link in page.links():
            if link.startswith("/") and not link.endswith("/events"):
                async with web.get(url + link) as answer:
                    assert answer.status == 200, link
        async with web.get(f"{url}/ops/board/api/backends") as answer:
            assert answer.status == 200


async def test_without_the_service_it_says_so(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    for region in emulator.regions:
        await emulator.stop_region(region)
    async with (
        Client(emulator.account(), retry=RetryPolicy(attempts=1), limits=Limits(failures=10**9)) as client,
        served(board_app(client)) as url,
    ):
        page = await get(web, f"{url}/")
        assert "The service failed" in page.text
        assert "No backend is shown." in page.text


async def test_old_data_says_how_old_it_is(emulator: Emulator, web: aiohttp.ClientSession) -> None:
    passed = [0.0]
    memory = Memory(clock=lambda: 1000.0 + passed[0])
    async with Client(emulator.account(), retry=RetryPolicy(attempts=1), memory=memory) as client:
        await client.backends()
        for region in emulator.regions:
            await emulator.stop_region(region)
        passed[0] = 3630.0  # on a slow machine the list came some seconds later
        async with served(board_app(client)) as url:
            page = await get(web, f"{url}/")
        assert "Old data: this is what the service told 60 min ago." in page.text


async def test_a_map_marks_what_is_out_of_order(client: Client, emulator: Emulator) -> None:
    name = emulator.backends()[-1]
    configuration, properties = await client.configuration(name), await client.properties(name)
    broken = [[*qubit] for qubit in properties.qubits]
    shown = device_map(configuration, properties, "readout")
    assert shown.qubit_scale is not None
    assert {qubit.number for qubit in shown.qubits if qubit.faulty} == set(properties.faulty_qubits())
    best = min(range(len(broken)), key=lambda qubit: properties.readout_error(qubit) or 1.0)
    worst = max(
        (qubit for qubit in range(len(broken)) if (properties.readout_error(qubit) or 1) < 1),
        key=lambda qubit: properties.readout_error(qubit) or 0.0,
    )
    assert shown.qubits[best].color == color_at(0)
    assert shown.qubits[worst].color == color_at(1)
    assert all((qubit.ink is None) == qubit.faulty for qubit in shown.qubits), (
        "what is out of order is hollow"
    )


def test_a_device_of_which_no_coupling_works_says_why_it_has_no_error() -> None:
    configuration, properties = real("kyoto")
    text = device_part(configuration, properties, READOUT).decode()
    assert "<dt>Two-qubit error</dt><dd>– <small>all 144 values are out of order" in text
    assert text.count('<g class="c faulty">') == 144
    assert "<dd>144 <small>heavy-hex, not all in both directions</small></dd>" in text
    assert "<dt>Left out of the medians</dt><dd>144 values</dd>" in text
    assert b"Left out" not in device_part(*real("lima"), READOUT)


@pytest.mark.parametrize("qubit", ["q", 2**31, 10**12, -1, 9_000])
def test_a_gate_with_an_odd_qubit_spoils_no_map(qubit: int | str) -> None:
    configuration, properties = real("lima")
    odd = GateProperties("cx", (0, qubit), (Nduv("", "operational", "", 0.0),))
    shown = device_map(configuration, replace(properties, gates=(odd, *properties.gates)), "t1")
    assert shown == device_map(configuration, properties, "t1")


@pytest.mark.parametrize("by", list(FIGURES))
def test_a_value_that_no_device_can_have_colours_nothing(by: By) -> None:
    configuration, properties = real("lima")
    qubit = tuple(Nduv("", figure.name, "", -1.6) for figure in FIGURES.values())
    bare = replace(properties, qubits=((), *properties.qubits[1:]))
    odd = replace(properties, qubits=(qubit, *properties.qubits[1:]))
    shown, without = device_map(configuration, odd, by), device_map(configuration, bare, by)
    assert shown.qubit_scale == without.qubit_scale
    assert [one.color for one in shown.qubits] == [one.color for one in without.qubits]
    assert shown.qubits[0].text != "not known", "what was sent is shown"


async def test_a_device_of_which_nothing_was_measured_is_grey(client: Client, emulator: Emulator) -> None:
    name = emulator.backends()[0]
    configuration, properties = await client.configuration(name), await client.properties(name)
    nothing = replace(properties, qubits=(), gates=())
    assert isinstance(nothing, BackendProperties)
    shown = device_map(configuration, nothing, "t1")
    assert shown.qubit_scale is None
    assert {qubit.text for qubit in shown.qubits} == {"not known"}
    assert len({qubit.color for qubit in shown.qubits}) == 1


def test_the_script_writes_no_html_and_the_style_loads_nothing() -> None:
    for path in STATIC.glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(", text)
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"url\(|@import", (STATIC / "board.css").read_text(encoding="utf-8"))


async def test_a_crowd_costs_one_drawing(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[threading.Thread] = []

    def counted(*arguments: Any) -> DeviceMap:
        drawn.append(threading.current_thread())
        return device_map(*arguments)

    monkeypatch.setattr(devicepart, "device_map", counted)
    name = emulator.backends("us-east")[0]
    async with served(board_app(client)) as url:
        for _ in range(2):
            crowd = [get(web, f"{url}/backends/us-east/{name}") for _ in range(10)]
            assert all("Device map" in str(page.tags) for page in await asyncio.gather(*crowd))
        assert len(drawn) == 1
        assert drawn[0] is not threading.current_thread()
        await get(web, f"{url}/backends/us-east/{name}?by=t1")
        assert len(drawn) == 2


def rows_of(page: Page) -> str:
    """Return the text of a page's table, without what is told above it of the moment."""
    return page.text.partition("Calibrated")[2]


async def test_a_fleet_that_does_not_change_is_drawn_once(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[threading.Thread] = []

    def counted(template: str, **values: Any) -> bytes:
        drawn.append(threading.current_thread())
        return rendered(template, **values)

    monkeypatch.setattr(fleetrows, "rendered", counted)
    monkeypatch.setattr(board, "_MINUTE", 1e12)  # ages are told anew each minute
    async with served(board_app(client, pace=Pace(interval=3600))) as url:
        await get(web, f"{url}/")
        hub = the_hub()
        monitor = hub.wake()
        await until(lambda: len(monitor.fleet) == len(emulator.backends()))
        await until(lambda: all(one.calibration for one in monitor.fleet.values()))
        next_second(hub)
        first = rows_of(await get(web, f"{url}/"))
        before = len(drawn)
        for _ in range(3):
            next_second(hub)
            assert rows_of(await get(web, f"{url}/")) == first
        assert len(drawn) == before
        told_of_a_change(monitor)
        next_second(hub)
        await get(web, f"{url}/")
        assert len(drawn) == before + 1
        assert threading.current_thread() not in drawn


async def test_a_visitor_who_takes_nothing_holds_up_one_slice() -> None:
    async with (
        Emulator(SyntheticFleet({"large": 600}), regions=("us-east",)) as emulator,
        Client(emulator.account()) as client,
    ):
        await client.configuration("large")
        size = len(msgspec.json.encode(await client.properties("large")))
        connections = Connections(board_app(client), ServerLimits())
        async with served(connections, send_buffer=4096) as url:
            for path in ("/api/backends/large/properties", "/backends/us-east/large"):
                with socket.socket() as visitor:
                    visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    visitor.setblocking(False)
                    loop = asyncio.get_running_loop()
                    await loop.sock_connect(visitor, ("127.0.0.1", urlsplit(url).port))
                    await loop.sock_sendall(
                        visitor, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
                    )
                    assert (await loop.sock_recv(visitor, 15)).endswith(b"200 OK")
                    (connection,) = connections.open.values()
                    await until(lambda one=connection: one.unsent > 2**15)  # type: ignore[misc]
                    assert connection.unsent < 2**17 < size
                await until(lambda: not connections.open)


async def test_broken_couplings_that_only_the_gates_name_are_drawn(
    client: Client, emulator: Emulator
) -> None:
    name = emulator.backends()[0]
    configuration, properties = await client.configuration(name), await client.properties(name)
    flag, error = Nduv("", "operational", "", 0.0), Nduv("", "gate_error", "", 1.0)
    native = properties.native_entangler or ""
    only = (configuration.coupling_map or ())[0]
    odd = replace(configuration, coupling_map=((only[1], only[0]),))
    gates = [
        GateProperties(native, (1, 0), (flag,)),  # a pair that only a gate names, in one direction
        GateProperties(native, ("2", "0"), (error,)),
        GateProperties(native, (2, 9_000), (flag,)),  # a qubit that the device does not have
        GateProperties(native, only, (flag,)),
    ]
    shown = device_map(odd, replace(properties, gates=tuple(gates)), "readout")
    assert {coupling.pair for coupling in shown.couplings} == {(0, 1), (0, 2), (min(only), max(only))}
    assert all(coupling.faulty and coupling.text == "out of order" for coupling in shown.couplings)


async def test_who_cannot_wait_is_told_to_come_back(
    client: Client, emulator: Emulator, web: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (board, devicepages):
        monkeypatch.setattr(module, "Renderings", lambda: Renderings(patience=0.0))
    async with served(board_app(client)) as url:
        assert "load the page again" in (await get(web, f"{url}/")).text
        page = await get(web, f"{url}/backends/us-east/{emulator.backends('us-east')[0]}")
        assert "still being drawn; load the page again" in page.text


async def test_documents_that_nobody_foresaw_are_told_and_not_drawn(
    client: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> DeviceMap:
        raise OverflowError("too large")

    monkeypatch.setattr(devicepart, "device_map", fail)
    name = emulator.backends()[0]
    shown = devicepart.device_part(
        await client.configuration(name), await client.properties(name), Wanted("t1", "line")
    )
    assert b"its documents are odd" in shown
    assert b"T1" in shown, "what is known is shown"
    (record,) = caplog.records
    assert record.getMessage() == f"{name!r} cannot be drawn: OverflowError"
    assert record.exc_info is None


async def test_a_map_that_needs_what_is_not_installed_says_so(
    client: Client, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rustworkx", None)
    name = emulator.backends()[0]
    pairs = tuple((number, number + 1) for number in range(3, 40))  # which no other test lays out
    configuration = replace(await client.configuration(name), coords=None, n_qubits=50, coupling_map=pairs)
    shown = devicepart.device_part(configuration, await client.properties(name), Wanted("t1", "line"))
    assert b"qrbackends[graph]" in shown


async def test_what_was_measured_is_there_as_files(
    url: str, client: Client, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    name = emulator.backends("us-east")[0]
    properties = await client.properties(name)
    here = f"{url}/backends/us-east/{name}"
    async with web.get(f"{here}/qubits.csv") as answer:
        assert answer.content_type == "text/csv"
        qubits = list(csv.DictReader(StringIO(await answer.text())))
    assert len(qubits) == len(properties.qubits)
    assert float(qubits[3]["t1_s"]) == properties.t1(3)
    assert datetime.fromisoformat(qubits[3]["measured_at"]).tzinfo is not None
    async with web.get(f"{here}/couplings.csv") as answer:
        couplings = list(csv.DictReader(StringIO(await answer.text())))
    errors = properties.coupling_errors()
    pairs = {(int(one["qubit"]), int(one["other_qubit"])): one for one in couplings}
    told = {pair: float(one["two_qubit_error"]) for pair, one in pairs.items() if one["two_qubit_error"]}
    assert told == {pair: error for pair, error in errors.items() if error is not None}
    broken = {pair for pair, one in pairs.items() if one["operational"] == "false"}
    assert broken == set(properties.broken_couplings())
    async with web.get(f"{here}/map.svg?by=t1") as answer:
        assert answer.content_type == "image/svg+xml"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'"
        picture = ElementTree.fromstring(await answer.text())  # noqa: S314  # our own
    assert len(picture.findall(".//{*}circle")) == len(properties.qubits)
    assert "emulated data" in "".join(picture.itertext())
    for path in ("nope/map.svg", f"{name}/map.svg?by=x", f"{name}?n=0", f"{name}?n=x", f"{name}?find=x&n=2"):
        async with web.get(f"{url}/backends/us-east/{path}") as answer:
            assert answer.status == (404 if "nope" in path else 400)


async def test_a_picture_of_texts_full_of_markup_is_a_picture() -> None:
    configuration, properties = real("lima")
    odd = replace(properties, backend_name=SCRIPT)
    picture = ElementTree.fromstring(  # noqa: S314  # our own
        devicepart.device_picture(configuration, odd, READOUT).decode()
    )
    assert SCRIPT in "".join(picture.itertext())
    assert picture.find(".//{*}img") is None


async def test_answers_are_compressed_where_the_visitor_takes_that(
    url: str, web: aiohttp.ClientSession
) -> None:
    async with web.get(f"{url}/", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert "synthetic" in await answer.text()
    async with web.get(f"{url}/", headers={"Accept-Encoding": "identity"}) as answer:
        assert "Content-Encoding" not in answer.headers
    async with web.get(f"{url}/events", headers={"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers, "each event is sent at once"
        assert (await answer.content.readline()) == b"event: change\n"


@pytest.mark.parametrize("count", [0, 1, 7])
async def test_two_to_six_backends_are_compared(
    count: int, url: str, emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    names = [f"us-east/device_{number}" for number in range(count)]
    query = "&".join(f"b={quote(name)}" for name in names)
    page = await get(web, f"{url}/compare?{query}")
    assert "Choose 2 to 6 backends" in page.text
    assert page.text.count("There is no backend us-east/device_") == min(count, 6)


def test_what_looks_the_same_is_the_best_together_or_not_at_all() -> None:
    def marks(key: str, *values: float | None) -> list[bool]:
        return [best for _, best in comparing._cells(BY_KEY[key], values)]

    assert marks("t1", 70.0, 90.01, 90.02, None) == [False, True, True, False]
    assert marks("readout", 0.02, 0.01, None) == [False, True, False]
    assert marks("t1", 90.01, 90.02, None) == [False] * 3


async def test_a_board_tells_which_instance_failed_since_when_and_why(
    emulator: Emulator, web: aiohttp.ClientSession
) -> None:
    once, calm = RetryPolicy(attempts=1), Limits(failures=10**9)
    async with (
        Client(emulator.account(), retry=once, limits=calm) as client,
        served(board_app(client, pace=Pace(interval=0.05))) as url,
    ):
        while "Current: asked" not in (await get(web, f"{url}/")).text:
            pass
        await emulator.stop_region("eu-de")
        while "Partly old data" not in (text := (await get(web, f"{url}/")).text):
            pass
        assert re.search(
            r"Old data: eu-de could not be read since \d\d:\d\d UTC \(\d+ s\)\. The service", text
        )
        await emulator.start_region("eu-de")
