"""What one writes with aiohttp alone: the peer of everything that goes over the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from qrbackends.emulator import Emulator
from qrbackends.protocol.requests import API_VERSION


@asynccontextmanager
async def bare_session(
    emulator: Emulator, timeout: aiohttp.ClientTimeout | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a plain session with the emulator's token."""
    async with aiohttp.ClientSession(timeout=timeout or aiohttp.ClientTimeout(total=None)) as session:
        form = {"grant_type": "urn:ibm:params:oauth:grant-type:apikey", "apikey": emulator.api_keys[0]}
        async with session.post(f"{emulator.iam_url}/identity/token", data=form) as answer:
            token = (await answer.json())["access_token"]
        session.headers.update({"Authorization": f"Bearer {token}", "IBM-API-Version": API_VERSION})
        yield session


def instance_of(emulator: Emulator, region: str) -> dict[str, str]:
    """Return the header that names a region's first instance."""
    crn = next(one.crn for one in emulator.instances if one.region == region and one.usable)
    return {"Service-CRN": crn}


async def get(session: aiohttp.ClientSession, url: str, headers: dict[str, str], attempts: int = 1) -> bytes:
    """Return a body; a 429 is waited out and the request sent again, by each call alone."""
    for attempt in range(attempts):
        async with session.get(url, headers=headers) as answer:
            if answer.status == 200:
                return await answer.read()
            wait = float(answer.headers.get("Retry-After", 1.0))
        if attempt + 1 < attempts:
            await asyncio.sleep(wait)
    raise OSError(f"HTTP {answer.status}")
