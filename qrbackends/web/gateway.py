"""The gateway as an aiohttp.web app to mount, and as a stand-alone server."""

import asyncio
import secrets
import signal
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from math import ceil
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from ..client import Client
from ..gateway.app import Gateway
from ..gateway.failures import Failures
from ..gateway.forward import Forwarding
from ..gateway.keys import KeyFile, Keyring
from ..gateway.options import STATUS_AGE, CloudAddresses, GatewayOptions
from ..gateway.own import OwnAccount
from ..gateway.repeats import Repeating
from ..surface.wire import Errors
from ..tasks.flight import stopped
from .connections import ACCEPTED_AT_ONCE, Connections, ServerLimits
from .listening import listening, url_of

_LINE: Final = 8190  # bytes of a request line, and of a header
_HEADERS: Final = 100  # of a request
_QUEUED: Final = 1024  # connections that wait in the system until they are accepted
_KEEPALIVE: Final = 75.0  # seconds; a client keeps a connection for as long
_LINGER: Final = 2.0  # seconds in which the rest of a refused body is read, before its connection is closed
_PARTING: Final = 1.0  # seconds that a kept connection has for its last request when the server ends
_LOOKED: Final = 0.05  # seconds between two looks whether connections are open

GATEWAY: Final = web.AppKey("GATEWAY", Gateway)
"""The key of the gateway of an app: `app[GATEWAY]`."""


def gateway_app(
    client: Client,
    keys: Path | str,
    *,
    status_age: float = STATUS_AGE,
    warm: Sequence[str] = (),
    pass_through: bool = False,
    hosts: Sequence[str] = (),
) -> web.Application:
    """Return an app that answers in the service's own language from a cache of the service's bytes.

    Mounted below a path, such as by `app.add_subapp("/quantum", gateway_app(…))`, it has below that path the
    five endpoints and the versions at `/api/v1`, IAM at `/identity/token`, Global Search at
    `/v3/resources/search`, Global Catalog at `/catalog/api/v1`, `/healthz`, `/readyz` and `/metrics`. Callers
    present keys of the gateway's; the service gets the client's account.

    Args:
        client: the client, which has to be open while the app runs. Its pool, tokens, store and policy are
            used; its cache is not, as it keeps decoded answers.
        keys: the file of keys, as `qrbackends gateway keys add` writes it.
        status_age: seconds for which a list is the answer to the status of its backends; 0 for none.
        warm: the backends, or globs, whose documents are kept fresh ahead of time.
        pass_through: whether requests for anything else below `/api/v1` are passed on to the service.
        hosts: the names that are allowed as Host, beside addresses and `localhost`.

    Raises:
        qrbackends.gateway.keys.KeysError: the file of keys cannot be used.
    """
    options = GatewayOptions(status_age, tuple(warm), pass_through, tuple(hosts))
    gateway = own_gateway(client, Keyring(KeyFile(Path(keys))), options)
    app = web.Application(client_max_size=0)
    app[GATEWAY] = gateway

    async def answer(request: web.Request) -> web.StreamResponse:
        resource = request.match_info.route.resource
        prefix = "" if resource is None else resource.canonical.removesuffix("/{path}")
        return await gateway(request, prefix)

    async def context(_: web.Application) -> AsyncIterator[None]:
        async with gateway:
            yield

    app.router.add_route("*", "/{path:.*}", answer)
    app.cleanup_ctx.append(context)
    return app


def own_gateway(client: Client, keyring: Keyring, options: GatewayOptions, **more: Any) -> Gateway:
    """Return a gateway that asks the service with a client's account; `more` as for `Gateway`."""
    errors, failures = Errors(secrets.token_hex(16)), Failures()
    source = OwnAccount(client, keyring, errors, failures)
    return Gateway(source, errors, failures, source.pool, None, options, **more)


def forwarding_gateway(
    client_options: Mapping[str, Any],
    endpoints: Mapping[str, str],
    cloud: CloudAddresses,
    options: GatewayOptions,
    **more: Any,
) -> Gateway:
    """Return a gateway that passes each caller's own credential on.

    Args:
        client_options: `pool`, `policy` and `retry`, as for `Forwarding`.
        endpoints: by region, the base address of its Backends API.
        cloud: where callers' keys are exchanged for tokens, and their instances are listed.
        options: how it answers.
        more: as for `Gateway`.
    """
    errors, failures = Errors(secrets.token_hex(16)), Failures()
    source = Forwarding(endpoints, errors=errors, failures=failures, **client_options)
    made = Gateway(source, errors, failures, client_options["pool"], cloud, options, **more)
    source.dropped = made.repeats.forget
    return made


class GatewayServer:
    """Serves a gateway, with limits on its connections.

    Args:
        limits: the limits on connections.
        patience: seconds that requests which are being answered have when the server ends.
    """

    def __init__(self, limits: ServerLimits, patience: float) -> None:
        self._connections = Connections(None, limits)
        self._patience = patience

    def answering(self, peer: Any) -> AbstractContextManager[Any]:
        """Return a context for the time in which a request of a peer is answered; see `Gateway`."""
        return self._connections.answering(peer)

    def heard(self, peer: Any) -> None:
        """Note that a request of a peer was answered at once; see `Gateway`."""
        self._connections.heard(peer)

    @asynccontextmanager
    async def running(
        self, gateway: Gateway, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> AsyncIterator[str]:
        """Serve inside, and yield the base URL; at the end accept no more connections, and let requests end.

        Args:
            gateway: the gateway, which is open.
            host: the address to listen at.
            port: 0 for a free one.
            tls: the TLS settings; None for plain http.

        Raises:
            OSError: the server cannot listen at the address.
        """
        web_server = web.Server(
            gateway,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=_KEEPALIVE,
            lingering_time=_LINGER,
            max_line_size=_LINE,
            max_field_size=_LINE,
            max_headers=_HEADERS,
        )

        def protocol() -> asyncio.Protocol:
            return self._connections.protocol(lambda: Repeating(gateway.repeats, web_server()))

        loop = asyncio.get_running_loop()
        with listening(host, port) as listener:
            server = await loop.create_server(protocol, sock=listener, ssl=tls, backlog=ACCEPTED_AT_ONCE)
            listener.listen(_QUEUED)
            keeping = asyncio.create_task(self._connections.keep())
            try:
                yield url_of(listener, "http" if tls is None else "https")
            finally:
                gateway.drain()
                server.close()
                await self._ended(min(_PARTING, self._patience))
                web_server.pre_shutdown()
                await web_server.shutdown(self._patience)
                await stopped([keeping])

    async def _ended(self, seconds: float) -> None:
        """Wait until no connection is open: a request that is on its way is answered, and not cut off."""
        for _ in range(ceil(seconds / _LOOKED)):
            if not self._connections.open:
                return
            await asyncio.sleep(_LOOKED)


@contextmanager
def signalled() -> Iterator[asyncio.Event]:
    """Yield an event that SIGINT and SIGTERM set, instead of what else they do."""
    loop, ending = asyncio.get_running_loop(), asyncio.Event()

    def end(*_: object) -> None:
        loop.call_soon_threadsafe(ending.set)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS settings of a server.

    Raises:
        OSError: the files cannot be read, or do not belong together (`ssl.SSLError`).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
