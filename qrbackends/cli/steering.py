"""The options of `qrbackends emulate` for scenarios and journals, and what it shows of a replay."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import click

from ..messages.counts import counted
from .choices import Number
from .text import echo, echo_json

if TYPE_CHECKING:
    from ..emulator import Emulator

F = TypeVar("F", bound=Callable[..., object])

_NO_ANSWER = "without an answer"


def _print_schema(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted:
        from ..emulator.steering.scenario import schema

        echo_json(schema())
        context.exit()


_OPTIONS = (
    click.option(
        "--scenario",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="What happens when: a TOML file whose steps stop regions, add faults and the like.",
    ),
    click.option(
        "--scenario-schema",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_schema,
        help="Print the JSON schema of scenarios, and exit.",
    ),
    click.option(
        "--journal",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write each request to this file, as a line of JSON without credentials; it is replaced.",
    ),
    click.option(
        "--replay",
        "replayed",
        type=click.File("rb"),
        help="Send the requests of such a file to the emulator, show which get another status, and exit.",
    ),
    click.option(
        "--speed",
        type=Number(0),
        default=1.0,
        show_default=True,
        help="How much faster than before; with 0 the emulator's clock is moved instead of waiting.",
    ),
)


def steering_options(command: F) -> F:
    """Return a command with the options of scenarios and journals."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def keep_what_is_read(journal: Path | None, replayed: BinaryIO | None, scenario: Path | None) -> None:
    """Refuse a journal that would replace the file that is replayed, or the scenario."""
    read = {"--replay": replayed and replayed.name, "--scenario": scenario}
    for option, path in read.items():
        if journal and path and journal.resolve() == Path(path).resolve():
            raise click.UsageError(f"--journal would replace the file of {option}: give another one")


async def show_replay(emulator: "Emulator", journal: BinaryIO, speed: float, as_json: bool) -> None:
    """Replay a journal, and show what is answered differently; if there is anything, the exit code is 1."""
    from ..emulator import read_journal, replay

    try:
        requests = read_journal(journal, journal.name)
        differences = await replay(requests, emulator, speed=speed or None)
    except ValueError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        echo_json({"requests": len(requests), "differences": [asdict(one) for one in differences]})
    else:
        for one in differences:
            request = one.request
            was, now = (_NO_ANSWER if status is None else status for status in (request.status, one.status))
            echo(f"{request.region}  {request.method} {request.path_qs}  was {was}, is {now}")
        echo(f"{counted(len(requests), 'request')}, {len(differences):,} answered differently")
    if differences:
        raise click.exceptions.Exit(1)
