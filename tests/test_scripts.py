"""Code that is not async: the examples of `docs/scripts.md`, and what a second `asyncio.run` says."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from qrbackends import Client, WrongEventLoop
from qrbackends.emulator import ThreadedEmulator

PAGE = (Path(__file__).parents[1] / "docs" / "scripts.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def served() -> Iterator[ThreadedEmulator]:
    with ThreadedEmulator(fleet="snapshots", backends=["ibm_boston"]) as emulator:
        yield emulator


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_blocks_run(
    block: str, served: ThreadedEmulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: served.account())
    names: dict[str, Any] = {"__name__": "scripts"}
    exec(compile(block, "docs/scripts.md", "exec"), names)  # noqa: S102  # it is our own page
    assert len(capsys.readouterr().out.splitlines()) == block.count("print(")
    assert asyncio.run(is_closed(names["client"]))


async def is_closed(client: Client) -> bool:
    try:
        await client.status("ibm_boston")
    except Exception as error:
        return type(error).__name__ == "ClientClosed"
    return False


SECOND = """
import asyncio
import gc
from qrbackends import Client, Monitor
from qrbackends.emulator import ThreadedEmulator

with ThreadedEmulator() as emulator:
    client = Client(emulator.account())
    monitor = Monitor(client)

    async def first():
        await client.backends()
        monitor.start()

    asyncio.run(first())
    asyncio.run(monitor.aclose())
    opened = [
        one for region in client._parts.pool._regions.values() for one in region.connector._own_sockets
    ]
    assert opened and all(one.fileno() >= 0 for one in opened)
    for call in (client.backends, client.with_options(timeout=5).backends, client.aclose, client.aclose,
                 client.backends):
        try:
            asyncio.run(call())
        except Exception as error:
            print(type(error).__name__, error)
    assert all(one.fileno() < 0 for one in opened), "closed with the client"
    del client
    gc.collect()  # nothing is told that was never closed
"""


def test_a_second_run_says_what_to_do_instead() -> None:  # a process of its own: nobody can close the client
    outcome = subprocess.run(
        [sys.executable, "-W", "default", "-c", SECOND], capture_output=True, text=True, check=True
    )
    told = outcome.stdout.splitlines()
    assert told[2:] == ["ClientClosed the client is closed"]
    assert "never closed" not in outcome.stderr
    for line in told[:2]:
        assert re.search(
            r"^WrongEventLoop .* has ended, .*asyncio\.run\(main\(\)\).*asyncio\.Runner\(\)", line
        )


def test_a_loop_that_still_runs_is_named_otherwise(served: ThreadedEmulator) -> None:
    with asyncio.Runner() as runner:
        client = Client(served.account())
        runner.run(client.status("ibm_boston"))
        with ThreadPoolExecutor() as threads, pytest.raises(WrongEventLoop, match="run_coroutine_threadsafe"):
            threads.submit(asyncio.run, client.status("ibm_boston")).result()
        runner.run(client.aclose())
