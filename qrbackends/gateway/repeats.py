"""Requests that are repeated byte for byte: answered without being parsed again.

A client that keeps a connection sends the same head for the same document over and over. Once the parser
has read a head, as one whole request and nothing else, the same bytes can mean nothing else. So they are
looked up as they are; what decides about the answer, which is the caller's right to it and the cache's entry,
is asked each time.
"""

import asyncio
import hashlib
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from email.utils import formatdate
from time import time
from typing import Any, Final, cast

from ..cache.entry import Entry
from .callers import Caller
from .replies import Reply
from .service import Repeatable

_MOST: Final = 4096  # heads
_LONGEST: Final = 8190  # bytes of a head
_HEAD = re.compile(rb"GET [^\r\n]+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)+\r\n")
_PERIOD: Final = 30.0  # seconds after which the parser reads a connection's next request all the same


class Known:
    """A call that can be answered again, and the head of its last reply, which is good for a second.

    Attributes:
        call: the call.
        of: which entry the reply was made of, and in which second.
        head: the head of the reply.
        status, told, age: as in `Reply`.
    """

    __slots__ = ("age", "call", "head", "of", "status", "told")

    def __init__(self, call: Repeatable) -> None:
        self.call = call
        self.of: tuple[int, float, int] | None = None
        self.head = b""
        self.status, self.told, self.age = 200, "", 0.0

    def update(self, entry: Entry, second: int, date: bytes) -> bool:
        """Make the head of a reply with an entry, unless it is made; return whether there can be one."""
        of = (id(entry), entry.stored_at, second)
        if of == self.of:
            return True
        reply = self.call.at_once(entry)
        if reply is None:
            return False
        self.of, self.status, self.told, self.age = of, reply.status, reply.told, reply.age or 0.0
        self.head = _head(reply, date)
        return True


class Repeats:
    """The heads of a server's requests that can be answered again.

    Nothing of a head is kept but a digest of it, with a key of this process, as it has the credential in it.

    Args:
        answered: called with what was answered, the bytes of the body and the transport, each time.
        clock: returns the seconds of a monotonic clock.
    """

    def __init__(self, answered: Callable[[Known, int, Any], None], clock: Callable[[], float]) -> None:
        self.answered = answered
        self.clock = clock
        self.connections: dict[Any, Repeating] = {}
        """The protocols, by the protocol of the server that they wrap."""
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, Known] = OrderedDict()
        self._second = 0
        self._date = b""

    def digest(self, head: bytes) -> bytes:
        """Return what a head is known by."""
        return hashlib.blake2b(head, digest_size=16, key=self._key).digest()

    def get(self, digest: bytes) -> Known | None:
        """Return the call of a head, or None."""
        return self._known.get(digest)

    def put(self, digest: bytes, call: Repeatable) -> None:
        """Keep the call of a head."""
        self._known[digest] = Known(call)
        self._known.move_to_end(digest)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing any more."""
        self._known.clear()

    def forget(self, caller: Caller) -> None:
        """Keep nothing of a caller any more."""
        for digest in [one for one, known in self._known.items() if known.call.caller is caller]:
            del self._known[digest]

    def answer(self, known: Known, transport: asyncio.Transport) -> bool:
        """Answer a call, and return whether that could be done."""
        entry = known.call.again()
        if entry is None or entry.wire is None:
            return False
        second = int(time())
        if second != self._second:
            self._second, self._date = second, formatdate(second, usegmt=True).encode()
        if not known.update(entry, second, self._date):
            return False
        body = entry.wire.data if known.status == 200 else b""
        transport.writelines((known.head, body))
        self.answered(known, len(body), transport)
        return True


def _head(reply: Reply, date: bytes) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in reply.headers.items()]).encode("latin-1")
    status = b"200 OK" if reply.status == 200 else b"304 Not Modified"
    length = b"Content-Length: %d\r\n" % len(reply.body) if reply.status == 200 else b""
    return b"HTTP/1.1 %b\r\nServer: qrbackends\r\n%b%bDate: %b\r\n\r\n" % (status, lines, length, date)


class Repeating(asyncio.Protocol):
    """One connection: answers the requests that are known, and passes all else on to the server's protocol.

    Args:
        repeats: the heads that are known.
        server: the server's protocol.
    """

    def __init__(self, repeats: Repeats, server: asyncio.Protocol) -> None:
        self._repeats = repeats
        self._server = server
        self._transport: asyncio.Transport
        self._idle = True  # the parser waits for the first byte of a request, and nothing is being answered
        self._head: bytes | None = b""  # the digest of the one whole request that is being answered
        self._until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._repeats.connections[self._server] = self
        self._server.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._repeats.connections.pop(self._server, None)
        self._server.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Answer a request, or pass on what was received."""
        repeats = self._repeats
        whole = self._idle and len(data) <= _LONGEST
        digest = repeats.digest(data) if whole else None
        if digest is not None and (known := repeats.get(digest)) is not None and self._answer(known):
            return
        is_request = digest is not None and _HEAD.fullmatch(data) is not None
        self._head, self._idle = digest if is_request else None, False
        self._server.data_received(data)

    def _answer(self, known: Known) -> bool:
        """Answer a call, and return whether that could be done."""
        transport, repeats = self._transport, self._repeats
        if repeats.clock() >= self._until or transport.get_write_buffer_size() or transport.is_closing():
            return False
        return repeats.answer(known, transport)

    def sent(self, call: Repeatable | None, keeps: bool) -> None:
        """Note that the server's protocol has written the answer to the last request.

        Args:
            call: the call that it was, if it can be answered again.
            keeps: whether the connection stays open.
        """
        if self._head is None:  # more was received meanwhile: nobody knows where the parser is
            return
        self._idle = keeps
        if keeps and call is not None:
            self._repeats.put(self._head, call)
            self._until = self._repeats.clock() + _PERIOD

    def eof_received(self) -> bool | None:
        """Pass on that nothing more comes."""
        return self._server.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the reader is slower than the server."""
        self._server.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the reader has taken nearly all."""
        self._server.resume_writing()
