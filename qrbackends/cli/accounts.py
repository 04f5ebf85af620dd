"""`qrbackends accounts`: the accounts in the official client's file."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from ..accounts import SavedAccount, delete_account, list_accounts, save_account, use_account
from ..accounts.saved import CHANNELS, DEFAULT_PATH
from ..accounts.secret import Secret
from .choices import Choice, Group
from .columns import Column
from .tables import Table, table_options
from .text import clean, echo

_LONGEST_KEY = 4096  # bytes
_COLUMNS: Final[tuple[Column[SavedAccount], ...]] = (
    Column("name", "name", lambda one: one.name),
    Column("is_default", "default", lambda one: one.is_default, lambda yes: "*" if yes else "", 1),
    Column("instance", "instance", lambda one: one.instance, whole=True),
    Column("region", "region", lambda one: one.region, rank=10),
    Column("plans", "plans", lambda one: one.plans, rank=11),
    Column("tags", "tags", lambda one: one.tags, rank=12),
    Column("channel", "channel", lambda one: one.channel, rank=3),
    Column("problem", "problem", lambda one: one.problem, rank=2),
)
_file = click.option(
    "--account-file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_PATH,
    metavar="PATH",
    help="The file of saved accounts, instead of the official client's.",
)


_OTHER_WORDS: Final = {  # as other programs call these commands
    "add": "save",
    "create": "save",
    "login": "save",
    "show": "list",
    "ls": "list",
    "remove": "delete",
    "rm": "delete",
    "logout": "delete",
    "set": "save or use",
    "default": "use",
}


class _Accounts(Group):
    def meant_by(self, name: str, commands: Sequence[str]) -> str:
        meant = _OTHER_WORDS.get(name.casefold())
        return f"did you mean {meant}?" if meant else super().meant_by(name, commands)


@click.group(cls=_Accounts)
def accounts() -> None:
    """List, save and delete accounts, and choose the default one.

    They are in the file of the official client, ~/.qiskit/qiskit-ibm.json, which reads what is saved here.
    """


@accounts.command("list")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@table_options(_COLUMNS)
def list_(path: Path, table: Table[SavedAccount]) -> None:
    """List the saved accounts, without their keys.

    The default one is used where no account is named and QISKIT_IBM_TOKEN is not set.
    """
    saved = list_accounts(path)
    if table.for_screen and not saved:
        echo(f"There is no account in {path}; `qrbackends accounts save` saves one.")
        return
    is_set = os.environ.get("QISKIT_IBM_TOKEN")
    note = "QISKIT_IBM_TOKEN is set, and is used instead of the default account." if is_set else ""
    table.show(None, "Accounts", saved, note, value=lambda rows: rows)


@accounts.command()
@click.argument("name", required=False)
@_file
@click.option("--instance", metavar="CRN|NAME", help="Use this instance only; the name may be a glob.")
@click.option("--region", metavar="REGION", help="Use instances in this region only.")
@click.option(
    "--plan", "plans", multiple=True, metavar="PLAN", help="Use instances of this plan; repeatable."
)
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="Use instances with this tag; repeatable.")
@click.option(
    "--channel",
    type=Choice(CHANNELS),
    help="Two names of one service; left out, QISKIT_IBM_CHANNEL, or else the first.",
)
@click.option("--private-endpoint", is_flag=True, help="Use the regions' private endpoints.")
@click.option("--default", is_flag=True, help="Let it be used where no account is named.")
@click.option("--overwrite", is_flag=True, help="Replace the account of this name.")
def save(name: str | None, **fields: Any) -> None:
    """Save an account; its API key is asked for, or read from standard input.

    The key is not tried out. Without NAME, the account gets the name that the official client gives it.
    Region, plans and tags count where no instance is given. The official client takes no glob.
    """
    saved = save_account(_read_key(), name, **fields)
    echo(f"Saved the account {clean(saved)}.")


@accounts.command()
@click.argument("name")
@_file
def delete(name: str, path: Path) -> None:
    """Delete a saved account."""
    delete_account(name, path)
    echo(f"Deleted the account {clean(name)}.")


@accounts.command()
@click.argument("name")
@_file
def use(name: str, path: Path) -> None:
    """Let a saved account be used where no account is named."""
    use_account(name, path)
    echo(f"The default account is {clean(name)} now.")


def _read_key() -> Secret:
    """Return the API key: typed unseen at a terminal, or the first line of standard input.

    Arguments would show it to all users of this machine, in the list of processes.
    """
    if sys.stdin is not None and sys.stdin.isatty():
        typed: str = click.prompt("API key", hide_input=True, err=True)
        return Secret(typed.strip())
    line = sys.stdin.buffer.readline(_LONGEST_KEY + 1) if sys.stdin is not None else b""
    if not line.strip():
        raise click.ClickException("there is no API key on standard input")
    if len(line) > _LONGEST_KEY:
        raise click.ClickException("the first line of standard input is too long for an API key")
    return Secret(line.decode(errors="replace").strip())
