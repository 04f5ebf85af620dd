"""The gateway's HTTP handler: paths, health, the cache, and what is passed on."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from aiohttp import web
from aiohttp.hdrs import METH_GET, METH_HEAD

from ..accounts.account import Account
from ..errors import QRBackendsError
from ..surface.addresses import Addresses, InstanceAddress
from ..surface.hosts import Hosts
from ..surface.routes import ROOT, classified
from ..surface.wire import Call, Errors, Refused, json_answer, split_target
from ..tasks.flight import stopped
from ..transport.pool import SessionPool
from .callers import Caller, Source
from .cloud import CATALOG, ForwardedCloud, OwnCloud, is_of_cloud
from .counts import Counts
from .failures import Failures
from .log import Access, AccessLog, shown
from .options import CloudAddresses, GatewayOptions
from .own import OwnAccount
from .relay import METHODS, Relay, is_plain, with_query
from .repeats import Known, Repeating, Repeats
from .replies import SERVER, Reply, of_answer, of_error
from .service import BackendsGateway, Repeatable
from .versions import VersionsPage
from .warm import Warmer

logger = logging.getLogger("qrbackends.gateway")

_ONCE: Final = ("Host", "Authorization", "Service-CRN", "IBM-API-Version", "Content-Length")


class Gateway:
    """A handler for aiohttp's servers that answers in the service's own language.

    `async with` begins what runs in the background, and ends it.

    Args:
        source: whose credential is used, and who may ask.
        errors: makes error answers.
        failures: the log of failures.
        pool: sends the requests to the service.
        cloud: where the callers' own credentials are exchanged; None for a source with keys of the gateway's.
        options: how it answers.
        log: the access log, or None.
        answering: returns a context for the time in which a request of a peer is answered.
        heard: called with a peer whose request was answered at once.
    """

    def __init__(
        self,
        source: Source,
        errors: Errors,
        failures: Failures,
        pool: SessionPool,
        cloud: CloudAddresses | None = None,
        options: GatewayOptions | None = None,
        *,
        log: AccessLog | None = None,
        answering: Callable[[Any], AbstractContextManager[Any]] = nullcontext,
        heard: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.source = source
        self.counts = Counts()
        self.repeats = Repeats(self._repeated, time.monotonic)
        self.pool = pool
        self.errors = errors
        self._options = options or GatewayOptions()
        self._log = log
        self._answering = answering
        self._heard = heard
        self._hosts = Hosts("", ("localhost", *self._options.hosts))
        account = source.account or Account(token="anonymous")  # noqa: S106  # sent to nobody
        self._versions = VersionsPage(source, pool, account)
        self._relay = Relay(account, pool, errors, failures, own=source.own)
        limit = pool.limits.body
        self._backends = BackendsGateway(
            source, errors, self._versions, status_age=self._options.status_age, limit=limit
        )
        self._cloud: OwnCloud | ForwardedCloud | None = None
        self._warmer: Warmer | None = None
        if cloud is not None:
            self._cloud = ForwardedCloud(cloud, errors, self._relay)
        if isinstance(source, OwnAccount):
            self._cloud = OwnCloud(source, errors)
            if self._options.warm:
                self._warmer = Warmer(source, self._options.warm)
        self._task: asyncio.Task[None] | None = None
        self.draining = False
        """Whether the gateway is about to end: it is not ready for new callers."""

    def drain(self) -> None:
        """Be ready no more: each connection ends with the answer to its next request."""
        self.draining = True
        self.repeats.clear()

    async def __aenter__(self) -> "Gateway":
        if self._warmer is not None:
            self._task = asyncio.create_task(self._warmer.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            await stopped([self._task])
        await self._relay.aclose()
        await self._versions.aclose()
        await self.source.aclose()

    async def __call__(self, request: web.BaseRequest, prefix: str = "") -> web.StreamResponse:
        """Answer one request.

        Args:
            request: the request.
            prefix: the path below which the gateway is mounted, which is not a part of the service's paths.
        """
        began = time.perf_counter()
        at = "" if self._log is None else self._log.time()
        host, path, query = split_target(request.raw_path)
        path = path.removeprefix(prefix)
        call = Call(request.method, path, query, request.headers, host or request.headers.get("Host", ""))
        told = _Told()
        with self._answering(request.transport and request.transport.get_extra_info("peername")):
            try:
                found = await self._found(request, call, told)
            except Refused as refused:
                found = of_answer(refused.answer, call.takes_gzip)
            except Exception as error:  # whoever asks gets an answer, and the log says what has to be mended
                logger.error("a request could not be answered: %s", type(error).__name__, exc_info=error)
                found = of_answer(self.errors.answer(500, "The gateway failed."), False)
        if isinstance(found, Reply):
            # A body may come after the answer, and is no request even if it looks like one that is known.
            connection = None if request.body_exists else self.repeats.connections.get(request.protocol)
            response: web.StreamResponse = _Response(found, connection, told)
            if self.draining:
                response.force_close()
            size, age, cache = len(found.body), found.age, found.told
        else:
            response, size, age, cache = found, max(0, found.body_length), None, "bypass"
        self.counts.add(classified(path)[0] or "other", response.status, cache, size, age)
        if self._log is not None:
            seconds, peer = round(time.perf_counter() - began, 6), request.remote or ""
            line = call.method, shown(path), response.status, seconds, size, peer, told.caller, cache
            self._log.write(Access(at, *line, None if age is None else round(age, 3)))
        return response

    def _repeated(self, known: Known, size: int, transport: Any) -> None:
        """Count and log a request that was answered without being parsed."""
        call, age, peer = known.call, known.age, transport.get_extra_info("peername")
        self.counts.add(call.request.resource, known.status, known.told, size, age)
        self._heard(peer)
        if self._log is not None:
            path, host = f"{ROOT}{call.request.target.partition('?')[0]}", str(peer[0]) if peer else ""
            line = "GET", shown(path), known.status, 0.0, size, host, call.caller.name, known.told
            self._log.write(Access(self._log.time(), *line, round(age, 3)))

    async def _found(self, request: web.BaseRequest, call: Call, told: "_Told") -> Reply | web.StreamResponse:
        """Return the reply, or the response that was streamed.

        Raises:
            Refused: the call is not accepted.
        """
        if call.path in ("/healthz", "/readyz", "/metrics"):
            return await self._operational(call)
        self._check(request, call)
        if is_of_cloud(call.path):
            if self._cloud is None:
                raise self.errors.refuse(404, "There is nothing at this address.")
            return await self._cloud.reply(request, call)
        resource, name = classified(call.path)
        if resource is not None and name != "":
            return await self._document(request, call, resource, told)
        if resource is None and self._options.pass_through and call.path.startswith(f"{ROOT}/"):
            return await self._passed(request, call, told)
        why = " The gateway answers the Backends API only." if call.path.startswith(f"{ROOT}/") else ""
        raise self.errors.refuse(404, f"The requested resource does not exist.{why}")

    def _check(self, request: web.BaseRequest, call: Call) -> None:
        """Raise `Refused` for another host, and for headers of which one server may read another than we."""
        if not self._hosts.are_named(call.host, 0):
            raise self.errors.refuse(421, "This server does not answer for that host.")
        for name in _ONCE:
            if len(request.headers.getall(name, ())) > 1:
                raise self.errors.refuse(400, f"There is more than one header {name}.")

    async def _document(self, request: web.BaseRequest, call: Call, resource: str, told: "_Told") -> Reply:
        if call.method != METH_GET:
            raise self.errors.refuse(405, f"{call.method} is not allowed here.", headers={"Allow": "GET"})
        if request.body_exists:
            raise self.errors.refuse(400, "A GET has no body here.", headers={"Connection": "close"})
        if resource == "versions":
            return await self._backends.versions(call)
        caller = self.source.caller(call)
        told.caller = caller.name
        reply, told.again = await self._backends.reply(call, caller)
        return reply

    async def _operational(self, call: Call) -> Reply:
        if call.method not in (METH_GET, METH_HEAD):
            raise self.errors.refuse(405, f"{call.method} is not allowed here.", headers={"Allow": "GET"})
        if call.path == "/metrics":
            return _metrics(self, call)
        status = "ok" if call.path == "/healthz" else await self._readiness()
        code = 200 if status == "ok" else 503
        return of_answer(json_answer({"status": status}, code, {"Cache-Control": "no-store"}), False)

    async def _readiness(self) -> str:
        if self.draining:
            return "draining"
        if self._warmer is not None and not self._warmer.warmed:
            return "warming"
        try:
            await self.source.served()
        except QRBackendsError:
            return "no instances"
        return "ok"

    async def _passed(
        self, request: web.BaseRequest, call: Call, told: "_Told"
    ) -> Reply | web.StreamResponse:
        """Pass a request on to the region of its instance."""
        if call.method not in METHODS:
            headers = {"Allow": ", ".join(METHODS), "Connection": "close"}
            raise self.errors.refuse(405, f"{call.method} is not allowed here.", headers=headers)
        if not is_plain(call.path):
            raise self.errors.refuse(400, "The path is not well-formed.")
        if isinstance(request, web.Request) and "Content-Encoding" in request.headers:
            # An app's server has decompressed the body, unless it was told not to, which cannot be seen.
            raise self.errors.refuse(415, "A compressed body cannot be passed on here.")
        caller: Caller = self.source.caller(call)
        told.caller = caller.name
        try:
            instance = await caller.instance(call.headers.get("Service-CRN", ""))
            authorization = await caller.authorization()
        except QRBackendsError as error:
            return of_error(error, self.errors, own=self.source.own)
        url = with_query(f"{instance.base_url}{call.path.removeprefix(ROOT)}", call.query)
        return await self._relay.reply(
            request, url, instance.region, authorization, crn=instance.crn, rejected=caller.rejected
        )

    async def addresses(self, url: str, *, instances: bool = True) -> Addresses:
        """Return where the gateway is, and the key and the instances that it accepts.

        Args:
            url: the address at which it listens.
            instances: whether to look the instances up; else there are none in it.

        Raises:
            QRBackendsError: the instances cannot be looked up.
        """
        base, catalog = f"{url}{ROOT}", f"{url}{CATALOG.removesuffix('/')}"
        regions, found = await self.source.served() if instances else ((), ())
        listed = tuple(InstanceAddress(one.crn, one.region, base) for one in found)
        key = self.source.keyring.throw_away if isinstance(self.source, OwnAccount) else None
        return Addresses(dict.fromkeys(regions, base), url, url, catalog, key or "", listed)


class _Told:
    """What is known of a request beside its answer: the caller's name, and what answers it again."""

    __slots__ = ("again", "caller")

    def __init__(self) -> None:
        self.caller = ""
        self.again: Repeatable | None = None


class _Response(web.Response):
    """A response that tells its connection when it is written."""

    def __init__(self, reply: Reply, connection: Repeating | None, told: _Told) -> None:
        super().__init__(status=reply.status, body=reply.body, headers={**SERVER, **reply.headers})
        self._connection = connection
        self._again = told.again
        if reply.headers.get("Connection") == "close":  # the header alone closes nothing
            self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        """Write the end."""
        await super().write_eof(data)
        if self._connection is not None:
            self._connection.sent(self._again, bool(self.keep_alive))


def _metrics(gateway: Gateway, call: Call) -> Reply:
    """Return the metrics; the module that writes them needs an extra."""
    try:
        from .metrics import exposition
    except ImportError as error:
        return of_answer(gateway.errors.answer(501, str(error)), False)
    body, content_type = exposition(gateway, call.headers.get("Accept", ""))
    return Reply(200, {"Content-Type": content_type, "Cache-Control": "no-store"}, body)
