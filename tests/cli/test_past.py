"""The calibrations of a range that are read backwards: ranges and steps that no date can hold."""

from datetime import UTC, datetime, timedelta

import pytest

from qrbackends import Client
from qrbackends.cli.past import Asked, Range
from qrbackends.cli.screen import progress_bar
from qrbackends.emulator import Emulator

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("every", "count"), [(None, 20), (timedelta(days=10_000), 1000), (timedelta.max, 2)])
async def test_a_range_from_the_first_year_on(every: timedelta | None, count: int) -> None:
    since, until = datetime(1, 1, 2, tzinfo=UTC), datetime.now(UTC)
    with progress_bar("Reading") as bar:
        async with Emulator(fleet="synthetic") as emulator, Client(emulator.account()) as client:
            asked = Asked("synthetic_falcon_27", since, until, None, every)
            found = await asked.latest(client, Range(since, until), count, bar, lambda one: one)
            newest = await client.properties("synthetic_falcon_27")
    assert 0 < len(found) <= count
    assert found[-1].last_update_date == newest.last_update_date
