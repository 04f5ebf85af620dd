"""The names that a port goes by: the one in its URLs, and those that requests may give as Host."""

import re
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address

from ..accounts.urls import is_loopback

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?")
_HOST = re.compile(r"(?:(?P<name>[^:\[\]]+)|\[(?P<v6>[0-9a-f:.]+)\])(?::[0-9]{1,5})?")


def checked_name(name: str) -> str:
    """Return the name of a host in lower case.

    Raises:
        ValueError: it is none.
    """
    if not _NAME.fullmatch(name.lower()):
        raise ValueError(f"{name!r:.300} is not the name of a host: give one without a scheme and a port")
    return name.lower()


def netloc(host: str, port: int) -> str:
    """Return host and port, as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def loopback_name(header: str) -> str | None:
    """Return the host in a Host header if it is `localhost` or a loopback address, or None."""
    found = _HOST.fullmatch(header.lower())
    name = found and (found["v6"] or found["name"])
    return name if name and is_loopback(name) else None


class Hosts:
    """The names of the ports that listen at one address.

    Args:
        address: the address.
        allowed: further names that reach it, such as that of a container. The first one is in the URLs.

    Attributes:
        advertised: the name in the URLs.
    """

    def __init__(self, address: str, allowed: Collection[str] = ()) -> None:
        self._address = address
        self._allowed = tuple(checked_name(name) for name in allowed)
        self.advertised = self._allowed[0] if self._allowed else _ANY.get(address, address)

    def are_named(self, header: str, port: int) -> bool:
        """Return whether a Host header is one of a port that listens at the address.

        If names are allowed, these, localhost and all addresses are accepted with any port, which may be
        mapped: no page of another site can have an address for its name. Without such names, the port has
        to be right; if it listens at all addresses, any name is accepted, as its names are not known, and if
        it listens at a loopback address, every name of loopback.
        """
        if self._allowed:
            return self._is_allowed(header.lower())
        if self._address in _ANY:
            return header.rpartition(":")[2] == str(port)
        names = _LOOPBACK if self._address in _LOOPBACK else (self._address,)
        return header.lower() in {netloc(name.lower(), port) for name in names}

    def _is_allowed(self, header: str) -> bool:
        found = _HOST.fullmatch(header)
        if found is None:
            return False
        if found["name"] in ("localhost", *self._allowed):
            return True
        with suppress(ValueError):
            return bool(ip_address(found["v6"] or found["name"]))
        return False
