"""Bodies: every split of every encoding gives the body; every cut, excess and damage is an error."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qrbackends.errors import BodyDamaged, BodyTooLarge
from qrbackends.transport import body
from qrbackends.transport.body import Body


@pytest.fixture(scope="module", params=["zlib", "isal"], autouse=True)
def _decompressor(request: pytest.FixtureRequest) -> Iterator[None]:
    """What decompresses: Python's own, and the extra `speed`'s."""
    known = body.decompressor
    if request.param == "zlib":
        body.decompressor = zlib.decompressobj
    else:
        body.decompressor = pytest.importorskip("isal.isal_zlib").decompressobj
    yield
    body.decompressor = known


PLAIN = b'{"devices": []}' * 50


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
}


def feed(body: Body, wire: bytes, step: int) -> None:
    for start in range(0, len(wire), step):
        body.feed(wire[start : start + step])


def receive(encoding: str, wire: bytes, limit: int = 1 << 20, step: int = 1 << 16) -> bytes:
    body = Body(encoding, limit)
    feed(body, wire, step)
    return body.finish()


@pytest.mark.parametrize("encoding", ENCODERS)
@given(plain=st.binary(max_size=2000), step=st.integers(1, 600))
def test_any_split_gives_the_body(encoding: str, plain: bytes, step: int) -> None:
    assert receive(encoding, ENCODERS[encoding](plain), step=step) == plain


@given(plain=st.binary(min_size=1, max_size=2000), step=st.integers(1, 600))
def test_raw_deflate_is_understood(plain: bytes, step: int) -> None:
    wire = raw_deflate(plain)
    if wire[0] & 0x0F != 8:  # otherwise it looks like a zlib header
        assert receive("deflate", wire, step=step) == plain


@given(first=st.binary(max_size=500), second=st.binary(max_size=500), step=st.integers(1, 600))
def test_members_of_gzip_follow_each_other(first: bytes, second: bytes, step: int) -> None:
    assert receive("gzip", gzip.compress(first) + gzip.compress(second), step=step) == first + second


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@given(data=st.data())
def test_every_cut_is_told(encoding: str, data: st.DataObject) -> None:
    wire = ENCODERS[encoding](PLAIN)
    cut = data.draw(st.integers(1, len(wire) - 1))
    with pytest.raises(BodyDamaged, match="cut short"):
        receive(encoding, wire[:cut])


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_what_is_not_compressed_is_told(encoding: str) -> None:
    with pytest.raises(BodyDamaged, match="not compressed as its headers say"):
        receive(encoding, b"\x08<html>502</html>")


def test_garbage_behind_the_end_is_told() -> None:
    with pytest.raises(BodyDamaged):
        receive("gzip", gzip.compress(PLAIN) + b"garbage")


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 500])
def test_an_encoding_that_was_not_asked_for_is_told(encoding: str) -> None:
    with pytest.raises(BodyDamaged, match="not asked for") as caught:
        Body(encoding, 10)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("encoding", ENCODERS)
@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_the_limit_counts_what_comes_out(encoding: str, step: int) -> None:
    wire = ENCODERS[encoding](PLAIN)
    assert receive(encoding, wire, limit=len(PLAIN), step=step) == PLAIN
    with pytest.raises(BodyTooLarge, match=str(len(PLAIN) - 1)):
        receive(encoding, wire, limit=len(PLAIN) - 1, step=step)


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    body = Body("gzip", 100_000)
    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLarge):
            body.feed(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_empty_body_is_empty_in_any_encoding() -> None:
    assert Body("gzip", 10).finish() == b""
    assert Body("", 10).finish() == b""


def test_members_that_hold_nothing_do_not_go_on_for_ever() -> None:
    member = gzip.compress(b"")
    body = Body("gzip", 10 * len(member))
    for _ in range(10):
        body.feed(member)
    with pytest.raises(BodyTooLarge):
        body.feed(member)


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_what_was_begun_is_what_came_up_to_the_limit(encoding: str) -> None:
    text = bytes(range(256)) * 20
    for step in (1, 100, 10_000):
        wire = ENCODERS[encoding](text)
        body = Body(encoding, 1000)
        with pytest.raises(BodyTooLarge):
            feed(body, wire, step)
        assert body.begun() == text[:1000]


def test_pieces_of_one_byte_take_little_more_than_the_body() -> None:
    tracemalloc.start()
    try:
        body = Body("", 1 << 20)
        for _ in range(100_000):
            body.feed(bytes(1))
        assert body.finish() == bytes(100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
