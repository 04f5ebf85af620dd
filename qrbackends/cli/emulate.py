"""`qrbackends emulate`: the emulated service on this machine, until SIGINT or SIGTERM."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from urllib.parse import urlsplit

import anyio.lowlevel
import click
import msgspec

from ..accounts.urls import is_loopback, is_plain_http
from ..messages.counts import counted
from .choices import Choice, WholeNumber
from .emulators import FLEETS, fleet_errors, fleet_of
from .options import names_of
from .signals import ended_by_signals
from .steering import keep_what_is_read, show_replay, steering_options
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from ..emulator import Emulator
    from ..emulator.surface.validators import Validation

_REGION = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LAST_PORT = 65535
_CLOUD = "cloud"  # the emulator's name for IAM, Global Search and Global Catalog


def regions_of(text: str) -> tuple[str, ...]:
    """Return the regions in a text that separates them by commas."""
    regions = tuple(part.strip() for part in text.split(","))
    for region in regions:
        if not _REGION.fullmatch(region) or region == _CLOUD:
            raise click.BadParameter(f"{region!r} cannot be a region's name; give some such as us-east,eu-de")
    if len(set(regions)) != len(regions):
        raise click.BadParameter("a region is named twice")
    return regions


def host_of(text: str) -> str:
    """Return the name of a host in lower case."""
    from ..surface.hosts import checked_name

    try:
        return checked_name(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the addresses as one JSON object.")
@click.option(
    "--fleet",
    "fleets",
    type=fleet_of,
    metavar=f"{'|'.join(FLEETS)}|PATH",
    multiple=True,
    default=FLEETS[:1],
    show_default=True,
    help="Recorded calibrations, only those of the devices in service, made-up ones, or a directory of "
    "conf_NAME.json and props_NAME.json, such as `record` writes. Repeatable: of two devices with the same "
    "name, that of the earlier fleet is served.",
)
@click.option("--backends", type=names_of, metavar="A,B", help="Serve these devices only.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--allow-host",
    "hosts",
    type=host_of,
    multiple=True,
    metavar="NAME",
    help="A name by which others reach it, such as a container's; addresses and localhost always are "
    "allowed. The first one is in the addresses that are printed. Repeatable.",
)
@click.option(
    "--port",
    type=WholeNumber(0, _LAST_PORT),
    default=0,
    metavar="N",
    help="The first port; the regions, IAM and the control API take consecutive ones. By default free ports.",
)
@click.option(
    "--seed", default="0", show_default=True, help="Keys, CRNs, queues and made-up data are computed from it."
)
@click.option(
    "--regions",
    type=regions_of,
    metavar="A,B",
    default="us-east,eu-de",
    show_default=True,
    help="The regions; the backends are distributed over them in turn.",
)
@click.option("--instances", type=WholeNumber(min=1), default=1, metavar="N", help="Instances per region.")
@click.option(
    "--allocation",
    type=Choice(["shared", "overlapping"]),
    default="shared",
    show_default=True,
    help="Whether each instance sees all backends of its region, or one that all see and others of its own.",
)
@click.option(
    "--validators",
    type=Choice(["etag", "weak", "date"]),
    help="Send strong or weak ETags, or Last-Modified, and answer 304 to clients that have the same content.",
)
@steering_options
def emulate(
    as_json: bool,
    fleets: tuple[str | Path, ...],
    backends: tuple[str, ...] | None,
    host: str,
    hosts: tuple[str, ...],
    port: int,
    seed: str,
    regions: tuple[str, ...],
    instances: int,
    allocation: Literal["shared", "overlapping"],
    validators: "Validation | None",
    scenario: Path | None,
    journal: Path | None,
    replayed: BinaryIO | None,
    speed: float,
) -> None:
    """Run the emulated service on this machine.

    It prints its addresses, a throw-away key, its instances and code that uses them, and runs until Ctrl-C or
    SIGTERM; then the exit code is 0. With --replay the exit code is 1 if there are differences.

    The control API, at an address of its own on loopback, steers it while it runs: faults, regions, devices,
    the clock. It takes requests with the token that is printed once.
    """
    from ..emulator import Emulator  # imported here, as --help runs without it

    control_port = port and port + len(regions) + 1
    if control_port > _LAST_PORT:
        raise click.UsageError(
            f"--port {port} leaves too few ports above it for {counted(len(regions), 'region')}"
        )
    keep_what_is_read(journal, replayed, scenario)
    if not is_loopback(host):
        warn(
            f"{host} is not a loopback address: whoever reaches it can read the emulated data, and clients "
            "send their keys over plain http (qrbackends does so with allow_http=True only)"
        )

    shown = ", ".join(map(str, fleets))
    options: dict[str, Any] = {"host": host, "port": port, "control_port": control_port}
    options |= {"allowed_hosts": hosts, "instances": instances, "allocation": allocation}
    options |= {"backends": backends, "validators": validators, "scenario": scenario, "journal": journal}
    with _told(shown):
        emulator = Emulator(fleets, regions, seed, **options)
        if replayed is None:
            announce = partial(_announce, emulator, shown, host, as_json)
            asyncio.run(_run(emulator, partial(_until_signal, announce)))
        elif not asyncio.run(_run(emulator, partial(show_replay, emulator, replayed, speed, as_json))):
            raise click.Abort


@contextmanager
def _told(fleets: str) -> Iterator[None]:
    """Tell what is wrong with fleets and scenarios."""
    from ..emulator import ScenarioError
    from ..emulator.devices.invalid import NoSuchBackend

    try:
        with fleet_errors(fleets):
            yield
    except ScenarioError as error:
        raise click.ClickException(str(error)) from None
    except NoSuchBackend as error:
        raise click.UsageError(str(error)) from None


async def _run(emulator: "Emulator", work: Callable[[], Awaitable[None]]) -> bool:
    """Run an emulator until the work is done, or a signal comes; return whether the work is done."""
    with ended_by_signals() as scope:  # from the start on, as loading takes a moment
        async with emulator:
            await anyio.lowlevel.checkpoint()  # a signal came, perhaps
            await work()
    return not scope.cancelled_caught


async def _until_signal(announce: Callable[[], None]) -> None:
    announce()
    await anyio.sleep_forever()


def _announce(emulator: "Emulator", fleet: str, host: str, as_json: bool) -> None:
    addresses = _addresses(emulator, fleet, host)
    if as_json:
        echo_json(addresses)
    else:
        echo(_text(addresses))


def _addresses(emulator: "Emulator", fleet: str, host: str) -> dict[str, Any]:
    return {
        "fleet": fleet,
        "host": host,
        "backends": len(emulator.backends()),
        "control_url": emulator.control_url,
        "control_token": emulator.control_token,
        **msgspec.to_builtins(emulator.addresses()),
    }


def _text(addresses: dict[str, Any]) -> str:
    instances = addresses["instances"]
    account = "\n".join(
        f"        Instance({instance['crn']!r}, url={instance['url']!r})," for instance in instances
    )
    lines = "\n".join(f"  {region:<16}{url}" for region, url in addresses["regions"].items())
    return _SCREEN.format_map(
        addresses
        | {
            "count": counted(addresses["backends"], "backend"),
            "lines": lines,
            "arguments": "account" + ", allow_http=True" * is_plain_http(addresses["iam_url"]),
            "account": account,
            "commands": _COMMANDS.format_map(addresses) * is_loopback(_host_of(addresses["iam_url"])),
            "crns": "\n".join(f"  {instance['crn']}" for instance in instances),
        }
    )


def _host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


_COMMANDS = """\
With the command line, which needs neither key nor variables:

qrbackends fleet --emulator {iam_url}

"""

_SCREEN = """\
Emulated fleet ({fleet}): {count} at {host}. Nothing here is IBM's service.

{lines}
  IAM, Search     {iam_url}
  Catalog         {catalog_url}
  Control         {control_url}

API key, good for nothing else:
  {api_key}
Token of the control API, another one each time:
  {control_token}
Instances:
{crns}

{commands}\
With qrbackends in Python:

from qrbackends import Account, Client, Instance

account = Account(
    api_key={api_key!r},
    instances=[
{account}
    ],
    iam_url={iam_url!r},
    search_url={search_url!r},
    catalog_url={catalog_url!r},
)
# async with Client({arguments}) as client: ...

With the official client, first in the shell, then in Python:

export QISKIT_IBM_CHANNEL=ibm_quantum_platform
export QISKIT_IBM_TOKEN={api_key}
export QISKIT_IBM_INSTANCE=auto
export IAM_URL={iam_url}
export GLOBAL_SEARCH_URL={search_url}
export GLOBAL_CATALOG_URL={catalog_url}

from qiskit_ibm_runtime import QiskitRuntimeService

addresses = {regions}
service = QiskitRuntimeService(
    url_resolver=lambda url, crn, *_: addresses[crn.split(":")[5] if crn else next(iter(addresses))]
)

Ctrl-C ends it.\
"""
