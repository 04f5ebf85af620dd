"""An MCP server over standard input and output."""

import asyncio
import os
import sys
import threading
from contextlib import redirect_stdout, suppress
from typing import Any, Final, Self, cast

from mcp.server import Server
from mcp.server.stdio import stdio_server

_CHUNK: Final = 65536  # bytes


async def serve_stdio(server: Server[Any]) -> None:
    """Serve one host over standard input and output, until it closes one of them or this task is cancelled.

    Meanwhile whatever is printed goes to stderr, so that nothing but the protocol reaches the host.
    """
    try:
        # The SDK leads file descriptor 1 to stderr, but `sys.stdout` would be flushed when it is back.
        async with stdio_server(cast("Any", _Lines())) as (reading, writing):
            with redirect_stdout(sys.stderr):
                await server.run(reading, writing, server.create_initialization_options())
    except* BrokenPipeError:  # the host is gone
        pass


class _Lines:
    """The lines of standard input, read by a thread that nobody waits for.

    The SDK's own reader waits for its thread, and so for the next line, before a signal ends the process.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        threading.Thread(target=self._read, name="stdin", daemon=True).start()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        line = await self._lines.get()
        if line is None:
            raise StopAsyncIteration
        return line

    def _read(self) -> None:
        rest = bytearray()
        with suppress(RuntimeError):  # the event loop is closed
            with suppress(OSError):  # there is no standard input
                while chunk := os.read(0, _CHUNK):  # without Python's buffer, which would be locked at exit
                    rest += chunk
                    if b"\n" in chunk:  # a long line is not copied for each of its chunks
                        *lines, rest = rest.split(b"\n")
                        for line in lines:
                            self._put(line.decode("utf-8", "replace"))
            self._put(None)

    def _put(self, line: str | None) -> None:
        self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
