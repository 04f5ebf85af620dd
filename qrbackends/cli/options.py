"""The options that most commands share, and the client that is opened with them."""

import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import click

from ..accounts.account import Account, Instance
from ..accounts.saved import load_account
from ..accounts.urls import is_loopback
from ..cache.policy import CachePolicy
from ..cache.stores.file import FileStore
from ..client import Client
from ..errors import AccountError, NotFound, QRBackendsError
from ..messages.suggestions import add, retract, suggest, suggested
from ..transport.pool import SessionPool
from .choices import Command, Group
from .completion import complete_account
from .emulators import FLEETS, complete_emulator, emulated_account, emulator_of, is_emulator
from .kept import open_kept
from .text import echo, warn

_IBM_CLOUD: Final = ".cloud.ibm.com"
_ANY_CRN: Final = "crn:v1:bluemix:public:quantum-computing:us-east:a/0:0::"

# People at a terminal get current data or an error, never an old answer.
_CURRENT: Final = CachePolicy(stale_while_revalidate=0, stale_if_error=0)


class Origin(ABC):
    """Where data comes from; what is emulated says so wherever it is shown."""

    __slots__ = ()

    def title(self, what: str) -> str:
        """Return a title for `what`, which marks emulated data."""
        return self._marked(what) or what[:1].upper() + what[1:]

    def mark(self) -> str | None:
        """Return a sentence that says that the data is emulated; None if it is not."""
        marked = self._marked("data")
        return f"{marked}, not from IBM's service" if marked else None

    def announce(self) -> None:
        """Write on stderr that the data is emulated, for output that has no place for it."""
        if (mark := self.mark()) is not None:
            echo(f"{mark}.", err=True)

    @abstractmethod
    def _marked(self, what: str) -> str | None:
        """Return `what` as the beginning of a sentence that says that it is emulated; None if it is not."""


@dataclass(frozen=True, slots=True)
class Archived(Origin):
    """An archive; `emulated` is whether an emulator sent what was read of it."""

    emulated: bool

    def _marked(self, what: str) -> str | None:
        return f"Emulated {what}" if self.emulated else None


@dataclass(frozen=True, slots=True)
class Source(Origin):
    """The source of the data: an account, restricted by options, or an emulator."""

    account: str | None = None
    account_file: str | None = None
    instance: Instance | str | None = None
    regions: tuple[str, ...] = ()
    emulator: str | None = None
    cache: bool = True

    def _marked(self, what: str) -> str | None:
        if self.emulator is not None:
            return f"Emulated {what} ({self.emulator})"
        return f"Emulated {what}" if self._load().emulated else None

    @asynccontextmanager
    async def client(self, policy: CachePolicy = _CURRENT) -> AsyncIterator[Client]:
        """Open a client, with the emulator or with the file that keeps answers between runs."""
        async with AsyncExitStack() as stack:
            account = await self.opened(stack)
            store = await open_kept(stack) if self.cache and not account.emulated else None
            client = await stack.enter_async_context(make_client(account, policy, store))
            try:
                yield client
            except NotFound as error:
                await _explain(error, client, account if self.instance or self.regions else None)
                raise

    async def opened(self, stack: AsyncExitStack) -> Account:
        """Return the account, restricted by the options; the command's own emulator ends with the stack."""
        if self.emulator is not None:
            return self._narrowed(await emulated_account(self.emulator, stack))
        account = self._load()
        _refuse_to_send_an_emulators_key(account)
        return self._narrowed(account)

    def _load(self) -> Account:
        named = self.instance.crn if isinstance(self.instance, Instance) else self.instance
        return load_account(self.account, self.account_file, instance=named)

    def _narrowed(self, account: Account) -> Account:
        name = self.instance if isinstance(self.instance, str) and self.instance != "auto" else None
        if self.emulator is not None and name:
            account = replace(account, instances=(), search=replace(account.search, name=name))
        if not account.instances:  # the client looks them up, in these regions only
            return replace(
                account, search=replace(account.search, regions=self.regions or account.search.regions)
            )
        instances = tuple(account.instances)
        if isinstance(self.instance, Instance):
            instances = tuple(i for i in instances if i.crn == self.instance.crn)
            if not instances:
                raise AccountError(
                    f"the emulator has no instance {self.instance.crn}; "
                    f"it has {', '.join(i.crn for i in account.instances)}"
                )
        missing = [region for region in self.regions if region not in {i.region for i in instances}]
        if missing:
            regions = sorted({i.region for i in instances})
            problem = f"no instance in {', '.join(missing)}; there are instances in: "
            problem += ", ".join(regions) or "no region"
            raise AccountError(suggested(problem, missing[0], regions))
        if self.regions:
            instances = tuple(i for i in instances if i.region in self.regions)
        return replace(account, instances=instances)


def _refuse_to_send_an_emulators_key(account: Account) -> None:
    """Raise an error if an emulator's key would be used at IBM's addresses, which do not know it."""
    if not account.emulated:
        return
    asked = account.instances or [account.search.instance(_ANY_CRN)]
    hosts = [urlsplit(one.base_url).hostname or "" for one in asked]
    theirs = [host for host in hosts if host.endswith(_IBM_CLOUD)]
    if theirs:
        iam = account.iam if is_loopback(urlsplit(account.iam).hostname or "") else "http://127.0.0.1:PORT"
        raise AccountError(
            f"this API key is an emulator's, and would be used at {theirs[0]}, which does not know it: give "
            f"--emulator {iam}, the address that `emulate` prints as its IAM"
        )


async def _explain(error: NotFound, client: Client, narrowed: Account | None) -> None:
    """Add to an error which other instance lists the backend, or the names that are like its own.

    Nothing is added if the lists cannot be read completely, as it may be in one of those.

    Args:
        error: the error.
        client: the client that raised it.
        narrowed: its account, if options left out some of the instances.
    """
    if error.backend is None or (error.suggestions and narrowed is None):
        return
    async with AsyncExitStack() as stack:
        stack.enter_context(suppress(QRBackendsError))
        if narrowed is not None:
            whole = replace(narrowed, instances=(), search=replace(narrowed.search, name=None, regions=()))
            client = await stack.enter_async_context(make_client(whole))
        listed = await client.backends()
        crns = listed.instances_of(error.backend)
        others = [one for one in await client.instances() if one.instance.crn in crns]
        if others and narrowed is not None and error.instance not in crns:
            retract(error)  # its names are of the lists that were left
            add(error, f"the instance {others[0].name or others[0].instance.crn} lists it")
        elif not listed.errors:
            suggest(error, {backend.name for backend in listed})


def make_client(
    account: Account,
    policy: CachePolicy = _CURRENT,
    store: FileStore | None = None,
    pool: SessionPool | None = None,
) -> Client:
    """Return a client; what it warns of is written on stderr."""
    connected: dict[str, Any] = {"pool": pool} if pool else {"trust_env": True}  # as every command does
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = Client(account, store=store, cache=policy, **connected)
    for warning in caught:
        warn(str(warning.message))
    return client


def instance_of(text: str) -> Instance | str:
    """Return an instance for a CRN; return any other text as it is, the name of an instance."""
    try:
        return Instance(text) if text.startswith("crn:") else text
    except AccountError as error:
        raise click.BadParameter(str(error)) from None


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a text that separates them by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


include_mocks_option = click.option(
    "--include-mocks", is_flag=True, help="Mock devices, too, which only imitate a quantum computer."
)


class SourceCommand(Command):
    """A command whose option `--emulator` needs no value, even before the name of a backend."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        takes_names = any(isinstance(one, click.Argument) for one in self.params)
        return super().parse_args(ctx, list(explicit(args, takes_names)))


class SourceGroup(Group):
    """A group of commands that is a command, too, whose option `--emulator` needs no value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        return super().parse_args(ctx, list(explicit(args)))


def explicit(args: Sequence[str], takes_names: bool = True) -> Iterator[str]:
    """Yield the arguments; where no value follows `--emulator`, it gets the first fleet as its value."""
    end = args.index("--") if "--" in args else len(args)
    for place, argument in enumerate(args):
        alone = argument == "--emulator" and place < end and args[place + 1 : place + 2] != []
        if alone and not is_emulator(args[place + 1], takes_names):
            yield f"--emulator={FLEETS[0]}"
        else:
            yield argument


_OPTIONS = (
    click.option("--json", "as_json", is_flag=True, help="JSON on stdout, and nothing else there."),
    click.option(
        "--emulator",
        type=emulator_of,
        shell_complete=complete_emulator,
        is_flag=False,
        flag_value=FLEETS[0],
        metavar=f"[{'|'.join(FLEETS)}|PATH|URL]",
        help="Use an emulator: recorded calibrations (snapshots, the default), those of devices in service "
        "(snapshots:current), made-up ones (synthetic), a directory such as `record` writes, or one that "
        "`emulate` runs, by the address that it prints for IAM. Environment and saved accounts are ignored.",
    ),
    click.option(
        "--account", metavar="NAME", shell_complete=complete_account, help="The saved account of this name."
    ),
    click.option(
        "--account-file",
        type=click.Path(exists=True, dir_okay=False),
        metavar="PATH",
        help="The file of saved accounts, instead of the official client's.",
    ),
    click.option(
        "--instance",
        type=instance_of,
        metavar="CRN|NAME",
        help="Ask this instance only; its name may be a glob.",
    ),
    click.option(
        "--region", "regions", multiple=True, metavar="REGION", help="Ask this region only; repeatable."
    ),
    click.option("--no-cache", is_flag=True, help="Neither read nor write the answers kept between runs."),
)


def source_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the shared options; the command gets them as `source` and `as_json`."""

    @functools.wraps(command)
    def with_source(
        account: str | None,
        account_file: str | None,
        instance: Instance | str | None,
        regions: tuple[str, ...],
        emulator: str | None,
        no_cache: bool,
        **others: Any,
    ) -> None:
        if emulator is not None and (account is not None or account_file is not None):
            raise click.UsageError("--emulator uses no account: leave out --account and --account-file")
        source = Source(account, account_file, instance, regions, emulator, cache=not no_cache)
        command(source=source, **others)

    decorated: Callable[..., None] = with_source
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
