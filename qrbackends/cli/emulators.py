"""The emulators that commands use: one of their own, with a named fleet or a directory, or one that runs."""

import os
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
import msgspec
from click.shell_completion import CompletionItem

from ..accounts.account import Account, InstanceSearch
from ..errors import AccountError

FLEETS: Final = ("snapshots", "snapshots:current", "synthetic")
"""The emulated fleets."""

_SCHEMES: Final = ("http://", "https://")


def emulator_of(text: str) -> str:
    """Return a value of `--emulator`: a fleet's name, a directory, or an address without its path."""
    if not text.startswith(_SCHEMES):
        return str(fleet_of(text))
    from ..emulator.addresses import checked_emulator_url

    try:
        return checked_emulator_url(text)
    except AccountError as error:
        raise click.BadParameter(str(error)) from None


def complete_emulator(_: click.Context, __: click.Parameter, incomplete: str) -> "list[CompletionItem[str]]":
    """Return the fleets that begin so; where there are none, let the shell complete directories."""
    names = [CompletionItem(name) for name in FLEETS if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="dir")]


def is_emulator(text: str) -> bool:
    """Return whether an argument after `--emulator` is its value; a name alone is that of a backend.

    A directory is one that is there, or has a separator in its name.
    """
    has_separator = any(separator in text for separator in ("/", os.sep))
    return text in FLEETS or text.startswith(_SCHEMES) or has_separator or Path(text).is_dir()


def fleet_of(text: str) -> str | Path:
    """Return the name of one of the emulator's own fleets, or the path of a directory."""
    if text in FLEETS:
        return text
    if not Path(text).is_dir():
        raise click.BadParameter(f"{text!r} is none of {', '.join(FLEETS)}, and no directory")
    return Path(text)


async def emulated_account(emulator: str, search: InstanceSearch | None, stack: AsyncExitStack) -> Account:
    """Return the account of an emulator; one of the command's own runs until the stack ends.

    Args:
        emulator: what `emulator_of` returns.
        search: which instances to look up; None for all.
        stack: closes the emulator.
    """
    from ..emulator import Emulator, running_account  # imported here, as most commands run without it

    if emulator.startswith(_SCHEMES):
        return await running_account(emulator, search=search)
    with fleet_errors(emulator, "--emulator"):
        opened = await stack.enter_async_context(Emulator(emulator))
    return opened.account(search=search)


@contextmanager
def fleet_errors(fleets: str, option: str) -> Iterator[None]:
    """Say what is wrong with a fleet that an option names, while it is loaded."""
    from ..emulator import SnapshotsMissing

    try:
        yield
    except SnapshotsMissing as error:
        raise click.ClickException(f"{error}; or try {option} synthetic") from None
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{fleets}: a file is not as it should be: {error}") from None
