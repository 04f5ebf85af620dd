"""The examples of `docs/emulator.md` work."""

import json
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest

from qrbackends.emulator import Emulator, Scenario, ThreadedEmulator
from qrbackends.emulator.steering.operations import AnyOperation, Scripted
from qrbackends.emulator.surface.actions import Action

from ..test_readme import run
from .steered import send

PAGE = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """Return the page's blocks in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


PRINTED = {
    "faults": " 3\n",
    "running": "8 backends True\n",
    "clock": "3 days, 0:00:00\n",
    "scenario": "['us-east', 'cloud']\n['us-east', 'eu-de', 'cloud']\n",
    "journal": "eu-de 200 503\n",
    "threads": "200\n",
}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("block", "printed"), list(zip(blocks("python"), PRINTED.values(), strict=True)), ids=PRINTED
)
async def test_the_python_blocks_run(block: str, printed: str, capsys: pytest.CaptureFixture[str]) -> None:
    await run(block)
    assert capsys.readouterr().out.endswith(printed)  # statements of expressions print, too


def test_the_calls_of_curl_are_taken() -> None:
    commands = [shlex.split(line) for line in "".join(blocks("sh")).splitlines() if line.startswith("curl")]
    assert len(commands) == 8
    with ThreadedEmulator(control_port=0) as emulator:
        statuses = []
        for _, address, option, header, *data in commands:
            assert (option, header) == ("-H", "Authorization: Bearer $TOKEN")
            body = data[1] if data else None
            told = send(emulator, "POST" if body else "GET", address.removeprefix("$URL"), body)
            statuses.append(told.status)
            assert data[:1] in ([], ["-d"])
        assert statuses == [204, 200, 200, 204, 204, 200, 200, 204]


@pytest.mark.anyio
async def test_the_scenario_is_one() -> None:
    (text,) = blocks("toml")
    scenario = Scenario.parse(text)
    async with Emulator(scenario=scenario) as emulator:
        await emulator.advance(30.0)
        assert [fault.name for fault in emulator.faults] == ["busy"]


def test_the_error_is_what_is_told() -> None:
    (shown,) = blocks("json")
    with ThreadedEmulator(control_port=0) as emulator:
        wrong = {"do": "add_fault", "action": {"kind": "delay", "seconds": -1}}
        assert send(emulator, "POST", "/do", json.dumps(wrong)).content == json.loads(shown)


def test_all_operations_and_kinds_are_listed() -> None:
    table = PAGE.partition("| operation |")[2].partition("\n\n")[0]
    first = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert tags(AnyOperation) == set(re.findall(r"`(\w+)`", " ".join(first)))
    kinds = PAGE.partition("kinds of `action` are ")[2].partition(".")[0]
    assert tags(Action) == set(re.findall(r"`(\w+)`", kinds))
    steps = PAGE.partition("steps can be ")[2].partition(".")[0]
    assert tags(Scripted) == set(re.findall(r"`(\w+)`", steps))


def tags(union: Any) -> set[str]:
    """Return what the structs of a union are called in JSON."""
    return {str(one.__struct_config__.tag) for one in get_args(union)}
