"""The same app thrice: properties by our client, out of a shared Redis, and beside them a constant answer.

`uvicorn benchmarks.apps:fastapi_app`; where the service and Redis are is in the environment.
"""

import asyncio
import os
import sys
from typing import Any

import msgspec

from qrbackends import RedisStore

from .service import Service

SERVICE = "QRB_BENCH_SERVICE"
REDIS = "QRB_BENCH_REDIS"


def options() -> dict[str, Any]:
    """Return account and store, as the environment says."""
    account = msgspec.json.decode(os.environ[SERVICE], type=Service).account()
    return {"account": account, "store": lambda: RedisStore(os.environ[REDIS], timeout=10.0)}


def fastapi_app() -> Any:
    """Return the app in FastAPI."""
    from fastapi import FastAPI, Response

    from qrbackends.web import ClientDep, MsgspecResponse, exception_handlers, lifespan

    app = FastAPI(lifespan=lifespan(**options()), exception_handlers=exception_handlers)
    known: dict[str, bytes] = {}

    @app.get("/properties/{name}")
    async def properties(name: str, client: ClientDep) -> MsgspecResponse:
        return MsgspecResponse(await client.properties(name))

    @app.get("/constant/{name}")
    async def constant(name: str, client: ClientDep) -> Response:
        if name not in known:
            known[name] = bytes(MsgspecResponse(await client.properties(name)).body)
        return Response(known[name], media_type="application/json")

    return app


def starlette_app() -> Any:
    """Return the app in Starlette."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from qrbackends.web import MsgspecResponse, client_of, exception_handlers, lifespan

    known: dict[str, bytes] = {}

    async def properties(request: Request) -> Response:
        return MsgspecResponse(await client_of(request).properties(request.path_params["name"]))

    async def constant(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in known:
            known[name] = bytes(MsgspecResponse(await client_of(request).properties(name)).body)
        return Response(known[name], media_type="application/json")

    return Starlette(
        routes=[Route("/properties/{name}", properties), Route("/constant/{name}", constant)],
        lifespan=lifespan(**options()),
        exception_handlers=exception_handlers,
    )


def aiohttp_app() -> Any:
    """Return the app in aiohttp.web."""
    from aiohttp import web

    from qrbackends.web import CLIENT, client_ctx, encode, json_response, problem_middleware

    known: dict[str, bytes] = {}

    async def properties(request: web.Request) -> web.Response:
        return json_response(await request.app[CLIENT].properties(request.match_info["name"]))

    async def constant(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in known:
            known[name] = encode(await request.app[CLIENT].properties(name))
        return web.Response(body=known[name], content_type="application/json")

    app = web.Application(middlewares=[problem_middleware])
    app.cleanup_ctx.append(client_ctx(**options()))
    app.router.add_get("/properties/{name}", properties)
    app.router.add_get("/constant/{name}", constant)
    return app


def main() -> None:
    """Run one worker of the app in aiohttp.web; several share a port."""
    from aiohttp import web

    async def make() -> web.Application:
        await asyncio.sleep(0)
        made: web.Application = aiohttp_app()
        return made

    web.run_app(make(), host="127.0.0.1", port=int(sys.argv[1]), reuse_port=True, print=None, access_log=None)


if __name__ == "__main__":
    main()
