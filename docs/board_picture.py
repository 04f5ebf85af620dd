"""The status board as a browser shows it, with the emulator's snapshots behind it."""

import asyncio
import shutil
import sys
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "tests" / "pictures" / "board.png"
_SIZE: ViewportSize = {"width": 1200, "height": 560}
_WHOLE = (
    "document.querySelector('tbody')?.rows[0] && !document.querySelector('tbody').innerText.includes('–')"
)
_COMMAND = ("-m", "qrbackends", "board", "--emulator", "snapshots:current", "--port", "0")


async def draw_board(file: Path) -> None:
    """Write a PNG of the board's first page.

    Raises:
        FileNotFoundError: no chromium is on PATH.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise FileNotFoundError("the picture of the board needs chromium")
    served = await asyncio.create_subprocess_exec(
        sys.executable, *_COMMAND, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert served.stdout is not None  # noqa: S101  # it is a pipe
        address = ""
        while not address.startswith("http"):
            address = next(
                (word for word in (await served.stdout.readline()).decode().split() if "http" in word), ""
            )
        async with async_playwright() as playwright:
            # No sandbox: containers seldom allow one, and the page is our own.
            browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
            context = await browser.new_context(
                viewport=_SIZE, color_scheme="light", bypass_csp=True, reduced_motion="reduce"
            )
            page = await context.new_page()
            await page.goto(address)
            await page.wait_for_function(_WHOLE)
            await page.screenshot(path=file, animations="disabled")  # rows fade after a change
            await browser.close()
    finally:
        served.terminate()
        await served.wait()
