"""How long a connection waits for an answer, by a clock that the tests put forward."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel
import pytest

from qrbackends import Account, ConnectTimeout, Limits, ReadTimeout, SessionPool
from qrbackends.transport.pool import Response

from ..waiting import until
from .test_pool import CALL, ok
from .test_pool import get as get_from

LIMITS = Limits(total=1000.0, connect=5.0, read=10.0)  # so the head has to come within 15 s


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward.

    Attributes:
        skipped: the seconds by which it was.
    """

    skipped = 0.0

    def time(self) -> float:
        return super().time() + self.skipped


@dataclass
class Peer:
    """The other end of the connections, which sends what a test says, and the client's end.

    Attributes:
        pool: the pool that sends the requests.
        url: the address of the other end.
        asked: how many requests have come.
        writers: the connections that were opened.
    """

    pool: SessionPool
    url: str = ""
    asked: int = 0
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked += 1
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    async def ask(self) -> asyncio.Task[Response]:
        """Send a request, and wait until it has come."""
        asked = self.asked
        task = asyncio.create_task(get_from(self.pool, self.url))
        await until(lambda: self.asked > asked)
        return task

    async def passes(self, seconds: float, sent: bytes = b"") -> None:
        """Put the clock forward; then bytes come, and everything happens that is due."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        loop.skipped += seconds
        self.writers[-1].write(sent)
        for _ in range(8):  # rounds of the event loop; loopback delivers at once
            await anyio.lowlevel.checkpoint()


def run(test: Callable[[Peer], Coroutine[Any, Any, None]]) -> None:
    """Run a test in an event loop whose clock it puts forward."""

    async def with_peer() -> None:
        peer = Peer(SessionPool(LIMITS))
        # The pool is closed first: from Python 3.12.1 on, a server waits for the end of its connections.
        async with await asyncio.start_server(peer.serve, "127.0.0.1", 0) as listening, peer.pool:
            peer.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            await test(peer)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(with_peer())


@pytest.mark.parametrize("before", [0.0, 3.0, 9.0], ids=lambda seconds: f"{seconds:g} s after another")
def test_a_request_has_all_of_its_time_whenever_the_connection_was_opened(before: float) -> None:
    async def test(peer: Peer) -> None:
        first = await peer.ask()
        await peer.passes(before, ok(b"1"))
        assert (await first).body == b"1"
        await peer.passes(0.5)
        second = await peer.ask()
        await peer.passes(9.9)
        await peer.passes(0.0)
        assert not second.done()
        await peer.passes(0.2)
        with pytest.raises(ReadTimeout, match="no byte for 10 s"):
            await second
        assert len(peer.writers) == 1
        third = await peer.ask()
        assert len(peer.writers) == 2, "the late answer to the second is not that to the third"
        await peer.passes(9.9, ok(b"3"))
        assert (await third).body == b"3"

    run(test)


def test_bytes_of_a_body_may_be_ten_seconds_apart() -> None:
    async def test(peer: Peer) -> None:
        asked = await peer.ask()
        begin, end = ok(b"ab" * 100_000)[:-2], b"ab"
        await peer.passes(9.9, begin)
        await peer.passes(9.9, end)
        assert len((await asked).body) == 200_000
        asked = await peer.ask()
        await peer.passes(9.9, begin)
        await peer.passes(9.9)
        assert not asked.done()
        await peer.passes(0.2)
        with pytest.raises(ReadTimeout, match="no byte for 10 s"):
            await asked

    run(test)


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["", "after a 100"])
def test_a_head_that_comes_slowly_ends_at_its_own_limit(interim: bytes) -> None:
    async def test(peer: Peer) -> None:
        asked = await peer.ask()
        await peer.passes(9.0, interim + b"HTTP/1.1 200 OK\r\n")
        await peer.passes(5.9, b"Content-Length: 1\r\n")
        assert not asked.done()
        await peer.passes(0.2)
        with pytest.raises(ReadTimeout, match="headers did not come in time"):
            await asked

    run(test)


def test_an_idle_connection_stays_open() -> None:
    async def test(peer: Peer) -> None:
        for body in (b"1", b"2"):
            asked = await peer.ask()
            await peer.passes(1.0, ok(body))
            assert (await asked).body == body
            await peer.passes(30.0)
        assert len(peer.writers) == 1

    run(test)


def test_a_proxy_that_opens_no_tunnel_is_a_connection_that_was_not_made() -> None:
    async def test(peer: Peer) -> None:
        account = Account(token="a-marked-token", proxies={"https": peer.url})
        asking = asyncio.create_task(
            peer.pool.exchange("GET", "https://far.test", {}, region="here", account=account, call=CALL)
        )
        await until(lambda: peer.asked == 1)
        await peer.passes(4.9)
        assert not asking.done()
        await peer.passes(0.2)
        with pytest.raises(ConnectTimeout, match="no connection within 5 s"):
            await asking

    run(test)
