"""Errors of aiohttp, of TLS and of the system as errors of this package. No I/O."""

import ssl

import aiohttp
from yarl import URL

from ..errors import (
    BodyDamaged,
    ConnectError,
    ConnectionLost,
    ConnectTimeout,
    QRBackendsError,
    ReadTimeout,
    TLSError,
    TransportError,
)

_CUT = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError)
_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)  # an end of the connection, as it may come at any time


def translated(
    error: Exception, *, tls: bool, proxy: str | None, connect: float, read: float
) -> QRBackendsError:
    """Return our error for one that sending a request raised; of its text only the system's part is kept.

    Args:
        error: an error of aiohttp or of the system.
        tls: whether the request is sent over TLS.
        proxy: the proxy's address, or None.
        connect: the longest time for a connection, in seconds.
        read: the longest time without a byte, in seconds.
    """
    match error:
        case aiohttp.ConnectionTimeoutError():
            return ConnectTimeout(f"no connection within {connect:g} s")
        case aiohttp.SocketTimeoutError():
            return ReadTimeout(f"no byte for {read:g} s")
        case aiohttp.ClientPayloadError():
            return BodyDamaged("the body was cut short or is damaged")
        case OSError() if _is_of_tls(error) or _is_of_tls(error.__cause__):
            return TLSError("TLS failed: the server's certificate or protocol was not accepted")
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"the proxy refused the connection (HTTP {error.status})")
        case aiohttp.ClientConnectorError():
            to_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
            in_handshake = URL(proxy or "").scheme == "https" if to_proxy else tls
            if in_handshake and isinstance(error.os_error, _CUT):
                return _cut_handshake()
            return ConnectError(f"no connection: {error.os_error.strerror or _reason(error)}")
        case aiohttp.ClientConnectionError() | OSError():
            return ConnectionLost("the connection was lost before the answer came")
        case aiohttp.ClientResponseError():
            return TransportError("the answer is not HTTP as it should be")
    return TransportError(f"the request failed: {type(error).__name__}")


def is_own(failure: QRBackendsError, proxy: str | None) -> bool:
    """Return whether the account's TLS settings or proxy may be the cause; the region is not blamed then."""
    to_connect = isinstance(failure, (ConnectError, ConnectTimeout))
    return (isinstance(failure, TLSError) and not failure.outage) or (to_connect and proxy is not None)


def _is_of_tls(error: BaseException | None) -> bool:
    """Return whether TLS itself failed, before or after the handshake."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, _ENDS)


def _cut_handshake() -> TLSError:
    """Return the error for a connection that ended in the handshake.

    The server may want another version or a certificate of the client, so it is not tried again; or it is a
    load balancer without servers behind it, so that old answers may be used.
    """
    error = TLSError("TLS failed: the server closed the connection in the handshake")
    error.outage = True
    return error


def _reason(error: aiohttp.ClientConnectorError) -> str:
    return "unknown host" if isinstance(error, aiohttp.ClientConnectorDNSError) else "no address accepted it"
