"""Connections through SOCKS proxies, guarded as all others are. It needs the extra `socks`."""

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError, ProxyType

from ..errors import ConnectError, ConnectTimeout, TransportError
from .connector import Connector

if TYPE_CHECKING:
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_PORT = 1080  # of a proxy whose address has none, as in `requests`


class SocksConnector(Connector, ProxyConnector):  # type: ignore[misc]  # no types without the extra
    """Opens all connections through one SOCKS proxy; TLS is spoken with the server, not with the proxy.

    While a connection is being made, its socket is known to the proxy's library only: a child that is forked
    in that moment shares it with its parent.

    Args:
        proxy: its address: `socks5h` and `socks4a` let the proxy look up host names, `socks5` and `socks4` do
            not, as in `requests` and curl. It may contain user and password.
        options: those of aiohttp's connectors.
    """

    def __init__(self, proxy: str, **options: Any) -> None:
        parts = urlsplit(proxy)
        self._address = f"{parts.hostname}:{parts.port or _PORT}"
        super().__init__(
            host=parts.hostname,
            port=parts.port or _PORT,
            proxy_type=ProxyType.SOCKS5 if parts.scheme.startswith("socks5") else ProxyType.SOCKS4,
            username=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            rdns=parts.scheme in ("socks4a", "socks5h"),
            **options,
        )

    async def connect(
        self, req: aiohttp.ClientRequest, traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "Connection":
        """Return a connection for one request.

        Raises:
            ConnectTimeout: it took too long.
            ConnectError: the proxy cannot be reached, or refused; the texts of its library are left out.
            TransportError: the server sent something on a new connection before it was asked.
        """
        try:
            return await super().connect(req, traces, timeout)
        except (TimeoutError, ProxyTimeoutError):
            late = f"no connection through the proxy {self._address} in time"
            failure: ConnectError | ConnectTimeout = ConnectTimeout(late)
        except ProxyConnectionError:
            failure = ConnectError(f"no connection to the SOCKS proxy {self._address}")
        except ProxyError:
            failure = ConnectError(f"the SOCKS proxy refused the connection: {self._address}")
        except (TransportError, aiohttp.ClientError, ssl.SSLError):  # as those of all other connections
            raise
        except (OSError, EOFError, ValueError):  # in the handshake, or in the look-up of a name; a long name
            failure = ConnectError(f"no connection through the SOCKS proxy {self._address}")
        raise failure
