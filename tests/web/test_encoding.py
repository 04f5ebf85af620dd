"""Documents as JSON, of which only so many bytes are kept."""

import msgspec
import pytest
from msgspec.structs import replace

from qrbackends import Backend, BackendList, BackendProperties, Client
from qrbackends.emulator import Emulator
from qrbackends.models import DeviceStatus
from qrbackends.web import encode, encoding

pytestmark = pytest.mark.anyio


async def document(emulator: Emulator, client: Client) -> BackendProperties:
    return await client.properties(emulator.backends()[0])


async def test_the_json_of_many_documents_is_bounded(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads all documents of a large fleet must not fill the memory beside the cache."""
    one = await document(emulator, client)
    size = len(encode(one))
    small = encoding.json_cache(3 * size)
    monkeypatch.setattr(encoding, "_known", small)
    many = [replace(one, backend_version=str(number % 10)) for number in range(20)]
    for each in many:
        assert msgspec.json.decode(encode(each)) == msgspec.json.decode(msgspec.json.encode(each))
    assert small.currsize <= 3 * size
    assert encode(many[-1]) is encode(many[-1])


async def test_a_document_that_is_larger_than_all_that_is_kept_is_sent_too(
    emulator: Emulator, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await document(emulator, client)
    monkeypatch.setattr(encoding, "_known", encoding.json_cache(10))
    assert encode(one) == encode(one) == msgspec.json.encode(one)


async def test_another_object_at_the_same_place_gets_its_own_json(emulator: Emulator, client: Client) -> None:
    one = await document(emulator, client)
    for number in range(50):  # each is gone when the next one is made, mostly at its address
        other = replace(one, backend_version=str(number))
        assert msgspec.json.decode(encode(other))["backend_version"] == str(number)
        del other


def test_what_is_emulated_says_so() -> None:
    for status, reason, message in (
        ("online", "available", "emulated: available"),
        ("online", None, "emulated"),
        ("paused", "internal", "emulated: internal"),
    ):
        backend = Backend("a", DeviceStatus(status, reason), 3, region="us-east", emulated=True)
        assert msgspec.json.decode(encode(backend))["emulated"] is True
        assert encoding.status_of(backend).message == message
        real = replace(backend, emulated=False)
        assert "emulated" not in msgspec.json.decode(encode(real))
        assert encoding.status_of(real).message == reason


def test_a_list_has_no_account() -> None:
    backend = Backend("a", DeviceStatus("online"), 3, region="us-east", instance="crn:v1:secret")
    for value in (backend, BackendList([backend])):
        assert b"crn" not in encode(value)
        assert b"us-east" in encode(value)
