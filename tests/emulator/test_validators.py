"""ETags, dates of the last change, and requests that quote them."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from qrbackends.emulator import Emulator, NotModified, SyntheticFleet, WithHeaders
from qrbackends.emulator.surface import validators
from qrbackends.emulator.surface.validators import Validation, Validators
from qrbackends.surface.wire import Answer, Call, Document

from .asking import NOW, Asker, Got

pytestmark = pytest.mark.anyio

DOCUMENTS = [f"/backends/a/{name}" for name in ("configuration", "properties", "defaults", "status")]
PROPERTIES = DOCUMENTS[1]
HOUR = 3600


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def asked(kind: Validation | None, clock: Clock | None = None) -> AsyncIterator[Asker]:
    """An emulator of one backend, whose queue stands still."""
    fleet = SyntheticFleet({"a": 27})
    async with (
        Emulator(fleet, ("us-east",), validators=kind, clock=clock or Clock()) as emulator,
        Asker(emulator) as ask,
    ):
        emulator.set_backend("a", queue_length=3)
        yield ask


@pytest.fixture
async def tagged() -> AsyncIterator[Asker]:
    async with asked("etag") as ask:
        yield ask


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def dated(clock: Clock) -> AsyncIterator[Asker]:
    async with asked("date", clock) as ask:
        yield ask


@pytest.fixture
def _far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC-9")
        time.tzset()
        yield
    time.tzset()


def imf(instant: float) -> str:
    return formatdate(instant, usegmt=True)


def assert_not_modified(got: Got, name: str, validator: str) -> None:
    """It has the validator, no body, and no header about one."""
    assert (got.status, got.body) == (304, b"")
    assert {one.lower() for one in got.headers} == {"server", "date", "vary", "x-emulated", name.lower()}
    assert (got.headers["Date"], got.headers["Vary"]) == (imf(NOW), "Accept-Encoding")
    assert got.headers[name] == validator


# ---- tags --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["etag", "weak"])
async def test_each_content_has_a_tag_of_its_own_for_which_304_is_given(kind: Validation) -> None:
    async with asked(kind) as ask:
        paths = ["/backends", *DOCUMENTS]
        tags = [(await ask.get(path)).headers["ETag"] for path in paths]
        assert len(set(tags)) == len(paths)
        assert {tag.startswith('W/"') for tag in tags} == {kind == "weak"}
        for path, tag in zip(paths, tags, strict=True):
            assert_not_modified(await ask.get(path, If_None_Match=tag), "ETag", tag)
            other = await ask.get(path, If_None_Match='"another"')
            assert (other.status, other.headers["ETag"]) == (200, tag)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("{}", 304),
        ("W/{}", 304),
        ('"a", {} , W/"b"', 304),
        ('"a,b",,{}', 304),
        ("*", 304),
        (" * ", 304),
        ("", 200),
        ('"*"', 200),
        ('"a", W/"b"', 200),
        ("w/{}", 200),
        ("{}x", 200),
        ('"{}', 200),
    ],
)
async def test_tags_are_compared_weakly_and_malformed_ones_ignored(
    tagged: Asker, condition: str, status: int
) -> None:
    tag = (await tagged.get(PROPERTIES)).headers["ETag"]
    assert (await tagged.get(PROPERTIES, If_None_Match=condition.format(tag))).status == status


async def test_a_strong_tag_is_that_of_one_encoding() -> None:
    for kind, same in (("etag", False), ("weak", True)):
        async with asked(kind) as ask:  # type: ignore[arg-type]
            plain = (await ask.get(PROPERTIES, Accept_Encoding="identity")).headers["ETag"]
            packed = await ask.get(PROPERTIES, Accept_Encoding="gzip")
            assert packed.headers["Content-Encoding"] == "gzip"
            assert (packed.headers["ETag"] == plain) is same
            other = await ask.get(PROPERTIES, Accept_Encoding="gzip", If_None_Match=plain)
            assert other.status == (304 if same else 200)
            status = [await ask.get(DOCUMENTS[3], Accept_Encoding=one) for one in ("identity", "gzip")]
            assert status[0].headers["ETag"] == status[1].headers["ETag"]  # too small to be packed


async def test_the_tag_changes_with_the_content() -> None:
    clock = Clock()
    async with asked("etag", clock) as ask:
        for path, changed in (("/backends", True), (PROPERTIES, True), (DOCUMENTS[0], False)):
            tag = (await ask.get(path)).headers["ETag"]
            clock.now += HOUR
            await ask.log_in()
            got = await ask.get(path, If_None_Match=tag)
            assert (got.status, got.headers["ETag"] != tag) == (200 if changed else 304, changed)
        tag = (await ask.get("/backends")).headers["ETag"]
        ask.emulator.set_backend("a", queue_length=4)
        assert (await ask.get("/backends", If_None_Match=tag)).status == 200
        ask.emulator.set_backend("a", queue_length=3)
        assert (await ask.get("/backends", If_None_Match=tag)).status == 304


async def test_what_is_refused_has_no_condition(tagged: Asker) -> None:
    refusals = [
        await tagged.get(PROPERTIES, If_None_Match="*", Authorization=None),
        await tagged.get(PROPERTIES, If_None_Match="*", Service_CRN=None),
        await tagged.get(PROPERTIES, If_None_Match="*", Service_CRN=tagged.crn()[:-4] + "00::"),
        await tagged.get(PROPERTIES.replace("/a/", "/b/"), If_None_Match="*"),
        await tagged.request("POST", PROPERTIES, If_None_Match="*"),
    ]
    assert [refused.status for refused in refusals] == [401, 400, 403, 404, 405]
    assert not any("ETag" in refused.headers for refused in refusals)


# ---- dates -------------------------------------------------------------------------------------------


async def test_a_date_for_which_304_is_given(dated: Asker) -> None:
    for path in ("/backends", *DOCUMENTS):
        since = (await dated.get(path)).headers["Last-Modified"]
        assert since == imf(NOW)
        assert_not_modified(await dated.get(path, If_Modified_Since=since), "Last-Modified", since)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If_Modified_Since": imf(NOW - 1)}, 200),
        ({"If_Modified_Since": imf(NOW + HOUR)}, 304),
        ({"If_Modified_Since": "Thursday, 28-May-26 20:26:40 GMT"}, 304),
        ({"If_Modified_Since": "Thu May 28 20:26:40 2026"}, 304),
        ({"If_Modified_Since": "Thu May 28 20:26:39 2026"}, 200),
        ({"If_Modified_Since": "today"}, 200),
        ({"If_Modified_Since": "Thu, 28 May 99999 20:26:40 GMT"}, 200),
        ({"If_Modified_Since": f"Thu, 28 May {9**30} 20:26:40 GMT"}, 200),
        ({"If_Modified_Since": imf(NOW), "If_None_Match": '"a"'}, 200),
        ({"If_Modified_Since": imf(NOW - 1), "If_None_Match": "*"}, 304),
    ],
)
@pytest.mark.usefixtures("_far_from_greenwich")
async def test_a_date_counts_where_no_tag_is_given(
    dated: Asker, headers: dict[str, str], status: int
) -> None:
    assert (await dated.get(PROPERTIES, **headers)).status == status


async def test_a_change_is_never_hidden_by_a_date_of_the_same_second(dated: Asker, clock: Clock) -> None:
    first = (await dated.get("/backends")).headers["Last-Modified"]
    dated.emulator.set_backend("a", queue_length=4)
    for moved, status, modified in ((0, 200, None), (0.9, 200, None), (0.1, 200, imf(NOW + 1))):
        clock.now += moved
        got = await dated.get("/backends", If_Modified_Since=first)
        assert (got.status, got.headers.get("Last-Modified")) == (status, modified)
    assert (await dated.get("/backends", If_Modified_Since=imf(NOW + 1))).status == 304


async def test_a_change_is_never_hidden_after_the_clock_was_moved_backward(dated: Asker) -> None:
    first = (await dated.get("/backends/a/status")).headers["Last-Modified"]
    await dated.emulator.set_clock(now=NOW - HOUR)
    dated.emulator.set_backend("a", queue_length=4)
    for _ in range(2):
        got = await dated.get("/backends/a/status", If_Modified_Since=first)
        assert (got.status, "Last-Modified" in got.headers) == (200, False)
        await dated.emulator.advance(60)
    await dated.emulator.set_clock(now=NOW + 1)
    assert (await dated.get("/backends/a/status", If_Modified_Since=first)).headers["Last-Modified"] == imf(
        NOW + 1
    )


async def test_after_a_reset_everything_is_as_at_the_start(dated: Asker) -> None:
    await dated.get("/backends")
    await dated.emulator.reset()
    dated.emulator.set_backend("a", queue_length=4)
    await dated.log_in()
    assert (await dated.get("/backends")).headers["Last-Modified"] == imf(NOW)


def test_no_change_is_hidden_by_what_had_to_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validators, "_KEPT", 2)
    clock = Clock()
    dates = Validators("date", clock)

    def ask(path: str, body: bytes, since: float = 0) -> int:
        call = Call("GET", path, "", {"If-Modified-Since": imf(since)}, "")
        return dates.applied(call, Answer(200, Document(body))).status

    assert [ask("/1", b"a"), ask("/2", b"a"), ask("/2", b"a", NOW), ask("/3", b"a")] == [200, 200, 304, 200]
    assert len(dates._seen) == 1
    assert ask("/1", b"changed", NOW) == 200
    clock.now += 1
    assert [ask("/1", b"changed", NOW), ask("/1", b"changed", NOW + 1)] == [200, 304]


# ---- neither, and others' ----------------------------------------------------------------------------


async def test_without_validators_conditions_are_ignored() -> None:
    async with asked(None) as ask:
        got = await ask.get(PROPERTIES, If_None_Match="*", If_Modified_Since=imf(NOW + HOUR))
        assert got.status == 200
        assert not {"ETag", "Last-Modified"} & set(got.headers)


def test_there_are_no_other_validators() -> None:
    with pytest.raises(ValueError, match="one of etag, weak, date, or None"):
        Emulator(validators="md5")  # type: ignore[arg-type]


async def test_the_log_has_conditions_and_what_they_brought(tagged: Asker) -> None:
    tag = (await tagged.get(PROPERTIES)).headers["ETag"]
    await tagged.get(PROPERTIES, If_None_Match=tag, If_Modified_Since="x")
    plain, conditional = tagged.emulator.requests[-2:]
    assert (plain.if_none_match, plain.if_modified_since, plain.status) == (None, None, 200)
    assert (conditional.if_none_match, conditional.if_modified_since, conditional.status) == (tag, "x", 304)


async def test_a_304_that_nobody_asked_for(tagged: Asker) -> None:
    await tagged.log_in()
    tagged.emulator.fault(NotModified())
    tagged.emulator.fault(NotModified('"never seen"'))
    got = [await tagged.get(PROPERTIES, Authorization=None, If_None_Match='"x"') for _ in range(3)]
    assert [(one.status, one.headers.get("ETag")) for one in got] == [
        (304, None),
        (304, '"never seen"'),
        (401, None),
    ]
    assert [one.body for one in got[:2]] == [b"", b""]


@pytest.mark.parametrize(
    "tag", ["without quotes", '"' + "x" * 7000 + '"', "", '"\N{LATIN SMALL LETTER E WITH ACUTE}"']
)
async def test_headers_can_be_replaced(tagged: Asker, tag: str) -> None:
    usual = await tagged.get(PROPERTIES)
    tagged.emulator.fault(
        WithHeaders({"etag": tag, "vary": "*", "X-More": "1"}), resource="properties", times=2
    )
    got = await tagged.get(PROPERTIES)
    assert (got.status, got.body) == (200, usual.body)
    assert [got.headers.getall(name) for name in ("ETag", "Vary", "X-More")] == [[tag], ["*"], ["1"]]
    unchanged = await tagged.get(PROPERTIES, If_None_Match=usual.headers["ETag"])
    assert (unchanged.status, unchanged.headers["ETag"]) == (304, tag)
    assert (await tagged.get(PROPERTIES)).headers["ETag"] == usual.headers["ETag"]
