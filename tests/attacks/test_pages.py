"""Crowds before the pages of large devices without coordinates: others are served meanwhile."""

import asyncio
import threading
import time
from pathlib import Path

import aiohttp
import msgspec
import pytest

from benchmarks.lag import worst
from qrbackends import Client
from qrbackends.emulator import Emulator, SyntheticFleet
from qrbackends.web import board_app

from ..web.serving import served

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SIZES = (1121, 1100, 1080, 4000, 3900)
VISITORS = 30  # of each device


def write(folder: Path) -> None:
    """Write the documents of large devices, without coordinates."""
    for size in SIZES:
        fleet = SyntheticFleet({"large": size})
        conf = fleet.find("configuration", "large", None, None, 1.8e9)
        props = fleet.find("properties", "large", None, None, 1.8e9)
        assert conf is not None
        assert props is not None
        for kind, key, change in (("conf", conf, {"coords": None}), ("props", props, {})):
            document = msgspec.json.decode(fleet.build(key)) | {"backend_name": f"large_{size}"} | change
            (folder / f"{kind}_large_{size}.json").write_bytes(msgspec.json.encode(document))


def workers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("qrbackends-")]


async def test_visitors_of_large_devices_stop_nobody(tmp_path: Path) -> None:
    await asyncio.to_thread(write, tmp_path)
    async with (
        Emulator(tmp_path, regions=("us-east",)) as large,
        Client(large.account()) as client,
        served(board_app(client)) as url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as web,
    ):
        for name in large.backends():  # what is fetched and decoded is not the page's
            await client.configuration(name)
            await client.properties(name)
        text = ""
        while text.count('c-age"><time') < len(SIZES):  # nor is what the monitor summarizes
            async with web.get(f"{url}/") as answer:
                text = await answer.text()

        async def visit(name: str) -> bool:
            async with web.get(f"{url}/backends/us-east/{name}") as answer:
                assert answer.status == 200
                return "<svg" in await answer.text()

        for what in ("a new", "a known"):
            began = time.perf_counter()
            crowd = asyncio.gather(*(visit(name) for name in large.backends() for _ in range(VISITORS)))
            delay = await worst(crowd)
            drawn, passed = crowd.result(), time.perf_counter() - began
            print(
                f"\n{len(drawn)} visitors of {len(SIZES)} devices, {what} page: the loop was taken for "
                f"{delay * 1000:.0f} ms at most; {sum(drawn)} got a map, within {passed:.1f} s; "
                f"{len(workers())} threads draw"
            )
            assert len(workers()) <= 2
        assert all(drawn)
