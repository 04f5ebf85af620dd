"""Tools for agents: what the client knows of the backends, by the Model Context Protocol (MCP).

`mcp_server` returns a server of the official SDK, `serve_stdio` runs one over standard input and output, and
`mcp_app` is one as an ASGI app; they need the extra `mcp`. Answers are short and say how old they are, and no
tool changes anything.

It knows nothing of how requests are sent to IBM, and nothing of terminals: all data come from a client.
Start with `tools` for what agents can ask, or with `server` for how they are answered.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .http import mcp_app
    from .server import mcp_server
    from .stdio import serve_stdio
else:
    _HOMES = {"mcp_app": "http", "mcp_server": "server", "serve_stdio": "stdio"}

    def __getattr__(name):
        from importlib import import_module

        from ..messages.extras import missing_extra

        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in ("mcp", "mcp_types"):  # version 1 of mcp has no mcp_types
                raise
            raise missing_extra(f"{__name__}.{name} needs mcp, version 2 or newer", "mcp") from error
        globals()[name] = value
        return value

    def __dir__():
        return __all__


__all__ = ["mcp_app", "mcp_server", "serve_stdio"]
