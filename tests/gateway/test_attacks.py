"""Attacks on a gateway: what nobody may get by it."""

import base64
import gc
import json
import re
import time
import weakref
from pathlib import Path

import anyio
import msgspec
import pytest

from qrbackends.emulator import Emulator, Status
from qrbackends.gateway import bodies
from qrbackends.gateway.keys import KeyFile, Keyring
from qrbackends.gateway.options import GatewayOptions
from qrbackends.surface.tokens import Signer
from qrbackends.web import ServerLimits
from qrbackends.web import gateway as serving_gateways

from .serving import Running, running

pytestmark = pytest.mark.anyio

NAME = "synthetic_eagle_127"
PATH = f"/api/v1/backends/{NAME}/properties"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def forgeries(token: str) -> dict[str, str]:
    """Return tokens that nobody has signed, made of a good one."""
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    later = part(claims | {"exp": claims["exp"] + 10_000})
    none = part({"alg": "none", "typ": "JWT"})
    return {
        "no algorithm": f"{none}.{payload}.",
        "no algorithm, signed": f"{none}.{payload}.{signature}",
        "a longer life": f"{head}.{later}.{signature}",
        "no signature": f"{head}.{payload}.",
        "another signature": f"{head}.{payload}.{signature[::-1]}",
        "another secret": Signer("qrbackends", b"guessed", time.time).grant(claims["sub"], 60, "1")[
            "access_token"
        ],
        "two parts": f"{head}.{payload}",
        "nothing": "",
        "a byte": token[:-1],
        "not ASCII": token + "\udcff",
    }


async def test_forged_tokens_open_nothing(emulator: Emulator) -> None:
    async with running(emulator) as at:
        good = at.asker.authorization.removeprefix("Bearer ")
        assert (await at.asker.document(NAME)).status == 200  # it is cached from here on
        for what, token in forgeries(good).items():
            if "\udcff" in token:
                continue  # sent as bytes below
            got = await at.asker.instead(authorization=f"Bearer {token}").document(NAME)
            assert (got.status, b"qubits" in got.plain) == (401, False), what
        raw = await exchange(at, head(at, PATH, authorization=f"Bearer {good}".encode() + b"\xff"))
        assert raw.startswith(b"HTTP/1.1 401")
        for scheme in ("Basic", "bearer2", "", "Bearer,"):
            got = await at.asker.instead(authorization=f"{scheme} {good}").document(NAME)
            assert got.status == 401
        assert (await at.asker.document(NAME, headers={"Authorization": None})).status == 401


async def test_expired_tokens_open_nothing(emulator: Emulator, tmp_path: Path) -> None:
    now = time.time()
    clock = [now]
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("cluster")
    ring = Keyring(file, clock=lambda: clock[0])
    granted = ring.exchange(key)
    assert granted is not None
    async with running(emulator, keyring=ring) as at:
        asker = at.asker.instead(authorization=f"Bearer {granted['access_token']}")
        for _ in range(3):
            assert (await asker.document(NAME)).status == 200
        clock[0] = granted["expiration"] + 0.5
        assert (await asker.document(NAME)).status == 401


async def test_a_revoked_key_ends_at_once_and_its_tokens_with_it(emulator: Emulator, tmp_path: Path) -> None:
    clock = [time.time()]
    file = KeyFile(tmp_path / "keys.json")
    keys = {name: file.add(name) for name in ("one", "two")}
    ring = Keyring(file, clock=lambda: clock[0])
    granted = {name: ring.exchange(key) for name, key in keys.items()}
    async with running(emulator, keyring=ring) as at:
        askers = {
            name: at.asker.instead(authorization=f"Bearer {one and one['access_token']}")
            for name, one in granted.items()
        }
        for _ in range(3):
            assert {(await one.document(NAME)).status for one in askers.values()} == {200}
        assert file.revoke("one")
        clock[0] += 2
        assert [(await one.document(NAME)).status for one in askers.values()] == [401, 200]
        direct = at.asker.instead(authorization=f"apikey {keys['one']}")
        assert (await direct.document(NAME)).status == 401
        assert (await at.asker.instead(authorization=f"apikey {keys['two']}").document(NAME)).status == 200


async def test_a_key_reads_the_instances_it_was_given(emulator: Emulator, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    mine, others = (one.crn for one in emulator.instances)
    key = file.add("mine", [mine])
    async with running(emulator, keyring=Keyring(file)) as at:
        asker = at.asker.instead(authorization=f"apikey {key}")
        assert (await asker.backends()).status == 200
        assert (await asker.instead(crn=others).backends()).status == 403
        body = msgspec.json.encode({"query": "service_name:quantum-computing"})
        token = await asker.ask("/identity/token", "POST", data=form(key))
        bearer = f"Bearer {json.loads(token.plain)['access_token']}"
        found = await asker.instead(authorization=bearer).ask("/v3/resources/search", "POST", data=body)
        assert [one["crn"] for one in json.loads(found.plain)["items"]] == [mine]


async def test_the_instance_of_another_account_is_refused(emulator: Emulator) -> None:
    async with running(emulator) as at:
        assert (await at.asker.document(NAME)).status == 200
        mine = at.asker.crn
        another = re.sub("a/[0-9a-f]{32}", f"a/{'0' * 32}", mine)
        for crn in (
            another,
            mine.upper(),
            mine + " ",
            f"{mine}x",
            "",
            "crn:v1:nothing",
            mine.replace("us-", "@"),
        ):
            got = await at.asker.instead().ask(PATH, headers={"Service-CRN": crn})
            expected = 200 if crn.strip() == mine else 403
            assert got.status == expected, crn
        before = emulator.count()
        assert (await at.asker.ask(PATH, headers={"Service-CRN": another})).status == 403
        assert emulator.count() == before  # nobody was asked


async def test_a_key_that_asks_too_often_is_held_back(emulator: Emulator, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("eager", rate=2)
    async with running(emulator, keyring=Keyring(file)) as at:
        asker = at.asker.instead(authorization=f"apikey {key}")
        statuses = [(await asker.backends()).status for _ in range(4)]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses[2:]
        limited = next(one for one in [await asker.backends() for _ in range(4)] if one.status == 429)
        assert limited.headers["Retry-After"] == "1"


async def test_a_repeated_request_counts_once_where_its_answer_is_old(
    emulator: Emulator, tmp_path: Path
) -> None:
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("steady", rate=4)
    async with running(emulator, keyring=Keyring(file)) as at:
        whole = head(at, PATH, b"Accept-Encoding: gzip", authorization=f"apikey {key}".encode())
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            statuses = [(await one_answer(stream, whole))[0] for _ in range(3)]
            at.gateway.source.upstreams()[0].forget()  # the next one is not answered at once
            statuses.append((await one_answer(stream, whole))[0])
            assert statuses == [200] * 4


def form(key: str) -> str:
    return f"grant_type=urn:ibm:params:oauth:grant-type:apikey&apikey={key}"


# --- another caller's answers, where credentials are passed on


async def test_nobody_reads_another_callers_answers(emulator: Emulator) -> None:
    async with running(emulator, forward=True) as at:
        mine = await at.asker.document(NAME)
        assert (mine.status, (await at.asker.document(NAME)).cache) == (200, "qrbackends; hit; ttl=299")
        mixed_up = at.asker.authorization.replace("Bearer", "apikey")
        for authorization in ("Bearer stolen", f"apikey {'x' * 40}", f"{at.asker.authorization}x", mixed_up):
            got = await at.asker.instead(authorization=authorization).document(NAME)
            assert (got.status, b"qubits" in got.plain) == (401, False)
        before = emulator.count("properties")
        other = at.asker.instead(authorization=f"Bearer {emulator.make_token()}")
        assert (await other.document(NAME)).cache == "qrbackends; fwd=miss; ttl=299"
        assert emulator.count("properties") == before + 1


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refusal_empties_the_callers_part_only(emulator: Emulator, status: int) -> None:
    async with running(emulator, forward=True) as at:
        other = at.asker.instead(authorization=f"Bearer {emulator.make_token()}")
        for asker in (at.asker, other):
            await asker.document(NAME)
            await asker.document(NAME, "configuration")
        emulator.fault(Status(status), resource="backends")
        assert (await at.asker.backends()).status == status
        asked = emulator.count("properties"), emulator.count("configuration")
        emulator.expire_tokens()
        assert (await at.asker.document(NAME)).status == 401
        assert (await at.asker.document(NAME, "configuration")).status == 401
        assert (await other.document(NAME)).status == 200
        assert emulator.count("properties") == asked[0] + 1


async def test_a_token_that_says_it_has_expired_gets_nothing_of_the_cache(emulator: Emulator) -> None:
    clock = [time.time()]
    async with running(emulator, forward=True, clock=lambda: clock[0]) as at:
        assert (await at.asker.document(NAME)).status == 200
        await emulator.stop_region("us-east")
        assert (await at.asker.document(NAME)).status == 200
        clock[0] += 4000
        assert (await at.asker.document(NAME)).status == 502


async def test_nothing_is_kept_for_a_token_that_has_expired(emulator: Emulator) -> None:
    """The service's clock may be behind; what it still answers is not given again."""
    async with running(emulator, forward=True, clock=lambda: time.time() + 4000) as at:
        for number in range(1, 4):
            assert (await at.asker.document(NAME)).status == 200
            assert emulator.count("properties") == number


async def test_made_up_credentials_drive_few_callers_out(emulator: Emulator) -> None:
    async with running(emulator, forward=True, most=8) as at:
        askers = [at.asker.instead(authorization=f"Bearer {emulator.make_token()}") for _ in range(8)]
        for asker in askers:
            assert (await asker.backends()).status == 200
        for number in range(30):
            assert (await at.asker.instead(authorization=f"Bearer made-up-{number}").backends()).status == 401
        hits = [(await asker.backends()).cache.startswith("qrbackends; hit") for asker in askers[3:]]
        assert hits == [True] * 5


async def test_only_so_many_callers_have_a_part_of_the_memory(emulator: Emulator) -> None:
    async with running(emulator, forward=True, most=3) as at:
        askers = [at.asker.instead(authorization=f"Bearer {emulator.make_token()}") for _ in range(5)]
        for asker in askers:
            assert (await asker.backends()).status == 200
        assert len(at.gateway.source.upstreams()) == 3
        gone = weakref.ref(at.gateway.source.upstreams()[0])
        for asker in (askers[2], askers[0], askers[1], askers[3]):
            for _ in range(3):  # from the second hit on, the request is not parsed any more
                assert (await asker.backends()).status == 200
        gc.collect()
        assert gone() is None  # and its credential with it
        assert (await askers[4].backends()).cache.startswith("qrbackends; fwd=miss")
        assert (await askers[3].backends()).cache.startswith("qrbackends; hit")


async def test_whoever_tries_instances_takes_no_memory(emulator: Emulator) -> None:
    async with running(emulator, forward=True) as at:
        assert (await at.asker.backends()).status == 200
        (upstream,) = at.gateway.source.upstreams()
        for number in range(150):
            crn = at.asker.crn.replace("a/", f"a/{number}")
            assert (await at.asker.instead(crn=crn).document(NAME)).status != 200
        assert sum(len(upstream.of(version).scopes) for version in upstream.versions) <= 64
        await emulator.stop_region("us-east")
        for number in range(150):  # also where nobody refuses it
            await at.asker.instead(crn=at.asker.crn.replace("a/", f"a/{number}")).document(NAME)
        assert sum(len(upstream.of(version).scopes) for version in upstream.versions) <= 64


async def test_regions_that_are_none_are_not_asked(emulator: Emulator) -> None:
    async with running(emulator, forward=True) as at:
        for region, status in (("elsewhere", 403), ("evil.example", 400), ("us-east@evil", 400), ("", 400)):
            crn = at.asker.crn.replace("us-east", region)
            assert (await at.asker.ask(PATH, headers={"Service-CRN": crn})).status == status


# --- paths, headers and methods


async def test_odd_paths_lead_nowhere(emulator: Emulator) -> None:
    async with running(emulator, options=GatewayOptions(pass_through=True)) as at:
        await at.asker.document(NAME)
        before = emulator.count()
        for path in (
            f"//api/v1/backends/{NAME}/properties",
            f"/api/v1//backends/{NAME}/properties",
            f"/api/v1/backends//{NAME}/properties",
            f"/api/v1/backends/{NAME}/properties/",
            f"/api/v1/backends/{NAME}/%70roperties",
            f"/api/v1/backends/{NAME}/properties/../configuration",
            f"/api/v1/backends/{NAME}%2fproperties",
            f"/api/v1/backends/%2e%2e/{NAME}/properties",
            "/api/v1/backends/%2e%2e/properties",
            "/api/v1/backends/../properties",
            "/api/v1/backends/..%2f..%2fidentity/properties",
            "/api/v1/%2e%2e/%2e%2e/identity/token",
            "/api/v1/jobs/%2e%2e/%2e%2e/secret",
            "/api/v1/jobs/..%252fsecret",
            "/api/v1/jobs//x",
            "/api/v1/jobs/a%2fb",
            "/api/v1/jobs/a%5cb",
            "/api/v1/jobs/a%00b",
            "/api/v1/jobs/a%0d%0aX-Header:%20b",
            f"/api/v1/backends/{NAME}%00/properties",
            f"/api/v1/backends/{'x' * 501}/properties",
            f"/api/v2/backends/{NAME}/properties",
            "/API/v1/backends",
        ):
            got = await at.asker.ask(path)
            assert got.status in (400, 404), path
            assert b"qubits" not in got.plain
        assert {
            one.path_qs for one in emulator.requests[before:] if not one.path_qs.startswith("/api/v1/b")
        } == set()
        assert not [one.path_qs for one in emulator.requests[before:] if "%2f" in one.path_qs.lower()]


async def test_odd_methods_are_refused(emulator: Emulator) -> None:
    async with running(emulator) as at:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "PROPFIND", "PURGE"):
            got = await at.asker.ask(PATH, method)
            assert (got.status, got.headers["Allow"]) == (405, "GET"), method
        assert emulator.count("properties") == 0


async def test_range_and_encodings_poison_nothing(emulator: Emulator) -> None:
    async with running(emulator) as at:
        whole = (await at.origin.document(NAME)).plain
        for headers in (
            {"Accept-Encoding": "br"},
            {"Accept-Encoding": "identity"},
            {"Accept-Encoding": "gzip;q=0"},
            {"Accept-Encoding": "deflate"},
            {"Accept-Encoding": "nonsense, gzip"},
            {"Accept-Encoding": "*"},
            {"Accept-Encoding": None},
            {"Range": "bytes=0-9"},
            {"Range": "bytes=0-9", "If-Range": '"x"'},
            {"If-Modified-Since": "Thu, 26 Nov 2099 00:00:00 GMT"},
            {"X-Forwarded-Host": "evil.example", "X-Original-URL": "/api/v1/versions"},
            {"X-HTTP-Method-Override": "DELETE"},
            {"Cache-Control": "no-store"},
            {"Accept-Encoding": "gzip"},
        ):
            got = await at.asker.document(NAME, headers=headers)
            assert (got.status, got.plain) == (200, whole), headers
            assert got.headers["Vary"] == "Accept-Encoding"
            encoding = got.headers.get("Content-Encoding", "identity")
            accepted = headers.get("Accept-Encoding", "gzip") or "identity"
            assert encoding == "identity" or "gzip" in accepted or "*" in accepted
        assert emulator.count("properties") == 2


async def test_a_query_cannot_poison_a_document(emulator: Emulator) -> None:
    async with running(emulator) as at:
        whole = (await at.asker.document(NAME)).plain
        for query in (
            "?x=1",
            "?calibration_id=",
            "?utm=calibration_id",
            "?fields=wait_time_seconds",
            "?include_mocks=True",
            "?",
        ):
            assert (await at.asker.ask(PATH + query)).plain == whole
        for query in ("?calibration_id=a&calibration_id=b", "?calibration_id=%ff", "?updated_before=never"):
            assert (await at.asker.ask(PATH + query)).status == 400
        assert emulator.count("properties") == 1


# --- bytes


def head(
    at: Running, path: str, *lines: bytes, authorization: bytes | None = None, host: bytes = b"localhost"
) -> bytes:
    """Return the head of a request without its end."""
    shown = at.asker.authorization.encode() if authorization is None else authorization
    given = [b"GET %b HTTP/1.1" % path.encode(), b"Host: %b" % host, b"Authorization: %b" % shown]
    return b"\r\n".join([*given, b"Service-CRN: %b" % at.asker.crn.encode(), *lines, b"", b""])


async def exchange(at: Running, sent: bytes) -> bytes:
    """Send bytes, and return all that comes until the server closes the connection, or nothing does."""
    port = int(at.url.rpartition(":")[2])
    received = b""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(sent)
        with anyio.move_on_after(0.5):  # what is not answered is waited for in vain
            while True:
                try:
                    received += await stream.receive()
                except anyio.EndOfStream:
                    break
    return received


def answers(received: bytes) -> list[int]:
    """Return the statuses of the answers in what was received."""
    return [int(found) for found in re.findall(rb"HTTP/1\.[01] (\d{3}) ", received)]


async def test_requests_cannot_be_smuggled(emulator: Emulator) -> None:
    async with running(emulator) as at:
        await at.asker.document(NAME)
        hidden = head(at, "/api/v1/versions")
        inside = b"%x\r\n%b\r\n0\r\n\r\n" % (len(hidden), hidden)
        for lines in (
            [b"Content-Length: 5", b"Content-Length: %d" % len(hidden)],
            [b"Content-Length: %d" % len(hidden), b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
            [b"Transfer-Encoding: xchunked"],
            [b"Transfer-Encoding : chunked"],
            [b"Content-Length: +5"],
            [b"Content-Length: 5 5"],
            [b"X-Folded: a", b" Content-Length: 5"],
            [b"Content-Length:\r\n 5"],
            [b"X: a\rContent-Length: 5"],
            [b"X: a\nContent-Length: 5"],
        ):
            for body in (hidden, inside):
                statuses = answers(await exchange(at, head(at, PATH, *lines) + body))
                assert statuses[:1] == [400], (lines, statuses)
                assert 200 not in statuses[1:2] or statuses[0] == 400
                assert len(statuses) == 1, (lines, statuses)


async def test_a_body_of_a_get_is_no_second_request(emulator: Emulator) -> None:
    async with running(emulator) as at:
        hidden = head(at, "/api/v1/versions")
        sent = head(at, PATH, b"Content-Length: %d" % len(hidden)) + hidden
        assert answers(await exchange(at, sent)) == [400]


async def test_repeated_heads_are_whole_requests_only(emulator: Emulator) -> None:
    """Two requests at once, and halves of one, are answered as they are, whatever was asked before."""
    async with running(emulator) as at:
        whole = head(at, PATH, b"Accept-Encoding: gzip")
        other = head(at, "/api/v1/versions")
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            first = await one_answer(stream, whole)
            second = await one_answer(stream, whole)
            third = await one_answer(stream, whole)  # from here on it is not parsed any more
            assert [one[0] for one in (first, second, third)] == [200, 200, 200]
            assert first[1] == second[1] == third[1]
            cut = len(whole) // 2
            await stream.send(whole[:cut])
            halves = await one_answer(stream, whole[cut:])
            assert halves == third
            both = await one_answer(stream, whole + other, number=2)
            assert both[0] == 200
        assert at.gateway.counts.requests["properties", 200, "hit"] == 4
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with_body = head(at, PATH, b"Accept-Encoding: gzip", b"Content-Length: %d" % len(whole)) + whole
            assert (await one_answer(stream, with_body))[0] == 400


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/elsewhere"])
async def test_a_late_body_is_no_repeated_request(emulator: Emulator, path: str) -> None:
    """A body that comes after its head's answer is a body, also where it repeats a request that is known.

    Behind a proxy that shares connections, a second answer would be the next caller's.
    """
    async with running(emulator) as at:
        whole = head(at, PATH, b"Accept-Encoding: gzip")
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for _ in range(3):
                await one_answer(stream, whole)
            await one_answer(stream, head(at, path, b"Content-Length: %d" % len(whole)))
            await stream.send(whole)  # the body, which has been read once another connection is answered
            assert (await at.asker.ask("/healthz")).status == 200
            _, body = await one_answer(stream, head(at, "/api/v1/versions"))
            assert b"versions" in body
        assert at.gateway.counts.requests["properties", 200, "hit"] == 2


@pytest.mark.parametrize("forward", [False, True])
async def test_a_body_that_never_comes_is_waited_for_no_longer(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, forward: bool
) -> None:
    """Nobody has to have a key to ask IAM."""
    monkeypatch.setattr(bodies, "_SLOWEST", 0.05)
    monkeypatch.setattr(serving_gateways, "_LINGER", 0.05)
    before = emulator.count()
    async with running(emulator, forward=forward) as at:
        port = int(at.url.rpartition(":")[2])
        for sent in (b"", b"grant_type="):
            head = b"POST /identity/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n"
            async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                await stream.send(head + sent)
                with anyio.fail_after(5):
                    received = b"".join([chunk async for chunk in stream])  # to the connection's end
            assert received.startswith(b"HTTP/1.1 408")
    assert emulator.count() == before


async def test_a_document_that_is_asked_for_with_a_body_ends_the_connection(emulator: Emulator) -> None:
    async with running(emulator) as at:
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            assert (await one_answer(stream, head(at, PATH, b"Content-Length: 4")))[0] == 400
            await stream.send(b"body")
            with anyio.fail_after(5), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()


async def one_answer(stream: anyio.abc.SocketStream, sent: bytes, number: int = 1) -> tuple[int, bytes]:
    """Send bytes, and return the status and the body of the last of so many answers."""
    await stream.send(sent)
    rest, status, body = b"", 0, b""
    with anyio.fail_after(10):
        for _ in range(number):
            while b"\r\n\r\n" not in rest:
                rest += await stream.receive()
            top, _, rest = rest.partition(b"\r\n\r\n")
            found = re.search(rb"(?i)content-length: (\d+)", top)
            length = int(found[1]) if found else 0
            while len(rest) < length:
                rest += await stream.receive()
            status, body, rest = answers(top + b"\r\n")[0], rest[:length], rest[length:]
    assert rest == b""
    return status, body


async def test_a_repeated_head_is_refused_once_its_key_is(emulator: Emulator, tmp_path: Path) -> None:
    clock = [time.time()]
    file = KeyFile(tmp_path / "keys.json")
    key = file.add("one")
    ring = Keyring(file, clock=lambda: clock[0])
    async with running(emulator, keyring=ring) as at:
        whole = head(at, PATH, b"Accept-Encoding: gzip", authorization=f"apikey {key}".encode())
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            assert [(await one_answer(stream, whole))[0] for _ in range(4)] == [200] * 4
            file.revoke("one")
            clock[0] += 2
            assert (await one_answer(stream, whole))[0] == 401


async def test_other_names_of_this_machine_are_refused(emulator: Emulator) -> None:
    async with running(emulator, options=GatewayOptions(hosts=("gateway.lab",))) as at:
        for host in (
            b"evil.example",
            b"localhost.evil.example",
            b"127.0.0.1.evil.example",
            b"localhost@evil",
            b"",
        ):
            assert answers(await exchange(at, head(at, PATH, b"Connection: close", host=host)))[0] in (
                400,
                421,
            ), host
        for host in (b"localhost", b"127.0.0.1:1", b"gateway.lab:8590", b"[::1]:5"):
            assert answers(await exchange(at, head(at, PATH, b"Connection: close", host=host))) == [200], host
        two = head(at, PATH, b"Host: evil.example", b"Connection: close")
        assert answers(await exchange(at, two)) == [400]
        absolute = head(at, f"http://evil.example{PATH}", b"Connection: close")
        assert answers(await exchange(at, absolute)) == [421]
        twice = head(at, PATH, b"Authorization: Bearer other", b"Connection: close")
        assert answers(await exchange(at, twice)) == [400]


async def test_huge_heads_are_refused(emulator: Emulator) -> None:
    async with running(emulator) as at:
        for lines in ([b"X: " + b"a" * 9000], [b"X%d: a" % number for number in range(200)]):
            assert answers(await exchange(at, head(at, PATH, *lines))) == [400]
        assert answers(await exchange(at, head(at, PATH + "?" + "a" * 9000))) == [400]
        endless = b"GET /" + b"a" * 200_000
        assert answers(await exchange(at, endless)) in ([400], [])


async def test_huge_and_slow_bodies_are_refused(emulator: Emulator) -> None:
    async with running(emulator) as at:
        got = await at.asker.ask("/identity/token", "POST", data=b"a" * 100_000)
        assert got.status == 413
        bomb = await at.asker.ask(
            "/identity/token", "POST", data=b"\x1f\x8b" + b"\0" * 100, headers={"Content-Encoding": "gzip"}
        )
        assert bomb.status == 400


async def test_silent_and_greedy_connections_are_dropped(emulator: Emulator) -> None:
    limits = ServerLimits(head=0.0, taking=0.0, per_address=3)
    async with running(emulator, limits=limits) as at:
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as silent:
            await silent.send(b"GET / HT")
            with anyio.fail_after(10), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await silent.receive()


async def test_readers_that_take_nothing_are_dropped(real_emulator: Emulator) -> None:
    limits = ServerLimits(head=60.0, taking=0.5)
    name = real_emulator.backends("us-east")[0]
    async with running(real_emulator, limits=limits) as at:
        whole = head(at, f"/api/v1/backends/{name}/properties")
        port = int(at.url.rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as greedy:
            with anyio.fail_after(20), pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await ask_for_ever(greedy, whole)


async def ask_for_ever(stream: anyio.abc.SocketStream, whole: bytes) -> None:
    """Send a request again and again, and take nothing of the answers."""
    while True:
        await stream.send(whole)


async def test_no_secret_is_in_logs_or_errors(
    emulator: Emulator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from qrbackends.gateway.log import AccessLog

    caplog.set_level(0)
    path = tmp_path / "access.log"
    log = AccessLog(path)
    secrets = [emulator.api_keys[0]]
    async with running(emulator, log=log) as at:
        secrets += [at.keyring.throw_away or "?", at.asker.authorization.removeprefix("Bearer ")]
        await at.asker.document(NAME)
        await at.asker.ask("/identity/token", "POST", data=form(secrets[1]))
        await at.asker.ask(f"/api/v1/backends?apikey={secrets[1]}")
        await emulator.stop_region("us-east")
        await at.asker.document(NAME, "configuration")
    log.close()
    log = AccessLog(path)
    async with running(emulator, log=log, forward=True) as at:
        secrets.append(at.asker.authorization.removeprefix("Bearer "))
        await at.asker.document(NAME)
    log.close()
    said = caplog.text + path.read_text()
    assert said.count("\n") > 5
    assert not [secret for secret in secrets if secret in said or secret[:12] in path.read_text()]
