"""Addresses: the cloud's own, and which ones are accepted.

The cloud's are those of https://quantum.cloud.ibm.com/docs and of the official client.
"""

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

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


def checked_url(url: str) -> str:
    """Return `url` without a slash at its end.

    Only what every URL parser reads alike is accepted: where two of them disagree on the host, one decides
    where credentials may go and the other where they go.

    Raises:
        AccountError: it is not an absolute http or https address, or it carries user, password, query
            or fragment.
    """
    if not isinstance(url, str) or _host(url) is None:
        raise AccountError(
            "an address has to be an absolute http or https URL such as https://cloud.ibm.com, "
            "without user name, query or fragment"
        )
    return url.rstrip("/")


def is_plain_http(url: str) -> bool:
    """Return whether `url` would send credentials in the clear over a network.

    Plain http is harmless to `localhost` and to literal loopback addresses only: any other name is
    somebody's promise, and can resolve to anything.
    """
    if url[:8].lower() == "https://":
        return False
    host = _host(url) or ""
    return not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine: `localhost`, or a literal loopback address."""
    return host == "localhost" or (_is_ip(host) and ip_address(host).is_loopback)


def checked_proxy(key: str, url: str) -> str:
    """Return a proxy's address with its scheme, which may be left out; it may carry user and password.

    Raises:
        AccountError: it is not an http or https address.
    """
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts.geturl()
    except (TypeError, ValueError, AttributeError):
        pass  # told below, without the address: it may carry a password
    raise AccountError(f"the proxy for {key!r:.80} has to be an address such as http://HOST:PORT")


def _host(url: str) -> str | None:
    """Return the host of an address, without brackets; None if it is no address as `checked_url` has it."""
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
