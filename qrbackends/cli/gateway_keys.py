"""`qrbackends gateway keys`: the keys that callers of a gateway present."""

from pathlib import Path
from typing import Any, Final

import click
import platformdirs

from ..accounts.account import Instance
from ..errors import AccountError
from .choices import Group
from .columns import Column
from .tables import Table, table_options
from .text import echo, echo_json


def keys_path() -> Path:
    """Return the path of the file of keys."""
    return platformdirs.user_config_path("qrbackends") / "gateway-keys.json"


def crn_of(text: str) -> str:
    """Return a CRN."""
    try:
        return Instance(text).crn
    except AccountError as error:
        raise click.BadParameter(str(error)) from None


_file_option = click.option(
    "--keys",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="QRBACKENDS_GATEWAY_KEYS",
    metavar="PATH",
    help="The file of keys, instead of the one in the directory of settings.",
)


@click.group(cls=Group)
def keys() -> None:
    """Manage the keys that callers present.

    They are kept in a private file, as digests: a key is shown once, when it is added. A gateway that runs
    sees a change within a second.
    """


@keys.command()
@click.argument("name")
@click.option("--instance", "instances", type=crn_of, multiple=True, metavar="CRN", help="Repeatable.")
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="N",
    help="Requests per second that it may send; by default any number.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there.")
@_file_option
def add(name: str, instances: tuple[str, ...], rate: float, as_json: bool, path: Path | None) -> None:
    """Add a key for NAME, and show it once.

    It may use every instance of the gateway's account, or those that --instance names.
    """
    from ..gateway.keys import KeyFile, KeysError

    try:
        key = KeyFile(path or keys_path()).add(name, instances, rate)
    except KeysError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        echo_json({"name": name, "api_key": key})
    else:
        echo(key)


_COLUMNS: Final[tuple[Column[Any], ...]] = (
    Column("name", "name", lambda key: key.name),
    Column("id", "id", lambda key: key.id),
    Column("created", "created", lambda key: key.created),
    Column("rate", "requests/s", lambda key: key.rate or None),
    Column("instances", "instances", lambda key: ", ".join(key.instances) or "all"),
)


@keys.command("list")
@_file_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@table_options(_COLUMNS)
def list_(path: Path | None, table: Table[Any]) -> None:
    """List the keys, without what would let anybody in."""
    from ..gateway.keys import KeyFile, KeysError

    try:
        _, found = KeyFile(path or keys_path()).read()
    except KeysError as error:
        raise click.ClickException(str(error)) from None
    if table.for_screen and not found:
        echo(f"There is no key in {path or keys_path()}; `qrbackends gateway keys add NAME` adds one.")
        return
    table.show(None, "Keys", list(found))


@keys.command()
@click.argument("name")
@_file_option
def revoke(name: str, path: Path | None) -> None:
    """Remove the key of NAME, which may be its id; its tokens end with it."""
    from ..gateway.keys import KeyFile, KeysError

    try:
        removed = KeyFile(path or keys_path()).revoke(name)
    except KeysError as error:
        raise click.ClickException(str(error)) from None
    if not removed:
        raise click.ClickException(f"there is no key of the name {name!r:.80}")
    echo(f"{name} is revoked.")
