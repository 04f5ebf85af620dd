"""Support for async web apps: FastAPI, Starlette, aiohttp.web.

`lifespan` opens a client with a Starlette or FastAPI app, and `client_ctx` with an aiohttp.web app; both need
only the framework, as does `gateway_app`, an aiohttp.web app in the service's own language. `api_app` and
`board_app` are ASGI apps to mount or to serve; they need the extra `web`: starlette, jinja2 and uvicorn. Each
name is imported at its first use, so that users of one framework need no other.

It knows nothing of how requests are sent to IBM: all data come from a client or a monitor.
Start with `opening` to use a client in an app, or with `api` and `board` for the apps.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .aiohttp_web import CLIENT, client_ctx, json_response, problem_middleware
    from .api import api_app
    from .board import board_app
    from .connections import ServerLimits
    from .dependency import ClientDep
    from .encoding import encode
    from .events import Pace
    from .gateway import gateway_app
    from .guard import Guard
    from .metrics import MetricsApp
    from .opening import client_of, lifespan
    from .problems import Problem, problem_of
    from .responses import MsgspecResponse, exception_handlers
    from .serving import serve
else:
    _HOMES = {
        "CLIENT": "aiohttp_web",
        "ClientDep": "dependency",
        "Guard": "guard",
        "MetricsApp": "metrics",
        "MsgspecResponse": "responses",
        "Pace": "events",
        "Problem": "problems",
        "ServerLimits": "connections",
        "api_app": "api",
        "board_app": "board",
        "client_ctx": "aiohttp_web",
        "client_of": "opening",
        "encode": "encoding",
        "exception_handlers": "responses",
        "gateway_app": "gateway",
        "json_response": "aiohttp_web",
        "lifespan": "opening",
        "problem_middleware": "aiohttp_web",
        "problem_of": "problems",
        "serve": "serving",
    }

    def __getattr__(name):
        import sys
        from importlib import import_module

        if name not in _HOMES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=sys.modules[__name__])
        try:
            value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        except ImportError as error:
            told = _told(name, error)
            if told is None:
                raise
            raise told from error
        globals()[name] = value
        return value

    def _told(name, error):
        """Return the error that says what has to be installed for a name of this package, or None."""
        from ..messages.extras import extra_of, install, missing, named

        module = (error.name or "").partition(".")[0]
        if module == "fastapi":
            return ImportError(f"{__name__}.{name} needs FastAPI: pip install fastapi", name=module)
        if extra_of(error) is None:
            return None
        extras = missing(("metrics", "web") if name == "MetricsApp" else ("web",)) or [extra_of(error)]
        return ImportError(f"{__name__} needs {named(extras)}: {install(extras)}", name=module)

    def __dir__():
        return __all__


__all__ = [
    "CLIENT",
    "ClientDep",
    "Guard",
    "MetricsApp",
    "MsgspecResponse",
    "Pace",
    "Problem",
    "ServerLimits",
    "api_app",
    "board_app",
    "client_ctx",
    "client_of",
    "encode",
    "exception_handlers",
    "gateway_app",
    "json_response",
    "lifespan",
    "problem_middleware",
    "problem_of",
    "serve",
]
