"""What a status says: whether jobs are taken, and whether they run."""

import msgspec
import pytest

from qrbackends import BackendStatus, Client, summary
from qrbackends.emulator import Emulator


@pytest.mark.parametrize(
    ("sent", "operational", "paused"),
    [
        ('{"length_queue":1,"state":true,"status":"active"}', True, False),
        ('{"length_queue":1,"state":true,"status":"internal"}', False, True),
        ('{"length_queue":1,"state":false,"status":"internal"}', False, False),
        ('{"length_queue":1,"state":false,"status":"maintenance"}', False, False),
        ('{"length_queue":1,"state":true}', True, False),
        ('{"length_queue":1,"status":"internal"}', False, False),
        ('{"length_queue":1}', False, False),
    ],
)
def test_operational_means_that_jobs_run(sent: str, operational: bool, paused: bool) -> None:
    status = msgspec.json.decode(sent, type=BackendStatus)
    assert (status.operational, status.paused) == (operational, paused)
    assert msgspec.json.decode(msgspec.json.encode(status)) == msgspec.json.decode(sent)


@pytest.mark.anyio
async def test_the_emulator_pauses_a_device_as_the_service_does(emulator: Emulator, client: Client) -> None:
    name = emulator.backends()[0]
    emulator.set_backend(name, status="paused", queue_length=4)
    status = await client.status(name)
    assert (status.state, status.status, status.paused, status.operational) == (True, "internal", True, False)
    listed = next(one for one in await client.backends(refresh=True) if one.name == name)
    assert summary(status=status, listed=listed).operational is listed.online is False
