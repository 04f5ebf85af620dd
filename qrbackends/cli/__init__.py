"""The command line: one command per module, and its tables, lines and JSON. It needs the extra `cli`.

It knows nothing of how requests are sent: all data of the service come from a client.
Start with the function `run` below, or with a command's module, such as `show`; `options` is shared by all.
"""

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

import click

from .._version import __version__
from ..errors import InvalidRequest, QRBackendsError
from ..messages.extras import extra_of, install, missing, named, needed_by
from .choices import Group
from .text import abandon_output, echo, failed, forgiving_output, make_printable, print_warning

_FAILED = 1
_OF_PORTS = (errno.EADDRINUSE, errno.EACCES)  # taken by another program, or for administrators only
_USAGE = 2
_SILENT = logging.NullHandler()
_INTERRUPTED = 130  # 128 + SIGINT, the exit code that shells use

_COMMANDS = {  # name: module, which is imported only for its command, as rich takes long to import
    "fleet": "fleet",
    "show": "show",
    "watch": "watch",
    "least-busy": "least_busy",
    "rank": "rank",
    "instances": "instances",
    "versions": "versions",
    "backends": "documents",
    "configuration": "documents",
    "properties": "documents",
    "status": "documents",
    "defaults": "documents",
    "qubits": "qubits",
    "history": "history",
    "drift": "drift",
    "stability": "stability",
    "archive": "archive",
    "plot": "plot",
    "board": "board",
    "exporter": "exporter",
    "gateway": "gateway",
    "mcp": "mcp",
    "emulate": "emulate",
    "record": "record",
    "cache": "cache",
    "accounts": "accounts",
    "completion": "completion",
}


_OTHER_WORDS: Final[Mapping[str, str]] = {  # by which people look for a command, in other programs' terms
    "list": "fleet, backends or accounts list",
    "ls": "fleet or backends",
    "devices": "fleet or backends",
    "info": "show",
    "calibration": "properties",
    "queue": "least-busy or status",
    "login": "accounts save",
    "metrics": "exporter",
    "serve": "board, exporter or gateway",
    "proxy": "gateway",
    "help": "--help",
}


class _Commands(Group):
    def meant_by(self, name: str, commands: Sequence[str]) -> str:
        meant = _OTHER_WORDS.get(name.casefold())
        return f"did you mean {meant}?" if meant else super().meant_by(name, commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f".{module}", __package__), cmd_name.replace("-", "_"))
        return command


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed (with one line on stderr), 2 wrong usage, 130 interrupted. Where "
    "only a part of the answer is missing, the rest is shown, each failure gets one line on stderr, and "
    "the exit code is 0. QRBACKENDS_DEBUG=1 shows the traceback of an internal error. NO_COLOR is respected.",
)
@click.version_option(__version__, message="qrbackends %(version)s")
def cli() -> None:
    """Read the backends of IBM Quantum: their state, queues and calibrations.

    The account is the one in QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE, or a saved one (`accounts`), as the
    official client saves them. Without any, --emulator lets every command run against an emulator.
    """


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; the user sees no traceback.

    Args:
        arguments: the arguments after the program's name; by default those of the process.
    """
    forgiving_output()
    # Without a handler, logging writes warnings and tracebacks to stderr.
    logging.getLogger("asyncio").addHandler(_SILENT)
    logging.getLogger("aiohttp").addHandler(_SILENT)
    logging.getLogger("qrbackends").addHandler(_SILENT)
    logging.getLogger("uvicorn.error").addFilter(make_printable)
    with warnings.catch_warnings():
        warnings.showwarning = print_warning
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = cli.main(arguments, prog_name="qrbackends", standalone_mode=False)
    except click.UsageError as error:
        shown = io.StringIO()
        error.show(shown)
        usage, begin, reason = shown.getvalue().rstrip("\n").partition("\n\nError: ")
        echo(f"Error: {reason}\n{usage}" if begin else usage, err=True)  # the reason is read first
        return error.exit_code
    except click.ClickException as error:
        return failed(error.format_message(), _FAILED)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except InvalidRequest as error:
        return failed(str(error), _USAGE)
    except QRBackendsError as error:
        return failed(str(error), _FAILED)
    except OSError as error:
        abandon_output()
        about = f"{error.filename}: " if error.filename else ""
        of_port = error.errno in _OF_PORTS and "cannot listen" in str(error)
        instead = "; --port 0 takes a free port" if of_port else ""
        return failed(f"{about}{error.strerror or error}{instead}", _FAILED)
    except Exception as error:  # users get one line for every failure
        if isinstance(error, ImportError) and (extra := extra_of(error)) is not None:
            return failed(_needing(extra, error, arguments), _FAILED)
        if os.environ.get("QRBACKENDS_DEBUG"):
            echo(traceback.format_exc(), err=True)
        return failed(
            f"internal error, please report it ({type(error).__name__}: {error}); "
            "QRBACKENDS_DEBUG=1 shows where",
            _FAILED,
        )
    return code if isinstance(code, int) else 0


def _needing(extra: str, error: ImportError, arguments: Sequence[str] | None) -> str:
    """Return what has to be installed for a command: all that is missing, and not only what failed first."""
    given = sys.argv[1:] if arguments is None else arguments
    absent = missing({extra, *needed_by(given)})
    needed = f"this command needs {named(absent)}: {install(absent)}" if absent else error.msg
    option = "--fleet" if "emulate" in given else "--emulator"
    return f"{needed}; or try {option} synthetic" if extra == "snapshots" else needed


__all__ = ["cli", "run"]
