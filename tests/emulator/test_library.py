"""The documents that are kept."""

from collections.abc import Hashable

import pytest

from qrbackends.emulator import SyntheticFleet
from qrbackends.emulator.services.library import Library

from .asking import NOW

pytestmark = pytest.mark.anyio


class Counting(SyntheticFleet):
    """A fleet that notes what it builds."""

    def __init__(self) -> None:
        super().__init__({"a": 5, "b": 5, "c": 5})
        self.built: list[Hashable] = []

    def build(self, key: Hashable) -> bytes:
        self.built.append(key)
        return super().build(key)


def keys(fleet: Counting) -> list[Hashable]:
    found = [fleet.find("configuration", name, None, None, NOW) for name in fleet.names]
    return [key for key in found if key is not None]


async def test_documents_are_built_and_packed_once() -> None:
    fleet = Counting()
    library = Library(fleet)
    a, b, _ = keys(fleet)
    first = await library.document(a)
    plain = first.size
    assert (await library.document(a, packed=True)) is first
    assert first.size > plain
    await library.document(b)
    assert (await library.document(a)) is first
    assert fleet.built == [a, b]


async def test_the_least_used_ones_go_when_there_is_no_room() -> None:
    fleet = Counting()
    a, b, c = keys(fleet)
    library = Library(fleet, room=2 * len(fleet.build(a)) + 500)
    fleet.built.clear()
    for key in (a, b, a, c, a, b):
        await library.document(key)
    assert fleet.built == [a, b, c, b]


async def test_one_document_is_always_kept() -> None:
    fleet = Counting()
    (a, *_) = keys(fleet)
    library = Library(fleet, room=1)
    assert (await library.document(a)) is (await library.document(a))


async def test_metrics_are_computed_once_per_calibration() -> None:
    fleet = Counting()
    library = Library(fleet, room=1)
    this, next_hour = (fleet.find("properties", "a", None, None, NOW + hour * 3600) for hour in range(2))
    first = await library.metrics("a", this)
    await library.metrics("b", fleet.find("properties", "b", None, None, NOW))
    assert await library.metrics("a", this) is first
    assert await library.metrics("a", next_hour) != first
    assert len(fleet.built) == 3
    assert await library.metrics("a", None) == {}
