"""Errors of aiohttp, of TLS and of the system as errors of this package, and whose host failed. No I/O."""

import os
import ssl
from collections.abc import Iterator
from typing import Final, TypeVar

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

E = TypeVar("E", bound=QRBackendsError)

_SERVICES: Final = {"iam": "IAM", "search": "Global Search", "catalog": "Global Catalog"}
# The codes by which OpenSSL says that nobody whom it trusts has signed the certificate (X509_V_ERR_…).
_UNTRUSTED: Final = frozenset((18, 19, 20, 21))
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
            through = f" through the proxy {_shown(proxy)}" if proxy else ""
            return ConnectTimeout(f"no connection within {connect:g} s{through}")
        case aiohttp.SocketTimeoutError():
            return ReadTimeout(f"no byte for {read:g} s")
        case aiohttp.ClientPayloadError():
            return BodyDamaged("the body was cut short or is damaged")
        case OSError() if _is_of_tls(error) or _is_of_tls(error.__cause__):
            return TLSError(f"TLS failed: {_tls_reason(error)}")
        case aiohttp.ClientHttpProxyError():
            return ConnectError(f"the proxy refused the connection (HTTP {error.status})")
        case aiohttp.ClientConnectorError():
            to_proxy = isinstance(error, aiohttp.ClientProxyConnectionError)
            in_handshake = URL(proxy or "").scheme == "https" if to_proxy else tls
            if in_handshake and isinstance(error.os_error, _CUT):
                return _cut_handshake()
            there = f" to the proxy {_shown(proxy)}" if to_proxy and proxy else ""
            return ConnectError(f"no connection{there}: {_reason(error)}")
        case aiohttp.ClientConnectionError() | OSError():
            return ConnectionLost("the connection was lost before the answer came")
        case aiohttp.ClientResponseError():
            return TransportError("the answer is not HTTP as it should be")
    return TransportError(f"the request failed: {type(error).__name__}")


def located(error: E, region: str, url: str | URL) -> E:
    """Return an error that says whose host was asked, if it is of the network and does not say so yet.

    Args:
        error: the error.
        region: the region whose limits apply, or `iam`, `search`, `catalog` or `versions`.
        url: the address that was asked.
    """
    if isinstance(error, TransportError) and error.host is None:
        address = url if isinstance(url, URL) else URL(url, encoded=True)
        error.host, error.where = address.host, whose(region, address)
    return error


def whose(region: str, address: URL) -> str:
    """Return whose host an address has, such as `IAM's host iam.cloud.ibm.com`; `region` as for `located`."""
    return f"{_SERVICES.get(region, 'the region')}'s host {address.host_port_subcomponent}"


def is_own(failure: QRBackendsError, proxy: str | None) -> bool:
    """Return whether the account's TLS settings or proxy may be the cause; the region is not blamed then."""
    to_connect = isinstance(failure, (ConnectError, ConnectTimeout))
    return (isinstance(failure, TLSError) and not failure.outage) or (to_connect and proxy is not None)


def _is_of_tls(error: BaseException | None) -> bool:
    """Return whether TLS itself failed, before or after the handshake."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, _ENDS)


def _tls_reason(error: BaseException) -> str:
    """Return why TLS failed, in the words of OpenSSL, and what can be done about it."""
    for one in _chain(error):
        if reason := getattr(one, "verify_message", None):
            told = f"the server's certificate was not accepted: {str(reason).rstrip('.')}"
            if getattr(one, "verify_code", None) in _UNTRUSTED:
                told += "; SSL_CERT_FILE or Account(verify=…) says whom else to trust"
            return told
        if reason := getattr(one, "reason", None):
            return str(reason).replace("_", " ").lower()
    return "the server's certificate or protocol was not accepted"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of TLS itself: aiohttp's own ones are of the same classes, and say less."""
    for one in (getattr(error, "certificate_error", None), getattr(error, "os_error", None), error.__cause__):
        if isinstance(one, ssl.SSLError):
            yield one
    if isinstance(error, ssl.SSLError):
        yield error


def _shown(proxy: str) -> str:
    """Return a proxy's host and port, without its user and password."""
    address = URL(proxy)
    return f"{address.host}:{address.port}"


def _cut_handshake() -> TLSError:
    """Return the error for a connection that ended in the handshake.

    The server may want another version or a certificate of the client, so it is not tried again; or it is a
    load balancer without servers behind it, so that old answers may be used.
    """
    error = TLSError("TLS failed: the server closed the connection in the handshake")
    error.outage = True
    return error


def _reason(error: aiohttp.ClientConnectorError) -> str:
    """Return why there is no connection, in the system's words; asyncio's own have only the address."""
    failed = error.os_error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return failed.strerror or "unknown host"
    return os.strerror(failed.errno) if failed.errno else failed.strerror or "no address accepted it"
