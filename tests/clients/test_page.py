"""`docs/clients.md` tells what the tests do."""

import re
from pathlib import Path
from urllib.parse import urlsplit

from packaging.requirements import Requirement

from qrbackends.emulator import SyntheticFleet, ThreadedEmulator

from .asking import settings
from .environments import CLIENTS

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")


def test_the_page_gives_programs_the_same_addresses(tmp_path: Path) -> None:
    told = dict(re.findall(r"^export (\w+)=(\S+)", PAGE, re.MULTILINE))
    with ThreadedEmulator(fleet=SyntheticFleet({"alpha_5": 5}), regions=("us-east",)) as emulator:
        given = settings(emulator.addresses(), tmp_path)
        for name, port in (("us-east", ":8101"), ("cloud", ":8102")):
            own = f":{urlsplit(emulator.url(name)).port}"
            given = {variable: value.replace(own, port) for variable, value in given.items()}
    official = {name for name in given if "QRMI_" not in name and name != "HOME"}
    assert official <= told.keys()
    assert {f"QRMI_{name.partition('QRMI_')[2]}" for name in given if "QRMI_" in name} <= set(
        re.findall(r"`(QRMI_\w+)`", PAGE)
    )
    for name in official - {"QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE"}:
        assert told[name] == given[name]


def test_the_page_names_the_versions() -> None:
    for client in CLIENTS.values():
        requirement = Requirement(client.requirement)
        (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{requirement.name}`"))
        for bound in requirement.specifier:
            assert bound.operator == "<" or bound.version in row
