"""The blocks of `docs/agents.md` work, and it tells of all tools."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from mcp import Client as Agent

from qrbackends import Client
from qrbackends.agents import documents, mcp_server
from qrbackends.agents.bounds import MOST
from qrbackends.agents.tools import TOOLS
from qrbackends.cli import cli
from qrbackends.emulator import Emulator

from ..test_readme import README, run, serving
from .asking import ask, over_stdio

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


MADE_UP, RECORDED, ARGUMENTS, ANSWER, OVER_HTTP = map(json.loads, blocks("json"))


def options(command: list[str]) -> dict[str, Any]:
    """Return the options of `qrbackends mcp` on a command line, which it takes."""
    program, name, *arguments = command
    assert (program, name) == ("qrbackends", "mcp")
    context = click.Context(cli, **cli.context_settings)  # a command keeps the names of its --help
    found = cli.get_command(context, name)
    assert found is not None
    return found.make_context(name, list(arguments), parent=context).params


@pytest.mark.anyio
async def test_a_host_can_start_what_it_is_given() -> None:
    server = MADE_UP["mcpServers"]["qrbackends"]
    assert options([server["command"], *server["args"]])["emulator"] == "synthetic"
    async with over_stdio(*server["args"][1:]) as agent:
        assert (await ask(agent, "best_qubits", n=5))["backend"]
    server = RECORDED["servers"]["qrbackends"]
    assert options([server["command"], *server["args"]])["emulator"] == "snapshots"


@pytest.mark.long
def test_the_first_host_needs_nothing_but_what_is_installed_before() -> None:
    """The others say what they need; no extra but these is imported, or has to be there."""
    others = dict.fromkeys(("qiskit", "qiskit_ibm_runtime", "jinja2", "numpy", "redis"))
    arguments = ["qrbackends", *MADE_UP["mcpServers"]["qrbackends"]["args"]]
    code = f"import sys; sys.modules |= {others!r}; sys.argv = {arguments!r}\n"
    code += "from qrbackends.__main__ import main\nmain()\n"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, input="")
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.anyio
async def test_the_answer_is_what_is_told(real_emulator: Emulator) -> None:
    async with Client(real_emulator.account()) as client, Agent(mcp_server(client)) as agent:
        answer = await ask(agent, "list_qubits", **ARGUMENTS)
    assert answer | {"age_seconds": ANSWER["age_seconds"]} == ANSWER


def test_the_commands_are_taken() -> None:
    install, serve = ("".join(blocks("sh"))).splitlines()
    assert install == 'python -m pip install "qrbackends[cli,mcp]"'
    given = options(shlex.split(serve))
    server = OVER_HTTP["mcpServers"]["qrbackends"]
    assert given["http"] is True
    assert server["url"] == f"http://{given['host']}:{given['port']}/mcp"
    assert server["headers"]["Authorization"].startswith("Bearer ")


@pytest.mark.anyio
@pytest.mark.parametrize("block", blocks("python"), ids=["own agent", "web app"])
async def test_the_python_blocks_run(
    block: str, real_emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: real_emulator.account())
    names = await run(block)
    if "app" not in names:
        assert re.match(r"\[\d+(, \d+){4}\] 0\.0", capsys.readouterr().out)
        return
    async with serving(names["app"]) as url, Agent(f"{url}/mcp") as agent:
        assert (await ask(agent, "list_backends", name="ibm_boston"))["total"] == 1


def test_all_tools_and_bounds_are_told() -> None:
    table = PAGE.partition("| tool | answers |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [tool.name for tool in TOOLS]
    assert f"{MOST:,} bytes" in PAGE
    assert f"{documents.MOST:,} bytes" in PAGE
    assert "(docs/agents.md)" in README.read_text(encoding="utf-8")
