"""`qrbackends completion`, and what shells complete: names out of the kept answers, without any request."""

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from .choices import Choice
from .emulators import SCHEMES
from .text import echo

if TYPE_CHECKING:
    from ..accounts.account import Account

_CLASSES: Final = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_SAFE: Final = re.compile(r"\w[\w.-]{0,99}", re.ASCII)  # shells expand and split what they are given
_VARIABLE: Final = "_QRBACKENDS_COMPLETE"
_MOST: Final = 16 * 2**20  # bytes of a list


@click.command()
@click.argument("shell", type=Choice(tuple(_CLASSES)))
def completion(shell: str) -> None:
    """Print what lets a shell complete names.

    \b
    bash: eval "$(qrbackends completion bash)" in ~/.bashrc
    zsh:  eval "$(qrbackends completion zsh)" in ~/.zshrc, after compinit
    fish: qrbackends completion fish > ~/.config/fish/completions/qrbackends.fish

    The names of backends are those in the lists that earlier commands have kept, of the account that is
    meant; with --emulator, those of its fleet. No request is sent.
    """
    root = click.get_current_context().find_root().command
    script = _CLASSES[shell](root, {}, "qrbackends", _VARIABLE)
    echo(ShellComplete.source(script).rstrip("\n"))  # bash's own `source` would look for an installed bash


def complete_backend(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the known names of backends that begin so."""
    return _offered(lambda: _backends(ctx.params), incomplete)


def complete_account(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of saved accounts that begin so."""
    return _offered(lambda: _accounts(ctx.params), incomplete)


def _offered(known: Callable[[], Iterable[str]], incomplete: str) -> list[str]:
    """Return the names that begin so, in order; none that a shell could take for more than a name."""
    try:
        return sorted({name for name in known() if name.startswith(incomplete) and _SAFE.fullmatch(name)})
    except Exception:  # whatever it is: nothing may be written into the line that is being typed
        return []


def _accounts(options: Mapping[str, Any]) -> Iterable[str]:
    from ..accounts import list_accounts
    from ..accounts.saved import DEFAULT_PATH

    return [one.name for one in list_accounts(options.get("account_file") or DEFAULT_PATH)]


def _backends(options: Mapping[str, Any]) -> Iterable[str]:
    emulator = options.get("emulator")
    if emulator is None:
        from ..accounts.saved import load_account

        account = load_account(options.get("account"), options.get("account_file"))
        return asyncio.run(_kept_names(account))
    if emulator.startswith(SCHEMES):  # to ask it would be a request
        return ()
    from ..emulator.devices.sources import load_fleet

    return load_fleet(emulator).names


async def _kept_names(account: "Account") -> set[str]:
    """Return the names in the lists that are kept for an account's credential, of all its instances."""
    from ..accounts.scope import Scopes
    from ..cache.stores.seal import unseal
    from ..protocol.answers import parse
    from ..protocol.requests import API_VERSION, request_of
    from .kept import KeptAnswers, cache_path

    names: set[str] = set()
    path = cache_path()
    if not path.exists():  # it is not made for this
        return names
    key = Scopes(account, API_VERSION).key
    async with KeptAnswers(path) as store:
        lists = await store.lists()
    for scope, name, value in lists:
        request = request_of(name)
        stored = unseal(key, scope, name, value, time.time())
        if request is not None and stored is not None:  # another account's are sealed with another key
            listed = parse(request, 200, {}, stored.wire.plain(_MOST))
            names.update(one.name for one in listed.devices)
    return names
