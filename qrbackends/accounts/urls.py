"""The addresses of IBM Cloud, and checks of addresses.

The addresses are those in https://quantum.cloud.ibm.com/docs and in the official client.
"""

import re
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

from ..errors import AccountError

CLOUD_URL = "https://cloud.ibm.com"
SEARCH_URL = "https://api.global-search-tagging.cloud.ibm.com"
CATALOG_URL = "https://globalcatalog.cloud.ibm.com/api/v1"

_HOST_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_ADDRESS = re.compile(
    rf"https?://(?:(?P<name>{_HOST_LABEL}(?:\.{_HOST_LABEL})*\.?)|\[(?P<ip>[0-9a-f:.]+)\])"
    r"(?::(?:[1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5]))?"
    r"(?:/[a-z0-9._~!$&'()*+,;=:%/-]*)?",
    re.IGNORECASE | re.ASCII,
)

_SOCKS_TEXT = re.compile(r"[\x20-\x7e]{0,255}")  # the length is one byte; the extra encodes ASCII only


def checked_url(url: str) -> str:
    """Return `url` without a slash at its end.

    Only addresses that every URL parser reads alike are accepted. If two parsers disagreed on the host,
    the one could allow credentials for one host, and the other send them to another.

    Raises:
        AccountError: it is not an absolute http or https address, or it contains a user, password, query
            or fragment.
    """
    if not isinstance(url, str) or _host(url) is None:
        raise AccountError(
            "an address has to be an absolute http or https URL such as https://cloud.ibm.com, "
            "without user name, query or fragment"
        )
    return url.rstrip("/")


def is_plain_http(url: str) -> bool:
    """Return whether requests to `url` would cross a network without encryption.

    Plain http is harmless to `localhost` and to literal loopback addresses only: any other name may resolve
    to another machine.
    """
    if url[:8].lower() == "https://":
        return False
    host = _host(url) or ""
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Return whether a host is `localhost` or a literal loopback address."""
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def checked_proxy(key: str, url: str) -> str:
    """Return a proxy's address with its scheme; without one, it is `http`.

    Args:
        key: the scheme of the requests that use the proxy, for the error.
        url: the address, which may contain user and password.

    Raises:
        AccountError: it is not an http, https or SOCKS address, or has a user or password that SOCKS cannot
            transport; the message does not contain it.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        known = parts.scheme in ("http", "https") or is_socks(url)
        well_formed = known and parts.hostname and parts.port != 0
    except (TypeError, ValueError, AttributeError):
        well_formed = False
    # The errors do not contain the address, which may contain a password.
    if not well_formed:
        raise AccountError(
            f"the proxy for {key!r:.80} has to be an address such as http://HOST:PORT or socks5h://HOST:PORT"
        )
    credentials = [unquote(text or "") for text in (parts.username, parts.password)]
    if is_socks(url) and not all(map(_SOCKS_TEXT.fullmatch, credentials)):
        raise AccountError(
            f"the SOCKS proxy for {key!r:.80} takes a user and a password of at most 255 printable ASCII "
            "characters each"
        )
    return parts.geturl()


def is_socks(proxy: str) -> bool:
    """Return whether a proxy is a SOCKS proxy: by `socks4a` and `socks5h` it looks host names up itself."""
    return proxy.partition("://")[0].lower() in ("socks4", "socks4a", "socks5", "socks5h")


def _host(url: str) -> str | None:
    """Return the host of an address, without brackets; None if `checked_url` does not accept the address."""
    parts = _ADDRESS.fullmatch(url)
    if parts is None or (parts["ip"] and not _is_ip(parts["ip"])):
        return None
    return (parts["ip"] or parts["name"]).lower()


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
