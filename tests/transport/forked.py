"""A script: clients before and after a fork. It prints what became of them as JSON."""

import asyncio
import gc
import json
import socket
import ssl
import sys
import threading
from importlib.util import find_spec
from typing import Any

from qrbackends import Account, CachePolicy, Client, Instance, Memory, Monitor
from qrbackends.emulator import SyntheticFleet, ThreadedEmulator

from ..forking import in_child
from ..internals import connected_sockets, parts
from ..socks_server import SocksServer
from ..waiting import until

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:11111111-2222-3333::"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + b'{"devices": []}'
)


class Server(threading.Thread):
    """A Backends API with no backends in a thread, which keeps connections, and notes how they end."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.connections = 0
        self.ended: list[str] = []
        self.reached = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.start()

    @property
    def url(self) -> str:
        scheme = "http" if self._context is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/api/v1"

    def run(self) -> None:
        while True:
            connected, _ = self._listener.accept()
            self.connections += 1
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        try:
            if self._context is not None:
                connected = self._context.wrap_socket(connected, server_side=True)
            while received := connected.recv(65536):
                assert received.endswith(b"\r\n\r\n")
                self.reached.set()
                self.may_answer.wait(60)
                connected.sendall(ANSWER)
            self.ended.append("closed")
        except OSError as error:
            self.ended.append(repr(error))


def account_at(server: Server, context: ssl.SSLContext | None, socks: str | None) -> Account:
    verify = True if context is None else context
    proxies = {"https": socks} if socks is not None else {}
    instances = [Instance(CRN, url=server.url)]
    return Account(token="a-marked-token", instances=instances, verify=verify, proxies=proxies)


def socks_proxy() -> str:
    """Run a SOCKS proxy in a thread, and return its address."""
    ready = threading.Event()
    proxy = SocksServer()

    async def run() -> None:
        async with proxy.running():
            ready.set()
            await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    assert ready.wait(60)
    return proxy.url()


def clients() -> dict[str, str]:
    """Clients, monitors and the emulator itself, used or not before the fork."""
    found: dict[str, str] = {}
    regions = ["us-east", "eu-de"]
    with ThreadedEmulator(fleet=SyntheticFleet({"alpha": 5}), regions=regions) as emulator:
        account = emulator.account()
        memory = Memory()
        loop = asyncio.new_event_loop()

        async def ask(client: Client) -> str:
            async with client:
                properties = await client.properties("alpha", refresh=True)
                return properties.backend_name

        found["made, not used"] = in_child(lambda: asyncio.run(ask(Client(account))), leave=True)
        made = Client(account)
        found["made before"] = in_child(lambda: asyncio.run(ask(made)), leave=True)
        used = Client(account, memory=memory)
        monitor = Monitor(used)

        async def use() -> None:
            await used.properties("alpha")
            monitor.start()

        loop.run_until_complete(use())
        found["used, another loop"] = in_child(lambda: asyncio.run(ask(used)))
        found["used, a hit"] = in_child(lambda: asyncio.run(used.properties("alpha")))
        found["used, the same loop"] = in_child(lambda: loop.run_until_complete(used.properties("alpha")))
        found["used, closing"] = in_child(lambda: loop.run_until_complete(used.aclose()))
        found["used, stats"] = in_child(lambda: used.stats().properties.misses)
        found["monitor, start"] = in_child(lambda: loop.run_until_complete(monitor.__aenter__()))
        found["monitor, closing"] = in_child(lambda: loop.run_until_complete(monitor.aclose()))
        found["a new client"] = in_child(lambda: asyncio.run(ask(Client(account, memory=memory))))
        found["a child's child"] = in_child(lambda: in_child(lambda: asyncio.run(ask(used))))
        found["emulator"] = in_child(lambda: emulator.count("properties"), leave=True)
        found["parent"] = loop.run_until_complete(used.properties("alpha", refresh=True)).backend_name
        found["the parent's emulator"] = str(emulator.count("properties"))
        loop.run_until_complete(monitor.aclose())
        loop.run_until_complete(used.aclose())
        loop.close()
    return found


def connections(certificate: str | None, socks: str | None = None) -> dict[str, str]:
    """A parent's connection, while it is idle and in use, and a child that throws its client away."""
    found: dict[str, str] = {}
    serving = trusting = None
    if certificate is not None:
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(certificate)
        trusting = ssl.create_default_context(cafile=certificate)
    server = Server(serving)
    loop = asyncio.new_event_loop()
    kept: dict[str, Any] = {
        "client": Client(account_at(server, trusting, socks), cache=CachePolicy(backends=0))
    }

    def throw_away() -> str:
        kept.clear()
        gc.collect()
        return "thrown away"

    def connected() -> int:
        return connected_sockets(parts(kept["client"]).pool)

    async def begin() -> None:
        server.may_answer.clear()
        server.reached.clear()
        kept["task"] = asyncio.create_task(kept["client"].backends())
        # Not in a thread: the first child has collected this loop, and so ended asyncio's own way to wake it.
        await until(server.reached.is_set)

    loop.run_until_complete(kept["client"].backends())
    found["sockets"] = f"{connected()}, {in_child(connected)} in a child"
    found["idle"] = in_child(throw_away, leave=True)
    loop.run_until_complete(kept["client"].backends())
    loop.run_until_complete(begin())
    found["in use"] = in_child(throw_away, leave=True)
    server.may_answer.set()
    found["answer"] = str(len(loop.run_until_complete(kept["task"])))
    found["connections"] = str(server.connections)
    found["ended"] = str(server.ended)
    loop.run_until_complete(kept["client"].aclose())
    loop.close()
    return found


if __name__ == "__main__":
    found = {"clients": clients(), "http": connections(None), "https": connections(sys.argv[1])}
    if find_spec("aiohttp_socks"):
        found["socks"] = connections(sys.argv[1], socks_proxy())
    json.dump(found, sys.stdout)
