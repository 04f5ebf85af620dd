"""Bodies: every split of every encoding gives the body; every cut, excess and damage is an error."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qrbackends.errors import BodyDamaged, BodyTooLarge
from qrbackends.transport import body
from qrbackends.transport.body import Body, Wire


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


# --- with a known body

ENCODINGS = ("", "gzip", "deflate")
FEW = settings(max_examples=40)
COLLISION = b'{"t1":32238249}', b'{"t1":90880708}'  # what gzip says at its end is the same for both


def known_of(encoding: str, plain: bytes) -> Wire:
    """Return what is kept of a body that has arrived."""
    body = Body(encoding, 1 << 20)
    body.feed(ENCODERS[encoding](plain))
    body.finish()
    return body.wire


def compare(known: Wire, encoding: str, wire: bytes, step: int) -> tuple[bytes, Wire]:
    """Return the body, and what is kept of it."""
    body = Body(encoding, 1 << 20, known)
    feed(body, wire, step)
    return body.finish(), body.wire


class Unused:
    """A decompressor that must not be needed."""

    def __init__(self, _bits: int) -> None:
        raise AssertionError("it was decompressed")


@pytest.mark.parametrize("encoding", ENCODINGS)
@FEW
@given(plain=st.binary(max_size=2000), step=st.integers(1, 600))
def test_the_known_body_is_not_decompressed(encoding: str, plain: bytes, step: int) -> None:
    wire, known = ENCODERS[encoding](plain), known_of(encoding, plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body, "decompressor", Unused)
        assert compare(known, encoding, wire, step) == (b"", known)
        assert compare(known, encoding, wire, step)[1] is known


@pytest.mark.parametrize("encoding", ENCODINGS)
@FEW
@given(plain=st.binary(min_size=1, max_size=600), step=st.integers(1, 600), data=st.data())
def test_every_first_difference_gives_the_new_body(
    encoding: str, plain: bytes, step: int, data: st.DataObject
) -> None:
    """Also if it is of the same length."""
    at = data.draw(st.integers(0, len(plain) - 1))
    changed = plain[:at] + bytes([plain[at] ^ data.draw(st.integers(1, 255))]) + plain[at + 1 :]
    known, wire = known_of(encoding, plain), ENCODERS[encoding](changed)
    assert compare(known, encoding, wire, step) == (changed, Wire(wire, encoding))


@pytest.mark.parametrize("encoding", ENCODINGS)
@FEW
@given(plain=st.binary(max_size=600), more=st.binary(min_size=1, max_size=100), step=st.integers(1, 600))
def test_a_body_that_goes_on_or_ends_early_is_another(
    encoding: str, plain: bytes, more: bytes, step: int
) -> None:
    for first, second in ((plain, plain + more), (plain + more, plain)):
        known, wire = known_of(encoding, first), ENCODERS[encoding](second)
        assert compare(known, encoding, wire, step) == (second, Wire(wire, encoding))


@FEW
@given(plain=st.binary(max_size=600), more=st.binary(min_size=1, max_size=100), step=st.integers(1, 600))
def test_another_member_after_the_known_ones_belongs_to_the_body(
    plain: bytes, more: bytes, step: int
) -> None:
    wire = gzip.compress(plain) + gzip.compress(more)
    assert compare(known_of("gzip", plain), "gzip", wire, step) == (plain + more, Wire(wire, "gzip"))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@FEW
@given(step=st.integers(1, 600), data=st.data())
def test_a_known_body_that_ends_early_is_damaged(encoding: str, step: int, data: st.DataObject) -> None:
    wire = ENCODERS[encoding](PLAIN)
    cut = data.draw(st.integers(1, len(wire) - 1))
    with pytest.raises(BodyDamaged, match="cut short"):
        compare(known_of(encoding, PLAIN), encoding, wire[:cut], step)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_not_the_known_body(encoding: str) -> None:
    known = known_of(encoding, PLAIN)
    body = Body(encoding, 1 << 20, known)
    assert body.finish() == b""
    assert body.wire is not known


def test_garbage_after_the_known_body_is_told() -> None:
    with pytest.raises(BodyDamaged):
        compare(known_of("gzip", PLAIN), "gzip", gzip.compress(PLAIN) + b"garbage", 100)


@FEW
@given(
    plain=st.binary(max_size=2000),
    level=st.integers(0, 9),
    mtime=st.integers(0, 2**31),
    step=st.integers(1, 600),
)
def test_a_body_that_is_compressed_anew_is_the_known_one(
    plain: bytes, level: int, mtime: int, step: int
) -> None:
    known = known_of("gzip", plain)
    body, wire = compare(known, "gzip", gzip.compress(plain, level, mtime=mtime), step)
    assert (body, wire) == (b"", known)
    assert wire is known


@pytest.mark.parametrize("step", [1, 7, 1 << 16])
def test_a_body_of_the_same_length_and_checksum_is_another(step: int) -> None:
    one, other = COLLISION
    assert (len(one), zlib.crc32(one)) == (len(other), zlib.crc32(other))
    wire = gzip.compress(other)
    assert compare(known_of("gzip", one), "gzip", wire, step) == (other, Wire(wire, "gzip"))


@FEW
@given(plain=st.binary(min_size=600, max_size=2000), step=st.integers(1, 600), data=st.data())
def test_a_body_that_was_packed_is_compared_by_its_digest(
    plain: bytes, step: int, data: st.DataObject
) -> None:
    known = known_of("", plain).packed()
    assert known.encoding == "gzip"
    assert known.plain(1 << 20) == plain
    body, wire = compare(known, "", plain, step)
    assert body == b""
    assert wire is known
    at = data.draw(st.integers(0, len(plain) - 1))
    changed = plain[:at] + bytes([plain[at] ^ 1]) + plain[at + 1 :]
    for other in (changed, plain[:at], plain + b" "):
        assert compare(known, "", other, step) == (other, Wire(other))


def test_a_body_that_comes_in_another_encoding_is_decompressed() -> None:
    for before in ENCODINGS:
        for now in set(ENCODINGS) - {before}:
            wire = ENCODERS[now](PLAIN)
            assert compare(known_of(before, PLAIN), now, wire, 100) == (PLAIN, Wire(wire, now))


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_limit_holds_for_what_differs_late(encoding: str) -> None:
    text = PLAIN * 10
    known = known_of(encoding, text)
    longer = ENCODERS[encoding](text + b"x" * 1000)
    with pytest.raises(BodyTooLarge):
        feed(Body(encoding, len(text), known), longer, 100)


def test_small_and_compressed_bodies_are_not_packed() -> None:
    for wire in (Wire(b"x" * 511), known_of("gzip", PLAIN), known_of("deflate", PLAIN)):
        assert wire.packed() is wire


def test_two_forms_of_one_body_are_known_to_be_the_same_as_far_as_that_costs_little() -> None:
    plain, packed, gzipped = Wire(PLAIN), Wire(PLAIN).packed(), known_of("gzip", PLAIN)
    for one, other in ((plain, Wire(bytes(bytearray(PLAIN)))), (plain, packed), (packed, packed)):
        assert one.is_same(other)
        assert other.is_same(one)
    again = Wire(gzip.compress(PLAIN, mtime=1), "gzip", packed.digest)
    assert packed.is_same(again)
    for one, other in (
        (packed, Wire(PLAIN + b" ").packed()),
        (packed, Wire(PLAIN + b" ")),
        (packed, gzipped),
        (plain, gzipped),
        (gzipped, Wire(gzipped.data)),  # its plain body is what the other one's is when it is decompressed
        (Wire(b"a"), Wire(b"b")),
    ):
        assert not one.is_same(other)
        assert not other.is_same(one)
