"""The board's screens as they are looked at all day: still, legible, by keyboard, in addresses, and light."""

import os
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace
from playwright.async_api import Browser, BrowserContext, expect

from qrbackends import Client
from qrbackends.analysis.archive import Archive
from qrbackends.analysis.colorscale import contrast
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.web import Pace, board_app
from qrbackends.web.columns import COLUMNS
from qrbackends.web.filtering import Filtered, parsed

from ..profiles import some_of
from ..waiting import until
from .browser import Screen, chromium
from .serving import served

pytestmark = pytest.mark.anyio

WAIT = 30_000  # ms; a guard against a hang
expect.set_options(timeout=WAIT)
SHIFT = """() => new Promise((done) => {
  let moved = 0;
  new PerformanceObserver((list) => {
    for (const one of list.getEntries()) if (!one.hadRecentInput) moved += one.value;
  }).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(moved), 100);
})"""


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture(scope="module")
async def known(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Emulator, str]]:
    """A board of the real calibrations, all of which it knows, and its address; of one device, with days."""
    folder = tmp_path_factory.mktemp("archive")
    async with (
        Emulator("snapshots") as emulator,
        Client(emulator.account()) as client,
        served(board_app(client, pace=Pace(interval=0.5, beat=0.5), archive=folder)) as url,
    ):
        cairo = await client.properties("alt_cairo")
        for back in (0, 1, 5):
            at = datetime.now(UTC) - timedelta(days=back)
            Archive(folder).add(replace(cairo, last_update_date=at))
        await until_known(url, 68)
        yield emulator, url


async def until_known(url: str, count: int) -> None:
    """Visit a board until it knows so many calibrations."""
    text = ""
    async with aiohttp.ClientSession() as web:
        while text.count('c-age"><time') < count:
            async with web.get(url) as answer:
                text = await answer.text()


@pytest.fixture
async def screen(browser: Browser) -> AsyncIterator[Screen]:
    context = await browser.new_context(viewport={"width": 1400, "height": 900})
    shown = Screen(await context.new_page())
    yield shown
    await context.close()
    assert shown.wrong == []


async def opened(browser: Browser, **how: Any) -> tuple[BrowserContext, Screen]:
    context = await browser.new_context(viewport={"width": how.pop("width", 1400), "height": 900}, **how)
    return context, Screen(await context.new_page())


async def test_nothing_moves_while_a_page_becomes_live(known: tuple[Emulator, str], screen: Screen) -> None:
    _, url = known
    for path in ("/", "/backends/eu-de/ibm_boston"):
        await screen.page.goto(url + path)
        before = await screen.page.locator("body").get_attribute("data-version")
        async with screen.page.expect_response(re.compile("/$|/status$")):
            pass
        assert before
        assert await screen.page.evaluate(SHIFT) < 0.05, path


async def test_a_filter_a_sort_and_columns_are_in_the_address_and_back_works(
    known: tuple[Emulator, str], screen: Screen
) -> None:
    _, url = known
    page = screen.page
    await page.goto(f"{url}/?q=qubits%3E%3D120+2q%3C3e-3&sort=-qubits&cols=state,queue,2q")
    first = await screen.names()
    assert len(first) == 7, "without a script, too: the server has filtered"
    await expect(page.locator("#filter")).to_have_value("qubits>=120 2q<3e-3")
    await expect(page.locator("th[aria-sort=descending]")).to_have_attribute("data-key", "qubits")
    await expect(page.locator("th.c-t1")).to_be_hidden()
    await expect(page.locator("th.c-2q")).to_be_visible()
    await page.locator("th.c-queue button").click()
    assert "sort=queue" in page.url
    second = await screen.names()
    assert sorted(first) == sorted(second)
    await page.locator("#filter").fill("ibm_b*")
    await page.locator("#filter").press("Enter")
    await page.get_by_role("link", name="ibm_berlin").first.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("ibm_berlin")
    await page.go_back()
    assert all(name.startswith("ibm_b") for name in await screen.names())
    await page.go_back()
    await expect(page.locator("#filter")).to_have_value("qubits>=120 2q<3e-3")
    assert sorted(await screen.names()) == sorted(first)
    await page.go_back()
    await expect(page.locator("th[aria-sort]")).to_have_attribute("data-key", "qubits")
    await page.locator("#filter").fill("t3<5 name<2 qubits>many")
    await expect(page.locator("#problems")).to_contain_text("There is no column t3")
    await expect(page.locator("#problems")).to_contain_text("name is a text")
    await expect(page.locator("#problems")).to_contain_text("qubits>many needs a number")


FILTERS = [
    "", "heron", "IBM_B*", "ibm_?e*", "qubits>100 2q<3e-3 heron ibm_*", "t1>=200", "t1>0.2ms", "t1<100us",
    "readout<1%", "2q!=0", "clops>30k", "broken=0", "queue<=10", "age>1y", "age<1h", "state=online", "a<b",
    "state!=online", "region=eu-*", "processor=heron*", "processor!=heron*", "nonsense", "qubits>", ".*",
    "qubits>1e999", "qubits=127 region=us-east", "156", "name=ibm_boston", "[", "ibm_[bf]*", "2q<.003",
    "qubits>1q", "name<2", "ibm_*o*n", "*?i?m*", "n*", " ".join("i" * 40), "?" * 60, "*b*o*s*t*o*n*x", "*[*",
    "*?" * 200 + "x",
]  # fmt: skip
BOSTON = 156.0, 292.4, 353.0, 5.13e-3, 1.27e-3, 1.0, 340000.0, 2e7  # qubits, T1, T2, …, as columns have it
BERLIN = 120.0, 150.0, 99.0, 2e-2, 3e-3, 0.0, 25000.0, 60.0
LIMA = 5.0, 100.0, 100.0, 1e-2, 0.0, 0.0, None, 1e9


async def test_the_server_and_the_script_mean_the_same_by_a_filter(
    known: tuple[Emulator, str], screen: Screen
) -> None:
    _, url = known
    await screen.page.goto(f"{url}/compare")  # a page without events
    rows: Any = [
        ("ibm_boston", "eu-de", "online", 29.0, "Heron r3", *BOSTON),
        ("ibm_berlin", "us-east", "paused", 3.0, "Nighthawk r1", *BERLIN),
        ("ibm_[b]", None, "offline", 0.0, None, *[None] * 8),
        ("ibmq_lima", "us-east", "online", 10.0, "Falcon r4", *LIMA),
    ]
    seen = []
    for row in rows:
        values = {column.key: value for column, value in zip(COLUMNS, row, strict=True)}
        seen.append(Filtered.of(values, [column.text(values[column.key]) for column in COLUMNS]))
    told = await screen.page.evaluate(
        """async ([filters, rows]) => {
          const { parsed } = await import("/static/filter.js");
          return filters.map((text) => {
            const { matches, problems } = parsed(text);
            return [rows.map(matches), problems];
          });
        }""",
        [FILTERS, [{"values": one.values, "texts": list(one.texts)} for one in seen]],
    )
    for text, (passes, problems) in zip(FILTERS, told, strict=True):
        ours = parsed(text)
        assert [ours(one) for one in seen] == passes, text
        assert list(ours.problems) == problems, text


@pytest.mark.parametrize("motion", some_of(["no-preference", "reduce"]))
async def test_only_what_has_changed_flashes_and_nothing_where_motion_is_not_wanted(
    motion: Any, known: tuple[Emulator, str], browser: Browser
) -> None:
    emulator, url = known
    for name in emulator.backends():
        emulator.set_backend(name, queue_length=5)
    context, screen = await opened(browser, reduced_motion=motion)
    try:
        await screen.page.goto(url)
        await expect(screen.row("ibm_boston").locator(".c-queue")).to_have_text("5")
        await expect(screen.page.locator("#fleet .changed")).to_have_count(0)
        emulator.set_backend("ibm_boston", queue_length=6)
        changed = screen.page.locator("#fleet .changed")
        await expect(changed).to_have_count(1)
        assert await changed.get_attribute("class") == "n c-queue changed"
        shade = await changed.evaluate(
            "one => ['backgroundColor', 'transitionDuration'].map((name) => getComputedStyle(one)[name])"
        )
        if motion == "reduce":
            assert shade == ["rgba(0, 0, 0, 0)", "0s"]
        else:
            assert shade[1] != "0s"
    finally:
        await context.close()
        for name in emulator.backends():
            emulator.set_backend(name)


@pytest.mark.parametrize("scheme", some_of(["light", "dark"]))
async def test_each_mark_of_a_map_can_be_told_from_the_background(
    scheme: Any, known: tuple[Emulator, str], browser: Browser
) -> None:
    _, url = known
    context, screen = await opened(browser, color_scheme=scheme)
    try:
        for name, by in (("eu-de/ibm_kyoto", "readout"), ("us-east/ibm_cusco", "two_qubit")):
            await screen.page.goto(f"{url}/backends/{name}?by={by}")
            paper, *marks = await screen.page.evaluate(
                """() => {
                  const seen = new Set();
                  for (const mark of document.querySelectorAll("#map circle, #map g line, #map g path")) {
                    const style = getComputedStyle(mark);
                    const hollow = mark.matches(".hollow, line, path");
                    seen.add(hollow ? style.stroke : style.fill);
                  }
                  return [getComputedStyle(document.body).backgroundColor, ...seen];
                }"""
            )
            assert len(marks) > 10
            assert min(contrast(hexadecimal(paper), hexadecimal(mark)) for mark in marks) >= 3
    finally:
        await context.close()


def hexadecimal(color: str) -> str:
    """Return a colour as the browser tells it, such as `rgb(1, 2, 3)`, as hexadecimal digits."""
    channels = [int(one) for one in re.findall(r"\d+", color)[:3]]
    return "#" + "".join(f"{channel:02x}" for channel in channels)


async def test_a_map_is_read_by_keyboard_and_by_touch(known: tuple[Emulator, str], browser: Browser) -> None:
    _, url = known
    context, screen = await opened(browser, width=390, has_touch=True)
    try:
        page = screen.page
        await page.goto(f"{url}/backends/eu-de/ibm_boston?find=line&n=5")
        told = page.locator("#mark")
        await page.locator("#map svg").focus()
        await expect(told).to_contain_text("Qubit 0: Readout error: ")
        await expect(told).to_contain_text(re.compile(r"measured \d{4}-\d\d-\d\d \d\d:\d\d UTC"))
        await page.keyboard.press("ArrowRight")
        await expect(told).to_contain_text("Coupling 0–1: ")
        await page.keyboard.press("ArrowRight")
        await expect(told).to_contain_text("Qubit 1: ")
        await page.locator("#map g.q circle").nth(3).tap()
        await expect(told).to_contain_text("Qubit 3: ")
        await expect(page.locator("#map circle.best")).to_have_count(5)
        await expect(page.get_by_text("Best line of 5: ")).to_be_visible()
        await expect(page.get_by_text("Scroll the map sideways")).to_be_visible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390
        errors = page.locator("table.sortable").first.locator("th").nth(3).get_by_role("button")
        await errors.click()
        cells = page.locator("table.sortable").first.locator("tbody td:nth-child(4)")
        values = [float(text) for text in await cells.all_text_contents()]
        assert values == sorted(values)
        assert screen.wrong == []
    finally:
        await context.close()


async def test_cards_on_a_phone_are_short_and_the_table_fits_a_small_screen(
    known: tuple[Emulator, str], browser: Browser
) -> None:
    _, url = known
    for width in (390, 1000, 1400):
        context, screen = await opened(browser, width=width)
        await screen.page.goto(url)
        wide, high = await screen.page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        assert wide <= width
        assert high < 7000, "it was 12,455 for the same 68 backends"
        left = await screen.page.locator("#fleet tbody .c-2q").first.evaluate(
            "one => getComputedStyle(one).textAlign"
        )
        assert left == ("left" if width == 390 else "right")
        await context.close()


async def test_chosen_backends_are_compared(known: tuple[Emulator, str], screen: Screen) -> None:
    _, url = known
    page = screen.page
    await page.goto(url)
    await expect(page.locator("#comparing")).to_be_disabled()
    for name in ("ibm_boston", "ibm_fez"):
        await page.get_by_label(f"Compare {name}").check()
    await page.get_by_role("button", name="Compare 2 chosen").click()
    await expect(page.locator("table.compare thead th")).to_have_text(["Figure", "ibm_boston", "ibm_fez"])
    best = page.locator("table.compare tr", has_text="2q error").locator("strong")
    await expect(best).to_have_text("★ 1.27e-3")
    await expect(page.locator("table.boxes tbody tr")).to_have_count(8)


async def test_what_a_visitor_without_a_script_sees_is_the_same(
    known: tuple[Emulator, str], browser: Browser
) -> None:
    emulator, url = known
    emulator.set_backend("ibm_boston", status="offline", reason="repair")
    context, screen = await opened(browser, java_script_enabled=False)
    try:
        page = screen.page

        async def said() -> str:
            await page.goto(url)
            return await page.locator("#told").inner_text()

        while "ibm_boston offline" not in await said():
            pass
        assert re.search(r"ibm_boston offline since \d\d:\d\d UTC \(\d+ s\)", await said())
        await page.locator("#filter").fill("state!=online")
        await page.locator("#apply").click()
        assert await screen.names() == ["ibm_boston"]
        await page.locator("th.c-queue button").click()
        assert "sort=queue" in page.url
        assert "q=state" in page.url
    finally:
        await context.close()
        emulator.set_backend("ibm_boston")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
async def test_axe_finds_nothing_serious(scheme: Any, known: tuple[Emulator, str], browser: Browser) -> None:
    if os.environ.get("CI"):
        import axe_playwright_python.async_playwright as tool
    else:
        tool = pytest.importorskip("axe_playwright_python.async_playwright")
    _, url = known
    paths = (
        "/?q=qubits%3E100",
        "/backends/eu-de/alt_cairo?find=line&n=4",
        "/compare?b=eu-de/ibm_boston&b=eu-de/ibm_fez",
    )
    context, screen = await opened(browser, color_scheme=scheme, reduced_motion="reduce")
    try:
        for path in paths:
            await screen.page.goto(url + path)
            if "alt_cairo" in path:
                while await screen.page.locator("#days svg").count() < 4:  # the archive is still being read
                    await screen.page.reload()
                await screen.page.locator("#days summary").click()
            found = await tool.Axe().run(screen.page)
            serious = [
                (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
                for one in found.response["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert serious == [], path
    finally:
        await context.close()


async def weight(browser: Browser, url: str) -> tuple[int, int]:
    """Return the bytes that a first visit to the page of all backends takes, and the rows that it shows."""
    context = await browser.new_context()
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    await session.send("Network.enable")
    async with page.expect_response(f"{url}/events"):  # the scripts have come and run
        await page.goto(url)
    await until(lambda: len(received) >= 5)  # the page, its style and three scripts
    rows = await page.locator("tbody tr").count()
    await context.close()
    return int(sum(received)), rows


async def test_a_visit_weighs_little(known: tuple[Emulator, str], browser: Browser) -> None:
    received, rows = await weight(browser, known[1])
    assert rows == 68
    assert 10_000 < received < 60_000


@pytest.mark.long
async def test_five_hundred_backends_weigh_little_and_are_filtered_at_once(browser: Browser) -> None:
    fleet = SyntheticFleet({f"device_{number}": 27 for number in range(500)})
    async with (
        Emulator(fleet) as emulator,
        Client(emulator.account()) as client,
        served(board_app(client, pace=Pace(interval=30))) as url,
    ):
        await until_known(url, 500)
        received, rows = await weight(browser, url)
        assert rows == 500
        assert 20_000 < received < 150_000
        page = await browser.new_page()
        await page.goto(url)
        await page.locator("#filter").fill("device_49*")
        await expect(page.locator("tbody tr:not([hidden])")).to_have_count(11)
        await page.close()


async def test_the_page_and_the_script_filter_and_sort_alike(
    known: tuple[Emulator, str], screen: Screen, web: aiohttp.ClientSession
) -> None:
    """Each number is compared as the page holds it, and ties and what is not known keep one order."""
    emulator, url = known
    page = screen.page
    emulator.set_backend("ibm_boston", status="paused", reason="lift repair")
    try:
        await page.goto(url)
        await expect(screen.row("ibm_boston")).to_contain_text("lift")
        data = screen.row("ibm_boston").locator(".c-t1")
        t1 = await data.get_attribute("data-v")
        for text in (f"t1={t1}", "repair", "rep*", "since", "*x*x*x*x*x*x*"):
            async with web.get(url, params={"q": text}) as answer:
                rows = re.findall(r'<tr  ?data-key="[^"]*" data-name="([^"]*)"', await answer.text())
            await page.locator("#filter").fill(text)
            assert sorted(await screen.names()) == sorted(rows), text
        await page.locator("#filter").fill("")
        for sort in ("clops", "-clops", "2q", "-2q", "-state", "processor"):
            await page.goto(f"{url}/?sort={sort.removeprefix('-')}")
            sent = await screen.names() if not sort.startswith("-") else None
            await page.locator("th.c-t1 button").click()
            await page.locator(f"th.c-{sort.removeprefix('-')} button").click()
            if sent is None:
                await page.locator(f"th.c-{sort.removeprefix('-')} button").click()
                async with web.get(url, params={"sort": sort}) as answer:
                    sent = re.findall(r'<tr  ?data-key="[^"]*" data-name="([^"]*)"', await answer.text())
            assert await screen.names() == sent, sort
    finally:
        emulator.set_backend("ibm_boston")


async def test_the_fleet_page_answers_what_an_operator_asks(browser: Browser) -> None:
    """What is down since when, the newest first; what was recalibrated; and whether that is current."""
    names = ("ibm_aachen", "ibm_boston", "ibm_fez", "ibm_kingston")
    context, screen = await opened(browser)
    page = screen.page
    try:
        async with Emulator("snapshots", backends=names) as emulator, Client(emulator.account()) as client:
            for name in names[:2]:
                emulator.set_backend(name, status="offline")
            emulator.recalibrate("ibm_fez")
            async with served(board_app(client, pace=Pace(interval=0.2, beat=0.2))) as url:
                await page.clock.install()
                await page.goto(url)
                await until_known(url, 4)
                told = page.locator("#told dd")
                await expect(told.first).to_contain_text("ibm_aachen offline since before")
                emulator.set_backend("ibm_kingston", status="paused", reason="<b>lunch</b>")
                await expect(told.first).to_contain_text(
                    re.compile(r"^ibm_kingston paused since \d\d:\d\d UTC \(\d+ s\), <b>lunch</b>")
                )
                recent = told.nth(1)
                await expect(recent).to_contain_text(re.compile(r"ibm_fez \d+ s ago"))
                await recent.get_by_role("link", name="ibm_fez").focus()
                emulator.set_backend("ibm_boston")
                await expect(told.first).not_to_contain_text("ibm_boston")
                await expect(recent.get_by_role("link", name="ibm_fez")).to_be_focused()
                await page.locator("#filter").fill("age<1h state=online")
                await page.clock.run_for(1000)
                await expect(page.locator("#news")).to_contain_text("of 4 backends are shown")
                assert await screen.names() == ["ibm_fez"]
                assert screen.wrong == []
    finally:
        await context.close()


async def test_single_keys_can_be_turned_off(known: tuple[Emulator, str], screen: Screen) -> None:
    page = screen.page
    await page.goto(known[1])
    await page.locator("#help summary").click()
    await page.get_by_label("Single keys").uncheck()
    await page.reload()
    await page.keyboard.press("/")
    await expect(page.locator("#filter")).not_to_be_focused()
    await page.locator("#columns summary").click()
    await page.locator("#columns input").first.press("Escape")
    await expect(page.locator("#columns summary")).to_be_focused()
    await expect(page.locator("#columns input").first).to_be_hidden()
