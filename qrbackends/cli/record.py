"""`qrbackends record`: what an account's service answers, as a fleet for the emulator."""

import asyncio
import errno
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..accounts.account import Instance
from ..client import Client
from ..errors import QRBackendsError
from ..messages.counts import counted
from ..service.instances import ServiceInstance
from ..transport.limits import Limits
from .options import Source, SourceCommand, make_client, names_of, source_options
from .screen import progress_bar
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from ..fleet.recorder import RecordingSummary


_MOST_BYTES = 16 * 2**20  # the largest real document has 684 kB


@click.command(cls=SourceCommand)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@source_options
@click.option("--backends", type=names_of, metavar="A,B", help="These devices only.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Write into a directory that has files; an earlier recording in it is removed.",
)
def record(
    source: Source, as_json: bool, directory: Path, backends: tuple[str, ...] | None, overwrite: bool
) -> None:
    """Record the service's answers.

    `emulate --fleet DIRECTORY` serves them. The list's entries, and configuration, properties, status and
    defaults of each device are written as they came, even if they cannot be read. Credentials, CRNs, account
    ids, the GUIDs and names of instances and private hosts are replaced. There is nothing of jobs. An answer
    that is missing or an error gets one line on stderr, and the rest is recorded.
    """
    if not overwrite and directory.is_dir() and any(directory.iterdir()):
        raise FileExistsError(
            errno.EEXIST, "it is not empty; --overwrite writes into it nevertheless", str(directory)
        )
    from ..emulator.devices.invalid import NoSuchBackend

    directory.mkdir(parents=True, exist_ok=True)  # where it cannot be made, nobody has to wait
    try:
        done = asyncio.run(_recorded(source, directory, backends))
    except NoSuchBackend as error:
        raise click.UsageError(str(error)) from None
    source.announce()
    for failure in done.failures:
        warn(failure)
    if as_json:
        echo_json({"directory": str(directory), **done._asdict()})
        return
    echo(
        f"{counted(len(done.backends), 'device')}, {counted(done.answers, 'answer')}, "
        f"{done.size / 1e6:,.1f} MB in {directory}. Look through it before you give it away. To serve it:\n\n"
        f"qrbackends emulate --fleet {directory}"
    )


async def _recorded(source: Source, directory: Path, backends: Sequence[str] | None) -> "RecordingSummary":
    from ..fleet.recorder import Recorder
    from ..transport.recording import RecordingPool

    with progress_bar("Listing the devices") as bar:
        async with AsyncExitStack() as stack:
            account = await source.opened(stack)
            pool = await stack.enter_async_context(RecordingPool(Limits(body=_MOST_BYTES), trust_env=True))
            client = await stack.enter_async_context(make_client(account, pool=pool))
            addresses = await client.addresses()
            instances = await _instances(client, addresses)

            def report(done: int, total: int) -> None:
                if done == 1:
                    bar.begin("Answers recorded", total)
                bar.step()

            recorder = Recorder(client.fetch, pool, account, instances, addresses, directory)
            return await recorder.record(backends, report)


async def _instances(client: Client, addresses: Mapping[str, str]) -> Sequence[ServiceInstance]:
    """Return the account's instances, with their names if these can be looked up."""
    try:
        return await client.instances()
    except QRBackendsError as error:
        warn(f"the names of the instances are not known, and not replaced: {error}")
        return [ServiceInstance(Instance(crn, url=address)) for crn, address in addresses.items()]
