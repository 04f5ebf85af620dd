"""`qrbackends mcp` at the command line; `tests/agents` has it as a host and a client see it."""

import pytest

from .conftest import Run


@pytest.mark.parametrize("option", ["--json", "--port=1", "--host=::1", "--allow-host=x", "--per-address=1"])
def test_options_of_the_server_need_http(run: Run, option: str) -> None:
    outcome = run("mcp", "--emulator", "synthetic", option)
    assert (outcome.code, outcome.out) == (2, "")
    assert f"{option.partition('=')[0]} can be given together with --http only" in outcome.err


def test_the_account_is_chosen_as_for_other_commands(run: Run) -> None:
    outcome = run("mcp", "--account", "nobody")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no account found" in outcome.err
    outcome = run("mcp", "--emulator", "synthetic", "--region", "mars")
    assert (outcome.code, outcome.out) == (1, "")
    assert "no instance in mars" in outcome.err
