"""The emulators that commands use: one of their own, with a named fleet or a directory, or one that runs."""

import os
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import click
import msgspec
from click.shell_completion import CompletionItem

from ..accounts.account import Account
from ..errors import AccountError
from ..messages.suggestions import suggested

FLEETS: Final = ("snapshots", "snapshots:current", "synthetic")
"""The emulated fleets."""

_NEARLY: Final = 0.85  # how alike two words have to be for one to be the other, misspelled
SCHEMES: Final = ("http://", "https://")
"""The beginnings of the addresses of emulators that run."""


def emulator_of(text: str) -> str:
    """Return a value of `--emulator`: a fleet's name, a directory, or an address without its path."""
    if not text.startswith(SCHEMES):
        if re.fullmatch(r"[\w.\-\[:\]]+:\d+/?", text) and not Path(text).is_dir():
            raise click.BadParameter(f"{text!r} is no URL; did you mean http://{text}?")
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


def is_emulator(text: str, takes_names: bool = True) -> bool:
    """Return whether an argument after `--emulator` is its value; a name alone is that of a backend.

    A directory is one that is there, or has a separator in its name. A word that is nearly a fleet's name is
    meant as one, and so is any word if the command `takes_names` of nothing else.
    """
    if get_close_matches(text.casefold(), FLEETS, 1, _NEARLY):
        return True
    if not (takes_names or text.startswith("-")):
        return True
    has_separator = any(separator in text for separator in ("/", os.sep))
    return text.startswith(SCHEMES) or has_separator or Path(text).is_dir()


def fleet_of(text: str) -> str | Path:
    """Return the name of one of the emulator's own fleets, or the path of a directory."""
    if text in FLEETS:
        return text
    if not Path(text).is_dir():
        problem = f"{text!r} is none of {', '.join(FLEETS)}, and no directory"
        raise click.BadParameter(suggested(problem, text, FLEETS))
    return Path(text)


async def emulated_account(emulator: str, stack: AsyncExitStack) -> Account:
    """Return the account of an emulator, with all its instances.

    One of the command's own runs until the stack ends.

    Args:
        emulator: what `emulator_of` returns.
        stack: closes the emulator.
    """
    from ..emulator import Emulator, running_account  # imported here, as most commands run without it

    if emulator.startswith(SCHEMES):
        return await running_account(emulator)
    with fleet_errors(emulator):
        opened = await stack.enter_async_context(Emulator(emulator))
    return opened.account()


@contextmanager
def fleet_errors(fleets: str) -> Iterator[None]:
    """Say what is wrong with a file of a fleet, while it is loaded."""
    try:
        yield
    except msgspec.MsgspecError as error:
        raise click.ClickException(f"{fleets}: a file is not as it should be: {error}") from None
