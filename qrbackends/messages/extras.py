"""The extras: which packages each brings, which commands need it, and what is said where one is missing."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

MODULES: Final[Mapping[str, tuple[str, ...]]] = {
    "aer": ("qiskit_aer",),
    "arrow": ("pyarrow", "deltalake"),
    "cli": ("click", "platformdirs", "rich"),
    "graph": ("rustworkx",),
    "mcp": ("mcp", "rustworkx"),
    "metrics": ("prometheus_client",),
    "plot": ("matplotlib",),
    "qiskit": ("qiskit",),
    "redis": ("redis",),
    "snapshots": ("qiskit_ibm_runtime",),
    "socks": ("aiohttp_socks",),
    "web": ("h11", "jinja2", "starlette", "uvicorn"),
}
"""The modules that each extra brings, without those of `speed`, which nothing needs."""

_COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {  # beside `cli`; a group, or one of its commands
    "archive": ("arrow",),
    "board": ("web",),
    "exporter": ("metrics", "web"),
    "mcp": ("mcp",),
    "plot": ("plot",),
    "plot map": ("graph", "plot"),
    "qubits": ("graph",),
}
_EMULATOR = "--emulator"


def install(extras: Iterable[str]) -> str:
    """Return the commands that install extras: from a package index, and in a clone of the repository."""
    names = ",".join(extras)
    return f'pip install "qrbackends[{names}]" from an index, or pip install -e ".[{names}]" in a clone'


def named(extras: Sequence[str]) -> str:
    """Return names of extras as a part of a sentence, such as `the extras metrics and web`."""
    *others, last = extras
    return f"the extras {', '.join(others)} and {last}" if others else f"the extra {last}"


def missing_extra(needed: str, extra: str, module: str | None = None) -> ImportError:
    """Return the error for an extra that is missing.

    Args:
        needed: what needs it, and what of it, such as `tables need pyarrow`.
        extra: its name.
        module: the name of the module that is missing; by default the extra's first.
    """
    return ImportError(f"{needed}: {install([extra])}", name=module or MODULES[extra][0])


def extra_of(error: ImportError) -> str | None:
    """Return the extra that brings the module which an error is about, or None."""
    module = (error.name or "").partition(".")[0]
    return next((extra for extra, modules in MODULES.items() if module in modules), None)


def missing(extras: Collection[str]) -> list[str]:
    """Return those of the extras of which a module cannot be found, sorted; nothing is imported."""
    return sorted(extra for extra in extras if not all(map(_is_there, MODULES[extra])))


def needed_by(arguments: Sequence[str]) -> set[str]:
    """Return the extras that a command needs, given the arguments after the program's name."""
    names = [argument for argument in arguments if not argument.startswith("-")][:2]
    command = names[0] if names else ""
    extras = {"cli", *_COMMANDS.get(" ".join(names), _COMMANDS.get(command, ()))}
    if command == "mcp" and "--http" in arguments:
        extras.add("web")
    if command == "board" and any(one.partition("=")[0] == "--archive" for one in arguments):
        extras.add("arrow")
    return extras | {"snapshots"} if _emulates_snapshots(command, arguments) else extras


def _emulates_snapshots(command: str, arguments: Sequence[str]) -> bool:
    option = "--fleet" if command == "emulate" else _EMULATOR
    fleets = []
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == option:
            fleets.append(value or next(iter(arguments[place + 1 : place + 2]), ""))
    if command == "emulate":
        return not fleets or any(fleet.startswith("snapshots") for fleet in fleets)
    # Where neither a fleet nor the place of one follows the option, the fleet is that of the snapshots.
    others = [fleet == "synthetic" or "/" in fleet or (fleet and Path(fleet).is_dir()) for fleet in fleets]
    return not all(others)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # somebody keeps it from being imported
        return False
