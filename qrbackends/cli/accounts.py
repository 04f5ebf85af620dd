"""`qrbackends accounts`: the accounts in the official client's file."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from ..accounts import SavedAccount, delete_account, list_accounts, save_account, use_account
from ..accounts.saved import CHANNELS, DEFAULT_PATH
from ..accounts.secret import Secret
from ..analysis.formatting import DASH
from .choices import Choice, Group
from .screen import Column, print_table
from .text import clean, echo, echo_json

_LONGEST_KEY = 4096  # bytes
_COLUMNS = (
    Column("name"),
    Column("default", rank=3),
    Column("instance"),
    Column("region", rank=4),
    Column("plans", rank=5),
    Column("tags", rank=6),
    Column("channel", rank=2),
    Column("problem", rank=1),
)
_file = click.option(
    "--account-file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_PATH,
    metavar="PATH",
    help="The file of saved accounts, instead of the official client's.",
)


@click.group(cls=Group)
def accounts() -> None:
    """List, save and delete accounts, and choose the default one.

    They are in the file of the official client, ~/.qiskit/qiskit-ibm.json, which reads what is saved here.
    """


@accounts.command("list")
@_file
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def list_(path: Path, as_json: bool) -> None:
    """List the saved accounts, without their keys.

    The default one is used where no account is named and QISKIT_IBM_TOKEN is not set.
    """
    saved = list_accounts(path)
    if as_json:
        echo_json(saved)
    elif saved:
        note = "QISKIT_IBM_TOKEN is set, and is used instead of the default account."
        print_table(
            "Accounts", _COLUMNS, map(_cells, saved), note if os.environ.get("QISKIT_IBM_TOKEN") else ""
        )
    else:
        echo(f"There is no account in {path}; `qrbackends accounts save` saves one.")


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


def _cells(one: SavedAccount) -> list[str]:
    texts = (one.instance, one.region, ", ".join(one.plans), ", ".join(one.tags), one.channel, one.problem)
    return [one.name, "*" if one.is_default else "", *(text or DASH for text in texts)]
