"""A plain HTTP client that knows the headers, and nothing else, of the service."""

from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp
import msgspec
from yarl import URL

from qrbackends.emulator import Emulator

GRANT = "urn:ibm:params:oauth:grant-type:apikey"
NOW = 1_780_000_000.0  # 28 May 2026


class Got(NamedTuple):
    """An answer, read to its end."""

    status: int
    headers: Any
    body: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Asker:
    """Asks an emulator, with a valid token by default."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(20), cookie_jar=aiohttp.DummyCookieJar()
        )
        self.token = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.session.close()

    def crn(self, region: str = "us-east") -> str:
        """The first instance of a region."""
        return next(i.crn for i in self.emulator.instances if i.region == region)

    async def log_in(self, key: str | None = None) -> Got:
        """Exchange a key, by default the emulator's own, for a token."""
        form = {"grant_type": GRANT, "apikey": self.emulator.api_keys[0] if key is None else key}
        got = await self.send("POST", f"{self.emulator.iam_url}/identity/token", data=form)
        if got.status == 200:
            self.token = got.json()["access_token"]
        return got

    async def get(self, path: str, region: str = "us-east", **headers: str | None) -> Got:
        """GET a path below a region's /api/v1; a header given as None is left out."""
        return await self.request("GET", path, region, **headers)

    async def request(self, method: str, path: str, region: str = "us-east", **headers: str | None) -> Got:
        """Send any method."""
        if not self.token:
            await self.log_in()
        merged = {
            "Authorization": f"Bearer {self.token}",
            "Service-CRN": self.crn(region),
            "IBM-API-Version": "2026-04-15",
        } | {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in merged.items() if value is not None}
        return await self.send(method, f"{self.emulator.url(region)}{path}", headers=sent)

    async def send(self, method: str, url: str, **options: Any) -> Got:
        """Send a request as it is: the URL's escapes stay as they are written."""
        options.setdefault("allow_redirects", False)
        async with self.session.request(method, URL(url, encoded=True), **options) as response:
            return Got(response.status, response.headers, await response.read())
