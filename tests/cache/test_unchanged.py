"""Answers that have not changed, over sockets: 304s, equal bytes, and servers that say what is not true."""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from qrbackends import (
    Account,
    CachePolicy,
    Client,
    FileStore,
    Forbidden,
    Instance,
    Limits,
    Memory,
    NotFound,
    QRBackendsError,
    RedisStore,
    Request,
    ResponseError,
    RetryPolicy,
    Store,
    TransportError,
)
from qrbackends.emulator import Emulator, Hold, NotModified, Reset, Status, SyntheticFleet, WithHeaders
from qrbackends.emulator.surface.log import LoggedRequest
from qrbackends.emulator.surface.validators import Validation
from qrbackends.protocol import answers
from qrbackends.transport import body

from ..internals import renewals, set_clock, tier
from ..redis_server import PATIENT, RedisServer
from ..waiting import until

pytestmark = pytest.mark.anyio

START = 1_790_000_000.0
HOUR = 3600.0
POLICY = CachePolicy(jitter=0)
FRESH = POLICY.properties
ASKED = Request("properties", "alpha")
LIST = Request("backends")
KINDS = ("etag", "weak", "date")
Serve = Callable[..., Any]


class World:
    """The time of the service and of all clients."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def serve(world: World) -> AsyncIterator[Serve]:
    """What starts a service of two small backends, whose queues stand still."""
    async with AsyncExitStack() as stack:

        async def started(validators: Validation | None) -> Emulator:
            emulator = Emulator(
                SyntheticFleet({"alpha": 5, "beta": 5}),
                ["us-east"],
                keys=2,
                validators=validators,
                clock=world,
                token_lifetime=10**9,
            )
            await stack.enter_async_context(emulator)
            for name in ("alpha", "beta"):
                emulator.set_backend(name, queue_length=3)
            world.now += 100  # a date is no validator before it is a minute old
            return emulator

        yield started


@pytest.fixture
async def connect(world: World) -> AsyncIterator[Serve]:
    """What makes clients, each with a memory of its own unless it is given one."""
    async with AsyncExitStack() as stack:

        async def connected(
            emulator: Emulator,
            *,
            key: int = 0,
            memory: Memory | None = None,
            store: Store | None = None,
            attempts: int = 2,
        ) -> Client:
            client = Client(
                emulator.account(key),
                cache=POLICY,
                memory=Memory(clock=world) if memory is None else memory,
                store=store,
                retry=RetryPolicy(attempts=attempts, base=0),
            )
            if store is not None:
                set_clock(tier(client), world)
            return await stack.enter_async_context(client)

        yield connected


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many answers of each resource were decoded."""
    counts: Counter[str] = Counter()

    def counted(name: str, decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        def decoder(text: bytes) -> Any:
            counts[name] += 1
            return decode(text)

        return decoder

    decoders = {name: counted(name, decode) for name, decode in answers._DECODERS.items()}
    monkeypatch.setattr(answers, "_DECODERS", decoders)
    return counts


@pytest.fixture(params=["redis", "file"])
async def any_store(
    request: pytest.FixtureRequest, server: RedisServer, redis: Redis, tmp_path: Path, world: World
) -> AsyncIterator[Store]:
    if request.param == "redis":
        async with RedisStore(server.url, timeout=PATIENT) as opened:
            yield opened
    else:
        async with FileStore(tmp_path / "answers", clock=world, timeout=PATIENT) as file:
            yield file


def conditions(logged: LoggedRequest) -> tuple[str | None, str | None]:
    return logged.if_none_match, logged.if_modified_since


def last(emulator: Emulator) -> LoggedRequest:
    return emulator.requests[-1]


def statuses(emulator: Emulator) -> list[int | None]:
    return [one.status for one in emulator.requests if one.resource == "properties"]


def assert_confirmed(emulator: Emulator, kind: str) -> None:
    """The last request had the condition of the kind, and was answered with a 304."""
    tag, date = conditions(last(emulator))
    assert last(emulator).status == 304
    assert (tag is None, date is None) == ((True, False) if kind == "date" else (False, True))
    assert tag is None or tag.startswith("W/") == (kind == "weak")


def assert_in_full(emulator: Emulator) -> None:
    """The last request had no condition, and was answered with a body."""
    assert conditions(last(emulator)) == (None, None)
    assert last(emulator).status == 200


# --- 304


@pytest.mark.parametrize("kind", KINDS)
async def test_a_304_renews_an_entry_and_gives_the_same_object(
    serve: Serve, connect: Serve, world: World, decoded: Counter[str], kind: Validation
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.fetch(ASKED)
    assert not first.unchanged
    assert_in_full(emulator)
    world.now += 100
    for asking in ({"refresh": True}, {"max_age": 0.5}, {"refresh": True}):
        given = await client.fetch(ASKED, **asking)
        assert given.value is first.value
        assert (given.source, given.age, given.fresh_for, given.unchanged) == ("origin", 0, FRESH, True)
        assert_confirmed(emulator, kind)
        world.now += 1
    world.now += FRESH - 2
    given = await client.fetch(ASKED)
    assert given.value is first.value
    assert (given.source, given.age, given.unchanged) == ("memory", FRESH - 1, False)
    given = await client.fetch(ASKED, max_age=FRESH - 1)
    assert given.source == "memory"
    assert emulator.count("properties") == 4
    given = await client.fetch(ASKED, max_age=FRESH - 1.5)
    assert (given.source, given.age, given.unchanged) == ("origin", 0, True)
    assert decoded["properties"] == 1


@pytest.mark.parametrize("kind", [*KINDS, None])
async def test_an_unchanged_answer_is_renewed_in_the_background(
    serve: Serve, connect: Serve, world: World, decoded: Counter[str], kind: Validation | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.properties("alpha")
    for _ in range(2):
        world.now += FRESH + 1
        given = await client.fetch(ASKED)
        assert (given.source, given.age, given.unchanged) == ("stale", FRESH + 1, False)
        await until(lambda: not renewals(client))
        given = await client.fetch(ASKED)
        assert given.value is first
        assert (given.source, given.age, given.fresh_for) == ("memory", 0, FRESH)
        if kind is None:
            assert_in_full(emulator)
        else:
            assert_confirmed(emulator, kind)
    assert decoded["properties"] == 1


@pytest.mark.parametrize("kind", [*KINDS, None])
async def test_a_new_calibration_is_a_new_object(
    serve: Serve, connect: Serve, world: World, decoded: Counter[str], kind: Validation | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.fetch(ASKED)
    world.now += HOUR
    second = await client.fetch(ASKED, refresh=True)
    assert second.value.last_update_date > first.value.last_update_date
    assert not second.unchanged
    assert last(emulator).status == 200
    world.now += 100
    third = await client.fetch(ASKED, refresh=True)
    assert third.value is second.value
    assert third.unchanged
    # A date is sent once its second is over, and so not with the first answer that is new.
    assert last(emulator).status == (304 if kind in ("etag", "weak") else 200)
    assert decoded["properties"] == 2


@pytest.mark.parametrize("kind", [*KINDS, None])
async def test_a_list_that_has_not_changed_is_the_same_list(
    serve: Serve, connect: Serve, world: World, decoded: Counter[str], kind: Validation | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.backends()
    world.now += 10
    given = await client.fetch(LIST, refresh=True)
    assert given.value is first
    assert (given.source, given.age, given.unchanged) == ("origin", 0, True)
    if kind is None:
        assert_in_full(emulator)
    else:
        assert_confirmed(emulator, kind)
    assert decoded["backends"] == 1
    emulator.set_backend("alpha", queue_length=4)
    world.now += 100
    given = await client.fetch(LIST, refresh=True)
    assert not given.unchanged
    assert {one.name: one.queue_length for one in given.value} == {"alpha": 4, "beta": 3}


async def test_a_status_is_asked_for_without_a_condition(serve: Serve, connect: Serve) -> None:
    emulator = await serve("etag")
    client = await connect(emulator)
    asked = Request("status", "alpha")
    for _ in range(2):
        assert not (await client.fetch(asked)).unchanged
        assert_in_full(emulator)


async def test_tags_are_of_one_credential_and_one_variant(serve: Serve, connect: Serve, world: World) -> None:
    emulator = await serve("etag")
    memory = Memory(clock=world)
    one = await connect(emulator, memory=memory)
    other = await connect(emulator, key=1, memory=memory)
    first = await one.properties("alpha")
    for client, asked in (
        (other, ASKED),
        (one, Request("properties", "alpha", calibration_id="extra_gates")),
        (one, Request("properties", "beta")),
    ):
        given = await client.fetch(asked, refresh=True)
        assert_in_full(emulator)
        assert not given.unchanged
        assert given.value is not first


# --- equal bytes


class Unused:
    """A decompressor that must not be needed."""

    def __init__(self, _bits: int) -> None:
        raise AssertionError("it was decompressed")


async def test_equal_bytes_are_neither_decompressed_nor_decoded(
    serve: Serve, connect: Serve, world: World, decoded: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    first = await client.properties("alpha")
    monkeypatch.setattr(body, "decompressor", Unused)
    for _ in range(3):
        world.now += 100
        given = await client.fetch(ASKED, refresh=True)
        assert given.value is first
        assert (given.source, given.age, given.unchanged) == ("origin", 0, True)
        assert_in_full(emulator)
    assert decoded["properties"] == 1


def document(value: str, padding: int) -> bytes:
    text = (
        '{"backend_name":"alpha","backend_version":"1","last_update_date":"2026-01-01T00:00:00Z",'
        '"qubits":[[{"date":"2026-01-01T00:00:00Z","name":"T1","unit":"us","value":%s}]],'
        '"gates":[],"general":["%s"]}'
    )
    return (text % (value, "x" * padding)).encode()


@pytest.mark.parametrize("padding", [1, 3000], ids=["plain", "gzip"])
async def test_another_value_under_the_same_date_and_length_is_another_answer(
    serve: Serve, connect: Serve, padding: int, decoded: Counter[str]
) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    seen = []
    for value in ("123.5", "123.5", "123.6", "123.5"):
        emulator.fault(Status(200, body=document(value, padding)), resource="properties")
        given = await client.fetch(ASKED, refresh=True)
        assert given.value.t1(0) == pytest.approx(float(value) * 1e-6)
        seen.append(given)
    assert [one.unchanged for one in seen] == [False, True, False, False]
    assert seen[0].value is seen[1].value
    assert len({id(one.value) for one in seen}) == 3
    assert decoded["properties"] == 3


async def test_a_shorter_body_that_begins_alike_is_another_answer(serve: Serve, connect: Serve) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    text = document("1.5", 1)
    for sent, unchanged in ((text + b"  ", False), (text, False), (text + b" ", False), (text + b" ", True)):
        emulator.fault(Status(200, body=sent), resource="properties")
        assert (await client.fetch(ASKED, refresh=True)).unchanged == unchanged


# --- servers that say what is not true


@pytest.mark.parametrize("kind", ["etag", None])
@pytest.mark.parametrize("tag", [None, '"another"'])
async def test_a_304_that_was_not_asked_for_is_no_answer(
    serve: Serve, connect: Serve, world: World, kind: Validation | None, tag: str | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.properties("alpha")
    world.now += HOUR
    emulator.fault(NotModified(tag), resource="properties")
    given = await client.fetch(ASKED, refresh=True)
    assert given.value.last_update_date > first.last_update_date
    assert not given.unchanged
    assert statuses(emulator) == [200, 304, 200]
    assert_in_full(emulator)


async def test_a_304_to_the_first_request_is_not_believed(serve: Serve, connect: Serve) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    emulator.fault(NotModified('"a"'), resource="properties")
    assert (await client.fetch(ASKED)).value.backend_name == "alpha"
    assert emulator.count("properties") == 2


async def test_nothing_but_304s_that_were_not_asked_for_is_an_outage(
    serve: Serve, connect: Serve, world: World
) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    first = await client.properties("alpha")
    emulator.fault(NotModified(), resource="properties", times=None)
    with pytest.raises(TransportError, match="304") as caught:
        await client.fetch(ASKED, refresh=True)
    assert caught.value.attempts == 2
    world.now += FRESH + POLICY.stale_while_revalidate
    given = await client.fetch(ASKED)
    assert given.value is first
    assert (given.source, given.unchanged) == ("stale", False)


async def test_a_service_that_says_304_for_ever_is_found_out(
    serve: Serve, connect: Serve, world: World
) -> None:
    emulator = await serve("etag")
    client = await connect(emulator)
    first = await client.properties("alpha")
    world.now += 1
    await client.fetch(ASKED, refresh=True)
    tag = last(emulator).if_none_match
    world.now += HOUR
    lie = emulator.fault(NotModified(tag), resource="properties", times=None)
    for _ in range(23):
        given = await client.fetch(ASKED, refresh=True)
        assert (given.value is first, given.unchanged) == (True, True)
        assert last(emulator).if_none_match == tag
    lie.cancel()
    given = await client.fetch(ASKED, refresh=True)
    assert_in_full(emulator)
    assert given.value.last_update_date > first.last_update_date
    assert not given.unchanged
    world.now += 1
    await client.fetch(ASKED, refresh=True)
    assert_confirmed(emulator, "etag")


async def test_a_service_that_ignores_conditions_is_not_asked_with_them(
    serve: Serve, connect: Serve, world: World
) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    constant = emulator.fault(WithHeaders({"ETag": '"a"'}), resource="properties", times=None)
    first = await client.fetch(ASKED)
    world.now += HOUR
    second = await client.fetch(ASKED, refresh=True)
    assert last(emulator).if_none_match == '"a"'
    assert second.value is not first.value
    assert not second.unchanged
    for headers in ({"ETag": '"a"'}, {"ETag": '"b"'}, {"ETag": '"c"'}):
        constant.cancel()
        constant = emulator.fault(WithHeaders(headers), resource="properties", times=None)
        third = await client.fetch(ASKED, refresh=True)
        assert_in_full(emulator)
        assert third.value is second.value
        assert third.unchanged


async def test_a_tag_that_always_changes_does_no_harm(
    serve: Serve, connect: Serve, decoded: Counter[str]
) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    before = None
    for number, tag in enumerate(('"a-gzip"', '"a"', 'W/"b"', '"c"')):
        emulator.fault(WithHeaders({"ETag": tag}), resource="properties")
        given = await client.fetch(ASKED, refresh=True)
        assert last(emulator).if_none_match == before
        assert given.unchanged == (number > 0)
        before = tag
    assert decoded["properties"] == 1


@pytest.mark.parametrize(
    ("kind", "told"), [("etag", None), ("etag", '"another"'), ("etag", "a"), ("date", None), ("date", '"a"')]
)
async def test_a_304_with_another_tag_is_not_believed(
    serve: Serve, connect: Serve, kind: Validation, told: str | None
) -> None:
    """It costs one request, and no pause. Some servers send no date with a 304."""
    emulator = await serve(kind)
    client = await connect(emulator, attempts=1)
    first = await client.properties("alpha")
    emulator.fault(NotModified(told), resource="properties")
    given = await client.fetch(ASKED, refresh=True)
    assert given.value is first
    assert given.unchanged
    assert statuses(emulator) == [200, 304, 200]
    assert (await client.fetch(ASKED, refresh=True)).value is first
    assert_in_full(emulator)  # as the tag says nothing
    emulator.fault(NotModified(told), resource="properties")
    with pytest.raises(TransportError, match="304"):
        await client.fetch(ASKED, refresh=True)


@pytest.mark.parametrize(("known", "told"), [('"a"', 'W/"a"'), ('W/"a"', '"a"')])
async def test_weak_tags_are_used(serve: Serve, connect: Serve, known: str, told: str) -> None:
    """Proxies that compress do so."""
    emulator = await serve(None)
    client = await connect(emulator)
    emulator.fault(WithHeaders({"ETag": known}), resource="properties")
    first = await client.properties("alpha")
    emulator.fault(NotModified(told), resource="properties", times=2)
    for asked in (known, told):
        given = await client.fetch(ASKED, refresh=True)
        assert last(emulator).if_none_match == asked
        assert given.value is first
        assert given.unchanged


@pytest.mark.parametrize("tag", ["a", '"a', '"' + "x" * 300 + '"', "*"])
async def test_a_tag_that_is_none_is_not_sent_back(serve: Serve, connect: Serve, tag: str) -> None:
    emulator = await serve(None)
    client = await connect(emulator)
    emulator.fault(WithHeaders({"ETag": tag}), resource="properties", times=None)
    for unchanged in (False, True):
        assert (await client.fetch(ASKED, refresh=True)).unchanged == unchanged
        assert_in_full(emulator)


@pytest.mark.parametrize("kind", ["etag", "date"])
async def test_after_a_request_without_an_answer_the_next_one_has_no_condition(
    serve: Serve, connect: Serve, kind: Validation
) -> None:
    """A 304 may be what could not be read. That says nothing about the tag."""
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.properties("alpha")
    for _ in range(2):
        emulator.fault(Reset(), resource="properties")
        given = await client.fetch(ASKED, refresh=True)
        assert (given.value is first, given.unchanged) == (True, True)
        assert any(conditions(emulator.requests[-2]))
        assert_in_full(emulator)
    emulator.fault(Status(503), resource="properties")
    assert (await client.fetch(ASKED, refresh=True)).unchanged
    assert_confirmed(emulator, kind)


@asynccontextmanager
async def saying(*answers: bytes) -> AsyncIterator[tuple[Account, list[bytes]]]:
    """Yield the account of a server that gives these answers in turn, and the requests that it gets."""
    left, heads = list(answers), []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while left:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(b"HTTP/1.1 " + left.pop(0))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/v1"
        crn = "crn:v1:bluemix:public:quantum-computing:us-east:a/1:2::"
        yield Account(token=TOKEN, instances=[Instance(crn, url=url)]), heads


TOKEN = "0123456789abcdef"
ANSWER = document("1.5", 1)


def in_full(etag: str, body: bytes = ANSWER) -> bytes:
    return f"200 OK\r\nETag: {etag}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def everything_in(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in directory.rglob("*") if file.is_file())


FAILED = b'%d No\r\nETag: "a"\r\nContent-Length: 46\r\n\r\n{"errors":[{"code":"1","message":"it fails"}]}'


@pytest.mark.parametrize("status", [304, 400, 405, 412, 428, 500, 501, 502, 504, 505])
async def test_a_service_that_fails_on_conditions_is_asked_without_them(status: int) -> None:
    refused = FAILED % status  # a 304 has no body
    async with (
        saying(*[in_full('"a"'), refused] * 3, in_full('"a"')) as (account, requests),
        Client(account, retry=RetryPolicy(attempts=2, base=0)) as client,
    ):
        first = await client.properties("alpha")
        for _ in range(3):
            given = await client.fetch(ASKED, refresh=True)
            assert (given.value is first, given.unchanged) == (True, True)
    assert [b"If-None-Match" in one for one in requests] == [False, *[True, False] * 3]


@pytest.mark.parametrize("status", [400, 500])
async def test_a_service_that_fails_in_any_case_is_asked_without_conditions_once(status: int) -> None:
    async with (
        saying(in_full('"a"'), *[FAILED % status] * 9) as (account, requests),
        Client(account, retry=RetryPolicy(attempts=3, base=0)) as client,
    ):
        await client.properties("alpha")
        with pytest.raises(ResponseError) as failed:
            await client.fetch(ASKED, refresh=True)
    assert failed.value.status == status
    sent = 2 if status == 400 else 3
    assert [b"If-None-Match" in one for one in requests] == [False, True, *[False] * (sent - 1)]
    assert (failed.value.attempts, len(failed.value.history)) == (sent, sent)


async def test_an_outage_after_a_refused_condition_is_an_outage() -> None:
    async with (
        saying(in_full('"a"'), FAILED % 400) as (account, requests),
        Client(account, cache=CachePolicy(properties=1e-9), retry=RetryPolicy(attempts=2, base=0)) as client,
    ):
        first = await client.properties("alpha")
        with pytest.raises(TransportError):  # the server ends the connection
            await client.fetch(ASKED, refresh=True)
        assert (await client.fetch(ASKED)).value is first, "an old answer may be given"
    assert [b"If-None-Match" in one for one in requests] == [False, True]


@pytest.mark.parametrize("page", [b"", b"<html>blocked</html>"])
async def test_a_broken_answer_to_a_condition_is_asked_for_without_one(page: bytes) -> None:
    status = 403 if page else 200  # a firewall's page, or a 304 that was spoilt
    broken = b"%d No\r\nContent-Length: %d\r\nContent-Type: text/html\r\n\r\n%s" % (status, len(page), page)
    async with (
        saying(in_full('"a"'), broken, in_full('"a"')) as (account, requests),
        Client(account, retry=RetryPolicy(attempts=2, base=0)) as client,
    ):
        first = await client.properties("alpha")
        assert (await client.fetch(ASKED, refresh=True)).value is first
    assert [b"If-None-Match" in one for one in requests] == [False, True, False]


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
async def test_a_refusal_that_has_another_cause_is_no_reason_to_ask_without_conditions(status: int) -> None:
    refused = FAILED % status
    async with (
        saying(in_full('"a"'), refused, in_full('"a"')) as (account, requests),
        Client(account, retry=RetryPolicy(attempts=1), limits=Limits(failures=10**9)) as client,
    ):
        await client.properties("alpha")
        with pytest.raises(ResponseError):
            await client.fetch(ASKED, refresh=True)
        if status in (429, 503):  # the others remove the entry
            await client.fetch(ASKED, refresh=True)
    assert all(b"If-None-Match" in one for one in requests[1:])


@pytest.mark.parametrize("status", [304, 500])
async def test_who_sends_a_request_once_asks_in_full_after_a_failure(status: int) -> None:
    failure = FAILED % status
    async with (
        saying(in_full('"a"'), failure, in_full('"b"', document("2.5", 1)), failure) as (account, requests),
        Client(account, retry=RetryPolicy(attempts=1)) as client,
    ):
        first = await client.properties("alpha")
        with pytest.raises(QRBackendsError):
            await client.fetch(ASKED, refresh=True)
        assert (await client.fetch(ASKED, refresh=True)).value is not first
        with pytest.raises(QRBackendsError):
            await client.fetch(ASKED, refresh=True)
    assert [b"If-None-Match" in one for one in requests] == [False, True, False, True]


async def test_what_a_refused_condition_echoes_is_not_told() -> None:
    echo = b'{"errors":[{"message":"no: Bearer %s"}]}' % TOKEN.encode()
    refused = b"400 No\r\nContent-Length: %d\r\n\r\n%s" % (len(echo), echo)
    lost = FAILED % 503
    async with (
        saying(in_full('"a"'), refused, lost) as (account, _),
        Client(account, retry=RetryPolicy(attempts=2, base=0)) as client,
    ):
        await client.properties("alpha")
        with pytest.raises(QRBackendsError) as failed:
            await client.fetch(ASKED, refresh=True)
    assert len(failed.value.history) == 2
    assert TOKEN not in f"{failed.value!r} {failed.value} {failed.value.history}"


async def test_a_tag_that_repeats_the_token_is_not_kept(tmp_path: Path) -> None:
    tags = [f'"{TOKEN}"', f'W/"a{TOKEN}b"', '"a"', '"b"']
    async with (
        saying(*[in_full(tag) for tag in tags]) as (account, requests),
        FileStore(tmp_path / "answers") as store,
        Client(account, store=store) as client,
    ):
        for _ in tags:
            await client.fetch(ASKED, refresh=True)
            assert TOKEN.encode() not in everything_in(tmp_path)
    assert [b"If-None-Match" in one for one in requests] == [False, False, False, True]


# --- what was dropped


@pytest.mark.parametrize("by", ["invalidation", "refusal"])
async def test_a_304_for_a_dropped_entry_does_not_bring_it_back(
    serve: Serve, connect: Serve, decoded: Counter[str], by: str
) -> None:
    emulator = await serve("etag")
    client = await connect(emulator)
    first = await client.properties("alpha")
    hold = emulator.fault(Hold(), resource="properties")
    renewing = asyncio.create_task(client.fetch(ASKED, refresh=True))
    await hold.reached()
    if by == "invalidation":
        assert await client.invalidate(backend="alpha") == 1
    else:
        emulator.fault(Status(403), resource="configuration")
        with pytest.raises(Forbidden):
            await client.configuration("alpha")
    hold.release()
    given = await renewing
    assert given.value is first
    assert given.unchanged
    assert statuses(emulator) == [200, 304]
    again = await client.fetch(ASKED)
    assert_in_full(emulator)
    assert again.source == "origin"
    assert again.value is not first
    assert not again.unchanged
    assert decoded["properties"] == 2


@pytest.mark.parametrize("kind", ["etag", None])
async def test_a_403_after_a_304_drops_the_entry(
    serve: Serve, connect: Serve, kind: Validation | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.properties("alpha")
    assert (await client.fetch(ASKED, refresh=True)).unchanged
    emulator.fault(Status(403), resource="properties", times=2)
    for asking in ({"refresh": True}, {}):
        with pytest.raises(Forbidden):
            await client.fetch(ASKED, **asking)
    given = await client.fetch(ASKED)
    assert_in_full(emulator)
    assert given.value is not first
    assert not given.unchanged


@pytest.mark.parametrize("kind", ["etag", None])
async def test_a_404_replaces_what_was_known(
    serve: Serve, connect: Serve, world: World, kind: Validation | None
) -> None:
    emulator = await serve(kind)
    client = await connect(emulator)
    first = await client.properties("alpha")
    emulator.fault(Status(404), resource="properties")
    with pytest.raises(NotFound):
        await client.fetch(ASKED, refresh=True)
    with pytest.raises(NotFound):
        await client.fetch(ASKED)
    assert emulator.count("properties") == 2
    world.now += POLICY.negative
    given = await client.fetch(ASKED)
    assert_in_full(emulator)
    assert given.value is not first
    assert not given.unchanged


# --- workers that share a store


@pytest.mark.parametrize("kind", KINDS)
async def test_another_workers_entry_is_renewed_by_a_304(
    serve: Serve, connect: Serve, world: World, any_store: Store, decoded: Counter[str], kind: Validation
) -> None:
    emulator = await serve(kind)
    one = await connect(emulator, store=any_store)
    first = await one.properties("alpha")
    world.now += FRESH + POLICY.stale_while_revalidate
    other = await connect(emulator, store=any_store)
    given = await other.fetch(ASKED)
    assert_confirmed(emulator, kind)
    assert (given.value, given.source, given.age) == (first, "origin", 0)
    assert decoded["properties"] == 2, "once by each worker"
    world.now += 10
    third = await connect(emulator, store=any_store)
    given = await third.fetch(ASKED)
    assert (given.value, given.source, given.age) == (first, "shared", 10)
    given = await one.fetch(ASKED, max_age=20)
    assert given.value is first
    assert (given.source, given.age, given.unchanged) == ("shared", 10, True)
    assert decoded["properties"] == 3
    assert emulator.count("properties") == 2


async def test_equal_bytes_renew_another_workers_entry(
    serve: Serve, connect: Serve, world: World, any_store: Store, decoded: Counter[str]
) -> None:
    emulator = await serve(None)
    one = await connect(emulator, store=any_store)
    first = await one.properties("alpha")
    world.now += FRESH + POLICY.stale_while_revalidate
    other = await connect(emulator, store=any_store)
    given = await other.fetch(ASKED)
    assert_in_full(emulator)
    assert (given.value, given.source, given.age, given.unchanged) == (first, "origin", 0, True)
    assert decoded["properties"] == 2


async def test_bytes_that_were_compressed_anew_for_another_worker_are_known(
    serve: Serve, connect: Serve, world: World, any_store: Store, decoded: Counter[str]
) -> None:
    emulator = await serve(None)
    one, other = [await connect(emulator, store=any_store) for _ in range(2)]
    found = []
    for client, value, asking in (
        (one, "1.5", {}),
        (other, "1.5", {"refresh": True}),
        (one, "", {"max_age": 10}),
        (other, "2.5", {"refresh": True}),
        (one, "", {"max_age": 10}),
    ):
        world.now += 10
        if value:
            sent = gzip.compress(document(value, 100), mtime=int(world.now))
            packed = Status(200, headers={"Content-Encoding": "gzip"}, body=sent)
            emulator.fault(packed, resource="properties")
        found.append(await client.fetch(ASKED, **asking))
    assert [one.source for one in found] == ["origin", "origin", "shared", "origin", "shared"]
    assert [one.unchanged for one in found] == [False, False, True, False, False]
    assert found[2].value is found[0].value
    assert found[4].value == found[3].value
    assert decoded["properties"] == 4


async def test_workers_that_take_turns_ask_in_full_after_24_304s(
    serve: Serve, connect: Serve, world: World, any_store: Store
) -> None:
    emulator = await serve("etag")
    workers = [await connect(emulator, store=any_store) for _ in range(2)]
    await workers[0].properties("alpha")
    for turn in range(25):
        world.now += FRESH / 100
        await workers[turn % 2].fetch(ASKED, max_age=0)
    assert statuses(emulator) == [200, *([304] * 24), 200]
