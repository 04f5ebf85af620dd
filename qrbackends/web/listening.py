"""The socket of a stand-alone server."""

import socket
from typing import Final

_PATIENCE: Final = 60_000  # milliseconds after which the system closes a connection that accepts no data


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that is bound to an address and a port, 0 for a free one.

    Raises:
        OSError: the address is none of this machine, or the port is taken.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise OSError(error.errno, f"{host} is no address to listen at") from None
    listener = socket.socket(family, kind)
    try:
        if not hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # on Windows it would let two programs have one port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(
            socket, "TCP_USER_TIMEOUT"
        ):  # inherited: who takes nothing any more costs nothing for long
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PATIENCE)
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen at {host}, port {port}: {error.strerror}") from None
    return listener


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Return the URL of what listens at a socket."""
    name, number = listener.getsockname()[:2]
    return f"{scheme}://[{name}]:{number}" if ":" in name else f"{scheme}://{name}:{number}"
