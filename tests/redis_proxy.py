"""A TCP proxy in front of a server, which cuts, delays, swallows or spoils what the server answers."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

Toxic = Callable[[bytes], bytes | None]
"""Returns what is passed on of some bytes of an answer; None: nothing, and the connection is cut."""


def whole(answer: bytes) -> bytes:
    """Pass all on."""
    return answer


def nothing(_: bytes) -> bytes:
    """Pass nothing on, as a black hole."""
    return b""


def cutting(draw: random.Random) -> Toxic:
    """Cut some connections in the middle of an answer."""
    left: dict[str, int] = {}

    def cut(answer: bytes) -> bytes | None:
        left.setdefault("bytes", draw.randrange(2000))
        left["bytes"] -= len(answer)
        if left["bytes"] > 0:
            return answer
        left.clear()
        return None

    return cut


def spoiling(draw: random.Random) -> Toxic:
    """Change a byte in some answers."""

    def spoil(answer: bytes) -> bytes:
        if draw.random() > 0.2:
            return answer
        at = draw.randrange(len(answer))
        return answer[:at] + bytes([draw.randrange(256)]) + answer[at + 1 :]

    return spoil


class Proxy:
    """Passes connections on to a port of this machine.

    Attributes:
        url: where it listens.
        target: the port to which new connections lead.
        toxic: what becomes of answers, also of those of open connections.
        delay: seconds by which answers are late.
    """

    def __init__(self, target: int) -> None:
        self.url = ""
        self.target = target
        self.toxic: Toxic = whole
        self.delay = 0.0
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = [writer]
        self._writers.add(writer)
        try:
            inside, outside = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(outside)
            self._writers.add(outside)
            asking = asyncio.create_task(self._pass(reader, outside, answers=False))
            answering = asyncio.create_task(self._pass(inside, writer, answers=True))
            await asyncio.wait((asking, answering), return_when=asyncio.FIRST_COMPLETED)
            for task in (asking, answering):
                task.cancel()
            await asyncio.wait((asking, answering))
        except OSError:
            pass
        finally:
            self._writers.difference_update(ends)
            for end in ends:
                end.close()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                if answers:
                    await asyncio.sleep(self.delay)
                    passed = self.toxic(data)
                    if passed is None:
                        writer.write(data[: len(data) // 2])
                        return
                    data = passed
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """Run a proxy."""
    running = Proxy(target)
    server = await asyncio.start_server(running._serve, "127.0.0.1", 0)
    running.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
    finally:
        server.close()
        running.cut()
