"""A document of another backend answers no request: it is asked for again, and never kept."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from qrbackends import CachePolicy, Client, DecodeError, FileStore, Limits, Memory, RetryPolicy, WrongBackend
from qrbackends.emulator import Emulator, Garbage

from ..internals import http_connections, ports

pytestmark = pytest.mark.anyio

REGION = "us-east"
KINDS = pytest.mark.parametrize("kind", ["configuration", "properties"])
Kind = Literal["configuration", "properties"]


def client_of(emulator: Emulator, **options: Any) -> Client:
    return Client(
        emulator.account(),
        retry=RetryPolicy(attempts=2, base=0.0),
        limits=Limits(failures=10**9),
        **options,
    )


async def two_of(emulator: Emulator, kind: Kind) -> tuple[str, Any, Garbage]:
    """Return a backend's name and document, and a fault that answers with another backend's document."""
    name, other = emulator.backends(REGION)[:2]
    async with client_of(emulator) as client:
        right, wrong = [await getattr(client, kind)(which) for which in (name, other)]
    emulator.reset_log()
    return name, right, Garbage(msgspec.json.encode(wrong))


@KINDS
async def test_it_is_asked_for_again_over_a_new_connection(emulator: Emulator, kind: Kind) -> None:
    name, right, wrong = await two_of(emulator, kind)
    async with client_of(emulator) as client:
        await client.backends()
        (before,) = http_connections(ports(emulator)[REGION])
        emulator.fault(wrong, resource=kind)
        assert await getattr(client, kind)(name) == right
        assert emulator.count(kind) == 2
        assert before not in http_connections(ports(emulator)[REGION])


async def test_a_document_of_another_kind_leaves_no_connection_in_use_either(emulator: Emulator) -> None:
    """A server whose answers are one request behind is not used on, whichever documents are asked for."""
    name = emulator.backends(REGION)[0]
    async with client_of(emulator) as client:
        await client.backends()
        (before,) = http_connections(ports(emulator)[REGION])
        emulator.fault(Garbage(b'{"state": true}'), resource="properties")
        with pytest.raises(DecodeError):
            await client.properties(name)
        await client.properties(name)
        assert before not in http_connections(ports(emulator)[REGION])


@KINDS
async def test_it_is_never_kept(emulator: Emulator, kind: Kind) -> None:
    name, right, wrong = await two_of(emulator, kind)
    async with client_of(emulator) as client:
        fault = emulator.fault(wrong, resource=kind, times=None)
        with pytest.raises(WrongBackend) as caught:
            await getattr(client, kind)(name)
        assert (caught.value.backend, caught.value.region, caught.value.attempts) == (name, REGION, 2)
        assert fault.hits == 2
        emulator.clear_faults()
        assert await getattr(client, kind)(name) == right


@KINDS
async def test_an_old_answer_is_given_meanwhile(emulator: Emulator, kind: Kind) -> None:
    name, right, wrong = await two_of(emulator, kind)
    now = [0.0]
    policy = CachePolicy(stale_while_revalidate=0)
    async with client_of(emulator, cache=policy, memory=Memory(clock=lambda: now[0])) as client:
        await getattr(client, kind)(name)
        now[0] = 2 * policy.configuration
        fault = emulator.fault(wrong, resource=kind, times=None)
        assert await getattr(client, kind)(name) == right
        assert fault.hits == 2


async def test_one_in_a_store_is_not_taken(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version of this package did not look at names."""
    name, right, wrong = await two_of(emulator, "configuration")
    async with FileStore(tmp_path / "answers.sqlite") as store:
        with monkeypatch.context() as earlier:
            earlier.setattr("qrbackends.service.origin.check_backend", lambda request, value: None)
            emulator.fault(wrong, resource="configuration")
            async with client_of(emulator, store=store) as client:
                assert await client.configuration(name) != right
        async with client_of(emulator, store=store) as client:
            assert await client.configuration(name) == right
    assert emulator.count("configuration") == 2
