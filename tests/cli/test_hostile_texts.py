"""Every command against a service whose texts are all made to be obeyed by a terminal.

The commands are those of click's tree: a new one fails here until `ARGUMENTS` says how to run it.
"""

import ast
import io
import json
import os
import pty
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import pytest
from anyio.from_thread import start_blocking_portal

import qrbackends.cli
import qrbackends.web
from qrbackends import Client
from qrbackends.cli import cli, emulate, options
from qrbackends.cli import run as run_command
from qrbackends.emulator import Emulator, Status
from qrbackends.emulator.devices.fleets import Device, DocumentKind
from qrbackends.emulator.devices.synthetic import SyntheticFleet

NAME = "plain"
EVIL = (
    "evil\x1b]0;title\x07\x1b[7mreverse\x1b[2Jcleared\x08\r\n\t\x00\x7f\x85\x9b2J\xad\u200b\u200d\u200e\u200f\u061c"
    "\u202a\u202b\u202c\u202d\u202e\u2028\u2029\u2066\u2067\u2068\u2069\ufeff\U000e0001[red]end"
)
EVIL_ACCOUNT = EVIL.replace("\0", "")  # no argument holds a NUL
LONG = EVIL + "x" * 50_000 + "the end of a long text"
_RICHS_OWN = re.compile(r"\x1b\[(?:[0-3]|3\d|38;5;\d+)(?:;[0-3])?m|\x1b\[\?25[lh]|\x1b\[\d*[AKG]|\r")
_READ_BY_US = {"name", "unit", "backend_name", "date", "type"}  # of these our own tables depend


def made_evil(value: Any, key: str = "") -> Any:
    """Return a JSON value with all texts evil that are not dates, or what values are found by."""
    if isinstance(value, dict):
        return {name: made_evil(one, name) for name, one in value.items()}
    if isinstance(value, list):
        return [made_evil(one, "" if key == "basis_gates" else key) for one in value]
    if not isinstance(value, str) or key in _READ_BY_US:
        return value
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return value + EVIL
    return value


class EvilFleet(SyntheticFleet):
    """One backend with a name that can be asked for, and one whose name is evil, too."""

    def __init__(self) -> None:
        super().__init__({NAME: 5})

    @property
    def names(self) -> tuple[str, ...]:
        return (EVIL, NAME)

    def device(self, name: str) -> Device:
        processor = (EVIL, EVIL, EVIL)
        return Device(name, EVIL, 5, (EVIL, 7), processor, "online", LONG, EVIL)

    def find(self, kind: DocumentKind, name: str, *how: Any) -> Any:
        return kind if kind == "defaults" else super().find(kind, NAME, *how)

    def build(self, key: Any) -> bytes:
        if key == "defaults":
            return json.dumps({EVIL: EVIL, f"{EVIL}s": [EVIL], f"{LONG}": {EVIL: EVIL}}).encode()
        return json.dumps(made_evil(json.loads(super().build(key)))).encode()


@pytest.fixture(scope="module")
def evil_service() -> Iterator[Emulator]:
    fleet = EvilFleet()
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(Emulator(fleet, ("us-east",))) as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def _evil(evil_service: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Let commands ask the evil service, and those that run until Ctrl-C end by themselves."""
    monkeypatch.setenv("QISKIT_IBM_TOKEN", evil_service.api_keys[0])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{EVIL.replace(chr(0), '')}"))
    monkeypatch.setattr(options, "load_account", lambda *_, **__: evil_service.account())
    monkeypatch.setattr(Client, "watch", first_changes)
    monkeypatch.setattr(qrbackends.web, "serve", announced, raising=False)
    monkeypatch.setattr(emulate, "_until_signal", told)
    save_evil_accounts(tmp_path / ".qiskit")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a-key-on-standard-input")))
    status = {"state": True, "status": EVIL, "message": LONG, "length_queue": 3, "backend_version": EVIL}
    evil_service.fault(Status(200, body=status), resource="status", times=None)
    yield
    evil_service.clear_faults()


def save_evil_accounts(folder: Path) -> None:
    evil = {
        "token": f"{LONG}",
        "instance": EVIL,
        "region": EVIL,
        "tags": [EVIL, LONG],
        "plans_preference": [EVIL],
    }
    saved = {EVIL_ACCOUNT: {**evil, "token": "a-good-key"}, LONG: evil, NAME: {**evil, "channel": EVIL}}
    folder.mkdir()
    (folder / "qiskit-ibm.json").write_text(json.dumps(saved))


_watch = Client.watch


@asynccontextmanager
async def first_changes(client: Client, *asked: Any, **how: Any) -> AsyncIterator[AsyncIterator[Any]]:
    """Watch until each backend, or each instance that fails, was reported."""
    async with _watch(client, *asked, **how) as changes:

        async def first() -> AsyncIterator[Any]:
            async for change in changes:
                yield change
                if change.backend in (None, NAME):
                    return

        yield first()


async def announced(_: Any, host: str, port: int, announce: Callable[[str], None], *__: Any) -> None:
    announce(f"http://{host}:{port}")


async def told(announce: Callable[[], None]) -> None:
    announce()


RANGE = ("--since", "2026-04-01T00:00:00Z", "--until", "2026-04-01T02:00:00Z")
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "fleet": (),
    "show": (NAME,),
    "watch": ("--detail", NAME),
    "least-busy": (),
    "rank": ("queue",),
    "instances": (),
    "versions": (),
    "backends": ("--wait-times",),
    "configuration": (NAME,),
    "properties": (NAME,),
    "status": (NAME,),
    "defaults": (NAME,),
    "qubits": (NAME, "2"),
    "history": (NAME, *RANGE),
    "drift": (NAME,),
    "stability": (NAME, *RANGE),
    "archive sync": ("archive", NAME, *RANGE),
    "archive info": ("archive",),
    "archive export": ("archive", "x.csv"),
    "archive compact": ("archive",),
    "archive import": ("archive", "older"),
    "plot map": (NAME, "-o", "x.svg"),
    "plot history": (NAME, *RANGE, "--every", "1", "-o", "x.svg"),
    "plot fleet": ("-o", "x.svg"),
    "board": ("--port", "0"),
    "exporter": ("--port", "0"),
    "gateway keys add": (EVIL.replace("\0", ""),),
    "gateway keys list": (),
    "gateway keys revoke": (EVIL.replace("\0", ""),),
    "mcp": ("--http", "--port", "0"),
    "emulate": ("--fleet", "synthetic"),
    "record": (f"recording {EVIL_ACCOUNT}",),
    "cache info": (),
    "cache clear": (),
    "accounts list": (),
    "accounts save": (f"{NAME} again", "--instance", EVIL.replace("\0", "")),
    "accounts delete": (EVIL_ACCOUNT,),
    "accounts use": (EVIL_ACCOUNT,),
    "completion": ("bash",),
}
SLOW = ("plot", "archive")  # matplotlib and pyarrow take long
SLOWEST = ("plot map", "plot history")


def leaves(group: click.Command, path: str = "") -> Iterator[str]:
    if not isinstance(group, click.Group):
        yield path
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from leaves(command, f"{path} {name}".strip())


def cases() -> Iterator[Any]:
    for command in ARGUMENTS:
        for mode in ("pipe", "terminal"):
            is_long = command in SLOWEST or (command.startswith(SLOW) and mode == "terminal")
            yield pytest.param(command, mode, marks=[pytest.mark.long] if is_long else [])


def test_every_command_is_here() -> None:
    assert set(leaves(cli)) == ARGUMENTS.keys()


@contextmanager
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """Let stdout and stderr be a terminal, and return what was written to it."""
    received: list[bytes] = []
    ours, theirs = pty.openpty()

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                received.append(data)
        except OSError:  # the other end was closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    with monkeypatch.context() as patched, open(theirs, "w", encoding="utf-8") as screen:  # noqa: PTH123
        patched.setattr("sys.stdout", screen)
        patched.setattr("sys.stderr", screen)
        yield received
    reader.join(30)
    os.close(ours)


def written_by(
    arguments: tuple[str, ...], mode: str, capfdbinary: Any, monkeypatch: pytest.MonkeyPatch
) -> bytes:
    if mode == "terminal":
        with on_a_terminal(monkeypatch) as received:
            run_command(arguments)
        return b"".join(received)
    capfdbinary.readouterr()
    run_command(arguments)
    out, err = capfdbinary.readouterr()
    return bytes(out + err)


def is_harmless(written: bytes, mode: str) -> None:
    text = written.decode()
    if mode == "terminal":
        text = _RICHS_OWN.sub("", text)
    for line in text.split("\n"):
        assert line.isprintable(), f"a terminal may obey {line[:2000]!r}"
        assert len(line) < 11_000
    assert "the end of a long text" not in text


@pytest.mark.parametrize(("command", "mode"), list(cases()))
def test_nothing_is_written_that_a_terminal_obeys(
    command: str,
    mode: str,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    if command in ("archive info", "archive export", "archive compact", "archive import"):
        written_by(("archive", "sync", *ARGUMENTS["archive sync"]), "pipe", capfdbinary, monkeypatch)
    written = written_by((*command.split(), *ARGUMENTS[command]), mode, capfdbinary, monkeypatch)
    assert written.strip() or command.startswith("plot")
    assert b"internal error" not in written
    is_harmless(written, mode)


ERRORS = {
    "json": Status(400, body={"errors": [{"code": EVIL, "message": LONG, "solution": EVIL}], "trace": EVIL}),
    "html": Status(403, body=f"<html><head><title>{EVIL}</title></head><body>{LONG}</body></html>"),
    "iam": Status(400, body={"errorCode": EVIL, "errorMessage": LONG}),
}
LOCAL = ("emulate", "board", "exporter", "gateway", "mcp", "cache", "accounts", "completion")
ASKING = {one for one in ARGUMENTS if not one.startswith(LOCAL)}


@pytest.mark.parametrize(
    ("command", "error"),
    [(one, "json") for one in sorted(ASKING) if not one.startswith(SLOW)]
    + [(one, error) for one in ("fleet", "status") for error in ("html", "iam")]
    + [pytest.param(one, "json", marks=pytest.mark.long) for one in sorted(ASKING) if one.startswith(SLOW)],
)
def test_no_error_of_the_service_is_obeyed_either(
    command: str,
    error: str,
    evil_service: Emulator,
    capfdbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    evil_service.clear_faults()
    evil_service.fault(ERRORS[error], resource="token" if error == "iam" else None, times=None)
    with on_a_terminal(monkeypatch) as received:
        run_command((*command.split(), *ARGUMENTS[command]))
    is_harmless(b"".join(received), "terminal")


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            yield name
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


JSON = [
    "fleet",
    "show",
    "watch",
    "least-busy",
    "backends",
    "configuration",
    "properties",
    "status",
    "defaults",
]


@pytest.mark.parametrize("command", JSON)
def test_json_holds_the_same_texts_escaped(
    command: str, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    capfdbinary.readouterr()
    run_command((*command.split(), *ARGUMENTS[command], "--json"))
    out, err = capfdbinary.readouterr()
    is_harmless(err, "pipe")
    assert all(line.isprintable() for line in out.decode().split("\n"))
    found = [text for line in out.splitlines() for text in texts(json.loads(line)) if "evil" in text]
    assert found
    for text in found:  # an error's line has them cleaned already
        assert EVIL in text or "cannot be" in text or text == "evil"


@pytest.mark.parametrize(
    "arguments",
    [
        (EVIL,),
        ("status", EVIL),
        ("status", f"--{EVIL}"),
        ("watch", NAME, EVIL_ACCOUNT),
        ("fleet", "--sort", EVIL),
        ("fleet", "--account", EVIL, "--account-file", "pyproject.toml"),
        ("properties", NAME, "--updated-before", EVIL),
        ("emulate", "--fleet", EVIL),
        ("plot", "fleet", "-o", EVIL),
        ("archive", "info", EVIL),
        ("accounts", "use", EVIL),
        ("accounts", "delete", LONG),
        ("accounts", "save", EVIL),
        ("accounts", "list", "--account-file", EVIL),
    ],
    ids=lambda arguments: " ".join(arguments)[:12],
)
def test_what_was_typed_is_not_obeyed(
    arguments: tuple[str, ...], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    capfdbinary.readouterr()
    assert run_command(arguments) in (0, 1, 2)
    out, err = capfdbinary.readouterr()
    is_harmless(out + err, "pipe")


def test_everything_is_written_through_the_same_functions() -> None:
    """A command writes with `echo`, `echo_json` and the console of `screen`, which make texts harmless."""
    own = {"text": {"click.echo"}, "screen": {"_Console"}}
    for path in Path(qrbackends.cli.__file__).parent.glob("*.py"):
        used = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
            for name in [ast.unparse(node.func)]
            if re.search(r"(^|\.)(print|print_exc|secho|write|_?Console)$|click\.echo", name)
        }
        assert used - {"console.print"} <= own.get(path.stem, set()), path
