"""The board as a person uses it, in a real browser."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.async_api import Browser, expect

from qrbackends import Client, Limits, RetryPolicy, Secret
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.web import Guard, Pace, board_app

from .browser import Screen, chromium
from .serving import served
from .test_odd import ODD, STRANGE, listed

pytestmark = pytest.mark.anyio

SCRIPT = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"
WAIT = 30_000  # ms; a guard against a hang
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="module")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def url(client: Client) -> AsyncIterator[str]:
    async with served(board_app(client, pace=Pace(interval=0.1, beat=0.2))) as address:
        yield address


@pytest.fixture
async def screen(browser: Browser) -> AsyncIterator[Screen]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    shown = Screen(await context.new_page())
    yield shown
    await context.close()
    assert shown.wrong == []


async def test_it_loads_and_changes_appear_by_themselves(
    url: str, client: Client, emulator: Emulator, screen: Screen
) -> None:
    await screen.page.goto(url)
    name = emulator.backends()[0]
    await expect(screen.page.locator("tbody tr")).to_have_count(len(emulator.backends()))
    await expect(screen.page.get_by_role("note")).to_contain_text("Emulated data")
    await expect(screen.page.locator("#stale")).to_be_hidden()
    bad = str(len((await client.properties(name)).broken_couplings()))
    await expect(screen.row(name).locator(".c-broken")).to_have_text(bad)
    await expect(screen.row(name).locator(".c-age")).to_have_text(re.compile(r"^\d+ (s|min|h|d)$"))
    emulator.set_backend(name, status="paused", reason="lunch", queue_length=4321)
    await expect(screen.row(name)).to_contain_text("lunch")
    await expect(screen.row(name)).to_contain_text("4321")
    await expect(screen.row(name).locator("td.state")).to_have_class("c-state state paused")
    await expect(screen.row(name).locator(".c-state")).to_contain_text("since")
    await expect(screen.page.locator("#told")).to_contain_text(f"{name} paused since")
    await expect(screen.page.locator("#news")).to_have_text(f"{name} is paused.")
    await expect(screen.row(name).locator("svg.spark path")).to_have_count(1)
    emulator.set_backend(name, hidden=True)
    await expect(screen.row(name)).to_have_count(0)
    emulator.set_backend(name)
    await expect(screen.row(name)).to_have_count(1)
    assert all(asked.startswith(url) for asked in screen.asked), "nothing is asked of another host"


@pytest.mark.long
async def test_columns_sort_and_the_filter_filters(url: str, emulator: Emulator, screen: Screen) -> None:
    names = emulator.backends()
    for number, name in enumerate(names):
        emulator.set_backend(name, queue_length=(7 * number) % len(names) + 10, status="online")
    emulator.set_backend(names[0], queue_length=99, status="offline")
    await screen.page.goto(url)
    await expect(screen.row(names[0])).to_contain_text("99")
    assert await screen.names() == list(names)
    head = screen.page.locator('th[data-key="queue"]')
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "ascending")
    queues = [int(text) for text in await screen.page.locator("tbody td.c-queue").all_text_contents()]
    assert queues == sorted(queues)
    await head.get_by_role("button").click()
    await expect(head).to_have_attribute("aria-sort", "descending")
    assert (await screen.names())[0] == names[0]
    await expect(screen.page.locator("th[aria-sort]")).to_have_count(1)
    await screen.page.locator("#filter").fill(f"{names[0]} offline")
    assert await screen.names() == [names[0]]
    await screen.page.locator("#filter").fill(f"{names[0]} state=online")
    await expect(screen.page.locator("#empty")).to_be_visible()
    await screen.page.locator("#filter").fill("state=online")
    assert set(await screen.names()) == set(names[1:])
    await expect(screen.page.locator("#summary")).to_contain_text(
        f"{len(names) - 1} of {len(names)} backends"
    )


async def test_the_keyboard_does_it_all(url: str, emulator: Emulator, screen: Screen) -> None:
    await screen.page.goto(url)
    await expect(screen.page.locator("tbody tr")).to_have_count(len(emulator.backends()))
    names = emulator.backends()
    keyboard = screen.page.keyboard
    await keyboard.press("/")
    await expect(screen.page.locator("#filter")).to_be_focused()
    await keyboard.type(names[2])
    assert await screen.names() == [names[2]]
    await keyboard.press("Escape")
    assert await screen.names() == list(names)
    for key, place in (("j", 0), ("j", 1), ("ArrowDown", 2), ("k", 1), ("ArrowUp", 0), ("k", 0)):
        await keyboard.press(key)
        await expect(screen.row(names[place]).locator("a")).to_be_focused()
    emulator.set_backend(names[0], queue_length=77)  # rows move, and the focus stays
    await expect(screen.row(names[0])).to_contain_text("77")
    await expect(screen.row(names[0]).locator("a")).to_be_focused()
    await keyboard.press("Enter")
    await expect(screen.page.get_by_role("heading", level=1)).to_have_text(names[0])


@pytest.mark.long
async def test_a_narrow_screen_shows_all_without_scrolling_sideways(
    url: str, emulator: Emulator, screen: Screen
) -> None:
    await screen.page.set_viewport_size({"width": 360, "height": 700})
    for path in ("/", f"/backends/us-east/{emulator.backends('us-east')[0]}"):
        await screen.page.goto(url + path)
        await expect(screen.page.get_by_role("heading", level=1)).to_be_visible()
        width = await screen.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 360
    await screen.page.goto(url)
    first = screen.row(emulator.backends()[0])
    await expect(first.locator("td").nth(2)).to_be_visible()
    box = await first.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


async def test_it_follows_the_colours_that_the_system_wants(url: str, browser: Browser) -> None:
    shades = []
    for scheme in ("light", "dark"):
        context = await browser.new_context(color_scheme=scheme)
        page = await context.new_page()
        await page.goto(url)
        shade = await page.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(map(int, re.findall(r"\d+", shade)[:3])))
        await context.close()
    assert shades[0] > 700
    assert shades[1] < 100


async def test_it_says_when_the_origin_has_died(emulator: Emulator, browser: Browser) -> None:
    once, calm = RetryPolicy(attempts=1), Limits(failures=10**9)
    async with (
        Client(emulator.account(), retry=once, limits=calm) as client,
        served(board_app(client, pace=Pace(interval=0.1))) as url,
    ):
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("tbody tr")).to_have_count(len(emulator.backends()))
        await emulator.stop_region("eu-de")
        await expect(page.locator("#stale")).to_contain_text("Old data: eu-de could not be read since")
        await expect(page.locator("#current")).to_contain_text("Partly old data")
        old, young = emulator.backends("eu-de")[0], emulator.backends("us-east")[0]
        await expect(page.locator(f'tr[data-name="{old}"]')).to_have_class(re.compile("old"))
        await expect(page.locator(f'tr[data-name="{young}"]')).not_to_have_class(re.compile("old"))
        await emulator.start_region("eu-de")
        await expect(page.locator("#stale")).to_be_hidden()
        await page.close()


@pytest.mark.long
async def test_it_says_that_data_is_emulated_as_soon_as_there_is_any(
    emulator: Emulator, browser: Browser
) -> None:
    once, calm = RetryPolicy(attempts=1), Limits(failures=10**6)
    for region in emulator.regions:
        await emulator.stop_region(region)
    async with (
        Client(emulator.account(), retry=once, limits=calm) as client,
        served(board_app(client, pace=Pace(interval=0.1))) as url,
    ):
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("#stale")).to_be_visible()
        await expect(page.locator("#emulated")).to_be_hidden()
        for region in emulator.regions:
            await emulator.start_region(region)
        await expect(page.get_by_role("note")).to_contain_text("Emulated data")
        await page.close()


async def test_it_says_when_its_own_server_has_died(client: Client, browser: Browser) -> None:
    page = await browser.new_page()
    async with served(board_app(client, pace=Pace(interval=0.1, beat=0.1))) as url:
        await page.goto(url)
        await expect(page.locator("#current")).to_contain_text("Current: asked")
        await expect(page.locator("body.lost")).to_have_count(0)
        address = urlsplit(url)
    await expect(page.locator("#stale")).to_contain_text("no connection to this board’s server")
    await expect(page.locator("body.lost")).to_have_count(1)
    async with served(board_app(client, pace=Pace(interval=0.1, beat=0.1)), port=address.port):
        await expect(page.locator("body.lost")).to_have_count(0)
        await expect(page.locator("#stale")).to_be_hidden()
        await page.close()


async def test_a_script_in_any_text_of_the_service_stays_text(
    url: str, emulator: Emulator, screen: Screen
) -> None:
    name = emulator.backends("us-east")[0]
    await screen.page.goto(url)
    await expect(screen.page.locator("tbody tr")).to_have_count(len(emulator.backends()))
    emulator.set_backend(name, status="paused", reason=SCRIPT)  # by an event
    await expect(screen.row(name)).to_contain_text(SCRIPT)
    await screen.page.reload()  # by the page itself
    await expect(screen.row(name)).to_contain_text(SCRIPT)
    await screen.page.goto(f"{url}/backends/us-east/{name}")
    await expect(screen.page.locator("#state")).to_contain_text(SCRIPT)
    emulator.set_backend(name, status="offline", reason=SCRIPT + "!")
    await expect(screen.page.locator("#state")).to_contain_text(SCRIPT + "!")
    assert await screen.page.locator("img, b").count() == 0
    assert await screen.page.title() == name


def poisoned(value: Any) -> Any:
    """Return a document with the script in every text that is no date, unit or measured quantity."""
    if isinstance(value, dict):
        return {key: one if key in ("date", "unit") else poisoned(one) for key, one in value.items()}
    if isinstance(value, list):
        return [poisoned(one) for one in value]
    known = isinstance(value, str) and (value in KNOWN or re.match(r"\d{4}-\d\d-\d\d", value))
    return value + SCRIPT if isinstance(value, str) and not known else value


KNOWN = ("T1", "T2", "readout_error", "gate_error", "gate_length", "cz", "online")


@pytest.mark.long
async def test_a_script_in_any_text_of_its_documents_stays_text(
    emulator: Emulator, browser: Browser, tmp_path: Path
) -> None:
    async with Client(emulator.account()) as client:
        name = emulator.backends()[0]
        for kind, document in (
            ("conf", await client.configuration(name)),
            ("props", await client.properties(name)),
        ):
            poison = poisoned(msgspec.json.decode(msgspec.json.encode(document)))
            poison["backend_name"] = "device_<b>bold<b>"
            (tmp_path / f"{kind}_device.json").write_bytes(msgspec.json.encode(poison))
    async with (
        Emulator(tmp_path, regions=("us-east",)) as hostile,
        Client(hostile.account()) as client,
        served(board_app(client, pace=Pace(interval=0.1))) as url,
    ):
        (name,) = hostile.backends()
        page = await browser.new_page()
        await page.goto(url)
        await expect(page.locator("svg.spark")).to_have_count(1)
        await page.locator("tbody a").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text(name)
        await expect(page.locator("svg circle").first).to_be_visible()
        assert "<b>" in name
        assert await page.locator("img, b").count() == 0
        assert await page.title() == name
        await page.close()


async def test_a_link_with_a_token_logs_in_and_forgets_it(client: Client, screen: Screen) -> None:
    token = "0123456789abcdef-token"
    app = Guard(board_app(client, pace=Pace(interval=0.1)), token=Secret(token), login=True)
    async with served(app) as url:
        await screen.page.goto(f"{url}/#token={token}")
        await expect(screen.page.locator("tbody tr").first).to_be_visible()
        async with screen.page.expect_response(f"{url}/events") as events:  # by the cookie
            await screen.page.reload()
        assert (await events.value).ok
        assert token not in screen.page.url
        assert all(token not in asked for asked in screen.asked)
        await screen.page.goto(url)
        await expect(screen.page.locator("tbody tr").first).to_be_visible()
        assert await screen.page.evaluate("document.cookie") == ""
        await screen.page.context.clear_cookies()
        await screen.page.goto(url)
        await expect(screen.page.get_by_label("Token")).to_be_focused()
        await screen.page.keyboard.type(token)
        await screen.page.keyboard.press("Enter")
        await expect(screen.page.locator("tbody tr").first).to_be_visible()
        await screen.page.goto("about:blank")
    screen.wrong.clear()  # the browser tells of the 401 that the log-in page is


async def test_a_backends_page_shows_its_map_and_is_live(
    url: str, emulator: Emulator, screen: Screen
) -> None:
    name = emulator.backends("us-east")[0]
    await screen.page.goto(f"{url}/backends/us-east/{name}")
    colors = await screen.page.locator("circle").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    await screen.page.get_by_role("link", name="T1", exact=True).click()
    await expect(screen.page.locator("nav a[aria-current]")).to_have_text("T1")
    others = await screen.page.locator("circle").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    assert colors != others
    emulator.set_backend(name, status="paused", reason="maintenance", queue_length=5)
    await expect(screen.page.locator("#state")).to_contain_text("maintenance")
    await expect(screen.page.locator("#queue")).to_have_text("5")


async def test_odd_names_are_shown_as_odd_by_the_page_and_by_its_script(
    url: str, emulator: Emulator, screen: Screen
) -> None:
    await screen.page.goto(url)
    await expect(screen.page.locator("tbody tr")).to_have_count(len(emulator.backends()))
    await listed(emulator, [*ODD, *STRANGE])
    count = len(ODD) + len(STRANGE) + 1 + len(emulator.backends("eu-de"))
    for _ in range(2):  # rows that came by events, and then those of the page
        await expect(screen.page.locator("tbody tr")).to_have_count(count)
        await expect(screen.page.locator("tbody th .odd")).to_have_count(len(ODD))
        await expect(screen.page.locator("tbody th a")).to_have_count(count - len(ODD))
        hrefs = await screen.page.locator("tbody th a").evaluate_all("all => all.map(one => one.href)")
        assert all(href.startswith(f"{url}/backends/") and href.count("/") == 5 for href in hrefs)
        width = await screen.page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1280, "a long name makes nothing wider"
        assert await screen.page.locator("img").count() == 0
        await screen.page.reload()


@pytest.mark.long
async def test_a_device_of_thousands_fits_on_the_screen(browser: Browser, tmp_path: Path) -> None:
    fleet = SyntheticFleet({"condor": 1500})
    keys = {
        "conf": fleet.find("configuration", "condor", None, None, 1.8e9),
        "props": fleet.find("properties", "condor", None, None, 1.8e9),
    }
    for kind, key in keys.items():
        assert key is not None
        document = msgspec.json.decode(fleet.build(key)) | ({"coords": None} if kind == "conf" else {})
        (tmp_path / f"{kind}_condor.json").write_bytes(msgspec.json.encode(document))
    async with (
        Emulator(tmp_path, regions=("us-east",)) as large,
        Client(large.account()) as client,
        served(board_app(client)) as url,
    ):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(f"{url}/backends/us-east/{large.backends()[0]}")
        await expect(page.locator("svg circle")).to_have_count(1500)
        box = await page.locator("div.map svg").bounding_box()
        assert box is not None
        assert box["width"] <= 1280
        await page.close()
