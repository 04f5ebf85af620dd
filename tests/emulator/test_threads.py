"""Requests that are held, released from the thread of a test, and clients that leave meanwhile."""

import asyncio
import http.client
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from qrbackends.emulator import ClockState, Emulator, Hold, Status, SyntheticFleet, ThreadedEmulator

from ..internals import http_connections, ports
from ..waiting import until

FLEET = SyntheticFleet({"a": 5})


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadedEmulator]:
    """One for the module."""
    with ThreadedEmulator(fleet=FLEET, regions=["r"]) as emulator:
        yield emulator


@pytest.fixture
def emulator(running: ThreadedEmulator) -> ThreadedEmulator:
    """The same, as new."""
    running.reset()
    return running


def ask(emulator: ThreadedEmulator, path: str = "/versions", token: str = "") -> int:
    """Ask, and return the status."""
    crn = emulator.instances[0].crn
    headers = {"Authorization": f"Bearer {token}", "Service-CRN": crn, "IBM-API-Version": "2026-04-15"}
    url = urlsplit(emulator.url("r"))
    connection = http.client.HTTPConnection(url.netloc, timeout=20)
    connection.request("GET", f"{url.path}{path}", headers=headers)
    with connection.getresponse() as response:
        response.read()
    connection.close()
    return response.status


class Asking(threading.Thread):
    """Asks in a thread of its own."""

    def __init__(self, emulator: ThreadedEmulator) -> None:
        super().__init__()
        self.emulator = emulator
        self.status: int | None = None
        self.start()

    def run(self) -> None:
        """Ask."""
        self.status = ask(self.emulator)

    def result(self) -> int | None:
        """Return the status when there is one."""
        self.join(20)
        return self.status


def test_a_held_request_is_released_from_the_test_s_own_thread(emulator: ThreadedEmulator) -> None:
    fault = emulator.fault(Hold(), times=None)
    first = Asking(emulator)
    fault.wait_reached()
    second = Asking(emulator)
    fault.wait_reached(2)
    assert (first.status, second.status) == (None, None)
    assert emulator.faults[0].state().held == 2
    fault.release()
    assert (first.result(), second.result()) == (200, 200)
    assert fault.state().held == 0
    assert ask(emulator) == 200, "it holds no more"


def test_another_event_loop_waits_for_a_fault(emulator: ThreadedEmulator) -> None:
    fault = emulator.fault(Hold())

    async def wait() -> None:
        with anyio.fail_after(20):
            await fault.reached()
        fault.release()

    asking = Asking(emulator)
    asyncio.run(wait())
    assert asking.result() == 200


def test_removing_a_fault_lets_go_too(emulator: ThreadedEmulator) -> None:
    fault = emulator.fault(Hold(), times=None, name="mine")
    asking = Asking(emulator)
    emulator.find_fault("mine").wait_reached()
    emulator.remove_fault("mine")
    assert asking.result() == 200
    assert emulator.faults == ()
    with pytest.raises(RuntimeError, match="no more than 1"):
        fault.wait_reached(2)
    with pytest.raises(ValueError, match="no fault 'mine'"):
        emulator.remove_fault("mine")


def test_waiting_for_a_fault_ends(emulator: ThreadedEmulator) -> None:
    fault = emulator.fault(Status(503))
    with pytest.raises(TimeoutError):
        fault.wait_reached(timeout=0)
    waiting = threading.Thread(target=fault.cancel)
    waiting.start()
    with pytest.raises(RuntimeError, match=r"removed after 0|no more than 0"):
        fault.wait_reached()
    waiting.join()
    assert ask(emulator) == 200


def test_it_can_do_all_that_an_emulator_can(emulator: ThreadedEmulator) -> None:
    assert {name for name in dir(Emulator) if not name.startswith("_")} <= set(dir(emulator))
    assert emulator.iam_url == emulator.search_url == emulator.url("cloud")
    assert emulator.catalog_url == f"{emulator.url('cloud')}/api/v1"
    emulator.set_clock(now=5.0, rate=0)
    emulator.advance(3.0)
    assert emulator.clock == emulator.state().clock == ClockState(8.0, 0.0)
    token = emulator.make_token()
    assert ask(emulator, "/backends/a/properties", token) == 404, "in 1970 there was none"
    emulator.reset()
    emulator.recalibrate("a")
    assert ask(emulator, "/backends/a/properties", emulator.make_token()) == 200
    assert emulator.journal().count(b"\n") == 1


def test_names_of_faults_are_distinct(emulator: ThreadedEmulator) -> None:
    emulator.fault(Hold(), name="fault-1")
    assert emulator.fault(Hold()).name == "fault-2"
    with pytest.raises(ValueError, match="a fault 'fault-1' already"):
        emulator.fault(Hold(), name="fault-1")
    emulator.clear_faults()
    assert emulator.fault(Hold()).name == "fault-1"


@pytest.mark.anyio
async def test_a_client_that_leaves_is_no_error(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with Emulator(FLEET, ["r"], journal=journal) as emulator:
        host = emulator.iam_url.removeprefix("http://")
        for number in (1, 2):
            held = emulator.fault(Hold())
            _, writer = await asyncio.open_connection(*host.split(":"))
            writer.write(
                f"POST /identity/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3\r\n\r\na=b".encode()
            )
            await held.reached()
            writer.transport.abort()
            (connection,) = http_connections(ports(emulator)["cloud"])
            await until(lambda: connection.transport is None)  # noqa: B023
            held.release()
            await until(lambda: journal.read_bytes().count(b"\n") == number)  # noqa: B023
        assert [request.status for request in emulator.requests] == [None, None]
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []
