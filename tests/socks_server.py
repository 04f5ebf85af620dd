"""A SOCKS proxy on this machine, which also says no, nothing or half of an answer."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

_GRANTED = {4: b"\0\x5a" + bytes(6), 5: b"\5\0\0\1" + bytes(6)}
_REFUSED = {4: b"\0\x5b" + bytes(6), 5: b"\5\5\0\1" + bytes(6)}  # 5: by the destination


@dataclass
class SocksServer:
    """Speaks SOCKS 4, 4a and 5, and connects to this machine, whatever host it is asked for.

    Attributes:
        user: the user and password that it wants; None for anybody.
        fault: `refuse` says no, `cut` closes after the request, `silent` does not answer it, `mute` says yes
            and nothing more.
        port: its port.
        asked: the hosts that it was asked for, as they were written: names or addresses.
        users: the users and passwords that it was told.
        begun: how many clients have begun TLS at a mute proxy.
        ended: how many connections without an answer the client has closed.
    """

    user: tuple[str, str] | None = None
    fault: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    users: list[tuple[str, str]] = field(default_factory=list)
    begun: int = 0
    ended: int = 0

    def url(self, scheme: str = "socks5h", user: str = "") -> str:
        """Return its address."""
        return f"{scheme}://{f'{user}@' if user else ''}127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SocksServer"]:
        """Listen on a port."""
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listening:
            self.port = listening.sockets[0].getsockname()[1]
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError):
            version = (await reader.readexactly(1))[0]
            port = await (self._asked_by_5(reader, writer) if version == 5 else self._asked_by_4(reader))
            if port is not None and not self.fault:
                there, back = await asyncio.open_connection("127.0.0.1", port)
                writer.write(_GRANTED[version])
                async with anyio.create_task_group() as group:
                    group.start_soon(_copy, reader, back)
                    group.start_soon(_copy, there, writer)
            elif self.fault == "refuse":
                writer.write(_REFUSED[version])
            elif self.fault in ("silent", "mute"):
                if self.fault == "mute":
                    writer.write(_GRANTED[version])
                    self.begun += len(await reader.readexactly(1))
                await reader.read()
                self.ended += 1
        writer.close()

    async def _asked_by_5(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int | None:
        """Return the port that a client of SOCKS 5 asks for; None if it may not."""
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 0 if self.user is None else 2
        if wanted not in methods:
            writer.write(b"\5\xff")
            return None
        writer.write(bytes([5, wanted]))
        if wanted:
            await reader.readexactly(1)
            user = (await _text(reader), await _text(reader))
            self.users.append(user)
            writer.write(bytes([1, user != self.user]))
            if user != self.user:
                return None
        kind = (await reader.readexactly(4))[3]
        if kind == 3:
            self.asked.append(await _text(reader))
        else:
            family, length = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
            self.asked.append(socket.inet_ntop(family, await reader.readexactly(length)))
        return int.from_bytes(await reader.readexactly(2))

    async def _asked_by_4(self, reader: asyncio.StreamReader) -> int:
        """Return the port that a client of SOCKS 4 or 4a asks for."""
        _, port, address = struct.unpack(">BH4s", await reader.readexactly(7))
        self.users.append(((await reader.readuntil(b"\0"))[:-1].decode(), ""))
        by_name = address[:3] == bytes(3) and address[3]
        name = (await reader.readuntil(b"\0"))[:-1].decode() if by_name else socket.inet_ntoa(address)
        self.asked.append(name)
        return int(port)


async def _text(reader: asyncio.StreamReader) -> str:
    return (await reader.readexactly((await reader.readexactly(1))[0])).decode()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
