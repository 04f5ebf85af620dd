"""Every Python block of the README and of the pages runs, against the emulator, in the order of reading."""

import ast
import codeop
import inspect
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer as AppServer
from redis import Redis

import qrbackends
from qrbackends import Client
from qrbackends.emulator import Emulator

from .redis_server import running as redis_running
from .web.serving import served

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
ELSEWHERE = {  # pages whose blocks are run by tests of their own, as they need more than an account
    "agents": "agents/test_page.py",
    "calls": "test_call_options.py",
    "choosing": "analysis/test_choosing.py",
    "emulator": "emulator/test_docs.py",
    "pennylane": "clients/test_pennylane.py",
    "pytket": "interop/test_pytket.py",
    "scripts": "test_scripts.py",
    "stores": "testing/test_contract.py",
    "testing": "test_plugin.py",
}
PAGES = (README, *sorted(page for page in DOCS.glob("*.md") if page.stem not in ELSEWHERE))
REDIS = "redis://localhost:6379"
RUNNING = "http://127.0.0.1:8103"  # the address at which readers of the tutorial run an emulator


def blocks(page: Path) -> list[str]:
    """Return the Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


BLOCKS = [
    pytest.param(block, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, block in enumerate(blocks(page))
]


async def run(block: str) -> dict[str, Any]:
    """Run a block as one who pastes it into `python -m asyncio` does: line by line. Return its names."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    names: dict[str, Any] = {"__name__": "readme"}
    pending: list[str] = []
    for line in [*block.splitlines(), ""]:
        pending.append(line)
        code = compiler("\n".join(pending), str(README), "single")
        if code is not None:  # a whole statement
            pending.clear()
            outcome = eval(code, names)  # noqa: S307  # it is our own README
            if inspect.isawaitable(outcome):
                await outcome
    assert not pending
    return names


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an app of whatever framework."""
    if isinstance(app, web.Application):
        async with AppServer(app) as server:
            yield str(server.make_url("")).rstrip("/")
    else:
        async with served(app) as url:
            yield url


@contextmanager
def redis_of(block: str) -> Iterator[str]:
    """Run a Redis for a block that has the address of one, and see that the block left something there."""
    if REDIS not in block:
        yield block
    else:
        with redis_running() as server:
            yield block.replace(REDIS, server.url)
            with Redis.from_url(server.url) as redis:
                assert [*redis.scan_iter("qrbackends:*")]


# Tools of others that are shown use what is deprecated.
@pytest.mark.filterwarnings("ignore:.*V2 class is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Treating CircuitInstruction as an iterable:DeprecationWarning")
@pytest.mark.parametrize("block", BLOCKS)
async def test_the_blocks_run(
    block: str, real_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: real_emulator.account())
    monkeypatch.chdir(tmp_path)
    with redis_of(block) as block:
        names = await run(block.replace(RUNNING, real_emulator.url("cloud")))
    if inspect.iscoroutinefunction(names.get("app")):  # an app that is made around a client
        async with Client(real_emulator.account()) as client:
            assert isinstance(await names["app"](client), web.Application)
    elif "app" in names:
        path = "/properties/{}" if "properties" in names else "/fleet/backends/{}/properties"
        async with serving(names["app"]) as url, aiohttp.ClientSession() as visitor:
            for name, status in (("ibm_boston", 200), ("nowhere", 404)):
                async with visitor.get(url + path.format(name)) as answer:
                    assert answer.status == status
                    assert (await answer.json()).get("backend_name") in (name, None)


def test_there_are_blocks_and_two_commands() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(BLOCKS) >= 30
    commands = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert [command.count("\n") for command in commands] == [1, 1], "two commands, one line each"


@pytest.mark.parametrize(("page", "test"), ELSEWHERE.items(), ids=ELSEWHERE)
def test_a_page_that_is_left_out_here_has_a_test(page: str, test: str) -> None:
    assert blocks(DOCS / f"{page}.md")
    assert re.search(rf"\b{page}\.md\b", (ROOT / "tests" / test).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "page", [*PAGES, *(DOCS / f"{page}.md" for page in ELSEWHERE)], ids=lambda page: page.stem
)
def test_every_name_that_a_page_takes_from_the_package_is_public(page: Path) -> None:
    for names in re.findall(r"^from qrbackends import (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        assert set(names.split(", ")) <= set(qrbackends.__all__)
