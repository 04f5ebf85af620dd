"""`qrbackends gateway`: one cache in front of the service for every client and language."""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from ..accounts.account import Account, Instance
from ..accounts.urls import CATALOG_URL, CLOUD_URL, SEARCH_URL, checked_url, is_loopback
from ..cache.policy import CachePolicy
from ..cache.stores.base import Store
from ..errors import AccountError, QRBackendsError
from ..transport.pool import SessionPool
from .gateway_keys import keys, keys_path
from .gateway_text import screen_of
from .logs import logged
from .options import SourceGroup, make_client, names_of, source_options
from .server import Serving, serving_options
from .text import echo, echo_json, warn

if TYPE_CHECKING:
    from ..gateway.app import Gateway
    from ..gateway.keys import Keyring
    from ..gateway.options import GatewayOptions

_REGIONS: Final = ("us-east", "eu-de")
_HEAD: Final = 30.0  # seconds in which the next request of a connection has to begin and its head to come
_IAM_URL: Final = f"https://iam.{CLOUD_URL.partition('://')[2]}"


@dataclass(frozen=True, slots=True)
class _Settings:
    """The values of the gateway's own options."""

    forward: bool
    endpoints: tuple[tuple[str, str], ...]
    keys: Path | None
    store: str | None
    warm: tuple[str, ...]
    status_age: float
    pass_through: bool
    tls_cert: Path | None
    tls_key: Path | None
    access_log: Path | None
    drain: float


def endpoint_of(text: str) -> tuple[str, str]:
    """Return the region and the address in `REGION=URL`."""
    region, _, url = text.partition("=")
    try:
        checked = checked_url(url)
    except AccountError as error:
        raise click.BadParameter(str(error)) from None
    if not region:
        raise click.BadParameter("give a region and an address, such as us-east=https://HOST/api/v1")
    return region, checked


def store_of(text: str) -> str:
    """Return the URL of a Redis."""
    if urlsplit(text).scheme not in ("redis", "rediss", "unix"):
        raise click.BadParameter("give a URL such as redis://HOST:6379/0, rediss://… or unix://…")
    return text


_FILE: Any = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(cls=SourceGroup, invoke_without_command=True)
@source_options
@serving_options(port=8590)
@click.option(
    "--forward",
    is_flag=True,
    help="Pass each caller's own key or token on, instead of using an account, and keep answers apart by it.",
)
@click.option(
    "--endpoint",
    "endpoints",
    type=endpoint_of,
    multiple=True,
    metavar="REGION=URL",
    help="With --forward: a region, and the base address of its API; by default IBM's. Repeatable.",
)
@click.option(
    "--keys",
    "keys_file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="QRBACKENDS_GATEWAY_KEYS",
    metavar="PATH",
    help="The file of the callers' keys, instead of the one in the directory of settings.",
)
@click.option(
    "--store",
    type=store_of,
    envvar="QRBACKENDS_GATEWAY_STORE",
    metavar="URL",
    help="A Redis, in which gateways share answers, such as redis://HOST.",
)
@click.option(
    "--warm",
    type=names_of,
    default="",
    metavar="A,B",
    help="Keep the documents of these backends fresh ahead of time; globs such as ibm_* will do.",
)
@click.option(
    "--status-age",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="Answer the status of a backend from a list that is no older; 0 asks for each status.",
)
@click.option(
    "--pass-through",
    is_flag=True,
    help="Pass on requests for all else, such as jobs and sessions; they are refused otherwise.",
)
@click.option("--tls-cert", type=_FILE, metavar="PATH", help="The certificate and its chain, as PEM.")
@click.option("--tls-key", type=_FILE, metavar="PATH", help="The certificate's key, as PEM.")
@click.option(
    "--access-log",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    metavar="PATH",
    help="Write a line of JSON for each request; - is stdout.",
)
@click.option(
    "--drain",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="How long requests may go on after SIGTERM.",
)
@click.pass_context
def gateway(ctx: click.Context, /, serving: Serving, keys_file: Path | None, **others: Any) -> None:
    """Serve the service's own API from a cache.

    Clients of every language read the backends through it when they are given its address: it answers with
    the very bytes of the service, asks once for all, and goes on while the service is down. It prints its
    addresses and what to set for each client, and runs until Ctrl-C or SIGTERM.

    Callers present a key of the gateway's (`gateway keys add`); where there is none, one that is good until
    the gateway ends is printed, on this machine only. With --forward they present their own.
    """
    if ctx.invoked_subcommand is not None:
        return
    settings = _Settings(keys=keys_file, **others)
    _check(serving, settings)
    with logged(serving.verbose), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(serving, settings))


gateway.add_command(keys)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's, where the extra `speed` is installed, or None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _check(serving: Serving, settings: _Settings) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together")
    if settings.forward and settings.warm:
        raise click.UsageError("--warm needs an account: there is none with --forward")
    if settings.forward and settings.store:
        raise click.UsageError("--store keeps nothing with --forward: callers' answers stay in memory")
    if settings.forward and settings.keys:
        raise click.UsageError("--keys are for a gateway with an account: leave out --forward")
    if settings.endpoints and not settings.forward:
        raise click.UsageError("--endpoint goes with --forward; an account has the addresses of its own")
    if settings.tls_cert is None and not is_loopback(serving.host):
        warn(f"whoever is between a caller and {serving.host} can read keys: --tls-cert encrypts them")


async def _serve(serving: Serving, settings: _Settings) -> None:
    from ..gateway.log import AccessLog
    from ..gateway.options import GatewayOptions
    from ..web import ServerLimits
    from ..web.gateway import GatewayServer, signalled

    options = GatewayOptions(settings.status_age, settings.warm, settings.pass_through, serving.hosts)
    tls = _tls(settings)
    async with AsyncExitStack() as stack:
        log = None if settings.access_log is None else AccessLog(settings.access_log)
        if log is not None:
            stack.callback(log.close)
        server = GatewayServer(ServerLimits(head=_HEAD, per_address=serving.per_address), settings.drain)
        more = {"log": log, "answering": server.answering, "heard": server.heard}
        make = _forwarding if settings.forward else _own
        made = await make(serving, settings, options, more, stack)
        await stack.enter_async_context(made)

        with signalled() as ending:
            async with server.running(made, serving.host, serving.port, tls) as url:
                await _announce(serving, settings, made, url)
                await ending.wait()


async def _own(
    serving: Serving,
    settings: _Settings,
    options: "GatewayOptions",
    more: Mapping[str, Any],
    stack: AsyncExitStack,
) -> "Gateway":
    """Return a gateway with the account of the options."""
    from ..web.gateway import own_gateway

    account = await serving.source.opened(stack)
    store: Any = await _store(settings.store, stack)
    client = await stack.enter_async_context(make_client(account, CachePolicy(), store))
    return own_gateway(client, _keyring(serving, settings, account), options, **more)


async def _store(url: str | None, stack: AsyncExitStack) -> Store | None:
    if url is None:
        return None
    from ..cache.stores.redis import RedisStore

    try:
        return await stack.enter_async_context(RedisStore(url))
    except ValueError as error:
        raise click.UsageError(f"--store: {error}") from None


def _keyring(serving: Serving, settings: _Settings, account: Account) -> "Keyring":
    """Return the callers' keys: those of the file, or a throw-away one, on this machine only."""
    from ..gateway.keys import KeyFile, Keyring, KeysError

    path = settings.keys or keys_path()
    try:
        ring = Keyring(KeyFile(path))
    except KeysError as error:
        raise click.ClickException(str(error)) from None
    if len(ring):
        return ring
    if settings.keys is not None or not is_loopback(serving.host):
        raise click.UsageError(f"{path} has no key; add one by: qrbackends gateway keys add NAME")
    return Keyring(emulated=account.emulated)


async def _forwarding(
    serving: Serving,
    settings: _Settings,
    options: "GatewayOptions",
    more: Mapping[str, Any],
    stack: AsyncExitStack,
) -> "Gateway":
    """Return a gateway that passes callers' credentials on, to IBM's service or to an emulator."""
    from ..gateway.options import CloudAddresses
    from ..transport.retry import RetryPolicy
    from ..web.gateway import forwarding_gateway

    endpoints = dict(settings.endpoints)
    if serving.source.emulator is not None:
        account = await serving.source.opened(stack)
        endpoints = endpoints or dict(account.search.endpoints)
        cloud = CloudAddresses(account.iam, account.search_url, account.catalog_url)
    else:
        endpoints = endpoints or {one: _address(one) for one in serving.source.regions or _REGIONS}
        cloud = CloudAddresses(_IAM_URL, SEARCH_URL, CATALOG_URL)
    pool = await stack.enter_async_context(SessionPool(trust_env=True))
    client_options = {"pool": pool, "policy": CachePolicy(), "retry": RetryPolicy()}
    return forwarding_gateway(client_options, endpoints, cloud, options, **more)


def _address(region: str) -> str:
    """Return the base address of a region of IBM's."""
    try:
        return Instance(f"crn:v1:bluemix:public:quantum-computing:{region}:a/account:instance::").base_url
    except AccountError:
        raise click.UsageError(f"{region!r:.80} cannot be a region's name") from None


def _tls(settings: _Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    from ..web.gateway import tls_context

    try:
        return tls_context(settings.tls_cert, settings.tls_key)
    except ssl.SSLError as error:
        raise click.ClickException(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate and its key: {error.reason}"
        ) from None


async def _announce(serving: Serving, settings: _Settings, made: "Gateway", url: str) -> None:
    try:
        addresses = await made.addresses(url)
    except QRBackendsError as error:
        if error.final:  # such as a refused key: no request would be answered
            raise
        warn(f"the account's instances are not known yet: {error}")
        addresses = await made.addresses(url, instances=False)
    if serving.as_json:
        serving.source.announce()
        mode = "forward" if settings.forward else "own"
        echo_json({"mode": mode, "url": url, **msgspec.to_builtins(addresses)})
        return
    shown = "The gateway"
    if serving.source.emulator is not None:
        shown = f"Emulated fleet ({serving.source.emulator}) behind the gateway"
    echo(screen_of(addresses, f"{shown} at {url}", settings.forward))
