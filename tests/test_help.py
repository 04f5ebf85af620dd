"""What `help(qrbackends)` begins with."""

import pydoc
import re
import textwrap
from importlib import import_module

import pytest

import qrbackends
from qrbackends.emulator import Emulator

from .test_readme import run

pytestmark = pytest.mark.anyio

TEXT = qrbackends.__doc__ or ""


async def test_its_example_runs(real_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qrbackends.client.load_account", lambda name, path: real_emulator.account())
    block = TEXT.partition("\n\n")[2].partition("\n\nWhat there is:")[0]
    names = await run(textwrap.dedent(block))
    assert names["properties"].backend_name == "ibm_boston"


def test_help_begins_with_what_a_user_needs() -> None:
    shown = pydoc.plain(pydoc.render_doc(qrbackends)).splitlines()
    begin = "\n".join(shown[:30])
    for needed in ("from qrbackends import Client", "await client.backends()", "help(Client)", "CachePolicy"):
        assert needed in begin
    contents = next(number for number, line in enumerate(shown) if line.startswith("PACKAGE CONTENTS"))
    assert contents < 45


def test_the_names_in_it_are_public() -> None:
    listed = TEXT.partition("What there is:")[2].partition("A script")[0]
    names = set(re.findall(r"\b[A-Z][a-z]+[A-Z]\w+|\b(?:Client|Account|Instance|Request|History)\b", listed))
    assert len(names) > 15
    assert names - {"FastAPI"} <= set(qrbackends.__all__)
    for module in re.findall(r"qrbackends\.(\w+):", listed):
        assert pydoc.locate(f"qrbackends.{module}") is not None


# --- names of other modules

HOMES: dict[str, tuple[str, ...]] = vars(qrbackends)["_ELSEWHERE"]
ELSEWHERE = {name: home for home, names in HOMES.items() for name in names}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_name_of_another_module_is_told_its_home(name: str) -> None:
    home = f"qrbackends.{ELSEWHERE[name]}"
    assert hasattr(import_module(home), name)
    with pytest.raises(ImportError, match=f"^{name} is in {home}: from {home} import {name}$"):
        __import__("qrbackends", fromlist=[name])  # as `from qrbackends import NAME` does
    assert not hasattr(qrbackends, name), "programs that look for a name are not to fail"
    assert not hasattr(qrbackends, "nothing")
