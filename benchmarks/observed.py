"""What a contestant does on the wire and in our decoders: counted in a round that is not timed."""

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

from qrbackends.protocol import answers

Decode = Callable[[bytes], Any]

_STATUS = slice(9, 12)  # of `HTTP/1.1 200 OK`


@dataclass
class Observed:
    """The counts.

    Attributes:
        answers: the number of answers by status, such as `200`.
        received: bytes that came out of the sockets: heads, and bodies as they were sent.
        decoded: bodies that were decoded into our structs.
    """

    answers: Counter[str] = field(default_factory=Counter)
    received: int = 0
    decoded: int = 0

    def __str__(self) -> str:
        answers = " and ".join(f"{count} with {status}" for status, count in self.answers.items())
        return f"{self.answers.total()} answers ({answers}), {self.received:,} bytes, {self.decoded} decoded"


@contextmanager
def observed(*decoders: dict[str, Decode]) -> Iterator[Observed]:
    """Yield what is counted from here on: of our decoders, and of a contestant's own ones.

    Requests do not follow each other on a connection before the answer is there, so that each answer
    begins with what a read returns.
    """
    counts = Observed()

    def arrived(data: bytes | memoryview) -> None:
        counts.received += len(data)
        begin = bytes(data[:12])
        if begin.startswith(b"HTTP/1."):
            counts.answers[begin[_STATUS].decode()] += 1

    def recv(self: socket.socket, *arguments: Any) -> bytes:
        data = super(socket.socket, self).recv(*arguments)
        arrived(data)
        return data

    def recv_into(self: socket.socket, buffer: Any, *arguments: Any) -> int:
        count = super(socket.socket, self).recv_into(buffer, *arguments)
        arrived(memoryview(buffer)[:count])
        return count

    def counted(decode: Decode, body: bytes) -> Any:
        counts.decoded += 1
        return decode(body)

    with ExitStack() as stack:
        stack.enter_context(patch.object(socket.socket, "recv", recv))
        stack.enter_context(patch.object(socket.socket, "recv_into", recv_into))
        for known in (answers._DECODERS, *decoders):
            wrapped = {kind: partial(counted, decode) for kind, decode in known.items()}
            stack.enter_context(patch.dict(known, wrapped))
        yield counts
