"""The emulated service in a process of its own, so that the client's time is the client's."""

import asyncio
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from qrbackends import Account, Instance
from qrbackends.emulator import Delay, Emulator, SyntheticFleet
from qrbackends.emulator.devices.fleets import Device, DocumentKind, Fleet, SnapshotFleet
from qrbackends.emulator.surface.validators import Validation

_HOUR = re.compile(rb'("last_update_date": *"[0-9-]+.)\d\d')


class Listed:
    """A fleet that is only listed: as many backends as one likes, and no documents."""

    def __init__(self, count: int) -> None:
        self.names = tuple(f"backend_{number:05}" for number in range(count))

    def device(self, name: str) -> Device:
        """Return what the list says of each."""
        return Device(name, "1.0.0", 156, ("hardware", 3000), ("Heron", "2", None))

    def find(self, *_: object) -> None:
        """There is nothing to be found."""
        return

    def build(self, key: Hashable) -> bytes:
        """Nothing is ever found."""
        raise KeyError(key)


class Recalibrated:
    """The real backends, of which every calibration has another date after each `recalibrate()`."""

    def __init__(self) -> None:
        self._fleet = SnapshotFleet()
        self._hour = b"01"
        self.names = self._fleet.names
        self.device = self._fleet.device

    def recalibrate(self) -> None:
        """Let every calibration be another one than before; there are two of each, made only once."""
        self._hour = b"02" if self._hour == b"01" else b"01"

    def find(self, kind: DocumentKind, *asked: Any) -> Hashable | None:
        """Return the key of a document."""
        found = self._fleet.find(kind, *asked)
        return (found, self._hour) if kind == "properties" and found is not None else found

    def build(self, key: Hashable) -> bytes:
        """Return the recorded document, with the hour of the last calibration in its date."""
        match key:
            case (Path() as found, bytes() as hour):
                return _HOUR.sub(rb"\g<1>" + hour, self._fleet.build(found), count=1)
        return self._fleet.build(key)


class Service(Struct):
    """Where it is, and what opens it."""

    api_key: str
    iam_url: str
    search_url: str
    catalog_url: str
    urls: dict[str, str]  # by region
    instances: list[str]  # CRNs
    backends: dict[str, list[str]]  # by region

    def account(self) -> Account:
        """Return an account with all of its instances."""
        instances = [Instance(crn, url=self.urls[crn.split(":")[5]]) for crn in self.instances]
        return Account(
            api_key=self.api_key,
            instances=instances,
            iam_url=self.iam_url,
            search_url=self.search_url,
            catalog_url=self.catalog_url,
        )

    def crn(self, region: str) -> str:
        """Return a region's first instance."""
        return next(crn for crn in self.instances if crn.split(":")[5] == region)

    @property
    def names(self) -> list[tuple[str, str]]:
        """Region and name of each backend."""
        return [(region, name) for region, names in self.backends.items() for name in names]


@contextmanager
def service(fleet: str = "snapshots", latency: float = 0.0) -> Iterator[Service]:
    """Run the service.

    Args:
        fleet: as for `Emulator`; or a number of backends that are only listed; or `synthetic_N`, one
            backend of this name with N qubits.
        latency: seconds that it takes for each answer.
    """
    with _process(fleet, str(latency)) as (there, _):
        yield there


@contextmanager
def recalibrated(validators: Validation | None = None) -> Iterator[tuple[Service, Callable[[], None]]]:
    """Run the service of the real backends; yield it, and what calibrates all of them anew.

    Args:
        validators: as for `Emulator`.
    """
    more = [] if validators is None else ["--validators", validators]
    with _process("recalibrated", "0.0", *more) as (there, tell):
        yield there, tell


@contextmanager
def _process(*arguments: str) -> Iterator[tuple[Service, Callable[[], None]]]:
    """Run the service; yield it, and what calls `recalibrate()` of its fleet and waits until it has."""
    command = [sys.executable, "-m", "benchmarks.service", *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None

    def tell() -> None:
        stdin.write(b"\n")
        stdin.flush()
        stdout.readline()

    try:
        yield msgspec.json.decode(stdout.readline(), type=Service), tell
    finally:
        stdin.close()  # which ends it
        process.wait()
        stdout.close()


def service_of(emulator: Emulator) -> Service:
    """Return where an emulator is, and what opens it."""
    return Service(
        emulator.api_keys[0],
        emulator.iam_url,
        emulator.search_url,
        emulator.catalog_url,
        {region: emulator.url(region) for region in emulator.regions},
        [one.crn for one in emulator.instances],
        {region: list(emulator.backends(region)) for region in emulator.regions},
    )


async def serve(fleet: "str | Fleet", latency: float, validators: Validation | None) -> None:
    """Serve until stdin is closed; each line of it calibrates a `Recalibrated` anew."""
    async with Emulator(fleet, validators=validators) as emulator:
        if latency:
            for region in emulator.regions:
                emulator.fault(Delay(latency), region=region, times=None)
        print(msgspec.json.encode(service_of(emulator)).decode(), flush=True)
        await asyncio.to_thread(_obey, fleet)


def _obey(fleet: "str | Fleet") -> None:
    for _ in sys.stdin:
        if isinstance(fleet, Recalibrated):
            fleet.recalibrate()
        print(flush=True)


def main() -> None:
    """Run as a process."""
    parser = ArgumentParser()
    parser.add_argument("fleet")
    parser.add_argument("latency", type=float)
    parser.add_argument("--validators")
    arguments = parser.parse_args()
    fleet: str | Fleet = arguments.fleet
    if arguments.fleet.isdecimal():
        fleet = Listed(int(arguments.fleet))
    elif arguments.fleet == "recalibrated":
        fleet = Recalibrated()
    elif arguments.fleet.startswith("synthetic_"):
        fleet = SyntheticFleet({arguments.fleet: int(arguments.fleet.removeprefix("synthetic_"))})
    asyncio.run(serve(fleet, arguments.latency, arguments.validators))


if __name__ == "__main__":
    main()
