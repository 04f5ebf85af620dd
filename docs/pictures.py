"""The pictures of the board, which `python -m docs.build` makes with the extra `test` and Chromium."""

from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.async_api import Browser

from qrbackends import Client
from qrbackends.emulator import Emulator
from qrbackends.web import Pace, board_app
from tests.web.browser import chromium
from tests.web.serving import served

FOLDER = Path(__file__).parents[1] / "tests" / "pictures"
COLOURS = 256  # of a picture, which makes it a third of the size
KNOWN = 'c-age"><time'


async def draw_board(folder: Path = FOLDER) -> None:
    """Show a fleet with two devices that go down, and take its screens."""
    async with (
        Emulator("snapshots") as emulator,
        Client(emulator.account()) as client,
        served(board_app(client, pace=Pace(interval=1))) as url,
        chromium() as browser,
    ):
        page = await browser.new_page()
        await page.goto(url)
        while (await page.content()).count(KNOWN) < len(emulator.backends()):
            await page.reload()
        emulator.set_backend("ibm_kyiv", status="offline", reason="maintenance")
        emulator.set_backend("ibm_torino", status="paused", reason="calibration")
        await page.locator("#told", has_text="ibm_torino paused since").wait_for()
        await take(browser, f"{url}/?q=qubits>%3D120&sort=2q", folder / "board-fleet", "light", 1400, 700)
        device = f"{url}/backends/us-east/ibm_cusco?find=line&n=9"
        await take(browser, device, folder / "board-device", "dark", 1400, 1150)
        await take(browser, f"{url}/?q=qubits>%3D120&sort=2q", folder / "board-phone", "dark", 390, 844)


async def take(browser: Browser, address: str, file: Path, scheme: str, width: int, height: int) -> None:
    """Write a picture of a page."""
    context = await browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(address)
    await page.locator("#current", has_text="asked").wait_for()
    taken = Image.open(BytesIO(await page.screenshot()))
    taken.convert("RGB").quantize(COLOURS).save(file.with_suffix(".png"), optimize=True)
    await context.close()
