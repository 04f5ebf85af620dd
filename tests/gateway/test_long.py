"""The gateway under load: many cold starts, and many requests."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from qrbackends.emulator import Addresses, Emulator, ThreadedEmulator

from .serving import Asker, running

pytestmark = pytest.mark.anyio

_KINDS = ("configuration", "properties")


async def cold_starts(emulator: Emulator, number: int) -> None:
    """Let so many callers, each with a token of its own, read the same two documents at once."""
    name = emulator.backends("us-east")[0]
    async with running(emulator) as at:

        async def job() -> None:
            granted = at.keyring.exchange(at.keyring.throw_away or "") or {}
            bearer = f"Bearer {granted['access_token']}"
            asker = Asker(at.asker.session, at.url, bearer, at.asker.crn)
            for kind in _KINDS:
                assert (await asker.document(name, kind)).status == 200

        await asyncio.gather(*(job() for _ in range(number)))
    assert (emulator.count("configuration"), emulator.count("properties")) == (1, 1)


async def test_cold_starts_cost_one_request_for_each_document(emulator: Emulator) -> None:
    await cold_starts(emulator, 50)


@pytest.mark.long
async def test_500_cold_starts_cost_one_request_for_each_document(real_emulator: Emulator) -> None:
    await cold_starts(real_emulator, 500)


def wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        reason = "wrk is not on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_memory_is_flat_over_a_million_requests() -> None:
    program, answered, sizes = wrk(), 0, []
    with ThreadedEmulator(fleet="snapshots", regions=("us-east",)) as emulator:
        command = [sys.executable, "-m", "qrbackends", "gateway", "--json", "--port", "0"]
        process = subprocess.Popen(
            [*command, "--emulator", emulator.url("cloud")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        try:
            at = msgspec.json.decode(process.stdout.readline(), type=Addresses)
            paths = [f"/backends/{name}/{kind}" for name in emulator.backends()[:2] for kind in _KINDS]
            while answered < 1_000_000:
                for path in ("/backends", *paths):
                    sent = [f"Authorization: apikey {at.api_key}", f"Service-CRN: {at.instances[0].crn}"]
                    sent += ["Accept-Encoding: gzip", "IBM-API-Version: 2026-04-15"]
                    options = [part for line in sent for part in ("-H", line)]
                    load = [program, "-t1", "-c32", "-d5s", *options, f"{at.instances[0].url}{path}"]
                    said = subprocess.run(load, capture_output=True, text=True, check=True).stdout
                    assert "Non-2xx" not in said
                    answered += int(said.partition(" requests in")[0].split()[-1])
                pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
                sizes.append(pages * os.sysconf("SC_PAGE_SIZE"))
        finally:
            process.terminate()
            process.wait(60)
            process.stdout.close()
    assert sizes[-1] - sizes[0] < 4 * 2**20, (answered, sizes)
