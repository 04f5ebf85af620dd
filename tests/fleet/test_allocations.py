"""Which instance is asked for a backend, where the instances of a region list different ones."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from qrbackends import Account, Client, Instance, NotFound
from qrbackends.emulator import Emulator, SyntheticFleet

pytestmark = pytest.mark.anyio

NAMES = ("common", "one", "two")
SEEN = {1: ["common", "one"], 2: ["common", "two"]}


@pytest.fixture(scope="module")
async def shared_emulator() -> AsyncIterator[Emulator]:
    """Two instances of one region with one device in common, and an instance that nobody may use."""
    fleet = SyntheticFleet(dict.fromkeys(NAMES, 5))
    async with Emulator(fleet, ("us-east",), instances=2, unusable_instances=1, allocation=SEEN) as running:
        yield running


def account(emulator: Emulator, order: Sequence[int]) -> Account:
    """Return an account with the emulator's instances of these numbers, from 1, in this order."""
    chosen = [emulator.instances[number - 1] for number in order]
    instances = [Instance(one.crn, url=emulator.url(one.region)) for one in chosen]
    return replace(emulator.account(), instances=instances)


def asked(emulator: Emulator) -> dict[str | None, list[int]]:
    """Return the numbers of the instances that were asked for the documents of each backend, in order."""
    numbers = {one.crn: number for number, one in enumerate(emulator.instances, 1)}
    found: dict[str | None, list[int]] = {}
    for request in emulator.requests:
        if request.backend is not None:
            found.setdefault(request.backend, []).append(numbers[request.crn or ""])
    return found


@pytest.mark.parametrize(
    ("order", "common"),
    [
        pytest.param((1, 2), 1, id="in the order of Global Search"),
        pytest.param((2, 1), 2, id="the other way round"),
        pytest.param((3, 2, 1), 2, id="after one that is refused"),
    ],
)
async def test_the_first_instance_that_lists_a_backend_is_asked(
    emulator: Emulator, order: Sequence[int], common: int
) -> None:
    async with Client(account(emulator, order)) as client:
        for name in NAMES:
            assert (await client.properties(name)).backend_name == name
        assert asked(emulator) == {"common": [common], "one": [1], "two": [2]}
        fleet = await client.backends()
        crns = {number: emulator.instances[number - 1].crn for number in (1, 2)}
        assert fleet.instances_of("common") == tuple(crns[number] for number in order if number in crns)
        assert fleet.instances_of("one") == (crns[1],)
        assert fleet.instances_of("two") == (crns[2],)
        assert [error.instance for error in fleet.errors] == [
            emulator.instances[number - 1].crn for number in order if number == 3
        ]


async def test_an_instance_knows_nothing_of_another_ones_backend(emulator: Emulator) -> None:
    async with Client(account(emulator, (1, 2))) as client:
        with pytest.raises(NotFound):
            await client.status("two", instance=emulator.instances[0].crn)
        assert (await client.status("two", instance=emulator.instances[1].crn)).operational


async def test_a_backend_that_is_not_listed_any_more_is_found_where_it_is_known(emulator: Emulator) -> None:
    emulator.set_backend("two", retired=True)
    async with Client(account(emulator, (1, 2))) as client:
        assert (await client.properties("two")).backend_name == "two"
        await client.status("two")
    assert asked(emulator)["two"] == [1, 2, 2], "the second time at once in the one that answered"
