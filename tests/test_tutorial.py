"""The commands of the pages run: those of the tutorial as one session of real processes, in their order."""

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
from contextlib import closing
from importlib.metadata import metadata
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from docs.build import PAGES, without_ages
from qrbackends.cli import run as run_command

from .cli.processes import own_environment
from .redis_server import free_port
from .test_readme import DOCS

CRN = "crn:v1:bluemix:public:quantum-computing:us-east:a/0123456789abcdef:11111111-2222-3333::"
INSTALLING = [
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    'pip install ".[cli,graph,plot,snapshots,web]"',
]
STARTED = {
    "qrbackends": "Ctrl-C ends it.",
    "uvicorn": "Uvicorn running",
}  # what servers write when they serve
ENDING = re.compile(r"^qrbackends (gateway keys .*|emulate --scenario-schema.*)$", re.MULTILINE)
BLOCK = re.compile(r"([^\n]*)\n+```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)  # with the line before it
PROMPT = re.compile(r"^(?:(?:>>>|\.\.\.) )+", re.MULTILINE)


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


class Session:
    """The terminals of a reader: two servers at most, and what the last command or program has printed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, subprocess.Popen[str]] = {}
        self.printed = ""
        self.installed: list[str] = []

    def close(self) -> None:
        for server in self.servers.values():
            server.kill()
            server.communicate()

    def run(self, command: str) -> None:
        """Run a command of a console."""
        program, *arguments = shlex.split(command)
        if program == "curl":
            self.printed = got(arguments[0])[1]
        elif program == "uvicorn" or arguments[:1] == ["emulate"]:
            self.serve(program, *arguments)
        elif program == "qrbackends":
            self.printed = self.python("-m", program, *arguments)
        else:
            self.installed.append(command)

    def serve(self, program: str, *arguments: str) -> None:
        """Start a server, and return when it serves."""
        server = self.servers[program] = subprocess.Popen(
            [sys.executable, "-m", program, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=own_environment(COLUMNS="200"),
        )
        assert server.stdout is not None
        assert any(STARTED[program] in line for line in server.stdout), program

    def interrupt(self, program: str) -> None:
        """Press Ctrl-C, and wait until the server has ended."""
        server = self.servers.pop(program)
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)

    def python(self, *arguments: str, typed: str = "") -> str:
        """Run Python in the folder, and return what it prints."""
        ran = subprocess.run(
            [sys.executable, *arguments],
            input=typed,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=own_environment(COLUMNS="200"),
            timeout=100,
            check=True,
        )
        assert "Traceback" not in ran.stderr, ran.stderr
        return PROMPT.sub("", ran.stdout)


def got(url: str) -> tuple[int, str]:
    try:
        with closing(urlopen(url)) as answer:  # noqa: S310  # it is on this machine
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with closing(error):
            return error.code, error.read().decode()


def test_the_tutorial_is_one_session(tmp_path: Path) -> None:
    emulator, service = free_ports(4), free_port()
    text = text_of("tutorial")
    for shown, own in (("8101", emulator), ("8103", emulator + 2), ("8000", service)):
        text = text.replace(shown, str(own))
    text = text.replace("uvicorn service:app", f"uvicorn service:app --port {service}")
    with closing(Session(tmp_path)) as session:
        for before, language, block in BLOCK.findall(text):
            if language == "console":
                for line in block.splitlines():
                    session.run(line.removeprefix("$ "))
            elif "service.py" in before:
                (tmp_path / "service.py").write_text(block)
            elif language == "python":
                session.printed = session.python("-m", "asyncio", typed=f"{block}\n")
            elif language == "text":
                assert without_ages(session.printed).endswith(without_ages(block)), session.printed
            else:
                assert json.loads(session.printed) == json.loads(block)
                known = f"http://127.0.0.1:{service}/properties/ibm_boston"
                session.interrupt("qrbackends")
                assert got(known)[0] == 200
                session.run(f"qrbackends emulate --port {emulator}")
        assert session.installed == INSTALLING
        assert (tmp_path / "map.png").stat().st_size > 10_000


def free_ports(number: int) -> int:
    """Return the first of several ports in a row that nobody has now."""
    while True:
        first = free_port()
        try:
            for port in range(first, first + number):
                with socket.create_server(("127.0.0.1", port)):
                    pass
        except OSError:
            continue
        return first


def test_commands_that_end_at_once_print_what_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of other pages; they need nothing that costs more than they do."""
    monkeypatch.setenv("QRBACKENDS_GATEWAY_KEYS", str(tmp_path / "keys.json"))
    lines = [line for page in ("gateway", "emulator") for line in ENDING.findall(text_of(page))]
    told = ("qrbackends-gateway-", "cluster", "", '"$defs"')
    for line, text in zip(lines, told, strict=True):
        arguments = shlex.split(line.partition(">")[0].replace("crn:v1:…", CRN), comments=True)
        code = run_command(arguments)
        printed = capsys.readouterr()
        assert (code, printed.err) == (0, ""), line
        assert text in printed.out


def test_the_extras_that_pages_install_are_there() -> None:
    known = set(metadata("qrbackends").get_all("Provides-Extra") or ())
    for page in PAGES:
        for extras in re.findall(r"(?:qrbackends|\"\.)\[([a-z,]+)\]", page.read_text(encoding="utf-8")):
            assert set(extras.split(",")) <= known, f"{page.name}: {extras}"
